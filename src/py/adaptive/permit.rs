//! `ConcurrencyPermit`: one call of an adaptive limit.
//!
//! Its states are in the table of `rt::permit`; `rt::failures` decides what the end of a block says of the service.
//!
//! | state    | event                                     | next     | also                                                   |
//! |----------|-------------------------------------------|----------|--------------------------------------------------------|
//! | free     | an entry is admitted, at once or in queue   | held     |                                                        |
//! | held     | `success`, `failure`, `ignore`              | free     | the result is recorded, and the slot is free                |
//! | held     | the end of the block                        | free     | the same, as the exception says                         |
//! | held     | dropped                                     | -        | ignored, with a ResourceWarning                         |
//! | held     | the process forks                           | free     | in the child: the call is the parent's                  |
//! | free     | a result is reported, or the block ends         | free     | nothing                                                |

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyTuple;
use sluicegate_core::adaptive::{self, Grant, Limiter, Outcome, Reason, Refusal, Unmet, Waiter};

use super::class::PyAdaptiveConcurrency;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Argument, Timeout, text};
use crate::rt::domain::Attached;
use crate::rt::entries::{self, Attempt, CallPermit, HotPermit, NotAdmitted, WaitingPermit};
use crate::rt::failures::reported_retry_after;
use crate::rt::hot::deliver;
use crate::rt::permit::{self, Holder, Holds, check_free, permit_class};
use crate::rt::registration::WaitableClass;
use crate::rt::waker::Waker;

/// One call of an adaptive limit, as returned by `AdaptiveConcurrency.permit`: a context manager (`with`, `async with`).
///
/// Entering it waits in the wait queue for a slot, or raises Overloaded. The result is taken from how the block ends, unless
/// `success`, `failure` or `ignore` has reported it before; these free the slot as well. Outside a block, `acquire`,
/// `acquire_async` or `try_acquire` admits it. A permit that is dropped before its result is reported gives its slot back
/// and does not count, with a ResourceWarning. It can be used again after its end.
#[pyclass(frozen, weakref, name = "ConcurrencyPermit", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyConcurrencyPermit {
    limiter: Py<PyAdaptiveConcurrency>,
    priority: u64,
    timeout: Timeout,
    holder: Holder<Grant>,
}

impl PyConcurrencyPermit {
    #[inline]
    pub(crate) fn new(limiter: Py<PyAdaptiveConcurrency>, priority: u64, timeout: Timeout) -> Self {
        Self { limiter, priority, timeout, holder: Holder::new() }
    }
}

impl HotPermit for PyConcurrencyPermit {
    /// With the time that has run out.
    type Refusal = (Refusal, Option<Timeout>);
    type News = Unmet;
    type Outcome = Outcome;
    const SERVED: Outcome = Outcome::Success;

    #[inline]
    fn is_entered(&self, py: Python<'_>) -> bool {
        self.waitable().is_entered(py)
    }

    #[inline]
    fn timeout(&self) -> Timeout {
        self.timeout
    }

    #[inline]
    fn try_admit(&self, py: Python<'_>, may_wait: bool) -> Attempt<Self> {
        let result = self.waitable().try_admit(py, self.priority, may_wait);
        (result.map_err(not_admitted), None)
    }

    #[inline]
    fn finish(&self, py: Python<'_>, grant: Grant, outcome: Outcome) -> Option<Unmet> {
        let (wakes, unmet) = self.waitable().finish(py, grant, outcome);
        deliver(wakes);
        unmet
    }

    fn report(&self, py: Python<'_>, unmet: Unmet) {
        self.limiter.get().report(py, unmet);
    }

    fn arguments<'py>(&self, py: Python<'py>, (refusal, timeout): Self::Refusal) -> PyResult<Bound<'py, PyTuple>> {
        self.limiter.get().refusal(py, refusal, timeout)
    }
}

impl CallPermit for PyConcurrencyPermit {
    const IGNORED: Outcome = Outcome::Ignored;

