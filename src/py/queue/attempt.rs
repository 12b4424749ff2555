//! One attempt of an operation at a queue: at its section, at the baton where the order needs Python, or as the owner of the mutex.

use std::ffi::CStr;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyIterator;
use sluicegate_core::clock::Nanos;
use sluicegate_core::queue::{
    Admission, Attempt, BatchBounds, BatchError, Dropped, GetError, Linger, Lost, NotLater, Overflow, PutError, PutOutcome,
    State, Terms, Waiter,
};
use sluicegate_core::wait::Wakes;

use crate::queue::baton;
use crate::queue::baton_access::BatonAccess;
use crate::queue::inner::{BoundQueue, Core, Extras};
use crate::queue::items::Items;
use crate::queue::mutex::{MutexGuard, would_wait};
use crate::queue::no_memory::no_memory;
use crate::rt::Item;
use crate::rt::memory::{self, ListRoom};
use crate::rt::operation::{Done, Mode};
use crate::rt::source::{is_exhausted, pause};
use crate::rt::waker::Waker;
use crate::rt::{guarded, interrupts};

/// Without memory for the list of a batch nothing is taken.
const NO_LIST: &CStr = c"there is no memory for the list of items";

fn admission(mode: Mode<'_>) -> Admission {
    if matches!(mode, Mode::Try) { Admission::Immediate } else { Admission::Queued }
}

/// The mutex of a queue that is locked, for one attempt.
pub(in crate::queue) struct LockedQueue<'a, 'b, 'py> {
    mutex: MutexGuard<'a, 'b, 'py>,
    may_wait: bool,
    pub(in crate::queue) name: &'static str,
}

impl LockedQueue<'_, '_, '_> {
    pub(in crate::queue) fn step<R>(
        &self,
        step: impl FnOnce(&mut State<Items, Waker, Extras>, &mut Wakes<Waker>) -> R,
    ) -> PyResult<R> {
        let object = self.mutex.object();
        let (wakes, done) = object.inner.core.step(object.py(), Some(self.mutex.owner()), step);
        wakes.fire();
        done.map_err(|locked| PyRuntimeError::new_err(locked.to_string()))
    }

    /// Not now. A caller that holds the mutex beyond this attempt may not wait either.
    pub(in crate::queue) fn refused(&self) -> PyResult<Option<Done>> {
        if self.may_wait { Ok(None) } else { Err(would_wait(self.name)) }
    }
}

/// One attempt at one queue.
pub(in crate::queue) struct QueueAttempt<'a, 'b, 'py, 's> {
    pub(in crate::queue) object: &'a BoundQueue<'b, 'py>,
    pub(in crate::queue) name: &'static str,
    pub(in crate::queue) mode: Mode<'s>,
    pub(in crate::queue) waiter: &'s mut Waiter,
    /// A batch that lets its event loop run, and does not wait for room.
    pub(in crate::queue) is_paused: bool,
}

