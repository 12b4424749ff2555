//! The operations on channels that may have to wait.

use crate::rt::kept::interned;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyIterator;
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::credits::{Handed, NO_OWNER, Permit, ReceiveError, SendError, Side, Spot};
use sluicegate_core::wait::{Ticket, Wakes};

use super::delivery::PyDelivery;
use super::inner::PyChannelBody;
use crate::credits::objects;
use crate::rt::Item;
use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::exceptions;
use crate::rt::guarded;
use crate::rt::operation::{Chance, Done, Operation, Place};
use crate::rt::source::{self, SIGNAL_CHECK, is_exhausted};
use crate::rt::waker::Waker;

/// Where a batch comes from.
#[derive(Debug)]
enum Source {
    /// All there already, with their weights; without any each weighs one.
    Items(std::vec::IntoIter<Item>, Vec<u64>),
    /// Asked for an item only once there is credit for one; what then weighs more is kept until there is enough.
    Iterator {
        iterator: Py<PyIterator>,
        permit: Permit,
        next: Option<(Item, u64)>,
        /// How many there are, if that is known: then no credit is needed to see the end.
        left: Option<usize>,
    },
}

/// Puts credit into the object that it was taken for.
pub(crate) type Keep = fn(&Bound<'_, PyAny>, Permit) -> PyResult<()>;

#[derive(Debug)]
enum Work {
    Send(Option<Item>, u64),
    SendMany {
        source: Source,
        accepted: usize,
    },
    /// `Keep` gets the credit.
    Permit(u64, Keep),
    Ready(u64),
    Receive,
    ReceiveMany(usize),
}

#[derive(Debug)]
pub(crate) struct ChannelOperation {
    body: Py<PyChannelBody>,
    work: Work,
    spot: Spot,
    /// Deliveries: when something becomes due by itself.
    look_again_at: Option<Nanos>,
    /// Others settle what this one receives.
    for_subscriber: bool,
}

impl ChannelOperation {
    fn new(body: &Bound<'_, PyChannelBody>, work: Work) -> Self {
        Self { body: body.clone().unbind(), work, spot: Spot::default(), look_again_at: None, for_subscriber: false }
    }

    pub(crate) fn send(body: &Bound<'_, PyChannelBody>, item: &Bound<'_, PyAny>) -> PyResult<Self> {
        let weight = body.get().weight(item)?;
        Ok(Self::new(body, Work::Send(Some(item.clone().unbind()), weight)))
    }

    pub(crate) fn send_many(body: &Bound<'_, PyChannelBody>, items: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = body.py();
        let source = match source::Source::of(items)? {
            source::Source::Items(items) => {
                let weighed = if body.get().is_weighted() { items.as_slice() } else { &[] };
                let weights = weighed.iter().map(|item| body.get().weight(item.bind(py))).collect::<PyResult<_>>()?;
                Source::Items(items.into_iter(), weights)
            }
            source::Source::Iterator { iterator, left } => {
                Source::Iterator { iterator, permit: Permit::default(), next: None, left }
            }
        };
        Ok(Self::new(body, Work::SendMany { source, accepted: 0 }))
    }

    pub(crate) fn permit(body: &Bound<'_, PyChannelBody>, n: u64, keep: Keep) -> Self {
        Self::new(body, Work::Permit(n, keep))
    }

    pub(crate) fn ready(body: &Bound<'_, PyChannelBody>, n: u64) -> Self {
        Self::new(body, Work::Ready(n))
    }

    pub(crate) fn receive(body: &Bound<'_, PyChannelBody>) -> Self {
        Self::new(body, Work::Receive)
    }

    /// For a subscriber, who has handed on what it has received.
    pub(crate) fn receive_for_subscriber(body: &Bound<'_, PyChannelBody>) -> Self {
        Self { for_subscriber: true, ..Self::receive(body) }
    }

    pub(crate) fn receive_many(body: &Bound<'_, PyChannelBody>, max: usize) -> Self {
        Self::new(body, Work::ReceiveMany(max))
    }
}

fn too_heavy(body: &PyChannelBody, py: Python<'_>, operation: &str, weight: u64) -> PyErr {
    let bound = body.core.bound(py);
    PyValueError::new_err(format!("{operation}: {weight} is more than can ever be outstanding at once, which is {bound}"))
}

/// One attempt.
struct Visit<'a, 'py, 's> {
    body: &'a Bound<'py, PyChannelBody>,
    name: &'static str,
    chance: Chance<'s>,
    spot: &'s mut Spot,
    for_subscriber: bool,
}

