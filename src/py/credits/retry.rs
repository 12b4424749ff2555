//! `retry=`: the delay before a failed delivery is requeued.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use sluicegate_core::clock::{Nanos, nanos};

use crate::rt::arguments::{self, text, type_name};
use crate::rt::guarded;

#[derive(Debug)]
pub(super) enum Retry {
    /// A fixed delay.
    After(Nanos),
    /// A function of the number of the failed attempt that returns the delay.
    Call(Py<PyAny>),
}

impl Retry {
    pub(super) fn parse(value: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        match value.filter(|value| !value.is_none()) {
            None => Ok(Self::After(0)),
            Some(value) if value.is_callable() => {
                arguments::refuse_coroutine_function("retry", value)?;
                Ok(Self::Call(value.clone().unbind()))
            }
            Some(value) => match arguments::duration("retry", value) {
                Ok(seconds) => Ok(Self::After(nanos(seconds))),
                Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => Err(PyTypeError::new_err(format!(
                    "'retry' must be a number of seconds (int, float or timedelta) or callable, not {} ({})",
                    text(value),
                    type_name(value)
                ))),
                Err(error) => Err(error),
            },
        }
    }

    /// The delay after attempt number `attempt`. Runs the user's function, outside every section.
    pub(super) fn delay(&self, py: Python<'_>, attempt: u32) -> PyResult<Nanos> {
        match self {
            Self::After(delay) => Ok(*delay),
            Self::Call(function) => {
                let seconds = guarded::call(function.bind(py), &PyTuple::new(py, [attempt])?)?;
                Ok(nanos(arguments::duration("the result of retry", &seconds)?))
            }
        }
    }

    pub(super) fn callable(&self) -> Option<&Py<PyAny>> {
        match self {
            Self::After(_) => None,
            Self::Call(function) => Some(function),
        }
    }
}
