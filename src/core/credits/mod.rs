//! A credit channel: the receiver decides how much may be on its way.
//!
//! The sender may have no more outstanding than it has been granted. With a *window* credit is given back by itself, as items are
//! received, or, with deliveries, as they are settled; without one nothing flows but what the receiver asks for.
//!
//! | file         | what it is for                                                     |
//! |--------------|--------------------------------------------------------------------|
//! | `ledger`     | the counters, and the arithmetic between them                      |
//! | `deliveries` | items that are out until they are settled, and those that come back |
//! | `state`      | these, the buffer and the lines: what happens inside the section   |
//! | this one     | the operations                                                     |
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
//! # Cancellation
//! Whoever stops waiting calls [`Channel::leave`]; what it had been woken for goes to the next. A permit that is not used goes back.
//!
//! # What becomes due by itself
//! Deliveries come back at their time ([`Channel::next_due`]). The first receiver in line looks after that: it is told when the moment comes
//! to be known, or nearer, and so is whoever becomes the first. It then comes to look again, by itself, when the moment is there.
//!
//! # Deferred grants
//! A channel may hold its grants while another one's sender is starved ([`Channel::defer_to`]): then only sources need to look at whether
//! they are blocked (RabbitMQ's `credit_flow`). Whether that is so is one word, written in the other's section. When it changes back, the
//! other tells its watchers, after its section, and they grant what they owe ([`Channel::release`]). A grant that was just being held back
//! is not forgotten: it was held inside a section that `release` enters later.

mod deliveries;
mod ledger;
mod state;

pub use deliveries::{Handed, Nack, Receipt, Rules};
pub use ledger::UNBOUNDED;
pub use state::Phase;

use std::fmt;

use self::state::{Entry, State};
use crate::buffer::Buffer;
use crate::clock::{Clock, Nanos};
use crate::section::{Domain, Section};
use crate::sync::{Arc, AtomicU32, Ordering};
use crate::wait::{Ticket, Wake, Wakes};

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
pub struct Leftovers<T> {
    /// Given up: to be reported.
    pub discarded: Vec<T>,
    /// Settled, or with the receiver already: only to be dropped.
    pub spent: Vec<T>,
}

impl<T> Leftovers<T> {
    fn none() -> Self {
        Self { discarded: Vec::new(), spent: Vec::new() }
    }
}

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

/// A credit channel, see the head of this file. `W` is how its waiters are told, `D` what guards its section.
pub struct Channel<T, W: Wake, D: Domain> {
    section: Section<State<T, W>, D>,
}

impl<T, W: Wake, D: Domain> Channel<T, W, D> {
    pub fn new(config: Config, clock: Clock<W>) -> Self {
        Self { section: Section::new(State::new(config, clock)) }
    }

