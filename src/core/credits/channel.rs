//! `Channel`: the monitor of a credit channel, and the operations that belong to neither the sender nor the receiver.

use super::buffer::{Bale, NoBale};
use super::state::State;
use super::types::{Config, CreditView, End, Outcome, Phase, Removed, Side, Statistics};
use crate::clock::Clock;
use crate::monitor::{Monitor, MonitorState};
use crate::section::Domain;
use crate::wait::{Ticket, Wake, Wakes};

/// A credit channel, see [`credits`](super). `W` wakes its waiters, `D` guards its section, `B` is the type of its bales.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::clock::Clock;
/// use sluicegate_core::credits::{Channel, Config, End, Received, ReceiveError, SendError, SenderEnd};
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
/// // Receiving an item grants its credit again.
/// let (wakes, received) = channel.try_receive(());
/// wakes.fire();
/// assert_eq!(received.map(Received::into_item), Ok("one"));
/// let (wakes, sent) = channel.try_send((), "three", 1);
/// wakes.fire();
/// assert_eq!(sent, Ok(()));
///
/// // After the sender has completed, the buffered items are still received.
/// channel.complete((), &SenderEnd::default()).fire();
/// for expected in [Ok("two"), Ok("three"), Err(ReceiveError::Ended(End::Completed))] {
///     let (wakes, received) = channel.try_receive(());
///     wakes.fire();
///     assert_eq!(received.map(Received::into_item), expected);
/// }
/// ```
pub type Channel<T, W, D, B = NoBale, X = ()> = Monitor<State<T, W, B, X>, W, D, 4>;

impl<T, W: Wake, D: Domain, B: Bale, X> Channel<T, W, D, B, X> {
    pub fn new(config: Config, clock: Clock<W>) -> Self
    where
        X: Default,
    {
        Self::of(State::new(config, clock, X::default()))
    }

    /// The number of items that have been sent and not received.
    pub fn buffered(&self, proof: D::Proof<'_>) -> usize {
        self.section.with(proof, |state| state.buffered())
    }

    /// Calls `look` with the data that the owner of the channel keeps with it.
    pub fn with_extras<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&mut X) -> R) -> R {
        self.section.with(proof, |state| look(&mut state.extras))
    }

    /// Calls `look` with a view of the channel's credit too, unless the values of the [`CreditView`] may change without an operation.
    pub fn view_credit<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(CreditView, &mut X) -> Option<R>) -> Option<R> {
        self.section.with(proof, |state| {
            if state.ledger.has_lease() {
                return None;
            }
            let seen = CreditView {
                credit: state.ledger.credit(),
                bound: state.ledger.bound,
                items_buffered: state.buffered(),
                items_unacked: state.unacked(),
            };
            look(seen, &mut state.extras)
        })
    }

    /// Like `visit`, for operations that may remove items; timed events that are due are handled first.
    pub(super) fn visit_all<R>(
        &self,
        proof: D::Proof<'_>,
        critical: impl FnOnce(&mut State<T, W, B, X>, &mut Wakes<W>, &mut Removed<T, B>) -> R,
    ) -> Outcome<T, W, B, R> {
        let mut removed = Removed::default();
        let (wakes, result) = self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            state.catch_up(&mut removed);
            let result = critical(state, wakes, &mut removed);
            state.wake_eligible(wakes);
            removed.has_news = state.deliveries.as_ref().is_some_and(|deliveries| deliveries.lanes.has_news());
            result
        });
        let leaving = if removed.is_empty() { wakes.without_items() } else { wakes.with_items(removed) };
        (leaving, result)
    }

    // -------------------------------------------------------------------------------------------------------------------- waiting

    /// Wakes `waker` once when nothing can be sent any more, or at once if that is so; for a waiter with nothing to send.
    pub fn watch_end(&self, proof: D::Proof<'_>, waker: W) -> (Wakes<W>, Ticket) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let ticket = state.wait_queues.queue_mut(Side::Close).join(waker, 0);
            state.wake_eligible(wakes);
            ticket
        })
    }

    /// Ends `watch_end`. The caller drops the waker outside the section.
    pub fn unwatch_end(&self, proof: D::Proof<'_>, ticket: Ticket) -> Option<W> {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            state.wait_queues.queue_mut(Side::Close).leave(ticket)
        })
    }

    // -------------------------------------------------------------------------------------------------------------------- looking

    pub fn phase(&self, proof: D::Proof<'_>) -> Phase {
        self.section.with(proof, |state| state.phase)
    }

    /// The reason why nothing will ever be received again, if that is so.
    pub fn end(&self, proof: D::Proof<'_>) -> Option<End> {
        self.section.with(proof, |state| state.end())
    }

    /// The largest amount that may be outstanding at once.
    pub fn bound(&self, proof: D::Proof<'_>) -> u64 {
        self.section.with(proof, |state| state.ledger.bound)
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Outcome<T, W, B, Statistics> {
        self.visit_all(proof, |state, wakes, _| {
            state.wake_eligible(wakes); // also handles events that have become due
            let now = state.wait_queues.clock.now();
            let deliveries = state.deliveries.as_ref();
            Statistics {
                phase: state.phase,
                ended: state.end().is_some(),
                stopping: state.is_stopping(),
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
                settled_through: state.settled_through(),
                waiting_senders: state.senders().len(),
                waiting_receivers: state.receivers().len(),
                send_blocked: state.wait_queues.blocked(Side::Send, now),
                receive_blocked: state.wait_queues.blocked(Side::Receive, now),
                starved_for: state.wait_queues.occupied(Side::Send, now),
                held: state.hold.is_on(),
            }
        })
    }

    /// Visits every item and every waker once. (Items in bales do not exist yet.)
    pub fn visit_contents(&self, proof: D::Proof<'_>, item: impl FnMut(&T), mut waker: impl FnMut(&W)) {
        self.section.with(proof, |state| {
            state.starvation.visit_observers(&mut waker);
            state.items().for_each(item);
        });
        self.visit_wakers(proof, waker);
    }

    /// Removes everything, for the garbage collector, which drops it outside the section.
    pub fn take_contents(&self, proof: D::Proof<'_>) -> Removed<T, B> {
        let mut removed = Removed::default();
        let observers = self.section.with(proof, |state| {
            state.cancel(&mut removed);
            removed.settled.extend(state.controls.drain(..)); // of a channel that had ended before
            state.starvation.end()
        });
        drop(observers);
        removed
    }
}
