//! The object behind all semaphores, and the checks of numbers of permits. Its methods are in `class`.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use sluicegate_core::semaphore::{AcquireError, Kind, MAX_PERMITS};

use super::permits::Permits;
use crate::rt::arguments::{at_least, text};
use crate::rt::class::Common;

/// A number of permits, by the name of its argument.
pub(super) fn permits(name: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<u64> {
    at_least(name, value, least)?;
    let permits = value.extract::<u64>().ok().filter(|&permits| permits <= MAX_PERMITS);
    permits.ok_or_else(|| PyOverflowError::new_err(format!("'{name}' is too large: the maximum is {MAX_PERMITS} permits")))
}

/// The weight of a request.
pub(super) fn weight(n: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
    n.map_or(Ok(1), |n| permits("n", n, 1))
}

/// A number of permits that threads and coroutines acquire and release: `threading.Semaphore` that can also be
/// awaited.
///
/// `value` is the number of permits, and `resize` changes it. `acquire`, `release` and `with` are those of
/// `threading.Semaphore`; `async_semaphore` is the same semaphore with exactly the interface of
/// `asyncio.Semaphore`. A request can be for several permits at once. As in the standard library, releasing more
/// permits than were acquired increases their number.
///
/// Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
/// request for many permits.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
#[pyclass(frozen, subclass, weakref, name = "Semaphore", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySemaphore {
    pub(super) permits: Permits,
    pub(super) common: Common,
    pub(super) kind: Kind,
}

impl PySemaphore {
    /// False: not now.
    pub(super) fn granted(this: &Bound<'_, Self>, n: u64, result: Result<(), AcquireError>) -> PyResult<bool> {
        match result {
            Ok(()) => Ok(true),
            Err(AcquireError::Busy) => Ok(false),
            Err(AcquireError::TooLarge { size }) => {
                let this = text(this);
                Err(PyValueError::new_err(format!("'n' is {n}, more than the total of {size} permits: {this}")))
            }
        }
    }
}
