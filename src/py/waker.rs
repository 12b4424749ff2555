//! Who is told by the core: a thread on its parker, an operation awaited on an event loop, a channel that holds grants back, or a
//! task of tokio's.
#![allow(unsafe_code)] // sharing inside a section, where no token can be passed

use std::sync::Arc;

use pyo3::prelude::*;
use sluicegate_core::wait::{Parker, Wake, Wakes};

use crate::aio::AsyncOperation;
use crate::credits::PyChannelBody;

#[derive(Debug)]
pub(crate) enum Waker {
    Thread(Arc<Parker>),
    Task(Py<AsyncOperation>),
    /// Nobody waits: a channel that holds its grants back until this one's sender has credit.
    Upstream(Py<PyChannelBody>),
    /// A task of tokio's (`io`), which holds nothing of Python's where it waits.
    #[cfg(feature = "tokio")]
    Future(Arc<tokio::sync::Notify>),
}

impl Wake for Waker {
    fn share(&self) -> Self {
        match self {
            Self::Thread(parker) => Self::Thread(Arc::clone(parker)),
            // SAFETY: lines and clocks are only ever touched by attached threads (see `domain`); a new reference runs no Python.
            Self::Task(operation) => Self::Task(operation.clone_ref(unsafe { Python::assume_attached() })),
            // SAFETY: as above.
            Self::Upstream(body) => Self::Upstream(body.clone_ref(unsafe { Python::assume_attached() })),
            #[cfg(feature = "tokio")]
            Self::Future(signal) => Self::Future(Arc::clone(signal)),
        }
    }

    fn is_thread(&self) -> bool {
        matches!(self, Self::Thread(_))
    }

    fn group(&self) -> usize {
        match self {
            Self::Thread(_) | Self::Upstream(_) => 0,
            #[cfg(feature = "tokio")]
            Self::Future(_) => 0, // it never waits on a limiter
            // SAFETY: as above.
            Self::Task(operation) => operation.bind(unsafe { Python::assume_attached() }).get().event_loop_mark(),
        }
    }

    fn wake(self) -> Wakes<Self> {
        match self {
            Self::Thread(parker) => {
                parker.unpark();
                Wakes::none()
            }
            // SAFETY: wake-ups are fired by attached threads, right after they have left the section.
            Self::Task(operation) => AsyncOperation::notify(operation.bind(unsafe { Python::assume_attached() })),
            // SAFETY: as above.
            Self::Upstream(body) => body.get().core.release(unsafe { Python::assume_attached() }),
            #[cfg(feature = "tokio")]
            Self::Future(signal) => {
                signal.notify_one();
                Wakes::none()
            }
        }
    }
}
