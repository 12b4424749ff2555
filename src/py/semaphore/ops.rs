//! The operation that waits for permits.

use crate::rt::kept::interned;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::semaphore::{KeyedPlace, KeyedSpot};
use sluicegate_core::wait::Wakes;

use super::inner::PySemaphore;
use crate::rt::arguments::{Timeout, text};
use crate::rt::exceptions;
use crate::rt::operation::{Chance, Done, Operation, Place};
use crate::rt::waker::Waker;

/// Told that its permits have been acquired.
pub(super) type Hold = fn(&Bound<'_, PyAny>) -> PyResult<()>;

#[derive(Debug)]
pub(super) struct Acquire {
    semaphore: Py<PySemaphore>,
    n: u64,
    spot: KeyedSpot,
    /// What holds what is acquired, and how it is told. Without it the caller does, and a timeout is an answer and no error.
    permit: Option<(Py<PyAny>, Hold)>,
}

impl Acquire {
    pub(super) fn new(semaphore: &Bound<'_, PySemaphore>, n: u64) -> Self {
        Self { semaphore: semaphore.clone().unbind(), n, spot: KeyedSpot::default(), permit: None }
    }

    pub(super) fn held_by(self, permit: Py<PyAny>, hold: Hold) -> Self {
        Self { permit: Some((permit, hold)), ..self }
    }
}

impl Operation for Acquire {
    fn names(&self) -> (&'static str, &'static str) {
        if self.permit.is_some() { ("with permit", "async with permit") } else { ("acquire", "acquire_async") }
    }

    fn clock(&self, this: &Bound<'_, PyAny>) -> Clock<Waker> {
        self.semaphore.get().permits.clock(this.py())
    }

    fn set_deadline(&mut self, _deadline: Option<Nanos>) {}

    fn look_again_at(&self) -> Option<Nanos> {
        None
    }

    fn attempt(&mut self, this: &Bound<'_, PyAny>, chance: Chance<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let py = this.py();
        let permits = &self.semaphore.get().permits;
        let result = match chance {
            Chance::Wait(waker) => permits.acquire_or_wait(py, self.n, &mut self.spot, waker),
            _ => permits.try_acquire(py, self.n),
        };
        let granted = PySemaphore::granted(self.semaphore.bind(py), self.n, result)?;
        if let (true, Some((permit, hold))) = (granted, &self.permit) {
            hold(permit.bind(py))?;
        }
        Ok(granted.then_some(Done::Yes))
    }

    fn place(&self, this: &Bound<'_, PyAny>) -> Option<Box<dyn Place>> {
        let place = self.spot.place()?;
        Some(Box::new(PlaceInLine { semaphore: self.semaphore.clone_ref(this.py()), place }))
    }

    fn withdraw(&mut self, this: &Bound<'_, PyAny>) -> Wakes<Waker> {
        self.semaphore.get().permits.leave(this.py(), &mut self.spot)
    }

    fn out_of_time(&self, this: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<Done> {
        if self.permit.is_some() { Err(self.refused(this, timeout)) } else { Ok(Done::No) }
    }

    fn refused(&self, this: &Bound<'_, PyAny>, timeout: Timeout) -> PyErr {
        let semaphore = self.semaphore.bind(this.py());
        let (reason, when) = match timeout {
            Timeout::Within(seconds) => ("expired", format!("within {seconds} seconds")),
            _ => ("full", "without waiting".to_owned()),
        };
        let py = this.py();
        let template = interned!(py, "the request (n={3}) was not granted {4}: {5}");
        let retry_after = 1.0; // a hint: it is not known when there will be room
        let seen = text(semaphore);
        exceptions::overloaded(py, (template, semaphore.get().common.name(py), retry_after, reason, self.n, when, seen))
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.semaphore)?;
        visit.call(self.permit.as_ref().map(|(permit, _)| permit))
    }
}

/// The place of an operation whose thread runs signal handlers.
struct PlaceInLine {
    semaphore: Py<PySemaphore>,
    place: KeyedPlace,
}

impl Place for PlaceInLine {
    fn step_aside(&self, py: Python<'_>) {
        self.semaphore.get().permits.step_aside(py, self.place);
    }

    fn step_back(&self, py: Python<'_>) {
        self.semaphore.get().permits.step_back(py, self.place);
    }
}
