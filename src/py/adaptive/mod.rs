//! The adaptive limits: argument checks, and what the end of a block says. Decorators and coroutines are Python
//! (`sluicegate._adaptive`).
//!
//! | file      | what it is for                                             |
//! |-----------|------------------------------------------------------------|
//! | `options` | the arguments                                                |
//! | `class`   | `AdaptiveConcurrency`                                        |
//! | `permit`  | `ConcurrencyPermit`, what `permit()` returns                 |
//! | `rate`    | the law of `AdaptiveRate`, which is Python                   |
//! | `hot`     | the methods installed as raw descriptors                     |

pub(crate) mod class;
pub(crate) mod hot;
mod options;
pub(crate) mod permit;
pub(crate) mod rate;

use pyo3::prelude::*;

use class::PyAdaptiveConcurrency;

/// The limit, if its class is the package's: a subclass may have methods of its own.
pub(crate) fn exactly_ours<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyAdaptiveConcurrency>> {
    object.cast_exact().ok()
}
