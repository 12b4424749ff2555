//! `RetryBudget`.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBool, PyDict, PyTuple, PyType};
use sluicegate_core::retry_budget::{self, UNITS};

use crate::rt::arguments::{Argument, number, text};
use crate::rt::class::{Common, common_methods, counts, repr_head};
use crate::rt::domain::Attached;
use crate::rt::guarded;
use crate::rt::hot_methods::hot_methods;
use crate::rt::late::{Late, is_made_later, made_late, refuse_more};
use crate::rt::waker::Waker;

/// A budget for retries, shared by any number of threads and tasks: in an outage it bounds what they add to the load.
///
/// A retry takes a token (`try_acquire`), and is refused if there is none. A call that succeeds at its first attempt
/// adds `ratio` of a token (`deposit`), and each second adds `per_second`, up to `reserve` tokens, with which the budget
/// begins. So in the long run at most a share of `ratio` of the successful calls is added as retries, and in an outage,
/// when nothing succeeds, almost nothing.
///
/// Fairness: nobody waits; the first caller takes the token.
///
/// The method is that of the AWS SDKs, of gRPC (A6) and of Finagle. Raises ValueError, TypeError or OverflowError for
/// invalid arguments.
#[pyclass(frozen, subclass, weakref, name = "RetryBudget", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyRetryBudget {
    parts: Late<Parts>,
}

/// What a budget is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    core: retry_budget::RetryBudget<Waker, Attached>,
    /// The arguments, as they were given.
    ratio: f64,
    reserve: f64,
    per_second: f64,
    common: Common,
}

impl Parts {
    fn new(given: [Argument<'_, '_>; 3], common: Common) -> PyResult<Self> {
        let [ratio, reserve, per_second] = given;
        let given = ratio;
        let (ratio, by_success) = tokens("ratio", ratio, 0.1)?;
        if ratio > 1.0 {
            let given = given.given().map_or_else(String::new, text);
            let hint = if ratio >= 2.0 { format!(": for {ratio} percent write {}", ratio / 100.0) } else { String::new() };
            return Err(PyValueError::new_err(format!("'ratio' must be at most 1, got {given}{hint}")));
        }
        let (held, most) = tokens("reserve", reserve, 10.0)?;
        let (per_second, by_time) = tokens("per_second", per_second, 0.1)?;
        if most < UNITS {
            let given = reserve.given().map_or_else(String::new, text);
            return Err(PyValueError::new_err(format!("'reserve' must be at least 1, or there is never a retry, got {given}")));
        }
        let core = retry_budget::RetryBudget::new(by_success, most, by_time, common.core_clock());
        Ok(Self { core, ratio, reserve: held, per_second, common })
    }
}

impl PyRetryBudget {
    /// Raises RuntimeError if it has not been made.
    #[inline]
    pub(super) fn ready(&self) -> PyResult<()> {
        self.parts.ready()
    }

    #[inline]
    pub(super) fn core(&self) -> &retry_budget::RetryBudget<Waker, Attached> {
        &self.core
    }
}

/// More tokens than this cannot be counted.
const MOST: f64 = 1e9;

/// A number of tokens, and the units it is counted in.
fn tokens(name: &str, given: Argument<'_, '_>, otherwise: f64) -> PyResult<(f64, u64)> {
    let Some(value) = given.given() else { return Ok((otherwise, units(otherwise))) };
    let tokens = number(name, value)?;
    if tokens > MOST {
        return Err(PyOverflowError::new_err(format!("'{name}' is {}, and the maximum is {MOST:.0}", text(value))));
    }
    if tokens > 0.0 && units(tokens) == 0 {
        return Err(PyValueError::new_err(format!("'{name}' is too small to be counted: {}", text(value))));
    }
    Ok((tokens, units(tokens)))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the caller")]
#[expect(clippy::cast_precision_loss, reason = "a power of ten")]
fn units(tokens: f64) -> u64 {
    (tokens * UNITS as f64).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "it was made of a float")]
fn of_units(units: u64) -> f64 {
    units as f64 / UNITS as f64
}

fn boolean(py: Python<'_>, value: bool) -> Py<PyAny> {
    PyBool::new(py, value).to_owned().into_any().unbind()
}

#[pymethods]
impl PyRetryBudget {
    #[new]
    #[classmethod]
    #[pyo3(
        signature = (ratio = Argument::MISSING, *more, reserve = Argument::MISSING, per_second = Argument::MISSING, clock = None, name = None, **unknown),
        text_signature = "(ratio=0.1, *, reserve=10, per_second=0.1, clock=None, name=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "one for each of Python's")]
    fn new(
        class: &Bound<'_, PyType>,
        ratio: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        reserve: Argument<'_, '_>,
        per_second: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let py = class.py();
        if is_made_later::<Self>(class)? {
            return Ok(Self { parts: Late::unmade(Parts::new([Argument::MISSING; 3], Common::default())?) });
        }
        refuse_more("RetryBudget", more, unknown)?;
        Ok(Self { parts: Late::made(Parts::new([ratio, reserve, per_second], Common::new(py, name, clock)?)?) })
    }

    /// What a call that succeeds at its first attempt adds, in tokens.
    #[getter]
    fn ratio(&self) -> f64 {
        self.ratio
    }

    /// The largest number of tokens.
    #[getter]
    fn reserve(&self) -> f64 {
        self.reserve
    }

    /// What each second adds, in tokens.
    #[getter]
    fn per_second(&self) -> f64 {
        self.per_second
    }

    /// The number of tokens now.
    #[getter]
    fn tokens(&self, py: Python<'_>) -> f64 {
        of_units(self.core.statistics(py).tokens)
    }

    /// Return a snapshot of the budget's tokens and counters.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.ready()?;
        let seen = self.core.statistics(py);
        let fields = PyDict::new(py);
        fields.set_item("name", self.common.name(py))?;
        fields.set_item("tokens", of_units(seen.tokens))?;
        fields.set_item("reserve", self.reserve)?;
        for (field, count) in counts!(seen: deposits, acquired, refused) {
            fields.set_item(field, count)?;
        }
        guarded::call_by_name(&guarded::import(py, "sluicegate._statistics")?.getattr("RetryBudgetStatistics")?, &fields)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        Ok(format!(
            "{head} tokens={:.3}/{} ratio={:?} per_second={:?}>",
            this.tokens(py),
            this.reserve,
            this.ratio,
            this.per_second
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)
    }
}

hot_methods! {
    pub(crate) fn install() for PyRetryBudget as "RetryBudget";

    /// Take a token for a retry, if there is one. Return whether there was. Never waits.
    fn try_acquire(this) {
        fast: {
            let (py, core) = (this.py(), &this.get().core);
            if this.get().ready().is_err() || core.is_entered(py) { Fast::Declined } else { Fast::Done(boolean(py, core.try_acquire(py))) }
        },
        general: this.get().ready().map(|()| boolean(this.py(), this.get().core.try_acquire(this.py()))),
    }

    /// Say that a call has succeeded at its first attempt: adds `ratio` of a token.
    fn deposit(this) {
        fast: {
            let (py, core) = (this.py(), &this.get().core);
            if this.get().ready().is_err() || core.is_entered(py) {
                Fast::Declined
            } else {
                core.deposit(py);
                Fast::Done(py.None())
            }
        },
        general: {
            this.get().ready()?;
            this.get().core.deposit(this.py());
            Ok(this.py().None())
        },
    }
}

made_late!(PyRetryBudget, Parts);
common_methods!(PyRetryBudget, common);
