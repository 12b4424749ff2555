//! The operations on single items, and queries.

use super::mutex::Locked;
use super::state::{Admission, GetError, PutError, Side, State, Statistics, Waiter};
use super::weight::Weights;
use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::monitor::{Monitor, MonitorState};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// A bounded queue, see the head of this folder. `W` is the waker of its waiters, `D` the kind of its section.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::buffer::Fifo;
/// use sluicegate_core::clock::Clock;
/// use sluicegate_core::queue::{Admission, GetError, PutError, Queue, Waiter};
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let queue: Queue<Fifo<&str>, Arc<Parker>, Threads> = Queue::new(Fifo::default(), 1, Clock::Monotonic);
///
/// // A getter finds nothing and joins the wait queue. A thread would sleep on the parker now.
/// let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
/// let (wakes, got) = queue.get_or_wait((), &mut waiter, &parker);
/// wakes.fire();
/// assert_eq!(got, Err(GetError::Empty));
///
/// // A put wakes it, when the wake-ups that have left the section are fired.
/// let (wakes, put) = queue.try_put((), "item", Admission::Immediate);
/// wakes.fire();
/// assert_eq!(put, Ok(()));
/// assert!(parker.is_notified());
///
/// let (wakes, put) = queue.try_put((), "another", Admission::Immediate);
/// wakes.fire();
/// assert_eq!(put, Err(PutError::Full("another")));
///
/// let (wakes, got) = queue.get_or_wait((), &mut waiter, &parker);
/// wakes.fire();
/// assert_eq!(got, Ok("item"));
/// ```
pub type Queue<B, W, D, X = ()> = Monitor<State<B, W, X>, W, D, 4>;

impl<B: Buffer, W: Wake, D: Domain> Queue<B, W, D> {
    pub fn new(buffer: B, limit: usize, clock: Clock<W>) -> Self {
        Self::with_extras(buffer, (), limit, clock)
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Queue<B, W, D, X> {
    /// A queue with data of its owner in its section, see [`State`].
    pub fn with_extras(buffer: B, extras: X, limit: usize, clock: Clock<W>) -> Self {
        Self::of(State::new(buffer, extras, limit, clock))
    }

    /// Reads the buffer, the bound and the owner's extras in one step.
    #[inline]
    pub fn look<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&B, usize, &X) -> R) -> R {
        self.section.with(proof, |state| {
            let (buffer, limit) = state.contents();
            look(buffer, limit, &state.extras)
        })
    }

    /// Changes the owner's extras. `change` must not drop anything: what it displaces is returned, to be dropped outside the section.
    pub fn change_extras<R>(&self, proof: D::Proof<'_>, change: impl FnOnce(&mut X) -> R) -> R {
        self.section.with(proof, |state| change(&mut state.extras))
    }

    /// Puts without waiting.
    pub fn try_put(&self, proof: D::Proof<'_>, item: B::Item, admission: Admission) -> (Wakes<W>, Result<(), PutError<B::Item>>) {
        self.visit(proof, |state, wakes| state.put(item, admission, wakes))
    }

    /// Gets without waiting.
    pub fn try_get(&self, proof: D::Proof<'_>, admission: Admission) -> (Wakes<W>, Result<B::Item, GetError>) {
        self.visit(proof, |state, wakes| state.get(admission, wakes))
    }

