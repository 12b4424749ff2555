//! The operations on queues.

use crate::rt::kept::interned;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyIterator, PyString};
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::queue::{Admission, BatchError, GetError, Linger, PutError, Side, Spot};
use sluicegate_core::wait::Wakes;

use crate::queue::inner::{Core, InnerOf, Object, QueueInner, QueuePlace};
use crate::queue::owner::{self, OwnedAccess};
use crate::rt::Item;
use crate::rt::arguments::Timeout;
use crate::rt::guarded;
use crate::rt::operation::{Chance, Done, Operation, Place};
use crate::rt::source::{self, SIGNAL_CHECK, is_exhausted};
use crate::rt::waker::Waker;

fn admission(chance: Chance<'_>) -> Admission {
    if matches!(chance, Chance::Now) { Admission::Immediate } else { Admission::Queued }
}

/// Where a batch of puts comes from.
#[derive(Debug)]
enum Source {
    /// All there already.
    Items(std::vec::IntoIter<Item>),
    /// Asked for an item only once its place is certain.
    Iterator {
        iterator: Py<PyIterator>,
        reserved: bool,
        /// How many there are, if that is known: then no room is needed to see the end.
        left: Option<usize>,
    },
}

#[derive(Debug)]
enum Work {
    Put(Option<Item>),
    Get,
    PutMany {
        source: Source,
        accepted: usize,
    },
    GetMany {
        max: usize,
        linger: Nanos,
        until: Option<Nanos>,
    },
    Join,
    /// Waits until there is room, or an item, and takes nothing.
    Ready(Side),
}

#[derive(Debug)]
pub(in crate::queue) struct QueueOperation {
    work: Work,
    of: InnerOf,
    /// When it has to end, once that is known: lingering ends no later.
    deadline: Option<Nanos>,
    spot: Spot,
}

impl QueueOperation {
    fn new(inner: &QueueInner, work: Work) -> Self {
        Self { work, of: inner.of, deadline: None, spot: Spot::default() }
    }

    fn object<'a, 'py>(&self, this: &'a Bound<'py, PyAny>) -> Object<'a, 'py> {
        Object { this, inner: (self.of)(this) }
    }

    pub(in crate::queue) fn put(inner: &QueueInner, item: Item) -> Self {
        Self::new(inner, Work::Put(Some(item)))
    }

    pub(in crate::queue) fn get(inner: &QueueInner) -> Self {
        Self::new(inner, Work::Get)
    }

    pub(in crate::queue) fn join(inner: &QueueInner) -> Self {
        Self::new(inner, Work::Join)
    }

    pub(in crate::queue) fn ready(inner: &QueueInner, side: Side) -> Self {
        Self::new(inner, Work::Ready(side))
    }

    pub(in crate::queue) fn get_many(inner: &QueueInner, max: usize, linger: Nanos) -> Self {
        Self::new(inner, Work::GetMany { max, linger, until: None })
    }

    pub(in crate::queue) fn put_many(inner: &QueueInner, items: &Bound<'_, PyAny>) -> PyResult<Self> {
        let source = match source::Source::of(items)? {
            source::Source::Items(items) => Source::Items(items.into_iter()),
            source::Source::Iterator { iterator, left } => Source::Iterator { iterator, reserved: false, left },
        };
        Ok(Self::new(inner, Work::PutMany { source, accepted: 0 }))
    }

    /// The operations that move no items and so need no baton.
    pub(in crate::queue) fn attempt_without_items(&mut self, object: &Object<'_, '_>, chance: Chance<'_>) -> Option<Done> {
        let py = object.py();
        let core = &object.inner.core;
        let done = match (&self.work, chance) {
            (Work::Join, Chance::Wait(waker)) => {
                let (wakes, done) = core.join_or_wait(py, &mut self.spot, waker);
                wakes.fire();
                done
            }
            (Work::Join, _) => core.is_finished(py),
            (Work::Ready(side), Chance::Wait(waker)) => {
                let (wakes, ready) = core.ready_or_wait(py, *side, &mut self.spot, waker);
                wakes.fire();
                ready
            }
            (Work::Ready(side), _) => core.is_ready(py, *side),
            _ => unreachable!("an operation that moves items"),
        };
        done.then_some(Done::Nothing)
    }
}

impl Operation for QueueOperation {
    fn names(&self) -> (&'static str, &'static str) {
        match self.work {
            Work::Put(_) => ("put", "put_async"),
            Work::Get => ("get", "get_async"),
            Work::PutMany { .. } => ("put_many", "put_many_async"),
            Work::GetMany { .. } => ("get_many", "get_many_async"),
            Work::Join => ("join", "join_async"),
            Work::Ready(Side::Put) => ("not_full.wait", "put_async"),
            Work::Ready(_) => ("not_empty.wait", "get_async"),
        }
    }

