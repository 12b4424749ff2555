//! The operations on limiters that may have to wait: for a grant of one limiter, of several, or for a booked moment.

use std::sync::Arc;

use crate::rt::kept::interned;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::rate::{self, Refusal, Standing, Units};
use sluicegate_core::wait::{Ticket, Wakes};

use super::refusal::{cannot_pass, member_cannot_pass, rate_limited, too_far};
use super::{LimitSet, Limiter};
use crate::rt::arguments::Timeout;
use crate::rt::operation::{Chance, Done, Operation, Place};
use crate::rt::waker::Waker;

/// A request for an amount, which may have to wait in a queue.
#[derive(Clone, Debug)]
pub(super) enum Request {
    One(Arc<Limiter>, Units),
    Set(Arc<LimitSet>, Arc<[Units]>),
}

impl Request {
    pub(super) fn clock(&self) -> &Clock<Waker> {
        match self {
            Self::One(limiter, _) => limiter.clock(),
            Self::Set(set, _) => set.clock(),
        }
    }

    /// Of nothing: it goes at once.
    fn is_nothing(&self) -> bool {
        match self {
            Self::One(_, n) => *n == 0,
            Self::Set(_, amounts) => amounts.iter().all(|n| *n == 0),
        }
    }

    pub(super) fn try_acquire(&self, py: Python<'_>, or_wait: bool) -> Result<bool, Refusal> {
        if self.is_nothing() {
            return Ok(true);
        }
        let (wakes, result) = match self {
            Self::One(limiter, n) if or_wait => limiter.try_or_wait(py, *n),
            Self::One(limiter, n) => limiter.try_acquire(py, *n),
            Self::Set(set, amounts) => set.try_acquire(py, amounts, or_wait),
        };
        wakes.fire();
        result
    }

    /// Raises if it could never go: at the door, before anything waits or gives the loop a turn.
    pub(super) fn check(&self, this: &Bound<'_, PyAny>) -> PyResult<()> {
        let refusal = match self {
            Self::One(limiter, n) => limiter.never_fits(*n).then_some(Refusal::NeverFits),
            Self::Set(set, amounts) => {
                let mut members = set.members().iter().zip(amounts.iter());
                members.position(|(member, n)| member.never_fits(*n)).map(Refusal::NeverFitsIn)
            }
        };
        refusal.map_or(Ok(()), |refusal| Err(self.error(this, refusal)))
    }

    /// The exception for a refusal of it by `this`.
    pub(super) fn error(&self, this: &Bound<'_, PyAny>, refusal: Refusal) -> PyErr {
        let py = this.py();
        let after = |at: Nanos| if at == Nanos::MAX { at } else { at.saturating_sub(self.clock().now()) };
        match (refusal, self) {
            (Refusal::Until(at), Self::One(limiter, n)) => rate_limited(
                this,
                interned!(py, "{2}{0} cannot admit the request (n={3:g}) in time; retry after {1:.6f} seconds"),
                after(at),
                limiter.scale().tokens((*n).into()),
            ),
            (Refusal::Until(at), Self::Set(..)) => rate_limited(
                this,
                interned!(py, "{2}{0} cannot admit the request in time; retry after {1:.6f} seconds"),
                after(at),
                py.None(),
            ),
            (Refusal::LineFull(at), _) => rate_limited(
                this,
                interned!(py, "the wait queue of {2}{0} is full; retry after {1:.6f} seconds"),
                after(at),
                py.None(),
            ),
            (Refusal::NeverFits, Self::One(limiter, n)) => cannot_pass("n", limiter.scale().tokens((*n).into()), this),
            (Refusal::NeverFitsIn(index), Self::Set(set, amounts)) => {
                member_cannot_pass(this, index, set.members()[index].scale().tokens(amounts[index].into()))
            }
            (Refusal::TooFar, _) => too_far(this),
            // It did not fit when it was its turn; the limit has been changed once more since.
            (Refusal::NeverFits | Refusal::NeverFitsIn(_), _) => PyValueError::new_err("that can never pass at once"),
        }
    }

    fn acquire_or_wait(&self, py: Python<'_>, place: &mut rate::Place, waker: &Waker, deadline: Option<Nanos>) -> Standing {
        if self.is_nothing() {
            return Standing::Granted;
        }
        let (wakes, standing) = match self {
            Self::One(limiter, n) => limiter.acquire_or_wait(py, *n, place, waker, deadline),
            Self::Set(set, amounts) => set.acquire_or_wait(py, amounts, place, waker, deadline),
        };
        wakes.fire();
        standing
    }

    fn leave(&self, py: Python<'_>, place: &mut rate::Place) -> Wakes<Waker> {
        match self {
            Self::One(limiter, _) => limiter.leave(py, place),
            Self::Set(set, _) => set.leave(py, place),
        }
    }

    /// With `exactly` false it may be too long after other waiters have left.
    pub(super) fn retry_after(&self, py: Python<'_>, exactly: bool) -> Result<Nanos, Refusal> {
        if self.is_nothing() {
            return Ok(0);
        }
        let (wakes, result) = match self {
            Self::One(limiter, n) if exactly => limiter.retry_after(py, *n),
            Self::One(limiter, n) => limiter.retry_after_at_most(py, *n),
            Self::Set(set, amounts) if exactly => set.retry_after(py, amounts),
            Self::Set(set, amounts) => set.retry_after_at_most(py, amounts),
        };
        wakes.fire();
        result
    }
}

