//! Work that runs Python: heaps of items with their own `<`, and subclasses with their own `_init`, `_qsize`, `_put`, `_get`.
//!
//! It happens outside the section, by the holder of the core's baton (see `sluicegate_core::queue`, file `baton`). The holder first merges
//! the inbox, where puts land that cannot or need not wait for the baton, and does so again before it gives the baton back.

use std::sync::Arc;

use crate::rt::kept::interned;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use sluicegate_core::buffer::heap;
use sluicegate_core::queue::{Admission, Admitted, BatchError, Linger, PutError, Spot, Taken};
use sluicegate_core::wait::Parker;

use crate::queue::inner::{Object, QueuePlace};
use crate::queue::items::{Item, Items, Order};
use crate::rt::blocking;
use crate::rt::guarded;
use crate::rt::operation::Chance;
use crate::rt::process::this_is_the_main_thread;
use crate::rt::waker::Waker;

fn less(py: Python<'_>, left: &Item, right: &Item) -> PyResult<bool> {
    guarded::less(left.bind(py), right.bind(py))
}

/// Takes the baton of a queue whose order needs Python, for `operation`; waits for it without a limit.
fn take_baton(object: &Object<'_, '_>, operation: &str) -> PyResult<()> {
    let py = object.py();
    let core = &object.inner.core;
    let parker = Arc::new(Parker::default());
    let waker = Waker::Thread(Arc::clone(&parker));
    let mut spot = Spot::default();
    let (wakes, mut taken) = core.take_baton(py, &mut spot, &waker);
    wakes.fire();
    if taken == Taken::Busy {
        blocking::step_aside(py);
    }
    let main = this_is_the_main_thread();
    let mut outcome = Ok(());
    while taken == Taken::Busy && outcome.is_ok() {
        blocking::sleep(py, &parker, None, main);
        if main {
            outcome = blocking::run_handlers(py, QueuePlace::of(object.this, object.inner.of, &spot));
        }
        if outcome.is_ok() && parker.is_notified() {
            parker.reset();
            let wakes;
            (wakes, taken) = core.take_baton(py, &mut spot, &waker);
            wakes.fire();
        }
    }
    core.leave(py, &mut spot).fire();
    match taken {
        Taken::Reentered => Err(reentered(operation)),
        Taken::Yes | Taken::Busy => outcome,
    }
}

/// A get and the like from a comparison or a hook of the same queue, on the thread that is inside it.
fn reentered(operation: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{operation} was called from inside the same queue: from a comparison of its items or an overridden hook, on the thread that is \
         running it; only put is possible there"
    ))
}

/// The baton, held. Dropping it gives it back with nothing changed.
pub(in crate::queue) struct OwnerGuard<'a, 'b, 'py> {
    object: &'a Object<'b, 'py>,
    /// The heap, checked out between `check_out` and `finish`.
    heap: Vec<Item>,
    checked_out: bool,
    /// `_put` or `_get` has run: the size is what `_qsize` says.
    hooks_ran: bool,
    /// Places reserved for what is being put.
    admitted: usize,
}

impl<'a, 'b, 'py> OwnerGuard<'a, 'b, 'py> {
    /// Takes the baton, waiting for it if another thread has it.
    pub(in crate::queue) fn take(object: &'a Object<'b, 'py>, operation: &str) -> PyResult<Self> {
        take_baton(object, operation)?;
        let mut guard = Self::taken(object);
        if let Err(error) = guard.merge() {
            error.write_unraisable(object.py(), Some(object.this));
        }
        Ok(guard)
    }

    fn taken(object: &'a Object<'b, 'py>) -> Self {
        Self { object, heap: Vec::new(), checked_out: false, hooks_ran: false, admitted: 0 }
    }

