//! The operations on a limiter, each one visit to its section.

use super::state::{Grant, NotAdmitted, Outcome, Refusal, Settings, State, Statistics, Unmet, Waiter};
use crate::clock::Clock;
use crate::monitor::Monitor;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// A limiter of concurrent calls, see the head of this folder. `W` is how its waiters are woken, `D` what guards its section.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::adaptive::aimdf::{Rules, Step};
/// use sluicegate_core::adaptive::{Limiter, Outcome, Settings};
/// use sluicegate_core::clock::{Clock, nanos};
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let rules = Rules {
///     target: Some(nanos(0.1)),
///     min: 1,
///     max: 200,
///     decrease: 0.9,
///     bad_fraction: 0.1,
///     min_samples: 1,
///     step: Step::One,
///     near: 0.9,
/// };
/// let settings = Settings { rules, initial: 2, max_waiting: 0, shed: None };
/// let limiter: Limiter<Arc<Parker>, Threads> = Limiter::new(&settings, Clock::Monotonic);
/// let calls = [limiter.try_admit((), 0, false).unwrap(), limiter.try_admit((), 0, false).unwrap()];
/// assert!(limiter.try_admit((), 0, false).is_err());
/// for call in calls {
///     let (wakes, unmet) = limiter.finish((), call, Outcome::Success);
///     wakes.fire();
///     assert_eq!(unmet, None);
/// }
/// assert_eq!(limiter.limit(()), 3);
/// ```
pub type Limiter<W, D> = Monitor<State<W>, W, D, 1>;

impl<W: Wake, D: Domain> Monitor<State<W>, W, D, 1> {
    pub fn new(settings: &Settings, clock: Clock<W>) -> Self {
        Self::of(State::new(settings, clock))
    }

    /// Admits a call at once, if it may begin. Otherwise it is refused; or, if it may wait and there is a place in the wait queue, the result
    /// is [`NotAdmitted::Busy`], and the caller goes on with `admit_or_wait`: it is not in the wait queue yet. `priority` is a level, at most [`LEAST_URGENT`](super::LEAST_URGENT).
    #[inline]
    pub fn try_admit(&self, proof: D::Proof<'_>, priority: u64, may_wait: bool) -> Result<Grant, NotAdmitted> {
        self.section.with(proof, |state| state.try_admit(priority, may_wait))
    }

    /// Admits a call, or takes (or keeps) a place in the wait queue: after `Busy` the waiter is in it, and `waker` will be woken.
    pub fn admit_or_wait(
        &self,
        proof: D::Proof<'_>,
        priority: u64,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<Grant, NotAdmitted>) {
        self.visit(proof, |state, wakes| state.admit_or_wait(priority, waiter, waker, wakes))
    }

    /// Ends a call. Returns a warning if the target cannot be met.
    #[inline]
    pub fn finish(&self, proof: D::Proof<'_>, grant: Grant, outcome: Outcome) -> (Wakes<W>, Option<Unmet>) {
        self.visit(proof, |state, wakes| state.finish(grant, outcome, wakes))
    }

    /// Counts a waiter whose time is over, and returns its refusal.
    pub fn expire(&self, proof: D::Proof<'_>) -> Refusal {
        self.section.with(proof, State::expire)
    }

    /// From now on the limit is between these. Calls in flight stay, also above the limit.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn set_limits(&self, proof: D::Proof<'_>, min: u64, max: u64) -> Wakes<W> {
        self.visit(proof, |state, wakes| state.set_limits(min, max, wakes)).0
    }

    /// How many calls may be in flight.
    pub fn limit(&self, proof: D::Proof<'_>) -> u64 {
        self.section.with(proof, |state| state.limit())
    }

    pub fn in_flight(&self, proof: D::Proof<'_>) -> u64 {
        self.section.with(proof, State::in_flight)
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Statistics {
        self.section.with(proof, State::statistics)
    }
}
