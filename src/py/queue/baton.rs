//! Work that runs Python code: heaps of items with their own `<`, items that are merged (see `keyed`), and subclasses with their own
//! `_init`, `_qsize`, `_put`, `_get`.
//!
//! The holder of the core's baton does this work outside the section (see `sluicegate_core::queue`, file `baton`). The holder first merges
//! the inbox, which contains items whose puts could not or need not wait for the baton, and merges it again before it gives the baton back.

use crate::rt::kept::interned;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use sluicegate_core::buffer::Coalescing;
use sluicegate_core::buffer::heap::Heap;
use sluicegate_core::queue::{BatonTaken, DropReason, Dropped, MutexOwner, Note, Overflow, Terms};
use sluicegate_core::wait::Wakes;

use crate::queue::inner::BoundQueue;
use crate::queue::items::{Item, Items, Order};
use crate::queue::mutex::{MutexGuard, wait_for_turn};
use crate::queue::no_memory::{no_memory, no_memory_for_losses};
use crate::queue::plain;
use crate::rt::waker::Waker;
use crate::rt::{guarded, interrupts};

/// Compares two items of the heap. A comparison that runs Python code may fork, and the child has only the thread that forked. So meanwhile
/// the heap is stored in the queue, together with the items that have been taken out of it.
pub(in crate::queue) fn less(object: &BoundQueue<'_, '_>, heap: &mut Heap<Item>, left: usize, right: usize) -> PyResult<bool> {
    let py = object.py();
    let (left, right) = (&heap.items[left], &heap.items[right]);
    if let Some(is_less) = plain::less(left.bind(py), right.bind(py)) {
        return Ok(is_less);
    }
    let (left, right, count) = (left.clone_ref(py), right.clone_ref(py), heap.items.len());
    let mut exchange = |is_compared| {
        object.inner.core.with_buffer(py, |buffer| {
            buffer.is_compared = is_compared;
            std::mem::swap(&mut buffer.heap, heap);
        });
    };
    exchange(true);
    let outcome = guarded::less(left.bind(py), right.bind(py));
    exchange(false);
    if heap.items.len() != count {
        return Err(PyRuntimeError::new_err("the queue was made anew, by __init__, while its items were compared"));
    }
    outcome
}

/// True for an interrupt (such as Ctrl-C) that a signal handler has raised during a comparison, which is not an error of the items.
pub(in crate::queue) fn is_interrupt(object: &BoundQueue<'_, '_>, error: &PyErr) -> bool {
    !error.is_instance_of::<PyException>(object.py())
}

/// Takes the baton of a queue whose order needs Python for `operation`, waiting without a time limit. Returns false if the mutex is locked
/// by another owner than `by`.
pub(in crate::queue) fn take_baton(object: &BoundQueue<'_, '_>, by: Option<MutexOwner>, operation: &str) -> PyResult<bool> {
    if object.inner.core.take_baton_uncontended(object.py()) {
        return Ok(true);
    }
    let taken = wait_for_turn(object, None, |waiter, waker| {
        let (wakes, taken) = object.inner.core.take_baton(object.py(), by, waiter, waker);
        wakes.fire();
        Some(taken).filter(|taken| *taken != BatonTaken::Busy)
    })?;
    match taken {
        Some(BatonTaken::Reentered) => Err(reentered(operation)),
        taken => Ok(taken == Some(BatonTaken::Yes)),
    }
}

/// The error of an operation that is called from a comparison or a hook of the same queue, on the thread that is inside it.
pub(in crate::queue) fn reentered(operation: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{operation} was called from inside the same queue: from a comparison of its items or an overridden hook, on the thread that is \
         running it; only put is possible there"
    ))
}

