//! The sending end of a channel.

use pyo3::exceptions::{PyBaseException, PyResourceWarning, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::credits::{End, Phase, SendError, SenderEnd};

use super::amounts::{amount_object, whole};
use super::inner::PyChannelBody;
use super::ops::ChannelOperation;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Argument, Timeout, text, type_name};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::exceptions;
use crate::rt::guarded::last_act;
use crate::rt::operation::annotated;

/// The end of a channel that items go in by. Made by the channel, and by `clone`.
///
/// May be used by any number of threads and tasks. `with sender:` completes the channel at the end of the block, or
/// fails it with the exception that leaves the block. One that is let go before it has completed or failed fails
/// the channel, with a ResourceWarning.
#[pyclass(frozen, weakref, generic, name = "Sender", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySender {
    pub(crate) body: Py<PyChannelBody>,
    /// It has completed, or failed.
    pub(super) end: SenderEnd,
}

impl PySender {
    pub(crate) fn new(body: Py<PyChannelBody>) -> Self {
        Self { body, end: SenderEnd::default() }
    }

    /// Raises if this sender has ended, though others may not have.
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

    fn awaitable(
        slf: &Bound<'_, Self>,
        operation: ChannelOperation,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        Ok(AsyncOperation::new(slf.clone().into_any().unbind(), operation, timeout))
    }

    /// What `send_many` does. That this sender has ended is said as any other end of it.
    fn batch(&self, py: Python<'_>, name: &str, items: &Bound<'_, PyAny>) -> PyResult<ChannelOperation> {
        let operation = ChannelOperation::send_many(self.body.bind(py), items)?;
        self.check_open(py, name).map_err(|error| annotated(&operation, py, error))?;
        Ok(operation)
    }

    /// `send` in the general form.
    pub(crate) fn send_in_general(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>, timeout: Timeout) -> PyResult<()> {
        slf.get().check_open(slf.py(), "send")?;
        let mut operation = ChannelOperation::send(slf.get().body.bind(slf.py()), item)?;
        blocking::run(slf.as_any(), &mut operation, timeout).map(drop)
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
        Self::awaitable(slf, ChannelOperation::send(slf.get().body.bind(slf.py()), item)?, timeout)
    }

    /// Send every item of `items`, in order, and return how many that were.
    ///
    /// As many as there is credit for enter in one step, the rest as credit comes: for at most `timeout` seconds in
    /// all, if that is not None. An item is taken out of an iterator only once there is credit for one, so an iterator
    /// stands at the first item that was not sent; with `weigh`, an item that turned out to be too heavy for the credit
    /// left is in the error's `pending`.
    ///
    /// Raises Full if credit did not come in time, ChannelClosed, ChannelFailed or ChannelCancelled at the end of the
    /// channel, ValueError for an item that is too heavy; `accepted` of the error, of a cancellation too, says how many
    /// items were sent.
    #[pyo3(signature = (items, *, timeout = None))]
    fn send_many(slf: &Bound<'_, Self>, items: &Bound<'_, PyAny>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let mut operation = slf.get().batch(py, "send_many", items)?;
        blocking::run(slf.as_any(), &mut operation, timeout)?.into_object(py)
    }

    /// The operation behind `send_many_async`.
    fn _async_send_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        Self::awaitable(slf, slf.get().batch(slf.py(), "send_many_async", items)?, timeout)
    }

    /// What may be sent at this moment without waiting, in items, or in units of weight; `math.inf` where there is no
    /// end to it.
    #[getter]
    fn credit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.end.has_ended() {
            return amount_object(py, 0);
        }
        let (wakes, credit) = self.body.get().up_to_date(py).credit(py);
        wakes.fire();
        amount_object(py, credit)
    }

    /// Are items weighed by the builtin `len`?
    #[cfg(feature = "tokio")]
    #[getter]
    fn _weighs_length(&self, py: Python<'_>) -> bool {
        self.body.get().weighs_length(py)
    }

    /// Wait until `n` could be sent. Takes nothing: another sender may be faster (see `permit`).
    ///
    /// Raises Full if that was not so within `timeout` seconds, ValueError if it never can be, and as `send` at the end
    /// of the channel.
    #[pyo3(signature = (n = Argument::MISSING, *, timeout = None), text_signature = "($self, n=1, *, timeout=None)")]
    fn wait_ready(slf: &Bound<'_, Self>, n: Argument<'_, '_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let n = credit_amount(n)?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        slf.get().check_open(py, "wait_ready")?;
        blocking::run(slf.as_any(), &mut ChannelOperation::ready(slf.get().body.bind(py), n), timeout)?;
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
        Self::awaitable(slf, ChannelOperation::ready(slf.get().body.bind(slf.py()), n), timeout)
    }

    /// Say that nothing more comes. With the last clone that does the channel is complete: receivers get what is
    /// buffered, then the end.
    ///
    /// A second time does nothing.
    pub(crate) fn complete(&self, py: Python<'_>) {
        self.body.get().up_to_date(py).complete(py, &self.end).fire();
    }

    /// End the channel with an error: receivers get what is buffered, and then exactly this exception.
    ///
    /// Other senders get ChannelFailed from now on. Does nothing if the channel has ended before. Raises TypeError for
    /// what is no exception.
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

    /// Send a message that needs no credit and overtakes all items: the receiver's `credit.on_control` gets it.
    ///
    /// Never waits. Raises Full if `control_capacity` messages have not been taken yet, and as `send` at the end of the
    /// channel.
    fn send_control(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<()> {
        self.check_open(py, "send_control")?;
        let body = self.body.get();
        let (wakes, result) = body.core.send_control(py, message.clone().unbind());
        wakes.fire();
        result.map_err(|error| match error {
            SendError::Ended(_, end) => body.send_ended(py, "send_control", end),
            SendError::Full(_) | SendError::TooHeavy(_) => {
                exceptions::full(py, "send_control: the receiver has not taken the control messages that are there".to_owned())
            }
        })
    }

    /// Another sender of the same channel, which ends by itself: the channel is complete when all have.
    fn clone(&self, py: Python<'_>) -> PyResult<Self> {
        let body = self.body.get();
        let end = body.core.add_sender(py, &self.end).map_err(|end| body.send_ended(py, "clone", end))?;
        Ok(Self { body: self.body.clone_ref(py), end })
    }

    /// A snapshot of what the channel has seen, at this moment.
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
            let message = "a sender was let go without having completed or failed; use `with sender:`, or sender.complete()";
            let warning = py.get_type::<PyResourceWarning>();
            let text = std::ffi::CString::new(message).expect("no zero in it");
            if let Err(error) = PyErr::warn(py, &warning, &text, 1) {
                error.write_unraisable(py, None);
            }
            let failure = exceptions::channel_failed(py, message.to_owned());
            body.fail(py, &self.end, failure.into_value(py).into_any());
        });
    }
}
