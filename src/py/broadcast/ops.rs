//! The operations that may have to wait: to publish, and to take what has been published.

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::broadcast::{GetError, PublishError};
use sluicegate_core::clock::Nanos;

use super::inner::{PyBroadcast, PySubscriber};
use crate::rt::Item;
use crate::rt::arguments::Timeout;
use crate::rt::drops::FlatItem;
use crate::rt::memory::{self, ListRoom};
use crate::rt::operation::{Done, Mode, Operation};
use crate::rt::registration::{Registered, Registration, registration};

#[derive(Debug)]
pub(super) struct Publish {
    item: Option<FlatItem>,
    registration: Registration<Py<PyBroadcast>>,
}

impl Publish {
    pub(super) fn new(broadcast: &Bound<'_, PyBroadcast>, item: &Bound<'_, PyAny>) -> Self {
        Self { item: Some(FlatItem::new(item)), registration: Registration::new(broadcast.clone().unbind()) }
    }
}

impl Operation for Publish {
    fn names(&self) -> (&'static str, &'static str) {
        ("publish", "publish_async")
    }

    fn registration(&self) -> &dyn Registered {
        &self.registration
    }

    fn registration_mut(&mut self) -> &mut dyn Registered {
        &mut self.registration
    }

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let Registration { object, waiter, .. } = &mut self.registration;
        object.get().parts.ready()?;
        let core = &object.get().core;
        let item = self.item.take().expect("an operation that is done is not attempted again");
        let (wakes, result) = match mode {
            Mode::Park(waker) => core.publish_or_wait(py, item, waiter, waker),
            _ => core.try_publish(py, item, matches!(mode, Mode::TryFair)),
        };
        wakes.fire();
        match result {
            Ok(published) => Ok(Some(Done::Count(published.subscribers))),
            Err(PublishError::Full(item)) => {
                self.item = Some(item);
                Ok(None)
            }
            Err(PublishError::ShutDown(_item)) => Err(object.get().shut_down_error(py, "publish")),
            Err(PublishError::NoMemory(_item)) => Err(memory::none(py, c"there is no memory for the item in the broadcast")),
        }
    }

    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done> {
        Err(self.registration.object.get().refusal(py, &timeout.asked("publish")))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.registration.traverse(visit)?;
        visit.call(self.item.as_ref().and_then(FlatItem::object))
    }
}

#[derive(Debug)]
pub(super) struct Get {
    /// Of a batch.
    max: Option<usize>,
    registration: Registration<Py<PySubscriber>>,
}

impl Get {
    pub(super) fn one(subscriber: &Bound<'_, PySubscriber>) -> Self {
        Self { max: None, registration: Registration::new(subscriber.clone().unbind()) }
    }

    pub(super) fn many(subscriber: &Bound<'_, PySubscriber>, max: usize) -> Self {
        Self { max: Some(max), ..Self::one(subscriber) }
    }
}

/// The object in it.
pub(super) fn item(py: Python<'_>, item: FlatItem) -> Item {
    item.into_item().unwrap_or_else(|| py.None())
}

impl Operation for Get {
    fn names(&self) -> (&'static str, &'static str) {
        if self.max.is_some() { ("get_many", "get_many_async") } else { ("get", "get_async") }
    }

    registration!(registration);

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let name = self.names().0;
        let Registration { object, waiter, .. } = &mut self.registration;
        let own = &object.get().own;
        let share = |item: &FlatItem| item.share(py);
        let fair = matches!(mode, Mode::TryFair);
        let error = if let Some(max) = self.max {
            let room = ListRoom::new(py, max.min(own.len(py)))?;
            let (wakes, result) = match mode {
                Mode::Park(waker) => own.get_many_or_wait(py, max, waiter, waker, share),
                _ => own.try_get_many(py, max, fair, share),
            };
            wakes.fire();
            match result {
                Ok(items) => {
                    let items = items.into_iter().map(|got| item(py, got)).collect();
                    return Ok(Some(Done::Item(room.filled(items)?.into_any().unbind())));
                }
                Err(error) => error,
            }
        } else {
            let (wakes, result) = match mode {
                Mode::Park(waker) => own.get_or_wait(py, waiter, waker, share),
                _ => own.try_get(py, fair, share),
            };
            wakes.fire();
            match result {
                Ok(got) => return Ok(Some(Done::Item(item(py, got)))),
                Err(error) => error,
            }
        };
        match error {
            GetError::Empty => Ok(None),
            GetError::Ended(ended) => Err(object.get().ended_error(py, name, ended)),
            GetError::NoMemory => Err(memory::none(py, c"there is no memory for the list")),
        }
    }

    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done> {
        Err(self.registration.object.get().refusal(py, &timeout.asked(self.names().0)))
    }
}
