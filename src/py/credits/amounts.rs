//! Amounts of credit: parsing of arguments, and conversion to Python objects.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};
use sluicegate_core::credits::UNBOUNDED;

use crate::rt::arguments::{as_int, text, type_name};

/// Parses an int of at least `least`: an argument or a weight.
pub(super) fn whole(what: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<u64> {
    let value = &as_int(value)?;
    let wrong = || format!("{what} must be a whole number of at least {least}, not {}", text(value));
    if value.is_instance_of::<PyBool>() || !(value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>()) {
        return Err(PyTypeError::new_err(format!("{} ({})", wrong(), type_name(value))));
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        let float = float.value();
        if !(float.is_finite() && float.fract().abs() <= 0.0) {
            return Err(PyValueError::new_err(wrong()));
        }
    }
    if value.lt(least)? {
        return Err(PyValueError::new_err(wrong()));
    }
    let whole = value.py().get_type::<PyInt>().call1((value,))?;
    match whole.extract::<u64>() {
        Ok(whole) if whole < UNBOUNDED => Ok(whole),
        _ => Err(PyOverflowError::new_err(format!("{what} is {}, and the maximum is 2**63 - 2", text(value)))),
    }
}

/// Parses a requested amount of credit: an int of at least 1, or `math.inf` for no limit. An amount too large to be counted means no limit
/// (rule 3.17).
pub(super) fn demand(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let value = &as_int(value)?;
    if value.is_exact_instance_of::<PyFloat>() && value.extract::<f64>()?.is_infinite() && value.gt(0)? {
        return Ok(UNBOUNDED);
    }
    if value.is_instance_of::<PyBool>() || !value.is_instance_of::<PyInt>() {
        return Err(PyTypeError::new_err(format!(
            "'{name}' must be an int of at least 1, or math.inf, not {} ({})",
            text(value),
            type_name(value)
        )));
    }
    if value.lt(1)? {
        return Err(PyValueError::new_err(format!(
            "'{name}' must be at least 1, not {}: demand is positive (Reactive Streams, rule 3.9)",
            text(value)
        )));
    }
    Ok(value.extract::<u64>().map_or(UNBOUNDED, |n| n.min(UNBOUNDED)))
}

/// The amount as a Python object: `math.inf` for no limit.
pub(super) fn amount_object(py: Python<'_>, n: u64) -> PyResult<Bound<'_, PyAny>> {
    if n == UNBOUNDED { Ok(PyFloat::new(py, f64::INFINITY).into_any()) } else { Ok(n.into_pyobject(py)?.into_any()) }
}

pub(super) fn amount_text(n: u64) -> String {
    if n == UNBOUNDED { "inf".to_owned() } else { n.to_string() }
}
