//! The semaphores: argument checks only. Coroutines and the asyncio view are in Python (`sluicegate._semaphores`).
//!
//! | file      | what it is for                                |
//! |-----------|-----------------------------------------------|
//! | `permits` | where a semaphore's permits are               |
//! | `class`   | `Semaphore` and `BoundedSemaphore`, and waiting for permits |
//! | `keyed`   | `KeyedSemaphore` and the handles of its keys  |
//! | `permit`  | `SemaphorePermit`, what `permit()` returns    |
//! | `keyed_hot` | the raw methods of `KeyedSemaphore`         |
//! | `hot`     | the methods installed as raw descriptors      |

pub(crate) mod class;
pub(crate) mod hot;
pub(crate) mod keyed;
pub(crate) mod keyed_hot;
pub(crate) mod permit;
mod permits;

pub(crate) use class::PySemaphore;

use pyo3::prelude::*;

/// The semaphore, if its class is one of the package's: a subclass may have methods of its own.
pub(crate) fn exactly_ours<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PySemaphore>> {
    let is_ours = object.is_exact_instance_of::<PySemaphore>()
        || object.is_exact_instance_of::<class::PyBoundedSemaphore>()
        || object.is_exact_instance_of::<keyed::PySemaphoreKey>();
    object.cast().ok().filter(|_| is_ours)
}
