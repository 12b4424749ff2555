//! The operations on limiters that may have to wait: for a grant of one limiter, of several, or for a booked moment.

use std::sync::Arc;

use crate::rt::kept::interned;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::monitor::Waitable;
use sluicegate_core::rate::{self, AcquireState, Refusal, Scale, Units};
use sluicegate_core::wait::{Ticket, Wakes};

use super::names::Names;
use super::refusal::{
    admits_later, cannot_pass, member_cannot_pass, member_of, no_memory, rate_limited, set_admits_later, too_far,
};
use super::{LimitSet, Limiter};
use crate::rt::arguments::Timeout;
use crate::rt::domain::Attached;
use crate::rt::operation::{Done, Mode, Operation};
use crate::rt::registration::{Anchor, Registered, Registration, registration};
use crate::rt::waker::Waker;

/// A request for an amount, which may have to wait in a queue.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    One(Arc<Limiter>, Units),
    /// Of each limiter of the set, which has these names.
    Set(Arc<LimitSet>, Arc<[Units]>, Arc<Names>),
}

/// How the amounts of a request are given in tokens.
#[derive(Clone, Copy)]
pub(super) enum Measure<'a> {
    One(Scale),
    ByName(&'a Names),
}

impl Request {
    pub(super) fn measure(&self) -> Measure<'_> {
        match self {
            Self::One(limiter, _) => Measure::One(limiter.scale()),
            Self::Set(.., names) => Measure::ByName(names),
        }
    }

    pub(super) fn clock(&self) -> &Clock<Waker> {
        match self {
            Self::One(limiter, _) => limiter.clock(),
            Self::Set(set, ..) => set.clock(),
        }
    }

    /// The amount in tokens, as a Python object.
    pub(super) fn tokens(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::One(limiter, n) => Ok(limiter.scale().tokens((*n).into()).into_pyobject(py)?.into_any().unbind()),
            Self::Set(_, amounts, names) => Ok(names.tokens(py, amounts)?.into_any().unbind()),
        }
    }

    /// True for a request of zero, which is admitted at once.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::One(_, n) => *n == 0,
            Self::Set(_, amounts, _) => amounts.iter().all(|n| *n == 0),
        }
    }

    pub(super) fn try_acquire(&self, py: Python<'_>, or_wait: bool) -> Result<bool, Refusal> {
        if self.is_nothing() {
            return Ok(true);
        }
        let (wakes, result) = match self {
            Self::One(limiter, n) if or_wait => limiter.try_or_wait(py, *n),
            Self::One(limiter, n) => limiter.try_acquire(py, *n),
            Self::Set(set, amounts, _) => set.try_acquire(py, amounts, or_wait),
        };
        wakes.fire();
        result
    }

    /// As `try_acquire`, for a caller that later reports the amount actually used: the grant is stored in `waiter`.
    pub(super) fn try_book(&self, py: Python<'_>, waiter: &mut rate::Waiter, or_wait: bool) -> Result<bool, Refusal> {
        if self.is_nothing() {
            return Ok(true);
        }
        match self {
            Self::One(limiter, n) => {
                let (wakes, booking) = limiter.try_book(py, *n, or_wait);
                wakes.fire();
                Ok(booking?.map(|booking| waiter.hold_booking(booking)).is_some())
            }
            Self::Set(set, amounts, _) => {
                let (wakes, bookings) = set.try_book(py, amounts, or_wait);
                wakes.fire();
                Ok(bookings?.map(|bookings| waiter.hold_bookings(bookings)).is_some())
            }
        }
    }

    /// Raises if the request can never be admitted, before the caller waits or yields to the event loop.
    pub(super) fn check(&self, this: &Bound<'_, PyAny>) -> PyResult<()> {
        let refusal = match self {
            Self::One(limiter, n) => limiter.never_fits(*n).then_some(Refusal::NeverFits),
            Self::Set(set, amounts, _) => {
                let mut members = set.members().iter().zip(amounts.iter());
                members.position(|(member, n)| member.never_fits(*n)).map(Refusal::NeverFitsIn)
            }
        };
        refusal.map_or(Ok(()), |refusal| Err(self.error(this, refusal)))
    }

    /// The exception for a refusal by `this`.
    pub(super) fn error(&self, this: &Bound<'_, PyAny>, refusal: Refusal) -> PyErr {
        let py = this.py();
        let after = |at: Nanos| if at == Nanos::MAX { at } else { at.saturating_sub(self.clock().now()) };
        match (refusal, self) {
            (Refusal::Until(at), Self::One(limiter, n)) => {
                rate_limited(this, admits_later(py), after(at), limiter.scale().tokens((*n).into()))
            }
            (Refusal::Until(at), Self::Set(set, amounts, _)) => {
                let (wakes, last) = set.last_to_admit(py, amounts);
                wakes.fire();
                let limit = last.and_then(|index| Some(member_of(this, index).ok()?.0));
                rate_limited(this, set_admits_later(py, limit.is_some()), after(at), limit)
            }
            (Refusal::WaitQueueFull(at), Self::One(limiter, _)) => rate_limited(
                this,
                interned!(py, "all places (capacity={3:g}) in the wait queue of {2}{0} are taken; retry after {1:.6f} seconds"),
                after(at),
                limiter.terms(py).size,
            ),
            (Refusal::WaitQueueFull(at), _) => rate_limited(
                this,
                interned!(py, "the wait queue of {2}{0} is full; retry after {1:.6f} seconds"),
                after(at),
                py.None(),
            ),
            // A request of a limiter has no key, or one that is remembered; if it is refused so all the same, this is true.
            (Refusal::AllKeysInUse(time), _) => rate_limited(
                this,
                interned!(
                    py,
                    "all keys of {2}{0} are in use, and none can be forgotten for a new key; retry after {1:.6f} seconds"
                ),
                time,
                py.None(),
            ),
            (Refusal::NeverFits, Self::One(limiter, n)) => cannot_pass("n", limiter.scale().tokens((*n).into()), this),
            (Refusal::NeverFitsIn(index), Self::Set(set, amounts, _)) => {
                member_cannot_pass(this, index, set.members()[index].scale().tokens(amounts[index].into()))
            }
            (Refusal::TooFar, _) => too_far(this),
            (Refusal::NoMemory, _) => no_memory(this),
            // The amount was too large when it was its turn, and the limit has been changed once more since.
            (Refusal::NeverFits | Refusal::NeverFitsIn(_), _) => PyValueError::new_err("that can never pass at once"),
        }
    }

    pub(super) fn acquire_or_wait(
        &self,
        py: Python<'_>,
        waiter: &mut rate::Waiter,
        waker: &Waker,
        deadline: Option<Nanos>,
    ) -> AcquireState {
        if self.is_nothing() {
            return AcquireState::Granted;
        }
        let (wakes, standing) = match self {
            Self::One(limiter, n) => limiter.acquire_or_wait(py, *n, waiter, waker, deadline),
            Self::Set(set, amounts, _) => set.acquire_or_wait(py, amounts, waiter, waker, deadline),
        };
        wakes.fire();
        standing
    }

    /// With `exactly` false the time is an upper bound, too long if other waiters have left.
    pub(super) fn retry_after(&self, py: Python<'_>, exactly: bool) -> Result<Nanos, Refusal> {
        if self.is_nothing() {
            return Ok(0);
        }
        let (wakes, result) = match self {
            Self::One(limiter, n) if exactly => limiter.retry_after(py, *n),
            Self::One(limiter, n) => limiter.retry_after_at_most(py, *n),
            Self::Set(set, amounts, _) if exactly => set.retry_after(py, amounts),
            Self::Set(set, amounts, _) => set.retry_after_at_most(py, amounts),
        };
        wakes.fire();
        result
    }
}

