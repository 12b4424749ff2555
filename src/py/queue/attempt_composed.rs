//! One attempt of an operation at a queue that keeps notes of its items (see `sluicegate_core::queue`, file `composed`). What it gives up
//! is reported here, after the section.

use pyo3::prelude::*;
use sluicegate_core::queue::{Attempt, BatchBounds, BatchError, Dropped, Due, GetError, Linger, Lost, PutError, Terms};

use crate::queue::attempt::QueueAttempt;
use crate::queue::no_memory::no_memory_for_losses;
use crate::rt::Item;
use crate::rt::interrupts;
use crate::rt::operation::{Done, Mode};
use crate::rt::waker::Waker;

impl QueueAttempt<'_, '_, '_, '_> {
    /// How a composed queue is asked.
    pub(in crate::queue) fn attempt(&mut self) -> Attempt<'_, Waker> {
        match self.mode {
            Mode::Try => Attempt::Now,
            Mode::TryFair => Attempt::Arrival,
            Mode::Park(waker) => Attempt::Wait(self.waiter, waker),
        }
    }

    pub(in crate::queue) fn report_lost(&self, lost: Lost<Item>) {
        for lost in lost.into_vec() {
            self.object.inner.report(self.object.py(), lost);
        }
    }

    /// What to tell a composed queue about an item of a batch, `left` of which are to come with it.
    pub(in crate::queue) fn terms_of(weights: &[u64]) -> impl FnMut(&Item, usize) -> Terms + '_ {
        |_, left| Terms { weight: weights.len().checked_sub(left).map_or(0, |index| weights[index]), due: Due::Never }
    }

    /// The same into a queue that keeps notes of its items.
    pub(in crate::queue) fn put_composed(&mut self, slot: &mut Option<Item>, terms: Terms) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let Some(item) = slot.take() else { return Ok(None) };
        let (wakes, lost, result) = core.put_composed(py, item, terms, self.attempt());
        wakes.fire();
        self.report_lost(lost);
        let refused = match result {
            Err(PutError::Locked(item)) => {
                *slot = Some(item);
                let Some(guard) = self.locked_queue()? else { return Ok(None) };
                let Some(item) = slot.take() else { return Ok(None) };
                let mut lost = Lost::default();
                let result = guard.step(|state, wakes| state.put_composed(item, terms, Attempt::Now, &mut lost, wakes))?;
                self.report_lost(lost);
                match result {
                    Err(PutError::Full(item)) => {
                        *slot = Some(item);
                        return guard.refused();
                    }
                    result => result,
                }
            }
            result => result,
        };
        match refused {
            Ok(()) => Ok(Some(Done::Nothing)),
            Err(PutError::ShutDown(_item)) => self.shut_down(),
            Err(PutError::Rejected(_item)) => self.rejected(),
            Err(PutError::NoMemory(_item)) => self.no_memory(),
            Err(PutError::Full(item) | PutError::Locked(item) | PutError::Overflows(item) | PutError::Composed(item)) => {
                *slot = Some(item);
                Ok(None)
            }
        }
    }

    pub(in crate::queue) fn offer_composed(
        &mut self,
        item: Item,
        terms: Terms,
    ) -> PyResult<Result<Vec<Dropped<Item>>, PutError<Item>>> {
        let (wakes, mut lost, mut result) = self.core().put_composed(self.object.py(), item, terms, Attempt::Now);
        wakes.fire();
        if let Err(PutError::Locked(item)) = result {
            result = match self.locked_queue()? {
                Some(guard) => guard.step(|state, wakes| state.put_composed(item, terms, Attempt::Now, &mut lost, wakes))?,
                None => Err(PutError::Full(item)),
            };
        }
        if result.is_err() {
            self.report_lost(std::mem::take(&mut lost));
        }
        Ok(result.map(|()| lost.into_vec()))
    }

    /// The same from a queue that keeps notes of its items.
    pub(in crate::queue) fn get_composed(&mut self) -> PyResult<Option<Done>> {
        let (wakes, mut lost, mut result) = self.core().get_composed(self.object.py(), self.attempt());
        wakes.fire();
        let mut outcome = Ok(None);
        if matches!(result, Err(GetError::Locked)) {
            if let Some(guard) = self.locked_queue()? {
                result = guard.step(|state, wakes| state.get_composed(Attempt::Now, &mut lost, wakes))?;
                outcome = guard.refused();
            }
        }
        // An item that has come out is the caller's, whatever becomes of the reports.
        self.report_lost(lost);
        match result {
            Ok(item) => Ok(Some(Done::Item(self.object.inner.bare(self.object.py(), item)))),
            Err(GetError::ShutDown) => self.shut_down(),
            Err(GetError::NoMemory) => Err(no_memory_for_losses(self.object.py())),
            Err(GetError::Empty | GetError::Locked | GetError::Composed) => outcome,
        }
    }

    /// The same into a queue that keeps notes of its items.
    pub(in crate::queue) fn put_items_composed(
        &mut self,
        items: &mut std::vec::IntoIter<Item>,
        weights: &[u64],
        accepted: &mut usize,
    ) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let mut terms = Self::terms_of(weights);
        let before = items.len();
        let (wakes, mut lost, mut result) = core.put_many_composed(py, items, &mut terms, self.attempt());
        wakes.fire();
        let mut outcome = Ok(None);
        if result == Err(PutError::Locked(())) {
            if let Some(guard) = self.locked_queue()? {
                result = guard.step(|state, wakes| state.put_many_composed(items, &mut terms, Attempt::Now, &mut lost, wakes))?;
                outcome = guard.refused();
            }
        }
        *accepted += before - items.len();
        self.report_lost(lost);
        interrupts::raise_kept(py)?;
        match result {
            Ok(()) => Ok(Some(Done::Count(*accepted))),
            Err(PutError::ShutDown(())) => self.shut_down(),
            Err(PutError::Rejected(())) => self.rejected(),
            Err(PutError::NoMemory(())) => self.no_memory(),
            Err(_) => outcome,
        }
    }

    /// Fills a reserved place. False: everything has been thrown away. The item comes back if another has the mutex.
    pub(in crate::queue) fn fulfil_composed(&mut self, item: Item) -> PyResult<Result<bool, Item>> {
        let (wakes, lost, result) = self.core().fulfil_composed(self.object.py(), item, Terms::NONE);
        wakes.fire();
        self.report_lost(lost);
        match result {
            Ok(()) => Ok(Ok(true)),
            Err(PutError::Locked(item)) => Ok(Err(item)),
            Err(PutError::NoMemory(_item)) => self.no_memory(),
            Err(_) => Ok(Ok(false)),
        }
    }

    pub(in crate::queue) fn get_many_composed(&mut self, bounds: BatchBounds, linger: Linger) -> Result<Vec<Item>, BatchError> {
        let (wakes, lost, result) = self.core().get_many_composed(self.object.py(), bounds, linger, self.attempt());
        wakes.fire();
        self.report_lost(lost);
        result
    }

    /// Puts an item that has come out of an iterator and has been weighed, if there is one. False: not yet.
    pub(in crate::queue) fn put_weighed(
        &mut self,
        next: &mut Option<(Item, u64)>,
        left: &mut Option<usize>,
        accepted: &mut usize,
    ) -> PyResult<bool> {
        let Some((item, weight)) = next.take() else { return Ok(true) };
        let mut slot = Some(item);
        if self.put(&mut slot, Terms { weight, due: Due::Never })?.is_none() {
            *next = slot.map(|item| (item, weight));
            return Ok(false);
        }
        *accepted += 1;
        *left = left.map(|left| left.saturating_sub(1));
        Ok(true)
    }
}