    fn py(&self) -> Python<'py> {
        self.object.py()
    }

    fn is_hooked(&self) -> bool {
        self.object.inner.overrides.hooks
    }

    /// Takes the heap out. How many items it holds.
    fn check_out(&mut self) -> usize {
        if !self.checked_out && !self.is_hooked() {
            self.heap = self.object.inner.core.with_buffer(self.py(), |buffer| std::mem::take(&mut buffer.heap));
            self.checked_out = true;
        }
        self.heap.len()
    }

    /// The heap goes back; the baton stays. Every refusal needs it there, because that gives the baton back by itself.
    fn check_in(&mut self) {
        if std::mem::replace(&mut self.checked_out, false) {
            let items = std::mem::take(&mut self.heap);
            self.object.inner.core.with_buffer(self.py(), |buffer| {
                buffer.size = items.len();
                buffer.heap = items;
            });
        }
    }

    /// The size, if only the subclass knows it.
    pub(in crate::queue) fn measure(&self) -> PyResult<Option<usize>> {
        if !self.is_hooked() {
            return Ok(None);
        }
        let size = guarded::call_method(self.object.this, interned!(self.py(), "_qsize"), ())?;
        Ok(Some(size.extract()?))
    }

    fn push(&mut self, item: Item) -> PyResult<()> {
        let py = self.py();
        if self.is_hooked() {
            self.hooks_ran = true;
            return guarded::call_method(self.object.this, interned!(py, "_put"), (item,)).map(drop);
        }
        self.check_out();
        heap::push(&mut self.heap, item, |left, right| less(py, left, right))
    }

    /// The item, and the size now if the subclass was asked. An item that a failed comparison has displaced is dropped, as the standard
    /// library does.
    pub(in crate::queue) fn pop(&mut self) -> PyResult<Option<Item>> {
        let py = self.py();
        if self.is_hooked() {
            self.hooks_ran = true;
            return guarded::call_method(self.object.this, interned!(py, "_get"), ()).map(|item| Some(item.unbind()));
        }
        self.check_out();
        match heap::pop(&mut self.heap, |left, right| less(py, left, right)) {
            None => Ok(None),
            Some((item, outcome)) => outcome.map(|()| Some(item)),
        }
    }

    /// Puts what lies in the inbox in its order. On an error the rest is merged all the same.
    fn merge(&mut self) -> PyResult<()> {
        let mut outcome = Ok(());
        loop {
            let core = &self.object.inner.core;
            let inbox = core.with_buffer(self.py(), |buffer| {
                // Counted as stored from the moment it leaves the inbox, so that the size never dips.
                buffer.size += buffer.inbox.len();
                std::mem::take(&mut buffer.inbox)
            });
            if inbox.is_empty() {
                self.check_in();
                return outcome;
            }
            for item in inbox {
                outcome = self.push(item).and(outcome);
            }
        }
    }

    /// Gives the baton back with what has been done.
    pub(in crate::queue) fn finish(mut self, puts: usize, gets: usize) -> PyResult<()> {
        let outcome = self.give_back(puts, gets);
        std::mem::forget(self); // `heap` is empty: it has been brought back
        outcome
    }

    /// After a hook that failed: whatever it did, the size is what the subclass says.
    fn remeasure(&self) {
        // A `_qsize` that fails too leaves the estimate, until the next operation asks again.
        if let Ok(Some(now)) = self.measure() {
            self.object.inner.core.with_buffer(self.py(), |buffer| set_size(buffer, Some(now)));
        }
    }

    fn give_back(&mut self, mut puts: usize, mut gets: usize) -> PyResult<()> {
        let mut outcome = Ok(());
        loop {
            let py = self.py();
            let heap = std::mem::take(&mut self.heap);
            let checked_out = std::mem::replace(&mut self.checked_out, false);
            // A hook may have replaced or dropped items. If `_qsize` fails now, an estimate holds until the next operation asks it.
            let measured = if std::mem::take(&mut self.hooks_ran) { self.measure().ok().flatten() } else { None };
            let admitted = std::mem::take(&mut self.admitted);
            let (wakes, done) = self.object.inner.core.finish(py, admitted, puts, gets, |buffer| {
                if checked_out {
                    buffer.size = heap.len();
                    buffer.heap = heap;
                } else if buffer.order() == Order::Hooked {
                    buffer.size = measured.unwrap_or((buffer.size + puts).saturating_sub(gets));
                }
                buffer.inbox.is_empty()
            });
            wakes.fire();
            if done {
                return outcome;
            }
            (puts, gets) = (0, 0); // counted; only the inbox is left
            outcome = self.merge().and(outcome);
        }
    }
}

impl Drop for OwnerGuard<'_, '_, '_> {
    fn drop(&mut self) {
        if let Err(error) = self.give_back(0, 0) {
            error.write_unraisable(self.py(), Some(self.object.this));
        }
    }
}

/// Puts in order what has been left in the inbox.
pub(in crate::queue) fn merge(object: &Object<'_, '_>, name: &str) -> PyResult<()> {
    if object.inner.core.baton_is_mine(object.py()) {
        return Ok(()); // this thread is inside already, and merges on its way out
    }
    take_baton(object, name)?;
    let mut guard = OwnerGuard::taken(object);
    let outcome = guard.merge();
    guard.finish(0, 0).and(outcome)
}

/// One attempt of an operation at a queue whose order needs Python.
pub(in crate::queue) struct OwnedAccess<'a, 'b, 'py, 's> {
    pub(in crate::queue) object: &'a Object<'b, 'py>,
    pub(in crate::queue) name: &'static str,
    pub(in crate::queue) chance: Chance<'s>,
    /// Its place among putters or getters.
    pub(in crate::queue) spot: &'s mut Spot,
}

