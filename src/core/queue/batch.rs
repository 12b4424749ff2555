//! Operations on many items.
//!
//! A batch that fits is put in one step. A larger batch is put in chunks. It keeps its place at the head of the wait queue, so that no
//! other putter's items come in between.
//!
//! An item is taken out of an iterator (foreign code, so outside the section) only when its place is certain: a place is *reserved*, the
//! iterator is advanced, and the item is stored in the reserved place. When the queue has been shut down, getters wait until reserved
//! places are filled or given up; an immediate shutdown drops the reserved places too.
//!
//! A batch of gets may *linger* for more items. Meanwhile it claims the available items, in its place in the wait queue, and takes none.

use super::state::{Admission, GetError, PutError, PutOutcome, Side, State, Waiter};
use crate::buffer::Buffer;
use crate::monitor::{Monitor, MonitorState};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// Whether a batch of gets that could return items may still wait for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    On,
    Over,
}

/// How much a batch of gets may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchBounds {
    pub max: usize,
    /// The weight of all items of the batch together; `u64::MAX` for no bound. An item that is heavier alone makes a batch of its own. Only
    /// queues whose items have weights have batches with this bound.
    pub max_weight: u64,
}

impl BatchBounds {
    /// Adds an item to a batch that weighs so much, `None` without an item. False: it is too heavy, and the batch ends.
    pub fn weigh(weighed: &mut Option<u64>, weight: u64, max_weight: u64) -> bool {
        let fits = weighed.is_none_or(|weighed| weighed.saturating_add(weight) <= max_weight);
        *weighed = Some(weighed.unwrap_or(0).saturating_add(weight));
        fits
    }
}

/// That many items, whatever they weigh.
impl From<usize> for BatchBounds {
    fn from(max: usize) -> Self {
        Self { max, max_weight: u64::MAX }
    }
}

/// Why there is no batch yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    Empty,
    /// Items are available, and the batch waits for more.
    Lingering,
    ShutDown,
    /// The mutex is locked, by another owner or by the caller itself (see `mutex`).
    Locked,
    /// The queue keeps notes of its items: the caller has to use [`Queue::get_many_composed`](super::Queue::get_many_composed).
    Composed,
    /// There is no memory for the list of items. A waiter has left the wait queue.
    NoMemory,
}

impl From<GetError> for BatchError {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Empty => Self::Empty,
            GetError::ShutDown => Self::ShutDown,
            GetError::Locked => Self::Locked,
            GetError::Composed => Self::Composed,
            GetError::NoMemory => Self::NoMemory,
        }
    }
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// Stores as many of `items` as there is room for. Ok if these are all. If there is no memory, none is stored.
    fn put_batch(&mut self, items: &mut std::vec::IntoIter<B::Item>) -> Result<(), PutError<()>> {
        let fits = self.room().min(items.len());
        if self.buffer.try_reserve(fits).is_err() {
            return Err(PutError::NoMemory(()));
        }
        self.buffer.push_many(items, fits);
        self.count_stored(fits);
        if items.len() == 0 { Ok(()) } else { Err(self.full_error(())) }
    }

    fn get_batch(&mut self, max: usize) -> Option<Vec<B::Item>> {
        let batch = if self.lanes.is_empty() {
            self.buffer.pop_many(max).ok()?
        } else {
            let mut batch = Vec::new();
            batch.try_reserve_exact(max.min(self.buffer.len())).ok()?;
            batch.extend(std::iter::from_fn(|| self.pop()).take(max));
            batch
        };
        self.count_taken(batch.len());
        Some(batch)
    }

    /// Promises a place, and reserves its memory.
    fn promise(&mut self) -> Result<(), PutError<()>> {
        self.reserve_noted(self.reserved + 1).map_err(|_| PutError::NoMemory(()))?;
        self.reserved += 1;
        Ok(())
    }
}

