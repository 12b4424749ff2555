//! How the holder of the baton (see `baton`) takes items out: one, as the standard library does, or many.
//!
//! What has been taken out lies in the heap, beside the items, until it is the caller's. So a comparison that fails, or a fork in the middle of
//! one, leaves everything where it is found.

use pyo3::prelude::*;
use sluicegate_core::buffer::Coalescing;
use sluicegate_core::buffer::heap::Heap;
use sluicegate_core::queue::{BatchBounds, Dropped};

use crate::queue::baton::{BatonGuard, is_interrupt, less};
use crate::queue::items::Item;
use crate::queue::no_memory::{no_memory, no_memory_for_losses};
use crate::rt::guarded;
use crate::rt::kept::interned;

impl BatonGuard<'_, '_, '_> {
    /// Memory for so many that will be taken out. Raises MemoryError; then nothing has changed.
    pub(in crate::queue) fn reserve_taken(&mut self, count: usize) -> PyResult<()> {
        self.heap.taken.try_reserve_exact(count).map_err(|_| no_memory(self.py()))
    }

    /// Takes the next item out, for [`BatonGuard::taken`]. False if there is none. If a comparison fails then, one of several items, for which there
    /// are `moves` that can be undone, is still the next; a single one is dropped, as in the standard library, unless the error is an interrupt.
    fn take_next(&mut self, moves: Option<&mut Vec<usize>>) -> PyResult<bool> {
        let py = self.py();
        if self.is_hooked() {
            self.hooks_ran = true;
            let item = guarded::call_method(self.object.this, interned!(py, "_get"), ())?;
            self.heap.taken.push(item.unbind());
            return Ok(true);
        }
        if self.is_keyed() {
            let next = self.with_keyed(Coalescing::pop).flatten();
            let found = next.is_some();
            self.heap.taken.extend(next);
            return Ok(found);
        }
        self.check_out();
        let object = self.object;
        let taken = self.heap.taken.len();
        let less = |heap: &mut Heap<Item>, left, right| less(object, heap, left, right);
        match self.heap.pop_unless(less, |error| moves.is_some() || is_interrupt(object, error)) {
            None => Ok(false),
            Some(Ok(moved)) => {
                if let Some(moves) = moves {
                    moves.push(moved);
                }
                Ok(true)
            }
            Some(Err(error)) => {
                if self.heap.taken.len() > taken {
                    self.displaced.extend(self.heap.taken.pop());
                    if let Some(note) = self.heap.taken_note() {
                        object.inner.core.count_out(py, &note, false);
                    }
                }
                Err(error)
            }
        }
    }

    /// Memory to report the next item, if its time has passed. Raises MemoryError; then nothing has changed.
    pub(in crate::queue) fn reserve_lost(&mut self) -> PyResult<()> {
        let (py, core) = (self.py(), &self.object.inner.core);
        let Some(note) = self.heap.notes().first() else { return Ok(()) };
        if core.now_if_composed(py).is_none_or(|now| note.lapse(now).is_none()) {
            return Ok(());
        }
        self.lost.try_reserve(1).map_err(|_| no_memory_for_losses(py))
    }

    /// As `take_next`, of an item whose time has not passed.
    pub(in crate::queue) fn take_next_live(&mut self) -> PyResult<bool> {
        let (py, core) = (self.py(), &self.object.inner.core);
        loop {
            self.reserve_lost()?;
            if !self.take_next(None)? {
                return Ok(false);
            }
            let Some(note) = self.heap.taken_note() else { return Ok(true) };
            match core.now_if_composed(py).and_then(|now| note.lapse(now)) {
                None => {
                    core.count_out(py, &note, true);
                    return Ok(true);
                }
                Some(reason) => {
                    core.count_lost(py, &note, reason);
                    self.lost.extend(self.heap.taken.pop().map(|item| Dropped { item, reason, was_stored: true }));
                }
            }
        }
    }

    /// Takes out a batch of items whose time has not passed, for [`BatonGuard::taken`]. After an interrupt nothing has been taken, if that
    /// can be undone. Their notes are with them until then: in the child of a fork, all are put in order again.
    pub(in crate::queue) fn take_many_live(&mut self, BatchBounds { max, max_weight }: BatchBounds) -> PyResult<()> {
        let (py, object) = (self.py(), self.object);
        let core = &object.inner.core;
        let now = core.now_if_composed(py);
        let (mut moves, mut live, mut weighed) = (Vec::new(), 0, None);
        let mut outcome = Ok(true);
        while live < max && matches!(outcome, Ok(true)) {
            let next = self.heap.notes().first().filter(|note| now.is_some_and(|now| note.lapse(now).is_none()));
            if next.is_some_and(|next| max_weight != u64::MAX && !BatchBounds::weigh(&mut weighed, next.weight, max_weight)) {
                break;
            }
            let may_lose = if now.is_some() { self.heap.taken.len() + 1 } else { 0 };
            let reserved = self.heap.try_reserve_taken().and_then(|()| moves.try_reserve(1));
            let reserved = reserved.and_then(|()| self.lost.try_reserve(may_lose));
            outcome = reserved.map_err(|_| no_memory(py)).and_then(|()| self.take_next(Some(&mut moves)));
            let lapse = now.and_then(|now| self.heap.lapse_of_taken(now));
            live += usize::from(matches!(outcome, Ok(true)) && lapse.is_none());
        }
        if outcome.as_ref().is_err_and(|error| is_interrupt(object, error)) && moves.len() == self.heap.taken.len() {
            for moved in moves.into_iter().rev() {
                self.heap.undo_pop(moved);
            }
        }
        let (taken, notes) = self.heap.take_taken();
        let mut notes = notes.into_iter();
        let mut is_live = |item: Item| {
            let note = notes.next();
            if let Some((note, reason)) = note.zip(now).and_then(|(note, now)| Some((note, note.lapse(now)?))) {
                core.count_lost(py, &note, reason);
                self.lost.push(Dropped { item, reason, was_stored: true });
                return None;
            }
            if let Some(note) = note {
                core.count_out(py, &note, true);
            }
            Some(item)
        };
        self.heap.taken = taken.into_iter().filter_map(&mut is_live).collect();
        outcome.map(drop)
    }

    /// What has been taken out.
    pub(in crate::queue) fn taken(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.heap.taken)
    }

    pub(in crate::queue) fn pop(&mut self) -> PyResult<Option<Item>> {
        self.reserve_taken(1)?;
        self.take_next(None)?;
        if let Some(note) = self.heap.taken_note() {
            self.object.inner.core.count_out(self.py(), &note, false);
        }
        Ok(self.heap.taken.pop())
    }
}
