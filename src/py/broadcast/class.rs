//! `Broadcast`: its methods.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use sluicegate_core::broadcast::{Overflow, SubscribeError};
use sluicegate_core::clock::seconds;

use super::inner::{Core, Parts, PyBroadcast, PySubscriber};
use super::ops::Publish;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, Truth, positive, text};
use crate::rt::blocking;
use crate::rt::class::{Common, common_methods, repr_head};
use crate::rt::drops::FlatItem;
use crate::rt::ending::{End, Ending};
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::guarded;
use crate::rt::imported::imported;
use crate::rt::kept::Kept;
use crate::rt::late::{Late, is_made_later, made_late, refuse_more};
use crate::rt::memory;
use crate::rt::select::PySelectable;

/// The policies, by name.
const POLICIES: [(&str, Overflow); 4] = [
    ("drop_oldest", Overflow::DropOldest),
    ("drop_newest", Overflow::DropNewest),
    ("block", Overflow::Block),
    ("disconnect", Overflow::Disconnect),
];

fn policy_of(overflow: &Bound<'_, PyAny>) -> PyResult<Overflow> {
    let known = "'overflow' must be 'drop_oldest', 'drop_newest', 'block' or 'disconnect'";
    let name = overflow.cast::<PyString>().map_err(|_| PyTypeError::new_err(format!("{known}, not {}", text(overflow))))?;
    let name = name.to_str()?;
    let found = POLICIES.iter().find(|(known, _)| *known == name);
    found.map(|(_, policy)| *policy).ok_or_else(|| PyValueError::new_err(format!("{known}, not {}", text(overflow))))
}

pub(super) fn name_of(overflow: Overflow) -> &'static str {
    POLICIES.iter().find(|(_, policy)| *policy == overflow).map_or("", |(name, _)| name)
}

impl PyBroadcast {
    pub(super) fn publish_general(this: &Bound<'_, Self>, item: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<Py<PyAny>> {
        blocking::run(this.py(), &mut Publish::new(this, item), timeout)?.into_object(this.py())
    }

    fn end(&self, py: Python<'_>, end: End) {
        let (wakes, removed) = self.core.shut_down(py, end.immediate, |ending, again| end.note(ending, again));
        wakes.fire();
        drop(removed);
    }
}

