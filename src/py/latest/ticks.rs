//! `LatestTicks`, what `Latest.every(seconds)` returns: its methods.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::nanos;
use sluicegate_core::latest::Ticks;
use sluicegate_core::section::Section;

use super::inner::{PyLatest, PyLatestTicks};
use super::ops::Read;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, duration, text};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::exceptions;

impl PyLatestTicks {
    pub(super) fn new(latest: &Bound<'_, PyLatest>, seconds: &Bound<'_, PyAny>) -> PyResult<Self> {
        let period = duration("seconds", seconds)?;
        if nanos(period) == 0 {
            return Err(PyValueError::new_err(format!("'seconds' must be at least a nanosecond, not {}", text(seconds))));
        }
        Ok(Self { latest: latest.clone().unbind(), seconds: period, ticks: Section::new(Ticks::new(nanos(period))) })
    }
}

#[pymethods]
impl PyLatestTicks {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        match blocking::run(py, &mut Read::tick(slf), Timeout::Forever) {
            Ok(done) => done.into_object(py).map(Some),
            Err(error) if exceptions::is_shut_down(py, &error) => slf.get().latest.get().end_of_iteration(py).map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// The operation behind `__anext__`.
    fn _async_next(slf: &Bound<'_, Self>) -> AsyncOperation {
        AsyncOperation::new(Read::tick(slf), Timeout::Forever)
    }

    /// Called when an iteration has met ShutDown: raises the exception that ends it, or returns None for an ordinary end.
    fn _end_of_iteration(&self, py: Python<'_>) -> PyResult<()> {
        self.latest.get().end_of_iteration(py)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<every {} seconds: {}>", self.seconds, text(self.latest.bind(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.latest)
    }
}

refuse_copies!(PyLatestTicks);
