//! `AdaptiveConcurrency`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use sluicegate_core::adaptive::{Limiter, Outcome, Reason, Refusal, Unmet};
use sluicegate_core::clock::seconds;

use super::options::{Given, bounds};
use crate::rt::arguments::{Argument, Timeout, seconds_to_wait, surplus, text};
use crate::rt::class::{Common, common_methods, counts, repr_head, snapshot};
use crate::rt::domain::Attached;
use crate::rt::failures::{Filter, Verdict, verdict};
use crate::rt::gc::show_wakers;
use crate::rt::imported::class_of;
use crate::rt::kept::{Kept, interned};
use crate::rt::late::{Late, is_made_later, made_late, refuse_more};
use crate::rt::registration::WaitableClass;
use crate::rt::waker::Waker;
use crate::rt::{guarded, interrupts};

/// An adaptive limit on concurrent calls: it grows while calls are fast, and falls when they are slow or dropped.
///
/// `permit()` returns a context manager for one call: entering it waits in the wait queue for a slot, or raises Overloaded, and
/// the result is taken from how the block ends. The limiter also decorates functions.
///
/// `target` is how long a call may take, in seconds: choose it two or three times as long as a call takes when the
/// service has nothing else to do. With `target=None` only dropped calls lower the limit. About once in the time that
/// calls take, the limit is set anew: if more than `bad_fraction` of the calls since the last time took longer than the
/// target or were dropped, it is multiplied by `decrease`; otherwise it grows by one (`step="one"`) or by half of its
/// square root (`step="sqrt"`), if it has nearly been reached. It begins with `initial` and stays between `min` and
/// `max`. At least `min_samples` calls decide. Of the calls that began together it is the first half to end that
/// decides, so the limit holds the median of the durations below the target, and promises nothing about the slowest.
/// If the limit stays at `min` and calls still take longer than the target, a warning with both times is logged, at
/// most once a minute.
///
/// `dropped` says which exceptions mean that the service could not serve a call: a class, a tuple of classes, or a
/// function; by default TimeoutError and ConnectionError. A block that ends with another exception says nothing about
/// the service, nor do cancellation, KeyboardInterrupt, GeneratorExit and this package's own refusals.
///
/// `max_waiting` calls may wait for a slot, first come, first served; with 0 a call that finds none is refused. With `shed`, a `CoDel`, a
/// call whose turn comes too late is refused instead, as long as the wait queue does not empty.
///
/// Fairness: strictly first come, first served; threads and tasks share one wait queue. `permit(priority=)` decides who
/// is refused first, and nobody overtakes: of the slots (without a wait queue) or the places in the wait queue, some are kept free for
/// more urgent calls.
///
/// The rule is additive increase and multiplicative decrease (Chiu and Jain, 1989), decided by the fraction of bad calls.
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
#[pyclass(frozen, subclass, weakref, name = "AdaptiveConcurrency", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyAdaptiveConcurrency {
    pub(super) parts: Late<Parts>,
}

/// What a limiter is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(super) core: Limiter<Waker, Attached>,
    dropped: Filter,
    /// Without a `dropped` of the user's: before Python 3.11 asyncio's timeout is none of the builtin class.
    usual: bool,
    /// False with a `max_waiting` of 0.
    has_queue: bool,
    pub(super) common: Common,
}

impl WaitableClass for PyAdaptiveConcurrency {
    type Waitable = Limiter<Waker, Attached>;

    #[inline]
    fn waitable(&self) -> &Self::Waitable {
        &self.core
    }
}

impl Parts {
    fn new(py: Python<'_>, given: &Given<'_, '_>, common: Common) -> PyResult<Self> {
        let (settings, dropped) = (given.settings()?, given.filter(py)?);
        let (core, has_queue) = (Limiter::new(&settings, common.core_clock()), settings.max_waiting > 0);
        Ok(Self { core, dropped, usual: given.dropped.is_none(), has_queue, common })
    }
}

