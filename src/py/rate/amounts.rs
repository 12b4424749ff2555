//! The checks of rates and amounts.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};
use sluicegate_core::clock::{self, Nanos};
use sluicegate_core::rate::{Pace, PaceError, Scale, Units};

use crate::rt::arguments::{text, type_name};

/// A finite number that is not negative, by the name of its argument.
pub(crate) fn number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    if value.is_instance_of::<PyBool>() || !(value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>()) {
        let (value, kind) = (text(value), type_name(value));
        return Err(PyTypeError::new_err(format!("'{name}' must be an int or float, not {value} ({kind})")));
    }
    let Ok(number) = value.extract::<f64>() else {
        return Err(PyOverflowError::new_err(format!("'{name}' is too large: {}", shortened(value))));
    };
    if !number.is_finite() || number < 0.0 {
        return Err(PyValueError::new_err(format!("'{name}' must be a finite number, not negative, not {}", text(value))));
    }
    Ok(number)
}

/// The same, and not zero.
pub(crate) fn positive_number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match number(name, value)? {
        number if number > 0.0 => Ok(number),
        _ => Err(PyValueError::new_err(format!("'{name}' must be more than zero, not {}", text(value)))),
    }
}

/// Numbers can be very long.
fn shortened(value: &Bound<'_, PyAny>) -> String {
    let text = text(value);
    if text.chars().count() <= 40 { text } else { format!("{}... ({} digits)", &text[..20], text.len()) }
}

fn too_large(name: &str, value: &Bound<'_, PyAny>, scale: Scale) -> PyErr {
    let most = scale.tokens(sluicegate_core::rate::MAX_UNITS.into());
    PyOverflowError::new_err(format!("'{name}' is too large here: {}; at most {most:?} can be counted", shortened(value)))
}

/// An amount in units, by the name of its argument.
pub(crate) fn amount(name: &str, value: &Bound<'_, PyAny>, scale: Scale) -> PyResult<Units> {
    let tokens = number(name, value)?;
    match scale.units(tokens) {
        Some(0) if tokens > 0.0 => {
            let least = 1.0 / scale.tokens(1).recip();
            Err(PyValueError::new_err(format!(
                "'{name}' is too small: {}; amounts are counted in units of {least:?}",
                text(value)
            )))
        }
        Some(units) => Ok(units),
        None => Err(too_large(name, value, scale)),
    }
}

/// The same, and not zero.
pub(crate) fn positive_amount(name: &str, value: &Bound<'_, PyAny>, scale: Scale) -> PyResult<Units> {
    positive_number(name, value)?;
    amount(name, value, scale)
}

/// The scale for a limiter that lets at most so much through at once.
pub(crate) fn scale(name: &str, largest: &Bound<'_, PyAny>) -> PyResult<Scale> {
    let tokens = positive_number(name, largest)?;
    Scale::for_largest(tokens).ok_or_else(|| {
        PyOverflowError::new_err(format!("'{name}' is too large: {}; at most 1e18 is possible", shortened(largest)))
    })
}

/// A rate per period.
pub(crate) fn pace(rate: (&Bound<'_, PyAny>, f64), period: f64, scale: Scale) -> PyResult<Pace> {
    let (given, rate) = rate;
    Pace::new(rate, period, scale).map_err(|error| match error {
        PaceError::TooFast => {
            PyOverflowError::new_err(format!("'rate' is too large: {} per {period:?} seconds", shortened(given)))
        }
        PaceError::TooSlow => PyValueError::new_err(format!("'rate' is too small: {} per {period:?} seconds", text(given))),
    })
}

/// A time in seconds, rounded up, so that whoever waits so long does not come too early.
pub(crate) fn seconds(time: Nanos) -> f64 {
    let seconds = clock::seconds(time);
    if clock::nanos(seconds.min(clock::MAX_SECONDS)) < time { f64::from_bits(seconds.to_bits() + 1) } else { seconds }
}