    #[inline]
    fn visit<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut State<T, W>, &mut Wakes<W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.section.with(proof, |state| critical(state, &mut wakes));
        (wakes, result)
    }

    /// As `visit`, for what may leave items behind; first what is due by itself is done.
    fn visit_all<R>(
        &self,
        proof: D::Proof<'_>,
        critical: impl FnOnce(&mut State<T, W>, &mut Wakes<W>, &mut Leftovers<T>) -> R,
    ) -> (Wakes<W>, Leftovers<T>, R) {
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

    // -------------------------------------------------------------------------------------------------------------------- sending

    /// Sends without waiting.
    #[inline]
    pub fn try_send(&self, proof: D::Proof<'_>, item: T, weight: u64) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| {
            if state.phase != Phase::Open || !state.may_send(weight) || state.ledger.has_lease() {
                return state.send_slowly(item, weight, wakes);
            }
            state.ledger.send(weight);
            state.put_in(item, weight);
            state.sent(wakes);
            Ok(())
        })
    }

    /// Sends, or takes (or keeps) a place in line: after `Full` the spot is held, and `waker` will be woken.
    pub fn send_or_wait(
        &self,
        proof: D::Proof<'_>,
        item: T,
        weight: u64,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| match state.credit_or_wait(weight, spot, waker, wakes) {
            Credit::Here => {
                state.ledger.send(weight);
                state.put_in(item, weight);
                state.settle(wakes);
                Ok(())
            }
            Credit::Wait => Err(SendError::Full(item)),
            Credit::Never => Err(SendError::TooHeavy(item)),
            Credit::Ended(end) => Err(SendError::Ended(item, end)),
        })
    }

    /// Sends as many of `items` as there is credit for, in order: `Full` if some are left. `weights` ends with those of the items
    /// that are left; if it is empty each weighs one.
    pub fn try_send_batch(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<T>,
        weights: &[u64],
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| state.send_batch(items, weights, wakes))
    }

    /// The same; while some are left a place in line is held, for the first of them.
    pub fn send_batch_or_wait(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<T>,
        weights: &[u64],
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| {
            if spot.is_held() {
                let Some(weight) = first_weight(items, weights) else { return Ok(()) };
                match state.credit_or_wait(weight, spot, waker, wakes) {
                    Credit::Here => {}
                    Credit::Wait => return Err(SendError::Full(())),
                    Credit::Never => return Err(SendError::TooHeavy(())),
                    Credit::Ended(end) => return Err(SendError::Ended((), end)),
                }
                if let Some(item) = items.next() {
                    state.ledger.send(weight);
                    state.put_in(item, weight);
                }
            }
            let mut result = state.send_batch(items, weights, wakes);
            if matches!(result, Err(SendError::Full(()))) && state.grant_all() {
                result = state.send_batch(items, weights, wakes);
            }
            if let (Err(SendError::Full(())), Some(weight)) = (&result, first_weight(items, weights)) {
                state.stay(Side::Send, weight, spot, waker);
            }
            state.settle(wakes);
            result
        })
    }

    /// Takes credit for items that do not exist yet. Whoever holds it may send so much, or gives it back.
    pub fn try_permit(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| {
            let ready = state.is_ready(n, wakes);
            if ready.is_ok() {
                state.ledger.permit(n);
                state.settle(wakes);
            }
            ready
        })
    }

    /// The same, or a place in line.
    pub fn permit_or_wait(
        &self,
        proof: D::Proof<'_>,
        n: u64,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| match state.credit_or_wait(n, spot, waker, wakes) {
            Credit::Here => {
                state.ledger.permit(n);
                state.settle(wakes);
                Ok(())
            }
            Credit::Wait => Err(SendError::Full(())),
            Credit::Never => Err(SendError::TooHeavy(())),
            Credit::Ended(end) => Err(SendError::Ended((), end)),
        })
    }

    /// Sends an item whose weight is part of a permit. A channel that was completed meanwhile still takes it (tokio's `reserve`).
    pub fn send_permitted(&self, proof: D::Proof<'_>, item: T, weight: u64) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let end = state.closed().filter(|&end| end != End::Completed).or_else(|| state.end());
            if let Some(end) = end {
                return Err(SendError::Ended(item, end));
            }
            if weight > state.ledger.permits {
                return Err(SendError::Full(item));
            }
            state.ledger.send_permitted(weight);
            state.put_in(item, weight);
            state.settle(wakes);
            Ok(())
        })
    }

    /// What is left of a permit goes to the next.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn return_permit(&self, proof: D::Proof<'_>, n: u64) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            if !state.forget_after_fork() && state.phase != Phase::Cancelled {
                state.ledger.return_permit(n.min(state.ledger.permits));
            }
            state.settle(wakes);
        })
        .0
    }

    /// True once `n` could be sent, or never again; takes nothing. While it is false the spot is held.
    pub fn ready_or_wait(
        &self,
        proof: D::Proof<'_>,
        n: u64,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| {
            let outcome = match state.credit_or_wait(n, spot, waker, wakes) {
                Credit::Here => Ok(()),
                Credit::Wait => Err(SendError::Full(())),
                Credit::Never => Err(SendError::TooHeavy(())),
                Credit::Ended(end) => Err(SendError::Ended((), end)),
            };
            state.settle(wakes); // its turn goes to the next
            outcome
        })
    }

    /// Could one who comes now send `n`?
    pub fn is_ready(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, Result<(), SendError<()>>) {
        self.visit(proof, |state, wakes| state.is_ready(n, wakes))
    }

    /// What one who comes now may send. [`UNBOUNDED`]: whatever it likes.
    pub fn credit(&self, proof: D::Proof<'_>) -> (Wakes<W>, u64) {
        self.visit(proof, |state, wakes| {
            state.prepare_to_send(wakes);
            if state.is_unbounded() && state.ledger.bound == UNBOUNDED && state.phase == Phase::Open {
                UNBOUNDED
            } else {
                state.credit()
            }
        })
    }

    /// One more sender, that ends by itself.
    pub fn add_sender(&self, proof: D::Proof<'_>) {
        self.section.with(proof, |state| state.senders_left += 1);
    }

    /// One sender has nothing more to send. With the last the channel is complete.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn complete(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.senders_left = state.senders_left.saturating_sub(1);
            if state.senders_left == 0 && state.phase == Phase::Open {
                state.phase = Phase::Completing;
            }
            state.settle(wakes);
        })
        .0
    }

    /// A sender has failed: receivers are told, after what is there. False if the channel had ended before.
    pub fn fail(&self, proof: D::Proof<'_>) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let open = matches!(state.phase, Phase::Open | Phase::Completing) && state.end().is_none();
            if open {
                state.phase = Phase::Failed;
            }
            state.settle(wakes);
            open
        })
    }

    /// Sends something that needs no credit, for the receiver to take before anything else. `Full` if it does not take them fast enough.
    pub fn send_control(&self, proof: D::Proof<'_>, message: T) -> (Wakes<W>, Result<(), SendError<T>>) {
        self.visit(proof, |state, wakes| {
            if let Some(end) = state.closed() {
                return Err(SendError::Ended(message, end));
            }
            if state.controls.len() >= state.control_capacity {
                return Err(SendError::Full(message));
            }
            state.controls.push_back(message);
            state.settle(wakes);
            Ok(())
        })
    }

    // ------------------------------------------------------------------------------------------------------------------ receiving

    /// Receives without waiting. `owner` is whoever receives, see [`ReceiveError::WaitsForItself`].
    #[inline]
    pub fn try_receive(&self, proof: D::Proof<'_>) -> (Wakes<W>, Result<T, ReceiveError>) {
        self.visit(proof, State::receive)
    }

    /// Receives, or takes (or keeps) a place in line: after `Empty` and `Control` the spot is held.
    pub fn receive_or_wait(&self, proof: D::Proof<'_>, spot: &mut Spot, waker: &W) -> (Wakes<W>, Result<T, ReceiveError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.may_take(spot) && !state.must_listen() {
                if let Some(item) = state.take_out() {
                    state.vacate(spot, wakes);
                    state.settle(wakes);
                    return Ok(item);
                }
            }
            Err(state.wait_to_receive(0, spot, waker, wakes))
        })
    }

    /// Receives up to `max` items, if there is one.
    pub fn try_receive_batch(&self, proof: D::Proof<'_>, max: usize) -> (Wakes<W>, Result<Vec<T>, ReceiveError>) {
        self.visit(proof, |state, wakes| state.receive_batch(max, wakes))
    }

    pub fn receive_batch_or_wait(
        &self,
        proof: D::Proof<'_>,
        max: usize,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<Vec<T>, ReceiveError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.may_take(spot) && !state.must_listen() && !state.buffer.is_empty() {
                state.vacate(spot, wakes);
                let batch = state.take_batch(max.min(state.unclaimed().max(1)));
                state.settle(wakes);
                return Ok(batch);
            }
            Err(state.wait_to_receive(0, spot, waker, wakes))
        })
    }

    /// Receives a delivery, to be settled, for `owner`; the channel keeps the item, and `share` makes the receiver's.
    pub fn try_receive_delivery(
        &self,
        proof: D::Proof<'_>,
        owner: u64,
        share: impl Fn(&T) -> T,
    ) -> (Wakes<W>, Leftovers<T>, Result<Handed<T>, ReceiveError>) {
        self.visit_all(proof, |state, _, _| {
            if state.must_listen() {
                return Err(ReceiveError::Control);
            }
            if !state.may_take(&mut Spot::default()) {
                return Err(state.nothing_there(owner));
            }
            state.hand_out(owner, share).ok_or_else(|| state.nothing_there(owner))
        })
    }

    pub fn receive_delivery_or_wait(
        &self,
        proof: D::Proof<'_>,
        owner: u64,
        share: impl Fn(&T) -> T,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Leftovers<T>, Result<Handed<T>, ReceiveError>) {
        self.visit_all(proof, |state, wakes, _| {
            if state.may_take(spot) && !state.must_listen() {
                if let Some(handed) = state.hand_out(owner, share) {
                    state.vacate(spot, wakes);
                    return Ok(handed);
                }
            }
            Err(state.wait_to_receive(owner, spot, waker, wakes))
        })
    }

    /// When something becomes due by itself: whoever waits has to come then.
    pub fn next_due(&self, proof: D::Proof<'_>) -> Option<Nanos> {
        self.section.with(proof, |state| state.deliveries.as_ref().and_then(deliveries::Deliveries::next_due))
    }

    /// Does what is due by itself.
    pub fn catch_up(&self, proof: D::Proof<'_>) -> (Wakes<W>, Leftovers<T>) {
        let (wakes, left, ()) = self.visit_all(proof, |_, _, _| ());
        (wakes, left)
    }

    /// A delivery is done. False if it is not this one's any more.
    pub fn ack(&self, proof: D::Proof<'_>, receipt: Receipt) -> (Wakes<W>, Leftovers<T>, bool) {
        self.visit_all(proof, |state, _, left| state.settle_delivery(receipt, None, left))
    }

    /// A delivery has failed. False if it is not this one's any more.
    pub fn nack(&self, proof: D::Proof<'_>, receipt: Receipt, nack: Nack) -> (Wakes<W>, Leftovers<T>, bool) {
        self.visit_all(proof, |state, _, left| state.settle_delivery(receipt, Some(nack), left))
    }

    /// Takes the control messages that are there.
    pub fn take_controls(&self, proof: D::Proof<'_>) -> Vec<T> {
        self.section.with(proof, |state| state.controls.drain(..).collect())
    }

    /// Does the receiver take control messages?
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn listen(&self, proof: D::Proof<'_>, listens: bool) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.listens = listens;
            state.settle(wakes);
        })
        .0
    }

    /// The receiver wants nothing more. Idempotent.
    pub fn cancel(&self, proof: D::Proof<'_>) -> (Wakes<W>, Leftovers<T>) {
        let (wakes, left, ()) = self.visit_all(proof, |state, _, left| state.cancel(left));
        (wakes, left)
    }

    // --------------------------------------------------------------------------------------------------------------------- credit

    /// Asks for `n` more. False if the channel takes no more.
    pub fn request(&self, proof: D::Proof<'_>, n: u64) -> (Wakes<W>, bool) {
        self.grant(proof, |state| {
            state.ledger.ask(n);
            true
        })
    }

    /// Asks for as many more as bring everything ever granted to `sequence`; false if that is so already.
    pub fn request_up_to(&self, proof: D::Proof<'_>, sequence: u64) -> (Wakes<W>, bool) {
        self.grant(proof, |state| state.ledger.ask_up_to(sequence))
    }

    /// `n` for `ttl`, instead of what an earlier lease has left. False while grants are held.
    pub fn lease(&self, proof: D::Proof<'_>, n: u64, ttl: Nanos) -> (Wakes<W>, bool) {
        self.grant(proof, |state| {
            let free = !state.hold.is_on();
            if free {
                state.ledger.lease(n, state.clock.now().saturating_add(ttl));
            }
            free
        })
    }

    fn grant(&self, proof: D::Proof<'_>, more: impl FnOnce(&mut State<T, W>) -> bool) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            state.prepare_to_send(wakes);
            let granted = state.phase == Phase::Open && more(state);
            state.settle(wakes);
            granted
        })
    }

    /// Takes back what is not used; returns how much that was. A window is given back by [`Channel::resume`].
    pub fn drain(&self, proof: D::Proof<'_>) -> (Wakes<W>, u64) {
        self.visit(proof, |state, wakes| {
            state.prepare_to_send(wakes);
            if state.phase != Phase::Open {
                return 0;
            }
            let unused = state.ledger.drain();
            state.hold.paused |= state.ledger.window > 0;
            state.settle(wakes);
            unused
        })
    }

    /// Grants are held; what is buffered stays, and is received.
    pub fn pause(&self, proof: D::Proof<'_>) {
        self.section.with(proof, |state| state.hold.paused = true);
    }

    /// Grants what has been held.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn resume(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.hold.paused = false;
            state.grant_all();
            state.settle(wakes);
        })
        .0
    }

    /// Holds grants while the sender of another channel, whose [`Channel::watch`] gave this, is starved.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn defer_to(&self, proof: D::Proof<'_>, downstream: Option<Arc<Starved>>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.hold.downstream = downstream;
            state.grant_all();
            state.settle(wakes);
        })
        .0
    }

    /// Whether this channel's sender is starved, kept up to date from now on; `watcher` is told when it is no longer.
    pub fn watch(&self, proof: D::Proof<'_>, watcher: W) -> Arc<Starved> {
        self.section.with(proof, |state| {
            state.watchers.push(watcher);
            let starved = state.phase == Phase::Open && state.ledger.sendable() == 0;
            state.starved.store(u32::from(starved), Ordering::SeqCst);
            Arc::clone(&state.starved)
        })
    }

    /// What a watcher does: grants what has been held, if it may.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn release(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.grant_all();
            state.settle(wakes);
        })
        .0
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

    pub fn statistics(&self, proof: D::Proof<'_>) -> (Wakes<W>, Leftovers<T>, Statistics) {
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
                credit: state.ledger.sendable(),
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

    /// Every item in it, and every waker, each once.
    pub fn visit_contents(&self, proof: D::Proof<'_>, item: impl FnMut(&T), waker: impl FnMut(&W)) {
        self.section.with(proof, |state| {
            state.wakers().for_each(waker);
            state.items().for_each(item);
        });
    }

    /// Moves every item out, to be dropped outside: for the garbage collector's use.
    pub fn take_contents(&self, proof: D::Proof<'_>) -> Leftovers<T> {
        let mut left = Leftovers::none();
        self.section.with(proof, |state| {
            state.cancel(&mut left);
            left.spent.append(&mut left.discarded);
            left.spent.extend(state.controls.drain(..)); // of one that had ended before
            state.starved.store(0, Ordering::SeqCst);
        });
        left
    }
}

