//! The operations on channels that may have to wait.

use crate::rt::kept::interned;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyIterator};
use sluicegate_core::clock::Nanos;
use sluicegate_core::credits::{Lane, NO_OWNER, Permit, ReceiveError, SendError, Stop, Waiter};

use super::delivery::PyDelivery;
use super::inner::{Core, PyChannelBody};
use super::lanes::{Items, no_memory_for_lanes, unwrapped};
use super::refusal::Direction;
use crate::credits::objects;
use crate::rt::Item;
use crate::rt::aio::{self, AsyncOperation};
use crate::rt::arguments::Timeout;
use crate::rt::exceptions;
use crate::rt::guarded;
use crate::rt::memory::{self, ListRoom};
use crate::rt::operation::{Done, Mode, Operation, annotated};
use crate::rt::registration::{Registered, Registration, WaitableClass, registration};
use crate::rt::source::{self, is_exhausted, pause};

/// The source of a batch.
#[derive(Debug)]
enum SendSource {
    /// All items are known, with their weights; without weights, each item weighs one.
    Items(std::vec::IntoIter<Item>, Vec<u64>),
    /// An item is taken from the iterator only when there is credit for one. If it weighs more, it is kept until there is enough credit.
    Iterator {
        iterator: Py<PyIterator>,
        permit: Permit,
        next: Option<(Item, u64)>,
        /// The number of items left, if it is known: then the end is found without credit.
        left: Option<usize>,
    },
}

impl SendSource {
    /// The weight of the item that waits for credit, where items have weights.
    fn next_weight(&self) -> Option<u64> {
        match self {
            Self::Items(items, weights) => weights.len().checked_sub(items.len()).and_then(|next| weights.get(next)).copied(),
            Self::Iterator { next, .. } => next.as_ref().map(|(_, weight)| *weight),
        }
    }
}

#[derive(Debug)]
enum Request {
    Send(Option<Item>, u64),
    SendMany {
        source: SendSource,
        accepted: usize,
    },
    Ready(u64),
    Receive,
    ReceiveMany(usize),
    /// With the names of the lanes to be stopped, unless all are.
    Stop(Stop, Option<Vec<LaneName>>),
}

/// The name of a lane, and its number if anything has been sent in it.
type LaneName = (Py<PyAny>, Option<Lane>);

#[derive(Debug)]
pub(crate) struct ChannelOperation {
    /// Its alarm makes it try again when a timed event of the channel is due.
    registration: Registration<Py<PyChannelBody>>,
    request: Request,
    /// True if others settle what this operation receives.
    for_subscriber: bool,
}

impl WaitableClass for PyChannelBody {
    type Waitable = Core;

    #[inline]
    fn waitable(&self) -> &Core {
        &self.core
    }
}

impl ChannelOperation {
    fn new(body: &Bound<'_, PyChannelBody>, request: Request) -> Self {
        Self { registration: Registration::new(body.clone().unbind()), request, for_subscriber: false }
    }

    pub(crate) fn send(body: &Bound<'_, PyChannelBody>, item: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (item, weight) = body.get().to_be_sent(item)?;
        Ok(Self::new(body, Request::Send(Some(item), weight)))
    }

    pub(crate) fn send_many(body: &Bound<'_, PyChannelBody>, items: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = body.py();
        let source = match source::BatchSource::of(items)? {
            source::BatchSource::Items(items) => {
                let (items, weights) = Self::weighed(body.get(), py, items).map_err(|error| {
                    let nothing = SendSource::Items(Vec::new().into_iter(), Vec::new());
                    annotated(&Self::new(body, Request::SendMany { source: nothing, accepted: 0 }), py, error)
                })?;
                SendSource::Items(items.into_iter(), weights)
            }
            source::BatchSource::Iterator { iterator, left } => {
                SendSource::Iterator { iterator, permit: Permit::default(), next: None, left }
            }
        };
        Ok(Self::new(body, Request::SendMany { source, accepted: 0 }))
    }

    /// The items as they enter the channel, and their weights. Computed before any of them is sent.
    fn weighed(body: &PyChannelBody, py: Python<'_>, mut items: Vec<Item>) -> PyResult<(Vec<Item>, Vec<u64>)> {
        let mut weights = Vec::new();
        if body.is_weighted() {
            // One weight for each item.
            weights.try_reserve_exact(items.len()).map_err(|_| PyMemoryError::new_err(()))?;
            for item in &items {
                weights.push(body.weight(item.bind(py))?);
            }
        }
        if body.has_lanes() {
            for item in &mut items {
                *item = body.in_lane(item.bind(py))?;
            }
        }
        Ok((items, weights))
    }