    fn clock(&self, this: &Bound<'_, PyAny>) -> Clock<Waker> {
        (self.of)(this).core.clock(this.py())
    }

    fn set_deadline(&mut self, deadline: Option<Nanos>) {
        self.deadline = deadline;
    }

    fn look_again_at(&self) -> Option<Nanos> {
        match self.work {
            Work::GetMany { until, .. } => until,
            _ => None,
        }
    }

    fn attempt(&mut self, this: &Bound<'_, PyAny>, chance: Chance<'_>, now: Nanos) -> PyResult<Option<Done>> {
        let object = &self.object(this);
        let name = self.names().0;
        let Self { work, deadline, spot, .. } = self;
        let mut visit = Visit { object, name, chance, spot };
        let done = match work {
            Work::Put(slot) => visit.put(slot)?,
            Work::PutMany { source: Source::Items(items), accepted } => visit.put_items(items, accepted)?,
            Work::PutMany { source: Source::Iterator { iterator, reserved, left }, accepted } => {
                visit.put_from_iterator(iterator, reserved, left, accepted)?
            }
            Work::Get => return visit.get(),
            Work::GetMany { max, linger, until } => return visit.get_many(*max, *linger, until, *deadline, now),
            Work::Join | Work::Ready(_) => return Ok(self.attempt_without_items(object, chance)),
        };
        if done.is_none() {
            object.inner.is_bounded(this.py())?; // refused because `maxsize` cannot be compared?
        }
        Ok(done)
    }

    fn place(&self, this: &Bound<'_, PyAny>) -> Option<Box<dyn Place>> {
        QueuePlace::of(this, self.of, &self.spot)
    }

    fn withdraw(&mut self, this: &Bound<'_, PyAny>) -> Wakes<Waker> {
        // A place promised to an iterator stays promised.
        (self.of)(this).core.leave(this.py(), &mut self.spot)
    }

    fn leave(&mut self, this: &Bound<'_, PyAny>) {
        self.withdraw(this).fire();
        if let Work::PutMany { source: Source::Iterator { reserved: reserved @ true, .. }, .. } = &mut self.work {
            *reserved = false;
            (self.of)(this).core.unreserve(this.py()).fire();
        }
    }

    fn refused(&self, this: &Bound<'_, PyAny>, timeout: Timeout) -> PyErr {
        let py = this.py();
        let object = self.object(this);
        let (name, _) = self.names();
        let asked = timeout.asked(name);
        match self.work {
            Work::Put(_) | Work::PutMany { .. } | Work::Ready(Side::Put) => {
                object.inner.refusal(PyString::new(py, &asked), Side::Put)
            }
            Work::Get | Work::GetMany { .. } | Work::Ready(_) => object.inner.refusal(PyString::new(py, &asked), Side::Get),
            Work::Join => {
                let unfinished = object.inner.core.unfinished(py);
                PyTimeoutError::new_err(format!("{asked}: {unfinished} unfinished tasks"))
            }
        }
    }

    /// A batch of puts says how many items it has put.
    fn is_batch(&self) -> bool {
        matches!(self.work, Work::PutMany { .. })
    }

    fn annotate(&self, error: &Bound<'_, PyAny>) {
        if let Work::PutMany { accepted, .. } = self.work {
            // An exception without room for an attribute goes as it is.
            let _ = error.setattr(interned!(error.py(), "accepted"), accepted);
        }
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.work {
            Work::Put(item) => visit.call(item),
            Work::PutMany { source: Source::Items(items), .. } => items.as_slice().iter().try_for_each(|item| visit.call(item)),
            Work::PutMany { source: Source::Iterator { iterator, .. }, .. } => visit.call(iterator),
            _ => Ok(()),
        }
    }
}

/// One attempt at one queue.
struct Visit<'a, 'b, 'py, 's> {
    object: &'a Object<'b, 'py>,
    name: &'static str,
    chance: Chance<'s>,
    spot: &'s mut Spot,
}

