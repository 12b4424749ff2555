//! The circuit breakers: argument checks, the classification of exceptions, and the notification of changes. Decorators are Python
//! (`sluicegate._breakers`).
//!
//! | file      | what it is for                                             |
//! |-----------|------------------------------------------------------------|
//! | `judge`   | what an exception says of the service, and the report of changes |
//! | `options` | the arguments of both classes                                |
//! | `target`  | where a breaker's state is                                   |
//! | `class`   | `CircuitBreaker`                                             |
//! | `keyed`   | `KeyedBreaker` and the handles of its keys                   |
//! | `permit`  | `CircuitPermit`, what `permit()` returns                     |
//! | `hot`     | the methods installed as raw descriptors                     |

pub(crate) mod class;
pub(crate) mod hot;
mod judge;
pub(crate) mod keyed;
mod options;
pub(crate) mod permit;
mod target;

use pyo3::prelude::*;

use class::PyCircuitBreaker;

/// The breaker, if its class is one of the package's: a subclass may have methods of its own.
pub(crate) fn exactly_ours<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyCircuitBreaker>> {
    let is_ours = object.is_exact_instance_of::<PyCircuitBreaker>() || object.is_exact_instance_of::<keyed::PyBreakerKey>();
    object.cast().ok().filter(|_| is_ours)
}