    /// `None` means all lanes.
    pub(crate) fn stop(body: &Bound<'_, PyChannelBody>, lanes: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(lanes) = lanes.filter(|lanes| !lanes.is_none()) else {
            return Ok(Self::new(body, Request::Stop(Stop::all(), None)));
        };
        let named = body.get().parse_lanes(lanes)?;
        let stop = Stop::lanes(named.iter().filter_map(|(_, lane)| *lane)).map_err(|_| no_memory_for_lanes(body.py()))?;
        let names = named.into_iter().map(|(name, lane)| (name.unbind(), lane)).collect();
        Ok(Self::new(body, Request::Stop(stop, Some(names))))
    }

    pub(crate) fn ready(body: &Bound<'_, PyChannelBody>, n: u64) -> Self {
        Self::new(body, Request::Ready(n))
    }

    pub(crate) fn receive(body: &Bound<'_, PyChannelBody>) -> Self {
        Self::new(body, Request::Receive)
    }

    /// For a subscriber, which passes on what it has received.
    pub(crate) fn receive_for_subscriber(body: &Bound<'_, PyChannelBody>) -> Self {
        Self { for_subscriber: true, ..Self::receive(body) }
    }

    pub(crate) fn receive_many(body: &Bound<'_, PyChannelBody>, max: usize) -> Self {
        Self::new(body, Request::ReceiveMany(max))
    }
}

pub(super) fn awaitable(operation: ChannelOperation, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
    Ok(AsyncOperation::new(operation, Timeout::parse_strict("timeout", timeout)?))
}

/// The time of the next timed event that grants credit, which can come even if nobody receives.
fn next_due(body: &PyChannelBody, py: Python<'_>) -> Option<Nanos> {
    if body.acks { body.up_to_date(py).next_due(py) } else { None }
}

/// One attempt of a permit to take credit for `n`.
pub(super) fn take_credit(
    body: &Bound<'_, PyChannelBody>,
    n: u64,
    mode: Mode<'_>,
    waiter: &mut Waiter,
    look_again_at: &mut Option<Nanos>,
) -> PyResult<Option<Permit>> {
    *look_again_at = next_due(body.get(), body.py());
    ChannelAttempt { body, name: "permit", mode, waiter, for_subscriber: false }.take_credit(n)
}

/// The final value of `settled_through`, or of each of the stopped lanes.
fn stopped_at(body: &PyChannelBody, py: Python<'_>, stop: &Stop, names: Option<&[LaneName]>) -> PyResult<Done> {
    let (Stop::Lanes(lanes), Some(names)) = (stop, names) else {
        return Ok(Done::Item(body.settled_through(py).into_pyobject(py)?.into_any().unbind()));
    };
    let through = PyDict::new(py);
    for (name, number) in names {
        let stopped = lanes.iter().find(|lane| Some(lane.0) == *number).and_then(|lane| lane.2);
        through.set_item(name, stopped.unwrap_or(0))?;
    }
    Ok(Done::Item(through.into_any().unbind()))
}

/// One attempt of an operation.
struct ChannelAttempt<'a, 'py, 's> {
    body: &'a Bound<'py, PyChannelBody>,
    name: &'static str,
    mode: Mode<'s>,
    waiter: &'s mut Waiter,
    for_subscriber: bool,
}