/// The weight of the first item that is left.
fn first_weight<T>(items: &std::vec::IntoIter<T>, weights: &[u64]) -> Option<u64> {
    let left = items.len();
    (left > 0).then(|| if weights.is_empty() { 1 } else { weights[weights.len() - left] })
}

/// Whether there is credit for something.
enum Credit {
    /// It is there, and the operation waits no longer.
    Here,
    /// The operation stands in line.
    Wait,
    Never,
    Ended(End),
}

impl<T, W: Wake> State<T, W> {
    /// Before anything is said about credit.
    fn prepare_to_send(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        if self.ledger.has_lease() {
            let clock = &self.clock;
            self.ledger.expire(|| clock.now());
            self.settle(wakes);
        }
    }

    /// Grants all that is owed, unless that is held. True if that was anything.
    fn grant_all(&mut self) -> bool {
        let due = self.ledger.owed > 0 && !self.hold.is_on();
        if due {
            self.ledger.grant();
        }
        due
    }

    #[cold]
    #[inline(never)]
    fn send_slowly(&mut self, item: T, weight: u64, wakes: &mut Wakes<W>) -> Result<(), SendError<T>> {
        match self.is_ready(weight, wakes) {
            Ok(()) => {}
            Err(SendError::Full(())) => return Err(SendError::Full(item)),
            Err(SendError::TooHeavy(())) => return Err(SendError::TooHeavy(item)),
            Err(SendError::Ended((), end)) => return Err(SendError::Ended(item, end)),
        }
        self.ledger.send(weight);
        self.put_in(item, weight);
        self.sent(wakes);
        Ok(())
    }

