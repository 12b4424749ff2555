//! The sending end of a channel.

use pyo3::exceptions::{PyBaseException, PyMemoryError, PyResourceWarning, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::credits::{End, Phase, SendError, SenderEnd};

use super::amounts::{amount_object, whole};
use super::inner::PyChannelBody;
use super::ops::{ChannelOperation, awaitable};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Argument, Timeout, text, type_name};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::exceptions;
use crate::rt::guarded::last_act;
use crate::rt::operation::annotated;
use crate::rt::select::PySelectable;

/// The sending end of a channel. Returned by `channel.sender` and by `clone`.
///
/// Any number of threads and tasks can use it. `with sender:` completes the channel at the end of the block, or
/// fails it with the exception that leaves the block. A sender that is garbage-collected without having completed
/// or failed makes the channel fail, with a ResourceWarning.
#[pyclass(frozen, weakref, generic, name = "Sender", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySender {
    pub(crate) body: Py<PyChannelBody>,
    /// Records whether this sender has completed or failed.
    pub(super) end: SenderEnd,
}

impl PySender {
    pub(crate) fn new(body: Py<PyChannelBody>) -> Self {
        Self { body, end: SenderEnd::default() }
    }

    /// Raises if this sender has ended; other senders may still be open.
    pub(crate) fn check_open(&self, py: Python<'_>, operation: &str) -> PyResult<()> {
        if self.end.has_ended() {
            let end = match self.body.get().core.phase(py) {
                Phase::Failed => End::Failed,
                Phase::Cancelled => End::Cancelled,
                _ => End::Completed,
            };
            return Err(self.body.get().send_ended(py, operation, end));
        }
        Ok(())
    }

    /// The operation of `send_many`. If this sender has ended, the operation raises as for any other end.
    pub(super) fn batch(&self, py: Python<'_>, name: &str, items: &Bound<'_, PyAny>) -> PyResult<ChannelOperation> {
        let operation = ChannelOperation::send_many(self.body.bind(py), items)?;
        self.check_open(py, name).map_err(|error| annotated(&operation, py, error))?;
        Ok(operation)
    }

    /// `send` in the general form.
    pub(crate) fn send_general(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<()> {
        slf.get().check_open(slf.py(), "send")?;
        let mut operation = ChannelOperation::send(slf.get().body.bind(slf.py()), item)?;
        blocking::run(slf.py(), &mut operation, timeout).map(drop)
    }
}

pub(super) fn credit_amount(n: Argument<'_, '_>) -> PyResult<u64> {
    n.given().map_or(Ok(1), |n| whole("'n'", n, 1))
}

#[pymethods]
impl PySender {
    /// The operation behind `send_async`.
    fn _async_send(
        slf: &Bound<'_, Self>,
        item: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        slf.get().check_open(slf.py(), "send_async")?;
        awaitable(ChannelOperation::send(slf.get().body.bind(slf.py()), item)?, timeout)
    }

    /// Return the operation `send(item)` for `select`, which then sends the item and returns None.
    fn sending(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PySelectable {
        PySelectable::new("sending", slf.as_any(), Some(item), |this, item| {
            let (py, sender) = (this.py(), this.cast::<Self>()?.get());
            sender.check_open(py, "send")?;
            let none = py.None().into_bound(py);
            Ok(Box::new(ChannelOperation::send(sender.body.bind(py), item.unwrap_or(&none))?))
        })
    }

    /// The operation behind `send_many_async`.
    fn _async_send_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        awaitable(slf.get().batch(slf.py(), "send_many_async", items)?, timeout)
    }

    /// The amount that can be sent now without waiting, in items or in units of weight; `math.inf` if it is unlimited.
    #[getter]
    fn credit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.end.has_ended() {
            return amount_object(py, 0);
        }
        let (wakes, credit) = self.body.get().up_to_date(py).credit(py);
        wakes.fire();
        amount_object(py, credit)
    }

    /// True if items are weighed by the builtin `len`.
    #[cfg(feature = "tokio")]
    #[getter]
    fn _weighs_length(&self, py: Python<'_>) -> bool {
        self.body.get().weighs_length(py)
    }

