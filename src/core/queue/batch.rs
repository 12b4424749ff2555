//! Many items at once.
//!
//! A batch that fits enters in one step. One that does not enters in chunks, keeping its place at the head of the line, so that no
//! other putter's items come in between.
//!
//! Items that come out of an iterator (foreign code, so outside the section) are taken only once their place is certain: a place is
//! *reserved*, the iterator asked, and the item stored in the reserved place. Getters of a queue that has been shut down wait for
//! reserved places to be filled or given up; a shutdown that throws everything away throws them away too.
//!
//! A batch of gets may *linger* for more. While it does it claims what is there, in its place in line, and takes nothing.

use super::state::{Admission, GetError, PutError, Side, Spot, State};
use crate::buffer::Buffer;
use crate::monitor::{Monitor, Waits};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// Whether a batch of gets that has something may still wait for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    On,
    Over,
}

/// Why there is no batch yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    Empty,
    /// Something is there, and more is waited for.
    Lingering,
    ShutDown,
}

impl From<GetError> for BatchError {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Empty => Self::Empty,
            GetError::ShutDown => Self::ShutDown,
        }
    }
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// Stores as many of `items` as there is room for. Ok if that is all.
    fn put_batch(&mut self, items: &mut std::vec::IntoIter<B::Item>) -> Result<(), PutError<()>> {
        let fits = self.room().min(items.len());
        self.buffer.push_many(items, fits);
        self.stored(fits);
        if items.len() == 0 { Ok(()) } else { Err(PutError::Full(())) }
    }

    fn get_batch(&mut self, max: usize) -> Vec<B::Item> {
        let batch = self.buffer.pop_many(max);
        self.taken(batch.len());
        batch
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
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.shut {
                return Err(PutError::ShutDown(()));
            }
            if state.is_barred(Side::Put, admission) {
                return Err(PutError::Full(()));
            }
            let result = state.put_batch(items);
            if result.is_err() && admission == Admission::Immediate {
                state.note_full();
            }
            state.settle(wakes);
            result
        })
    }

    /// Puts what fits; while something is left the spot is held, and `waker` will be woken.
    pub fn put_batch_or_wait(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<B::Item>,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), PutError<()>>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.shut {
                state.give_up(spot, wakes);
                return Err(PutError::ShutDown(()));
            }
            let left = items.len();
            let mut result = Err(PutError::Full(()));
            if state.lobby.has_turn(Side::Put, spot) {
                result = state.put_batch(items);
            }
            if result.is_ok() {
                state.lobby.vacate(spot, wakes);
            } else {
                state.advance_or_stay(spot, waker, items.len() < left, wakes);
                state.note_full();
            }
            state.settle(wakes);
            result
        })
    }

    /// Promises a place to an item that is about to come out of an iterator, without waiting.
    pub fn try_reserve(&self, proof: D::Proof<'_>, admission: Admission) -> Result<(), PutError<()>> {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            if state.shut {
                return Err(PutError::ShutDown(()));
            }
            if !state.has_room() || state.is_barred(Side::Put, admission) {
                if admission == Admission::Immediate {
                    state.note_full();
                }
                return Err(PutError::Full(()));
            }
            state.reserved += 1;
            Ok(())
        })
    }

    /// Promises a place; after `Full` the spot is held, and `waker` will be woken.
    pub fn reserve_or_wait(&self, proof: D::Proof<'_>, spot: &mut Spot, waker: &W) -> (Wakes<W>, Result<(), PutError<()>>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.shut {
                state.give_up(spot, wakes);
                return Err(PutError::ShutDown(()));
            }
            if state.lobby.has_turn(Side::Put, spot) && state.has_room() {
                state.lobby.vacate(spot, wakes);
                state.reserved += 1;
                state.settle(wakes);
                return Ok(());
            }
            state.lobby.stay(Side::Put, 1, spot, waker, wakes);
            state.note_full();
            state.settle(wakes);
            Err(PutError::Full(()))
        })
    }

    /// Fills the reserved place. The item comes back if everything has been thrown away meanwhile.
    pub fn fulfil(&self, proof: D::Proof<'_>, item: B::Item) -> (Wakes<W>, Result<(), PutError<B::Item>>) {
        self.visit(proof, |state, wakes| {
            if state.shut && state.reserved == 0 {
                return Err(PutError::ShutDown(item));
            }
            state.reserved = state.reserved.saturating_sub(1);
            state.store(item);
            state.settle(wakes);
            Ok(())
        })
    }

    /// Gives the reserved place up: the iterator had nothing more.
    pub fn unreserve(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.reserved = state.reserved.saturating_sub(1);
            state.settle(wakes);
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
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.is_barred(Side::Get, admission) {
                return Err(GetError::Empty);
            }
            if state.buffer.is_empty() {
                return Err(state.nothing());
            }
            let batch = state.get_batch(max);
            state.settle(wakes);
            Ok(batch)
        })
    }

    /// Gets 1 to `max` items. With [`Linger::On`] it commits only when `max` are there, the buffer is full, a putter waits, or
    /// the queue is shut down. Otherwise the spot is held, and `waker` will be woken.
    pub fn get_batch_or_wait(
        &self,
        proof: D::Proof<'_>,
        max: usize,
        linger: Linger,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<Vec<B::Item>, BatchError>) {
        self.visit(proof, |state, wakes| {
            let allowed = state.batch_turn(max, linger, spot, waker, wakes)?;
            let batch = state.get_batch(allowed);
            state.settle(wakes);
            Ok(batch)
        })
    }
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// How many items may a batch of gets take now? If none it has a place in line, and claims what is there if it lingers.
    pub(super) fn batch_turn(
        &mut self,
        max: usize,
        linger: Linger,
        spot: &mut Spot,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<usize, BatchError> {
        self.forget_after_fork();
        // What those before it in line may claim is not for it.
        let claimed = spot.0.as_ref().map_or(0, |held| self.lobby.line(Side::Get).claimed_before(held.ticket));
        let size = self.buffer.len().saturating_sub(usize::try_from(claimed).unwrap_or(usize::MAX));
        let turn = size > 0 && self.lobby.has_turn(Side::Get, spot);
        if turn {
            let enough = linger == Linger::Over || size >= max;
            if enough || !self.has_room() || !self.lobby.line(Side::Put).is_empty() || self.shut {
                self.lobby.vacate(spot, wakes);
                return Ok(max.min(size));
            }
        } else if self.is_drained() {
            self.give_up(spot, wakes);
            return Err(BatchError::ShutDown);
        }
        let held = spot.0.as_ref().is_some_and(|held| held.side == Side::Get);
        if !turn || !held {
            self.lobby.stay(Side::Get, 1, spot, waker, wakes);
        }
        if let Some(held) = &spot.0 {
            if turn {
                self.lobby.line_mut(Side::Get).set_want(held.ticket, max as u64, true);
            } else if size == 0 && self.lobby.line(Side::Get).claims_ahead(held.ticket) {
                self.lobby.line_mut(Side::Get).set_want(held.ticket, 1, false); // what it lingered over is gone
            }
        }
        self.settle(wakes);
        Err(if turn { BatchError::Lingering } else { BatchError::Empty })
    }

    /// A batch that is not through yet: after progress it waits on without a miss, in its old place.
    fn advance_or_stay(&mut self, spot: &mut Spot, waker: &W, progress: bool, wakes: &mut Wakes<W>) {
        match &spot.0 {
            Some(held) if held.side == Side::Put && progress => {
                let ticket = held.ticket;
                self.lobby.line_mut(Side::Put).set_want(ticket, 1, false);
            }
            _ => self.lobby.stay(Side::Put, 1, spot, waker, wakes),
        }
    }
}
