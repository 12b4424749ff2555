//! `CircuitBreaker`: a breaker of its own, or that of one key.

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use sluicegate_core::breaker::{Breaker, Change, Kind, Refusal};
use sluicegate_core::clock::seconds;

use super::judge::name_of;
use super::options::{Options, lasting, refuse_args};
use super::target::{Judged, Target};
use crate::rt::arguments::seconds_to_wait;
use crate::rt::class::{Common, common_methods, counts, repr_head};
use crate::rt::guarded;
use crate::rt::kept::interned;
use crate::rt::keys::at_home;
use crate::rt::late::{Late, is_made_later, made_late};

/// A circuit breaker: it watches calls to a service, and refuses them for a while when too many fail or are slow.
///
/// `permit()` returns a context manager for one call: it raises CircuitOpen on entry if the breaker is open, and takes
/// the result from how the block ends. The breaker also decorates functions.
///
/// The breaker opens when, of the last `window` seconds (or of the last `calls` results) with at least `min_calls`
/// results, a share of `failure_rate` failed or a share of `slow_rate` took `slow_after` seconds or more; and, for
/// services that are called rarely, when `run` failures in a row have come over at least `window` seconds. `run=None`
/// is without that rule. It is open for `open_for` seconds, twice as long each time it opens again up to
/// `open_for_max`, and at least as long as the `retry_after` of the failure (at most 600 seconds). Then it lets
/// `probes` calls through: when all have succeeded it closes, when one fails or is slow it opens again. A probe that
/// has not ended after `probe_timeout` seconds gives its place to another call.
///
/// `failure` says which exceptions are failures: a class, a tuple of classes, or a function. Other exceptions are
/// answers of the service and count as successes, except those that `ignore` names, which do not count. Cancellation,
/// KeyboardInterrupt, GeneratorExit and this package's own refusals never count. The result of a call counts only if
/// the state has not changed since the call began.
///
/// `on_change(old, new, why)` is called with the names of the states and a text, outside every lock, on the thread
/// whose call made the change; an exception in it goes to `sys.unraisablehook`. With `metrics_only` the breaker changes
/// its state as usual and refuses nothing.
///
/// Fairness: nobody waits; of several calls at the same moment those that come first become the probes, however many
/// threads and tasks there are.
///
/// The states are those of Nygard's *Release It!* (2007). The window of failure rates, and most of the numbers in the
/// defaults, are from Hystrix; that a result belongs to the state in which its call began is from Sony's gobreaker, and
/// an open time that grows and falls again from Envoy's outlier detection.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
#[pyclass(frozen, subclass, weakref, name = "CircuitBreaker", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyCircuitBreaker {
    parts: Late<Parts>,
}

/// What a breaker is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(super) target: Target,
    pub(super) common: Common,
}

impl PyCircuitBreaker {
    fn own(Options { rules, judge, common }: Options) -> Parts {
        Parts { target: Target::Own(Box::new(Judged { core: Breaker::new(rules, common.core_clock()), judge })), common }
    }

    pub(super) fn of_key(target: Target, common: Common) -> Self {
        Self { parts: Late::made(Parts { target, common }) }
    }

    /// Raises RuntimeError if it has not been made.
    #[inline]
    pub(super) fn ready(&self) -> PyResult<()> {
        self.parts.ready()
    }

    pub(super) fn report(&self, py: Python<'_>, change: Option<Change>) {
        if let Some(change) = change {
            self.target.judge().report(py, &self.common, self.target.key().map(|of| &of.key), change);
        }
    }

    /// True if this thread is inside the section already.
    #[inline]
    pub(crate) fn is_entered(&self, py: Python<'_>) -> bool {
        at_home!(&self.target, is_entered, py)
    }

    /// A refusal, which is counted, if a call that began now would be refused.
    #[inline]
    pub(crate) fn refuse(&self, py: Python<'_>) -> Option<Refusal> {
        at_home!(&self.target, refuse, py)
    }

    /// The arguments of the exception of a refusal.
    pub(crate) fn refusal<'py>(&self, py: Python<'py>, refusal: Refusal) -> PyResult<Bound<'py, PyTuple>> {
        refusal_of(py, &self.common, self.target.key().map(|of| &of.key), refusal)
    }
}

