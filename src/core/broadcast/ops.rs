//! The operations on a broadcast and on its subscriptions, each one visit to the section.

use std::fmt;

use super::Waiter;
use super::ring::Drained;
use super::state::{PublishError, Published, State, Statistics, SubscribeError};
use super::subscriber::{GetError, Overflow, SubscriberStatistics};
use crate::clock::Clock;
use crate::monitor::{Monitor, MonitorState, Waitable};
use crate::section::Domain;
use crate::sync::Arc;
use crate::wait::{Ticket, Wake, Wakes};

/// A broadcast, see the head of this folder. `W` is the waker of its waiters, `D` the kind of its section, `X` the owner's extra state.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::broadcast::{Broadcast, GetError, Overflow};
/// use sluicegate_core::clock::Clock;
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let broadcast: Arc<Broadcast<u32, Arc<Parker>, Threads>> = Arc::new(Broadcast::new((), Clock::Monotonic));
/// let quick = Broadcast::subscribe(&broadcast, (), 8, Overflow::Block).unwrap();
/// let slow = Broadcast::subscribe(&broadcast, (), 2, Overflow::DropOldest).unwrap();
///
/// for item in 1..=3 {
///     let (wakes, published) = broadcast.try_publish((), item, false);
///     wakes.fire();
///     assert_eq!(published.unwrap().subscribers, 2);
/// }
///
/// let (wakes, item) = quick.try_get((), false, |item| *item);
/// wakes.fire();
/// assert_eq!(item, Ok(1));
///
/// let (wakes, item) = slow.try_get((), false, |item| *item);
/// wakes.fire();
/// assert_eq!((item, slow.missed(())), (Ok(2), 1));
/// # quick.unsubscribe(());
/// # slow.unsubscribe(());
/// ```
pub type Broadcast<T, W, D, X = ()> = Monitor<State<T, W, X>, W, D, 1>;

impl<T, W: Wake, D: Domain, X> Monitor<State<T, W, X>, W, D, 1> {
    pub fn new(extras: X, clock: Clock<W>) -> Self {
        Self::of(State::new(extras, clock))
    }

    /// A new subscriber with room for `limit` items, at least one. `None` after the end.
    pub fn subscribe(
        this: &Arc<Self>,
        proof: D::Proof<'_>,
        limit: usize,
        overflow: Overflow,
    ) -> Result<Subscription<T, W, D, X>, SubscribeError> {
        let number = this.section.with(proof, |state| state.subscribe(limit, overflow))?;
        Ok(Subscription { broadcast: Arc::clone(this), number })
    }

    /// Publishes an item without waiting. With `fair`, for an operation that can wait, it is refused if others wait before it.
    #[inline]
    pub fn try_publish(&self, proof: D::Proof<'_>, item: T, fair: bool) -> (Wakes<W>, Result<Published<T>, PublishError<T>>) {
        self.visit(proof, |state, wakes| if fair { state.publish_fairly(item, wakes) } else { state.publish(item, wakes) })
    }

    /// Publishes an item, or takes (or keeps) a place in the wait queue: after `Full` the waiter is enqueued, and `waker` will be woken.
    pub fn publish_or_wait(
        &self,
        proof: D::Proof<'_>,
        item: T,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<Published<T>, PublishError<T>>) {
        self.visit(proof, |state, wakes| state.publish_or_wait(item, waiter, waker, wakes))
    }

    /// Shuts the broadcast down: nothing more can be published, and subscribers take the items they have. With `at_once` these items are removed
    /// and returned. In the same step `end` records in the owner's extra state how it ended; its argument is true if it had ended before.
    /// Nothing may be dropped in `end`.
    pub fn shut_down<R>(
        &self,
        proof: D::Proof<'_>,
        at_once: bool,
        end: impl FnOnce(&mut X, bool) -> R,
    ) -> (Wakes<W>, (Option<Drained<T>>, R)) {
        self.visit(proof, |state, wakes| state.shut_down(at_once, end, wakes))
    }

