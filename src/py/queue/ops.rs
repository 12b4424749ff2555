//! The operations on queues.

use crate::rt::kept::interned;
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyIterator, PyString};
use sluicegate_core::clock::Nanos;
use sluicegate_core::queue::{BatchBounds, ConditionWait, Due, MutexOwner, Side, Terms, Waiter, Worker};
use sluicegate_core::wait::Wakes;

use crate::queue::attempt::QueueAttempt;
use crate::queue::fair_item::shown_of;
use crate::queue::inner::{BoundQueue, QueueClass, Refused};
use crate::queue::overflow::Offered;
use crate::rt::Item;
use crate::rt::aio::caller_number;
use crate::rt::arguments::Timeout;
use crate::rt::operation::{Done, Mode, Operation};
use crate::rt::registration::{Registered, Registration, WaitableClass, registration};
use crate::rt::source;
use crate::rt::waker::Waker;

/// Where a batch of puts comes from.
#[derive(Debug)]
enum PutSource {
    /// All there already, with their weights where items weigh something.
    Items(std::vec::IntoIter<Item>, Vec<u64>),
    /// Asked for an item only once its place is certain.
    Iterator {
        iterator: Py<PyIterator>,
        reserved: bool,
        /// How many there are, if that is known: then no room is needed to see the end.
        left: Option<usize>,
        /// Where items weigh something: taken, weighed, and waiting for room.
        next: Option<(Item, u64)>,
    },
}

#[derive(Debug)]
enum Request {
    Put(Option<Item>, Terms),
    Get,
    PutMany {
        source: PutSource,
        accepted: usize,
    },
    GetMany {
        bounds: BatchBounds,
        linger: Nanos,
    },
    Join,
    /// The owner of the mutex waits to be notified, at one of the conditions that share it.
    Condition {
        side: Side,
        owner: MutexOwner,
        /// The place, and how often the owner had taken the mutex, which is given back now.
        begun_wait: Option<(ConditionWait, usize)>,
    },
}

impl Request {
    /// The time from which on nobody wants the item that is to be put.
    fn due(&self) -> Option<Nanos> {
        if let Self::Put(_, Terms { due: Due::At(deadline), .. }) = self { Some(*deadline) } else { None }
    }

    /// What the item weighs that is to be put next, where items weigh something.
    fn waiting_weight(&self) -> Option<u64> {
        match self {
            Self::Put(_, terms) => Some(terms.weight),
            Self::PutMany { source: PutSource::Items(items, weights), .. } => {
                weights.len().checked_sub(items.len()).and_then(|index| weights.get(index)).copied()
            }
            Self::PutMany { source: PutSource::Iterator { next, .. }, .. } => next.as_ref().map(|(_, weight)| *weight),
            _ => None,
        }
    }
}

/// An operation on a queue: what it does (`work`) and where it waits (`registration`).
#[derive(Debug)]
pub(in crate::queue) struct QueueOperation<C: QueueClass> {
    request: Request,
    registration: Registration<Py<C>>,
    /// It counts as a worker that waits for room.
    stuck: Option<Worker>,
    /// It is one of several: a worker that waits for room may go on without it.
    is_selected: bool,
}

impl<C: QueueClass> QueueOperation<C> {
    fn new(queue: &Bound<'_, C>, request: Request) -> Self {
        Self { request, registration: Registration::new(queue.clone().unbind()), stuck: None, is_selected: false }
    }

    /// As one of several of which one happens.
    pub(in crate::queue) fn selected(self) -> Box<dyn Operation> {
        Box::new(Self { is_selected: true, ..self })
    }

    /// `ttl`: from now on. The item's weight is asked for now too.
    pub(in crate::queue) fn put(queue: &Bound<'_, C>, item: Item, ttl: Option<Nanos>) -> PyResult<Self> {
        let (py, inner) = (queue.py(), queue.get().inner());
        let due = match ttl {
            Some(ttl) => {
                inner.takes_ttl()?;
                Due::At(inner.core.clock(py).now().saturating_add(ttl))
            }
            None => Due::Never,
        };
        let weight = inner.weight_of(item.bind(py))?;
        let mut operation = Self::new(queue, Request::Put(Some(item), Terms { weight, due }));
        operation.registration.look_again_at = operation.request.due();
        Ok(operation)
    }

    pub(in crate::queue) fn get(queue: &Bound<'_, C>) -> Self {
        Self::new(queue, Request::Get)
    }