    fn is_ready(&mut self, n: u64, wakes: &mut Wakes<W>) -> Result<(), SendError<()>> {
        self.prepare_to_send(wakes);
        match self.closed() {
            Some(end) => Err(SendError::Ended((), end)),
            None if n > self.ledger.bound => Err(SendError::TooHeavy(())),
            None if self.may_send(n) => Ok(()),
            None => Err(SendError::Full(())),
        }
    }

    fn credit_or_wait(&mut self, n: u64, spot: &mut Spot, waker: &W, wakes: &mut Wakes<W>) -> Credit {
        self.prepare_to_send(wakes);
        let refusal = match self.closed() {
            Some(end) => Some(Credit::Ended(end)),
            None => (n > self.ledger.bound).then_some(Credit::Never),
        };
        if let Some(refusal) = refusal {
            self.vacate(spot, wakes);
            self.settle(wakes);
            return refusal;
        }
        // Before a sender parks all that has been consumed is granted, whatever the step.
        if self.may_go(n, spot) || (self.grant_all() && self.may_go(n, spot)) {
            self.vacate(spot, wakes);
            return Credit::Here;
        }
        self.stay(Side::Send, n, spot, waker);
        self.settle(wakes);
        Credit::Wait
    }

    /// One that has been woken has its credit reserved; one that comes now finds what others leave.
    fn may_go(&mut self, n: u64, spot: &mut Spot) -> bool {
        if spot.is_held() { self.has_turn(Side::Send, spot) && self.is_covered(n, spot) } else { self.may_send(n) }
    }