#[derive(Debug)]
pub(super) struct Acquire {
    request: Request,
    place: rate::Place,
    deadline: Option<Nanos>,
    look_again_at: Option<Nanos>,
}

impl Acquire {
    pub(super) fn new(request: Request) -> Self {
        Self { request, place: rate::Place::default(), deadline: None, look_again_at: None }
    }
}

impl Operation for Acquire {
    fn names(&self) -> (&'static str, &'static str) {
        ("acquire", "acquire_async")
    }

    fn clock(&self, _this: &Bound<'_, PyAny>) -> Clock<Waker> {
        self.request.clock().clone()
    }

    fn set_deadline(&mut self, deadline: Option<Nanos>) {
        self.deadline = deadline;
    }

    fn look_again_at(&self) -> Option<Nanos> {
        self.look_again_at
    }

    fn attempt(&mut self, this: &Bound<'_, PyAny>, chance: Chance<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let py = this.py();
        let Chance::Wait(waker) = chance else {
            let went = self
                .request
                .try_acquire(py, matches!(chance, Chance::Arrival))
                .map_err(|refusal| self.request.error(this, refusal))?;
            return Ok(went.then_some(Done::Yes));
        };
        match self.request.acquire_or_wait(py, &mut self.place, waker, self.deadline) {
            Standing::Granted => Ok(Some(Done::Yes)),
            Standing::Waiting(at) => {
                self.look_again_at = at;
                Ok(None)
            }
            Standing::Refused(refusal) => Err(self.request.error(this, refusal)),
        }
    }

    fn place(&self, _this: &Bound<'_, PyAny>) -> Option<Box<dyn Place>> {
        let ticket = self.place.ticket()?;
        Some(Box::new(PlaceInLine { request: self.request.clone(), ticket }))
    }

    fn withdraw(&mut self, this: &Bound<'_, PyAny>) -> Wakes<Waker> {
        self.request.leave(this.py(), &mut self.place)
    }

    fn refused(&self, this: &Bound<'_, PyAny>, _timeout: Timeout) -> PyErr {
        let refusal = match self.request.retry_after(this.py(), false) {
            Ok(time) => Refusal::Until(self.request.clock().now().saturating_add(time)),
            Err(refusal) => refusal,
        };
        self.request.error(this, refusal)
    }

    fn traverse(&self, _visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        Ok(()) // the line is shown by the limiter that owns it
    }
}

/// The place of a thread that runs signal handlers. Meanwhile somebody else keeps time, because a handler may take long.
struct PlaceInLine {
    request: Request,
    ticket: Ticket,
}

impl Place for PlaceInLine {
    fn interrupted(&self, py: Python<'_>) {
        self.step_aside(py);
    }

    fn step_aside(&self, py: Python<'_>) {
        match &self.request {
            Request::One(limiter, _) => limiter.step_aside(py, self.ticket).fire(),
            Request::Set(set, _) => set.step_aside(py, self.ticket).fire(),
        }
    }

    fn step_back(&self, py: Python<'_>) {
        match &self.request {
            Request::One(limiter, _) => limiter.step_back(py, self.ticket).fire(),
            Request::Set(set, _) => set.step_back(py, self.ticket).fire(),
        }
    }
}

/// Waiting for a booked moment. Nothing is held meanwhile but the booking, which stays.
#[derive(Debug)]
pub(super) struct AwaitMoment {
    at: Nanos,
    clock: Clock<Waker>,
    deadline: Option<Nanos>,
}

impl AwaitMoment {
    pub(super) fn new(at: Nanos, clock: Clock<Waker>) -> Self {
        Self { at, clock, deadline: None }
    }

    fn too_late(&self, this: &Bound<'_, PyAny>) -> PyErr {
        let template = interned!(this.py(), "the reservation is not ready in time; retry after {1:.6f} seconds");
        rate_limited(this, template, self.at.saturating_sub(self.clock.now()), this.py().None())
    }
}

impl Operation for AwaitMoment {
    fn names(&self) -> (&'static str, &'static str) {
        ("wait", "wait_async")
    }

    fn clock(&self, _this: &Bound<'_, PyAny>) -> Clock<Waker> {
        self.clock.clone()
    }

    fn set_deadline(&mut self, deadline: Option<Nanos>) {
        self.deadline = deadline;
    }

    fn look_again_at(&self) -> Option<Nanos> {
        Some(self.at)
    }

    fn attempt(&mut self, this: &Bound<'_, PyAny>, _chance: Chance<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        if self.at <= self.clock.now() {
            return Ok(Some(Done::Yes));
        }
        match self.deadline {
            Some(deadline) if deadline < self.at => Err(self.too_late(this)),
            _ => Ok(None),
        }
    }

    fn place(&self, _this: &Bound<'_, PyAny>) -> Option<Box<dyn Place>> {
        None
    }

    fn withdraw(&mut self, _this: &Bound<'_, PyAny>) -> Wakes<Waker> {
        Wakes::none()
    }

    fn refused(&self, this: &Bound<'_, PyAny>, _timeout: Timeout) -> PyErr {
        self.too_late(this)
    }

    fn traverse(&self, _visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        Ok(())
    }
}