    pub(in crate::queue) fn join(queue: &Bound<'_, C>) -> Self {
        Self::new(queue, Request::Join)
    }

    pub(in crate::queue) fn wait_on_condition(queue: &Bound<'_, C>, side: Side, owner: MutexOwner) -> Self {
        Self::new(queue, Request::Condition { side, owner, begun_wait: None })
    }

    /// The place of one that has begun to watch: it is for the caller to give up.
    pub(in crate::queue) fn begun_wait(&mut self) -> Option<(ConditionWait, usize)> {
        if let Request::Condition { begun_wait, .. } = &mut self.request { begun_wait.take() } else { None }
    }

    pub(in crate::queue) fn get_many(queue: &Bound<'_, C>, bounds: BatchBounds, linger: Nanos) -> Self {
        Self::new(queue, Request::GetMany { bounds, linger })
    }

    pub(in crate::queue) fn put_many(queue: &Bound<'_, C>, items: &Bound<'_, PyAny>) -> PyResult<Self> {
        let source = match source::BatchSource::of(items)? {
            source::BatchSource::Items(items) => {
                let weights = queue.get().inner().weights_of(queue.py(), &items)?;
                PutSource::Items(items.into_iter(), weights)
            }
            source::BatchSource::Iterator { iterator, left } => {
                PutSource::Iterator { iterator, reserved: false, left, next: None }
            }
        };
        Ok(Self::new(queue, Request::PutMany { source, accepted: 0 }))
    }

    /// A batch that is all there.
    pub(in crate::queue) fn put_all(queue: &Bound<'_, C>, items: Vec<Item>) -> PyResult<Self> {
        let weights = queue.get().inner().weights_of(queue.py(), &items)?;
        Ok(Self::new(queue, Request::PutMany { source: PutSource::Items(items.into_iter(), weights), accepted: 0 }))
    }

    /// Puts an item without waiting, or does with it as the policy says.
    pub(in crate::queue) fn offer(queue: &Bound<'_, C>, item: Item, ttl: Option<Nanos>) -> PyResult<Offered> {
        let object = BoundQueue { this: queue.as_any(), inner: queue.get().inner() };
        if ttl.is_some() {
            object.inner.takes_ttl()?;
        }
        let weight = object.inner.weight_of(item.bind(queue.py()))?;
        let terms = Terms { weight, due: ttl.map_or(Due::Never, Due::In) };
        let outcome =
            QueueAttempt { object: &object, name: "offer", mode: Mode::Try, waiter: &mut Waiter::default(), is_paused: false }
                .offer(item, terms)?;
        object.inner.offered(queue.py(), outcome)
    }

    /// If this is a worker's put, and every worker of the queue waits in one, nobody is left to take an item.
    fn mark_stuck(&mut self, py: Python<'_>) -> PyResult<()> {
        let inner = self.registration.object.get().inner();
        if !inner.has_workers() {
            return Ok(());
        }
        let worker = caller_number(py)?;
        if inner.core.mark_stuck(py, worker) {
            return Err(PyRuntimeError::new_err(format!(
                "{}: every worker of this queue waits for room in it, so nobody takes items; a queue that its own consumers put into needs \
                 to be without a bound",
                self.names().0
            )));
        }
        self.stuck = Some(worker);
        Ok(())
    }

    fn unmark_stuck(&mut self, py: Python<'_>) {
        if let Some(worker) = self.stuck.take() {
            self.registration.object.get().waitable().unmark_stuck(py, worker);
        }
    }
}

impl<C: QueueClass> Operation for QueueOperation<C> {
    fn names(&self) -> (&'static str, &'static str) {
        match self.request {
            Request::Put(..) => ("put", "put_async"),
            Request::Get => ("get", "get_async"),
            Request::PutMany { .. } => ("put_many", "put_many_async"),
            Request::GetMany { .. } => ("get_many", "get_many_async"),
            Request::Join => ("join", "join_async"),
            Request::Condition { side: Side::Put, .. } => ("not_full.wait", "put_async"),
            Request::Condition { side: Side::Get, .. } => ("not_empty.wait", "get_async"),
            Request::Condition { .. } => ("all_tasks_done.wait", "join_async"),
        }
    }

