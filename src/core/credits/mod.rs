//! A credit channel: the receiver decides how much may be on its way.
//!
//! The sender may have no more outstanding than it has been granted. With a *window* credit is given back by itself, as items are
//! received, or, with deliveries, as they are settled; without one nothing flows but what the receiver asks for.
//!
//! | file         | what it is for                                                     |
//! |--------------|--------------------------------------------------------------------|
//! | `ledger`     | the counters, and the arithmetic between them                      |
//! | `deliveries` | items that are out until they are settled, and those that come back |
//! | `stock`      | the buffer: items, and bales of items that are made when received  |
//! | `state`      | these and the lines: what happens inside the section               |
//! | `sending`, `receiving`, `granting` | the operations                                |
//!
//! # States
//!
//! | phase      | event                          | next       | also                                                            |
//! |------------|--------------------------------|------------|-----------------------------------------------------------------|
//! | open       | the last sender completes      | completing | senders in line are told                                        |
//! | open       | a sender fails                 | failed     | the same; receivers get what is buffered, then the error         |
//! | open, completing, failed | the receiver cancels | cancelled | everybody is told, what is buffered is handed out to be discarded |
//! | completing | nothing is buffered or unacked, no permit is out | *ended* | receivers are told                              |
//! | failed     | nothing is buffered or unacked | *ended*    | the same, with the error                                        |
//!
//! Ended and cancelled are final: grants, cancellations and settlements do nothing then, and never raise (Reactive Streams 1.0.4, 3.6, 3.7).
//!
//! # Fairness
//! Credit is strictly first come, first served, by weight: whoever comes finds only what is left when everybody in line has been served;
//! a heavy item at the head holds up light ones behind it. Receivers too. Items are received in the order in which they were sent; those
//! that come back go to the head.
//!
//! # Bales
//! A sender that knows what it will send, but need not make it, offers a bale ([`Channel::offer`]). What there is no credit for stands in the
//! senders' line with its owner: when its turn comes the channel itself sends of it what there is credit for, inside the section of whoever
//! gave that credit, and the owner sleeps on. So a small window costs a bale no more hand-overs than a large one.
//!
//! | of a bale in the line    | event                                   | also                                                        |
//! |--------------------------|-----------------------------------------|-------------------------------------------------------------|
//! | stands                   | credit, at the head of the line         | as many of its items as that covers are sent                |
//! | stands                   | its last item is sent, or the next one is too heavy | its owner is told, claims nothing, and looks    |
//! | stands                   | the channel is closed                   | its owner is told                                           |
//! | stands                   | `take_back`, `leave`                    | what is left was never sent; the next in line goes          |
//!
//! # Cancellation
//! Whoever stops waiting calls [`Channel::leave`]; what it had been woken for goes to the next. A permit that is not used goes back.
//!
//! # What becomes due by itself
//! Deliveries come back at their time ([`Channel::next_due`]), or are given up, which gives credit back and may be the end. What hands items
//! out sees to that by itself; whoever looks, or does something else, first calls [`Channel::catch_up`]. The first receiver in line looks after that: it is told when the moment comes
//! to be known, or nearer, and so is whoever becomes the first. It then comes to look again, by itself, when the moment is there.
//!
//! # Deferred grants
//! A channel may hold its grants while another one's sender is starved ([`Channel::defer_to`]): then only sources need to look at whether
//! they are blocked (RabbitMQ's `credit_flow`). Whether that is so is one word, written in the other's section. When it changes back, the
//! other tells its watchers, after its section, and they grant what they owe ([`Channel::release`]). A grant that was just being held back
//! is not forgotten: it was held inside a section that `release` enters later.

mod deliveries;
mod granting;
mod ledger;
mod receiving;
mod sending;
mod state;
mod stock;

pub use deliveries::{Handed, Nack, Receipt, Rules};
pub use ledger::{Permit, UNBOUNDED};
pub use sending::Offer;
pub use state::Phase;
pub use stock::{Bale, Batch, Load, NoBale};

use std::fmt;

use self::state::State;
use crate::clock::{Clock, Nanos};
use crate::section::{Domain, Section};
use crate::sync::{AtomicU32, Ordering};
use crate::wait::{Ticket, Wake, Wakes};

/// The owner of what is handed on to others: it never waits for itself.
pub const NOBODY: u64 = u64::MAX;

/// Is a sender without credit, or without room? Written in its channel's section, read in others'.
pub type Starved = AtomicU32;

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

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Completed,
    Failed,
    Cancelled,
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
}

/// The place of one operation in one of the lines; [`Channel::leave`] gives it up.
pub type Spot = crate::wait::Spot<Side>;

/// Items that have left the channel without having been received.
#[must_use = "to be reported, or dropped, outside the section"]
#[derive(Debug)]
pub struct Leftovers<T, B = NoBale> {
    /// Given up: to be reported.
    pub discarded: Batch<T, B>,
    /// Settled, or with the receiver already: only to be dropped.
    pub spent: Vec<T>,
}

impl<T, B> Leftovers<T, B> {
    pub fn none() -> Self {
        Self { discarded: Batch::default(), spent: Vec::new() }
    }
}

/// An operation's result, and what it leaves to be done outside the section.
pub type Outcome<T, W, B, R> = (Wakes<W>, Leftovers<T, B>, R);

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
    /// [`UNBOUNDED`]: no end.
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

/// A credit channel, see the head of this file. `W` is how its waiters are told, `D` what guards its section, `B` what may hold several items.
pub struct Channel<T, W: Wake, D: Domain, B = NoBale> {
    section: Section<State<T, W, B>, D>,
}

