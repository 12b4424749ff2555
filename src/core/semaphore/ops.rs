//! The operations on a semaphore, each one visit to its section.

use super::state::{AcquireError, Overrelease, Overreleased, State, Statistics, Waiter};
use crate::clock::Clock;
use crate::monitor::Monitor;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// A semaphore, see the head of this folder. `W` is the waker of its waiters, `D` the kind of its section.
///
/// ```
/// use std::sync::Arc;
/// use sluicegate_core::clock::Clock;
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::semaphore::{AcquireError, Overrelease, Semaphore};
/// use sluicegate_core::wait::Parker;
///
/// let semaphore: Semaphore<Arc<Parker>, Threads> = Semaphore::new(3, Overrelease::Bounded, Clock::Monotonic);
/// assert_eq!(semaphore.try_acquire((), 2), Ok(()));
/// assert_eq!(semaphore.try_acquire((), 2), Err(AcquireError::Busy));
/// let (wakes, result) = semaphore.release((), 2);
/// wakes.fire();
/// assert_eq!(result, Ok(()));
/// ```
pub type Semaphore<W, D> = Monitor<State<W>, W, D, 1>;

impl<W: Wake, D: Domain> Monitor<State<W>, W, D, 1> {
    pub fn new(size: u64, kind: Overrelease, clock: Clock<W>) -> Self {
        Self::of(State::new(size, kind, clock))
    }

    /// Takes `n` permits if they are free and no waiter is before it.
    #[inline]
    pub fn try_acquire(&self, proof: D::Proof<'_>, n: u64) -> Result<(), AcquireError> {
        self.section.with(proof, |state| state.try_acquire(n))
    }

    /// Takes `n` permits, or joins (or stays in) the wait queue: after `Busy` the waiter is in the queue, and `waker` will be woken.
    pub fn acquire_or_wait(
        &self,
        proof: D::Proof<'_>,
        n: u64,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<(), AcquireError>) {
        self.visit(proof, |state, wakes| state.acquire_or_wait(n, waiter, waker, wakes))
    }

    /// Gives `n` permits back. [`Overrelease`] says what happens if this is more than are held.
    #[inline]
    pub fn release(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, Result<(), Overreleased>) {
        self.visit(proof, |state, wakes| state.release(n, wakes))
    }

    /// Sets the total number of permits. Permits that are held stay held.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn resize(&self, proof: D::Proof<'_>, size: u64) -> Wakes<W> {
        self.visit(proof, |state, wakes| state.resize(size, wakes)).0
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Statistics {
        self.section.with(proof, State::statistics)
    }
}
