//! What a channel is made of, and what its operations answer.

use super::buffer::{Bale, Batch, NoBale};
use super::deliveries::Rules;
use crate::clock::Nanos;
use crate::leaving::Leaving;
use crate::sync::{AtomicBool, Ordering};

/// The owner of a delivery that others settle, such as a subscriber's: a receive with this owner never answers `SelfWait`.
pub const NO_OWNER: u64 = u64::MAX;

/// What a channel is made of.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// 0: only what the receiver requests may be sent.
    pub window: u64,
    /// Consumed credit is granted again in steps of this size.
    pub step: u64,
    /// The largest amount that may be in the buffer and with the receiver together.
    pub bound: u64,
    pub control_capacity: usize,
    /// Present if items are deliveries that have to be settled.
    pub rules: Option<Rules>,
}

/// The phase of a channel's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// Nothing more is sent; what is buffered is still received.
    Completing,
    /// Like `Completing`, but the receiver gets an error at the end.
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

/// Why an item was not sent. The item comes back in it.
#[derive(Debug, PartialEq, Eq)]
pub enum SendError<T> {
    /// There is no credit, or other senders are ahead in line.
    Full(T),
    /// The item is heavier than the channel's bound.
    TooHeavy(T),
    Ended(T, End),
}

/// Why there is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    Empty,
    /// Control messages have to be taken first.
    Control,
    Ended(End),
    /// All that is left is deliveries that this owner itself has not settled.
    SelfWait,
}

/// The lines of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Send,
    Receive,
    /// Waiters with nothing to send: each is woken once, when nothing can be sent any more (`close_waiters`).
    Close,
}

/// One operation's place in one of the lines; [`Channel::leave`](super::Channel::leave) gives it up.
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

/// What has to be done outside the section after an operation, and the operation's result.
pub type Outcome<T, W, B, R> = (Leaving<W, Removed<T, B>>, R);

/// Counters of a channel. Amounts are in units of weight, except for the fields named `items_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    pub phase: Phase,
    pub ended: bool,
    pub window: u64,
    pub granted: u64,
    pub sent: u64,
    pub voided: u64,
    pub permits: u64,
    /// The amount in the buffer and with the receiver.
    pub occupied: u64,
    pub peak: u64,
    /// [`UNBOUNDED`](super::UNBOUNDED) if there is no limit.
    pub credit: u64,
    /// The amount consumed or requested that has not been granted yet.
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
    /// For how long there has been a sender in line without a break.
    pub starved_for: Nanos,
    pub held: bool,
}
