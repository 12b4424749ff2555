//! Operations on all items at once: their number, a copy of them, the next one, and removing them.
//!
//! If the order of the items needs Python, the baton is held meanwhile, so that no other thread moves an item.

use std::collections::HashSet;
use std::collections::TryReserveError;

use crate::rt::kept::interned;
use crate::rt::memory;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use sluicegate_core::buffer::Buffer;
use sluicegate_core::clock::Nanos;
use sluicegate_core::queue::{GetError, Note, Side, State};

use crate::queue::baton::{BatonGuard, reentered};
use crate::queue::inner::{BoundQueue, Extras, QueueInner};
use crate::queue::items::{Item, Items};
use crate::rt::ending::End;

/// The notes of items that replace others, whose notes are `notes`: items that stay keep theirs, and new items count as arriving now.
fn kept_notes(
    (seen, notes): (&[Item], &[Note]),
    (items, weights): (&[Item], &[u64]),
    now: Nanos,
) -> Result<Vec<Note>, TryReserveError> {
    let (mut known, mut kept) = (Vec::new(), Vec::new());
    if notes.is_empty() && weights.is_empty() {
        return Ok(kept);
    }
    known.try_reserve_exact(seen.len())?;
    kept.try_reserve_exact(items.len())?;
    // An object that is in the queue several times has its notes in order, and the first of them counts how many are given out.
    known.extend(seen.iter().zip(notes).enumerate().map(|(index, (item, note))| (item.as_ptr(), index, *note, 0)));
    known.sort_unstable_by_key(|&(object, index, ..)| (object, index));
    let mut old = |item: &Item| {
        let first = known.partition_point(|&(object, ..)| object < item.as_ptr());
        let given = known.get(first)?.3;
        let note = known.get(first + given).filter(|&&(object, ..)| object == item.as_ptr())?.2;
        known[first].3 += 1;
        Some(note)
    };
    let weights = weights.iter().copied().chain(std::iter::repeat(0));
    kept.extend(items.iter().zip(weights).map(|(item, weight)| old(item).unwrap_or(Note::new(now, weight))));
    Ok(kept)
}

impl QueueInner {
    pub(in crate::queue) fn size(&self, this: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.size_and_limit(this).map(|(size, _)| size)
    }

    /// Both values are of one moment: the size does not change while the baton is held.
    pub(in crate::queue) fn size_and_limit(&self, this: &Bound<'_, PyAny>) -> PyResult<(usize, usize)> {
        let py = this.py();
        let look = || self.core.look(py, |items, limit, _| (items.len(), limit));
        if !self.overrides.hooks {
            return Ok(look());
        }
        if self.core.baton_is_mine(py) {
            return Ok((this.call_method0(interned!(py, "_qsize"))?.extract()?, look().1));
        }
        let object = BoundQueue { this, inner: self };
        let guard = BatonGuard::take(&object, "qsize")?;
        let measured = guard.measure()?;
        let (size, limit) = look();
        guard.finish(0, 0)?;
        Ok((measured.unwrap_or(size), limit))
    }

