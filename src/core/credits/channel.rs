//! `Channel`: a state in its section, and the operations that belong to neither end.

use std::fmt;

use super::deliveries::Deliveries;
use super::state::State;
use super::stock::{Bale, NoBale};
use super::types::{Config, End, Leftovers, Outcome, Phase, Side, Spot, Statistics};
use crate::clock::Clock;
use crate::section::{Domain, Section};
use crate::wait::{Ticket, Wake, Wakes};

/// A credit channel, see the head of this file. `W` is how its waiters are told, `D` what guards its section, `B` what may hold several items.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::clock::Clock;
/// use sluicegate_core::credits::{Channel, Config, End, Load, ReceiveError, SendError};
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let config = Config { window: 2, step: 1, bound: 2, control_capacity: 1, rules: None };
/// let channel: Channel<&str, Arc<Parker>, Threads> = Channel::new(config, Clock::Monotonic);
///
/// // The window is the credit that a sender begins with.
/// for (item, expected) in [("one", Ok(())), ("two", Ok(())), ("three", Err(SendError::Full("three")))] {
///     let (wakes, sent) = channel.try_send((), item, 1);
///     wakes.fire();
///     assert_eq!(sent, expected);
/// }
///
/// // What is received is granted anew.
/// let (wakes, received) = channel.try_receive(());
/// wakes.fire();
/// assert_eq!(received.map(Load::into_item), Ok("one"));
/// let (wakes, sent) = channel.try_send((), "three", 1);
/// wakes.fire();
/// assert_eq!(sent, Ok(()));
///
/// // After the end of the sender, what is there is still received.
/// channel.complete(()).fire();
/// for expected in [Ok("two"), Ok("three"), Err(ReceiveError::Ended(End::Completed))] {
///     let (wakes, received) = channel.try_receive(());
///     wakes.fire();
///     assert_eq!(received.map(Load::into_item), expected);
/// }
/// ```
pub struct Channel<T, W: Wake, D: Domain, B = NoBale> {
    pub(super) section: Section<State<T, W, B>, D>,
}

impl<T, W: Wake, D: Domain, B: Bale> Channel<T, W, D, B> {
    pub fn new(config: Config, clock: Clock<W>) -> Self {
        Self { section: Section::new(State::new(config, clock)) }
    }

    #[inline]
    pub(super) fn visit<R>(
        &self,
        proof: D::Proof<'_>,
        critical: impl FnOnce(&mut State<T, W, B>, &mut Wakes<W>) -> R,
    ) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.section.with(proof, |state| critical(state, &mut wakes));
        (wakes, result)
    }

    /// As `visit`, for what may leave items behind; first what is due by itself is done.
    pub(super) fn visit_all<R>(
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
                settled_through: deliveries.map_or(state.receives, Deliveries::settled_through),
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
    pub fn visit_contents(&self, proof: D::Proof<'_>, item: impl FnMut(&T), mut waker: impl FnMut(&W)) {
        self.section.with(proof, |state| {
            state.wakers().for_each(&mut waker);
            state.starvation.visit_observers(waker);
            state.items().for_each(item);
        });
    }

    /// Moves everything out, only to be dropped, outside: for the garbage collector's use.
    pub fn take_contents(&self, proof: D::Proof<'_>) -> Leftovers<T, B> {
        let mut left = Leftovers::none();
        let observers = self.section.with(proof, |state| {
            state.cancel(&mut left);
            left.spent.extend(state.controls.drain(..)); // of one that had ended before
            state.starvation.end()
        });
        drop(observers);
        left
    }
}

impl<T, W: Wake, D: Domain, B> fmt::Debug for Channel<T, W, D, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}