impl PyAdaptiveConcurrency {
    /// How a call ended that raised this.
    pub(super) fn outcome_of(&self, error: &Bound<'_, PyAny>) -> PyResult<Outcome> {
        static TIMEOUT: Kept<PyType> = Kept::new();
        let verdict = verdict(error, &self.dropped, None)?;
        if verdict == Verdict::Other && self.usual {
            let class = class_of(error.py(), &TIMEOUT, "asyncio.exceptions", "TimeoutError")?;
            if class.map_or(Ok(false), |class| error.is_instance(class))? {
                return Ok(Outcome::Dropped { retry_after: None });
            }
        }
        Ok(match verdict {
            Verdict::Failure { retry_after } => Outcome::Dropped { retry_after },
            Verdict::Nothing | Verdict::Other => Outcome::Ignored,
        })
    }

    /// Warns that the target cannot be met.
    #[cold]
    #[inline(never)]
    pub(super) fn report(&self, py: Python<'_>, unmet: Unmet) {
        interrupts::report_failure(py, None, || {
            let warn = guarded::import(py, "sluicegate._adaptive")?.getattr(interned!(py, "_warn_unmet"))?;
            let args = (self.common.label(py), seconds(unmet.target), seconds(unmet.median), unmet.limit).into_pyobject(py)?;
            guarded::call(&warn, &args).map(drop)
        });
    }

    /// The arguments of `Overloaded`. `expired` is the timeout that has run out.
    pub(super) fn refusal<'py>(
        &self,
        py: Python<'py>,
        refusal: Refusal,
        expired: Option<Timeout>,
    ) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
        let within = if let Some(Timeout::Within(seconds)) = expired { seconds } else { 0.0 };
        let (template, reason): (&Bound<'py, PyString>, _) = match refusal.reason {
            Reason::Shed => (
                interned!(py, "AdaptiveConcurrency{0} gave the call up, because it had waited too long: its limit is {3} now"),
                interned!(py, "shed"),
            ),
            Reason::Full if expired.is_some() => (
                interned!(py, "AdaptiveConcurrency{0} had no room for the call within {4} seconds: its limit is {3} now"),
                interned!(py, "expired"),
            ),
            Reason::Full if !self.has_queue => (
                interned!(
                    py,
                    "AdaptiveConcurrency{0} has no room for another call, and no wait queue: 'max_waiting' is 0; its limit is {3} now"
                ),
                interned!(py, "full"),
            ),
            Reason::Full => (
                interned!(py, "AdaptiveConcurrency{0} has no room for another call: its limit is {3} now"),
                interned!(py, "full"),
            ),
        };
        // A hint: it is not known when there will be room, unless the server has said when to come back.
        let retry_after = seconds_to_wait(refusal.retry_after).max(1.0);
        (template, self.common.name(py), retry_after, reason, refusal.limit, within).into_pyobject(py)
    }
}

const CLASS: &str = "AdaptiveConcurrency";

/// The argument `target`, which all must give, and give by name.
fn the_target<'a, 'py>(args: &Bound<'py, PyTuple>, target: &'a Argument<'_, 'py>) -> PyResult<&'a Bound<'py, PyAny>> {
    let Ok(first) = args.get_item(0) else {
        return target
            .given()
            .ok_or_else(|| PyTypeError::new_err(format!("{CLASS}() missing 1 required keyword-only argument: 'target'")));
    };
    let hint = if first.is_callable() {
        "; to decorate a function, write `@AdaptiveConcurrency(target=...)`".to_owned()
    } else {
        format!(
            "; if {first} is the time that a call should take, write AdaptiveConcurrency(target={first})",
            first = text(&first)
        )
    };
    Err(surplus(CLASS, args, &hint))
}

