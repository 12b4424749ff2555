//! Who is told by the core: a thread on its parker, an operation awaited on an event loop, a channel that holds grants back, or a
//! task of tokio's.
#![allow(unsafe_code)] // sharing inside a section, where no token can be passed

use std::sync::Arc;

use pyo3::prelude::*;
use sluicegate_core::wait::{Parker, Wake, Wakes};

/// How a Python object that waits is told. It knows its own kind; the lines it stands in need not.
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
    /// A task of tokio's (`io`), which holds nothing of Python's where it waits.
    #[cfg(feature = "tokio")]
    Future(Arc<tokio::sync::Notify>),
}

impl Waker {
    /// What the garbage collector has to know of it.
    pub(crate) fn object(&self) -> Option<&Py<PyAny>> {
        if let Self::Object(object, _) = self { Some(object) } else { None }
    }
}

impl Wake for Waker {
    fn share(&self) -> Self {
        match self {
            Self::Thread(parker) => Self::Thread(Arc::clone(parker)),
            // SAFETY: lines and clocks are only ever touched by attached threads (see `domain`); a new reference runs no Python.
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