    /// With `end` the queue is also shut down, in the same step.
    pub(in crate::queue) fn clear_items(&self, this: &Bound<'_, PyAny>, end: Option<End>) -> PyResult<usize> {
        let object = BoundQueue { this, inner: self };
        let shut = end.is_some();
        let name = if shut { "shutdown" } else { "clear" };
        let clear = |mut end: Option<End>| {
            let drain = |items: &mut Items| {
                let count = items.len();
                ((items.take_all(), count), count)
            };
            self.step(this, name, |state, wakes| {
                if !shut {
                    return (state.clear(drain, wakes), None);
                }
                let mut end = |extras: &mut Extras, again| end.take().and_then(|end| end.note(&mut extras.ending, again));
                state.shut_down_at_once(drain, &mut end, wakes)
            })
        };
        if !self.slow {
            let ((items, count), displaced) = clear(end)?;
            self.report_cleared(this.py(), &items);
            drop((items, displaced));
            return Ok(count);
        }
        if self.core.baton_is_mine(this.py()) {
            return Err(reentered(name)); // before anything has changed
        }
        if let Some(end) = end {
            self.end(this, end)?;
        }
        let mut guard = BatonGuard::take(&object, name)?;
        let again = shut.then(|| End { error: None, immediate: true });
        if !self.overrides.hooks {
            let ((items, count), displaced) = clear(again)?;
            guard.finish(0, 0)?;
            self.report_cleared(this.py(), &items);
            drop((items, displaced)); // only now, because dropping items may run code that uses the queue
            return Ok(count);
        }
        let mut count = 0;
        let mut outcome = Ok(());
        while guard.measure()?.is_some_and(|size| size > 0) {
            match guard.pop() {
                Ok(item) => drop(item),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            count += 1;
        }
        let size = if outcome.is_ok() { 0 } else { guard.measure()?.unwrap_or(0) };
        let drain = |items: &mut Items| {
            items.size = size;
            ((), count)
        };
        let mut again = again;
        let displaced = self.step(this, name, |state, wakes| {
            if !shut {
                state.clear(drain, wakes);
                return None;
            }
            let end = |extras: &mut Extras, again_| again.take().and_then(|end| end.note(&mut extras.ending, again_));
            state.shut_down_at_once(drain, end, wakes).1
        })?;
        guard.finish(0, 0)?;
        drop(displaced);
        outcome.map(|()| count)
    }

    /// The items of the queue, in the standard library's arrangement.
    pub(in crate::queue) fn snapshot(&self, this: &Bound<'_, PyAny>) -> PyResult<Vec<Item>> {
        let py = this.py();
        let copy = || {
            let copied = self.core.with_buffer(py, |items| {
                let mut copied = Vec::new();
                copied.try_reserve_exact(items.iter().count())?;
                copied.extend(items.iter().map(|item| item.clone_ref(py)));
                Ok::<_, TryReserveError>(copied)
            });
            copied.map_err(|_| memory::none(py, c"there is no memory for a copy of the items"))
        };
        if !self.slow {
            return Ok(copy()?.into_iter().map(|item| self.bare(py, item)).collect());
        }
        let object = BoundQueue { this, inner: self };
        let guard = BatonGuard::take(&object, "queue")?;
        let items = copy();
        guard.finish(0, 0)?;
        items
    }

    /// Replaces the items `seen` by `items` in one step, if those are still the queue's items; otherwise nothing happens. Both are in the
    /// standard library's arrangement.
    pub(in crate::queue) fn replace(&self, this: &Bound<'_, PyAny>, seen: &[Item], items: Vec<Item>) -> PyResult<bool> {
        if self.keys.is_some() || self.fair.is_some() {
            return Err(PyTypeError::new_err("the items of this queue cannot be changed by hand, because each has a key"));
        }
        // The items that stay have been weighed before.
        let no_memory = |_| memory::none(this.py(), c"there is no memory for the change");
        let (mut stay, mut weights) = (HashSet::new(), Vec::new());
        if self.weighs() {
            stay.try_reserve(seen.len()).map_err(no_memory)?;
            weights.try_reserve_exact(items.len()).map_err(no_memory)?;
            stay.extend(seen.iter().map(Py::as_ptr));
            for item in &items {
                weights.push(if stay.contains(&item.as_ptr()) { 0 } else { self.weight_of(item.bind(this.py()))? });
            }
        }
        let mut items = Some(items);
        let mut replace = || {
            self.step(this, "queue", |state, wakes| {
                let replace = |queue: &mut Items, notes: &[Note], now: Nanos| {
                    let unchanged =
                        queue.iter().count() == seen.len() && queue.iter().zip(seen).all(|(one, other)| one.is(other));
                    let Some(items) = items.take().filter(|_| unchanged) else { return Ok((None, None)) };
                    let kept = kept_notes((seen, notes), (&items, &weights), now)?;
                    Ok((Some(queue.replace(items)), Some(kept)))
                };
                state.edit_with_notes(replace, wakes)
            })?
            .map_err(no_memory)
        };
        if !self.slow {
            return Ok(replace()?.is_some());
        }
        let object = BoundQueue { this, inner: self };
        let guard = BatonGuard::take(&object, "queue")?;
        let old = replace()?;
        guard.finish(0, 0)?;
        Ok(old.is_some()) // the old items are dropped here, which may run code that uses the queue
    }

    /// Takes the next item by hand, if that is only a step of the buffer: as a list of one item, or an empty one. `None`: it is more.
    pub(in crate::queue) fn take_next(&self, this: &Bound<'_, PyAny>) -> PyResult<Option<Vec<Item>>> {
        if self.slow || self.keys.is_some() || self.fair.is_some() {
            return Ok(None);
        }
        let taken = self.step(this, "queue", State::take_by_hand)?;
        Ok(taken.map(|item| item.into_iter().collect()))
    }

    pub(in crate::queue) fn peek(&self, this: &Bound<'_, PyAny>) -> PyResult<Item> {
        let py = this.py();
        if self.overrides.hooks {
            return Err(PyTypeError::new_err(
                "peek() is not available in a class that overrides _init, _qsize, _put or _get, because that class decides the order",
            ));
        }
        let look = || self.core.peek(py, |item| item.clone_ref(py));
        let item = if self.slow {
            let object = BoundQueue { this, inner: self };
            let guard = BatonGuard::take(&object, "peek")?;
            let item = look();
            guard.finish(0, 0)?;
            item
        } else {
            look().map(|item| self.bare(py, item))
        };
        item.map_err(|error| match error {
            GetError::ShutDown => self.shut_down_error(py, "peek"),
            GetError::Empty | GetError::Locked | GetError::Composed | GetError::NoMemory => {
                self.refusal(interned!(py, "peek").clone(), Side::Get, None)
            }
        })
    }
}
