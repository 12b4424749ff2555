//! One attempt of an operation on a queue whose order needs Python: by the holder of the baton (see `baton`), or from inside the holder's
//! own call.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use sluicegate_core::queue::{Admitted, Attempt, BatchBounds, BatchError, Dropped, Linger, PutError, Side, Terms, Waiter};

use crate::queue::baton::{BatonGuard, finish, reentered, set_size, take_baton};
use crate::queue::inner::BoundQueue;
use crate::queue::items::{Item, Order};
use crate::queue::mutex::{MutexGuard, would_wait};
use crate::queue::no_memory::no_memory;
use crate::rt::interrupts;
use crate::rt::operation::Mode;
use crate::rt::waker::Waker;

/// How an operation has entered the queue.
enum Entered<'a, 'b, 'py> {
    Guard(BatonGuard<'a, 'b, 'py>, MayWait),
    /// From inside a comparison or a hook of the queue.
    FromInside,
    /// Not at all: another owner has locked the mutex.
    Locked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayWait {
    Yes,
    /// The caller owns the mutex.
    No,
}

/// One attempt of an operation on a queue whose order needs Python.
pub(in crate::queue) struct BatonAccess<'a, 'b, 'py, 's> {
    pub(in crate::queue) object: &'a BoundQueue<'b, 'py>,
    pub(in crate::queue) name: &'static str,
    pub(in crate::queue) mode: Mode<'s>,
    /// Its place among putters or getters.
    pub(in crate::queue) waiter: &'s mut Waiter,
}

impl<'a, 'b, 'py> BatonAccess<'a, 'b, 'py, '_> {
    fn enter(&mut self, side: Side) -> PyResult<Entered<'a, 'b, 'py>> {
        let (py, object) = (self.object.py(), self.object);
        if object.inner.core.take_baton_uncontended(py) {
            return Ok(Entered::Guard(BatonGuard::with_baton(object, None).merged(), MayWait::Yes));
        }
        if object.inner.core.baton_is_mine(py) {
            return Ok(Entered::FromInside);
        }
        // A coroutine blocks its thread here, too: the holder needs only a few calls, as short as a section under the standard library's
        // mutex. If the coroutine waited in a queue, a blocking call on the same thread could wait behind it, and neither would ever run.
        while !take_baton(object, None, self.name)? {
            // The mutex may be locked for long: an operation that can wait does so in its ordinary wait queue.
            if let Some(mutex) = MutexGuard::take_again(object)? {
                object.inner.core.leave(py, self.waiter).fire();
                return Ok(Entered::Guard(BatonGuard::take_by(mutex, self.name)?, MayWait::No));
            }
            match self.mode {
                Mode::Try => return Ok(Entered::Guard(BatonGuard::take(object, self.name)?, MayWait::Yes)),
                Mode::TryFair => return Ok(Entered::Locked),
                Mode::Park(waker) => {
                    let (wakes, waits) = object.inner.core.enqueue_while_locked(py, side, self.waiter, waker);
                    wakes.fire();
                    if waits {
                        return Ok(Entered::Locked);
                    }
                }
            }
        }
        Ok(Entered::Guard(BatonGuard::with_baton(object, None).merged(), MayWait::Yes))
    }

    /// The waiter and waker for `admit_put` and `admit_get`, if the operation may wait.
    fn waiting(&mut self, may: MayWait) -> Option<(&mut Waiter, &Waker)> {
        match self.mode {
            Mode::Park(waker) if may == MayWait::Yes => Some((&mut *self.waiter, waker)),
            _ => None,
        }
    }

    /// Called when the operation cannot be served now. The owner of the mutex must not wait, because it would wait for itself.
    fn refused(&self, may: MayWait) -> PyResult<()> {
        if may == MayWait::No && matches!(self.mode, Mode::Park(_)) { Err(would_wait(self.name)) } else { Ok(()) }
    }

    /// Puts as many items as there is room for. Returns true if none is left. `terms` is called for each item, with the number of items
    /// left including it.
    pub(in crate::queue) fn put(
        &mut self,
        items: &mut std::vec::IntoIter<Item>,
        accepted: &mut usize,
        terms: &mut dyn FnMut(&Item, usize) -> Terms,
    ) -> PyResult<bool> {
        loop {
            if let Some(done) = self.put_some(items, accepted, terms)? {
                return Ok(done);
            }
            interrupts::raise_kept(self.object.py())?;
        }
    }

    /// The same; `None` if it has to be repeated.
    fn put_some(
        &mut self,
        items: &mut std::vec::IntoIter<Item>,
        accepted: &mut usize,
        terms: &mut dyn FnMut(&Item, usize) -> Terms,
    ) -> PyResult<Option<bool>> {
        let (py, object) = (self.object.py(), self.object);
        if let Some(keys) = &object.inner.keys {
            keys.give_to(py, items)?;
        }
        if items.len() == 0 && !object.inner.core.is_shut(py) {
            return Ok(Some(true)); // this needs no room
        }
        let (mut guard, may) = match self.enter(Side::Put)? {
            Entered::FromInside => return self.put_from_inside(items, accepted, terms).map(Some),
            Entered::Locked => return Ok(Some(false)),
            Entered::Guard(guard, may) => (guard, may),
        };
        if guard.is_keyed() && !object.inner.core.is_shut(py) {
            let outcome = guard.coalesce_first(items, accepted); // this needs no room
            if outcome.is_err() || items.len() == 0 {
                return guard.finish(0, 0).and(outcome).map(|()| Some(true));
            }
        }
        let first = items.as_slice().first().map_or(Terms::NONE, |first| terms(first, items.len()));
        guard.expire_if_full(first.weight)?;
        if matches!(self.mode, Mode::TryFair) && object.inner.weighs() && object.inner.core.is_barred_by_weight(py) {
            return guard.finish(0, 0).map(|()| Some(false));
        }
        let size = guard.measure()?;
        let waiting = self.waiting(may);
        let asked = (items.len(), 0, first.weight);
        let (wakes, admitted) = object.inner.core.admit_put(py, asked, waiting, |buffer| set_size(buffer, size));
        if let Admitted::Room(room) = admitted {
            guard.admitted = room;
            wakes.fire();
            let mut puts = 0;
            let mut outcome = Ok(());
            for _ in 0..room {
                let on = items.as_slice().first().map_or(Terms::NONE, |next| terms(next, items.len()));
                let Some(item) = items.next() else { break };
                if guard.is_hooked() && puts > 0 {
                    // The next `_put` may call `task_done` for this item.
                    object.inner.core.count_progress(py, std::mem::take(&mut puts), 0).fire();
                }
                let merged = if guard.is_keyed() { guard.coalesce(&item) } else { Ok(false) };
                outcome = match merged {
                    Ok(false) => guard.push_on(item, on).map(|()| puts += 1),
                    merged => {
                        guard.displaced.push(item);
                        merged.map(|_| object.inner.core.count_merged(py, 1, false).fire())
                    }
                };
                if outcome.is_err() {
                    break;
                }
                *accepted += 1;
            }
            finish(guard, puts, 0, outcome)?;
            return Ok((items.len() == 0).then_some(true));
        }
        if let Admitted::Overflows(policy) = admitted {
            wakes.fire();
            if let Some(item) = items.next() {
                let (dropped, outcome) = guard.put_or_drop(item, first, policy);
                *accepted += usize::from(outcome.is_ok());
                self.report_all(dropped.into_iter().collect());
                outcome?;
            }
            return Ok((items.len() == 0).then_some(true));
        }
        guard.refused(wakes);
        match admitted {
            Admitted::ShutDown => Err(object.inner.shut_down_error(py, self.name)),
            Admitted::Rejected => Err(object.inner.rejected(py)),
            _ => self.refused(may).map(|()| Some(false)),
        }
    }

    /// Puts one item without waiting, or does what the policy says. The caller reports the dropped items. `promised` is 1 if a place has
    /// been reserved for the item; every answer but `Locked` gives it up.
    pub(in crate::queue) fn offer(
        &mut self,
        item: Item,
        terms: Terms,
        promised: usize,
    ) -> PyResult<Result<Vec<Dropped<Item>>, PutError<Item>>> {
        let (py, object) = (self.object.py(), self.object);
        let keyed = match &object.inner.keys {
            Some(keys) => keys.with_key(item.into_bound(py)),
            None => Ok(item),
        };
        let (item, mut guard) = match keyed.and_then(|item| Ok((item, self.enter(Side::Put)?))) {
            Ok((item, Entered::Guard(guard, _))) => (item, guard),
            Ok((item, Entered::FromInside | Entered::Locked)) if promised > 0 => return Ok(Err(PutError::Locked(item))),
            Ok((item, Entered::FromInside | Entered::Locked)) => return Ok(self.put_into_inbox(item, terms)),
            Err(error) => {
                if promised > 0 {
                    object.inner.core.unreserve(py).fire();
                }
                return Err(error);
            }
        };
        guard.admitted = promised; // so that the place is given up with the baton, whatever fails
        if guard.is_keyed() && !object.inner.core.is_shut(py) && guard.coalesce(&item)? {
            object.inner.core.count_merged(py, 1, false).fire();
            guard.displaced.push(item);
            return guard.finish(0, 0).map(|()| Ok(Vec::new()));
        }
        if promised == 0 {
            guard.expire_if_full(terms.weight)?;
        }
        let size = guard.measure()?;
        guard.admitted = 0; // `admit_put` accounts for it
        let (wakes, admitted) =
            object.inner.core.admit_put(py, (1, promised, terms.weight), None, |buffer| set_size(buffer, size));
        match admitted {
            Admitted::Room(room) => {
                guard.admitted = room;
                wakes.fire();
                let outcome = guard.push_on(item, terms);
                let lost = std::mem::take(&mut guard.lost);
                let outcome = finish(guard, usize::from(outcome.is_ok()), 0, outcome);
                self.told_or_reported(lost, outcome)
            }
            Admitted::Overflows(policy) => {
                wakes.fire();
                let mut lost = std::mem::take(&mut guard.lost);
                let (dropped, outcome) = guard.put_or_drop(item, terms, policy);
                lost.extend(dropped);
                self.told_or_reported(lost, outcome)
            }
            Admitted::ShutDown | Admitted::Refused | Admitted::Rejected => {
                guard.refused(wakes);
                Ok(Err(if admitted == Admitted::ShutDown { PutError::ShutDown(item) } else { PutError::Rejected(item) }))
            }
        }
    }

    /// Returns the result with the dropped items for the caller to report; on an error they are reported here.
    fn told_or_reported(
        &self,
        lost: Vec<Dropped<Item>>,
        outcome: PyResult<()>,
    ) -> PyResult<Result<Vec<Dropped<Item>>, PutError<Item>>> {
        if outcome.is_err() {
            self.report_all(lost);
            return outcome.map(|()| Ok(Vec::new()));
        }
        Ok(Ok(lost))
    }

    fn report_all(&self, lost: Vec<Dropped<Item>>) {
        for lost in lost {
            self.object.inner.report(self.object.py(), lost);
        }
    }

    /// Called from inside the holder's own call.
    fn put_into_inbox(&self, item: Item, terms: Terms) -> Result<Vec<Dropped<Item>>, PutError<Item>> {
        let (py, core) = (self.object.py(), &self.object.inner.core);
        if terms == Terms::NONE {
            let (wakes, result) = core.put_or_drop(py, item);
            wakes.fire();
            match result {
                Err(PutError::Composed(item)) => return self.put_into_inbox_composed(item, terms),
                result => return result.map(|dropped| dropped.into_iter().collect()),
            }
        }
        self.put_into_inbox_composed(item, terms)
    }

    fn put_into_inbox_composed(&self, item: Item, terms: Terms) -> Result<Vec<Dropped<Item>>, PutError<Item>> {
        let (wakes, lost, result) = self.object.inner.core.put_composed(self.object.py(), item, terms, Attempt::Now);
        wakes.fire();
        let lost = lost.into_vec();
        match result {
            Ok(()) => Ok(lost),
            Err(error) => {
                self.report_all(lost);
                Err(error)
            }
        }
    }

    /// Puts an item into the inbox, from a comparison or a hook of this very queue. It could wait only for itself, so a full queue refuses
    /// it.
    fn put_from_inside(
        &mut self,
        items: &mut std::vec::IntoIter<Item>,
        accepted: &mut usize,
        terms: &mut dyn FnMut(&Item, usize) -> Terms,
    ) -> PyResult<bool> {
        let (py, object) = (self.object.py(), self.object);
        loop {
            let on = items.as_slice().first().map_or(Terms::NONE, |next| terms(next, items.len()));
            let Some(item) = items.as_slice().first().map(|item| item.clone_ref(py)) else { return Ok(true) };
            match self.put_into_inbox(item, on) {
                Ok(dropped) => {
                    drop(items.next());
                    *accepted += 1;
                    for dropped in dropped {
                        object.inner.report(py, dropped);
                    }
                }
                Err(PutError::ShutDown(_)) => return Err(object.inner.shut_down_error(py, self.name)),
                Err(PutError::Rejected(_)) => return Err(object.inner.rejected(py)),
                Err(PutError::NoMemory(_)) => return Err(no_memory(py)),
                Err(PutError::Full(_) | PutError::Locked(_) | PutError::Overflows(_) | PutError::Composed(_)) => {
                    return match self.mode {
                        Mode::Park(_) => Err(reentered("a put that has to wait")),
                        Mode::Try | Mode::TryFair => Ok(false),
                    };
                }
            }
        }
    }

    /// Gets the next item, as the standard library's `get` does.
    pub(in crate::queue) fn get(&mut self) -> PyResult<Result<Vec<Item>, BatchError>> {
        self.get_some(1.into(), Linger::Over, false)
    }

    /// Gets a batch. The inner error says why there is none yet.
    pub(in crate::queue) fn get_many(&mut self, bounds: BatchBounds, linger: Linger) -> PyResult<Result<Vec<Item>, BatchError>> {
        self.get_some(bounds, linger, true)
    }

    fn get_some(&mut self, bounds: BatchBounds, linger: Linger, is_batch: bool) -> PyResult<Result<Vec<Item>, BatchError>> {
        let (py, object) = (self.object.py(), self.object);
        let (mut guard, may) = match self.enter(Side::Get)? {
            Entered::FromInside => return Err(reentered(self.name)),
            Entered::Locked => return Ok(Err(BatchError::Empty)),
            Entered::Guard(guard, may) => (guard, may),
        };
        let size = guard.measure()?;
        let waiting = self.waiting(may);
        let (wakes, admitted) = object.inner.core.admit_get(py, bounds, linger, waiting, |buffer| set_size(buffer, size));
        let count = match admitted {
            Ok(count) => count,
            Err(reason) => {
                guard.refused(wakes);
                return match reason {
                    BatchError::ShutDown => Err(object.inner.shut_down_error(py, self.name)),
                    _ => self.refused(may).map(|()| Err(reason)),
                };
            }
        };
        wakes.fire();
        // Items in the inbox count for the queue, but have no place in its order yet.
        let in_order = size.unwrap_or_else(|| guard.check_out());
        let count = count.min(in_order);
        let mut outcome = guard.reserve_taken(count);
        if guard.is_short_of_memory() && (count == 0 || object.inner.order == Order::Heap) {
            outcome = Err(no_memory(py)); // the next item may be in the inbox
        }
        if outcome.is_ok() && count > 0 {
            outcome = if is_batch {
                guard.take_many_live(BatchBounds { max: count, ..bounds })
            } else {
                guard.take_next_live().map(drop)
            };
        }
        let batch = guard.taken();
        let nothing = batch.is_empty() && outcome.is_ok();
        outcome = finish(guard, 0, batch.len(), outcome);
        if nothing && outcome.is_ok() {
            // The items that were counted came into the inbox after this holder had merged it; `finish` has merged it now.
            return self.get_some(bounds, linger, is_batch);
        }
        if batch.is_empty() {
            return outcome.map(|()| Err(BatchError::Empty));
        }
        // Items that were taken before an error are not lost: they are returned, and the next get raises the error again. An interrupt (in
        // a hook, whose items cannot be put back) would not come again.
        if let Err(interrupt) = outcome {
            if !interrupt.is_instance_of::<PyException>(py) {
                interrupts::raise_later(py, interrupt);
            }
        }
        Ok(Ok(batch))
    }
}