impl<'a, 'b, 'py> QueueAttempt<'a, 'b, 'py, '_> {
    pub(in crate::queue) fn core(&self) -> &'a Core {
        &self.object.inner.core
    }

    fn is_slow(&self) -> bool {
        self.object.inner.slow
    }

    fn baton_access(&mut self) -> BatonAccess<'a, 'b, 'py, '_> {
        BatonAccess { object: self.object, name: self.name, mode: self.mode, waiter: self.waiter }
    }

    /// The mutex, if the caller has it, or has to have it because it cannot wait in a wait queue.
    pub(in crate::queue) fn locked_queue(&mut self) -> PyResult<Option<LockedQueue<'a, 'b, 'py>>> {
        let own = MutexGuard::take_again(self.object)?;
        let may_wait = own.is_none() || !matches!(self.mode, Mode::Park(_));
        let guard = match own {
            Some(guard) => {
                self.core().leave(self.object.py(), self.waiter).fire();
                guard
            }
            None if matches!(self.mode, Mode::Try) => MutexGuard::take(self.object, self.name)?,
            None => return Ok(None),
        };
        Ok(Some(LockedQueue { mutex: guard, may_wait, name: self.name }))
    }

    pub(in crate::queue) fn shut_down<T>(&self) -> PyResult<T> {
        Err(self.object.inner.shut_down_error(self.object.py(), self.name))
    }

    pub(in crate::queue) fn put(&mut self, slot: &mut Option<Item>, terms: Terms) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let item = slot.take().expect("an operation that is done is not attempted again");
        if self.is_slow() {
            let mut items = vec![item].into_iter();
            let outcome = self.baton_access().put(&mut items, &mut 0, &mut |_, _| terms);
            *slot = items.next();
            return Ok(outcome?.then_some(Done::Nothing));
        }
        if terms != Terms::NONE {
            *slot = Some(item);
            return self.put_composed(slot, terms);
        }
        let (wakes, result) = match self.mode {
            Mode::Park(waker) => core.put_or_wait(py, item, self.waiter, waker),
            _ => core.try_put(py, item, admission(self.mode)),
        };
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Nothing)),
            Err(PutError::Full(item)) => {
                *slot = Some(item);
                Ok(None)
            }
            Err(PutError::ShutDown(_item)) => self.shut_down(),
            Err(PutError::Locked(item)) => {
                *slot = Some(item);
                self.put_locked(slot)
            }
            Err(PutError::Rejected(_item)) => self.rejected(),
            Err(PutError::NoMemory(_item)) => self.no_memory(),
            Err(PutError::Overflows(item)) => match self.put_or_drop(item)? {
                Ok(()) => Ok(Some(Done::Nothing)),
                Err(item) => {
                    *slot = Some(item);
                    self.put(slot, terms)
                }
            },
            Err(PutError::Composed(item)) => {
                *slot = Some(item);
                self.put_composed(slot, terms)
            }
        }
    }

    /// Puts an item into a queue that is full and drops items. It comes back if the queue has been locked, or its policy changed, meanwhile.
    fn put_or_drop(&mut self, item: Item) -> PyResult<Result<(), Item>> {
        let py = self.object.py();
        let (wakes, result) = self.core().put_or_drop(py, item);
        wakes.fire();
        self.done_or_dropped(result)
    }

    fn done_or_dropped(&mut self, result: PutOutcome<Item>) -> PyResult<Result<(), Item>> {
        match result {
            Ok(dropped) => {
                self.report(dropped);
                Ok(Ok(()))
            }
            Err(PutError::ShutDown(_item)) => self.shut_down(),
            Err(PutError::Rejected(_item)) => self.rejected(),
            Err(PutError::NoMemory(_item)) => self.no_memory(),
            Err(PutError::Full(item) | PutError::Locked(item) | PutError::Overflows(item) | PutError::Composed(item)) => {
                Ok(Err(item))
            }
        }
    }

    pub(in crate::queue) fn report(&self, dropped: Option<Dropped<Item>>) {
        if let Some(dropped) = dropped {
            self.object.inner.report(self.object.py(), dropped);
        }
    }

    pub(in crate::queue) fn no_memory<T>(&self) -> PyResult<T> {
        Err(no_memory(self.object.py()))
    }

    pub(in crate::queue) fn rejected<T>(&self) -> PyResult<T> {
        Err(self.object.inner.rejected(self.object.py()))
    }

    /// See `offer` of the class.
    pub(in crate::queue) fn offer(&mut self, item: Item, terms: Terms) -> PyResult<Result<Vec<Dropped<Item>>, PutError<Item>>> {
        if self.is_slow() {
            return self.baton_access().offer(item, terms, 0);
        }
        if terms != Terms::NONE {
            return self.offer_composed(item, terms);
        }
        let (wakes, mut result) = self.core().put_or_drop(self.object.py(), item);
        wakes.fire();
        if let Err(PutError::Composed(item)) = result {
            return self.offer_composed(item, terms);
        }
        if let Err(PutError::Locked(item)) = result {
            result = match self.locked_queue()? {
                Some(guard) => guard.step(|state, wakes| state.put_or_drop(item, wakes))?,
                None => Err(PutError::Full(item)),
            };
        }
        Ok(result.map(|dropped| dropped.into_iter().collect()))
    }

    fn put_locked(&mut self, slot: &mut Option<Item>) -> PyResult<Option<Done>> {
        let Some(guard) = self.locked_queue()? else { return Ok(None) };
        let Some(item) = slot.take() else { return Ok(None) };
        let result = guard.step(|state, wakes| state.put_or_drop(item, wakes))?;
        match self.done_or_dropped(result)? {
            Ok(()) => Ok(Some(Done::Nothing)),
            Err(item) => {
                *slot = Some(item);
                guard.refused()
            }
        }
    }

    pub(in crate::queue) fn get(&mut self) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        if self.is_slow() {
            let batch = self.baton_access().get()?;
            return Ok(batch.ok().and_then(|mut items| items.pop()).map(Done::Item));
        }
        let (wakes, result) = match self.mode {
            Mode::Park(waker) => core.get_or_wait(py, self.waiter, waker),
            _ => core.try_get(py, admission(self.mode)),
        };
        wakes.fire();
        match result {
            Ok(item) => Ok(Some(Done::Item(self.object.inner.bare(py, item)))),
            Err(GetError::Empty | GetError::NoMemory) => Ok(None), // one item needs no memory
            Err(GetError::ShutDown) => self.shut_down(),
            Err(GetError::Locked) => self.get_locked(),
            Err(GetError::Composed) => self.get_composed(),
        }
    }

    fn get_locked(&mut self) -> PyResult<Option<Done>> {
        let Some(guard) = self.locked_queue()? else { return Ok(None) };
        match guard.step(|state, wakes| state.get(Admission::Immediate, wakes))? {
            Ok(item) => Ok(Some(Done::Item(self.object.inner.bare(self.object.py(), item)))),
            Err(GetError::ShutDown) => self.shut_down(),
            Err(GetError::Empty | GetError::Locked | GetError::Composed | GetError::NoMemory) => guard.refused(),
        }
    }

    /// What the user had put.
    fn bare_items(&self, mut items: Vec<Item>) -> Vec<Item> {
        let (py, inner) = (self.object.py(), self.object.inner);
        if inner.fair.is_some() {
            for item in &mut items {
                let fair = std::mem::replace(item, py.None());
                *item = inner.bare(py, fair);
            }
        }
        items
    }

    pub(in crate::queue) fn put_items(
        &mut self,
        items: &mut std::vec::IntoIter<Item>,
        weights: &[u64],
        accepted: &mut usize,
    ) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        if self.is_slow() {
            let done = self.baton_access().put(items, accepted, &mut Self::terms_of(weights))?;
            return Ok(done.then_some(Done::Count(*accepted)));
        }
        let before = items.len();
        let (wakes, result) = match self.mode {
            Mode::Park(waker) => core.put_batch_or_wait(py, items, self.waiter, waker),
            _ => core.try_put_batch(py, items, admission(self.mode)),
        };
        *accepted += before - items.len();
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Count(*accepted))),
            Err(PutError::Full(())) => Ok(None),
            Err(PutError::ShutDown(())) => self.shut_down(),
            Err(PutError::Rejected(())) => self.rejected(),
            Err(PutError::NoMemory(())) => self.no_memory(),
            Err(PutError::Overflows(())) => self.put_or_drop_items(items, weights, accepted),
            Err(PutError::Composed(())) => self.put_items_composed(items, weights, accepted),
            Err(PutError::Locked(())) => {
                let Some(guard) = self.locked_queue()? else { return Ok(None) };
                let before = items.len();
                let result = guard.step(|state, wakes| state.put_many(items, Admission::Immediate, wakes))?;
                *accepted += before - items.len();
                match result {
                    Ok(()) => Ok(Some(Done::Count(*accepted))),
                    Err(PutError::ShutDown(())) => self.shut_down(),
                    Err(PutError::Rejected(())) => self.rejected(),
                    Err(PutError::NoMemory(())) => self.no_memory(),
                    Err(PutError::Overflows(())) => {
                        while let Some(item) = items.as_slice().first().map(|item| item.clone_ref(py)) {
                            let result = guard.step(|state, wakes| state.put_or_drop(item, wakes))?;
                            if self.done_or_dropped(result)?.is_err() {
                                return guard.refused(); // the policy has changed: the rest is still to be put
                            }
                            drop(items.next());
                            *accepted += 1;
                            interrupts::raise_kept(py)?;
                        }
                        Ok(Some(Done::Count(*accepted)))
                    }
                    Err(PutError::Full(()) | PutError::Locked(()) | PutError::Composed(())) => guard.refused(),
                }
            }
        }
    }

    /// The rest of a batch for a queue that is full and drops items, one item after the other.
    fn put_or_drop_items(
        &mut self,
        items: &mut std::vec::IntoIter<Item>,
        weights: &[u64],
        accepted: &mut usize,
    ) -> PyResult<Option<Done>> {
        let py = self.object.py();
        while let Some(item) = items.as_slice().first().map(|item| item.clone_ref(py)) {
            if self.put_or_drop(item)?.is_err() {
                return self.put_items(items, weights, accepted);
            }
            drop(items.next());
            *accepted += 1;
            if pause(py, *accepted, self.mode)? {
                self.is_paused = true;
                return Ok(None);
            }
        }
        Ok(Some(Done::Count(*accepted)))
    }

    pub(in crate::queue) fn put_from_iterator(
        &mut self,
        iterator: &Py<PyIterator>,
        (reserved, left, next_weighed): (&mut bool, &mut Option<usize>, &mut Option<(Item, u64)>),
        accepted: &mut usize,
    ) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let iterator = iterator.bind(py);
        loop {
            if !self.put_weighed(next_weighed, left, accepted)? {
                return Ok(None);
            }
            interrupts::raise_kept(py)?;
            if *left == Some(0) {
                return Ok(Some(Done::Count(*accepted)));
            }
            if self.is_slow() {
                baton::expire_if_full(self.object, self.name)?;
            } else {
                let (wakes, lost, ()) = core.expire_if_full(py);
                wakes.fire();
                self.report_lost(lost);
            }
            let mut refused = Ok(None);
            let mut result = match self.mode {
                Mode::Park(waker) => {
                    let (wakes, result) = core.reserve_or_wait(py, self.waiter, waker);
                    wakes.fire();
                    result
                }
                _ => core.try_reserve(py, admission(self.mode)),
            };
            if let Err(PutError::Locked(())) = result {
                let Some(guard) = self.locked_queue()? else { return Ok(None) };
                result = guard.step(|state, _| state.reserve(Admission::Immediate))?;
                refused = guard.refused();
            }
            match result {
                Ok(()) => *reserved = true,
                Err(PutError::Full(()) | PutError::Rejected(())) if is_exhausted(iterator) => {
                    return Ok(Some(Done::Count(*accepted)));
                }
                Err(PutError::Rejected(())) => return self.rejected(),
                Err(PutError::NoMemory(())) => return self.no_memory(),
                Err(PutError::Full(()) | PutError::Locked(()) | PutError::Overflows(()) | PutError::Composed(())) => {
                    return refused;
                }
                Err(PutError::ShutDown(())) => return self.shut_down(),
            }
            let next = guarded::next(iterator);
            *reserved = false;
            let Some(Ok(item)) = next else {
                core.unreserve(py).fire();
                return match next {
                    Some(Err(error)) => Err(error),
                    _ => Ok(Some(Done::Count(*accepted))),
                };
            };
            if self.object.inner.weighs() {
                core.unreserve(py).fire(); // how much room the item needs is seen when it is here
                let weight = self.object.inner.weight_of(&item)?;
                *next_weighed = Some((item.unbind(), weight));
                continue;
            }
            let keyed = self.object.inner.keys.as_ref().map(|keys| keys.with_key(item.clone())).transpose();
            let item = match keyed {
                Ok(keyed) => keyed.unwrap_or_else(|| item.unbind()),
                Err(error) => {
                    core.unreserve(py).fire();
                    return Err(error);
                }
            };
            if !self.fulfil(item)? {
                return self.shut_down();
            }
            *accepted += 1;
            *left = left.map(|left| left.saturating_sub(1));
            if self.is_slow() {
                baton::merge(self.object, self.name)?;
            }
            if pause(py, *accepted, self.mode)? {
                self.is_paused = true;
                return Ok(None);
            }
        }
    }

    /// Fills a reserved place. False: everything has been thrown away.
    fn fulfil(&mut self, mut item: Item) -> PyResult<bool> {
        let (py, core) = (self.object.py(), self.core());
        if self.is_slow() && core.overflow(py) != Overflow::Block {
            // The holder of the baton decides.
            match self.baton_access().offer(item, Terms::NONE, 1)? {
                Ok(dropped) => {
                    for dropped in dropped {
                        self.report(Some(dropped));
                    }
                    return Ok(true);
                }
                Err(PutError::Locked(back)) => item = back,
                Err(PutError::NoMemory(_item)) => return self.no_memory(),
                Err(_) => return Ok(false),
            }
        }
        loop {
            let (wakes, result) = core.fulfil(py, item);
            wakes.fire();
            item = match result {
                Ok(dropped) => {
                    self.report(dropped);
                    return Ok(true);
                }
                Err(PutError::Locked(item)) => item,
                Err(PutError::Composed(item)) => match self.fulfil_composed(item)? {
                    Ok(stored) => return Ok(stored),
                    Err(item) => item,
                },
                Err(PutError::NoMemory(_item)) => return self.no_memory(),
                Err(_) => return Ok(false),
            };
            let own = MutexGuard::take_again(self.object).inspect_err(|_| core.unreserve(py).fire())?;
            if let Some(guard) = own {
                let guard = LockedQueue { mutex: guard, may_wait: false, name: self.name };
                let mut lost = Lost::default();
                let result = guard.step(|state, wakes| match state.fulfil(item, wakes) {
                    Err(PutError::Composed(item)) => state.fulfil_composed(item, Terms::NONE, &mut lost, wakes).map(|()| None),
                    result => result,
                })?;
                self.report_lost(lost);
                return match result {
                    Err(PutError::NoMemory(_item)) => self.no_memory(),
                    result => Ok(result.map(|dropped| self.report(dropped)).is_ok()),
                };
            }
            // The place is its own, so it need not wait for the mutex.
            item = match core.fulfil_later(py, item, Terms::NONE) {
                Ok(()) => return Ok(true),
                Err(NotLater::Unlocked(item)) => item,
                Err(NotLater::NoMemory(_item)) => return self.no_memory(),
            };
        }
    }

    pub(in crate::queue) fn get_many(
        &mut self,
        bounds: BatchBounds,
        linger: Nanos,
        until: &mut Option<Nanos>,
        deadline: Option<Nanos>,
        now: Nanos,
    ) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let over = linger == 0 || until.is_some_and(|until| until <= now);
        let patience = if over { Linger::Over } else { Linger::On };
        let room = ListRoom::new(py, bounds.max.min(core.size(py)))?;
        let result = match self.mode {
            // An operation that lingers has to be in the wait queue for it.
            Mode::TryFair if linger > 0 => return Ok(None),
            _ if self.is_slow() => self.baton_access().get_many(bounds, patience)?,
            Mode::Park(waker) => {
                let (wakes, result) = core.get_batch_or_wait(py, bounds.max, patience, self.waiter, waker);
                wakes.fire();
                result
            }
            _ => {
                let (wakes, result) = core.try_get_batch(py, bounds.max, admission(self.mode));
                wakes.fire();
                result.map_err(BatchError::from)
            }
        };
        let result = match result {
            Err(BatchError::Composed) => self.get_many_composed(bounds, patience),
            result => result,
        };
        match result {
            Ok(items) => Ok(Some(Done::Item(room.filled(self.bare_items(items))?.into_any().unbind()))),
            Err(BatchError::NoMemory) => Err(memory::none(py, NO_LIST)),
            Err(BatchError::Lingering) => {
                let end = now.saturating_add(linger);
                until.get_or_insert(deadline.map_or(end, |deadline| end.min(deadline)));
                Ok(None)
            }
            Err(BatchError::Empty) => {
                *until = None;
                Ok(None)
            }
            Err(BatchError::ShutDown) => self.shut_down(),
            Err(BatchError::Locked | BatchError::Composed) => {
                let Some(guard) = self.locked_queue()? else { return Ok(None) };
                let mut lost = Lost::default();
                let result = guard.step(|state, wakes| match state.get_many(bounds.max, Admission::Immediate, wakes) {
                    Err(GetError::Composed) => state.get_many_composed(bounds, Linger::Over, Attempt::Now, &mut lost, wakes),
                    result => result.map_err(BatchError::from),
                })?;
                self.report_lost(lost);
                match result {
                    Ok(items) => Ok(Some(Done::Item(room.filled(self.bare_items(items))?.into_any().unbind()))),
                    Err(BatchError::NoMemory) => Err(memory::none(py, NO_LIST)),
                    Err(BatchError::ShutDown) => self.shut_down(),
                    Err(_) => guard.refused(),
                }
            }
        }
    }
}