impl Request {
    /// Why the request was not admitted in time, for a waiter that has left the queue.
    pub(super) fn refusal(&self, py: Python<'_>) -> Refusal {
        match self.retry_after(py, false) {
            Ok(time) => Refusal::Until(self.clock().now().saturating_add(time)),
            Err(refusal) => refusal,
        }
    }
}

impl Waitable<Waker, Attached> for Request {
    type Waiter = rate::Waiter;
    type Position = Ticket;

    const FIRST_KEEPS_TIME: bool = true;

    fn position(waiter: &rate::Waiter) -> Option<Ticket> {
        waiter.ticket()
    }

    fn clock(&self, _py: Python<'_>) -> Clock<Waker> {
        self.clock().clone()
    }

    fn leave(&self, py: Python<'_>, waiter: &mut rate::Waiter) -> Wakes<Waker> {
        match self {
            Self::One(limiter, _) => limiter.leave(py, waiter),
            Self::Set(set, ..) => set.leave(py, waiter),
        }
    }

    fn step_aside(&self, py: Python<'_>, ticket: Ticket) -> Wakes<Waker> {
        match self {
            Self::One(limiter, _) => limiter.step_aside(py, ticket),
            Self::Set(set, ..) => set.step_aside(py, ticket),
        }
    }

    fn step_back(&self, py: Python<'_>, ticket: Ticket) -> Wakes<Waker> {
        match self {
            Self::One(limiter, _) => limiter.step_back(py, ticket),
            Self::Set(set, ..) => set.step_back(py, ticket),
        }
    }
}

