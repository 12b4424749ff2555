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
use super::ops::{Acquire, Request};
use super::refusal::too_far;
use super::reservation::{Booked, PyReservation};
use super::{LimitSet, Limiter};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Timeout, text};
use crate::rt::blocking;
use crate::rt::class::{refuse_copies, repr_head};
use crate::rt::gc::attached_in_traverse;
use crate::rt::waker::Waker;

/// Names that the methods' own parameters have.
const RESERVED: [&str; 4] = ["name", "n", "timeout", "max_wait"];

/// Several limiters taken together: either all of them or none.
///
/// Example: `RateLimits(requests=TokenBucket(50, burst=10), tokens=TokenBucket(9000, burst=9000, period=60))`. A
/// positional amount is taken from every limiter. Amounts by name are taken from the limiters of those names, and
/// then every limiter has to be named. Waiters of the set are served strictly first come, first served. A limiter can belong
/// to several sets, and can also be used directly.
///
/// Raises ValueError if no limiter is given, if a limiter is given twice, if the limiters have different clocks, or
/// if a name is `name`, `n`, `timeout` or `max_wait`; TypeError for an object that is not a limiter.
#[pyclass(frozen, subclass, weakref, name = "RateLimits", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyRateLimits {
    set: Arc<LimitSet>,
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
        self.set.members().iter().map(|member| amount("n", &n, member.scale())).collect()
    }

    fn request(&self, amounts: Vec<Units>) -> Request {
        Request::Set(Arc::clone(&self.set), amounts.into())
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
                return Err(PyValueError::new_err(format!("a limit cannot be named '{label}': that is the name of a parameter")));
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
            set: LimitSet::new(py, cores, clock),
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

    /// A read-only mapping of the limiters by name.
    #[getter]
    fn limits<'py>(&self, py: Python<'py>) -> Bound<'py, PyMappingProxy> {
        PyMappingProxy::new(py, self.limits.bind(py).as_mapping())
    }

    /// Take `n` of each limit, or amounts by name, if all are available now and nobody is waiting. All or none.
    ///
    /// Returns whether they were taken. Never waits. Raises what `acquire` raises for amounts that can never be
    /// admitted and for invalid arguments.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, **amounts)")]
    fn try_acquire(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<bool> {
        let request = slf.get().request(slf.get().amounts("try_acquire", args, amounts, true)?);
        request.try_acquire(slf.py(), false).map_err(|refusal| request.error(slf.as_any(), refusal))
    }

    /// Take `n` of each limit, or amounts by name, waiting until all are available. All or none.
    ///
    /// With `timeout` it waits for at most that many seconds; if the wait is known to be longer, the request is refused
    /// at once.
    ///
    /// Raises RateLimited, with `retry_after` in seconds and nothing taken, if the amounts are not available in time;
    /// ValueError for an amount that can never be admitted at once; TypeError for a limit that is missing or unknown;
    /// ValueError, TypeError or OverflowError for an invalid argument.
    ///
    /// Fairness: strictly first come, first served; threads and tasks share one wait queue. If an exception from a
    /// signal handler interrupts the wait, nothing has been taken.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, *, timeout=None, **amounts)")]
    fn acquire(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<bool> {
        let timeout = Timeout::parse_strict("timeout", keyword(amounts, "timeout")?.as_ref())?;
        let request = slf.get().request(slf.get().amounts("acquire", args, amounts, true)?);
        blocking::run(slf.as_any(), &mut Acquire::new(request), timeout)?;
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
        slf.get().request(slf.get().amounts("acquire", args, amounts, true)?).check(slf.as_any())
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
        let request = slf.get().request(slf.get().amounts("acquire_async", args, amounts, true)?);
        request.check(slf.as_any())?;
        Ok(AsyncOperation::new(slf.clone().into_any().unbind(), Acquire::new(request), timeout))
    }

    /// Book `n` of each limit, or amounts by name, for the first moment at which all are available, after all current
    /// waiters.
    ///
    /// Returns a Reservation. Call its `settle` with amounts by name when the true amounts are known.
    ///
    /// Raises RateLimited, with nothing booked, if the moment is more than `max_wait` seconds away; otherwise what
    /// `acquire` raises.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, *, max_wait=None, **amounts)")]
    fn reserve(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<PyReservation> {
        let this = slf.get();
        let limit = Timeout::parse_strict("max_wait", keyword(amounts, "max_wait")?.as_ref())?.limit()?;
        let amounts = this.amounts("reserve", args, amounts, true)?;
        let (wakes, bookings) = this.set.reserve(slf.py(), &amounts, limit);
        wakes.fire();
        match bookings {
            Ok(bookings) => {
                let booked = Booked::Set(Arc::clone(&this.set), Arc::clone(&this.names), bookings);
                Ok(PyReservation::new(slf.clone().into_any().unbind(), booked))
            }
            Err(refusal) => Err(this.request(amounts).error(slf.as_any(), refusal)),
        }
    }

    /// Give tokens back: `n` to each limit, or amounts by name to the named limits.
    ///
    /// Raises TypeError for an unknown limit; ValueError, TypeError or OverflowError for an invalid amount.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, **amounts)")]
    fn refund(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let this = slf.get();
        let amounts = this.amounts("refund", args, amounts, false)?;
        this.set.refund(slf.py(), &amounts).fire();
        Ok(())
    }

    /// Take tokens without waiting, even if that leaves debts: `n` from each limit, or amounts by name from the named
    /// limits.
    ///
    /// Later requests wait until the debts are paid. Raises what `refund` raises, with nothing taken.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, **amounts)")]
    fn debit(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let this = slf.get();
        let amounts = this.amounts("debit", args, amounts, false)?;
        let (wakes, outcome) = this.set.debit(slf.py(), &amounts);
        wakes.fire();
        outcome.map_err(|_| too_far(slf.as_any()))
    }

    /// The number of tokens available now, by name.
    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        for (name, member) in self.names.iter().zip(&self.members) {
            tokens.set_item(name, member.bind(py).getattr("tokens")?)?;
        }
        Ok(tokens)
    }

    /// Return the seconds until `try_acquire` with the same amounts can succeed, after all current waiters; 0.0 if it
    /// can now.
    ///
    /// Raises what `acquire` raises for amounts that can never be admitted and for invalid arguments.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, /, **amounts)")]
    fn retry_after(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<f64> {
        let request = slf.get().request(slf.get().amounts("retry_after", args, amounts, true)?);
        match request.retry_after(slf.py(), true) {
            Ok(time) => Ok(seconds(time)),
            Err(refusal) => Err(request.error(slf.as_any(), refusal)),
        }
    }

    /// Admit no request to any of the limits for `seconds`, such as a server's Retry-After.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid `seconds`.
    fn pause_for(&self, py: Python<'_>, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        let pause = nanos(arguments::duration("seconds", seconds)?);
        self.set.pause(py, pause).fire();
        Ok(())
    }

    /// Return a snapshot of the set's counters and waiting times. Each member has its own statistics.
    fn statistics<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (wakes, seen) = slf.get().set.statistics(py);
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
        visit_tasks(visit, |each| self.set.visit_wakers(attached_in_traverse(), each))
    }
}

refuse_copies!(PyRateLimits);
