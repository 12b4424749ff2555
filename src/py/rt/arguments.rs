//! Checks of arguments, and how a value looks in a message.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyType};
use sluicegate_core::clock::{MAX_SECONDS, Nanos, nanos};

use crate::rt::imported::class_of;
use crate::rt::kept::{Kept, interned};

/// How long an operation may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    Never,
    Forever,
    Within(f64),
}

impl Timeout {
    /// What was asked of an operation, for the message that it was refused.
    pub(crate) fn asked(self, operation: &str) -> String {
        match self {
            Self::Never => format!("{operation} without waiting"),
            Self::Forever => operation.to_owned(),
            Self::Within(seconds) => format!("{operation} with timeout={seconds}"),
        }
    }

    /// The standard library's `timeout` argument, with its errors, and NaN refused (there it makes `get` spin for ever).
    pub(crate) fn parse(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else { return Ok(Self::Forever) };
        let number = in_seconds(timeout)?;
        if number.lt(0)? {
            return Err(PyValueError::new_err(format!("'timeout' must be a non-negative number, not {}", text(timeout))));
        }
        let seconds: f64 = number.extract()?;
        if seconds.is_nan() {
            return Err(PyValueError::new_err("'timeout' must be a non-negative number, not nan"));
        }
        Ok(if seconds == 0.0 { Self::Never } else { Self::Within(seconds) })
    }

    /// The stricter rule of methods that are not the standard library's: all of it is refused at the door.
    pub(crate) fn parse_strict(name: &str, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        match timeout.filter(|timeout| !timeout.is_none()) {
            None => Ok(Self::Forever),
            Some(timeout) => {
                let seconds = duration(name, timeout)?;
                Ok(if seconds == 0.0 { Self::Never } else { Self::Within(seconds) })
            }
        }
    }

    /// Nanoseconds, once it is known that there is a wait.
    pub(crate) fn limit(self) -> PyResult<Option<Nanos>> {
        match self {
            Self::Never => Ok(Some(0)),
            Self::Forever => Ok(None),
            Self::Within(seconds) if seconds <= MAX_SECONDS => Ok(Some(nanos(seconds))),
            Self::Within(seconds) => Err(PyOverflowError::new_err(format!(
                "timestamp out of range: 'timeout' is {seconds} seconds, and the maximum is {MAX_SECONDS}"
            ))),
        }
    }
}

/// An integer of another type, NumPy's for one, as an `int`. Anything else as it is.
pub(crate) fn as_int<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() {
        return Ok(value.clone());
    }
    match value.get_type().getattr_opt(interned!(value.py(), "__index__"))? {
        Some(index) => index.call1((value,)),
        None => Ok(value.clone()),
    }
}

/// A `timedelta` as its number of seconds. Anything else as [`as_int`] has it.
pub(crate) fn in_seconds<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static TIMEDELTA: Kept<PyType> = Kept::new();
    let number = as_int(value)?;
    if number.is_instance_of::<PyInt>() || number.is_instance_of::<PyFloat>() {
        return Ok(number);
    }
    match class_of(value.py(), &TIMEDELTA, "datetime", "timedelta")? {
        Some(class) if value.is_instance(class)? => value.call_method0(interned!(value.py(), "total_seconds")),
        _ => Ok(number),
    }
}

/// A finite number of seconds, not negative and not too large, by the name of its argument.
pub(crate) fn duration(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let number = in_seconds(value)?;
    if number.is_instance_of::<PyBool>() || !(number.is_instance_of::<PyFloat>() || number.is_instance_of::<PyInt>()) {
        return Err(PyTypeError::new_err(format!(
            "'{name}' must be a number of seconds (int, float or timedelta), not {} ({})",
            text(value),
            type_name(value)
        )));
    }
    let seconds: f64 = number.extract().map_err(|_| {
        PyOverflowError::new_err(format!("'{name}' is {} seconds, and the maximum is {MAX_SECONDS}", text(value)))
    })?;
    if !seconds.is_finite() || seconds < 0.0 {
        let value = text(value);
        return Err(PyValueError::new_err(format!("'{name}' must be a finite number of seconds and not negative, got {value}")));
    }
    if seconds > MAX_SECONDS {
        return Err(PyOverflowError::new_err(format!("'{name}' is {} seconds, and the maximum is {MAX_SECONDS}", text(value))));
    }
    Ok(seconds)
}

/// A flag as Python's own functions take it: anything that is true or false.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth(pub(crate) bool);

impl<'a, 'py> FromPyObject<'a, 'py> for Truth {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        value.is_truthy().map(Self)
    }
}

/// Refuses what is not an integer of at least `least`, by the name of its argument.
pub(crate) fn at_least(name: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<()> {
    let value = &as_int(value)?;
    if value.is_instance_of::<PyBool>() || !value.is_instance_of::<PyInt>() {
        return Err(PyTypeError::new_err(format!(
            "'{name}' must be an int of at least {least}, not {} ({})",
            text(value),
            type_name(value)
        )));
    }
    if value.lt(least)? {
        return Err(PyValueError::new_err(format!("'{name}' must be at least {least}, not {}", text(value))));
    }
    Ok(())
}

/// A count of at least one, by the name of its argument.
pub(crate) fn positive(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    at_least(name, value, 1)?;
    // More than fits in memory is as good as no limit.
    Ok(value.extract().unwrap_or(usize::MAX))
}

/// What an argument looks like, for a message.
pub(crate) fn text(value: &Bound<'_, PyAny>) -> String {
    value.repr().map_or_else(|_| "<unprintable>".to_owned(), |text| text.to_string_lossy().into_owned())
}

pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

/// An argument as it was given: an explicit None is not a missing argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument<'a, 'py>(Option<Borrowed<'a, 'py, PyAny>>);

impl<'py> Argument<'_, 'py> {
    pub(crate) const MISSING: Self = Self(None);

    pub(crate) fn given(&self) -> Option<&Bound<'py, PyAny>> {
        self.0.as_deref()
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Argument<'a, 'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(Some(object)))
    }
}

/// The argument `name`.
pub(crate) fn name_argument<'py>(name: Option<&Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match name.filter(|name| !name.is_none()) {
        None => Ok(None),
        Some(name) if name.is_instance_of::<pyo3::types::PyString>() => Ok(Some(name.clone())),
        Some(name) => Err(PyTypeError::new_err(format!("'name' must be a str or None, not {}", text(name)))),
    }
}