impl<'a, 'b, 'py> Visit<'a, 'b, 'py, '_> {
    fn core(&self) -> &'a Core {
        &self.object.inner.core
    }

    fn is_slow(&self) -> bool {
        self.object.inner.slow
    }

    fn owned_access(&mut self) -> OwnedAccess<'a, 'b, 'py, '_> {
        OwnedAccess { object: self.object, name: self.name, chance: self.chance, spot: self.spot }
    }

    fn shut_down<T>(&self) -> PyResult<T> {
        Err(self.object.inner.shut_down_error(self.object.py(), self.name))
    }

    fn put(&mut self, slot: &mut Option<Item>) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let item = slot.take().expect("an operation that is done is not attempted again");
        if self.is_slow() {
            let mut items = vec![item].into_iter();
            let outcome = self.owned_access().put(&mut items, &mut 0);
            *slot = items.next();
            return Ok(outcome?.then_some(Done::Nothing));
        }
        let (wakes, result) = match self.chance {
            Chance::Wait(waker) => core.put_or_wait(py, item, self.spot, waker),
            _ => core.try_put(py, item, admission(self.chance)),
        };
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Nothing)),
            Err(PutError::Full(item)) => {
                *slot = Some(item);
                Ok(None)
            }
            Err(PutError::ShutDown(_item)) => self.shut_down(),
        }
    }

    fn get(&mut self) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        if self.is_slow() {
            let batch = self.owned_access().get(1, Linger::Over)?;
            return Ok(batch.ok().and_then(|mut items| items.pop()).map(Done::Item));
        }
        let (wakes, result) = match self.chance {
            Chance::Wait(waker) => core.get_or_wait(py, self.spot, waker),
            _ => core.try_get(py, admission(self.chance)),
        };
        wakes.fire();
        match result {
            Ok(item) => Ok(Some(Done::Item(item))),
            Err(GetError::Empty) => Ok(None),
            Err(GetError::ShutDown) => self.shut_down(),
        }
    }

    fn put_items(&mut self, items: &mut std::vec::IntoIter<Item>, accepted: &mut usize) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        if self.is_slow() {
            return Ok(self.owned_access().put(items, accepted)?.then_some(Done::Count(*accepted)));
        }
        let before = items.len();
        let (wakes, result) = match self.chance {
            Chance::Wait(waker) => core.put_batch_or_wait(py, items, self.spot, waker),
            _ => core.try_put_batch(py, items, admission(self.chance)),
        };
        *accepted += before - items.len();
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Count(*accepted))),
            Err(PutError::Full(())) => Ok(None),
            Err(PutError::ShutDown(())) => self.shut_down(),
        }
    }

    fn put_from_iterator(
        &mut self,
        iterator: &Py<PyIterator>,
        reserved: &mut bool,
        left: &mut Option<usize>,
        accepted: &mut usize,
    ) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let iterator = iterator.bind(py);
        loop {
            if *left == Some(0) {
                return Ok(Some(Done::Count(*accepted)));
            }
            let result = match self.chance {
                Chance::Wait(waker) => {
                    let (wakes, result) = core.reserve_or_wait(py, self.spot, waker);
                    wakes.fire();
                    result
                }
                _ => core.try_reserve(py, admission(self.chance)),
            };
            match result {
                Ok(()) => *reserved = true,
                Err(PutError::Full(())) if is_exhausted(iterator) => return Ok(Some(Done::Count(*accepted))),
                Err(PutError::Full(())) => return Ok(None),
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
            let (wakes, result) = core.fulfil(py, item.unbind());
            wakes.fire();
            if result.is_err() {
                return self.shut_down();
            }
            *accepted += 1;
            *left = left.map(|left| left.saturating_sub(1));
            if self.is_slow() {
                owner::merge(self.object, self.name)?;
            }
            if *accepted % SIGNAL_CHECK == 0 {
                py.check_signals()?;
            }
        }
    }

    fn get_many(
        &mut self,
        max: usize,
        linger: Nanos,
        until: &mut Option<Nanos>,
        deadline: Option<Nanos>,
        now: Nanos,
    ) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let over = linger == 0 || until.is_some_and(|until| until <= now);
        let patience = if over { Linger::Over } else { Linger::On };
        let result = match self.chance {
            // One that lingers has to stand in line for it.
            Chance::Arrival if linger > 0 => return Ok(None),
            _ if self.is_slow() => self.owned_access().get(max, patience)?,
            Chance::Wait(waker) => {
                let (wakes, result) = core.get_batch_or_wait(py, max, patience, self.spot, waker);
                wakes.fire();
                result
            }
            _ => {
                let (wakes, result) = core.try_get_batch(py, max, admission(self.chance));
                wakes.fire();
                result.map_err(BatchError::from)
            }
        };
        match result {
            Ok(items) => Ok(Some(Done::Items(items))),
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
        }
    }
}
