//! What a channel is made of, and what its operations answer.

use super::deliveries::Rules;
use super::stock::{Bale, Batch, NoBale};
use crate::clock::Nanos;
use crate::leaving::Leaving;
use crate::sync::{AtomicBool, Ordering};

/// The owner of what is handed on to others: it never waits for itself.
pub const NOBODY: u64 = u64::MAX;

/// What a channel is made of.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// 0: nothing flows but what is asked for.
    pub window: u64,
    /// Consumed credit is given back in steps of this.
    pub step: u64,
    /// The most that may be in the buffer and with the receiver.
    pub bound: u64,
    pub control_capacity: usize,
    /// With deliveries to be settled.
    pub rules: Option<Rules>,
}

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// Nothing more is sent; what is there is received.
    Completing,
    /// As completing, with an error at the end.
    Failed,
    Cancelled,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Completed,
    Failed,
    Cancelled,
}

/// One sender's part in the end of its channel, which is complete when all of its senders have ended. It is changed inside the
/// channel's section; a look from outside may be a moment old.
#[derive(Debug, Default)]
pub struct SenderEnd(AtomicBool);

impl SenderEnd {
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed) // whoever has to know exactly asks inside the section
    }

    /// False if it had ended before.
    pub(super) fn end(&self) -> bool {
        let first = !self.has_ended();
        self.0.store(true, Ordering::Relaxed); // inside the section: nobody else writes
        first
    }
}

/// Why an item was not taken in. It comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum SendError<T> {
    /// No credit, or others are before it.
    Full(T),
    /// More than may ever be on its way at once.
    TooHeavy(T),
    Ended(T, End),
}

/// Why there is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    Empty,
    /// First there are control messages to be taken.
    Control,
    Ended(End),
    /// Nothing comes any more but what this very owner has not settled.
    WaitsForItself,
}

/// The lines of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Send,
    Receive,
    /// Of those who have nothing to send yet, and are told once, when nothing can be sent any more.
    Close,
}

/// The place of one operation in one of the lines; [`Channel::leave`](super::Channel::leave) gives it up.
pub type Spot = crate::wait::Spot<Side>;

/// Items that have left the channel without having been received.
#[derive(Debug)]
pub struct Removed<T, B = NoBale> {
    /// Given up: to be reported.
    pub dropped: Batch<T, B>,
    /// Settled, or with the receiver already: only to be dropped.
    pub settled: Vec<T>,
}

impl<T, B> Default for Removed<T, B> {
    fn default() -> Self {
        Self { dropped: Batch::default(), settled: Vec::new() }
    }
}

impl<T, B: Bale> Removed<T, B> {
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.settled.is_empty()
    }
}

/// What an operation leaves to be done outside the section, and its result.
pub type Outcome<T, W, B, R> = (Leaving<W, Removed<T, B>>, R);

/// What a channel has seen so far. Amounts are in units of weight, but for counts of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    pub phase: Phase,
    pub ended: bool,
    pub window: u64,
    pub granted: u64,
    pub sent: u64,
    pub voided: u64,
    pub permits: u64,
    /// In the buffer, and with the receiver.
    pub occupied: u64,
    pub peak: u64,
    /// [`UNBOUNDED`](super::UNBOUNDED): no end.
    pub credit: u64,
    /// Consumed, or asked for, and not granted yet.
    pub owed: u64,
    pub items_sent: u64,
    pub items_received: u64,
    pub items_discarded: u64,
    pub items_buffered: usize,
    pub items_unacked: usize,
    pub redelivered: u64,
    pub stale: u64,
    pub settled_through: u64,
    pub waiting_senders: usize,
    pub waiting_receivers: usize,
    pub send_blocked: Nanos,
    pub receive_blocked: Nanos,
    /// For so long a sender stood in line.
    pub starved_for: Nanos,
    pub held: bool,
}