/// Holds the baton. Dropping the guard gives the baton back with nothing changed.
#[expect(clippy::struct_excessive_bools, reason = "each is about something else")]
pub(in crate::queue) struct BatonGuard<'a, 'b, 'py> {
    pub(in crate::queue) object: &'a BoundQueue<'b, 'py>,
    /// The heap, checked out between `check_out` and `finish`.
    pub(in crate::queue) heap: Heap<Item>,
    checked_out: bool,
    /// True if an item with a key that was not waiting has come in: putters of items with the same key may be waiting for room.
    pub(in crate::queue) is_news: bool,
    /// Items that have been merged away. Dropped after the baton has been given back, because dropping may run user code.
    pub(in crate::queue) displaced: Vec<Item>,
    /// Items that have expired. Reported after the baton has been given back.
    pub(in crate::queue) lost: Vec<Dropped<Item>>,
    /// True if `_put` or `_get` has run, so that `_qsize` has to be asked for the size.
    pub(in crate::queue) hooks_ran: bool,
    /// True if the inbox is left to the next holder, because there is no memory to merge it.
    is_short_of_memory: bool,
    /// The number of places reserved for the items that are being put.
    pub(in crate::queue) admitted: usize,
    /// The mutex, if it is locked. Released after the baton.
    mutex: Option<MutexGuard<'a, 'b, 'py>>,
}

impl<'a, 'b, 'py> BatonGuard<'a, 'b, 'py> {
    /// Takes the baton. Waits if another thread holds it or the mutex is locked.
    pub(in crate::queue) fn take(object: &'a BoundQueue<'b, 'py>, operation: &str) -> PyResult<Self> {
        if take_baton(object, None, operation)? {
            return Ok(Self::with_baton(object, None).merged());
        }
        let mutex = MutexGuard::take(object, operation)?;
        Self::take_by(mutex, operation)
    }

    /// The same for the owner of the mutex.
    pub(in crate::queue) fn take_by(mutex: MutexGuard<'a, 'b, 'py>, operation: &str) -> PyResult<Self> {
        take_baton(mutex.object(), Some(mutex.owner()), operation)?;
        Ok(Self::with_baton(mutex.object(), Some(mutex)).merged())
    }

    pub(in crate::queue) fn merged(mut self) -> Self {
        let guard = &mut self;
        if let Err(error) = guard.merge() {
            interrupts::callback_failed(guard.py(), error, Some(guard.object.this));
        }
        self
    }

    pub(in crate::queue) fn with_baton(object: &'a BoundQueue<'b, 'py>, mutex: Option<MutexGuard<'a, 'b, 'py>>) -> Self {
        Self {
            object,
            heap: Heap::default(),
            checked_out: false,
            is_news: false,
            displaced: Vec::new(),
            lost: Vec::new(),
            hooks_ran: false,
            is_short_of_memory: false,
            admitted: 0,
            mutex,
        }
    }

    /// Called when the core has refused the operation and has taken the baton back. The waiters for the baton are woken first, because code
    /// that runs here, such as an `on_drop`, may wait for them.
    pub(in crate::queue) fn refused(self, wakes: Wakes<Waker>) {
        wakes.fire();
        self.forget();
    }

    /// Called when the baton has been given back already.
    fn forget(mut self) {
        let (mutex, is_news, displaced) = (self.mutex.take(), self.is_news, std::mem::take(&mut self.displaced));
        let (inner, core, py) = (self.object.inner, &self.object.inner.core, self.py());
        let lost = std::mem::take(&mut self.lost);
        std::mem::forget(self); // nothing is checked out
        if is_news {
            core.prod_putters(py).fire();
        }
        drop((mutex, displaced));
        for lost in lost {
            inner.report(py, lost);
        }
    }

