//! What the receiver's hand can do about credit.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::nanos;

use super::amounts::{amount_object, demand};
use super::inner::{PyChannelBody, upstream};
use super::sender::PySender;
use crate::rt::arguments::{self, text, type_name};

/// How much may be on its way, decided by hand: what `Receiver.credit` is.
///
/// `request`, `request_up_to` and `lease` belong to a channel with `window=0`, where nothing flows but what is
/// asked for. After the end of the channel all of these do nothing, and never raise.
#[pyclass(frozen, name = "Credit", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyCredit {
    body: Py<PyChannelBody>,
}

impl PyCredit {
    pub(crate) fn new(body: Py<PyChannelBody>) -> Self {
        Self { body }
    }

    /// Raises on a channel that gives credit back by itself.
    fn check_manual(&self, operation: &str) -> PyResult<()> {
        let body = self.body.get();
        if body.window > 0 {
            return Err(PyRuntimeError::new_err(format!(
                "{operation}: this channel gives credit back by itself, within a window of {}; demand by hand needs window=0",
                body.window
            )));
        }
        Ok(())
    }
}

#[pymethods]
impl PyCredit {
    /// Ask for `n` more items (or units of weight): it adds up. `math.inf` is for no end.
    ///
    /// Returns whether the channel took it: False once it has ended. Raises ValueError for less than 1, TypeError for
    /// what is no int, RuntimeError on a channel with a window. From 2**63 - 1 on, what has been asked for and not been
    /// used yet counts as no end (Reactive Streams, rule 3.17).
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

    /// Ask for as many more as bring everything ever granted to `sequence`. May be said any number of times: a number
    /// that has been reached changes nothing.
    ///
    /// Returns whether it changed something. Raises as `request`.
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

    /// Grant `n` for `ttl` seconds, instead of what an earlier lease has left; what is not used by then is void.
    /// `math.inf` is as much as can be counted: a lease ends.
    ///
    /// Returns whether the channel took it: False once it has ended, and while grants are held back. Raises as
    /// `request`, and ValueError, TypeError or OverflowError for a bad `ttl`.
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

    /// Take back all credit that is not used, and return how much that was. What is buffered stays.
    ///
    /// A channel with a window is paused by it: `resume` gives the window back.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (wakes, unused) = self.body.get().up_to_date(py).drain(py);
        wakes.fire();
        amount_object(py, unused)
    }

    /// Give no more credit until `resume`. What has been given may be used, and what is buffered is received.
    fn pause(&self, py: Python<'_>) {
        self.body.get().up_to_date(py).pause(py);
    }

    /// Give the credit that has been held back.
    fn resume(&self, py: Python<'_>) {
        self.body.get().up_to_date(py).resume(py).fire();
    }

    /// Give no credit while `sender`, of another channel that this one's items go on to, has none. What is held back
    /// meanwhile is given in one step when it has. None ends that.
    ///
    /// So a whole chain of channels stops at its source when the last receiver does. Raises ValueError for a cycle,
    /// TypeError for what is no sender.
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

    /// What is called with each control message (see `Sender.send_control`), on the thread or loop that receives,
    /// before the next item.
    ///
    /// Without one they stay in their lane. What it raises goes to `sys.unraisablehook`.
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
