//! The objects: the broadcast and its subscribers. Their methods are in `class` and `subscriber`.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use sluicegate_core::broadcast::{Broadcast, Ended, Overflow, Subscription};

use crate::rt::class::Common;
use crate::rt::domain::Attached;
use crate::rt::drops::FlatItem;
use crate::rt::ending::Ending;
use crate::rt::exceptions;
use crate::rt::guarded::last_act;
use crate::rt::kept::interned;
use crate::rt::late::Late;
use crate::rt::registration::WaitableClass;
use crate::rt::waker::Waker;

pub(super) type Core = Broadcast<FlatItem, Waker, Attached, Ending>;
pub(super) type Own = Subscription<FlatItem, Waker, Attached, Ending>;

/// Publishes items to any number of subscribers, threads and coroutines: each gets every item that is published while it
/// is subscribed, at its own pace.
///
/// `subscribe(maxsize)` returns a `Subscriber`, which is used like a queue. What happens to an item when a subscriber is
/// full is that subscriber's policy, so a slow one need not delay the others. An item is stored once, however many
/// subscribers there are. A new subscriber gets nothing that was published before.
///
/// After `shutdown` subscribers get what they have not had yet, and then the end.
///
/// Fairness: each subscriber has a wait queue of its own, and so have publishers; waiters are woken in order of arrival.
///
/// Raises TypeError for an invalid `clock` or `name`.
#[pyclass(frozen, subclass, weakref, generic, name = "Broadcast", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyBroadcast {
    pub(super) parts: Late<Parts>,
}

/// What a broadcast is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(super) core: Arc<Core>,
    pub(super) common: Common,
}

/// What `Broadcast.subscribe` returns: the items that are published, used like a queue, with `get`, `for` and `async for`.
///
/// Several threads and tasks can share a subscriber; each item then goes to one of them. `with subscriber:` closes it at the
/// end of the block, and so does garbage collection of the subscriber: a broadcast does not keep its subscribers alive.
#[pyclass(frozen, weakref, generic, name = "Subscriber", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySubscriber {
    pub(super) own: Own,
    pub(super) broadcast: Py<PyBroadcast>,
    pub(super) limit: usize,
    pub(super) overflow: Overflow,
}

impl WaitableClass for PyBroadcast {
    type Waitable = Core;

    #[inline]
    fn waitable(&self) -> &Core {
        &self.core
    }
}

impl WaitableClass for PySubscriber {
    type Waitable = Own;

    #[inline]
    fn waitable(&self) -> &Own {
        &self.own
    }
}

impl PyBroadcast {
    fn ending(&self, py: Python<'_>) -> Ending {
        self.core.look(py, |ending| ending.clone_ref(py))
    }

    pub(super) fn shut_down_error(&self, py: Python<'_>, operation: &str) -> PyErr {
        self.ending(py).shut_down_error(py, &format!("{operation}: the broadcast{}", self.common.label(py)))
    }

    /// A subscriber had no room (in time).
    pub(super) fn refusal(&self, py: Python<'_>, asked: &str) -> PyErr {
        self.refusal_args(py, &PyString::new(py, asked)).map_or_else(|error| error, |args| exceptions::full(py, args))
    }

    /// The arguments of that exception.
    pub(super) fn refusal_args<'py>(&self, py: Python<'py>, asked: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyTuple>> {
        let template = interned!(py, "{1}: a subscriber of the broadcast{0} with overflow='block' is full");
        (template, self.common.name(py), asked).into_pyobject(py)
    }
}

impl PySubscriber {
    /// What an operation raises when nothing more will come.
    pub(super) fn ended_error(&self, py: Python<'_>, operation: &str, ended: Ended) -> PyErr {
        let broadcast = self.broadcast.get();
        let label = broadcast.common.label(py);
        let limit = self.limit;
        match ended {
            Ended::ShutDown => broadcast.shut_down_error(py, operation),
            Ended::Disconnected => exceptions::shut_down(
                py,
                (format!(
                    "{operation}: the subscriber of the broadcast{label} has been disconnected, because it was full (maxsize={limit}) when \
                     an item was published"
                ),),
            ),
            Ended::Closed => {
                exceptions::shut_down(py, (format!("{operation}: the subscriber of the broadcast{label} has been closed"),))
            }
        }
    }

    /// What ends an iteration that has met ShutDown: raises, or returns.
    pub(super) fn end_of_iteration(&self, py: Python<'_>) -> PyResult<()> {
        let seen = self.own.statistics(py);
        let broadcast = self.broadcast.get();
        if seen.closed {
            return Ok(());
        }
        if seen.disconnected {
            return Err(self.ended_error(py, "iteration", Ended::Disconnected));
        }
        broadcast.ending(py).of_iteration(py, || broadcast.shut_down_error(py, "iteration"))
    }

    /// There was no item (in time).
    pub(super) fn refusal(&self, py: Python<'_>, asked: &str) -> PyErr {
        self.refusal_args(py, &PyString::new(py, asked)).map_or_else(|error| error, |args| exceptions::empty(py, args))
    }

    /// The arguments of that exception.
    pub(super) fn refusal_args<'py>(&self, py: Python<'py>, asked: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyTuple>> {
        let template = interned!(py, "{1}: the subscriber of the broadcast{0} has no item");
        (template, self.broadcast.get().common.name(py), asked).into_pyobject(py)
    }
}

impl Drop for PySubscriber {
    fn drop(&mut self) {
        last_act(|py| self.own.unsubscribe(py));
    }
}