#[pymethods]
impl PyAdaptiveConcurrency {
    #[new]
    #[classmethod]
    #[pyo3(
        signature = (*args, target = Argument::MISSING, initial = Argument::MISSING, min = Argument::MISSING, max = Argument::MISSING, decrease = Argument::MISSING, bad_fraction = Argument::MISSING, min_samples = Argument::MISSING, step = Argument::MISSING, max_waiting = Argument::MISSING, shed = None, dropped = Argument::MISSING, clock = None, name = None, **unknown),
        text_signature = "(*, target, initial=20, min=1, max=200, decrease=0.9, bad_fraction=0.1, min_samples=1, step='one', max_waiting=0, shed=None, dropped=..., clock=None, name=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "one for each of Python's")]
    fn new(
        class: &Bound<'_, PyType>,
        args: &Bound<'_, PyTuple>,
        target: Argument<'_, '_>,
        initial: Argument<'_, '_>,
        min: Argument<'_, '_>,
        max: Argument<'_, '_>,
        decrease: Argument<'_, '_>,
        bad_fraction: Argument<'_, '_>,
        min_samples: Argument<'_, '_>,
        step: Argument<'_, '_>,
        max_waiting: Argument<'_, '_>,
        shed: Option<&Bound<'_, PyAny>>,
        dropped: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let py = class.py();
        if is_made_later::<Self>(class)? {
            return Ok(Self { parts: Late::unmade(Parts::new(py, &Given::only(&py.None().into_bound(py)), Common::default())?) });
        }
        refuse_more(CLASS, &PyTuple::empty(py), unknown)?;
        let given = Given {
            target: the_target(args, &target)?,
            initial: initial.given(),
            min: min.given(),
            max: max.given(),
            decrease: decrease.given(),
            bad_fraction: bad_fraction.given(),
            min_samples: min_samples.given(),
            step: step.given(),
            max_waiting: max_waiting.given(),
            shed,
            dropped: dropped.given(),
        };
        Ok(Self { parts: Late::made(Parts::new(py, &given, Common::new(py, name, clock)?)?) })
    }

    /// How many calls may be in flight now.
    #[getter]
    fn limit(&self, py: Python<'_>) -> u64 {
        self.core.limit(py)
    }

    /// How many calls are in flight.
    #[getter]
    fn in_flight(&self, py: Python<'_>) -> u64 {
        self.core.in_flight(py)
    }

    /// Set the bounds of the limit. It never waits.
    ///
    /// Calls in flight stay when the limit falls below their number, and no call is admitted until enough have ended.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid argument, with nothing changed.
    fn set_limits(&self, py: Python<'_>, min: &Bound<'_, PyAny>, max: &Bound<'_, PyAny>) -> PyResult<()> {
        self.parts.ready()?;
        let (min, max) = bounds(Some(min), Some(max))?;
        self.core.set_limits(py, min, max).fire();
        Ok(())
    }

    /// Return a snapshot of the limit, and of the results of the calls.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.parts.ready()?;
        let seen = self.core.statistics(py);
        let totals = seen.totals;
        let mut fields = counts!(seen: limit, min, max, in_flight, peak_in_flight, calls).to_vec();
        fields.extend(counts!(totals: successes, dropped, ignored, slow, refused, expired, shed));
        fields.extend(counts!(seen: increases, decreases, waiters));
        snapshot(py, "ConcurrencyStatistics", self.common.name(py), &fields, &[("waited_seconds", seen.waited)])
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let seen = this.core.statistics(py);
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        let (limit, min, max) = (seen.limit, seen.min, seen.max);
        Ok(format!("{head} limit={limit} ({min}..{max}) in_flight={} waiters={}>", seen.in_flight, seen.waiters))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        self.dropped.traverse(&visit)?;
        show_wakers(&visit, |py, each| self.core.visit_wakers(py, each))
    }
}

made_late!(PyAdaptiveConcurrency, Parts);
common_methods!(PyAdaptiveConcurrency, common);