    pub fn is_shut(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.is_shut())
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Statistics {
        self.section.with(proof, State::statistics)
    }

    /// Reads the owner's extra state.
    pub fn look<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&X) -> R) -> R {
        self.section.with(proof, |state| look(&state.extras))
    }

    /// Visits every item, and every waker in every wait queue, each once.
    pub fn visit_all(&self, proof: D::Proof<'_>, item: impl FnMut(&T), waker: impl FnMut(&W)) {
        self.section.with(proof, |state| {
            state.items().for_each(item);
            state.visit_wakers(waker);
        });
    }

    /// Removes the items and the owner's extra state, for the garbage collector: the broadcast is unreachable.
    pub fn empty(&self, proof: D::Proof<'_>) -> (Drained<T>, X)
    where
        X: Default,
    {
        self.section.with(proof, |state| (state.empty(), std::mem::take(&mut state.extras)))
    }
}

/// A subscriber's part of a broadcast. Its owner ends it with [`Subscription::unsubscribe`], once.
pub struct Subscription<T, W: Wake, D: Domain, X = ()> {
    broadcast: Arc<Broadcast<T, W, D, X>>,
    number: usize,
}

impl<T, W: Wake, D: Domain, X> Subscription<T, W, D, X> {
    pub fn broadcast(&self) -> &Broadcast<T, W, D, X> {
        &self.broadcast
    }

    /// Takes the next item without waiting. With `fair`, for an operation that can wait, it is refused if others wait before it. `share` makes a second handle on
    /// an item that others have yet to take; it may run no foreign code.
    #[inline]
    pub fn try_get(&self, proof: D::Proof<'_>, fair: bool, share: impl FnOnce(&T) -> T) -> (Wakes<W>, Result<T, GetError>) {
        self.broadcast.visit(proof, |state, wakes| state.get(self.number, fair, share, wakes))
    }

    /// Takes the next item, or takes (or keeps) a place in the wait queue: after `Empty` the waiter is enqueued, and `waker` will be woken.
    pub fn get_or_wait(
        &self,
        proof: D::Proof<'_>,
        waiter: &mut Waiter,
        waker: &W,
        share: impl FnOnce(&T) -> T,
    ) -> (Wakes<W>, Result<T, GetError>) {
        self.broadcast.visit(proof, |state, wakes| {
            let result = state.get_or_wait(self.number, waiter, waker, share, wakes);
            state.subscriber(self.number).wake_eligible(wakes);
            result
        })
    }

    /// The next item, which is not taken. `share` as above.
    pub fn peek(&self, proof: D::Proof<'_>, share: impl FnOnce(&T) -> T) -> Result<T, GetError> {
        self.broadcast.section.with(proof, |state| state.peek(self.number, share))
    }

    /// True if it gets no further items: the broadcast is shut down, or it has been disconnected or closed.
    pub fn has_ended(&self, proof: D::Proof<'_>) -> bool {
        self.broadcast.section.with(proof, |state| state.subscriber(self.number).has_ended())
    }

    /// Takes 1 to `max` items without waiting.
    pub fn try_get_many(
        &self,
        proof: D::Proof<'_>,
        max: usize,
        fair: bool,
        share: impl Fn(&T) -> T,
    ) -> (Wakes<W>, Result<Vec<T>, GetError>) {
        self.broadcast.visit(proof, |state, wakes| {
            let batch = state.batch(self.number, max)?;
            let first = state.get(self.number, fair, &share, wakes)?;
            Ok(state.and_more(self.number, first, batch, share, wakes))
        })
    }