impl<T, W: Wake, D: Domain, B: Bale> Channel<T, W, D, B> {
    pub fn new(config: Config, clock: Clock<W>) -> Self {
        Self { section: Section::new(State::new(config, clock)) }
    }

    #[inline]
    fn visit<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut State<T, W, B>, &mut Wakes<W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.section.with(proof, |state| critical(state, &mut wakes));
        (wakes, result)
    }

    /// As `visit`, for what may leave items behind; first what is due by itself is done.
    fn visit_all<R>(
        &self,
        proof: D::Proof<'_>,
        critical: impl FnOnce(&mut State<T, W, B>, &mut Wakes<W>, &mut Leftovers<T, B>) -> R,
    ) -> Outcome<T, W, B, R> {
        let mut left = Leftovers::none();
        let (wakes, result) = self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            state.catch_up(&mut left);
            let result = critical(state, wakes, &mut left);
            state.settle(wakes);
            result
        });
        (wakes, left, result)
    }

    /// Is this thread inside the section already? Every other operation would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>) -> bool {
        self.section.is_entered(proof)
    }

    pub fn clock(&self, proof: D::Proof<'_>) -> Clock<W> {
        self.section.with(proof, |state| state.clock.clone())
    }

    // -------------------------------------------------------------------------------------------------------------------- waiting

    /// Stops waiting. What it had been woken for goes to the next. Safe to call at any time, any number of times.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn leave(&self, proof: D::Proof<'_>, spot: &mut Spot) -> Wakes<W> {
        if !spot.is_held() {
            return Wakes::none();
        }
        self.visit(proof, |state, wakes| {
            state.vacate(spot, wakes);
            state.settle(wakes);
        })
        .0
    }

    /// Whoever holds this place is kept from coming: what it has been woken for goes to the next. It keeps its place.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_aside(&self, proof: D::Proof<'_>, (side, ticket): (Side, Ticket)) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.line(side).step_aside(ticket);
            state.settle(wakes);
        })
        .0
    }

    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_back(&self, proof: D::Proof<'_>, (side, ticket): (Side, Ticket)) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.line(side).step_back(ticket);
            state.settle(wakes);
        })
        .0
    }

    /// `waker` is told, once, when nothing can be sent any more, for somebody who has nothing to send yet. At once if that is so.
    pub fn watch_end(&self, proof: D::Proof<'_>, waker: W) -> (Wakes<W>, Ticket) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let ticket = state.mourners.join(waker, 0);
            state.settle(wakes);
            ticket
        })
    }

    /// The waker is the caller's to drop, outside the section.
    pub fn unwatch_end(&self, proof: D::Proof<'_>, ticket: Ticket) -> Option<W> {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            state.mourners.leave(ticket)
        })
    }

    // -------------------------------------------------------------------------------------------------------------------- looking

    pub fn phase(&self, proof: D::Proof<'_>) -> Phase {
        self.section.with(proof, |state| state.phase)
    }

    /// Nothing will ever be received again, and why.
    pub fn end(&self, proof: D::Proof<'_>) -> Option<End> {
        self.section.with(proof, |state| state.end())
    }

    /// The most that may be on its way at once.
    pub fn bound(&self, proof: D::Proof<'_>) -> u64 {
        self.section.with(proof, |state| state.ledger.bound)
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Outcome<T, W, B, Statistics> {
        self.visit_all(proof, |state, wakes, _| {
            state.settle(wakes); // what has become due is in it
            let now = state.clock.now();
            let deliveries = state.deliveries.as_ref();
            Statistics {
                phase: state.phase,
                ended: state.end().is_some(),
                window: state.ledger.window,
                granted: state.ledger.granted(),
                sent: state.ledger.sent,
                voided: state.ledger.voided,
                permits: state.ledger.permits,
                occupied: state.ledger.occupied,
                peak: state.peak,
                credit: state.ledger.credit(),
                owed: state.ledger.owed,
                items_sent: state.sends,
                items_received: state.receives,
                items_discarded: state.discarded,
                items_buffered: state.buffered(),
                items_unacked: state.unacked(),
                redelivered: deliveries.map_or(0, |deliveries| deliveries.requeued),
                stale: deliveries.map_or(0, |deliveries| deliveries.stale),
                settled_through: deliveries.map_or(state.receives, deliveries::Deliveries::settled_through),
                waiting_senders: state.senders.len(),
                waiting_receivers: state.receivers.len(),
                send_blocked: state.send_blocked.total(now),
                receive_blocked: state.receive_blocked.total(now),
                starved_for: state.starved_for(now),
                held: state.hold.is_on(),
            }
        })
    }

    /// Every item in it, and every waker, each once. (What is in bales does not exist yet.)
    pub fn visit_contents(&self, proof: D::Proof<'_>, item: impl FnMut(&T), waker: impl FnMut(&W)) {
        self.section.with(proof, |state| {
            state.wakers().for_each(waker);
            state.items().for_each(item);
        });
    }

    /// Moves everything out, only to be dropped, outside: for the garbage collector's use.
    pub fn take_contents(&self, proof: D::Proof<'_>) -> Leftovers<T, B> {
        let mut left = Leftovers::none();
        self.section.with(proof, |state| {
            state.cancel(&mut left);
            left.spent.extend(state.controls.drain(..)); // of one that had ended before
            state.starved.store(0, Ordering::SeqCst);
        });
        left
    }
}

impl<T, W: Wake, D: Domain, B> fmt::Debug for Channel<T, W, D, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}