    fn send_batch(
        &mut self,
        items: &mut std::vec::IntoIter<T>,
        weights: &[u64],
        wakes: &mut Wakes<W>,
    ) -> Result<(), SendError<()>> {
        self.prepare_to_send(wakes);
        if let Some(end) = self.closed() {
            return if items.as_slice().is_empty() { Ok(()) } else { Err(SendError::Ended((), end)) };
        }
        let before = items.len();
        let outcome = if weights.is_empty() { self.send_equals(items) } else { self.send_weighted(items, weights) };
        self.sends += (before - items.len()) as u64;
        self.peak = self.peak.max(self.ledger.occupied);
        self.sent(wakes);
        outcome
    }

    /// Those that weigh one each: they go in one step.
    fn send_equals(&mut self, items: &mut std::vec::IntoIter<T>) -> Result<(), SendError<()>> {
        let count = usize::try_from(self.credit()).unwrap_or(usize::MAX).min(items.len());
        self.ledger.send(count as u64);
        self.buffer.extend(items.take(count).map(|item| Entry { item, weight: 1 }));
        if items.len() == 0 { Ok(()) } else { Err(SendError::Full(())) }
    }

    fn send_weighted(&mut self, items: &mut std::vec::IntoIter<T>, weights: &[u64]) -> Result<(), SendError<()>> {
        while let Some(weight) = first_weight(items, weights) {
            if weight > self.ledger.bound {
                return Err(SendError::TooHeavy(()));
            }
            if !self.may_send(weight) {
                return Err(SendError::Full(()));
            }
            self.ledger.send(weight);
            self.buffer.extend(items.next().map(|item| Entry { item, weight }));
        }
        Ok(())
    }

