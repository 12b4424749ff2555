//! `Subscriber`: its methods.

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple, PyType};
use sluicegate_core::broadcast::GetError;
use sluicegate_core::clock::seconds;

use super::class::name_of;
use super::inner::{PyBroadcast, PySubscriber};
use super::ops::{Get, item};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, positive, text};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::exceptions;
use crate::rt::guarded;
use crate::rt::imported::imported;
use crate::rt::kept::Kept;
use crate::rt::select::PySelectable;

impl PySubscriber {
    pub(super) fn get_general(this: &Bound<'_, Self>, block: bool, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let timeout = if block { Timeout::parse_strict("timeout", timeout)? } else { Timeout::Never };
        blocking::run(this.py(), &mut Get::one(this), timeout)?.into_object(this.py())
    }
}

#[pymethods]
impl PySubscriber {
    /// Remove and return 1 to `max` items, as a list: wait for the first as `get` does, then take what else is there.
    ///
    /// Raises what `get` raises; ValueError, TypeError or OverflowError for an invalid `max` or `timeout`.
    #[pyo3(signature = (max, block = true, timeout = None))]
    fn get_many(
        slf: &Bound<'_, Self>,
        max: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let max = positive("max", max)?;
        let timeout = if block { Timeout::parse_strict("timeout", timeout)? } else { Timeout::Never };
        blocking::run(slf.py(), &mut Get::many(slf, max), timeout)?.into_object(slf.py())
    }

    /// Return the operation `get` for `select`, which then removes and returns the next item.
    fn getting(slf: &Bound<'_, Self>) -> PySelectable {
        PySelectable::new("getting", slf.as_any(), None, |this, _| Ok(Box::new(Get::one(this.cast::<Self>()?))))
    }

    /// The operations behind the coroutines.
    fn _async_get(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        Ok(AsyncOperation::new(Get::one(slf), Timeout::parse_strict("timeout", timeout)?))
    }

    fn _async_get_many(
        slf: &Bound<'_, Self>,
        max: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let max = positive("max", max)?;
        Ok(AsyncOperation::new(Get::many(slf, max), Timeout::parse_strict("timeout", timeout)?))
    }

    /// The broadcast that it subscribes to.
    #[getter]
    fn broadcast(&self, py: Python<'_>) -> Py<PyBroadcast> {
        self.broadcast.clone_ref(py)
    }

    /// The largest number of items that wait for this subscriber.
    #[getter]
    fn maxsize(&self) -> usize {
        self.limit
    }

    /// What happens when an item is published and the subscriber is full: "drop_oldest", "drop_newest", "block" or "disconnect".
    #[getter]
    fn overflow(&self) -> &'static str {
        name_of(self.overflow)
    }

    /// The number of items that the subscriber has missed, because it was full, before the item that it took last.
    ///
    /// A consumer that compares it with the number after the item before knows how many items are missing between the two.
    /// `statistics().dropped` also counts those that it has yet to come to.
    #[getter]
    fn missed(&self, py: Python<'_>) -> u64 {
        self.own.missed(py)
    }

    /// True once `close` has been called.
    #[getter]
    fn is_closed(&self, py: Python<'_>) -> bool {
        self.own.statistics(py).closed
    }

    /// True once no further items come: the broadcast has been shut down, or the subscriber disconnected or closed. Items that wait
    /// already can still be taken, unless it has been closed.
    #[getter]
    fn is_shutdown(&self, py: Python<'_>) -> bool {
        self.own.has_ended(py)
    }

    /// Return the item that `get` would return next, without removing it.
    ///
    /// Raises Empty if there is no item; ShutDown if there is none and the broadcast has been shut down, or the subscriber has been
    /// disconnected or closed. Another getter may take the item before the caller does, and "drop_oldest" may drop it.
    fn peek(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.own.peek(py, |item| item.share(py)) {
            Ok(next) => Ok(item(py, next)),
            Err(GetError::Ended(ended)) => Err(self.ended_error(py, "peek", ended)),
            Err(GetError::Empty | GetError::NoMemory) => Err(self.refusal(py, "peek")),
        }
    }

    /// Return the number of items that wait for this subscriber at this moment.
    fn qsize(&self, py: Python<'_>) -> usize {
        self.own.len(py)
    }

    /// Return True if no item waits for this subscriber at this moment.
    fn empty(&self, py: Python<'_>) -> bool {
        self.own.is_empty(py)
    }

    /// Stop subscribing, and give up the items that wait. `get` raises ShutDown from now on, and iterations end.
    ///
    /// Publishers do not wait for it any longer. It can be called from anywhere, any number of times.
    fn close(&self, py: Python<'_>) {
        self.own.close(py);
    }

    /// Return a snapshot of the counters and the waiting times of this subscriber.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: Kept<PyType> = Kept::new();
        let seen = self.own.statistics(py);
        let fields = PyDict::new(py);
        fields.set_item("name", self.broadcast.get().common.name(py))?;
        fields.set_item("size", seen.size)?;
        fields.set_item("maxsize", self.limit)?;
        fields.set_item("peak_size", seen.peak_size)?;
        fields.set_item("gets", seen.gets)?;
        fields.set_item("dropped", seen.dropped)?;
        fields.set_item("missed", seen.missed)?;
        fields.set_item("waiting_getters", seen.waiting_getters)?;
        fields.set_item("get_blocked_seconds", seconds(seen.get_blocked))?;
        fields.set_item("is_disconnected", seen.disconnected)?;
        fields.set_item("is_closed", seen.closed)?;
        guarded::call_by_name(imported(py, &CLASS, "sluicegate._statistics", "SubscriberStatistics")?, &fields)
    }

    fn _end_of_iteration(&self, py: Python<'_>) -> PyResult<()> {
        self.end_of_iteration(py)
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let (py, own) = (slf.py(), &slf.get().own);
        if !own.broadcast().is_entered(py) {
            let (wakes, result) = own.try_get(py, true, |item| item.share(py));
            wakes.fire();
            if let Ok(got) = result {
                return Ok(Some(item(py, got)));
            }
        }
        match Self::get_general(slf, true, None) {
            Ok(got) => Ok(Some(got)),
            Err(error) if exceptions::is_shut_down(py, &error) => slf.get().end_of_iteration(py).map(|()| None),
            Err(error) => Err(error),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let (py, this) = (slf.py(), slf.get());
        let seen = this.own.statistics(py);
        let end = match (seen.closed, seen.disconnected) {
            (true, _) => " closed",
            (_, true) => " disconnected",
            _ => "",
        };
        let (limit, policy, broadcast) = (this.limit, name_of(this.overflow), text(this.broadcast.bind(py)));
        format!(
            "<subscriber size={} maxsize={limit} overflow={policy:?} dropped={}{end} of {broadcast}>",
            seen.size, seen.dropped
        )
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.broadcast) // which shows the items and the wait queues
    }
}

refuse_copies!(PySubscriber);
