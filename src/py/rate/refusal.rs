//! The exceptions for refused requests.

use crate::rt::kept::{Kept, interned};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyString, PyTuple};
use sluicegate_core::clock::Nanos;
use sluicegate_core::rate::{Refusal, Scale, Units};

use super::amounts::seconds;
use crate::rt::arguments::text;
use crate::rt::exceptions;
use crate::rt::memory;

/// A `RateLimited` by `this`. `template` is its message, with the limiter's name as `{0}`, the time until a retry is useful as `{1}`, its
/// class as `{2}`, and `more` as `{3}`.
pub(super) fn rate_limited<'py, M>(this: &Bound<'py, PyAny>, template: &Bound<'py, PyString>, after: Nanos, more: M) -> PyErr
where
    M: IntoPyObject<'py>,
{
    match limited_args(this, template, after, more) {
        Ok(args) => exceptions::rate_limited(this.py(), args),
        Err(error) => error,
    }
}

/// The arguments of that exception. `name` is what the object has as that attribute, which a subclass may define.
pub(super) fn limited_args<'py, M>(
    this: &Bound<'py, PyAny>,
    template: &Bound<'py, PyString>,
    after: Nanos,
    more: M,
) -> PyResult<Bound<'py, PyTuple>>
where
    M: IntoPyObject<'py>,
{
    let py = this.py();
    let name = this.getattr_opt(interned!(py, "name"))?; // a reservation has none
    (template, name, seconds(after), this.get_type().name()?, more).into_pyobject(py)
}

/// An amount as an argument of an exception. Most are of one token, of which there is one float for all; not where threads that run at once
/// would count its references at once.
#[inline]
pub(super) fn tokens(py: Python<'_>, scale: Scale, n: Units) -> Bound<'_, PyFloat> {
    static ONE: Kept<PyFloat> = Kept::new();
    if cfg!(not(Py_GIL_DISABLED)) && n == scale.per_token() {
        return ONE.get(py).unwrap_or_else(|| ONE.keep(PyFloat::new(py, 1.0))).clone();
    }
    PyFloat::new(py, scale.tokens(n.into()))
}

/// The message of a limiter that cannot admit an amount.
pub(super) fn admits_later(py: Python<'_>) -> &Bound<'_, PyString> {
    interned!(py, "{2}{0} cannot admit the request (n={3:g}) in time; retry after {1:.6f} seconds")
}

/// The message of a set, for the limit whose name is `{3}`, or for requests that wait already.
pub(super) fn set_admits_later(py: Python<'_>, has_limit: bool) -> &Bound<'_, PyString> {
    if has_limit {
        interned!(py, "{2}{0} cannot admit the request in time because of its limit {3!r}; retry after {1:.6f} seconds")
    } else {
        interned!(py, "{2}{0} cannot admit the request in time, after those that are waiting; retry after {1:.6f} seconds")
    }
}

/// The message for a new key.
pub(super) fn all_in_use(py: Python<'_>) -> &Bound<'_, PyString> {
    interned!(py, "all {3} keys of {2}{0} are in use, and none can be forgotten for a new key; retry after {1:.6f} seconds")
}

/// The exception for a lack of memory. Nothing has changed.
pub(super) fn no_memory(this: &Bound<'_, PyAny>) -> PyErr {
    memory::none(this.py(), c"there is no memory to remember another request")
}

/// The exception for an amount that can never be admitted at once.
pub(super) fn cannot_pass(name: &str, asked: f64, limiter: &Bound<'_, PyAny>) -> PyErr {
    let limiter = text(limiter);
    PyValueError::new_err(format!("'{name}' is {asked:?}, which can never be admitted: it is more than {limiter} admits at once"))
}

/// The name, for messages, and the object of the member of a set with that index.
pub(super) fn member_of<'py>(set: &Bound<'py, PyAny>, index: usize) -> PyResult<(String, Bound<'py, PyAny>)> {
    set.call_method1(interned!(set.py(), "_leaf"), (index,))?.extract()
}

/// The same as `cannot_pass`, for the member of a set with that index.
pub(super) fn member_cannot_pass(set: &Bound<'_, PyAny>, index: usize, asked: f64) -> PyErr {
    match member_of(set, index) {
        Ok((name, limiter)) => cannot_pass(&name, asked, &limiter),
        Err(error) => error,
    }
}

/// The exception for a debit or a settlement that was refused.
pub(super) fn cannot_count(this: &Bound<'_, PyAny>, refusal: Refusal) -> PyErr {
    if refusal == Refusal::NoMemory { no_memory(this) } else { too_far(this) }
}

/// The exception for a total that is too large to be counted.
pub(super) fn too_far(this: &Bound<'_, PyAny>) -> PyErr {
    PyOverflowError::new_err(format!(
        "'n' is too large: with what is already booked, the total cannot be counted: {}",
        text(this)
    ))
}
