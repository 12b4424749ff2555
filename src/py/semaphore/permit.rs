//! `SemaphorePermit`: permits that are held while a block runs.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyResourceWarning, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyTuple;

use super::inner::PySemaphore;
use super::ops::Acquire;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, text};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::guarded::last_act;

/// Permits held while a block runs, as returned by `Semaphore.permit`.
#[pyclass(frozen, weakref, name = "SemaphorePermit", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyPermit {
    semaphore: Py<PySemaphore>,
    n: u64,
    timeout: Timeout,
    /// Changed by one swap: whoever finds it set gives the permits back, once. Nothing else is read by it, so Relaxed is enough.
    held: AtomicBool,
}

impl PyPermit {
    pub(super) fn new(semaphore: Py<PySemaphore>, n: u64, timeout: Timeout) -> Self {
        Self { semaphore, n, timeout, held: AtomicBool::new(false) }
    }

    fn give_back(&self, py: Python<'_>) {
        // A bounded semaphore of which others have released too much has nothing left to be given back.
        self.semaphore.get().permits.release(py, self.n).0.fire();
    }

    /// The permits have been acquired.
    fn hold(&self, py: Python<'_>) -> PyResult<()> {
        if self.held.swap(true, Ordering::Relaxed) {
            self.give_back(py);
            return Err(held_already());
        }
        Ok(())
    }

    /// True if it was held.
    fn release(&self, py: Python<'_>) -> bool {
        let was_held = self.held.swap(false, Ordering::Relaxed);
        if was_held {
            self.give_back(py);
        }
        was_held
    }

    fn operation(slf: &Bound<'_, Self>) -> PyResult<Acquire> {
        let this = slf.get();
        if this.held.load(Ordering::Relaxed) {
            return Err(held_already());
        }
        let acquire = Acquire::new(this.semaphore.bind(slf.py()), this.n);
        Ok(acquire.held_by(slf.clone().into_any().unbind(), |this| this.cast::<Self>()?.get().hold(this.py())))
    }
}

fn held_already() -> PyErr {
    PyRuntimeError::new_err("this permit is held already: create one for each block that runs at the same time")
}

#[pymethods]
impl PyPermit {
    /// The operation behind `async with`.
    fn _async_acquire(slf: &Bound<'_, Self>) -> PyResult<AsyncOperation> {
        Ok(AsyncOperation::new(slf.clone().into_any().unbind(), Self::operation(slf)?, slf.get().timeout))
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        blocking::run(slf.as_any(), &mut Self::operation(slf)?, slf.get().timeout)?;
        Ok(slf.clone())
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) {
        self.release(py);
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let held = if self.held.load(Ordering::Relaxed) { "held" } else { "not held" };
        format!("<sluicegate.SemaphorePermit n={} {held} of {}>", self.n, text(self.semaphore.bind(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.semaphore)
    }
}

refuse_copies!(PyPermit);

impl Drop for PyPermit {
    fn drop(&mut self) {
        last_act(|py| {
            if self.release(py) {
                let message = format!("a permit was dropped while it was held, and has been released: {}", self.__repr__(py));
                let message = std::ffi::CString::new(message).unwrap_or_default();
                if let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &message, 1) {
                    error.write_unraisable(py, None);
                }
            }
        });
    }
}
