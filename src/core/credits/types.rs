//! The configuration of a channel, the results of its operations, and its counters.

use super::buffer::{Bale, Batch, NoBale};
use super::deliveries::{DiscardReason, Rules};
use crate::clock::Nanos;
use crate::leaving::Leaving;
use crate::sync::{AtomicBool, Ordering};

/// The owner of a delivery that others settle, such as a subscriber's: a receive with this owner never answers `SelfWait`.
pub const NO_OWNER: u64 = u64::MAX;

/// The configuration of a channel.
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

/// The phase of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// Nothing more is sent; buffered items are still received.
    Completing,
    /// Like `Completing`, but the receiver gets an error at the end.
    Failed,
    Cancelled,
}

/// How a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Completed,
    Failed,
    Cancelled,
}

/// Whether one sender has ended. The channel is complete when all its senders have ended. Changed inside the channel's section; a value read
/// outside of it may be out of date.
#[derive(Debug, Default)]
pub struct SenderEnd(AtomicBool);

impl SenderEnd {
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed) // only a call inside the section gives an exact answer
    }

    /// Ends this sender. Returns false if it had ended before.
    pub(super) fn end(&self) -> bool {
        let first = !self.has_ended();
        self.0.store(true, Ordering::Relaxed); // inside the section, so no other thread writes
        first
    }
}

/// Why an item was not sent. Contains the item.
#[derive(Debug, PartialEq, Eq)]
pub enum SendError<T> {
    /// There is no credit, or other senders are ahead in the wait queue.
    Full(T),
    /// The item is heavier than the channel's bound.
    TooHeavy(T),
    /// There is not enough memory to buffer it.
    NoMemory(T),
    Ended(T, End),
}

/// Why no item was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    Empty,
    /// Control messages have to be taken first.
    Control,
    Ended(End),
    /// All that is left is deliveries that this owner itself has not settled.
    SelfWait,
    /// There is no memory to hand out so many, or to record a delivery. Nothing has been taken.
    NoMemory,
}

/// The wait queues of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Send,
    Receive,
    /// Waiters with nothing to send: each is woken once, when nothing can be sent any more (`close_waiters`).
    Close,
    /// Callers of `stop`, which wait for outstanding deliveries.
    Stop,
}

/// One operation's place in one of the wait queues; [`Channel::leave`](super::Channel::leave) gives it up.
pub type Waiter = crate::wait::Waiter<Side>;

/// Items that have left the channel without having been received.
#[derive(Debug)]
pub struct Removed<T, B = NoBale> {
    /// Given up for [`DiscardReason::Cancelled`]; to be reported.
    pub dropped: Batch<T, B>,
    /// Given up for another reason; to be reported.
    pub poison: Vec<T>,
    pub rejected: Vec<T>,
    /// Settled, or already with the receiver; only to be dropped.
    pub settled: Vec<T>,
    /// True if there is progress to be reported ([`Channel::next_report`](super::Channel::next_report)).
    pub has_news: bool,
}

impl<T, B> Default for Removed<T, B> {
    fn default() -> Self {
        Self { dropped: Batch::default(), poison: Vec::new(), rejected: Vec::new(), settled: Vec::new(), has_news: false }
    }
}

impl<T, B: Bale> Removed<T, B> {
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.poison.is_empty() && self.rejected.is_empty() && self.settled.is_empty() && !self.has_news
    }

    /// Memory for one more item that is given up for this reason. False if there is none.
    pub(super) fn has_room(&mut self, reason: DiscardReason) -> bool {
        self.list(reason).try_reserve(1).is_ok()
    }

    pub(super) fn discard(&mut self, item: T, reason: DiscardReason) {
        self.list(reason).push(item);
    }

    fn list(&mut self, reason: DiscardReason) -> &mut Vec<T> {
        match reason {
            DiscardReason::Poison => &mut self.poison,
            DiscardReason::Rejected => &mut self.rejected,
            DiscardReason::Cancelled => &mut self.dropped.items,
        }
    }
}

/// The wake-ups and removed items that have to be handled outside the section after an operation, and the operation's result.
pub type Outcome<T, W, B, R> = (Leaving<W, Removed<T, B>>, R);

/// What a refusal says about the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditView {
    pub credit: u64,
    pub bound: u64,
    pub items_buffered: usize,
    pub items_unacked: usize,
}

/// Counters of a channel. Amounts are in units of weight, except for the fields named `items_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    pub phase: Phase,
    pub ended: bool,
    /// True if it has been cancelled by a stop that still waits for deliveries.
    pub stopping: bool,
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
    /// The time for which at least one sender has been waiting without interruption.
    pub starved_for: Nanos,
    pub held: bool,
}
