//! One operation that may have to wait, in a thread (`blocking`) or a coroutine (`aio`).
//!
//! `attempt` is called until it returns a result. It never blocks (except for a queue's baton, if it must not use the wait queue). Between
//! calls the operation holds its object, and its place in the object's wait queue (`registration`).

use std::fmt::Debug;

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::wait::Wakes;

use crate::rt::Item;
use crate::rt::arguments::Timeout;
use crate::rt::exceptions::made_at_once;
use crate::rt::registration::{Interruptible, Registered};
use crate::rt::waker::Waker;

/// What an attempt may do.
#[derive(Clone, Copy)]
pub(crate) enum Mode<'a> {
    /// It does not wait: there is only this attempt.
    Try,
    /// It may wait later, but does not join the wait queue yet: nothing is registered.
    TryFair,
    /// It joins the wait queue, or keeps the place it has.
    Park(&'a Waker),
}

/// The result of an operation.
#[derive(Debug)]
pub(crate) enum Done {
    Nothing,
    Yes,
    No,
    Item(Item),
    Count(usize),
}

impl Done {
    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Self::Nothing => py.None(),
            Self::Yes => true.into_pyobject(py)?.to_owned().into_any().unbind(),
            Self::No => false.into_pyobject(py)?.to_owned().into_any().unbind(),
            Self::Item(item) => item,
            Self::Count(count) => count.into_pyobject(py)?.into_any().unbind(),
        })
    }
}

pub(crate) trait Operation: Debug + Send + Sync {
    /// The names of the blocking method and its awaitable counterpart, for messages.
    fn names(&self) -> (&'static str, &'static str);

    /// The object that it works on, and its place in that object's wait queue.
    fn registration(&self) -> &dyn Registered;
    fn registration_mut(&mut self) -> &mut dyn Registered;

    /// One attempt. `None`: no result yet (with [`Mode::Park`] the operation is in the wait queue now).
    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, now: Nanos) -> PyResult<Option<Done>>;

    /// Called once when the operation has ended, with or without a result: leaves the wait queue and gives back what it has reserved.
    fn leave(&mut self, py: Python<'_>) {
        self.registration_mut().withdraw(py).fire();
    }

    /// The result if the operation could not happen in time, or not at once: an error, or a value.
    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done>;

    /// Records on an exception that ends the operation how far it has come. Only batches do.
    fn annotate(&self, _error: &Bound<'_, PyAny>) {}

    /// True for a batch.
    fn is_batch(&self) -> bool {
        false
    }

    /// Visits the objects that it holds, for the garbage collector.
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.registration().traverse(visit)
    }

    // Forwarded to its registration: called here they cost one dynamic call instead of two.

    fn clock(&self, py: Python<'_>) -> Clock<Waker> {
        self.registration().clock(py)
    }

    fn set_deadline(&mut self, deadline: Option<Nanos>) {
        self.registration_mut().set_deadline(deadline);
    }

    fn look_again_at(&self) -> Option<Nanos> {
        self.registration().look_again_at()
    }

    fn interruptible(&self, py: Python<'_>) -> Option<Box<dyn Interruptible>> {
        self.registration().interruptible(py)
    }

    fn withdraw(&mut self, py: Python<'_>) -> Wakes<Waker> {
        self.registration_mut().withdraw(py)
    }
}

impl<O: Operation + 'static> From<O> for Box<dyn Operation> {
    fn from(operation: O) -> Self {
        Box::new(operation)
    }
}

/// Applies `annotate` to an error that is about to be raised.
pub(crate) fn annotated(operation: &dyn Operation, py: Python<'_>, error: PyErr) -> PyErr {
    if !operation.is_batch() {
        return error;
    }
    let error = made_at_once(py, error);
    operation.annotate(error.value(py));
    error
}
