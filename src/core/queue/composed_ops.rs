//! The operations on a queue that keeps notes of its items, see the head of `composed`.

use std::collections::TryReserveError;

use super::batch::{BatchBounds, BatchError, Linger};
use super::composed::Attempt;
use super::parts::{Composition, Terms};
use super::policy::{Lost, Overflow};
use super::state::{GetError, PutError, Side, State};
use crate::buffer::Buffer;
use crate::clock::Nanos;
use crate::monitor::{Monitor, MonitorState};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// Operations that may or may not wait: see [`Attempt`].
impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// Puts an item. If there is no room the policy decides, in the same step. `Full`: it waits, if it can, unless it has expired.
    pub fn put_composed(
        &mut self,
        item: B::Item,
        terms: Terms,
        mut attempt: Attempt<'_, W>,
        lost: &mut Lost<B::Item>,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<B::Item>> {
        self.forget_after_fork();
        if self.shut {
            self.let_go(&mut attempt, wakes);
            self.wake_all_eligible(wakes);
            return Err(PutError::ShutDown(item));
        }
        if self.buffer.is_keyed() {
            return self.put_keyed_composed(item, terms, attempt, lost, wakes);
        }
        let want = if self.room_by_weight().is_some() { terms.weight } else { 1 };
        if self.buffer_is_stashed() {
            self.enqueue_if_allowed(&mut attempt, Side::Put, want, wakes);
            return Err(PutError::Locked(item));
        }
        let now = self.wait_queues.clock.now();
        let Ok(note) = self.note(now, terms) else {
            self.let_go(&mut attempt, wakes);
            self.wake_all_eligible(wakes);
            return Err(PutError::NoMemory(item));
        };
        if note.deadline <= now {
            self.let_go(&mut attempt, wakes);
            self.wake_all_eligible(wakes);
            return Err(PutError::Full(item));
        }
        self.expire_unless_fits(note.weight, now, lost, wakes);
        let entitled = self.may_put(&mut attempt);
        let result = self.admit(item, note, entitled, lost);
        if let Err(PutError::Full(_)) = result {
            if !matches!(attempt, Attempt::Arrival) {
                self.note_full();
            }
            self.enqueue_if_allowed(&mut attempt, Side::Put, want, wakes);
        } else {
            self.let_go(&mut attempt, wakes);
        }
        let has_getters = !self.wait_queues.queue(Side::Get).none_waiting();
        if matches!(attempt, Attempt::Wait(..)) || has_getters || !lost.is_empty() || self.ends_sooner() {
            self.wake_all_eligible(wakes);
        }
        result
    }

    /// Puts the items that fit, or does what the policy says, in one step. `terms` returns the terms of each item.
    pub fn put_many_composed(
        &mut self,
        items: &mut std::vec::IntoIter<B::Item>,
        terms: &mut dyn FnMut(&B::Item, usize) -> Terms,
        mut attempt: Attempt<'_, W>,
        lost: &mut Lost<B::Item>,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<()>> {
        self.forget_after_fork();
        if self.shut {
            self.let_go(&mut attempt, wakes);
            self.wake_all_eligible(wakes);
            return Err(PutError::ShutDown(()));
        }
        if self.buffer.is_keyed() {
            return self.put_many_keyed_composed(items, terms, attempt, lost, wakes);
        }
        let mut result = if self.buffer_is_stashed() { Err(PutError::Locked(())) } else { Ok(()) };
        let mut entitled = result.is_ok() && self.may_put(&mut attempt);
        let now = self.wait_queues.clock.now();
        let (mut want, before) = (1, items.len());
        while result.is_ok() {
            let Some(next) = items.as_slice().first() else { break };
            let terms = terms(next, items.len());
            let Ok(note) = self.note(now, terms) else {
                result = Err(PutError::NoMemory(()));
                break;
            };
            self.expire_unless_fits(note.weight, now, lost, wakes);
            if !entitled {
                entitled = self.may_put(&mut attempt);
            }
            result = match self.overflow.policy {
                _ if self.fits(note.weight) && !entitled => Err(PutError::Full(())),
                Overflow::Block | Overflow::Reject if !self.fits(note.weight) => Err(self.full_error(())),
                _ => {
                    let can_drop = self.fits(note.weight) || self.can_report_losses(note.weight, lost);
                    if !can_drop || self.reserve_noted(1).is_err() {
                        Err(PutError::NoMemory(()))
                    } else if let Some(item) = items.next() {
                        self.admit(item, note, entitled, lost).map_err(|_| PutError::NoMemory(()))
                    } else {
                        Ok(())
                    }
                }
            };
            want = if self.room_by_weight().is_some() { note.weight } else { 1 };
        }
        match (&result, &mut attempt) {
            (Err(PutError::Full(()) | PutError::Locked(())), Attempt::Wait(waiter, waker)) => {
                self.advance_or_requeue(waiter, waker, want, items.len() < before, wakes);
                self.note_full();
            }
            _ => self.let_go(&mut attempt, wakes),
        }
        self.wake_all_eligible(wakes);
        result
    }

    /// Fills a reserved place, or does what the policy says. `Full`: the item is too heavy; the place has been given up.
    pub fn fulfil_composed(
        &mut self,
        item: B::Item,
        terms: Terms,
        lost: &mut Lost<B::Item>,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<B::Item>> {
        if self.shut && self.reserved == 0 {
            return Err(PutError::ShutDown(item));
        }
        if self.held_mutex.is_some() && !self.baton.is_mine() {
            return Err(PutError::Locked(item));
        }
        self.reserved = self.reserved.saturating_sub(1);
        let now = self.wait_queues.clock.now();
        let Ok(note) = self.note(now, terms) else {
            self.wake_all_eligible(wakes);
            return Err(PutError::NoMemory(item));
        };
        let result = if !self.drops() && self.parts.as_ref().is_some_and(|parts| parts.weights.fits(note.weight)) {
            // The bound may have been reduced since, and the reserved memory may have been used by another item.
            match self.reserve_noted(1) {
                Ok(()) => {
                    self.store_noted(item, note);
                    Ok(())
                }
                Err(_) => Err(PutError::NoMemory(item)),
            }
        } else if self.drops() {
            self.admit(item, note, true, lost)
        } else {
            Err(PutError::Full(item))
        };
        self.wake_all_eligible(wakes);
        result
    }

    /// Gets the next item that has not expired. `Empty`: it waits, if it can.
    pub fn get_composed(
        &mut self,
        mut attempt: Attempt<'_, W>,
        lost: &mut Lost<B::Item>,
        wakes: &mut Wakes<W>,
    ) -> Result<B::Item, GetError> {
        self.forget_after_fork();
        let result = if !self.buffer_is_stashed() && self.may_get(&mut attempt) && !self.buffer.is_empty() {
            let now = self.wait_queues.clock.now();
            match self.parts(now) {
                Ok(_) => {
                    self.take(now, lost).ok_or_else(|| if lost.lacks_memory() { GetError::NoMemory } else { self.empty_error() })
                }
                Err(_) => Err(GetError::NoMemory),
            }
        } else {
            Err(self.empty_error())
        };
        if matches!(result, Err(GetError::Empty | GetError::Locked)) {
            self.enqueue_if_allowed(&mut attempt, Side::Get, 1, wakes);
        } else {
            self.let_go(&mut attempt, wakes);
        }
        let no_putters = self.wait_queues.queue(Side::Put).none_waiting() && !self.has_waiting_putters_with_key();
        if matches!(attempt, Attempt::Wait(..)) || !no_putters || !lost.is_empty() {
            self.wake_all_eligible(wakes);
        }
        result
    }
}

/// The result of an operation on a composed queue: wake-ups, dropped items, and the answer.
pub type Outcome<W, T, R> = (Wakes<W>, Lost<T>, R);

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    fn visit_composed<R>(
        &self,
        proof: D::Proof<'_>,
        critical: impl FnOnce(&mut State<B, W, X>, &mut Lost<B::Item>, &mut Wakes<W>) -> R,
    ) -> Outcome<W, B::Item, R> {
        let mut lost = Lost::default();
        let (wakes, result) = self.visit(proof, |state, wakes| critical(state, &mut lost, wakes));
        (wakes, lost, result)
    }

    /// See [`State::put_composed`].
    pub fn put_composed(
        &self,
        proof: D::Proof<'_>,
        item: B::Item,
        terms: Terms,
        attempt: Attempt<'_, W>,
    ) -> Outcome<W, B::Item, Result<(), PutError<B::Item>>> {
        self.visit_composed(proof, |state, lost, wakes| state.put_composed(item, terms, attempt, lost, wakes))
    }

    /// See [`State::put_many_composed`].
    pub fn put_many_composed(
        &self,
        proof: D::Proof<'_>,
        items: &mut std::vec::IntoIter<B::Item>,
        terms: &mut dyn FnMut(&B::Item, usize) -> Terms,
        attempt: Attempt<'_, W>,
    ) -> Outcome<W, B::Item, Result<(), PutError<()>>> {
        self.visit_composed(proof, |state, lost, wakes| state.put_many_composed(items, terms, attempt, lost, wakes))
    }

    /// See [`State::fulfil_composed`].
    pub fn fulfil_composed(
        &self,
        proof: D::Proof<'_>,
        item: B::Item,
        terms: Terms,
    ) -> Outcome<W, B::Item, Result<(), PutError<B::Item>>> {
        self.visit_composed(proof, |state, lost, wakes| state.fulfil_composed(item, terms, lost, wakes))
    }

    /// See [`State::get_composed`].
    pub fn get_composed(&self, proof: D::Proof<'_>, attempt: Attempt<'_, W>) -> Outcome<W, B::Item, Result<B::Item, GetError>> {
        self.visit_composed(proof, |state, lost, wakes| state.get_composed(attempt, lost, wakes))
    }

    /// See [`State::get_many_composed`].
    pub fn get_many_composed(
        &self,
        proof: D::Proof<'_>,
        bounds: impl Into<BatchBounds>,
        linger: Linger,
        attempt: Attempt<'_, W>,
    ) -> Outcome<W, B::Item, Result<Vec<B::Item>, BatchError>> {
        self.visit_composed(proof, |state, lost, wakes| state.get_many_composed(bounds.into(), linger, attempt, lost, wakes))
    }

    /// Drops every expired item if the queue is full.
    pub fn expire_if_full(&self, proof: D::Proof<'_>) -> Outcome<W, B::Item, ()> {
        self.visit_composed(proof, |state, lost, wakes| {
            if state.parts.is_some() && !state.buffer_is_stashed() && !state.has_room() {
                let now = state.wait_queues.clock.now();
                state.expire(now, lost);
                state.wake_all_eligible(wakes);
            }
        })
    }

    /// When a putter that waits for room, and looked for it at that time or later, has to look again, because an item may have expired by
    /// then. That may be in the past. `None` if no item will expire.
    pub fn next_end(&self, proof: D::Proof<'_>, looked_at: Nanos) -> Option<Nanos> {
        self.section.with(proof, |state| state.next_end(looked_at))
    }

    /// Composes the queue anew. Its items count as having arrived now, and weigh nothing.
    ///
    /// # Errors
    /// There is no memory for the notes of the items; nothing has changed.
    pub fn compose(&self, proof: D::Proof<'_>, composition: &Composition) -> Result<(), TryReserveError> {
        self.section.with(proof, |state| {
            let now = state.wait_queues.clock.now();
            state.compose(composition, now)
        })
    }

    /// Changes the bound on weight, if there is one. All waiters for room try again, because an item may be too heavy for the new bound.
    pub fn set_max_weight(&self, proof: D::Proof<'_>, max: u64) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let Some(parts) = state.parts.as_mut().filter(|parts| parts.weights.is_bounded()) else { return };
            parts.weights.set_max(max);
            if state.has_waiting_putters_with_key() {
                state.all_have_room();
            }
            state.notify_of_room(u64::MAX, wakes); // how many items fit is not known
            state.wake_eligible(wakes);
            state.wait_queues.queue(Side::Put).prod_all(wakes);
            state.wait_queues.prod_further(wakes);
            state.wait_queues.prod_further(wakes);
        })
        .0
    }

    /// The bound on weight, if there is one.
    pub fn max_weight(&self, proof: D::Proof<'_>) -> Option<u64> {
        self.section
            .with(proof, |state| state.parts.as_ref().filter(|parts| parts.weights.is_bounded()).map(|parts| parts.weights.max()))
    }

    /// What the items weigh together, and what they may weigh, if there is a bound on that.
    pub fn weight_and_max(&self, proof: D::Proof<'_>) -> Option<(u64, u64)> {
        self.section.with(proof, |state| {
            let weights = &state.parts.as_ref()?.weights;
            weights.is_bounded().then(|| (weights.sum(), weights.max()))
        })
    }

    /// True if the queue keeps notes of its items.
    pub fn is_composed(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.parts.is_some())
    }
}