/// Operations that do not wait.
impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// Puts what fits, in one step. Ok if nothing is left in `items`.
    pub fn put_many(
        &mut self,
        items: &mut std::vec::IntoIter<B::Item>,
        admission: Admission,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<()>> {
        self.forget_after_fork();
        if !self.is_plain {
            return Err(self.not_plain(()));
        }
        if self.is_barred(Side::Put, admission) {
            return Err(PutError::Full(()));
        }
        let keyed = self.buffer.is_keyed();
        let result = if keyed { self.put_keyed_batch(items, admission) } else { self.put_batch(items) };
        if result.is_err() && admission == Admission::Immediate {
            self.note_full();
        }
        self.wake_eligible(wakes);
        result
    }

    /// Promises a place to an item that is about to come out of an iterator.
    pub fn reserve(&mut self, admission: Admission) -> Result<(), PutError<()>> {
        self.forget_after_fork();
        if self.shut {
            return Err(PutError::ShutDown(()));
        }
        if self.held_mutex.is_some() && !self.baton.is_mine() {
            return Err(PutError::Locked(()));
        }
        if !self.has_room() && !self.drops() {
            if admission == Admission::Immediate {
                self.note_full();
            }
            return Err(self.full_error(()));
        }
        if self.is_barred(Side::Put, admission) {
            return Err(PutError::Full(()));
        }
        self.promise()
    }

    /// Fills the reserved place. If an immediate shutdown has dropped the place meanwhile, the item is returned. A queue that drops items
    /// reserves a place for every item, and applies its policy only now.
    pub fn fulfil(&mut self, item: B::Item, wakes: &mut Wakes<W>) -> PutOutcome<B::Item> {
        if self.shut && self.reserved == 0 {
            return Err(PutError::ShutDown(item));
        }
        if self.held_mutex.is_some() && !self.baton.is_mine() {
            return Err(PutError::Locked(item));
        }
        if self.parts.is_some() {
            return Err(PutError::Composed(item));
        }
        self.reserved = self.reserved.saturating_sub(1);
        if self.drops() && !self.has_room() {
            return self.put_or_drop(item, wakes);
        }
        let stored = self.store(item); // the reserved memory may have been given back, or used by another item
        self.wake_eligible(wakes);
        stored.map(|()| None)
    }

    /// Gets 1 to `max` items.
    pub fn get_many(&mut self, max: usize, admission: Admission, wakes: &mut Wakes<W>) -> Result<Vec<B::Item>, GetError> {
        self.forget_after_fork();
        if self.parts.is_some() {
            return Err(GetError::Composed);
        }
        if self.is_barred(Side::Get, admission) {
            return Err(GetError::Empty);
        }
        if self.buffer.is_empty() {
            return Err(self.empty_error());
        }
        let batch = self.get_batch(max);
        self.wake_eligible(wakes);
        batch.ok_or(GetError::NoMemory)
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// Puts what fits, in one step, without waiting. Ok if nothing is left in `items`.
    pub fn try_put_batch(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<B::Item>,
        admission: Admission,
    ) -> (Wakes<W>, Result<(), PutError<()>>) {
        self.visit(proof, |state, wakes| state.put_many(items, admission, wakes))
    }

    /// Puts the items that fit. As long as some are left, the waiter is in the wait queue, and `waker` will be woken.
    pub fn put_batch_or_wait(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<B::Item>,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<(), PutError<()>>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if !state.is_plain {
                if state.shut {
                    state.abandon(waiter, wakes);
                }
                return Err(state.not_plain(()));
            }
            if state.buffer.is_keyed() {
                return state.put_keyed_batch_or_wait(items, waiter, waker, wakes);
            }
            let left = items.len();
            let mut result = Err(if state.buffer_is_stashed() { PutError::Locked(()) } else { PutError::Full(()) });
            if state.wait_queues.has_turn(Side::Put, waiter) {
                result = state.put_batch(items);
            }
            if matches!(result, Ok(()) | Err(PutError::Rejected(()) | PutError::Overflows(()) | PutError::NoMemory(()))) {
                state.wait_queues.remove_waiter(waiter, wakes);
            } else {
                state.advance_or_requeue(waiter, waker, 1, items.len() < left, wakes);
                state.note_full();
            }
            state.wake_eligible(wakes);
            result
        })
    }

    /// Promises a place to an item that is about to come out of an iterator, without waiting.
    pub fn try_reserve(&self, proof: D::Proof<'_>, admission: Admission) -> Result<(), PutError<()>> {
        self.section.with(proof, |state| state.reserve(admission))
    }

    /// Promises a place. After `Full` the waiter is in the wait queue, and `waker` will be woken.
    pub fn reserve_or_wait(&self, proof: D::Proof<'_>, waiter: &mut Waiter, waker: &W) -> (Wakes<W>, Result<(), PutError<()>>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.shut {
                state.abandon(waiter, wakes);
                return Err(PutError::ShutDown(()));
            }
            let locked = state.held_mutex.is_some() && !state.baton.is_mine();
            // In a queue that drops items nobody waits for room, whatever waiters there are: `fulfil` applies the policy.
            if !locked && (state.drops() || state.wait_queues.has_turn(Side::Put, waiter) && state.has_room()) {
                state.wait_queues.remove_waiter(waiter, wakes);
                let promised = state.promise();
                state.wake_eligible(wakes);
                return promised;
            }
            if !locked && state.overflows() && !state.has_room() {
                state.abandon(waiter, wakes);
                return Err(state.full_error(()));
            }
            state.wait_queues.enqueue_or_requeue(Side::Put, 1, waiter, waker, wakes);
            state.note_full();
            state.wake_eligible(wakes);
            Err(if locked { PutError::Locked(()) } else { PutError::Full(()) })
        })
    }

    /// Fills the reserved place. If an immediate shutdown has dropped the place meanwhile, the item is returned.
    pub fn fulfil(&self, proof: D::Proof<'_>, item: B::Item) -> (Wakes<W>, PutOutcome<B::Item>) {
        self.visit(proof, |state, wakes| state.fulfil(item, wakes))
    }

    /// Gives the reserved place up, because the iterator was exhausted.
    pub fn unreserve(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.reserved = state.reserved.saturating_sub(1);
            state.wake_eligible(wakes);
        })
        .0
    }

    /// Gets 1 to `max` items without waiting.
    pub fn try_get_batch(
        &self,
        proof: D::Proof<'_>,
        max: usize,
        admission: Admission,
    ) -> (Wakes<W>, Result<Vec<B::Item>, GetError>) {
        self.visit(proof, |state, wakes| state.get_many(max, admission, wakes))
    }

    /// Gets 1 to `max` items. With [`Linger::On`] it commits only when `max` items are available, the buffer is full, a putter waits, or
    /// the queue is shut down. Otherwise the waiter is in the wait queue, and `waker` will be woken.
    pub fn get_batch_or_wait(
        &self,
        proof: D::Proof<'_>,
        max: usize,
        linger: Linger,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, Result<Vec<B::Item>, BatchError>) {
        self.visit(proof, |state, wakes| {
            if state.parts.is_some() {
                return Err(BatchError::Composed);
            }
            let allowed = state.batch_turn(max.into(), linger, waiter, waker, wakes)?;
            let batch = state.get_batch(allowed);
            state.wake_eligible(wakes);
            batch.ok_or(BatchError::NoMemory)
        })
    }
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// The number of items that a batch of gets may take now. If it is zero, the batch waits, and claims the available items if it lingers.
    /// What they weigh is for the caller to see: here all items count, also those that waiters before it may take.
    pub(super) fn batch_turn(
        &mut self,
        BatchBounds { max, max_weight }: BatchBounds,
        linger: Linger,
        waiter: &mut Waiter,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<usize, BatchError> {
        self.forget_after_fork();
        // It may not take what waiters before it can claim.
        let claimed = waiter.0.as_ref().map_or(0, |held| self.wait_queues.queue(Side::Get).claimed_before(held.ticket));
        let size = self.buffer.len().saturating_sub(usize::try_from(claimed).unwrap_or(usize::MAX));
        let turn = size > 0 && self.wait_queues.has_turn(Side::Get, waiter);
        if turn {
            let enough = linger == Linger::Over || size >= max || self.weighs_at_least(max_weight);
            if enough || !self.has_room() || self.has_waiting_putters() || self.shut {
                self.wait_queues.remove_waiter(waiter, wakes);
                return Ok(max.min(size));
            }
        } else if self.is_drained() {
            self.abandon(waiter, wakes);
            return Err(BatchError::ShutDown);
        }
        let held = waiter.0.as_ref().is_some_and(|held| held.side == Side::Get);
        if !turn || !held {
            self.wait_queues.enqueue_or_requeue(Side::Get, 1, waiter, waker, wakes);
        }
        if let Some(held) = &waiter.0 {
            if turn {
                self.wait_queues.queue_mut(Side::Get).set_want(held.ticket, max as u64, true);
                self.await_weight(max_weight);
            } else if size == 0 && self.wait_queues.queue(Side::Get).claims_ahead(held.ticket) {
                self.wait_queues.queue_mut(Side::Get).set_want(held.ticket, 1, false); // the items for which it lingered are gone
            }
        }
        self.wake_eligible(wakes);
        Err(match turn {
            _ if self.buffer_is_stashed() => BatchError::Locked,
            true => BatchError::Lingering,
            false => BatchError::Empty,
        })
    }

    /// Called for a batch that is not finished: after progress it waits in its old place, and this does not count as a miss.
    pub(super) fn advance_or_requeue(&mut self, waiter: &mut Waiter, waker: &W, want: u64, progress: bool, wakes: &mut Wakes<W>) {
        match &waiter.0 {
            Some(held) if held.side == Side::Put && progress => {
                let ticket = held.ticket;
                self.wait_queues.queue_mut(Side::Put).set_want(ticket, want, false);
            }
            _ => self.wait_queues.enqueue_or_requeue(Side::Put, want, waiter, waker, wakes),
        }
    }
}
