//! `Clock` and `ManualClock`.

use std::sync::Arc;
use std::time::Duration;

use crate::rt::kept::Kept;
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple};
use sluicegate_core::clock::{Clock as CoreClock, Manual, nanos, seconds};
use sluicegate_core::section::Section;

use crate::rt::arguments::{self, Argument};
use crate::rt::blocking;
use crate::rt::domain::Attached;
use crate::rt::gc::attached_in_traverse;
use crate::rt::process::this_is_the_main_thread;
use crate::rt::waker::Waker;

/// The clock an object reads the time from. `Clock()` is the system's monotonic clock;
/// `sluicegate.testing.ManualClock` moves only when told to. There are no other clocks: the class cannot be
/// subclassed.
#[pyclass(frozen, subclass, weakref, name = "Clock", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyClock {
    pub(crate) clock: CoreClock<Waker>,
}

#[pymethods]
impl PyClock {
    #[new]
    fn new() -> Self {
        Self { clock: CoreClock::Monotonic }
    }

    #[classmethod]
    #[pyo3(signature = (**_kwargs))]
    fn __init_subclass__(cls: &Bound<'_, pyo3::types::PyType>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        Err(PyTypeError::new_err(format!("sluicegate.Clock cannot be subclassed (by {})", cls.name()?)))
    }

    /// Return the time in seconds since an arbitrary moment. It never goes back.
    fn now(&self) -> f64 {
        seconds(self.clock.now())
    }
}

/// The clock that was given, or else the default clock of the context (`with clock:`), or else the monotonic clock.
pub(crate) fn choose<'py>(py: Python<'py>, given: Option<&Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, PyClock>>> {
    match given.filter(|given| !given.is_none()) {
        Some(given) => match given.cast::<PyClock>() {
            Ok(clock) => Ok(Some(clock.clone())),
            Err(_) => {
                Err(PyTypeError::new_err(format!("'clock' must be a sluicegate.Clock or None, not {}", arguments::text(given))))
            }
        },
        None => Ok(in_force(py)?.call_method0("get")?.cast_into::<PyClock>().ok()),
    }
}

/// The same for objects that are written in Python, which pass the clock to the objects they consist of.
#[pyfunction]
pub(crate) fn _clock<'py>(py: Python<'py>, clock: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyClock>> {
    choose(py, Some(clock))?.map_or_else(|| Bound::new(py, PyClock::new()), Ok)
}

fn in_force(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: Kept<PyAny> = Kept::new();
    if let Some(variable) = VARIABLE.get(py) {
        return Ok(variable);
    }
    let none = PyDict::new(py);
    none.set_item("default", py.None())?;
    let made = py.import("contextvars")?.getattr("ContextVar")?.call(("sluicegate.clock",), Some(&none))?;
    Ok(VARIABLE.keep(made))
}

/// A clock that moves only when told to, for testing code that waits or measures time.
///
/// `start` is the first reading, in seconds. Inside `with clock:` it is the default clock of every sluicegate
/// object that is created without one. This holds for the current context: a thread started inside the block has
/// its own.
#[pyclass(frozen, extends = PyClock, weakref, name = "ManualClock", module = "sluicegate.testing")]
#[derive(Debug)]
pub(crate) struct PyManualClock {
    manual: Arc<Manual<Waker>>,
    /// The tokens that undo `with clock:`, innermost last.
    tokens: Section<Vec<Py<PyAny>>, Attached>,
}

#[pymethods]
impl PyManualClock {
    #[new]
    #[pyo3(signature = (start = Argument::MISSING), text_signature = "(start=0.0)")]
    fn new(start: Argument<'_, '_>) -> PyResult<PyClassInitializer<Self>> {
        let start = start.given().map_or(Ok(0.0), |start| arguments::duration("start", start))?;
        let manual = Arc::new(Manual::new(nanos(start)));
        let clock = CoreClock::Manual(Arc::clone(&manual));
        let this = Self { manual, tokens: Section::new(Vec::new()) };
        Ok(PyClassInitializer::from(PyClock { clock }).add_subclass(this))
    }

    /// Move the clock forward by `seconds`, in steps of a nanosecond, and wake the operations that become due, in time
    /// order.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid amount. A woken thread or task runs later, when it
    /// is scheduled, not inside this call.
    fn advance(&self, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        let by = nanos(arguments::duration("seconds", seconds)?);
        self.manual.advance(by);
        Ok(())
    }

    /// The number of operations that are waiting on objects with this clock: threads and tasks, with and without a
    /// timeout. An operation that the clock has woken does not count, even before its thread or task has run.
    #[getter]
    fn waiters(&self) -> usize {
        self.manual.waits()
    }

    /// Block, in real time, until at least `n` operations are waiting on objects with this clock.
    ///
    /// Raises TimeoutError after `timeout` seconds.
    #[pyo3(signature = (n, timeout = 5.0))]
    fn wait_for_waiters(&self, py: Python<'_>, n: usize, timeout: f64) -> PyResult<()> {
        let main = this_is_the_main_thread();
        let end = std::time::Instant::now() + Duration::try_from_secs_f64(timeout).unwrap_or(Duration::MAX / 4);
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let mut enough = false;
            blocking::detached_for(py, Some(left), main, |limit| enough = self.manual.wait_for_waits(n, limit.unwrap_or(left)));
            if enough {
                return Ok(());
            }
            blocking::run_handlers(py, None)?;
            if left.is_zero() {
                let waits = self.manual.waits();
                return Err(PyTimeoutError::new_err(format!(
                    "{waits} of {n} operations are waiting on this clock after {timeout} seconds"
                )));
            }
        }
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let token = in_force(py)?.call_method1("set", (slf,))?.unbind();
        slf.get().tokens.with(py, |tokens| tokens.push(token));
        Ok(slf.clone())
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        let Some(token) = self.tokens.with(py, Vec::pop) else {
            return Err(PyRuntimeError::new_err("this clock is not the current default clock: __exit__ without __enter__"));
        };
        in_force(py)?.call_method1("reset", (token,)).map(drop)
    }

    fn __repr__(&self) -> String {
        format!("<sluicegate.testing.ManualClock now={:?} waiters={}>", seconds(self.manual.now()), self.manual.waits())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.tokens.with(attached_in_traverse(), |tokens| tokens.iter().try_for_each(|token| visit.call(token)))
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.tokens.with(py, std::mem::take));
    }
}