    /// Takes 1 to `max` items, or takes (or keeps) a place in the wait queue.
    pub fn get_many_or_wait(
        &self,
        proof: D::Proof<'_>,
        max: usize,
        waiter: &mut Waiter,
        waker: &W,
        share: impl Fn(&T) -> T,
    ) -> (Wakes<W>, Result<Vec<T>, GetError>) {
        self.broadcast.visit(proof, |state, wakes| {
            let batch = state.batch(self.number, max)?;
            let first = state.get_or_wait(self.number, waiter, waker, &share, wakes);
            let result = first.map(|first| state.and_more(self.number, first, batch, share, wakes));
            state.subscriber(self.number).wake_eligible(wakes);
            result
        })
    }

    /// Closes the subscription: it gets no further items, and those it has not taken are dropped. Calling it again has no effect.
    pub fn close(&self, proof: D::Proof<'_>) {
        loop {
            let (wakes, (displaced, more)) = self.broadcast.visit(proof, |state, wakes| state.close(self.number, wakes));
            wakes.fire();
            drop(displaced);
            if more.is_none() {
                break;
            }
        }
    }

    /// Ends the subscription. Called once, when it is unreachable. Items it has not taken are dropped.
    pub fn unsubscribe(&self, proof: D::Proof<'_>) {
        self.close(proof);
        drop(self.broadcast.section.with(proof, |state| state.remove(self.number)));
    }

    /// The number of items that were dropped before the item that was taken last.
    pub fn missed(&self, proof: D::Proof<'_>) -> u64 {
        self.broadcast.section.with(proof, |state| state.subscriber(self.number).missed())
    }

    #[inline]
    pub fn len(&self, proof: D::Proof<'_>) -> usize {
        self.broadcast.section.with(proof, |state| state.subscriber(self.number).len())
    }

    pub fn is_empty(&self, proof: D::Proof<'_>) -> bool {
        self.len(proof) == 0
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> SubscriberStatistics {
        self.broadcast.section.with(proof, |state| {
            let subscriber = state.subscriber(self.number);
            subscriber.forget_after_fork();
            subscriber.statistics()
        })
    }
}

impl<T, W: Wake, D: Domain, X> Waitable<W, D> for Subscription<T, W, D, X> {
    type Waiter = Waiter;
    type Position = Ticket;

    fn position(waiter: &Waiter) -> Option<Ticket> {
        waiter.position().map(|((), ticket)| ticket)
    }

    fn clock(&self, proof: D::Proof<'_>) -> Clock<W> {
        self.broadcast.clock(proof)
    }

    fn leave(&self, proof: D::Proof<'_>, waiter: &mut Waiter) -> Wakes<W> {
        if !waiter.is_enqueued() {
            return Wakes::none();
        }
        let leave = |state: &mut State<T, W, X>, wakes: &mut Wakes<W>| {
            let subscriber = state.subscriber(self.number);
            subscriber.wait_queues.remove_waiter(waiter, wakes);
            subscriber.wake_eligible(wakes);
        };
        self.broadcast.visit(proof, leave).0
    }

    fn step_aside(&self, proof: D::Proof<'_>, position: Ticket) -> Wakes<W> {
        let step_aside = |state: &mut State<T, W, X>, wakes: &mut Wakes<W>| {
            let subscriber = state.subscriber(self.number);
            subscriber.wait_queues.queue_mut(()).step_aside(position);
            subscriber.wake_eligible(wakes);
        };
        self.broadcast.visit(proof, step_aside).0
    }

    fn step_back(&self, proof: D::Proof<'_>, position: Ticket) -> Wakes<W> {
        let step_back = |state: &mut State<T, W, X>, wakes: &mut Wakes<W>| {
            let subscriber = state.subscriber(self.number);
            subscriber.wait_queues.queue_mut(()).step_back(position);
            subscriber.wake_eligible(wakes);
        };
        self.broadcast.visit(proof, step_back).0
    }
}

impl<T, W: Wake, D: Domain, X> fmt::Debug for Subscription<T, W, D, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("number", &self.number).finish_non_exhaustive()
    }
}
