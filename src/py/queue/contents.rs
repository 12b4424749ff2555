//! What is asked of all items at once: how many there are, a copy of them, the next one, that there be none.
//!
//! Where the order of the items needs Python, the baton is held meanwhile: then nobody else moves an item.

use crate::rt::kept::interned;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use sluicegate_core::buffer::Buffer;
use sluicegate_core::queue::{GetError, Side};

use crate::queue::inner::{End, Object, QueueInner};
use crate::queue::items::{Item, Items};
use crate::queue::owner::OwnerGuard;

impl QueueInner {
    pub(in crate::queue) fn size(&self, this: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.size_and_limit(this).map(|(size, _)| size)
    }

    /// Both as they are at one moment: while the baton is held, the size stays.
    pub(in crate::queue) fn size_and_limit(&self, this: &Bound<'_, PyAny>) -> PyResult<(usize, usize)> {
        let py = this.py();
        let look = || self.core.look(py, |items, limit, _| (items.len(), limit));
        if !self.overrides.hooks {
            return Ok(look());
        }
        if self.core.baton_is_mine(py) {
            return Ok((this.call_method0(interned!(py, "_qsize"))?.extract()?, look().1));
        }
        let object = Object { this, inner: self };
        let guard = OwnerGuard::take(&object, "qsize")?;
        let measured = guard.measure()?;
        let (size, limit) = look();
        guard.finish(0, 0)?;
        Ok((measured.unwrap_or(size), limit))
    }

    /// With `end` the queue is also shut down, in the same step.
    pub(in crate::queue) fn clear_items(&self, this: &Bound<'_, PyAny>, end: Option<End>) -> PyResult<usize> {
        let py = this.py();
        let object = Object { this, inner: self };
        let shut = end.is_some();
        let clear = |end: Option<End>| {
            let drain = |items: &mut Items| {
                let count = items.len();
                ((items.take_all(), count), count)
            };
            let Some(end) = end else { return self.core.clear(py, drain) };
            let (wakes, (drained, displaced)) = self.core.shut_down_at_once(py, drain, |extras, again| end.note(extras, again));
            drop(displaced);
            (wakes, drained)
        };
        if !self.slow {
            let (wakes, (items, count)) = clear(end);
            wakes.fire();
            drop(items);
            return Ok(count);
        }
        if let Some(end) = end {
            self.end(py, end);
        }
        let mut guard = OwnerGuard::take(&object, if shut { "shutdown" } else { "clear" })?;
        let again = shut.then(|| End { error: None, immediate: true });
        if !self.overrides.hooks {
            let (wakes, (items, count)) = clear(again);
            guard.finish(0, 0)?;
            wakes.fire();
            drop(items); // no sooner: what this runs may use the queue
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
        let wakes = match again {
            Some(end) => self.core.shut_down_at_once(py, drain, |extras, again| end.note(extras, again)).0,
            None => self.core.clear(py, drain).0,
        };
        guard.finish(0, 0)?;
        wakes.fire();
        outcome.map(|()| count)
    }

    /// What is in the queue, in the standard library's arrangement.
    pub(in crate::queue) fn snapshot(&self, this: &Bound<'_, PyAny>) -> PyResult<Vec<Item>> {
        let py = this.py();
        let copy = || self.core.with_buffer(py, |items| items.iter().map(|item| item.clone_ref(py)).collect());
        if !self.slow {
            return Ok(copy());
        }
        let object = Object { this, inner: self };
        let guard = OwnerGuard::take(&object, "queue")?;
        let items = copy();
        guard.finish(0, 0)?;
        Ok(items)
    }

    /// Puts `items` in the place of `seen`, if those are still what is in the queue, in one step; else nothing happens. Both are in the standard
    /// library's arrangement.
    pub(in crate::queue) fn replace(&self, this: &Bound<'_, PyAny>, seen: &[Item], items: Vec<Item>) -> PyResult<bool> {
        let py = this.py();
        let mut items = Some(items);
        let mut replace = || {
            self.core.edit(py, |queue| {
                let unchanged = queue.iter().count() == seen.len() && queue.iter().zip(seen).all(|(one, other)| one.is(other));
                if unchanged { items.take().map(|items| queue.replace(items)) } else { None }
            })
        };
        if !self.slow {
            let (wakes, old) = replace();
            wakes.fire();
            return Ok(old.is_some());
        }
        let object = Object { this, inner: self };
        let guard = OwnerGuard::take(&object, "queue")?;
        let (wakes, old) = replace();
        guard.finish(0, 0)?;
        wakes.fire();
        Ok(old.is_some()) // the old ones are dropped here: what that runs may use the queue
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
            let object = Object { this, inner: self };
            let guard = OwnerGuard::take(&object, "peek")?;
            let item = look();
            guard.finish(0, 0)?;
            item
        } else {
            look()
        };
        item.map_err(|error| match error {
            GetError::ShutDown => self.shut_down_error(py, "peek"),
            GetError::Empty => self.refusal(interned!(py, "peek").clone(), Side::Get),
        })
    }
}