/// The arguments of the exception of a refusal by a breaker, or by that of a key.
pub(super) fn refusal_of<'py>(
    py: Python<'py>,
    common: &Common,
    key: Option<&Py<PyAny>>,
    refusal: Refusal,
) -> PyResult<Bound<'py, PyTuple>> {
    let template = match (refusal.state, key.is_some()) {
        (Kind::HalfOpen, false) => {
            interned!(py, "circuit breaker{0} is half-open, and its probes are on their way; retry after {1:.3f} seconds")
        }
        (Kind::HalfOpen, true) => interned!(
            py,
            "circuit breaker{0} of key {3!r} is half-open, and its probes are on their way; retry after {1:.3f} seconds"
        ),
        (_, false) => interned!(py, "circuit breaker{0} is {2}; retry after {1:.3f} seconds"),
        (_, true) => interned!(py, "circuit breaker{0} of key {3!r} is {2}; retry after {1:.3f} seconds"),
    };
    let after = seconds_to_wait(refusal.retry_after);
    let (name, state) = (common.name(py), name_of(py, refusal.state));
    match key {
        None => (template, name, after, state).into_pyobject(py),
        Some(key) => (template, name, after, state, key).into_pyobject(py),
    }
}

#[pymethods]
impl PyCircuitBreaker {
    #[new]
    #[classmethod]
    #[pyo3(
        signature = (*args, **options),
        text_signature = "(*, failure_rate=0.5, window=10.0, min_calls=20, run=5, slow_after=None, slow_rate=0.8, open_for=5.0, open_for_max=60.0, probes=3, probe_timeout=30.0, failure=..., ignore=(), on_change=None, calls=None, metrics_only=False, clock=None, name=None)"
    )]
    fn new(class: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let py = class.py();
        if is_made_later::<Self>(class)? {
            return Ok(Self { parts: Late::unmade(Self::own(Options::new(py, "CircuitBreaker", &[], None)?)) });
        }
        refuse_args("CircuitBreaker", args)?;
        Ok(Self { parts: Late::made(Self::own(Options::new(py, "CircuitBreaker", &[], options)?)) })
    }

    /// The state in which the next call finds the breaker: "closed", "open", "half_open", "forced_open" or "disabled".
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> &'py Bound<'py, PyString> {
        name_of(py, at_home!(&self.target, state, py))
    }

    /// Seconds until the next call may be let through; 0 if that is now.
    ///
    /// If all probes are on their way, or the breaker is forced open, it is a hint.
    #[getter]
    fn retry_after(&self, py: Python<'_>) -> f64 {
        seconds_to_wait(at_home!(&self.target, retry_after, py))
    }

    /// Refuse every call from now on: for `for_` seconds, or until `reset` is called.
    ///
    /// When the time is over, the breaker lets probes through, as after it has opened on its own.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid `for_`; Overloaded if it is the breaker of a key
    /// for which there is no room.
    #[pyo3(signature = (for_ = None))]
    fn force_open(&self, py: Python<'_>, for_: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.parts.ready()?;
        self.report(py, self.target.force_open(py, &self.common, lasting(for_)?)?);
        Ok(())
    }

    /// Let every call through from now on, and only count, until `reset` is called.
    ///
    /// Raises Overloaded if it is the breaker of a key for which there is no room.
    fn disable(&self, py: Python<'_>) -> PyResult<()> {
        self.parts.ready()?;
        self.report(py, self.target.disable(py, &self.common)?);
        Ok(())
    }

    /// Close the breaker, as if it were new: no earlier result counts, and the open time is `open_for` again.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.parts.ready()?;
        self.report(py, at_home!(&self.target, reset, py));
        Ok(())
    }

    /// Return a snapshot of the breaker's state, counters and rates.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.parts.ready()?;
        let seen = at_home!(&self.target, statistics, py);
        let totals = seen.totals;
        let fields = PyDict::new(py);
        fields.set_item("name", self.common.name(py))?;
        fields.set_item("state", name_of(py, seen.state))?;
        fields.set_item("state_for", seconds(seen.state_for))?;
        for (field, count) in counts!(totals: calls, successes, failures, slow, ignored, stale, refused, opened) {
            fields.set_item(field, count)?;
        }
        fields.set_item("window_calls", seen.window_calls)?;
        fields.set_item("failure_rate", seen.failure_rate)?;
        fields.set_item("slow_rate", seen.slow_rate)?;
        guarded::call_by_name(&guarded::import(py, "sluicegate._statistics")?.getattr("BreakerStatistics")?, &fields)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let seen = at_home!(&this.target, statistics, py);
        let head = repr_head(slf.as_any(), &this.target.label(py, &this.common))?;
        let (state, calls, rate) = (seen.state.name(), seen.window_calls, seen.failure_rate);
        Ok(format!("{head} state={state} failure_rate={rate:.3} of {calls} calls>"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        self.target.traverse(&visit, |own| own.judge.traverse(&visit))
    }
}

made_late!(PyCircuitBreaker, Parts);
common_methods!(PyCircuitBreaker, common);