    registration!(registration);

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, now: Nanos) -> PyResult<Option<Done>> {
        let name = self.names().0;
        self.unmark_stuck(py);
        let Self { request, registration: Registration { object, waiter, deadline, look_again_at }, .. } = self;
        let object = &BoundQueue { this: object.bind(py).as_any(), inner: object.get().inner() };
        let mut attempt = QueueAttempt { object, name, mode, waiter, is_paused: false };
        let done = match request {
            Request::Put(slot, terms) => {
                let done = attempt.put(slot, *terms)?;
                if done.is_none() && !matches!(mode, Mode::TryFair) {
                    object.inner.is_in_time(py, *terms)?;
                }
                done
            }
            Request::PutMany { source: PutSource::Items(items, weights), accepted } => {
                attempt.put_items(items, weights, accepted)?
            }
            Request::PutMany { source: PutSource::Iterator { iterator, reserved, left, next }, accepted } => {
                attempt.put_from_iterator(iterator, (reserved, left, next), accepted)?
            }
            Request::Get => return attempt.get(),
            Request::GetMany { bounds, linger } => return attempt.get_many(*bounds, *linger, look_again_at, *deadline, now),
            Request::Join => return attempt.join(),
            Request::Condition { side, owner, begun_wait } => return attempt.wait_on_condition(*side, *owner, begun_wait),
        };
        if done.is_none() && !attempt.is_paused {
            object.inner.may_fit(py, request.waiting_weight())?;
            object.inner.is_bounded(py)?; // refused because `maxsize` cannot be compared?
            if matches!(mode, Mode::Park(_)) {
                *look_again_at = object.inner.core.next_end(py, now).into_iter().chain(request.due()).min();
            }
            if matches!(mode, Mode::Park(_)) && deadline.is_none() && !self.is_selected {
                self.mark_stuck(py)?;
            }
        }
        Ok(done)
    }

    fn withdraw(&mut self, py: Python<'_>) -> Wakes<Waker> {
        self.unmark_stuck(py);
        self.registration.withdraw(py)
    }

    fn leave(&mut self, py: Python<'_>) {
        // A place promised to an iterator stays promised until it ends.
        self.withdraw(py).fire();
        if let Request::PutMany { source: PutSource::Iterator { reserved: reserved @ true, .. }, .. } = &mut self.request {
            *reserved = false;
            self.registration.object.get().waitable().unreserve(py).fire();
        }
    }

    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done> {
        let inner = self.registration.object.get().inner();
        let (name, _) = self.names();
        let weight = self.request.waiting_weight();
        let refused = match self.request {
            Request::Put(..) => Some(Refused::Put),
            Request::PutMany { .. } => Some(Refused::PutMany),
            Request::Get => Some(Refused::Get),
            Request::GetMany { .. } => Some(Refused::GetMany),
            Request::Join => None,
            Request::Condition { .. } => return Ok(Done::No),
        };
        if let Some(refused) = refused.filter(|_| timeout.is_over_at_once()) {
            return Err(inner.refuse_at_once(py, refused, weight));
        }
        let asked = timeout.asked(name);
        Err(match self.request {
            Request::Put(..) | Request::PutMany { .. } => inner.refusal(PyString::new(py, &asked), Side::Put, weight),
            Request::Get | Request::GetMany { .. } => inner.refusal(PyString::new(py, &asked), Side::Get, None),
            Request::Join | Request::Condition { .. } => {
                let unfinished = inner.core.unfinished(py);
                PyTimeoutError::new_err(format!("{asked}: {unfinished} unfinished tasks"))
            }
        })
    }

    /// A batch of puts says how many items it has put.
    fn is_batch(&self) -> bool {
        matches!(self.request, Request::PutMany { .. })
    }

    fn annotate(&self, error: &Bound<'_, PyAny>) {
        if let Request::PutMany { accepted, .. } = self.request {
            // An exception without room for an attribute goes as it is.
            let _ = error.setattr(interned!(error.py(), "accepted"), accepted);
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.registration.traverse(visit)?;
        match &self.request {
            Request::Put(item, _) => item.iter().try_for_each(|item| visit.call(shown_of(item))),
            Request::PutMany { source: PutSource::Items(items, _), .. } => {
                items.as_slice().iter().try_for_each(|item| visit.call(shown_of(item)))
            }
            Request::PutMany { source: PutSource::Iterator { iterator, next, .. }, .. } => {
                visit.call(iterator)?;
                next.iter().try_for_each(|(item, _)| visit.call(item))
            }
            _ => Ok(()),
        }
    }
}
