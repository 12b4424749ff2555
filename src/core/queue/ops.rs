//! The operations on single items, and what is asked about a queue.

use super::state::{Admission, GetError, PutError, Side, Spot, State, Statistics};
use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::monitor::{Monitor, Waits};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// A bounded queue, see the head of this file. `W` is how its waiters are told, `D` what guards its section.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::buffer::Fifo;
/// use sluicegate_core::clock::Clock;
/// use sluicegate_core::queue::{Admission, GetError, PutError, Queue, Spot};
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let queue: Queue<Fifo<&str>, Arc<Parker>, Threads> = Queue::new(Fifo::default(), 1, Clock::Monotonic);
///
/// // A getter finds nothing and waits in line. A thread would sleep on the parker now.
/// let (parker, mut spot) = (Arc::new(Parker::default()), Spot::default());
/// let (wakes, got) = queue.get_or_wait((), &mut spot, &parker);
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
/// let (wakes, got) = queue.get_or_wait((), &mut spot, &parker);
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
    /// A queue with something of its owner's in its section, see [`State`].
    pub fn with_extras(buffer: B, extras: X, limit: usize, clock: Clock<W>) -> Self {
        Self::of(State::new(buffer, extras, limit, clock))
    }

    /// Looks at the buffer, the bound and the owner's extras, as they are at one moment.
    #[inline]
    pub fn look<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&B, usize, &X) -> R) -> R {
        self.section.with(proof, |state| look(&state.buffer, state.limit, &state.extras))
    }

    /// Changes the owner's extras. Nothing may be dropped in `change`: what is displaced is returned, to be dropped outside the section.
    pub fn change_extras<R>(&self, proof: D::Proof<'_>, change: impl FnOnce(&mut X) -> R) -> R {
        self.section.with(proof, |state| change(&mut state.extras))
    }

    /// The everyday case of [`Queue::try_put`], small enough to become part of its caller: there is room, in memory too, and nobody waits.
    /// The item is made only then. False: nothing has happened, and `try_put` knows why.
    #[expect(clippy::inline_always, reason = "the point of it")]
    #[inline(always)]
    pub fn put_at_once(&self, proof: D::Proof<'_>, admission: Admission, item: impl FnOnce() -> B::Item) -> bool {
        !self.section.is_entered(proof)
            && self.section.with(proof, |state| {
                let free = state.buffer.has_slot() && !state.shut && state.has_room() && !state.is_barred(Side::Put, admission);
                let free = free && state.lobby.line(Side::Get).nobody_waits();
                if free {
                    state.buffer.push_in_place(item());
                    state.stored(1);
                }
                free
            })
    }

    /// The everyday case of [`Queue::try_get`], as [`Queue::put_at_once`] is that of `try_put`.
    #[expect(clippy::inline_always, reason = "the point of it")]
    #[inline(always)]
    pub fn get_at_once(&self, proof: D::Proof<'_>, admission: Admission) -> Option<B::Item> {
        if self.section.is_entered(proof) {
            return None;
        }
        self.section.with(proof, |state| {
            if state.is_barred(Side::Get, admission) || !state.lobby.line(Side::Put).nobody_waits() {
                return None;
            }
            let item = state.buffer.pop_in_place();
            if item.is_some() {
                state.taken(1);
            }
            item
        })
    }

    /// Puts without waiting.
    pub fn try_put(&self, proof: D::Proof<'_>, item: B::Item, admission: Admission) -> (Wakes<W>, Result<(), PutError<B::Item>>) {
        self.visit(proof, |state, wakes| state.put(item, admission, wakes))
    }

    /// Gets without waiting.
    pub fn try_get(&self, proof: D::Proof<'_>, admission: Admission) -> (Wakes<W>, Result<B::Item, GetError>) {
        self.visit(proof, |state, wakes| state.get(admission, wakes))
    }

    /// Puts, or takes (or keeps) a place in line: after `Full` the spot is held, and `waker` will be woken.
    pub fn put_or_wait(
        &self,
        proof: D::Proof<'_>,
        item: B::Item,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), PutError<B::Item>>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.shut {
                state.give_up(spot, wakes);
                return Err(PutError::ShutDown(item));
            }
            if state.lobby.has_turn(Side::Put, spot) && state.has_room() {
                state.lobby.vacate(spot, wakes);
                state.store(item);
                state.settle(wakes);
                return Ok(());
            }
            state.lobby.stay(Side::Put, 1, spot, waker, wakes);
            state.note_full();
            state.settle(wakes);
            Err(PutError::Full(item))
        })
    }

    /// Gets, or takes (or keeps) a place in line: after `Empty` the spot is held, and `waker` will be woken.
    pub fn get_or_wait(&self, proof: D::Proof<'_>, spot: &mut Spot, waker: &W) -> (Wakes<W>, Result<B::Item, GetError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.lobby.has_turn(Side::Get, spot) {
                if let Some(item) = state.buffer.pop() {
                    state.lobby.vacate(spot, wakes);
                    state.taken(1);
                    state.settle(wakes);
                    return Ok(item);
                }
            }
            if state.is_drained() {
                state.give_up(spot, wakes);
                return Err(GetError::ShutDown);
            }
            state.lobby.stay(Side::Get, 1, spot, waker, wakes);
            state.settle(wakes);
            Err(GetError::Empty)
        })
    }

    /// True when nothing is unfinished, or was so at some moment since the spot was taken; else the spot is held.
    pub fn join_or_wait(&self, proof: D::Proof<'_>, spot: &mut Spot, waker: &W) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let forgotten = state.forget_after_fork();
            // Released joiners are out of the line: the count reached zero while they waited, whatever it is now.
            let released = !forgotten && spot.0.as_ref().is_some_and(|held| !state.lobby.line(Side::Join).contains(held.ticket));
            if released || state.is_finished() {
                state.lobby.vacate(spot, wakes);
                return true;
            }
            if forgotten {
                spot.0 = None;
            }
            state.lobby.stay(Side::Join, 1, spot, waker, wakes);
            false
        })
    }

    /// Takes (or keeps) a place in line without wanting to take anything: true once there is room (`Side::Put`) or an item
    /// (`Side::Get`), or the queue is shut down.
    pub fn ready_or_wait(&self, proof: D::Proof<'_>, side: Side, spot: &mut Spot, waker: &W) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let ready = state.is_ready(side);
            if ready {
                state.lobby.vacate(spot, wakes);
            } else {
                state.lobby.stay(side, 1, spot, waker, wakes);
            }
            state.settle(wakes); // its turn, if it had one, goes to the next: it takes nothing
            ready
        })
    }

    /// One piece of work done. False if there was none.
    pub fn task_done(&self, proof: D::Proof<'_>) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            if state.unfinished <= 0 {
                return false;
            }
            state.unfinished -= 1;
            if state.unfinished == 0 {
                state.settle(wakes);
            }
            true
        })
    }

    /// Nothing more can be put; what is in the queue can still be taken. Again: no effect.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn shut_down(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.shut_down_with(proof, |_, _| ()).0
    }

    /// The same, and in the same step `end` notes in the owner's extras how it ended; it is told whether the queue had been shut down before.
    /// Nothing may be dropped in `end`: what is displaced is returned.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn shut_down_with<R>(&self, proof: D::Proof<'_>, end: impl FnOnce(&mut X, bool) -> R) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            let ended = end(&mut state.extras, state.shut);
            state.shut_down(wakes);
            ended
        })
    }

    /// Takes items out through `drain`, which says how many, and counts them off the unfinished work, in one step.
    pub fn clear<R>(&self, proof: D::Proof<'_>, drain: impl FnOnce(&mut B) -> (R, usize)) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            let (drained, count) = drain(&mut state.buffer);
            state.discarded(count);
            state.settle(wakes);
            drained
        })
    }

    /// Changes what is in the buffer by hand, in one step: no bound is looked at, and no work begins or is finished by it. Whom it lets go is
    /// woken.
    pub fn edit<R>(&self, proof: D::Proof<'_>, edit: impl FnOnce(&mut B) -> R) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            let edited = edit(&mut state.buffer);
            state.discarded(0);
            state.settle(wakes);
            edited
        })
    }

    /// [`Queue::clear`] and [`Queue::shut_down_with`] in one step. What is still on its way in is thrown away too.
    pub fn shut_down_at_once<R, S>(
        &self,
        proof: D::Proof<'_>,
        drain: impl FnOnce(&mut B) -> (R, usize),
        end: impl FnOnce(&mut X, bool) -> S,
    ) -> (Wakes<W>, (R, S)) {
        self.visit(proof, |state, wakes| {
            let (drained, count) = drain(&mut state.buffer);
            state.discarded(count);
            state.reserved = 0; // see `fulfil`
            let ended = end(&mut state.extras, state.shut);
            state.shut_down(wakes);
            (drained, ended)
        })
    }

    /// Back to the beginning, with the buffer and the extras that `empty` leaves; those who wait go on waiting.
    pub fn reset<R>(
        &self,
        proof: D::Proof<'_>,
        empty: impl FnOnce(&mut B, &mut X) -> R,
        limit: usize,
        clock: Clock<W>,
    ) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            let old = empty(&mut state.buffer, &mut state.extras);
            state.limit = limit;
            state.lobby.clock = clock;
            state.reserved = 0;
            state.shut = false;
            state.unfinished = 0;
            state.full_since = None;
            state.settle(wakes);
            old
        })
    }

    pub fn set_limit(&self, proof: D::Proof<'_>, limit: usize) -> Wakes<W> {
        self.set_limit_with(proof, limit, |_| ()).0
    }

    /// Changes the bound and, in the same step, the owner's extras (as [`Queue::change_extras`] does).
    pub fn set_limit_with<R>(&self, proof: D::Proof<'_>, limit: usize, change: impl FnOnce(&mut X) -> R) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            state.limit = limit;
            if state.has_room() {
                state.full_since = None;
            }
            state.settle(wakes);
            change(&mut state.extras)
        })
    }

    pub fn limit(&self, proof: D::Proof<'_>) -> usize {
        self.section.with(proof, |state| state.limit)
    }

    pub fn set_unfinished(&self, proof: D::Proof<'_>, unfinished: i64) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.unfinished = unfinished;
            state.settle(wakes);
        })
        .0
    }

    #[inline]
    pub fn size(&self, proof: D::Proof<'_>) -> usize {
        self.section.with(proof, |state| state.buffer.len())
    }

    /// There is room (`Side::Put`) or an item (`Side::Get`), or the queue is shut down.
    pub fn is_ready(&self, proof: D::Proof<'_>, side: Side) -> bool {
        self.section.with(proof, |state| state.is_ready(side))
    }

    /// Shows the item that a get would give.
    pub fn peek<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&B::Item) -> R) -> Result<R, GetError> {
        self.section.with(proof, |state| state.buffer.peek().map(look).ok_or_else(|| state.nothing()))
    }

    pub fn unfinished(&self, proof: D::Proof<'_>) -> i64 {
        self.section.with(proof, |state| state.unfinished)
    }

    /// Everything that was put has been processed, see [`Queue::join_or_wait`].
    pub fn is_finished(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.is_finished())
    }

    pub fn is_shut(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.shut)
    }

    /// Nothing left, and nothing will come.
    pub fn is_drained(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.is_drained())
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Statistics {
        self.statistics_with(proof, |_| ()).0
    }

    /// What the queue has seen, and what `look` finds in the owner's extras at that moment.
    pub fn statistics_with<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&X) -> R) -> (Statistics, R) {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            let now = state.lobby.clock.now();
            let seen = Statistics {
                size: state.buffer.len(),
                limit: state.limit,
                puts: state.puts,
                gets: state.gets,
                unfinished: state.unfinished,
                peak_size: state.peak,
                waiting_putters: state.lobby.line(Side::Put).len(),
                waiting_getters: state.lobby.line(Side::Get).len(),
                waiting_joiners: state.lobby.line(Side::Join).len(),
                put_blocked: state.lobby.blocked(Side::Put, now),
                get_blocked: state.lobby.blocked(Side::Get, now),
                full_for: state.full_since.map_or(0, |since| now.saturating_sub(since)),
                shut: state.shut,
            };
            (seen, look(&state.extras))
        })
    }

    /// Looks at the buffer, or works on it in ways that change neither its size nor what it counts.
    pub fn with_buffer<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&mut B) -> R) -> R {
        self.section.with(proof, |state| look(&mut state.buffer))
    }
}