impl Visit<'_, '_, '_> {
    fn refusal<T>(&self, error: &SendError<T>, weight: u64) -> PyResult<Option<Done>> {
        let py = self.body.py();
        match error {
            SendError::Full(_) => Ok(None),
            SendError::TooHeavy(_) => Err(too_heavy(self.body.get(), py, self.name, weight)),
            SendError::Ended(_, end) => Err(self.body.get().send_ended(py, self.name, *end)),
        }
    }

    fn send(&mut self, slot: &mut Option<Item>, weight: u64) -> PyResult<Option<Done>> {
        let (py, core) = (self.body.py(), &self.body.get().core);
        let item = slot.take().expect("an operation that is done is not attempted again");
        let (wakes, result) = match self.chance {
            Chance::Wait(waker) => core.send_or_wait(py, item, weight, self.spot, waker),
            _ => core.try_send(py, item, weight),
        };
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Nothing)),
            Err(error) => {
                let outcome = self.refusal(&error, weight);
                let (SendError::Full(item) | SendError::TooHeavy(item) | SendError::Ended(item, _)) = error;
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
        let (wakes, result) = match self.chance {
            Chance::Wait(waker) => core.send_batch_or_wait(py, items, weights, self.spot, waker),
            _ => core.try_send_batch(py, items, weights),
        };
        *accepted += before - items.len();
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Count(*accepted))),
            Err(error) => self.refusal(&error, if weights.is_empty() { 1 } else { weights[weights.len() - items.len()] }),
        }
    }

    /// Takes credit for `n`, if it is there.
    fn take_credit(&mut self, n: u64) -> PyResult<Option<Permit>> {
        let (py, core) = (self.body.py(), &self.body.get().core);
        let (wakes, result) = match self.chance {
            Chance::Wait(waker) => core.permit_or_wait(py, n, self.spot, waker),
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
                let item = item?;
                let weight = body.weight(&item)?;
                *next = Some((item.unbind(), weight));
            }
            let weight = next.as_ref().map_or(0, |(_, weight)| *weight);
            if permit.left() < weight || weight == 0 {
                // All of it at once: two who hold a part each would wait for each other. (Without weight: a slot.)
                self.give_back(permit);
                let Some(taken) = self.take_credit(weight)? else { return Ok(None) };
                *permit = taken;
            }
            let (item, weight) = next.take().expect("it was put there");
            let (wakes, result) = body.core.send_permitted(py, permit, item, weight);
            wakes.fire();
            match result {
                Ok(()) => {}
                // Another has been faster, and has taken the slot.
                Err(SendError::Full(item)) if weight == 0 => {
                    *next = Some((item, weight));
                    continue;
                }
                Err(error) => return self.refusal(&error, weight),
            }
            self.give_back(permit);
            *accepted += 1;
            *left = left.map(|left| left.saturating_sub(1));
            if *accepted % SIGNAL_CHECK == 0 {
                py.check_signals()?;
            }
        }
    }

    fn ready(&mut self, n: u64) -> PyResult<Option<Done>> {
        let (py, core) = (self.body.py(), &self.body.get().core);
        let (wakes, result) = match self.chance {
            Chance::Wait(waker) => core.ready_or_wait(py, n, self.spot, waker),
            _ => core.is_ready(py, n),
        };
        wakes.fire();
        match result {
            Ok(()) => Ok(Some(Done::Yes)),
            Err(error) => self.refusal(&error, n),
        }
    }

    /// What to do about there being no item: `Some` if it is worth another look at once.
    fn nothing(&self, error: ReceiveError) -> PyResult<Option<()>> {
        let (py, body) = (self.body.py(), self.body.get());
        match error {
            ReceiveError::Empty => Ok(None),
            ReceiveError::Control => {
                // The handler may itself receive: it is not to stand behind the call that runs it.
                let place = self.spot.place();
                if let Some(place) = place {
                    body.core.step_aside(py, place).fire();
                }
                body.handle_controls(py);
                if let Some(place) = place {
                    body.core.step_back(py, place).fire();
                }
                Ok(Some(()))
            }
            ReceiveError::Ended(end) => Err(body.receive_ended(py, self.name, end)),
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
            let (wakes, result) = match self.chance {
                Chance::Wait(waker) => core.receive_or_wait(py, self.spot, waker),
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
            let (wakes, result) = match self.chance {
                Chance::Wait(waker) => core.receive_batch_or_wait(py, max, self.spot, waker),
                _ => core.try_receive_batch(py, max),
            };
            wakes.fire();
            match result {
                Ok(batch) => return Ok(Some(Done::Item(objects::list(py, batch)?.into_any().unbind()))),
                Err(error) => {
                    if self.nothing(error)?.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// One delivery, made into Python's.
    fn receive_delivery(&mut self, look_again_at: &mut Option<Nanos>) -> PyResult<Option<Py<PyAny>>> {
        let (py, body) = (self.body.py(), self.body.get());
        let owner = if self.for_subscriber { NO_OWNER } else { aio::whose_turn(py)? };
        loop {
            let share = |item: &Item| item.clone_ref(py);
            let (leaving, result) = match self.chance {
                Chance::Wait(waker) => body.core.receive_delivery_or_wait(py, owner, share, self.spot, waker),
                _ => body.core.try_receive_delivery(py, owner, share),
            };
            body.finish(py, leaving);
            match result {
                Ok(Handed { item, receipt, attempt }) => {
                    return Ok(Some(
                        Bound::new(py, PyDelivery::new(self.body.clone().unbind(), item, receipt, attempt))?.into_any().unbind(),
                    ));
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
        let Some(first) = self.receive_delivery(look_again_at)? else { return Ok(None) };
        let mut deliveries = vec![first];
        self.chance = Chance::Now;
        while deliveries.len() < max {
            match self.receive_delivery(&mut None) {
                Ok(Some(delivery)) => deliveries.push(delivery),
                // What there is is the answer; an end is found next time.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(Some(Done::Items(deliveries)))
    }
}

impl Operation for ChannelOperation {
    fn names(&self) -> (&'static str, &'static str) {
        match self.work {
            Work::Send(..) => ("send", "send_async"),
            Work::SendMany { .. } => ("send_many", "send_many_async"),
            Work::Permit(..) => ("permit", "async with permit"),
            Work::Ready(_) => ("wait_ready", "wait_ready_async"),
            Work::Receive => ("receive", "receive_async"),
            Work::ReceiveMany(_) => ("receive_many", "receive_many_async"),
        }
    }

    fn clock(&self, this: &Bound<'_, PyAny>) -> Clock<Waker> {
        let py = this.py();
        self.body.get().core.clock(py)
    }

    fn set_deadline(&mut self, _deadline: Option<Nanos>) {}

    fn look_again_at(&self) -> Option<Nanos> {
        self.look_again_at
    }

    fn attempt(&mut self, this: &Bound<'_, PyAny>, chance: Chance<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let py = this.py();
        let name = self.names().0;
        let Self { body, work, spot, look_again_at, for_subscriber } = self;
        *look_again_at = None;
        let body = body.bind(py);
        let acks = body.get().acks;
        let sends = !matches!(work, Work::Receive | Work::ReceiveMany(_));
        if acks && sends {
            // What becomes due by itself gives credit back, also when nobody receives.
            *look_again_at = body.get().up_to_date(py).next_due(py);
        }
        let mut visit = Visit { body, name, chance, spot, for_subscriber: *for_subscriber };
        match work {
            Work::Send(item, weight) => visit.send(item, *weight),
            Work::SendMany { source: Source::Items(items, weights), accepted } => visit.send_items(items, weights, accepted),
            Work::SendMany { source: Source::Iterator { iterator, permit, next, left }, accepted } => {
                visit.send_from_iterator(iterator, permit, next, left, accepted)
            }
            Work::Permit(n, keep) => {
                let Some(permit) = visit.take_credit(*n)? else { return Ok(None) };
                keep(this, permit)?;
                Ok(Some(Done::Nothing))
            }
            Work::Ready(n) => visit.ready(*n),
            Work::Receive if acks => Ok(visit.receive_delivery(look_again_at)?.map(Done::Item)),
            Work::Receive => visit.receive(),
            Work::ReceiveMany(max) if acks => visit.receive_deliveries(*max, look_again_at),
            Work::ReceiveMany(max) => visit.receive_batch(*max),
        }
    }

    fn place(&self, this: &Bound<'_, PyAny>) -> Option<Box<dyn Place>> {
        let place = self.spot.place()?;
        Some(Box::new(ChannelPlace { body: self.body.clone_ref(this.py()), place }))
    }

    fn withdraw(&mut self, this: &Bound<'_, PyAny>) -> Wakes<Waker> {
        self.body.get().core.leave(this.py(), &mut self.spot)
    }

    fn leave(&mut self, this: &Bound<'_, PyAny>) {
        let py = this.py();
        self.withdraw(this).fire();
        if let Work::SendMany { source: Source::Iterator { permit, .. }, .. } = &mut self.work {
            if permit.left() > 0 {
                self.body.get().core.return_permit(py, std::mem::take(permit)).fire();
            }
        }
    }

    fn refused(&self, this: &Bound<'_, PyAny>, timeout: Timeout) -> PyErr {
        let py = this.py();
        let (name, _) = self.names();
        let asked = timeout.asked(name);
        let body = self.body.get();
        match self.work {
            Work::Receive | Work::ReceiveMany(_) => exceptions::empty(py, body.refusal(py, &asked)),
            Work::Send(_, n) | Work::Permit(n, _) | Work::Ready(n) if n > 1 => {
                exceptions::full(py, body.refusal(py, &format!("{asked} ({n})")))
            }
            _ => exceptions::full(py, body.refusal(py, &asked)),
        }
    }

    fn is_batch(&self) -> bool {
        matches!(self.work, Work::SendMany { .. })
    }

    /// A batch says how many items it has sent, and which one it had taken out of the iterator.
    fn annotate(&self, error: &Bound<'_, PyAny>) {
        if let Work::SendMany { source, accepted } = &self.work {
            let py = error.py();
            // An exception without room for an attribute goes as it is.
            let _ = error.setattr(interned!(py, "accepted"), accepted);
            if let Source::Iterator { next: Some((item, _)), .. } = source {
                let _ = error.setattr(interned!(py, "pending"), item);
            }
        }
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.body)?;
        match &self.work {
            Work::Send(item, _) => visit.call(item),
            Work::SendMany { source: Source::Items(items, _), .. } => {
                items.as_slice().iter().try_for_each(|item| visit.call(item))
            }
            Work::SendMany { source: Source::Iterator { iterator, next, .. }, .. } => {
                visit.call(iterator)?;
                next.as_ref().map_or(Ok(()), |(item, _)| visit.call(item))
            }
            _ => Ok(()),
        }
    }
}

/// The place of an operation whose thread runs signal handlers.
struct ChannelPlace {
    body: Py<PyChannelBody>,
    place: (Side, Ticket),
}

impl Place for ChannelPlace {
    fn step_aside(&self, py: Python<'_>) {
        self.body.get().core.step_aside(py, self.place).fire();
    }

    fn step_back(&self, py: Python<'_>) {
        self.body.get().core.step_back(py, self.place).fire();
    }
}
