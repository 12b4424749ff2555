//! `RateLimits`: several limiters, taken together.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyMappingProxy, PyTuple};
use sluicegate_core::clock::{Clock as CoreClock, nanos};
use sluicegate_core::rate::{Scale, Units};

use super::amounts::{Names, amount, seconds};
use super::class::{statistics, visit_tasks};
use super::limiter::PyRateLimiter;
use super::ops::{Acquire, Line};
use super::refusal::too_far;
use super::reservation::{Booked, PyReservation};
use super::{Limiter, Several};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Timeout, text};
use crate::rt::blocking;
use crate::rt::class::{refuse_copies, repr_head};
use crate::rt::gc::attached_in_traverse;
use crate::rt::waker::Waker;

/// Names that the methods' own parameters have.
const RESERVED: [&str; 4] = ["name", "n", "timeout", "max_wait"];

/// Several limiters, taken together: all or none.
///
/// `RateLimits(requests=TokenBucket(50, 10), tokens=TokenBucket(90_000, 90_000, period=60))`. An amount by position is taken
/// of each, amounts by name of each its own; then every limit must be named. Those who wait stand in one line, strictly
/// first come, first served. Limiters may be shared between several sets, and used beside them.
///
/// Raises ValueError if there is none, the same one twice, one of another clock, or one called `name`, `n`, `timeout` or `max_wait`;
/// TypeError for what is no limiter.
#[pyclass(frozen, subclass, weakref, name = "RateLimits", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyRateLimits {
    several: Arc<Several>,
    names: Arc<Names>,
    limits: Py<PyDict>,
    members: Vec<Py<PyRateLimiter>>,
    name: Option<Py<PyAny>>,
}

