//! One operation that may have to wait, whoever waits for it: a thread (`blocking`) or a coroutine (`aio`).
//!
//! `attempt` is called until it gives something. It never blocks (but for a queue's baton, when it may not wait in line), and the
//! operation holds its places in line between calls. `this` is the Python object that it is an operation on.

use std::fmt::Debug;

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyList;
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::wait::Wakes;

use crate::rt::Item;
use crate::rt::arguments::Timeout;
use crate::rt::exceptions::made_at_once;
use crate::rt::waker::Waker;

/// How an attempt may go about it.
#[derive(Clone, Copy)]
pub(crate) enum Chance<'a> {
    /// Now or never.
    Now,
    /// It is willing to wait, but does not stand in line yet: nothing is registered.
    Arrival,
    /// It takes a place in line, or keeps the one it has.
    Wait(&'a Waker),
}

/// What an operation comes to.
#[derive(Debug)]
pub(crate) enum Done {
    Nothing,
    Yes,
    No,
    Item(Item),
    Items(Vec<Item>),
    Count(usize),
}

impl Done {
    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Self::Nothing => py.None(),
            Self::Yes => true.into_pyobject(py)?.to_owned().into_any().unbind(),
            Self::No => false.into_pyobject(py)?.to_owned().into_any().unbind(),
            Self::Item(item) => item,
            Self::Items(items) => PyList::new(py, items)?.into_any().unbind(),
            Self::Count(count) => count.into_pyobject(py)?.into_any().unbind(),
        })
    }
}

pub(crate) trait Operation: Debug + Send + Sync {
    /// The blocking method and its awaitable twin, for messages.
    fn names(&self) -> (&'static str, &'static str);

    /// Where its time is read.
    fn clock(&self, this: &Bound<'_, PyAny>) -> Clock<Waker>;

    /// When it has to end, once that is known.
    fn set_deadline(&mut self, deadline: Option<Nanos>);

    /// When it wants another attempt without having been woken.
    fn look_again_at(&self) -> Option<Nanos>;

    /// One attempt. `None`: not yet (and with [`Chance::Wait`] there is a place in line now).
    fn attempt(&mut self, this: &Bound<'_, PyAny>, chance: Chance<'_>, now: Nanos) -> PyResult<Option<Done>>;

    /// The place it holds in line, while signal handlers run on the thread that waits there.
    fn place(&self, this: &Bound<'_, PyAny>) -> Option<Box<dyn Place>>;

    /// Gives up its places in line; the wake-ups that follow are the caller's to fire.
    fn withdraw(&mut self, this: &Bound<'_, PyAny>) -> Wakes<Waker>;

    /// It has ended, one way or the other: gives up everything it holds.
    fn leave(&mut self, this: &Bound<'_, PyAny>) {
        self.withdraw(this).fire();
    }

    /// The error for "not in time", or "not now".
    fn refused(&self, this: &Bound<'_, PyAny>, timeout: Timeout) -> PyErr;

    /// What it comes to when it did not go in time, or not now: that error, or an answer that says so.
    fn out_of_time(&self, this: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<Done> {
        Err(self.refused(this, timeout))
    }

    /// Tells an exception that ends it how far it came. Only batches have something to tell.
    fn annotate(&self, _error: &Bound<'_, PyAny>) {}

    /// Is it a batch?
    fn is_batch(&self) -> bool {
        false
    }

    /// Shows the garbage collector what it holds.
    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError>;
}

/// A place in line whose owner runs signal handlers.
pub(crate) trait Place {
    /// The handlers begin.
    fn interrupted(&self, _py: Python<'_>) {}

    /// A handler begins a wait of its own, so this one cannot come for a while: nobody waits for it.
    fn step_aside(&self, py: Python<'_>);

    /// Back again.
    fn step_back(&self, py: Python<'_>);
}

/// `annotate`, for an error on its way out.
pub(crate) fn annotated(operation: &dyn Operation, py: Python<'_>, error: PyErr) -> PyErr {
    if !operation.is_batch() {
        return error;
    }
    let error = made_at_once(py, error);
    operation.annotate(error.value(py));
    error
}