    fn outcome_of(&self, error: &Bound<'_, PyAny>) -> PyResult<Outcome> {
        self.limiter.get().outcome_of(error)
    }
}

#[inline]
fn not_admitted(reason: adaptive::NotAdmitted) -> NotAdmitted<(Refusal, Option<Timeout>)> {
    match reason {
        adaptive::NotAdmitted::Busy => NotAdmitted::Busy,
        adaptive::NotAdmitted::Refused(refusal) => NotAdmitted::Refused((refusal, None)),
    }
}

impl WaitableClass for PyConcurrencyPermit {
    type Waitable = Limiter<Waker, Attached>;

    #[inline]
    fn waitable(&self) -> &Self::Waitable {
        &self.limiter.get().core
    }
}

impl Holds for PyConcurrencyPermit {
    type Grant = Grant;

    fn holder(&self) -> &Holder<Grant> {
        &self.holder
    }

    fn give_back(&self, py: Python<'_>, grant: Grant) {
        entries::finish(self, py, grant, Outcome::Ignored);
    }

    const ABANDONED: &'static str = "and does not count";

    fn is_ours(grant: &Grant) -> bool {
        grant.is_ours()
    }

    fn describe(&self, py: Python<'_>) -> String {
        let held = if check_free(self, py).is_err() { "held" } else { "not held" };
        format!("<sluicegate.ConcurrencyPermit {held} of {}>", text(self.limiter.bind(py)))
    }
}

impl WaitingPermit for PyConcurrencyPermit {
    fn admit_or_wait(&self, py: Python<'_>, waiter: &mut Waiter, waker: &Waker) -> Result<Grant, NotAdmitted<Self::Refusal>> {
        let (wakes, result) = self.waitable().admit_or_wait(py, self.priority, waiter, waker);
        wakes.fire();
        result.map_err(not_admitted)
    }

    fn too_late(&self, py: Python<'_>, timeout: Timeout) -> Self::Refusal {
        let refusal = self.waitable().expire(py);
        debug_assert_eq!(refusal.reason, Reason::Full);
        (refusal, Some(timeout))
    }
}

/// The argument `timeout` of an entry: as the permit has it, if it is not given.
pub(super) fn patience(permit: &PyConcurrencyPermit, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Timeout> {
    timeout.map_or(Ok(permit.timeout), |timeout| Timeout::parse_strict("timeout", Some(timeout)))
}

#[pymethods]
impl PyConcurrencyPermit {
    /// Report that the service could not serve the call. Only the first report counts: later ones, and how the block
    /// ends, have no effect.
    ///
    /// `error` is the exception, if there was one: what it asks for by `retry_after` or a response counts. `retry_after`
    /// is what the server asked for, in seconds: calls that are refused meanwhile get it as their `retry_after`, at
    /// most 600 seconds.
    ///
    /// Raises RuntimeError if the permit has not been admitted; ValueError, TypeError or OverflowError for an invalid
    /// argument.
    #[pyo3(signature = (error = None, *, retry_after = None))]
    fn failure(&self, py: Python<'_>, error: Option<&Bound<'_, PyAny>>, retry_after: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let retry_after = reported_retry_after(error, retry_after)?;
        entries::end(self, py, Outcome::Dropped { retry_after })
    }

    /// Report that the call says nothing about the service. Its slot is free.
    ///
    /// Raises RuntimeError if the permit has not been admitted.
    fn ignore(&self, py: Python<'_>) -> PyResult<()> {
        entries::end(self, py, Outcome::Ignored)
    }

    /// The operation behind `async with` and `acquire_async`.
    #[pyo3(signature = (timeout = Argument::MISSING))]
    fn _async_acquire(slf: &Bound<'_, Self>, timeout: Argument<'_, '_>) -> PyResult<AsyncOperation> {
        let timeout = patience(slf.get(), timeout.given())?;
        permit::enter_async_within(slf, timeout)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.limiter)
    }
}

permit_class!(PyConcurrencyPermit);
