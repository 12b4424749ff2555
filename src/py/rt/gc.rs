//! Garbage collection of objects in the core: `__traverse__` visits what a wait queue or a buffer holds, through callbacks.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};

use crate::rt::waker::Waker;

/// The token inside `__traverse__`, where it cannot be obtained in the ordinary way.
#[allow(unsafe_code)]
pub(crate) fn attached_in_traverse<'py>() -> Python<'py> {
    // SAFETY: the garbage collector runs attached, with the world stopped where there is no global lock. The token is used for
    // entering sections only, and those run no Python.
    unsafe { Python::assume_attached() }
}

/// Visits the objects that the core enumerates; returns the first error.
pub(crate) struct Shown<'a, 'v> {
    visit: &'a PyVisit<'v>,
    outcome: RefCell<Result<(), PyTraverseError>>,
}

impl<'a, 'v> Shown<'a, 'v> {
    pub(crate) fn to(visit: &'a PyVisit<'v>) -> Self {
        Self { visit, outcome: RefCell::new(Ok(())) }
    }

    pub(crate) fn object<'p, T: 'p>(&self, object: impl Into<Option<&'p Py<T>>>) {
        let mut outcome = self.outcome.borrow_mut();
        if outcome.is_ok() {
            *outcome = self.visit.call(object);
        }
    }

    pub(crate) fn waker(&self, waker: &Waker) {
        self.object(waker.object());
    }

    pub(crate) fn outcome(self) -> Result<(), PyTraverseError> {
        self.outcome.into_inner()
    }
}

/// Visits the wakers in an object's wait queues, which are all Python objects that wait queues hold.
pub(crate) fn show_wakers(
    visit: &PyVisit<'_>,
    wakers: impl FnOnce(Python<'_>, &mut dyn FnMut(&Waker)),
) -> Result<(), PyTraverseError> {
    let shown = Shown::to(visit);
    wakers(attached_in_traverse(), &mut |waker| shown.waker(waker));
    shown.outcome()
}
