//! The checks of rates and amounts.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use sluicegate_core::clock::MAX_SECONDS;
use sluicegate_core::rate::{Rate, RateError, Scale, Units};

use crate::rt::arguments::{in_seconds, text};
pub(super) use crate::rt::arguments::{number, positive_number, seconds_to_wait as seconds};

fn too_large(name: &str, value: &Bound<'_, PyAny>, scale: Scale) -> PyErr {
    let most = scale.tokens(sluicegate_core::rate::MAX_UNITS.into());
    PyOverflowError::new_err(format!("'{name}' is too large for this limiter: {}; the maximum is {most:?}", text(value)))
}

/// Converts an amount to units. `name` is the name of the argument.
pub(super) fn amount(name: &str, value: &Bound<'_, PyAny>, scale: Scale) -> PyResult<Units> {
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

/// As `amount`, but the amount must not be zero.
pub(super) fn positive_amount(name: &str, value: &Bound<'_, PyAny>, scale: Scale) -> PyResult<Units> {
    positive_number(name, value)?;
    amount(name, value, scale)
}

/// The scale of a limiter that admits at most `largest` at once.
pub(super) fn scale(name: &str, largest: &Bound<'_, PyAny>) -> PyResult<Scale> {
    let tokens = positive_number(name, largest)?;
    Scale::for_largest(tokens)
        .ok_or_else(|| PyOverflowError::new_err(format!("'{name}' is too large: {}; the maximum is 1e18", text(largest))))
}

/// A rate per period.
pub(super) fn rate_of(rate: (&Bound<'_, PyAny>, f64), period: f64, scale: Scale) -> PyResult<Rate> {
    let (given, rate) = rate;
    Rate::new(rate, period, scale).map_err(|error| match error {
        RateError::TooFast => PyOverflowError::new_err(format!("'rate' is too large: {} per {period:?} seconds", text(given))),
        RateError::TooSlow => PyValueError::new_err(format!("'rate' is too small: {} per {period:?} seconds", text(given))),
    })
}

/// The period of a rate.
pub(super) fn period_of(value: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
    let Some(value) = value else { return Ok(1.0) };
    let period = positive_number("period", &in_seconds(value)?)?;
    if period > MAX_SECONDS {
        let period = text(value);
        return Err(PyOverflowError::new_err(format!("'period' is {period} seconds, and the maximum is {MAX_SECONDS}")));
    }
    Ok(period)
}
