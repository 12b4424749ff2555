//! `Credit`: manual credit control.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::nanos;

use super::amounts::{amount_object, demand};
use super::inner::{PyChannelBody, upstream};
use super::sender::PySender;
use crate::rt::arguments::{self, refuse_coroutine_function, text, type_name};

/// Manual control of a channel's credit, as returned by `Receiver.credit`.
///
/// `request`, `request_up_to` and `lease` are for a channel with `window=0`, where only what was requested may be
/// sent. After the end of the channel none of the methods has an effect, and none raises.
#[pyclass(frozen, name = "Credit", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyCredit {
    body: Py<PyChannelBody>,
}

impl PyCredit {
    pub(crate) fn new(body: Py<PyChannelBody>) -> Self {
        Self { body }
    }

    /// Raises on a channel with a window, which grants credit automatically.
    fn check_manual(&self, operation: &str) -> PyResult<()> {
        let body = self.body.get();
        if body.window > 0 {
            return Err(PyRuntimeError::new_err(format!(
                "{operation}: this channel grants credit automatically, within a window of {}; manual requests require window=0",
                body.window
            )));
        }
        Ok(())
    }
}

#[pymethods]
impl PyCredit {
    /// Request `n` more items (or units of weight). Requests add up; `math.inf` requests without limit.
    ///
    /// Returns True if the request was accepted, False if the channel has ended. Raises ValueError for less than 1,
    /// TypeError if `n` is not an int, RuntimeError on a channel with a window. Unused requests of 2**63 - 1 or more in
    /// total count as unlimited (Reactive Streams, rule 3.17).
    fn request(&self, py: Python<'_>, n: &Bound<'_, PyAny>) -> PyResult<bool> {
        let body = self.body.get();
        if body.has_ended(py) {
            return Ok(false);
        }
        self.check_manual("request")?;
        let (wakes, taken) = body.core.request(py, demand("n", n)?);
        wakes.fire();
        Ok(taken)
    }

    /// Request as much as brings the total ever granted to `sequence`. It is idempotent: a total that has been reached
    /// changes nothing.
    ///
    /// Returns whether it changed something. Raises what `request` raises.
    fn request_up_to(&self, py: Python<'_>, sequence: &Bound<'_, PyAny>) -> PyResult<bool> {
        let body = self.body.get();
        if body.has_ended(py) {
            return Ok(false);
        }
        self.check_manual("request_up_to")?;
        let (wakes, taken) = body.core.request_up_to(py, demand("sequence", sequence)?);
        wakes.fire();
        Ok(taken)
    }

    /// Grant `n` for `ttl` seconds, replacing what is left of an earlier lease. Credit that is not used by then
    /// expires. `math.inf` grants the largest amount that can be counted.
    ///
    /// Returns True if the lease was accepted, False if the channel has ended or grants are held back. Raises what
    /// `request` raises, and ValueError, TypeError or OverflowError for an invalid `ttl`.
    fn lease(&self, py: Python<'_>, n: &Bound<'_, PyAny>, ttl: &Bound<'_, PyAny>) -> PyResult<bool> {
        let body = self.body.get();
        if body.has_ended(py) {
            return Ok(false);
        }
        self.check_manual("lease")?;
        let n = demand("n", n)?;
        let ttl = arguments::duration("ttl", ttl)?;
        let (wakes, taken) = body.core.lease(py, n, nanos(ttl));
        wakes.fire();
        Ok(taken)
    }

    /// Take back all unused credit and return the amount. Buffered items stay.
    ///
    /// A channel with a window is paused by it; `resume` grants the window again.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (wakes, unused) = self.body.get().up_to_date(py).drain(py);
        wakes.fire();
        amount_object(py, unused)
    }

    /// Grant no more credit until `resume`. Credit already granted can be used, and buffered items can be received.
    fn pause(&self, py: Python<'_>) {
        self.body.get().up_to_date(py).pause(py);
    }

    /// Grant the credit that was held back, and continue granting.
    fn resume(&self, py: Python<'_>) {
        self.body.get().up_to_date(py).resume(py).fire();
    }

    /// Grant no credit while `sender`, the sender of the next channel in a chain, has none.
    ///
    /// Credit held back meanwhile is granted in one step when that sender has credit again. So a chain of channels
    /// stops at its source when the last receiver stops. `None` ends the deferral. Raises ValueError for a cycle,
    /// TypeError if the argument is not a Sender.
    fn defer_to(&self, py: Python<'_>, sender: &Bound<'_, PyAny>) -> PyResult<()> {
        let body = self.body.get();
        if sender.is_none() {
            body.core.defer_to(py, None).0.fire();
            return Ok(());
        }
        let Ok(sender) = sender.cast::<PySender>() else {
            return Err(PyTypeError::new_err(format!(
                "'sender' must be a Sender or None, not {} ({})",
                text(sender),
                type_name(sender)
            )));
        };
        let downstream = sender.get().body.get().up_to_date(py);
        let (wakes, result) = body.up_to_date(py).defer_to(py, Some((downstream, upstream(self.body.bind(py)))));
        wakes.fire();
        result.map_err(|cycle| PyValueError::new_err(format!("defer_to: {cycle}")))
    }

    /// The function called with each control message (see `Sender.send_control`), on the thread or loop that receives,
    /// before the next item.
    ///
    /// Without a function the messages stay queued. An exception it raises goes to `sys.unraisablehook`.
    #[getter]
    fn on_control(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.body.get().on_control(py)
    }

    #[setter]
    fn set_on_control(&self, handler: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = handler.py();
        if !handler.is_none() && !handler.is_callable() {
            return Err(PyTypeError::new_err(format!("'on_control' must be callable or None, not {}", text(handler))));
        }
        if !handler.is_none() {
            refuse_coroutine_function("on_control", handler)?;
        }
        drop(self.body.get().set_on_control(py, (!handler.is_none()).then(|| handler.clone().unbind())));
        Ok(())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.get().body.get().describe(slf.as_any())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.body)
    }
}
