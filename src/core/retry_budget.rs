//! A budget for retries: in an outage, retries add a fraction of the calls to the load, not a multiple of them.
//!
//! # Algorithm
//! A token bucket, full at first. A retry takes one token, and is refused if there is none. A call that succeeds at its first attempt adds
//! a fraction of a token; so does the passage of time, for clients with few calls. In an outage no call succeeds and the bucket runs empty;
//! from then on retries are limited to what time adds. (If every call added a fraction, not only successful ones, the retries would cost
//! the same in good times and would not end in an outage.) The method is that of the AWS SDKs, gRPC (A6) and Finagle's `RetryBudget`;
//! Brooker, *Fixing retries with token buckets and circuit breakers* (2022), has the figures.
//!
//! Amounts are integers, in billionths of a token, so that ten tenths make one. The amount added by time is exact: the remainder of the
//! division is kept.
//!
//! # Fairness
//! Nobody waits. The first caller takes the token.
//!
//! # What it does not do
//! It performs no retries and computes no delays.

use std::fmt;

use crate::clock::{Clock, Nanos};
use crate::section::{Domain, Section};
use crate::wait::Wake;

/// The number of units in a token.
pub const UNITS: u64 = 1_000_000_000;

const SECOND: u128 = 1_000_000_000;

/// The statistics of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// In units.
    pub tokens: u64,
    pub deposits: u64,
    pub acquired: u64,
    pub refused: u64,
}

#[derive(Debug)]
struct State {
    tokens: u64,
    /// The time up to which the passage of time has been counted.
    then: Nanos,
    /// The remainder of that count, less than a unit.
    rest: u128,
    deposits: u64,
    acquired: u64,
    refused: u64,
}

/// A budget that any number of threads can share.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::clock::Clock;
/// use sluicegate_core::retry_budget::{RetryBudget, UNITS};
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let budget: RetryBudget<Arc<Parker>, Threads> = RetryBudget::new(UNITS / 10, UNITS, 0, Clock::Monotonic);
/// assert!(budget.try_acquire(()));
/// assert!(!budget.try_acquire(()));
/// for _ in 0..10 {
///     budget.deposit(());
/// }
/// assert!(budget.try_acquire(()));
/// ```
pub struct RetryBudget<W: Wake, D: Domain> {
    ratio: u64,
    reserve: u64,
    per_second: u64,
    clock: Clock<W>,
    section: Section<State, D>,
}

impl<W: Wake, D: Domain> RetryBudget<W, D> {
    /// In units: what a success adds, the capacity of the bucket, and what a second adds.
    pub fn new(ratio: u64, reserve: u64, per_second: u64, clock: Clock<W>) -> Self {
        let state = State { tokens: reserve, then: clock.now(), rest: 0, deposits: 0, acquired: 0, refused: 0 };
        Self { ratio, reserve, per_second, clock, section: Section::new(state) }
    }

    /// True if this thread is inside the section already. Every other operation would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>) -> bool {
        self.section.is_entered(proof)
    }

    /// Adds the amount for the time since the last count.
    #[inline]
    fn pass(&self, state: &mut State) {
        if self.per_second == 0 {
            return;
        }
        let now = self.clock.now();
        let gain = u128::from(now.saturating_sub(state.then)) * u128::from(self.per_second) + state.rest;
        state.then = now;
        let room = self.reserve - state.tokens;
        let whole = u64::try_from(gain / SECOND).unwrap_or(u64::MAX);
        // A full bucket keeps no remainder.
        (state.tokens, state.rest) = if whole < room { (state.tokens + whole, gain % SECOND) } else { (self.reserve, 0) };
    }

    /// Takes a token for a retry. Returns false if there is none.
    #[inline]
    pub fn try_acquire(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| {
            self.pass(state);
            let goes = state.tokens >= UNITS;
            if goes {
                state.tokens -= UNITS;
                state.acquired += 1;
            } else {
                state.refused += 1;
            }
            goes
        })
    }

    /// Records that a call has succeeded at its first attempt.
    #[inline]
    pub fn deposit(&self, proof: D::Proof<'_>) {
        self.section.with(proof, |state| {
            // The passage of time is counted later: the order in which amounts are added does not matter below the reserve.
            state.tokens = state.tokens.saturating_add(self.ratio).min(self.reserve);
            state.deposits += 1;
        });
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Statistics {
        self.section.with(proof, |state| {
            self.pass(state);
            let State { tokens, deposits, acquired, refused, .. } = *state;
            Statistics { tokens, deposits, acquired, refused }
        })
    }
}

impl<W: Wake, D: Domain> fmt::Debug for RetryBudget<W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget").finish_non_exhaustive()
    }
}
