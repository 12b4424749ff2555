//! The classes `Latest` and `LatestTicks`. Their methods are in `class` and `ticks`.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use sluicegate_core::latest::{Latest, Ticks};
use sluicegate_core::section::Section;

use crate::rt::arguments::at_least;
use crate::rt::class::Common;
use crate::rt::domain::Attached;
use crate::rt::drops::FlatItem;
use crate::rt::ending::Ending;
use crate::rt::exceptions;
use crate::rt::kept::interned;
use crate::rt::late::Late;
use crate::rt::waker::Waker;

pub(crate) type Core = Latest<FlatItem, Waker, Attached, Ending>;

/// One value, set by many writers and read by many readers, threads and coroutines: each sees the newest value and may
/// miss the values that it replaced.
///
/// `initial` is the first value; without it there is none until `set` is called. Each value has a version: 1, 2, 3 and so
/// on. `get` returns the value, `changed` waits for a newer one, `for value in latest` and `async for` follow the changes,
/// and `every(seconds)` samples them. Setting a value never waits, however slow the readers are.
///
/// After `shutdown` readers get the last value if they have not had it, and then the end.
///
/// Fairness: a new value wakes all waiting readers, in order of arrival.
///
/// Raises TypeError for an invalid `clock` or `name`.
#[pyclass(frozen, subclass, weakref, generic, name = "Latest", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyLatest {
    pub(super) parts: Late<Parts>,
}

/// The parts of a latest value.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(super) core: Core,
    pub(super) common: Common,
}

/// What `Latest.every(seconds)` returns: an iterator, for `for` and `async for`, over the newest value at each tick.
#[pyclass(frozen, weakref, generic, name = "LatestTicks", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyLatestTicks {
    pub(super) latest: Py<PyLatest>,
    pub(super) seconds: f64,
    pub(super) ticks: Section<Ticks, Attached>,
}

/// The argument `since`: the version that the reader has.
pub(super) fn since(since: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(since) = since.filter(|since| !since.is_none()) else { return Ok(None) };
    at_least("since", since, 0)?;
    // A larger number than can be counted: no version is ever newer.
    Ok(Some(since.extract().unwrap_or(u64::MAX)))
}

impl PyLatest {
    fn ending(&self, py: Python<'_>) -> Ending {
        self.core.look(py, |_, ending| ending.clone_ref(py))
    }

    pub(super) fn shut_down_error(&self, py: Python<'_>, operation: &str) -> PyErr {
        self.ending(py).shut_down_error(py, &format!("{operation}: the latest value{}", self.common.label(py)))
    }

    /// Called when an iteration has met ShutDown: raises the exception that ends it, or returns for an ordinary end.
    pub(super) fn end_of_iteration(&self, py: Python<'_>) -> PyResult<()> {
        self.ending(py).of_iteration(py, || self.shut_down_error(py, "iteration"))
    }

    /// The exception for a value that was not set in time: none at all, or none newer than this version.
    pub(super) fn refusal(&self, py: Python<'_>, asked: &str, since: u64) -> PyErr {
        match self.refusal_args(py, &PyString::new(py, asked), since) {
            Ok(args) => exceptions::empty(py, args),
            Err(error) => error,
        }
    }

    /// The arguments of that exception.
    pub(super) fn refusal_args<'py>(
        &self,
        py: Python<'py>,
        asked: &Bound<'py, PyString>,
        since: u64,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let template = if since == 0 {
            interned!(py, "{1}: the latest value{0} has not been set yet")
        } else {
            interned!(py, "{1}: there is no value newer than version {2}: the latest value{0} has version {3}")
        };
        (template, self.common.name(py), asked, since, self.core.version(py)).into_pyobject(py)
    }
}
