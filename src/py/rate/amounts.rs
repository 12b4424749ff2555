//! The checks of rates and amounts, by position and by name.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt};
use sluicegate_core::clock::{self, MAX_SECONDS, Nanos};
use sluicegate_core::rate::{Rate, RateError, Scale, Units};

use crate::rt::arguments::{as_int, in_seconds, text, type_name};

/// A finite number that is not negative, by the name of its argument.
pub(super) fn number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let value = &as_int(value)?;
    if value.is_instance_of::<PyBool>() || !(value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>()) {
        let (value, kind) = (text(value), type_name(value));
        return Err(PyTypeError::new_err(format!("'{name}' must be an int or float, not {value} ({kind})")));
    }
    let Ok(number) = value.extract::<f64>() else {
        return Err(PyOverflowError::new_err(format!("'{name}' is too large: {}", shortened(value))));
    };
    if !number.is_finite() || number < 0.0 {
        return Err(PyValueError::new_err(format!("'{name}' must be finite and not negative, got {}", text(value))));
    }
    Ok(number)
}

/// The same, and not zero.
pub(super) fn positive_number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match number(name, value)? {
        number if number > 0.0 => Ok(number),
        _ => Err(PyValueError::new_err(format!("'{name}' must be greater than zero, got {}", text(value)))),
    }
}

/// Numbers can be very long.
fn shortened(value: &Bound<'_, PyAny>) -> String {
    let text = text(value);
    if text.chars().count() <= 40 { text } else { format!("{}... ({} digits)", &text[..20], text.len()) }
}

fn too_large(name: &str, value: &Bound<'_, PyAny>, scale: Scale) -> PyErr {
    let most = scale.tokens(sluicegate_core::rate::MAX_UNITS.into());
    PyOverflowError::new_err(format!("'{name}' is too large for this limiter: {}; the maximum is {most:?}", shortened(value)))
}

/// An amount in units, by the name of its argument.
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

/// The same, and not zero.
pub(super) fn positive_amount(name: &str, value: &Bound<'_, PyAny>, scale: Scale) -> PyResult<Units> {
    positive_number(name, value)?;
    amount(name, value, scale)
}

/// The scale for a limiter that lets at most so much through at once.
pub(super) fn scale(name: &str, largest: &Bound<'_, PyAny>) -> PyResult<Scale> {
    let tokens = positive_number(name, largest)?;
    Scale::for_largest(tokens)
        .ok_or_else(|| PyOverflowError::new_err(format!("'{name}' is too large: {}; the maximum is 1e18", shortened(largest))))
}

/// A rate per period.
pub(super) fn rate_of(rate: (&Bound<'_, PyAny>, f64), period: f64, scale: Scale) -> PyResult<Rate> {
    let (given, rate) = rate;
    Rate::new(rate, period, scale).map_err(|error| match error {
        RateError::TooFast => {
            PyOverflowError::new_err(format!("'rate' is too large: {} per {period:?} seconds", shortened(given)))
        }
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

/// A time in seconds, rounded up, so that whoever waits so long does not come too early.
pub(super) fn seconds(time: Nanos) -> f64 {
    let seconds = clock::seconds(time);
    if clock::nanos(seconds.min(MAX_SECONDS)) < time { f64::from_bits(seconds.to_bits() + 1) } else { seconds }
}

/// The names of a set's members, in their order, and how each counts.
#[derive(Debug)]
pub(super) struct Names(Vec<(String, Scale)>);

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

impl Names {
    pub(super) fn new(names: Vec<(String, Scale)>) -> Self {
        Self(names)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The amounts that are named.
    pub(super) fn named(&self, function: &str, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<Option<Units>>> {
        let mut each = vec![None; self.0.len()];
        let mut unknown = Vec::new();
        for (name, value) in amounts.into_iter().flatten() {
            let name: String = name.extract()?;
            match self.iter().position(|known| known == name) {
                Some(index) => each[index] = Some(amount(&name, &value, self.0[index].1)?),
                None => unknown.push(name),
            }
        }
        if unknown.is_empty() {
            return Ok(each);
        }
        let (unknown, known) = (quoted(unknown.iter().map(String::as_str)), quoted(self.iter()));
        Err(PyTypeError::new_err(format!("{function}() got an unknown limit {unknown}; the limits are {known}")))
    }

    /// The same; with `all` every member must be named, else nothing is asked of the others.
    pub(super) fn amounts(&self, function: &str, amounts: Option<&Bound<'_, PyDict>>, all: bool) -> PyResult<Vec<Units>> {
        let each = self.named(function, amounts)?;
        let missing = quoted(self.iter().zip(&each).filter(|(_, n)| n.is_none()).map(|(name, _)| name));
        if all && !missing.is_empty() {
            return Err(PyTypeError::new_err(format!(
                "{function}() with amounts by name must name every limit; missing: {missing}"
            )));
        }
        Ok(each.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Amounts in the members' order, by name and in tokens.
    pub(super) fn tokens<'py>(&self, py: Python<'py>, amounts: impl Iterator<Item = Units>) -> PyResult<Bound<'py, PyDict>> {
        let by_name = PyDict::new(py);
        for ((name, scale), units) in self.0.iter().zip(amounts) {
            by_name.set_item(name, scale.tokens(units.into()))?;
        }
        Ok(by_name)
    }
}
