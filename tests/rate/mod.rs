//! What the property tests of the limiters share: callers on a clock that is set by hand, and the plain models.

mod keyed;
pub(crate) mod law;
pub(crate) mod model;

use std::sync::Arc;

use sluicegate_core::clock::{Clock, Manual, Nanos};
use sluicegate_core::rate::{AcquireState, Booking, LimitSet, Limiter, Policy, Rate, Refusal, Scale, Units, Waiter};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

pub(crate) type Waker = Arc<Parker>;
pub(crate) type One = Limiter<Waker, Threads>;
pub(crate) type Set = LimitSet<Waker, Threads>;

pub(crate) const SECOND: Nanos = 1_000_000_000;
pub(crate) const TOKEN: Units = 1_000_000_000;

pub(crate) fn nano() -> Scale {
    Scale::for_largest(1e9).unwrap()
}

/// Whole tokens a second are whole units a nanosecond: nothing is rounded.
pub(crate) fn rate_of(per_nano: u32) -> Rate {
    Rate::new(per_nano.into(), 1.0, nano()).unwrap()
}

#[derive(Clone)]
pub(crate) struct Time(Arc<Manual<Waker>>);

impl Time {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Manual::new(0)))
    }

    pub(crate) fn clock(&self) -> Clock<Waker> {
        Clock::Manual(Arc::clone(&self.0))
    }

    pub(crate) fn now(&self) -> Nanos {
        self.0.now()
    }

    pub(crate) fn reach(&self, moment: Nanos) {
        self.0.advance(moment.saturating_sub(self.0.now()));
    }

    pub(crate) fn set(&self, members: &[&Arc<One>]) -> Arc<Set> {
        LimitSet::new((), members.iter().map(|member| Arc::clone(member)).collect(), self.clock()).unwrap()
    }

    pub(crate) fn make(&self, policy: Policy) -> Arc<One> {
        Arc::new(Limiter::new(policy, nano(), self.clock()))
    }
}

pub(crate) fn try_acquire(one: &One, n: Units) -> Result<bool, Refusal> {
    let (wakes, goes) = one.try_acquire((), n);
    wakes.fire();
    goes
}

/// For a caller that reports later what it came to.
pub(crate) fn try_book(one: &One, n: Units) -> Result<Option<Booking>, Refusal> {
    let (wakes, booking) = one.try_book((), n, false);
    wakes.fire();
    booking
}

pub(crate) fn level(one: &One) -> i128 {
    let (wakes, level) = one.level(());
    wakes.fire();
    level
}

pub(crate) fn retry_after(one: &One, n: Units) -> Result<Nanos, Refusal> {
    let (wakes, time) = one.retry_after((), n);
    wakes.fire();
    time
}

pub(crate) fn reserve(one: &One, n: Units, max_wait: Option<Nanos>) -> Result<Booking, Refusal> {
    let (wakes, booking) = one.reserve((), n, max_wait);
    wakes.fire();
    booking
}

pub(crate) fn cancel(one: &One, booking: Booking) -> Units {
    let (wakes, returned) = one.cancel((), booking);
    wakes.fire();
    returned
}

/// Without saying which member of a set it is that never fits.
pub(crate) fn plain(refusal: Refusal) -> Refusal {
    if matches!(refusal, Refusal::NeverFitsIn(_)) { Refusal::NeverFits } else { refusal }
}

/// One who waits, in its own place and on its own parker.
#[derive(Default)]
pub(crate) struct Caller {
    pub(crate) parker: Waker,
    pub(crate) waiter: Waiter,
    /// When it would come by itself, as it was told last.
    pub(crate) told: Option<Nanos>,
}

impl Caller {
    pub(crate) fn look(&mut self, one: &One, n: Units, deadline: Option<Nanos>) -> AcquireState {
        self.parker.reset();
        let (wakes, standing) = one.acquire_or_wait((), n, &mut self.waiter, &self.parker, deadline);
        wakes.fire();
        self.was_told(standing)
    }

    pub(crate) fn look_each(&mut self, set: &Set, amounts: &[Units]) -> AcquireState {
        self.parker.reset();
        let (wakes, standing) = set.acquire_or_wait((), amounts, &mut self.waiter, &self.parker, None);
        wakes.fire();
        match self.was_told(standing) {
            AcquireState::Refused(refusal) => AcquireState::Refused(plain(refusal)),
            standing => standing,
        }
    }

    fn was_told(&mut self, standing: AcquireState) -> AcquireState {
        self.told = if let AcquireState::Waiting(told) = standing { told } else { None };
        standing
    }

    pub(crate) fn waits(&self) -> bool {
        self.waiter.ticket().is_some()
    }

    /// It comes by itself at `moment` or before, or has been woken.
    pub(crate) fn comes_by(&self, moment: Nanos) -> bool {
        self.waits() && (self.parker.is_notified() || self.told.is_some_and(|told| told <= moment))
    }
}