impl<'a, 'b, 'py> OwnedAccess<'a, 'b, 'py, '_> {
    /// `None`: it came from inside.
    fn enter(&mut self) -> PyResult<Option<OwnerGuard<'a, 'b, 'py>>> {
        if self.object.inner.core.baton_is_mine(self.object.py()) {
            return Ok(None);
        }
        // A coroutine waits here too, on its thread: the holder is busy with a few calls, as short as the standard library's mutex. Were it
        // to wait in line, a blocking call on the same thread could end up behind it, and neither would ever run.
        OwnerGuard::take(self.object, self.name).map(Some)
    }

    /// Puts items, as many as there is room for. True when none is left.
    pub(in crate::queue) fn put(&mut self, items: &mut std::vec::IntoIter<Item>, accepted: &mut usize) -> PyResult<bool> {
        let (py, object) = (self.object.py(), self.object);
        if items.len() == 0 && !object.inner.core.is_shut(py) {
            return Ok(true); // needs no room
        }
        let Some(mut guard) = self.enter()? else { return self.put_from_inside(items, accepted) };
        let size = guard.measure()?;
        let waiting = if let Chance::Wait(waker) = self.chance { Some((&mut *self.spot, waker)) } else { None };
        let (wakes, admitted) = object.inner.core.admit_put(py, items.len(), waiting, |buffer| set_size(buffer, size));
        if let Admitted::Room(room) = admitted {
            guard.admitted = room;
            wakes.fire();
            let mut puts = 0;
            let mut outcome = Ok(());
            for item in items.by_ref().take(room) {
                if guard.is_hooked() && puts > 0 {
                    // The next `_put` may call the one before it done.
                    object.inner.core.finish_counts(py, std::mem::take(&mut puts), 0).fire();
                }
                outcome = guard.push(item);
                if outcome.is_err() {
                    break;
                }
                puts += 1;
                *accepted += 1;
            }
            finish(guard, puts, 0, outcome)?;
            return if items.len() == 0 { Ok(true) } else { self.put(items, accepted) };
        }
        std::mem::forget(guard); // given back by the refusal; nothing was checked out
        wakes.fire();
        match admitted {
            Admitted::ShutDown => Err(object.inner.shut_down_error(py, self.name)),
            _ => Ok(false),
        }
    }

    /// From a comparison or a hook of this very queue: into the inbox. It can wait for nobody but itself, so "full" is final.
    fn put_from_inside(&mut self, items: &mut std::vec::IntoIter<Item>, accepted: &mut usize) -> PyResult<bool> {
        let (py, object) = (self.object.py(), self.object);
        while let Some(item) = items.next() {
            let (wakes, result) = object.inner.core.try_put(py, item, Admission::Immediate);
            wakes.fire();
            match result {
                Ok(()) => *accepted += 1,
                Err(PutError::ShutDown(_)) => return Err(object.inner.shut_down_error(py, self.name)),
                Err(PutError::Full(item)) => {
                    let mut rest = vec![item];
                    rest.extend(items.by_ref());
                    *items = rest.into_iter();
                    return match self.chance {
                        Chance::Wait(_) => Err(reentered("a put that has to wait")),
                        Chance::Now | Chance::Arrival => Ok(false),
                    };
                }
            }
        }
        Ok(true)
    }

    /// Gets 1 to `max` items. The inner error says why there is nothing yet.
    pub(in crate::queue) fn get(&mut self, max: usize, linger: Linger) -> PyResult<Result<Vec<Item>, BatchError>> {
        let (py, object) = (self.object.py(), self.object);
        let Some(mut guard) = self.enter()? else { return Err(reentered(self.name)) };
        let size = guard.measure()?;
        let waiting = if let Chance::Wait(waker) = self.chance { Some((&mut *self.spot, waker)) } else { None };
        let (wakes, admitted) = object.inner.core.admit_get(py, max, linger, waiting, |buffer| set_size(buffer, size));
        let count = match admitted {
            Ok(count) => count,
            Err(reason) => {
                std::mem::forget(guard); // given back by the refusal; nothing was checked out
                wakes.fire();
                return match reason {
                    BatchError::ShutDown => Err(object.inner.shut_down_error(py, self.name)),
                    _ => Ok(Err(reason)),
                };
            }
        };
        wakes.fire();
        // What is in the inbox counts for the queue, and is not in order yet.
        let in_order = size.unwrap_or_else(|| guard.check_out());
        let count = count.min(in_order);
        let mut batch = Vec::with_capacity(count);
        let mut outcome = Ok(());
        while batch.len() < count {
            match guard.pop() {
                Ok(Some(item)) => batch.push(item),
                Ok(None) => break,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let nothing = batch.is_empty() && outcome.is_ok();
        outcome = finish(guard, 0, batch.len(), outcome);
        if nothing && outcome.is_ok() {
            // What was counted came into the inbox after this holder had merged it; `finish` has merged it now.
            return self.get(max, linger);
        }
        // What has come out before an error is not lost: it is returned, and the error comes with the next get.
        if batch.is_empty() { outcome.map(|()| Err(BatchError::Empty)) } else { Ok(Ok(batch)) }
    }
}

/// Gives the baton back after work that may have failed half way.
fn finish(guard: OwnerGuard<'_, '_, '_>, puts: usize, gets: usize, outcome: PyResult<()>) -> PyResult<()> {
    if outcome.is_err() && guard.is_hooked() {
        let size = guard.object.inner.core.finish_counts(guard.py(), puts, gets);
        size.fire();
        guard.remeasure();
        return guard.finish(0, 0).and(outcome);
    }
    guard.finish(puts, gets).and(outcome)
}

fn set_size(buffer: &mut Items, now: Option<usize>) {
    if let Some(now) = now {
        buffer.size = now;
    }
}