fn same_clock(one: &CoreClock<Waker>, other: &CoreClock<Waker>) -> bool {
    match (one, other) {
        (CoreClock::Monotonic, CoreClock::Monotonic) => true,
        (CoreClock::Manual(one), CoreClock::Manual(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

impl PyRateLimits {
    /// The amounts of a call: one for all, or each by name.
    fn amounts(
        &self,
        function: &str,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
        all: bool,
    ) -> PyResult<Vec<Units>> {
        let py = args.py();
        let amounts = amounts.filter(|amounts| !amounts.is_empty());
        let n = match (args.len(), amounts) {
            (0, Some(_)) => return self.names.amounts(function, amounts, all),
            (0, None) => 1_u8.into_pyobject(py)?.into_any(),
            (1, None) => args.get_item(0)?,
            (1, Some(_)) => {
                return Err(PyTypeError::new_err(format!(
                    "{function}() takes one amount for all limits, or amounts by name, not both"
                )));
            }
            (given, _) => {
                return Err(PyTypeError::new_err(format!(
                    "{function}() takes at most 1 positional argument but {given} were given"
                )));
            }
        };
        self.several.members().iter().map(|member| amount("n", &n, member.scale())).collect()
    }

    fn line(&self, amounts: Vec<Units>) -> Line {
        Line::Several(Arc::clone(&self.several), amounts.into())
    }
}

/// Takes an own parameter out of the keywords.
fn keyword<'py>(amounts: Option<&Bound<'py, PyDict>>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(amounts) = amounts else { return Ok(None) };
    let value = amounts.get_item(name)?;
    if value.is_some() {
        amounts.del_item(name)?;
    }
    Ok(value.filter(|value| !value.is_none()))
}

#[pymethods]
impl PyRateLimits {
    #[new]
    #[pyo3(signature = (*, name = None, **limits), text_signature = "(*, name=None, **limits)")]
    fn new(py: Python<'_>, name: Option<&Bound<'_, PyAny>>, limits: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let name = crate::rt::arguments::name_argument(name)?.map(Bound::unbind);
        let limits = match limits {
            Some(limits) if !limits.is_empty() => limits.copy()?,
            _ => return Err(PyValueError::new_err("RateLimits needs at least one limit, by name")),
        };
        let mut names: Vec<(String, Scale)> = Vec::new();
        let mut members: Vec<Py<PyRateLimiter>> = Vec::new();
        let mut cores: Vec<Arc<Limiter>> = Vec::new();
        for (label, limit) in &limits {
            let label: String = label.extract()?;
            if RESERVED.contains(&label.as_str()) {
                return Err(PyValueError::new_err(format!("a limit cannot be called '{label}': that is a parameter's name")));
            }
            let Ok(limiter) = limit.cast::<PyRateLimiter>() else {
                return Err(PyTypeError::new_err(format!("'{label}' must be a sluicegate limiter, not {}", text(&limit))));
            };
            let core = limiter.get().limiter(&limit)?;
            if let Some(same) = cores.iter().position(|other| Arc::ptr_eq(other, &core)) {
                return Err(PyValueError::new_err(format!("'{label}' is the same limiter as '{}'", names[same].0)));
            }
            if cores.first().is_some_and(|first| !same_clock(first.clock(), core.clock())) {
                return Err(PyValueError::new_err(format!("'{label}' has another clock than '{}'", names[0].0)));
            }
            names.push((label, core.scale()));
            members.push(limiter.clone().unbind());
            cores.push(core);
        }
        let clock = cores[0].clock().clone();
        Ok(Self {
            several: Several::new(py, cores, clock),
            names: Arc::new(Names::new(names)),
            limits: limits.unbind(),
            members,
            name,
        })
    }

    /// A subclass may pass on what it was given.
    #[pyo3(signature = (*_args, **_kwargs))]
    #[expect(clippy::unused_self, reason = "Python's protocol")]
    fn __init__(&self, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) {}

    /// The name given at creation, for `repr` and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.name.as_ref().map(|name| name.clone_ref(py))
    }

    /// The limiters by name, read-only.
    #[getter]
    fn limits<'py>(&self, py: Python<'py>) -> Bound<'py, PyMappingProxy> {
        PyMappingProxy::new(py, self.limits.bind(py).as_mapping())
    }

    /// Take `n` of each limit, or amounts by name, if all can go now and nobody waits. All or none.
    ///
    /// Returns whether it did. Never waits. Raises as `acquire` does for amounts that can never pass and bad arguments.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, **amounts)")]
    fn try_acquire(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<bool> {
        let line = slf.get().line(slf.get().amounts("try_acquire", args, amounts, true)?);
        line.try_acquire(slf.py(), false).map_err(|refusal| line.error(slf.as_any(), refusal))
    }

    /// Take `n` of each limit, or amounts by name, waiting for them in line. All or none.
    ///
    /// With `timeout` it waits for at most that many seconds, and if it can be foreseen that this is not enough it
    /// does not wait at all.
    ///
    /// Raises RateLimited, with `retry_after` in seconds and nothing taken, if they cannot be had in time; ValueError
    /// for an amount that can never pass at once; TypeError for a limit that is missing or unknown; ValueError,
    /// TypeError or OverflowError for a bad argument.
    ///
    /// Fairness: strictly in the order of arrival, threads and tasks in one line. Interrupted by an exception from a signal
    /// handler, it has taken nothing.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, *, timeout=None, **amounts)")]
    fn acquire(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<bool> {
        let timeout = Timeout::parse_strict("timeout", keyword(amounts, "timeout")?.as_ref())?;
        let line = slf.get().line(slf.get().amounts("acquire", args, amounts, true)?);
        blocking::run(slf.as_any(), &mut Acquire::new(line), timeout)?;
        Ok(true)
    }

    /// The arguments of a decorator, before anything is called.
    #[pyo3(signature = (timeout, *args, **amounts))]
    fn _check(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        Timeout::parse_strict("timeout", timeout)?;
        slf.get().line(slf.get().amounts("acquire", args, amounts, true)?).check(slf.as_any())
    }

    /// The operation behind `acquire_async`.
    #[pyo3(signature = (timeout, *args, **amounts))]
    fn _async_acquire(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<AsyncOperation> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let line = slf.get().line(slf.get().amounts("acquire_async", args, amounts, true)?);
        line.check(slf.as_any())?;
        Ok(AsyncOperation::new(slf.clone().into_any().unbind(), Acquire::new(line), timeout))
    }

    /// Book `n` of each limit, or amounts by name, for the first moment at which all can go, after everybody who waits.
    ///
    /// Returns a Reservation. `settle` it by name when the true amounts are known.
    ///
    /// Raises RateLimited, having booked nothing, if that would be more than `max_wait` seconds away; else as `acquire`.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, *, max_wait=None, **amounts)")]
    fn reserve(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<PyReservation> {
        let this = slf.get();
        let limit = Timeout::parse_strict("max_wait", keyword(amounts, "max_wait")?.as_ref())?.limit()?;
        let amounts = this.amounts("reserve", args, amounts, true)?;
        let (wakes, bookings) = this.several.reserve(slf.py(), &amounts, limit);
        wakes.fire();
        match bookings {
            Ok(bookings) => {
                let booked = Booked::Several(Arc::clone(&this.several), Arc::clone(&this.names), bookings);
                Ok(PyReservation::new(slf.clone().into_any().unbind(), booked))
            }
            Err(refusal) => Err(this.line(amounts).error(slf.as_any(), refusal)),
        }
    }

    /// Give tokens back: `n` to each limit, or amounts by name to those that are named.
    ///
    /// Raises TypeError for an unknown limit; ValueError, TypeError or OverflowError for a bad amount.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, **amounts)")]
    fn refund(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let this = slf.get();
        let amounts = this.amounts("refund", args, amounts, false)?;
        this.several.refund(slf.py(), &amounts).fire();
        Ok(())
    }

    /// Take tokens without asking: `n` of each limit, or amounts by name of those that are named.
    ///
    /// That may leave debts, which those who come later wait off. Raises as `refund` does, with nothing taken.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, **amounts)")]
    fn debit(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let this = slf.get();
        let amounts = this.amounts("debit", args, amounts, false)?;
        let (wakes, outcome) = this.several.debit(slf.py(), &amounts);
        wakes.fire();
        outcome.map_err(|_| too_far(slf.as_any()))
    }

    /// The tokens available now, by name.
    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        for (name, member) in self.names.iter().zip(&self.members) {
            tokens.set_item(name, member.bind(py).getattr("tokens")?)?;
        }
        Ok(tokens)
    }

    /// The seconds until `try_acquire` with the same amounts can pass, those in line being served first; 0.0 if it can now.
    ///
    /// Raises as `acquire` does for amounts that can never pass and bad arguments.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, **amounts)")]
    fn retry_after(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<f64> {
        let line = slf.get().line(slf.get().amounts("retry_after", args, amounts, true)?);
        match line.retry_after(slf.py()) {
            Ok(time) => Ok(seconds(time)),
            Err(refusal) => Err(line.error(slf.as_any(), refusal)),
        }
    }

    /// Admit nobody to any of the limits before `seconds` have passed (a server's Retry-After).
    ///
    /// Raises ValueError, TypeError or OverflowError for bad `seconds`.
    fn pause_for(&self, py: Python<'_>, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        let pause = nanos(arguments::duration("seconds", seconds)?);
        self.several.pause(py, pause).fire();
        Ok(())
    }

    /// A snapshot of what the set has seen, at this moment. The members have their own.
    fn statistics<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (wakes, seen) = slf.get().several.statistics(py);
        wakes.fire();
        statistics(py, "RateStatistics", slf.get().name(py), seen, &[])
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let label = this.name.as_ref().map_or_else(String::new, |name| format!(" {}", text(name.bind(py))));
        let tokens = this.tokens(py)?;
        let each: Vec<_> = tokens.iter().map(|(name, tokens)| format!("{name}={}", text(&tokens))).collect();
        Ok(format!("{} tokens: {}>", repr_head(slf.as_any(), &label)?, each.join(" ")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.limits)?;
        visit.call(&self.name)?;
        self.members.iter().try_for_each(|member| visit.call(member))?;
        visit_tasks(visit, |each| self.several.visit_wakers(attached_in_traverse(), each))
    }
}

refuse_copies!(PyRateLimits);
