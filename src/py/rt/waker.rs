//! `Waker`: the kinds of waiters that the core can wake: a thread on its parker, an operation awaited on an event loop, a channel that holds
//! back grants, or a tokio task.
#![allow(unsafe_code)] // sharing inside a section, where no token can be passed

use std::sync::Arc;

use pyo3::prelude::*;
use sluicegate_core::wait::{Parker, Wake, Wakes};

/// How a waiting Python object is woken, so that the wait queues need not know its class.
#[derive(Debug)]
pub(crate) struct Callee {
    pub(crate) wake: fn(&Bound<'_, PyAny>) -> Wakes<Waker>,
    /// See [`Wake::group`].
    pub(crate) group: fn(&Bound<'_, PyAny>) -> usize,
}

#[derive(Debug)]
pub(crate) enum Waker {
    Thread(Arc<Parker>),
    /// An operation awaited on an event loop; a channel that holds its grants back.
    Object(Py<PyAny>, &'static Callee),
    /// A tokio task (`io`), which holds no Python objects here.
    #[cfg(feature = "tokio")]
    Future(Arc<tokio::sync::Notify>),
}

impl Waker {
    /// The Python object that it holds, for the garbage collector.
    pub(crate) fn object(&self) -> Option<&Py<PyAny>> {
        if let Self::Object(object, _) = self { Some(object) } else { None }
    }

    /// Wakes an operation that is awaited on an event loop, without giving up the waker. False for any other waiter.
    pub(crate) fn wake_task(&self, py: Python<'_>) -> bool {
        let Self::Object(object, callee) = self else { return false };
        (callee.wake)(object.bind(py)).fire();
        true
    }
}

impl Wake for Waker {
    fn share(&self) -> Self {
        match self {
            Self::Thread(parker) => Self::Thread(Arc::clone(parker)),
            // SAFETY: wait queues and clocks are only accessed by attached threads (see `domain`); a new reference runs no Python.
            Self::Object(object, callee) => Self::Object(object.clone_ref(unsafe { Python::assume_attached() }), callee),
            #[cfg(feature = "tokio")]
            Self::Future(signal) => Self::Future(Arc::clone(signal)),
        }
    }

    fn is_thread(&self) -> bool {
        matches!(self, Self::Thread(_))
    }

    fn group(&self) -> usize {
        match self {
            Self::Thread(_) => 0,
            #[cfg(feature = "tokio")]
            Self::Future(_) => 0, // it never waits on a limiter
            // SAFETY: as above.
            Self::Object(object, callee) => (callee.group)(object.bind(unsafe { Python::assume_attached() })),
        }
    }

    fn wake(self) -> Wakes<Self> {
        match self {
            Self::Thread(parker) => {
                parker.unpark();
                Wakes::none()
            }
            // SAFETY: wake-ups are fired by attached threads, right after they have left the section.
            Self::Object(object, callee) => (callee.wake)(object.bind(unsafe { Python::assume_attached() })),
            #[cfg(feature = "tokio")]
            Self::Future(signal) => {
                signal.notify_one();
                Wakes::none()
            }
        }
    }
}
