//! Circuit breakers: calls to a service that fails are refused for some time, so that the service can recover and callers need not wait for
//! it.
//!
//! # Algorithm
//! A breaker counts the results of the calls that it admits, in a window. It opens when enough of them failed or were slow, or, for
//! services that are called rarely, when there have been only failures for a whole window. After the open time a fixed number of calls are
//! admitted as *probes*; when all of them have succeeded the breaker closes, and when one fails it opens again for twice as long. The
//! states are from Nygard's *Release It!* (2007), the idea that a result belongs to a generation from Sony's gobreaker, the failure-rate
//! window from Hystrix and Resilience4j, the open time that grows and shrinks again from Envoy's outlier detection. The table of states is
//! in `state`.
//!
//! # Fairness
//! Nobody waits. If several calls come at the same moment, those that enter the section first become the probes.
//!
//! # What it does not do
//! It has no timer and no thread: due transitions happen at the next call. It does not run the calls and does not classify errors: the
//! caller reports how a call ended.
//!
//! | file     | what it is for                                                   |
//! |----------|------------------------------------------------------------------|
//! | `rules`  | the settings of a breaker, and the types of its results            |
//! | `window` | the results that count for the rates                               |
//! | `state`  | the state machine                                                  |
//! | `keyed`  | a breaker for each of very many keys                               |

mod keyed;
mod rules;
mod state;
mod window;

use std::fmt;

use self::state::State;
use crate::clock::{Clock, Nanos};
use crate::section::{Domain, Section};
use crate::wait::Wake;

pub use self::keyed::{Keyed, KeyedStatistics, NoRoom};
pub use self::rules::{Change, Grant, Kind, Outcome, Refusal, Rules, Statistics, Totals, Why};

/// One breaker, shared by threads.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::breaker::{Breaker, Kind, Outcome, Rules};
/// use sluicegate_core::clock::{Clock, nanos};
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let rules = Rules {
///     failure_rate: 0.5,
///     window: nanos(10.0),
///     min_calls: 2,
///     run: Some(5),
///     slow_after: None,
///     slow_rate: 0.8,
///     open_for: nanos(5.0),
///     open_for_max: nanos(60.0),
///     probes: 3,
///     probe_timeout: nanos(30.0),
///     calls: None,
///     metrics_only: false,
/// };
/// let breaker: Breaker<Arc<Parker>, Threads> = Breaker::new(rules, Clock::Monotonic);
/// for _ in 0..2 {
///     let (grant, _) = breaker.admit(());
///     let change = breaker.finish((), grant.unwrap(), Outcome::Failure { retry_after: None });
///     drop(change); // the caller reports it to listeners
/// }
/// assert_eq!(breaker.state(()), Kind::Open);
/// assert!(breaker.admit(()).0.is_err());
/// ```
pub struct Breaker<W: Wake, D: Domain> {
    rules: Rules,
    clock: Clock<W>,
    section: Section<State, D>,
}

impl<W: Wake, D: Domain> Breaker<W, D> {
    pub fn new(rules: Rules, clock: Clock<W>) -> Self {
        let state = State::new(&rules, 1, clock.now());
        Self { rules, clock, section: Section::new(state) }
    }

    fn visit<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut State, Nanos) -> R) -> R {
        // The clock is read inside the section, so that time never goes back from one visit to the next.
        self.section.with(proof, |state| critical(state, self.clock.now()))
    }

    /// True if this thread is inside the section already. Every other operation would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>) -> bool {
        self.section.is_entered(proof)
    }

    /// Begins a call, if it is admitted.
    #[inline]
    #[must_use = "listeners must hear of a change"]
    pub fn admit(&self, proof: D::Proof<'_>) -> (Result<Grant, Refusal>, Option<Change>) {
        self.section.with(proof, |state| state.admit(&self.rules, || self.clock.now()))
    }

    /// Refuses a call that would not be admitted now, and counts that. It does not begin a call that would be.
    #[inline]
    pub fn refuse(&self, proof: D::Proof<'_>) -> Option<Refusal> {
        self.section.with(proof, |state| state.refuse(&self.rules, || self.clock.now()))
    }

    /// Ends a call.
    #[inline]
    #[must_use = "listeners must hear of a change"]
    pub fn finish(&self, proof: D::Proof<'_>, grant: Grant, outcome: Outcome) -> Option<Change> {
        self.section.with(proof, |state| state.finish(&self.rules, grant, outcome, || self.clock.now()))
    }

    /// Refuses every call from now on, for the given time or until it is reset.
    #[must_use = "listeners must hear of a change"]
    pub fn force_open(&self, proof: D::Proof<'_>, lasts: Option<Nanos>) -> Option<Change> {
        self.visit(proof, |state, now| state.force_open(lasts, now))
    }

    /// Admits every call from now on, and only counts.
    #[must_use = "listeners must hear of a change"]
    pub fn disable(&self, proof: D::Proof<'_>) -> Option<Change> {
        self.visit(proof, State::disable)
    }

    /// Closes the breaker, as if it were new.
    #[must_use = "listeners must hear of a change"]
    pub fn reset(&self, proof: D::Proof<'_>) -> Option<Change> {
        self.visit(proof, |state, now| state.reset(&self.rules, now))
    }

    /// The state that the next call meets.
    pub fn state(&self, proof: D::Proof<'_>) -> Kind {
        self.visit(proof, |state, now| state.kind(now))
    }

    /// The time until the next call may be admitted; zero if it may be now.
    pub fn retry_after(&self, proof: D::Proof<'_>) -> Nanos {
        self.visit(proof, |state, now| state.retry_after(&self.rules, now))
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Statistics {
        self.visit(proof, State::statistics)
    }
}

impl<W: Wake, D: Domain> fmt::Debug for Breaker<W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").finish_non_exhaustive()
    }
}