#[pymethods]
impl PyBroadcast {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*more, clock = None, name = None, **unknown), text_signature = "(*, clock=None, name=None)")]
    fn new(
        class: &Bound<'_, PyType>,
        more: &Bound<'_, PyTuple>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let py = class.py();
        let parts = |common: Common| Parts { core: Arc::new(Core::new(Ending::default(), common.core_clock())), common };
        if is_made_later::<Self>(class)? {
            let unmade = Self { parts: Late::unmade(parts(Common::default())) };
            unmade.end(py, End { error: None, immediate: true }); // so that nothing can be published
            return Ok(unmade);
        }
        if !more.is_empty() {
            let given = more.len();
            let were = if given == 1 { "was" } else { "were" };
            return Err(PyTypeError::new_err(format!("Broadcast() takes 0 positional arguments but {given} {were} given")));
        }
        refuse_more("Broadcast", more, unknown)?;
        Ok(Self { parts: Late::made(parts(Common::new(py, name, clock)?)) })
    }

    /// Return a new `Subscriber` with room for `maxsize` items. It gets what is published from now on.
    ///
    /// `overflow` says what happens when an item is published and the subscriber is full:
    ///
    /// - "drop_oldest": its oldest item is dropped for the new one;
    /// - "drop_newest": it does not get the new one;
    /// - "block": `publish` waits until it has room, and `publish_nowait` raises Full;
    /// - "disconnect": it gets no further items. It can take those that it has, and then gets ShutDown.
    ///
    /// Raises ShutDown after a shutdown; ValueError or TypeError for an invalid argument.
    #[pyo3(signature = (maxsize, *, overflow = None), text_signature = "($self, maxsize, *, overflow='drop_oldest')")]
    fn subscribe<'py>(
        slf: &Bound<'py, Self>,
        maxsize: &Bound<'py, PyAny>,
        overflow: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PySubscriber>> {
        let (py, this) = (slf.py(), slf.get());
        this.parts.ready()?;
        let limit = positive("maxsize", maxsize)?;
        let overflow = overflow.map_or(Ok(Overflow::DropOldest), policy_of)?;
        let own = Core::subscribe(&this.core, py, limit, overflow).map_err(|error| match error {
            SubscribeError::ShutDown => this.shut_down_error(py, "subscribe"),
            SubscribeError::NoMemory => memory::none(py, c"there is no memory for one more subscriber"),
        })?;
        Bound::new(py, PySubscriber { own, broadcast: slf.clone().unbind(), limit, overflow })
    }

    /// Return the operation `publish(item)` for `select`, which then publishes the item and returns what `publish` returns.
    fn publishing(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PySelectable {
        PySelectable::new("publishing", slf.as_any(), Some(item), |this, item| {
            let none = this.py().None().into_bound(this.py());
            Ok(Box::new(Publish::new(this.cast::<Self>()?, item.unwrap_or(&none))))
        })
    }

    /// The operation behind `publish_async`.
    fn _async_publish(
        slf: &Bound<'_, Self>,
        item: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        Ok(AsyncOperation::new(Publish::new(slf, item), Timeout::parse_strict("timeout", timeout)?))
    }

    /// True once `shutdown` has been called.
    #[getter]
    fn is_shutdown(&self, py: Python<'_>) -> bool {
        self.core.is_shut(py)
    }

    /// End it: publishing and subscribing raise ShutDown from now on.
    ///
    /// Subscribers get what they have not had yet. Then their iterations end, and `get` raises ShutDown. With
    /// `immediate=True` they get nothing more, and iteration raises ShutDown. With `error`, iteration raises that exception
    /// at its end, and it is the `__cause__` of every ShutDown. All waiters are woken. Calling it again has no effect, except
    /// that an immediate shutdown may follow.
    ///
    /// Raises TypeError if `error` is not an exception, with nothing changed.
    #[pyo3(signature = (immediate = Truth(false), *, error = None), text_signature = "($self, immediate=False, *, error=None)")]
    fn shutdown(&self, py: Python<'_>, immediate: Truth, error: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.end(py, End::by_shutdown(immediate.0, error)?);
        Ok(())
    }

    /// End it with an error: the same as `shutdown(error=error)`.
    fn fail(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        self.end(py, End::by_fail(error)?);
        Ok(())
    }

    /// Return a snapshot of the counters, the subscribers and the waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: Kept<PyType> = Kept::new();
        self.parts.ready()?;
        let seen = self.core.statistics(py);
        let fields = PyDict::new(py);
        fields.set_item("name", self.common.name(py))?;
        fields.set_item("size", seen.size)?;
        fields.set_item("peak_size", seen.peak_size)?;
        fields.set_item("published", seen.published)?;
        fields.set_item("subscribers", seen.subscribers)?;
        fields.set_item("disconnected", seen.disconnected)?;
        fields.set_item("dropped", seen.dropped)?;
        fields.set_item("waiting_publishers", seen.waiting_publishers)?;
        fields.set_item("publish_blocked_seconds", seconds(seen.publish_blocked))?;
        fields.set_item("is_shutdown", seen.shut)?;
        guarded::call_by_name(imported(py, &CLASS, "sluicegate._statistics", "BroadcastStatistics")?, &fields)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let seen = this.core.statistics(py);
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        let end = if seen.shut { " shut down" } else { "" };
        Ok(format!("{head} subscribers={} size={}{end}>", seen.subscribers, seen.size))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let py = attached_in_traverse();
        self.common.traverse(&visit)?;
        let shown = Shown::to(&visit);
        self.core.look(py, |ending| ending.show(&shown));
        self.core.visit_all(py, |item| shown.object(FlatItem::object(item)), |waker| shown.waker(waker));
        shown.outcome()
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.core.empty(py));
    }
}

made_late!(PyBroadcast, Parts);
common_methods!(PyBroadcast, common);
