//! The results of operations on limiters, and the handles of waiters and bookings.

use super::lowwater::Taking;
use super::units::Units;
use crate::clock::Nanos;
use crate::wait::Ticket;

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be admitted before this moment, as far as can be foreseen.
    Until(Nanos),
    /// The wait queue is full; a place becomes free about then.
    WaitQueueFull(Nanos),
    /// It is for a new key. As things stand, the first key can be forgotten for it when this time has passed; it is a second if somebody may
    /// let go of one at any time.
    AllKeysInUse(Nanos),
    /// The amount is more than can ever be admitted at once.
    NeverFits,
    /// The amount is more than the member with this index, in a set, can ever admit at once.
    NeverFitsIn(usize),
    /// The total that is booked or owed is too large to be counted.
    TooFar,
    /// There is no memory for the record of the request.
    NoMemory,
}

/// The outcome of an attempt that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireState {
    Granted,
    /// The operation has a place in the queue. It has to try again at this moment, if there is one, without being woken.
    Waiting(Option<Nanos>),
    Refused(Refusal),
}

/// The place in the queue that one operation holds, if any, and what it has been granted.
#[derive(Debug, Default)]
pub struct Waiter {
    pub(super) ticket: Option<Ticket>,
    pub(super) granted: Granted,
}

/// The grant of an operation whose caller later reports the amount actually used.
#[derive(Debug, Default)]
pub(super) enum Granted {
    #[default]
    Nothing,
    One(Booking),
    Several(Bookings),
}

impl Waiter {
    pub fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    /// Stores a grant that was made without a place in the queue.
    pub fn hold_booking(&mut self, booking: Booking) {
        self.granted = Granted::One(booking);
    }

    pub fn hold_bookings(&mut self, bookings: Bookings) {
        self.granted = Granted::Several(bookings);
    }

    /// Takes the grant of a limiter. Returns it once.
    pub fn take_booking(&mut self) -> Option<Booking> {
        match std::mem::take(&mut self.granted) {
            Granted::One(booking) => Some(booking),
            _ => None,
        }
    }

    /// Takes the grant of a set. Returns it once.
    pub fn take_bookings(&mut self) -> Option<Bookings> {
        match std::mem::take(&mut self.granted) {
            Granted::Several(bookings) => Some(bookings),
            _ => None,
        }
    }
}

/// A booking of `units` for the moment `at`; or a grant, of which `at` is in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booking {
    pub at: Nanos,
    pub units: Units,
    /// When the amount was or will be taken. The number of the taking is the number of the booking.
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

/// A booking in all members of a set for the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookings {
    pub at: Nanos,
    /// None where no amount was requested.
    pub(super) each: Vec<Option<Booking>>,
}

impl Bookings {
    /// A booking of nothing for now, see [`Booking::nothing`].
    pub fn nothing(members: usize, now: Nanos) -> Self {
        Self { at: now, each: vec![None; members] }
    }

    /// The booked amounts, in the members' order.
    pub fn amounts(&self) -> impl Iterator<Item = Units> {
        self.each.iter().map(|booking| booking.map_or(0, |booking| booking.units))
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

/// The statistics of a limiter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub admitted: u64,
    pub refused: u64,
    /// Admitted after a wait.
    pub waited: u64,
    /// The sum over all waits, including those that have not ended.
    pub waited_for: Nanos,
    pub waiters: usize,
}

/// The precision that is required of a foreseen moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Exact,
    /// An upper bound is enough: the true moment may be earlier after waiters have left.
    AtTheLatest,
}

/// The answer to a request that can be given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Admitted,
    /// The request was refused; it could be admitted in this time.
    RefusedFor(Nanos),
}
