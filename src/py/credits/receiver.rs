//! The receiving end of a channel.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyTuple;
use sluicegate_core::credits::End;
use sluicegate_core::section::Section;

use super::credit::PyCredit;
use super::inner::PyChannelBody;
use super::ops::ChannelOperation;
use crate::credits::objects;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Timeout};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::domain::Attached;
use crate::rt::exceptions;
use crate::rt::guarded::last_act;

/// The receiving end of a channel. Returned by `channel.receiver`.
///
/// Any number of threads and tasks can use it; each item goes to one of them. Iteration (`for`, `async for`) ends
/// when the channel is complete, and raises the sender's error if it failed. `with receiver:` cancels at the end of
/// the block, and so does garbage collection of the receiver.
#[pyclass(frozen, weakref, generic, name = "Receiver", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyReceiver {
    pub(crate) body: Py<PyChannelBody>,
    subscribed: Section<bool, Attached>,
}

impl PyReceiver {
    pub(crate) fn new(body: Py<PyChannelBody>) -> Self {
        Self { body, subscribed: Section::new(false) }
    }

    fn awaitable(
        slf: &Bound<'_, Self>,
        operation: ChannelOperation,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        Ok(AsyncOperation::new(slf.clone().into_any().unbind(), operation, timeout))
    }

    /// `receive` in the general form.
    pub(crate) fn receive_in_general(slf: &Bound<'_, Self>, timeout: Timeout) -> PyResult<Py<PyAny>> {
        let mut operation = ChannelOperation::receive(slf.get().body.bind(slf.py()));
        blocking::run(slf.as_any(), &mut operation, timeout)?.into_object(slf.py())
    }
}

#[pymethods]
impl PyReceiver {
    /// The operation behind `receive_async`.
    fn _async_receive(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        Self::awaitable(slf, ChannelOperation::receive(slf.get().body.bind(slf.py())), timeout)
    }

    /// Receive 1 to `max` items, as a list: wait for the first item, then take what else is available.
    ///
    /// Raises Empty if there was no item within `timeout` seconds, and what `receive` raises at the end of the channel;
    /// ValueError, TypeError or OverflowError for an invalid `max` or `timeout`.
    #[pyo3(signature = (max, *, timeout = None))]
    fn receive_many(slf: &Bound<'_, Self>, max: &Bound<'_, PyAny>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let max = arguments::positive("max", max)?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let mut operation = ChannelOperation::receive_many(slf.get().body.bind(slf.py()), max);
        blocking::run(slf.as_any(), &mut operation, timeout)?.into_object(slf.py())
    }

    /// The operation behind `receive_many_async`.
    fn _async_receive_many(
        slf: &Bound<'_, Self>,
        max: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let max = arguments::positive("max", max)?;
        Self::awaitable(slf, ChannelOperation::receive_many(slf.get().body.bind(slf.py()), max), timeout)
    }

    /// Stop receiving. Senders and other receivers get ChannelCancelled, and buffered items go to `on_discard`.
    ///
    /// It can be called from anywhere, any number of times, and never raises.
    fn cancel(&self, py: Python<'_>) {
        let body = self.body.get();
        body.finish(py, body.core.cancel(py, |_| ()));
    }

    /// Manual control of the credit: `request`, `drain`, `pause` and the like.
    #[getter]
    fn credit(&self, py: Python<'_>) -> PyCredit {
        PyCredit::new(self.body.clone_ref(py))
    }

    /// On an AckChannel, the sequence number below which every item is settled; otherwise the number of items received.
    #[getter]
    fn settled_through(&self, py: Python<'_>) -> u64 {
        let body = self.body.get();
        let (leaving, seen) = body.core.statistics(py);
        body.finish(py, leaving);
        seen.settled_through
    }

    /// True once nothing more can be received.
    #[getter]
    fn ended(&self, py: Python<'_>) -> bool {
        self.body.get().has_ended(py)
    }

    /// Return a snapshot of the channel's state, counters and waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.body.get().statistics(py)
    }

    /// `receive` for a subscriber: what it has received others settle, so it never waits for itself.
    fn _next(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let mut operation = ChannelOperation::receive_for_subscriber(slf.get().body.bind(slf.py()));
        blocking::run(slf.as_any(), &mut operation, Timeout::Forever)?.into_object(slf.py())
    }

    /// The same, for a loop.
    fn _async_next(slf: &Bound<'_, Self>) -> PyResult<AsyncOperation> {
        Self::awaitable(slf, ChannelOperation::receive_for_subscriber(slf.get().body.bind(slf.py())), None)
    }

    /// There is one subscriber, and it is the first.
    fn _subscribe(&self, py: Python<'_>) -> PyResult<()> {
        if self.subscribed.with(py, |subscribed| std::mem::replace(subscribed, true)) {
            return Err(PyRuntimeError::new_err("this receiver has a subscriber already (Reactive Streams, rule 2.12)"));
        }
        Ok(())
    }

    /// The subscriber could not be started: there may be another one.
    fn _unsubscribe(&self, py: Python<'_>) {
        self.subscribed.with(py, |subscribed| *subscribed = false);
    }

    /// Gives what a subscriber's handler raised to `sys.unraisablehook`.
    #[staticmethod]
    fn _report(error: &Bound<'_, PyAny>, handler: &Bound<'_, PyAny>) {
        PyErr::from_value(error.clone()).write_unraisable(error.py(), Some(handler));
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) {
        self.cancel(py);
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let (py, body) = (slf.py(), slf.get().body.get());
        if !body.acks && !body.core.is_entered(py) {
            let (wakes, result) = body.core.try_receive(py);
            wakes.fire();
            if let Ok(received) = result {
                return objects::object(py, received).map(Some);
            }
        }
        match Self::receive_in_general(slf, Timeout::Forever) {
            Ok(item) => Ok(Some(item)),
            // A sender may also have failed with just this.
            Err(error)
                if exceptions::is_channel_closed(slf.py(), &error)
                    && slf.get().body.get().core.end(slf.py()) == Some(End::Completed) =>
            {
                Ok(None)
            }
            // Or with what would look like the end here (PEP 479).
            Err(error) if error.is_instance_of::<PyStopIteration>(slf.py()) => {
                Err(slf.get().body.get().send_ended(slf.py(), "receive", End::Failed))
            }
            Err(error) => Err(error),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.get().body.get().describe(slf.as_any())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.body)
    }
}

refuse_copies!(PyReceiver);

impl Drop for PyReceiver {
    fn drop(&mut self) {
        last_act(|py| {
            let body = self.body.get();
            body.finish(py, body.core.cancel(py, |_| ()));
        });
    }
}
