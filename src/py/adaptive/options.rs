//! The arguments of `AdaptiveConcurrency`, each checked when the object is made.

use pyo3::exceptions::{PyConnectionError, PyOverflowError, PyTimeoutError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use sluicegate_core::adaptive::aimdf::{Rules, Step};
use sluicegate_core::adaptive::{LEAST_URGENT, Settings};
use sluicegate_core::shed::Codel;

use crate::rt::arguments::{at_least, number, positive, positive_time, text};
use crate::rt::failures::Filter;
use crate::rt::shed::PyCodel;

/// The largest limit, and the largest number of samples.
const MOST: usize = 1_000_000_000;

/// With this share of the limit in flight a limiter is nearly full.
const NEAR: f64 = 0.9;

/// The arguments as they were given.
pub(super) struct Given<'a, 'py> {
    pub(super) target: &'a Bound<'py, PyAny>,
    pub(super) initial: Option<&'a Bound<'py, PyAny>>,
    pub(super) min: Option<&'a Bound<'py, PyAny>>,
    pub(super) max: Option<&'a Bound<'py, PyAny>>,
    pub(super) decrease: Option<&'a Bound<'py, PyAny>>,
    pub(super) bad_fraction: Option<&'a Bound<'py, PyAny>>,
    pub(super) min_samples: Option<&'a Bound<'py, PyAny>>,
    pub(super) step: Option<&'a Bound<'py, PyAny>>,
    pub(super) max_waiting: Option<&'a Bound<'py, PyAny>>,
    pub(super) shed: Option<&'a Bound<'py, PyAny>>,
    pub(super) dropped: Option<&'a Bound<'py, PyAny>>,
}

fn limit(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    match positive(name, value)? {
        limit if limit <= MOST => Ok(limit as u64),
        _ => Err(PyOverflowError::new_err(format!("'{name}' is {}, and the maximum is {MOST}", text(value)))),
    }
}

/// The bounds of the limit.
pub(super) fn bounds(min: Option<&Bound<'_, PyAny>>, max: Option<&Bound<'_, PyAny>>) -> PyResult<(u64, u64)> {
    let least = min.map_or(Ok(1), |min| limit("min", min))?;
    let most = max.map_or(Ok(least.max(200)), |max| limit("max", max))?;
    if most < least {
        return Err(PyValueError::new_err(format!("'max' must be at least 'min', which is {least}, not {most}")));
    }
    Ok((least, most))
}

impl<'a, 'py> Given<'a, 'py> {
    /// Nothing but the target.
    pub(super) fn only(target: &'a Bound<'py, PyAny>) -> Self {
        Self {
            target,
            initial: None,
            min: None,
            max: None,
            decrease: None,
            bad_fraction: None,
            min_samples: None,
            step: None,
            max_waiting: None,
            shed: None,
            dropped: None,
        }
    }

    pub(super) fn settings(&self) -> PyResult<Settings> {
        let target = if self.target.is_none() { None } else { Some(positive_time("target", self.target)?) };
        let (min, max) = bounds(self.min, self.max)?;
        let initial = self.initial.map_or(Ok(20.clamp(min, max)), |initial| limit("initial", initial))?;
        if !(min..=max).contains(&initial) {
            return Err(PyValueError::new_err(format!("'initial' must be between {min} and {max}, not {initial}")));
        }
        let rules = Rules {
            target,
            min,
            max,
            decrease: self.decrease.map_or(Ok(0.9), decrease)?,
            bad_fraction: self.bad_fraction.map_or(Ok(0.1), bad_fraction)?,
            min_samples: self.min_samples.map_or(Ok(1), |samples| limit("min_samples", samples))?,
            step: self.step.map_or(Ok(Step::One), step)?,
            near: NEAR,
        };
        let max_waiting = self.max_waiting.map_or(Ok(0), max_waiting)?;
        let shed = self.shed.filter(|shed| !shed.is_none()).map(shed_rule).transpose()?;
        if shed.is_some() && max_waiting == 0 {
            return Err(PyValueError::new_err("'shed' needs a wait queue: give 'max_waiting' too"));
        }
        Ok(Settings { rules, initial, max_waiting, shed })
    }

    pub(super) fn filter(&self, py: Python<'_>) -> PyResult<Filter> {
        if let Some(dropped) = self.dropped {
            return Filter::new("dropped", dropped);
        }
        let usual = PyTuple::new(py, [py.get_type::<PyTimeoutError>(), py.get_type::<PyConnectionError>()])?;
        Filter::new("dropped", usual.as_any())
    }
}

/// A share that is less than the whole.
fn below_one(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match number(name, value)? {
        share if share < 1.0 => Ok(share),
        _ => Err(PyValueError::new_err(format!("'{name}' must be less than 1, got {}", text(value)))),
    }
}

fn decrease(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match below_one("decrease", value)? {
        share if share > 0.0 => Ok(share),
        _ => Err(PyValueError::new_err(format!("'decrease' must be greater than 0, got {}", text(value)))),
    }
}

fn bad_fraction(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    below_one("bad_fraction", value)
}

fn step(value: &Bound<'_, PyAny>) -> PyResult<Step> {
    let Ok(name) = value.cast::<PyString>() else {
        return Err(PyTypeError::new_err(format!("'step' must be \"one\" or \"sqrt\", not {}", text(value))));
    };
    match name.to_string_lossy().as_ref() {
        "one" => Ok(Step::One),
        "sqrt" => Ok(Step::SquareRoot),
        _ => Err(PyValueError::new_err(format!("'step' must be \"one\" or \"sqrt\", not {}", text(value)))),
    }
}

fn max_waiting(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    at_least("max_waiting", value, 0)?;
    Ok(value.extract().unwrap_or(u64::MAX)) // more than fits in memory is as good as no bound
}

fn shed_rule(value: &Bound<'_, PyAny>) -> PyResult<Codel> {
    match value.cast::<PyCodel>() {
        Ok(rule) => Ok(rule.get().rule()),
        Err(_) => Err(PyTypeError::new_err(format!("'shed' must be a CoDel or None, not {}", text(value)))),
    }
}

/// The argument `priority` of a call.
pub(super) fn priority(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    at_least("priority", value, 0)?;
    value.extract().ok().filter(|&level| level <= LEAST_URGENT).ok_or_else(|| {
        let value = text(value);
        PyValueError::new_err(format!("'priority' must be from 0, the most urgent, to {LEAST_URGENT}, not {value}"))
    })
}
