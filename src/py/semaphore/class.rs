//! `Semaphore` and `BoundedSemaphore`.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyTuple;
use sluicegate_core::semaphore::Kind;

use super::inner::{PySemaphore, permits, weight};
use super::ops::Acquire;
use super::permit::PyPermit;
use super::permits::{Own, Permits};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Argument, Timeout, in_seconds, text};
use crate::rt::blocking;
use crate::rt::class::{Common, refuse_copies, repr_head, snapshot};

/// A semaphore that raises ValueError when more permits are released than are held, as `threading.BoundedSemaphore`
/// does.
#[pyclass(frozen, subclass, weakref, extends = PySemaphore, name = "BoundedSemaphore", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyBoundedSemaphore;

impl PySemaphore {
    fn make(
        py: Python<'_>,
        kind: Kind,
        value: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let size = value.given().map_or(Ok(1), |value| permits("value", value, 0))?;
        let common = Common::new(py, name, clock)?;
        Ok(Self { permits: Permits::Own(Own::new(size, kind, common.core_clock())), common, kind })
    }

    /// `acquire`, with the standard library's rules for its arguments.
    pub(super) fn acquire(
        this: &Bound<'_, Self>,
        blocking: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
        n: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let n = weight(n)?;
        let timeout = timeout.filter(|timeout| !timeout.is_none()).map(in_seconds).transpose()?;
        let timeout = timeout.as_ref();
        let timeout = match (blocking.map_or(Ok(true), PyAnyMethods::is_truthy)?, timeout) {
            (false, Some(_)) => return Err(PyValueError::new_err("can't specify timeout for non-blocking acquire")),
            (false, None) => Timeout::Never,
            (true, Some(timeout)) if timeout.lt(0)? => Timeout::Never,
            (true, timeout) => Timeout::parse(timeout)?,
        };
        blocking::run(this.as_any(), &mut Acquire::new(this, n), timeout)?.into_object(this.py())
    }

    pub(super) fn try_acquire(this: &Bound<'_, Self>, n: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let n = weight(n)?;
        Self::granted(this, n, this.get().permits.try_acquire(this.py(), n))
    }

    pub(super) fn release(this: &Bound<'_, Self>, n: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let n = weight(n)?;
        let (wakes, result) = this.get().permits.release(this.py(), n);
        wakes.fire();
        result.map_err(|error| {
            let held = error.held;
            PyValueError::new_err(format!("semaphore released too many times: 'n' is {n}, and {held} are held: {}", text(this)))
        })
    }
}

#[pymethods]
impl PySemaphore {
    #[new]
    #[pyo3(signature = (value = Argument::MISSING, *, clock = None, name = None), text_signature = "(value=1, *, clock=None, name=None)")]
    fn new(
        py: Python<'_>,
        value: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Self::make(py, Kind::Growing, value, clock, name)
    }

    /// The name given at creation, for `repr`, messages and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.common.name(py)
    }

    /// The total number of permits, held or free.
    #[getter]
    fn size(&self, py: Python<'_>) -> u64 {
        self.permits.statistics(py).size
    }

    /// The number of free permits, not counting those on their way to a waiter. It is the counter of
    /// `threading.Semaphore`.
    #[getter]
    fn value(&self, py: Python<'_>) -> u64 {
        self.permits.statistics(py).value
    }

    /// Return True if a permit cannot be acquired immediately.
    fn locked(&self, py: Python<'_>) -> bool {
        let seen = self.permits.statistics(py);
        seen.value == 0 || seen.waiters > 0
    }

    /// Change the total number of permits, from now on.
    ///
    /// A larger number wakes waiters. With a smaller number, permits that are held stay held, and none is granted until
    /// enough have been released. A waiter for more than one permit and more than the new total gets ValueError.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid `value`, with nothing changed.
    fn resize(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let size = permits("value", value, 0)?;
        match &self.permits {
            Permits::Own(own) => own.resize(py, size).fire(),
            Permits::Key { .. } => {
                return Err(PyTypeError::new_err(
                    "resize() is not available for one key: all keys have the same number of permits",
                ));
            }
        }
        Ok(())
    }

    /// Return a context manager (`with`, `async with`) that holds `n` permits while its block runs.
    ///
    /// The permits are acquired on entry, waiting at most `timeout` seconds if that is given, and released on exit. A
    /// permit object that is dropped while it is held releases its permits, with a ResourceWarning.
    ///
    /// Entering raises Overloaded if the permits were not free in time, ValueError if `n` is more than one and more
    /// than the total number. Raises ValueError, TypeError or OverflowError for an invalid argument.
    #[pyo3(signature = (n = Argument::MISSING, *, timeout = None), text_signature = "($self, n=1, *, timeout=None)")]
    fn permit(slf: &Bound<'_, Self>, n: Argument<'_, '_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<PyPermit> {
        Ok(PyPermit::new(slf.clone().unbind(), weight(n.given())?, Timeout::parse_strict("timeout", timeout)?))
    }

    /// The operation behind `acquire_async`.
    fn _async_acquire(
        slf: &Bound<'_, Self>,
        n: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let (n, timeout) = (weight(Some(n))?, Timeout::parse_strict("timeout", timeout)?);
        Ok(AsyncOperation::new(slf.clone().into_any().unbind(), Acquire::new(slf, n), timeout))
    }

    /// Return a snapshot of the semaphore's permits, counters and waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let seen = self.permits.statistics(py);
        let counts = [
            ("size", seen.size),
            ("held", seen.held),
            ("value", seen.value),
            ("peak_held", seen.peak_held),
            ("acquired", seen.acquired),
            ("waiters", seen.waiters as u64),
        ];
        snapshot(py, "SemaphoreStatistics", &self.common, &counts, &[("waited_seconds", seen.waited)])
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(slf: &Bound<'_, Self>, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        Self::release(slf, None)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let seen = this.permits.statistics(py);
        let key = match &this.permits {
            Permits::Key { key, .. } => format!(" key={}", text(key.bind(py))),
            Permits::Own(_) => String::new(),
        };
        let head = repr_head(slf.as_any(), &(this.common.label(py) + &key))?;
        let most = if this.kind == Kind::Bounded { format!("/{}", seen.size) } else { String::new() };
        Ok(format!("{head} held={} waiters={}: value={}{most}>", seen.held, seen.waiters, seen.value))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        self.permits.traverse(&visit)
    }
}

#[pymethods]
impl PyBoundedSemaphore {
    #[new]
    #[pyo3(signature = (value = Argument::MISSING, *, clock = None, name = None), text_signature = "(value=1, *, clock=None, name=None)")]
    fn new(
        py: Python<'_>,
        value: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        Ok(PyClassInitializer::from(PySemaphore::make(py, Kind::Bounded, value, clock, name)?).add_subclass(Self))
    }
}

refuse_copies!(PySemaphore);
