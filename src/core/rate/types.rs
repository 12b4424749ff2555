//! What callers of limiters are told, and what they hold.

use super::lowwater::Taking;
use super::units::Units;
use crate::clock::Nanos;
use crate::wait::Ticket;

/// Why something did not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not before this moment, as far as can be foreseen.
    Until(Nanos),
    /// The line is as long as it may be; a place becomes free about then.
    LineFull(Nanos),
    /// The amount is more than can ever be admitted at once.
    NeverFits,
    /// The same, of the member of a set with this index.
    NeverFitsIn(usize),
    /// The total that is booked or owed is too large to be counted.
    TooFar,
}

/// The outcome of an attempt that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Granted,
    /// It has a place in the queue. It has to come at this moment without being woken, if there is one.
    Waiting(Option<Nanos>),
    Refused(Refusal),
}

/// The place in the queue that one operation holds, if any.
#[derive(Debug, Default)]
pub struct Place(pub(super) Option<Ticket>);

impl Place {
    pub fn ticket(&self) -> Option<Ticket> {
        self.0
    }
}

/// A promise: `units` may go at `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booking {
    pub at: Nanos,
    pub units: Units,
    /// When it was or will be taken. Its number is that of the booking.
    pub(super) taking: Taking,
}

impl Booking {
    pub(super) fn number(self) -> u64 {
        self.taking.number
    }

    /// A booking of nothing for now: there is nothing to wait for and nothing to give back.
    pub fn nothing(now: Nanos) -> Self {
        Self { at: now, units: 0, taking: Taking { at: now, number: u64::MAX } }
    }
}

/// The terms of a limiter in tokens and seconds, as the user gave them, for its attributes. They change together with the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    pub rate: f64,
    /// The burst of a bucket, the capacity of a leaky bucket, or the limit of a window.
    pub size: f64,
    pub period: f64,
}

/// What a limiter has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub admitted: u64,
    pub refused: u64,
    /// Admitted after a wait.
    pub waited: u64,
    /// Summed over all waits, those still going on too.
    pub waited_for: Nanos,
    pub waiters: usize,
}

/// How good a moment has to be that is foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Exact,
    /// It may be later than the true one, after waiters have left.
    AtTheLatest,
}