    #[inline]
    fn must_listen(&self) -> bool {
        self.listens && !self.controls.is_empty()
    }

    /// May one who comes now receive? Those in line are before it.
    #[inline]
    fn may_receive(&self) -> bool {
        self.receivers.nobody_waits() && self.buffer.len() as u64 > self.receivers.claimed()
    }

    /// One that has been woken may; one that comes now if there is more than those have been woken for.
    fn may_take(&mut self, spot: &mut Spot) -> bool {
        if spot.is_held() {
            return self.has_turn(Side::Receive, spot);
        }
        self.receivers.nobody_waits() && self.receivable() as u64 > self.receivers.claimed()
    }

    #[inline]
    fn receive(&mut self, wakes: &mut Wakes<W>) -> Result<T, ReceiveError> {
        if self.must_listen() {
            return Err(ReceiveError::Control);
        }
        if !self.may_receive() {
            self.forget_after_fork();
            if !self.may_receive() {
                return Err(self.nothing_there(0));
            }
        }
        let Some(item) = self.take_out() else { return Err(ReceiveError::Empty) };
        self.received(wakes);
        Ok(item)
    }

    fn receive_batch(&mut self, max: usize, wakes: &mut Wakes<W>) -> Result<Vec<T>, ReceiveError> {
        self.forget_after_fork();
        if self.must_listen() {
            return Err(ReceiveError::Control);
        }
        if !self.may_receive() {
            return Err(self.nothing_there(0));
        }
        let batch = self.take_batch(max.min(self.unclaimed()));
        self.settle(wakes);
        Ok(batch)
    }

    /// So much is there that nobody has been woken for.
    fn unclaimed(&self) -> usize {
        self.buffer.len().saturating_sub(usize::try_from(self.receivers.claimed()).unwrap_or(usize::MAX))
    }

    fn take_batch(&mut self, max: usize) -> Vec<T> {
        let mut weight = 0;
        let batch = self.buffer.pop_many_as(max, |entry| {
            weight += entry.weight;
            entry.item
        });
        self.receives += batch.len() as u64;
        self.ledger.consumed(weight);
        batch
    }

    /// Nothing was there: a place in line, or a reason not to wait.
    fn wait_to_receive(&mut self, owner: u64, spot: &mut Spot, waker: &W, wakes: &mut Wakes<W>) -> ReceiveError {
        let why = if self.must_listen() { ReceiveError::Control } else { self.nothing_there(owner) };
        if matches!(why, ReceiveError::Empty | ReceiveError::Control) {
            self.stay(Side::Receive, 1, spot, waker);
            self.keep_time(spot);
        } else {
            self.vacate(spot, wakes);
        }
        self.settle(wakes);
        why
    }
}

impl<T, W: Wake, D: Domain> fmt::Debug for Channel<T, W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}