/// A request, and the Python object of the limiter or set that it is made to.
#[derive(Debug)]
struct Asked {
    this: Py<PyAny>,
    request: Request,
}

impl Anchor for Asked {
    type Waitable = Request;

    fn waitable<'a>(&'a self, _py: Python<'a>) -> &'a Request {
        &self.request
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { this: self.this.clone_ref(py), request: self.request.clone() }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.this) // the limiter visits the wakers of its wait queue
    }
}

#[derive(Debug)]
pub(super) struct Acquire(Registration<Asked>);

impl Acquire {
    pub(super) fn new(this: Py<PyAny>, request: Request) -> Self {
        Self(Registration::new(Asked { this, request }))
    }

    fn error(&self, py: Python<'_>, refusal: Refusal) -> PyErr {
        let Asked { this, request } = &self.0.object;
        request.error(this.bind(py), refusal)
    }
}

impl Operation for Acquire {
    fn names(&self) -> (&'static str, &'static str) {
        ("acquire", "acquire_async")
    }

    registration!(0);

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let Registration { object: Asked { request, .. }, waiter, deadline, look_again_at } = &mut self.0;
        let Mode::Park(waker) = mode else {
            let went = request.try_acquire(py, matches!(mode, Mode::TryFair));
            return went.map(|went| went.then_some(Done::Yes)).map_err(|refusal| self.error(py, refusal));
        };
        match request.acquire_or_wait(py, waiter, waker, *deadline) {
            AcquireState::Granted => Ok(Some(Done::Yes)),
            AcquireState::Waiting(at) => {
                *look_again_at = at;
                Ok(None)
            }
            AcquireState::Refused(refusal) => Err(self.error(py, refusal)),
        }
    }

    fn out_of_time(&self, py: Python<'_>, _timeout: Timeout) -> PyResult<Done> {
        Err(self.error(py, self.0.object.request.refusal(py)))
    }
}

/// Waits for a booked moment. The booking stays whatever becomes of the wait.
#[derive(Debug)]
pub(super) struct AwaitMoment {
    this: Py<PyAny>,
    /// Raises if `this` is not to be waited for any more.
    check: fn(&Bound<'_, PyAny>) -> PyResult<()>,
    at: Nanos,
    clock: Clock<Waker>,
    deadline: Option<Nanos>,
}

impl AwaitMoment {
    pub(super) fn new(this: Py<PyAny>, check: fn(&Bound<'_, PyAny>) -> PyResult<()>, at: Nanos, clock: Clock<Waker>) -> Self {
        Self { this, check, at, clock, deadline: None }
    }
}

impl Registered for AwaitMoment {
    fn clock(&self, _py: Python<'_>) -> Clock<Waker> {
        self.clock.clone()
    }

    fn set_deadline(&mut self, deadline: Option<Nanos>) {
        self.deadline = deadline;
    }

    fn look_again_at(&self) -> Option<Nanos> {
        Some(self.at)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.this)
    }
}

impl Operation for AwaitMoment {
    fn names(&self) -> (&'static str, &'static str) {
        ("wait", "wait_async")
    }

    fn registration(&self) -> &dyn Registered {
        self
    }

    fn registration_mut(&mut self) -> &mut dyn Registered {
        self
    }

    fn attempt(&mut self, py: Python<'_>, _chance: Mode<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        (self.check)(self.this.bind(py))?;
        if self.at <= self.clock.now() {
            return Ok(Some(Done::Yes));
        }
        match self.deadline {
            Some(deadline) if deadline < self.at => self.out_of_time(py, Timeout::Forever).map(Some),
            _ => Ok(None),
        }
    }

    fn out_of_time(&self, py: Python<'_>, _timeout: Timeout) -> PyResult<Done> {
        let template = interned!(py, "the reservation is not ready in time; retry after {1:.6f} seconds");
        Err(rate_limited(self.this.bind(py), template, self.at.saturating_sub(self.clock.now()), py.None()))
    }
}
