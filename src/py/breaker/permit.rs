//! `CircuitPermit`: one call through a breaker.
//!
//! Unlike other permits it never waits, so it has no wait queue. Its states are in the table of `rt::permit`; `judge` decides what the end of
//! a block says of the service.
//!
//! | state    | event                                     | next     | also                                                   |
//! |----------|-------------------------------------------|----------|--------------------------------------------------------|
//! | free     | an entry, the breaker lets it through       | held     |                                                        |
//! | free     | an entry, the breaker is open               | free     | CircuitOpen                                            |
//! | held     | `success`, `failure`, `ignore`              | free     | the result is recorded                                     |
//! | held     | the end of the block                        | free     | the result is recorded, as the exception says               |
//! | held     | dropped                                     | -        | ignored, with a ResourceWarning                         |
//! | free     | a result is reported, or the block ends         | free     | nothing                                                |

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyTuple;
use sluicegate_core::breaker::{Change, Grant, Outcome, Refusal};
use sluicegate_core::keys::KeyHash;

use super::class::{PyCircuitBreaker, refusal_of};
use super::keyed::PyKeyedBreaker;
use crate::rt::arguments::text;
use crate::rt::entries::{self, Attempt, CallPermit, HotPermit, NotAdmitted};
use crate::rt::exceptions::{self, Exception};
use crate::rt::failures::reported_retry_after;
use crate::rt::keys::{at_home, text_of_handle};
use crate::rt::permit::{Holder, Holds, permit_class};

/// One call through a breaker, as returned by `CircuitBreaker.permit`: a context manager (`with`, `async with`).
///
/// It is admitted on entry, which raises CircuitOpen if the breaker is open; nothing waits. The result is taken from how
/// the block ends, unless `success`, `failure` or `ignore` has reported it before. Outside a block, `acquire` or
/// `try_acquire` admits it. A permit that is dropped before its result is reported does not count, with a ResourceWarning.
/// It can be used again after its end.
#[pyclass(frozen, weakref, name = "CircuitPermit", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyCircuitPermit {
    through: Through,
    holder: Holder<Grant>,
}

/// What the call goes through. The breaker of a key needs no handle.
#[derive(Debug)]
enum Through {
    Breaker(Py<PyCircuitBreaker>),
    Key { keyed: Py<PyKeyedBreaker>, hash: KeyHash, key: Py<PyAny> },
}

/// Calls the same method of the state of either; a key's takes the hash of the key as an additional argument.
macro_rules! through {
    ($through:expr, $method:ident, $py:ident $(, $argument:expr)*) => {
        match $through {
            Through::Breaker(breaker) => at_home!(&breaker.get().target, $method, $py $(, $argument)*),
            Through::Key { keyed, hash, .. } => keyed.get().keys().$method($py, *hash $(, $argument)*),
        }
    };
}

impl PyCircuitPermit {
    #[inline]
    pub(crate) fn new(breaker: Py<PyCircuitBreaker>) -> Self {
        Self { through: Through::Breaker(breaker), holder: Holder::new() }
    }

    /// Of a key, whose hash this is.
    #[inline]
    pub(super) fn of_key(keyed: Py<PyKeyedBreaker>, hash: KeyHash, key: Py<PyAny>) -> Self {
        Self { through: Through::Key { keyed, hash, key }, holder: Holder::new() }
    }
}

impl Holds for PyCircuitPermit {
    type Grant = Grant;

    #[inline]
    fn holder(&self) -> &Holder<Grant> {
        &self.holder
    }

    fn give_back(&self, py: Python<'_>, grant: Grant) {
        entries::finish(self, py, grant, Outcome::Ignored);
    }

    const ABANDONED: &'static str = "and does not count";

    fn describe(&self, py: Python<'_>) -> String {
        let held = if self.holder.is_held(py) { "held" } else { "not held" };
        let of = match &self.through {
            Through::Breaker(breaker) => text(breaker.bind(py)),
            Through::Key { keyed, key, .. } => text_of_handle(keyed.bind(py), key.bind(py)),
        };
        format!("<sluicegate.CircuitPermit {held} of {of}>")
    }
}

impl HotPermit for PyCircuitPermit {
    type Refusal = Refusal;
    type News = Change;
    type Outcome = Outcome;
    const SERVED: Outcome = Outcome::Success;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is asked at each entry and each end")]
    fn is_entered(&self, py: Python<'_>) -> bool {
        through!(&self.through, is_entered, py)
    }

    #[inline]
    fn try_admit(&self, py: Python<'_>, _may_wait: bool) -> Attempt<Self> {
        let (admitted, change) = through!(&self.through, admit, py);
        (admitted.map_err(NotAdmitted::Refused), change)
    }

    #[inline]
    fn finish(&self, py: Python<'_>, grant: Grant, outcome: Outcome) -> Option<Change> {
        through!(&self.through, finish, py, grant, outcome)
    }

    fn report(&self, py: Python<'_>, change: Change) {
        match &self.through {
            Through::Breaker(breaker) => breaker.get().report(py, Some(change)),
            Through::Key { keyed, key, .. } => {
                let keyed = keyed.get();
                keyed.keys().judge.report(py, keyed.common(), Some(key), change);
            }
        }
    }

    fn exception() -> &'static Exception {
        &exceptions::CIRCUIT_OPEN
    }

    fn arguments<'py>(&self, py: Python<'py>, refusal: Refusal) -> PyResult<Bound<'py, PyTuple>> {
        match &self.through {
            Through::Breaker(breaker) => breaker.get().refusal(py, refusal),
            Through::Key { keyed, key, .. } => refusal_of(py, keyed.get().common(), Some(key), refusal),
        }
    }
}

impl CallPermit for PyCircuitPermit {
    const IGNORED: Outcome = Outcome::Ignored;

    fn outcome_of(&self, error: &Bound<'_, PyAny>) -> PyResult<Outcome> {
        match &self.through {
            Through::Breaker(breaker) => breaker.get().target.judge().outcome_of(error),
            Through::Key { keyed, .. } => keyed.get().keys().judge.outcome_of(error),
        }
    }
}

#[pymethods]
impl PyCircuitPermit {
    /// Report that the call failed. Only the first report counts: later ones, and how the block ends, have no effect.
    ///
    /// `error` is the exception, if there was one: what it asks for by `retry_after` or a response counts. `retry_after`
    /// is what the server asked for, in seconds: if the breaker opens now, it stays open at least as long, up to 600
    /// seconds.
    ///
    /// Raises RuntimeError if the permit has not been admitted; ValueError, TypeError or OverflowError for an invalid
    /// argument.
    #[pyo3(signature = (error = None, *, retry_after = None))]
    fn failure(&self, py: Python<'_>, error: Option<&Bound<'_, PyAny>>, retry_after: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let retry_after = reported_retry_after(error, retry_after)?;
        entries::end(self, py, Outcome::Failure { retry_after })
    }

    /// Report that the call says nothing about the service. A probe gives its place to another call.
    ///
    /// Raises RuntimeError if the permit has not been admitted.
    fn ignore(&self, py: Python<'_>) -> PyResult<()> {
        entries::end(self, py, Outcome::Ignored)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.through {
            Through::Breaker(breaker) => visit.call(breaker),
            Through::Key { keyed, key, .. } => visit.call(keyed).and_then(|()| visit.call(key)),
        }
    }
}

permit_class!(PyCircuitPermit);