    pub(in crate::queue) fn py(&self) -> Python<'py> {
        self.object.py()
    }

    pub(in crate::queue) fn is_hooked(&self) -> bool {
        self.object.inner.overrides.hooks
    }

    /// Takes the heap out of the queue. Returns the number of its items; for a queue with keys, of the items in it.
    pub(in crate::queue) fn check_out(&mut self) -> usize {
        if self.is_keyed() {
            return self.with_keyed(|keyed| keyed.len()).unwrap_or(0);
        }
        if !self.checked_out && !self.is_hooked() {
            self.heap = self.object.inner.core.with_buffer(self.py(), |buffer| std::mem::take(&mut buffer.heap));
            self.checked_out = true;
        }
        self.heap.items.len()
    }

    /// Puts the heap back and keeps the baton. Needed before every refusal, because that gives the baton back in the core.
    pub(in crate::queue) fn check_in(&mut self) {
        let heap = std::mem::replace(&mut self.checked_out, false).then(|| std::mem::take(&mut self.heap));
        self.object.inner.core.with_buffer(self.py(), |buffer| {
            if let Some(heap) = heap {
                buffer.size = heap.items.len();
                buffer.heap = heap;
            }
            buffer.count_keyed();
        });
    }

    /// The size, if only the subclass knows it.
    pub(in crate::queue) fn measure(&self) -> PyResult<Option<usize>> {
        if !self.is_hooked() {
            return Ok(None);
        }
        let size = guarded::call_method(self.object.this, interned!(self.py(), "_qsize"), ())?;
        Ok(Some(size.extract()?))
    }

    /// The size after an operation that cannot be undone. If `_qsize` fails, the estimate stays until the next operation asks again; an
    /// exception that a signal handler has raised in it is raised later, because it would otherwise be lost.
    fn measure_after_commit(&self) -> Option<usize> {
        self.measure().unwrap_or_else(|error| {
            interrupts::raise_interrupt_later(self.py(), error);
            None
        })
    }

    pub(in crate::queue) fn is_short_of_memory(&self) -> bool {
        self.is_short_of_memory
    }

    /// Reserves memory for one more item. Raises MemoryError; then nothing has changed.
    fn reserve(&mut self) -> PyResult<()> {
        let reserved = if self.is_hooked() {
            Ok(())
        } else if self.is_keyed() {
            self.reserve_displaced()?; // reserved now, because an item that has left the inbox must be added
            self.with_keyed(|keyed| keyed.try_reserve(1)).unwrap_or(Ok(()))
        } else {
            self.check_out();
            self.heap.try_reserve(1)
        };
        reserved.map_err(|_| no_memory(self.py()))
    }

    /// Reserves memory for the items that one merge displaces, and for the new item.
    pub(in crate::queue) fn reserve_displaced(&mut self) -> PyResult<()> {
        self.displaced.try_reserve(4).map_err(|_| no_memory(self.py()))
    }

    /// Adds an item in its order. Raises MemoryError if there is no memory; then nothing has changed.
    pub(in crate::queue) fn push(&mut self, item: Item) -> PyResult<()> {
        let py = self.py();
        self.reserve()?;
        if self.is_hooked() {
            self.hooks_ran = true;
            return guarded::call_method(self.object.this, interned!(py, "_put"), (item,)).map(drop);
        }
        if self.is_keyed() {
            return self.push_keyed(&item);
        }
        self.push_noted(item, None)
    }

    /// Adds an item to the heap. After an interrupt the item is not in the heap; after an error of its comparison it is, as in the standard
    /// library.
    fn push_noted(&mut self, item: Item, note: Option<Note>) -> PyResult<()> {
        self.check_out();
        let object = self.object;
        let less = |heap: &mut Heap<Item>, left, right| less(object, heap, left, right);
        self.heap.push_unless(item, note, less, |error| is_interrupt(object, error)).map_err(|(error, item)| {
            if let (Some(_), Some(note)) = (item, note) {
                object.inner.core.count_out(object.py(), &note, false);
            }
            error
        })
    }

    /// Adds an item from the inbox to the heap. Its put has returned already, so the item stays in the heap whatever its comparison does.
    fn merge_into_heap(&mut self, item: Item, note: Option<Note>) -> PyResult<()> {
        self.check_out();
        let object = self.object;
        self.heap.push(item, note, |heap, left, right| less(object, heap, left, right))
    }

    /// Puts an item with these terms.
    pub(in crate::queue) fn push_on(&mut self, item: Item, terms: Terms) -> PyResult<()> {
        if self.is_hooked() || self.is_keyed() {
            return self.push(item);
        }
        self.reserve()?;
        let note = self.object.inner.core.note(self.py(), terms);
        if let Some(note) = &note {
            self.heap.try_reserve_notes().map_err(|_| no_memory(self.py()))?;
            self.object.inner.core.count_in(self.py(), note);
        }
        self.push_noted(item, note)
    }

    /// Drops every expired item if there is no room for an item of this weight.
    pub(in crate::queue) fn expire_if_full(&mut self, weight: u64) -> PyResult<()> {
        let (py, object) = (self.py(), self.object);
        let core = &object.inner.core;
        let Some(now) = core.now_if_lapsed(py, weight) else { return Ok(()) };
        self.check_out();
        let mut outcome = Ok(());
        let mut place = self.heap.items.len();
        while place > 0 && outcome.is_ok() {
            place -= 1;
            // The item that takes the place of a removed one may have expired too.
            while let Some((note, reason)) = self.heap.notes().get(place).and_then(|note| Some((*note, note.lapse(now)?))) {
                self.lost.try_reserve(1).map_err(|_| no_memory_for_losses(py))?;
                outcome = self.heap.take_at(place, |heap, left, right| less(object, heap, left, right));
                self.heap.taken_note();
                core.count_lost(py, &note, reason);
                self.lost.extend(self.heap.taken.pop().map(|item| Dropped { item, reason, was_stored: true }));
                if outcome.is_err() {
                    break;
                }
            }
        }
        self.check_in();
        core.looked_through(py).fire();
        outcome
    }

    /// Puts an item into a full queue according to the policy, and gives the baton back. The caller reports the dropped items, even after
    /// an error of a comparison or a hook.
    pub(in crate::queue) fn put_or_drop(
        mut self,
        item: Item,
        terms: Terms,
        policy: Overflow,
    ) -> (Option<Dropped<Item>>, PyResult<()>) {
        let (py, object) = (self.py(), self.object);
        let core = &object.inner.core;
        let displaces = match policy {
            Overflow::DropOldest => Some(DropReason::Oldest),
            Overflow::DropLowest => Some(DropReason::Lowest),
            Overflow::Sample(n) => core.sample(py, n).then_some(DropReason::Sampled),
            Overflow::DropNewest | Overflow::Block | Overflow::Reject => None,
        };
        let refused = if matches!(policy, Overflow::Sample(_)) { DropReason::Sampled } else { DropReason::Newest };
        if let Err(error) = self.reserve().and_then(|()| self.reserve_taken(1)) {
            return (None, finish(self, 0, 0, Err(error)));
        }
        let new = |item| Dropped { item, reason: displaces.unwrap_or(refused), was_stored: false };
        let (dropped, outcome) = match displaces {
            None => (Some(new(item)), Ok(())),
            Some(reason) if self.is_hooked() => match self.pop() {
                Ok(old) => (old.map(|item| Dropped { item, reason, was_stored: true }), self.push(item)),
                Err(error) => (None, Err(error)),
            },
            Some(reason) if self.is_keyed() => {
                let old = self.with_keyed(Coalescing::pop).flatten();
                (old.map(|item| Dropped { item, reason, was_stored: true }), self.push(item))
            }
            Some(reason) => {
                self.check_out();
                let note = core.note(py, terms);
                let (dropped, was_stored, outcome) =
                    self.heap.displace_greatest(item, note, |heap, left, right| less(object, heap, left, right));
                let (item, old) = dropped.map_or((None, None), |(item, note)| (Some(item), note));
                if was_stored {
                    if let Some(note) = &note {
                        core.count_in(py, note);
                    }
                    if let Some(note) = &old {
                        core.count_out(py, note, false);
                    }
                }
                // The error came before the exchange: nothing has been put, and nothing dropped.
                let item = item.filter(|_| was_stored || outcome.is_ok());
                let dropped = item.map(|item| Dropped { item, reason, was_stored });
                (dropped, outcome)
            }
        };
        let stored = outcome.is_ok() && dropped.as_ref().is_none_or(|dropped| dropped.was_stored);
        let outcome = finish(self, usize::from(stored), 0, outcome);
        if let Some(dropped) = &dropped {
            core.count_dropped(py, dropped.reason, dropped.was_stored).fire();
        }
        (dropped, outcome)
    }

    /// Merges the inbox. After an error the remaining items are merged all the same.
    fn merge(&mut self) -> PyResult<()> {
        let mut outcome = Ok(());
        loop {
            // One item after the other, so that the child of a fork finds the remaining items here.
            let checked_out = self.checked_out;
            let (is_empty, uncounted) = self.object.inner.core.with_buffer(self.py(), |buffer| {
                let uncounted = if checked_out { 0 } else { buffer.recover() };
                (buffer.inbox.is_empty(), uncounted)
            });
            if uncounted > 0 {
                self.object.inner.core.count_progress(self.py(), uncounted, 0).fire();
            }
            // These items have been accepted: without memory they wait.
            self.is_short_of_memory = !is_empty && self.reserve().is_err();
            let next = if is_empty || self.is_short_of_memory {
                None
            } else {
                self.object.inner.core.with_buffer(self.py(), |buffer| {
                    let next = buffer.inbox.pop_front();
                    // It counts as stored from the moment at which it leaves the inbox, so that the size never decreases.
                    buffer.size += usize::from(next.is_some());
                    next
                })
            };
            let Some((item, note)) = next else {
                self.check_in();
                return outcome;
            };
            // A note was counted when the item came into the inbox.
            let pushed = if self.object.inner.order == Order::Heap && !self.is_hooked() {
                self.merge_into_heap(item, note)
            } else {
                self.push(item)
            };
            outcome = pushed.and(outcome);
        }
    }

    /// Gives the baton back, with the changes.
    pub(in crate::queue) fn finish(mut self, puts: usize, gets: usize) -> PyResult<()> {
        let outcome = self.give_back(puts, gets);
        self.forget();
        outcome
    }

    /// Called after a hook has failed: the size is what the subclass says.
    fn remeasure(&self) {
        if let Some(now) = self.measure_after_commit() {
            self.object.inner.core.with_buffer(self.py(), |buffer| set_size(buffer, Some(now)));
        }
    }

    fn give_back(&mut self, mut puts: usize, mut gets: usize) -> PyResult<()> {
        let mut outcome = Ok(());
        loop {
            let py = self.py();
            let heap = std::mem::take(&mut self.heap);
            let checked_out = std::mem::replace(&mut self.checked_out, false);
            // A hook may have replaced or dropped items.
            let measured = if std::mem::take(&mut self.hooks_ran) { self.measure_after_commit() } else { None };
            let admitted = std::mem::take(&mut self.admitted);
            let (wakes, done) = self.object.inner.core.finish(py, admitted, puts, gets, |buffer| {
                buffer.count_keyed();
                if checked_out {
                    buffer.size = heap.items.len();
                    buffer.heap = heap;
                } else if buffer.order() == Order::Hooked {
                    buffer.size = measured.unwrap_or((buffer.size + puts).saturating_sub(gets));
                }
                buffer.inbox.is_empty() || self.is_short_of_memory
            });
            wakes.fire();
            if done {
                return outcome;
            }
            (puts, gets) = (0, 0); // these have been counted; only the inbox is left
            outcome = self.merge().and(outcome);
        }
    }
}

