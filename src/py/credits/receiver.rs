//! The receiving end of a channel.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple};
use sluicegate_core::credits::End;
use sluicegate_core::section::Section;

use super::credit::PyCredit;
use super::inner::PyChannelBody;
use super::ops::{ChannelOperation, awaitable};
use crate::credits::objects;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Timeout};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::domain::Attached;
use crate::rt::exceptions;
use crate::rt::guarded::last_act;
use crate::rt::select::PySelectable;

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

    /// `receive` in the general form.
    pub(crate) fn receive_general(slf: &Bound<'_, Self>, timeout: Timeout) -> PyResult<Py<PyAny>> {
        let mut operation = ChannelOperation::receive(slf.get().body.bind(slf.py()));
        blocking::run(slf.py(), &mut operation, timeout)?.into_object(slf.py())
    }
}

#[pymethods]
impl PyReceiver {
    /// The operation behind `receive_async`.
    fn _async_receive(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        awaitable(ChannelOperation::receive(slf.get().body.bind(slf.py())), timeout)
    }

    /// Return the operation `receive` for `select`, which then receives the next item.
    fn receiving(slf: &Bound<'_, Self>) -> PySelectable {
        PySelectable::new("receiving", slf.as_any(), None, |this, _| {
            Ok(Box::new(ChannelOperation::receive(this.cast::<Self>()?.get().body.bind(this.py()))))
        })
    }

    /// The operation behind `receive_many_async`.
    fn _async_receive_many(
        slf: &Bound<'_, Self>,
        max: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let max = arguments::positive("max", max)?;
        awaitable(ChannelOperation::receive_many(slf.get().body.bind(slf.py()), max), timeout)
    }

    /// Stop receiving. Senders and other receivers get ChannelCancelled, and buffered items go to `on_discard`.
    ///
    /// It can be called from anywhere, any number of times, and never raises.
    fn cancel(&self, py: Python<'_>) {
        let body = self.body.get();
        body.finish(py, body.core.cancel(py, |_| ()));
    }

    /// Stop receiving for good, without losing count of work in progress, and return `settled_through`.
    ///
    /// From this call on nothing more is handed out: senders and other receivers get ChannelCancelled, and what is buffered
    /// or comes back goes to `on_discard`, unsettled. Deliveries that are out can still be settled; the call waits for them,
    /// for at most `timeout` seconds. After that the number is final: it is the one to commit for a log that is read in
    /// order, and settling what is still out raises StaleDelivery.
    ///
    /// `lanes` names the lanes to stop, on an AckChannel made with `lane=`; everything else goes on, and the result is a
    /// dict with the number of each. An item that is sent in such a lane after the call has returned begins it anew, from 0.
    ///
    /// If an exception from a signal handler interrupts the wait, or a second thread calls `stop`, the stop goes on: call it
    /// again to wait for its end. Raises ValueError, TypeError or OverflowError for an invalid `timeout`, TypeError for
    /// invalid `lanes`.
    #[pyo3(signature = (timeout = None, *, lanes = None))]
    fn stop(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>, lanes: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let mut operation = ChannelOperation::stop(slf.get().body.bind(slf.py()), lanes)?;
        blocking::run(slf.py(), &mut operation, timeout)?.into_object(slf.py())
    }

    /// The operation behind `stop_async`.
    fn _async_stop(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        lanes: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        awaitable(ChannelOperation::stop(slf.get().body.bind(slf.py()), lanes)?, timeout)
    }

    /// Manual control of the credit: `request`, `drain`, `pause` and the like.
    #[getter]
    fn credit(&self, py: Python<'_>) -> PyCredit {
        PyCredit::new(self.body.clone_ref(py))
    }

    /// On an AckChannel, the sequence number below which every item is settled; otherwise the number of items received.
    ///
    /// On a channel with lanes, the sum of `settled_lanes`.
    #[getter]
    fn settled_through(&self, py: Python<'_>) -> u64 {
        self.body.get().settled_through(py)
    }

    /// For each lane the number below which every item of it is settled, as a new dict; empty on a channel without lanes.
    #[getter]
    fn settled_lanes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.body.get().settled_lanes(py)
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

    /// `receive` for a subscriber. Others settle what it receives, so it can never wait for itself.
    fn _next(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let mut operation = ChannelOperation::receive_for_subscriber(slf.get().body.bind(slf.py()));
        blocking::run(slf.py(), &mut operation, Timeout::Forever)?.into_object(slf.py())
    }

    /// The same, for an event loop.
    fn _async_next(slf: &Bound<'_, Self>) -> PyResult<AsyncOperation> {
        awaitable(ChannelOperation::receive_for_subscriber(slf.get().body.bind(slf.py())), None)
    }

    /// Registers the subscriber; raises if there is one already.
    fn _subscribe(&self, py: Python<'_>) -> PyResult<()> {
        if self.subscribed.with(py, |subscribed| std::mem::replace(subscribed, true)) {
            return Err(PyRuntimeError::new_err("this receiver has a subscriber already (Reactive Streams, rule 2.12)"));
        }
        Ok(())
    }

    /// Removes the registration of a subscriber that could not be started.
    fn _unsubscribe(&self, py: Python<'_>) {
        self.subscribed.with(py, |subscribed| *subscribed = false);
    }

    /// Passes an exception of a subscriber's handler to `sys.unraisablehook`.
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
        match Self::receive_general(slf, Timeout::Forever) {
            Ok(item) => Ok(Some(item)),
            // A sender can also have failed with this type of exception.
            Err(error)
                if exceptions::is_channel_closed(slf.py(), &error)
                    && slf.get().body.get().core.end(slf.py()) == Some(End::Completed) =>
            {
                Ok(None)
            }
            // Or with an exception that would look like the end of the iteration (PEP 479).
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