    /// Wait until `n` could be sent, without taking credit. Another sender may use the credit first (see `permit`).
    ///
    /// Raises Full if there was not enough credit within `timeout` seconds, ValueError if there never can be, and what
    /// `send` raises at the end of the channel.
    #[pyo3(signature = (n = Argument::MISSING, *, timeout = None), text_signature = "($self, n=1, *, timeout=None)")]
    fn wait_ready(slf: &Bound<'_, Self>, n: Argument<'_, '_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let n = credit_amount(n)?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        slf.get().check_open(py, "wait_ready")?;
        blocking::run(slf.py(), &mut ChannelOperation::ready(slf.get().body.bind(py), n), timeout)?;
        Ok(true)
    }

    /// The operation behind `wait_ready_async`.
    fn _async_wait_ready(
        slf: &Bound<'_, Self>,
        n: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let n = whole("'n'", n, 1)?;
        slf.get().check_open(slf.py(), "wait_ready_async")?;
        awaitable(ChannelOperation::ready(slf.get().body.bind(slf.py()), n), timeout)
    }

    /// Announce that this sender sends nothing more. When all clones have completed, so has the channel: receivers get
    /// the buffered items, then the end.
    ///
    /// Calling it again has no effect.
    pub(crate) fn complete(&self, py: Python<'_>) {
        self.body.get().up_to_date(py).complete(py, &self.end).fire();
    }

    /// End the channel with an error: receivers get the buffered items, then exactly this exception.
    ///
    /// Other senders get ChannelFailed from now on. If the channel has already ended, the call has no effect. Raises
    /// TypeError if `error` is not an exception.
    pub(crate) fn fail(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        if !error.is_instance_of::<PyBaseException>() {
            return Err(PyTypeError::new_err(format!(
                "'error' must be an exception, not {} ({})",
                text(error),
                type_name(error)
            )));
        }
        self.body.get().fail(py, &self.end, error.clone().unbind());
        Ok(())
    }

    /// Send a message that needs no credit and overtakes all items; it is passed to the receiver's `credit.on_control`.
    ///
    /// Never waits. Raises Full if `control_capacity` messages are already waiting, and what `send` raises at the end
    /// of the channel.
    fn send_control(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<()> {
        self.check_open(py, "send_control")?;
        let body = self.body.get();
        let (wakes, result) = body.core.send_control(py, message.clone().unbind());
        wakes.fire();
        result.map_err(|error| match error {
            SendError::Ended(_, end) => body.send_ended(py, "send_control", end),
            SendError::NoMemory(_) => PyMemoryError::new_err(()),
            SendError::Full(_) | SendError::TooHeavy(_) => exceptions::full(
                py,
                ("send_control: the maximum number of control messages is already waiting for the receiver",),
            ),
        })
    }

    /// Return another sender of the same channel, which completes separately: the channel is complete when all senders
    /// are.
    fn clone(&self, py: Python<'_>) -> PyResult<Self> {
        let body = self.body.get();
        let end = body.core.add_sender(py, &self.end).map_err(|end| body.send_ended(py, "clone", end))?;
        Ok(Self { body: self.body.clone_ref(py), end })
    }

    /// Return a snapshot of the channel's state, counters and waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.body.get().statistics(py)
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    #[pyo3(signature = (kind, error, traceback))]
    fn __exit__(&self, kind: &Bound<'_, PyAny>, error: &Bound<'_, PyAny>, traceback: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = (kind, traceback);
        if error.is_none() {
            self.complete(error.py());
            Ok(())
        } else {
            self.fail(error.py(), error)
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.get().body.get().describe(slf.as_any())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.body)
    }
}

refuse_copies!(PySender);

impl Drop for PySender {
    fn drop(&mut self) {
        if self.end.has_ended() {
            return;
        }
        last_act(|py| {
            let body = self.body.get();
            if body.core.phase(py) != Phase::Open {
                return;
            }
            let message =
                "a sender was garbage-collected without having completed or failed; use `with sender:`, or sender.complete()";
            let warning = py.get_type::<PyResourceWarning>();
            let text = std::ffi::CString::new(message).expect("no zero in it");
            if let Err(error) = PyErr::warn(py, &warning, &text, 1) {
                error.write_unraisable(py, None);
            }
            let failure = exceptions::channel_failed(py, (message,));
            body.fail(py, &self.end, failure.into_value(py).into_any());
        });
    }
}