    /// Puts an item, or joins (or stays in) the wait queue: after `Full` or `Locked` the waiter is in it, and `waker` will be woken.
    pub fn put_or_wait(
        &self,
        proof: D::Proof<'_>,
        item: B::Item,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<(), PutError<B::Item>>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if !state.is_plain {
                if state.shut {
                    state.abandon(waiter, wakes);
                }
                return Err(state.not_plain(item));
            }
            if state.buffer.is_keyed() {
                return state.put_keyed_or_wait(item, waiter, waker, wakes);
            }
            if state.wait_queues.has_turn(Side::Put, waiter) && state.has_room() {
                state.wait_queues.remove_waiter(waiter, wakes);
                let stored = state.store(item);
                state.wake_eligible(wakes);
                return stored;
            }
            if state.overflows() && !state.buffer_is_stashed() && !state.has_room() {
                state.abandon(waiter, wakes);
                return Err(state.full_error(item));
            }
            state.wait_queues.enqueue_or_requeue(Side::Put, 1, waiter, waker, wakes);
            state.note_full();
            state.wake_eligible(wakes);
            Err(if state.buffer_is_stashed() { PutError::Locked(item) } else { PutError::Full(item) })
        })
    }

    /// Gets an item, or joins (or stays in) the wait queue: after `Empty` or `Locked` the waiter is in it, and `waker` will be woken.
    pub fn get_or_wait(&self, proof: D::Proof<'_>, waiter: &mut Waiter, waker: &W) -> (Wakes<W>, Result<B::Item, GetError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.parts.is_some() {
                return Err(GetError::Composed);
            }
            if state.wait_queues.has_turn(Side::Get, waiter) {
                if let Some(item) = state.pop() {
                    state.wait_queues.remove_waiter(waiter, wakes);
                    state.count_taken(1);
                    state.wake_eligible(wakes);
                    return Ok(item);
                }
            }
            if state.is_drained() {
                state.abandon(waiter, wakes);
                return Err(GetError::ShutDown);
            }
            state.wait_queues.enqueue_or_requeue(Side::Get, 1, waiter, waker, wakes);
            state.wake_eligible(wakes);
            Err(if state.buffer_is_stashed() { GetError::Locked } else { GetError::Empty })
        })
    }

    /// Returns true if no task is unfinished, or none was at some moment since the waiter came. Otherwise the waiter is in the wait queue.
    pub fn join_or_wait(&self, proof: D::Proof<'_>, waiter: &mut Waiter, waker: &W) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let forgotten = state.forget_after_fork();
            // Joiners that have been released have left the wait queue: the count reached zero while they waited, whatever it is now.
            let released =
                !forgotten && waiter.0.as_ref().is_some_and(|held| !state.wait_queues.queue(Side::Join).contains(held.ticket));
            if released || state.is_finished() {
                state.wait_queues.remove_waiter(waiter, wakes);
                return true;
            }
            if forgotten {
                waiter.0 = None;
            }
            state.wait_queues.enqueue_or_requeue(Side::Join, 1, waiter, waker, wakes);
            false
        })
    }

    /// Records that one task is done. Returns false if there was none.
    pub fn task_done(&self, proof: D::Proof<'_>) -> (Wakes<W>, Result<bool, Locked>) {
        self.step(proof, None, State::task_done)
    }

    /// Records that `count` tasks are done, at least one. Returns false, and nothing has changed, if there were not so many.
    pub fn tasks_done(&self, proof: D::Proof<'_>, count: i64) -> (Wakes<W>, Result<bool, Locked>) {
        self.step(proof, None, |state, wakes| state.tasks_done(count, wakes))
    }

    /// Shuts the queue down: nothing more can be put, and items in it can still be taken. Calling it again has no effect.
    pub fn shut_down(&self, proof: D::Proof<'_>) -> (Wakes<W>, Result<(), Locked>) {
        self.step(proof, None, |state, wakes| state.shut_down_with(|_, _| (), wakes))
    }

    pub fn set_limit(&self, proof: D::Proof<'_>, limit: usize) -> Wakes<W> {
        self.set_limit_with(proof, limit, |_| ()).0
    }

    /// Changes the bound and, in the same step, the owner's extras (as [`Queue::change_extras`] does).
    pub fn set_limit_with<R>(&self, proof: D::Proof<'_>, limit: usize, change: impl FnOnce(&mut X) -> R) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            let (buffer, bound) = state.contents_mut();
            let added = limit.saturating_sub(*bound);
            *bound = limit;
            if buffer.len() + state.reserved < limit {
                state.full_since = None;
            }
            state.notify_of_room(added as u64, wakes);
            state.wake_eligible(wakes);
            change(&mut state.extras)
        })
    }

    pub fn limit(&self, proof: D::Proof<'_>) -> usize {
        self.section.with(proof, |state| state.contents().1)
    }

    pub fn set_unfinished(&self, proof: D::Proof<'_>, unfinished: i64) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.set_unfinished(unfinished);
            state.wake_eligible(wakes);
        })
        .0
    }

    #[inline]
    pub fn size(&self, proof: D::Proof<'_>) -> usize {
        self.section.with(proof, |state| state.contents().0.len())
    }

    /// True if the bound on weight leaves no room for any item of positive weight.
    pub fn is_full_by_weight(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.room_by_weight() == Some(0))
    }

    /// Calls `look` with the item that a get would return.
    pub fn peek<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&B::Item) -> R) -> Result<R, GetError> {
        self.section.with(proof, |state| {
            let first = state.contents().0.peek().map(look);
            first.ok_or(if state.shut && state.reserved == 0 { GetError::ShutDown } else { GetError::Empty })
        })
    }

    pub fn unfinished(&self, proof: D::Proof<'_>) -> i64 {
        self.section.with(proof, |state| state.unfinished())
    }

    /// True if all items have been processed, see [`Queue::join_or_wait`].
    pub fn is_finished(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.is_finished())
    }

    pub fn is_shut(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.shut)
    }

    /// True if the queue is shut down and no item can come out any more.
    pub fn is_drained(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.is_drained())
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Statistics {
        self.statistics_with(proof, |_| ()).0
    }

    /// The statistics of the queue, and the result of `look` on the owner's extras at the same moment.
    pub fn statistics_with<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&X) -> R) -> (Statistics, R) {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            let now = state.wait_queues.clock.now();
            let (buffer, limit) = state.contents();
            let parts = state.parts.as_deref();
            let arrived = match parts {
                Some(_) if buffer.keeps_notes() => buffer.oldest_arrival(),
                Some(parts) => parts.notes.peek().map(|note| note.arrived),
                None => None,
            };
            let seen = Statistics {
                size: buffer.len(),
                limit,
                puts: state.puts,
                gets: state.gets,
                unfinished: state.unfinished(),
                merged: state.merged,
                peak_size: state.peak,
                waiting_putters: state.wait_queues.waiters(Side::Put),
                waiting_getters: state.wait_queues.queue(Side::Get).len(),
                waiting_joiners: state.wait_queues.queue(Side::Join).len(),
                put_blocked: state.wait_queues.blocked(Side::Put, now),
                get_blocked: state.wait_queues.blocked(Side::Get, now),
                full_for: state.full_since.map_or(0, |since| now.saturating_sub(since)),
                shut: state.shut,
                rejected: state.overflow.rejected,
                dropped: state.overflow.dropped,
                weight: parts
                    .map(|parts| parts.weights)
                    .filter(Weights::is_bounded)
                    .map(|weights| (weights.sum(), weights.max())),
                oldest: arrived.map(|arrived| now.saturating_sub(arrived)),
                latency: parts.and_then(|parts| parts.latency.as_ref()).map(|latency| latency.summary()),
                pressure: state.pressure(),
            };
            (seen, look(&state.extras))
        })
    }

    /// Reads the buffer, or changes it in ways that affect neither its size nor its accounting.
    pub fn with_buffer<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&mut B) -> R) -> R {
        self.section.with(proof, |state| look(state.contents_mut().0))
    }
}
