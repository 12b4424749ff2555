//! The exceptions for what a limiter refuses.

use crate::rt::kept::interned;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use sluicegate_core::clock::Nanos;

use super::amounts::seconds;
use crate::rt::arguments::text;
use crate::rt::exceptions;

/// `RateLimited` by `this`, for the reason that `template` gives with the limiter's name as `{0}`, the time after which it is worth trying
/// again as `{1}`, its class as `{2}`, and `more` as `{3}`.
pub(super) fn rate_limited<'py, M>(this: &Bound<'py, PyAny>, template: &Bound<'py, PyString>, after: Nanos, more: M) -> PyErr
where
    M: IntoPyObject<'py>,
{
    let py = this.py();
    let told = || -> PyResult<PyErr> {
        let name = this.getattr_opt(interned!(py, "name"))?; // a reservation has none
        Ok(exceptions::rate_limited(py, (template, name, seconds(after), this.get_type().name()?, more)))
    };
    told().unwrap_or_else(|error| error)
}

/// More than may ever go at once.
pub(super) fn cannot_pass(name: &str, asked: f64, limiter: &Bound<'_, PyAny>) -> PyErr {
    let limiter = text(limiter);
    PyValueError::new_err(format!("'{name}' is {asked:?}, which can never be admitted: it is more than {limiter} admits at once"))
}

/// The same, of the member of a set with that index. (The set's `limits` are in the order of the members.)
pub(super) fn member_cannot_pass(set: &Bound<'_, PyAny>, index: usize, asked: f64) -> PyErr {
    let member = || -> PyResult<(String, Bound<'_, PyAny>)> {
        let limits = set.getattr(interned!(set.py(), "limits"))?;
        limits.call_method0(interned!(set.py(), "items"))?.try_iter()?.nth(index).transpose()?.map_or_else(
            || Err(PyValueError::new_err("that can never pass at once")), // a subclass has other limits
            |item| item.extract(),
        )
    };
    match member() {
        Ok((name, limiter)) => cannot_pass(&name, asked, &limiter),
        Err(error) => error,
    }
}

/// More is booked or owed than can be counted.
pub(super) fn too_far(this: &Bound<'_, PyAny>) -> PyErr {
    PyOverflowError::new_err(format!(
        "'n' is too large: with what is already booked, the total cannot be counted: {}",
        text(this)
    ))
}