impl Drop for BatonGuard<'_, '_, '_> {
    fn drop(&mut self) {
        if let Err(error) = self.give_back(0, 0) {
            interrupts::callback_failed(self.py(), error, Some(self.object.this));
        }
        let lost = std::mem::take(&mut self.lost);
        for lost in lost {
            self.object.inner.report(self.py(), lost);
        }
    }
}

/// Merges the inbox.
pub(in crate::queue) fn merge(object: &BoundQueue<'_, '_>, name: &str) -> PyResult<()> {
    if object.inner.core.baton_is_mine(object.py()) {
        return Ok(()); // this thread holds the baton, and merges the inbox before it gives it back
    }
    if !take_baton(object, None, name)? {
        return Ok(()); // the mutex is locked: the first operation afterwards merges the inbox
    }
    let mut guard = BatonGuard::with_baton(object, None);
    let outcome = guard.merge();
    guard.finish(0, 0).and(outcome)
}

/// Drops every expired item if there is no room.
pub(in crate::queue) fn expire_if_full(object: &BoundQueue<'_, '_>, name: &str) -> PyResult<()> {
    let core = &object.inner.core;
    if core.now_if_lapsed(object.py(), 0).is_none() || core.baton_is_mine(object.py()) || !take_baton(object, None, name)? {
        return Ok(());
    }
    let mut guard = BatonGuard::with_baton(object, None).merged();
    let outcome = guard.expire_if_full(0);
    guard.finish(0, 0).and(outcome)
}

/// Gives the baton back after work that may have failed half way.
pub(in crate::queue) fn finish(guard: BatonGuard<'_, '_, '_>, puts: usize, gets: usize, outcome: PyResult<()>) -> PyResult<()> {
    if outcome.is_err() && guard.is_hooked() {
        let size = guard.object.inner.core.count_progress(guard.py(), puts, gets);
        size.fire();
        guard.remeasure();
        return guard.finish(0, 0).and(outcome);
    }
    guard.finish(puts, gets).and(outcome)
}

pub(in crate::queue) fn set_size(buffer: &mut Items, now: Option<usize>) {
    if let Some(now) = now {
        buffer.size = now;
    }
}