impl ChannelAttempt<'_, '_, '_> {
    fn refusal<T>(&self, error: &SendError<T>, weight: u64) -> PyResult<Option<Done>> {
        let py = self.body.py();
        match error {
            SendError::Full(_) => Ok(None),
            SendError::NoMemory(_) => Err(PyMemoryError::new_err(())),
            SendError::TooHeavy(_) => Err(self.body.get().too_heavy(py, self.name, weight)),
            SendError::Ended(_, end) => Err(self.body.get().send_ended(py, self.name, *end)),
        }
    }

    fn send(&mut self, slot: &mut Option<Item>, weight: u64) -> PyResult<Option<Done>> {
        let (py, core) = (self.body.py(), &self.body.get().core);
        let item = slot.take().expect("an operation that is done is not attempted again");
        let (wakes, result) = match self.mode {
            Mode::Park(waker) => core.send_or_wait(py, item, weight, self.waiter, waker),
            _ => core.try_send(py, item, weight),
        };
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Nothing)),
            Err(error) => {
                let outcome = self.refusal(&error, weight);
                let (SendError::Full(item) | SendError::TooHeavy(item) | SendError::NoMemory(item) | SendError::Ended(item, _)) =
                    error;
                *slot = Some(item);
                outcome
            }
        }
    }

    fn send_items(
        &mut self,
        items: &mut std::vec::IntoIter<Item>,
        weights: &[u64],
        accepted: &mut usize,
    ) -> PyResult<Option<Done>> {
        let (py, core) = (self.body.py(), &self.body.get().core);
        let before = items.len();
        let (wakes, result) = match self.mode {
            Mode::Park(waker) => core.send_batch_or_wait(py, items, weights, self.waiter, waker),
            _ => core.try_send_batch(py, items, weights),
        };
        *accepted += before - items.len();
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Count(*accepted))),
            Err(error) => self.refusal(&error, if weights.is_empty() { 1 } else { weights[weights.len() - items.len()] }),
        }
    }

    /// Takes credit for `n` if it is available.
    fn take_credit(&mut self, n: u64) -> PyResult<Option<Permit>> {
        let (py, core) = (self.body.py(), &self.body.get().core);
        let (wakes, result) = match self.mode {
            Mode::Park(waker) => core.permit_or_wait(py, n, self.waiter, waker),
            _ => core.try_permit(py, n),
        };
        wakes.fire();
        match result {
            Ok(permit) => Ok(Some(permit)),
            Err(error) => self.refusal(&error, n).map(|_| None),
        }
    }

    fn send_from_iterator(
        &mut self,
        iterator: &Py<PyIterator>,
        permit: &mut Permit,
        next: &mut Option<(Item, u64)>,
        left: &mut Option<usize>,
        accepted: &mut usize,
    ) -> PyResult<Option<Done>> {
        let outcome = self.send_while_credit_lasts(iterator, permit, next, left, accepted);
        if outcome.is_err() {
            self.give_back(permit);
        }
        outcome
    }

    fn give_back(&self, permit: &mut Permit) {
        if permit.left() > 0 {
            self.body.get().core.return_permit(self.body.py(), std::mem::take(permit)).fire();
        }
    }

    fn send_while_credit_lasts(
        &mut self,
        iterator: &Py<PyIterator>,
        permit: &mut Permit,
        next: &mut Option<(Item, u64)>,
        left: &mut Option<usize>,
        accepted: &mut usize,
    ) -> PyResult<Option<Done>> {
        let (py, body) = (self.body.py(), self.body.get());
        let iterator = iterator.bind(py);
        loop {
            if next.is_none() {
                if *left == Some(0) {
                    return Ok(Some(Done::Count(*accepted)));
                }
                if permit.left() == 0 {
                    let Some(taken) = self.take_credit(1)? else {
                        return Ok(is_exhausted(iterator).then_some(Done::Count(*accepted)));
                    };
                    *permit = taken;
                }
                let Some(item) = guarded::next(iterator) else {
                    self.give_back(permit);
                    return Ok(Some(Done::Count(*accepted)));
                };
                *next = Some(body.to_be_sent(&item?)?);
            }
            let weight = next.as_ref().map_or(0, |(_, weight)| *weight);
            if permit.left() < weight || weight == 0 {
                // It takes all of the credit at once, because two senders that hold a part each could wait for each other. (An item of
                // weight 0 takes a slot.)
                self.give_back(permit);
                let Some(taken) = self.take_credit(weight)? else { return Ok(None) };
                *permit = taken;
            }
            let (item, weight) = next.take().expect("it was put there");
            let (wakes, result) = body.core.send_permitted(py, permit, item, weight);
            wakes.fire();
            match result {
                Ok(()) => {}
                // Another sender has taken the slot first.
                Err(SendError::Full(item)) if weight == 0 => {
                    *next = Some((item, weight));
                    continue;
                }
                Err(error) => return self.refusal(&error, weight),
            }
            self.give_back(permit);
            *accepted += 1;
            *left = left.map(|left| left.saturating_sub(1));
            if pause(py, *accepted, self.mode)? {
                return Ok(None);
            }
        }
    }

    fn ready(&mut self, n: u64) -> PyResult<Option<Done>> {
        let (py, core) = (self.body.py(), &self.body.get().core);
        let (wakes, result) = match self.mode {
            Mode::Park(waker) => core.ready_or_wait(py, n, self.waiter, waker),
            _ => core.is_ready(py, n),
        };
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Yes)),
            Err(error) => self.refusal(&error, n),
        }
    }

    fn stop(&mut self, stop: &mut Stop, names: Option<&[LaneName]>) -> PyResult<Option<Done>> {
        let (py, body) = (self.body.py(), self.body.get());
        let waker = if let Mode::Park(waker) = self.mode { Some(waker) } else { None };
        let (leaving, has_ended) = body.core.stop(py, stop, &Items(py), self.waiter, waker);
        body.finish(py, leaving);
        if has_ended { stopped_at(body, py, stop, names).map(Some) } else { Ok(None) }
    }

    /// Called when there is no item. `Some` if the attempt should be repeated at once.
    fn nothing(&self, error: ReceiveError) -> PyResult<Option<()>> {
        let (py, body) = (self.body.py(), self.body.get());
        match error {
            ReceiveError::Empty => Ok(None),
            ReceiveError::Control => {
                // The handler may itself receive: it must not wait behind the call that runs it.
                let position = self.waiter.position();
                if let Some(position) = position {
                    body.core.step_aside(py, position).fire();
                }
                body.handle_controls(py);
                if let Some(position) = position {
                    body.core.step_back(py, position).fire();
                }
                Ok(Some(()))
            }
            ReceiveError::Ended(end) => Err(body.receive_ended(py, self.name, end)),
            ReceiveError::NoMemory => Err(memory::none(py, c"there is no memory to record what is received")),
            ReceiveError::SelfWait => Err(exceptions::channel_error(
                py,
                (format!(
                    "{}: the channel is complete, and all that is left is deliveries that the caller itself has not settled",
                    self.name
                ),),
            )),
        }
    }

    fn receive(&mut self) -> PyResult<Option<Done>> {
        let (py, core) = (self.body.py(), &self.body.get().core);
        loop {
            let (wakes, result) = match self.mode {
                Mode::Park(waker) => core.receive_or_wait(py, self.waiter, waker),
                _ => core.try_receive(py),
            };
            wakes.fire();
            match result {
                Ok(received) => return Ok(Some(Done::Item(objects::object(py, received)?))),
                Err(error) => {
                    if self.nothing(error)?.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn receive_batch(&mut self, max: usize) -> PyResult<Option<Done>> {
        let (py, core) = (self.body.py(), &self.body.get().core);
        loop {
            let room = ListRoom::new(py, max.min(core.buffered(py)))?;
            let (wakes, result) = match self.mode {
                Mode::Park(waker) => core.receive_batch_or_wait(py, max, self.waiter, waker),
                _ => core.try_receive_batch(py, max),
            };
            wakes.fire();
            match result {
                Ok(batch) => return Ok(Some(Done::Item(objects::list(room, batch)?.into_any().unbind()))),
                Err(error) => {
                    if self.nothing(error)?.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Receives one delivery, as a Python object.
    fn receive_delivery(&mut self, look_again_at: &mut Option<Nanos>) -> PyResult<Option<Py<PyAny>>> {
        let (py, body) = (self.body.py(), self.body.get());
        let owner = if self.for_subscriber { NO_OWNER } else { aio::caller_number(py)? };
        loop {
            let (leaving, result) = match self.mode {
                Mode::Park(waker) => body.core.receive_delivery_or_wait(py, owner, &Items(py), self.waiter, waker),
                _ => body.core.try_receive_delivery(py, owner, &Items(py)),
            };
            body.finish(py, leaving);
            match result {
                Ok(handed) => {
                    return Ok(Some(Bound::new(py, PyDelivery::new(py, self.body.as_unbound(), handed)?)?.into_any().unbind()));
                }
                Err(error) => {
                    if self.nothing(error)?.is_none() {
                        *look_again_at = body.core.next_due(py);
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn receive_deliveries(&mut self, max: usize, look_again_at: &mut Option<Nanos>) -> PyResult<Option<Done>> {
        let py = self.body.py();
        let mut deliveries = ListRoom::new(py, 1)?;
        let Some(first) = self.receive_delivery(look_again_at)? else { return Ok(None) };
        deliveries.put(first.into_bound(py))?;
        self.mode = Mode::Try;
        // A lack of memory, or the end of the channel (which the next call reports), ends the batch with the deliveries received so far.
        while deliveries.len() < max && memory::for_a_wait(py).is_ok() {
            let Ok(Some(delivery)) = self.receive_delivery(&mut None) else { break };
            if deliveries.put(delivery.into_bound(py)).is_err() {
                break; // it is delivered again, because nobody has settled it
            }
        }
        Ok(Some(Done::Item(deliveries.into_list().into_any().unbind())))
    }
}

impl Operation for ChannelOperation {
    fn names(&self) -> (&'static str, &'static str) {
        match self.request {
            Request::Send(..) => ("send", "send_async"),
            Request::SendMany { .. } => ("send_many", "send_many_async"),
            Request::Ready(_) => ("wait_ready", "wait_ready_async"),
            Request::Receive => ("receive", "receive_async"),
            Request::ReceiveMany(_) => ("receive_many", "receive_many_async"),
            Request::Stop(..) => ("stop", "stop_async"),
        }
    }

    registration!(registration);

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let name = self.names().0;
        let Self { request, registration: Registration { object, waiter, look_again_at, .. }, for_subscriber } = self;
        let body = object.bind(py);
        let acks = body.get().acks;
        let sends = !matches!(request, Request::Receive | Request::ReceiveMany(_));
        *look_again_at = if sends { next_due(body.get(), py) } else { None };
        let mut attempt = ChannelAttempt { body, name, mode, waiter, for_subscriber: *for_subscriber };
        match request {
            Request::Send(item, weight) => attempt.send(item, *weight),
            Request::SendMany { source: SendSource::Items(items, weights), accepted } => {
                attempt.send_items(items, weights, accepted)
            }
            Request::SendMany { source: SendSource::Iterator { iterator, permit, next, left }, accepted } => {
                attempt.send_from_iterator(iterator, permit, next, left, accepted)
            }
            Request::Ready(n) => attempt.ready(*n),
            Request::Receive if acks => Ok(attempt.receive_delivery(look_again_at)?.map(Done::Item)),
            Request::Receive => attempt.receive(),
            Request::ReceiveMany(max) if acks => attempt.receive_deliveries(*max, look_again_at),
            Request::ReceiveMany(max) => attempt.receive_batch(*max),
            Request::Stop(stop, names) => attempt.stop(stop, names.as_deref()),
        }
    }

    fn leave(&mut self, py: Python<'_>) {
        self.withdraw(py).fire();
        if let Request::SendMany { source: SendSource::Iterator { permit, .. }, .. } = &mut self.request {
            if permit.left() > 0 {
                self.registration.object.get().core.return_permit(py, std::mem::take(permit)).fire();
            }
        }
    }

    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done> {
        let (name, _) = self.names();
        let body = self.registration.object.get();
        Err(match self.request {
            // Timed events that are due have just been handled.
            Request::Receive if timeout.is_over_at_once() => body.refusal_at_once(py, Direction::Receive),
            Request::Receive | Request::ReceiveMany(_) => body.no_item(py, name, timeout),
            Request::Send(_, n) | Request::Ready(n) => body.no_credit(py, name, n, timeout),
            Request::SendMany { ref source, .. } => body.no_credit(py, name, source.next_weight().unwrap_or(1), timeout),
            // It no longer waits for open deliveries.
            Request::Stop(ref stop, ref names) => {
                let mut stop = stop.clone();
                let (leaving, ()) = body.core.give_up(py, &mut stop, &Items(py));
                body.finish(py, leaving);
                return stopped_at(body, py, &stop, names.as_deref());
            }
        })
    }

    fn is_batch(&self) -> bool {
        matches!(self.request, Request::SendMany { .. })
    }

    /// Adds to the exception of a batch the number of items that were sent, and the item that was taken from the iterator but not sent.
    fn annotate(&self, error: &Bound<'_, PyAny>) {
        if let Request::SendMany { source, accepted } = &self.request {
            let py = error.py();
            // An exception that allows no attributes is raised without them.
            let _ = error.setattr(interned!(py, "accepted"), accepted);
            if let SendSource::Iterator { next: Some((item, _)), .. } = source {
                let _ = error.setattr(interned!(py, "pending"), unwrapped(py, item));
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.registration.traverse(visit)?;
        match &self.request {
            Request::Send(item, _) => visit.call(item),
            Request::SendMany { source: SendSource::Items(items, _), .. } => {
                items.as_slice().iter().try_for_each(|item| visit.call(item))
            }
            Request::SendMany { source: SendSource::Iterator { iterator, next, .. }, .. } => {
                visit.call(iterator)?;
                next.as_ref().map_or(Ok(()), |(item, _)| visit.call(item))
            }
            Request::Stop(_, Some(names)) => names.iter().try_for_each(|(name, _)| visit.call(name)),
            _ => Ok(()),
        }
    }
}
