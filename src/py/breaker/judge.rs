//! The classification of exceptions, and the notification of a breaker's changes of state.
//!
//! Both run Python code: outside every section, on the thread whose call made the change.

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyString;
use sluicegate_core::breaker::{Change, Kind, Outcome};
use sluicegate_core::clock::seconds;

use crate::rt::arguments::text;
use crate::rt::class::Common;
use crate::rt::failures::{Filter, Verdict, verdict};
use crate::rt::kept::interned;
use crate::rt::{guarded, interrupts};

#[derive(Debug)]
pub(super) struct Judge {
    pub(super) failure: Filter,
    pub(super) ignore: Filter,
    pub(super) on_change: Option<Py<PyAny>>,
}

impl Judge {
    /// How a call ended that raised this. Exceptions that are no failures are answers of the service.
    pub(super) fn outcome_of(&self, error: &Bound<'_, PyAny>) -> PyResult<Outcome> {
        Ok(match verdict(error, &self.failure, Some(&self.ignore))? {
            Verdict::Nothing => Outcome::Ignored,
            Verdict::Failure { retry_after } => Outcome::Failure { retry_after },
            Verdict::Other => Outcome::Success,
        })
    }

    /// Reports a change: a line in the log, then `on_change`. `key` is of a keyed breaker.
    #[cold]
    #[inline(never)]
    pub(super) fn report(&self, py: Python<'_>, common: &Common, key: Option<&Py<PyAny>>, change: Change) {
        let Change { from, to, why, open_for } = change;
        let [from, to] = [from, to].map(|kind| name_of(py, kind));
        let why = why.to_string();
        let until = open_for.map(seconds);
        let of_key = key.map_or_else(String::new, |key| format!(" of key {}", text(key.bind(py))));
        let logged = || -> PyResult<()> {
            let log = guarded::import(py, "sluicegate._breakers")?.getattr(interned!(py, "_log_change"))?;
            let is_open = matches!(change.to, Kind::Open | Kind::ForcedOpen);
            let args = (format!("{}{of_key}", common.label(py)), from, to, &why, until, is_open).into_pyobject(py)?;
            guarded::call(&log, &args).map(drop)
        };
        let listened = || -> PyResult<()> {
            let Some(on_change) = &self.on_change else { return Ok(()) };
            let args = match key {
                Some(key) => (key, from, to, &why).into_pyobject(py)?,
                None => (from, to, &why).into_pyobject(py)?,
            };
            guarded::call(on_change.bind(py), &args).map(drop)
        };
        interrupts::report_failure(py, None, logged);
        interrupts::report_failure(py, self.on_change.as_ref().map(|function| function.bind(py)), listened);
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.failure.traverse(visit)?;
        self.ignore.traverse(visit)?;
        visit.call(&self.on_change)
    }
}

/// The state as Python says it.
pub(super) fn name_of(py: Python<'_>, kind: Kind) -> &Bound<'_, PyString> {
    match kind {
        Kind::Closed => interned!(py, "closed"),
        Kind::Open => interned!(py, "open"),
        Kind::HalfOpen => interned!(py, "half_open"),
        Kind::ForcedOpen => interned!(py, "forced_open"),
        Kind::Disabled => interned!(py, "disabled"),
    }
}
