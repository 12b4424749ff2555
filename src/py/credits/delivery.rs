//! `Delivery`: an item that has to be settled.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyBool;
use sluicegate_core::clock::nanos;
use sluicegate_core::credits::{Nack, Receipt};

use super::inner::PyChannelBody;
use crate::rt::Item;
use crate::rt::arguments::{self, text, type_name};
use crate::rt::class::refuse_copies;
use crate::rt::exceptions;
use crate::rt::guarded::last_act;

/// An item received from an `AckChannel`, which has to be settled. Its credit is granted again when it is.
///
/// As a context manager it is acked at the end of the block, and nacked if the block raises. An exception that only
/// stops the caller (CancelledError, KeyboardInterrupt) does not count as an attempt. A delivery that is dropped
/// without being settled is requeued, as after `nack()`.
#[pyclass(frozen, weakref, generic, name = "Delivery", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyDelivery {
    body: Py<PyChannelBody>,
    value: Item,
    receipt: Receipt,
    attempt: u32,
    settled: AtomicBool,
}

impl PyDelivery {
    pub(crate) fn new(body: Py<PyChannelBody>, value: Item, receipt: Receipt, attempt: u32) -> Self {
        Self { body, value, receipt, attempt, settled: AtomicBool::new(false) }
    }

    /// `None`: an ack. A second time does nothing.
    fn settle(&self, py: Python<'_>, nack: Option<Nack>) -> PyResult<()> {
        if self.settled.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let body = self.body.get();
        let (leaving, known) = match nack {
            None => body.core.ack(py, self.receipt),
            Some(nack) => body.core.nack(py, self.receipt, nack),
        };
        body.finish(py, leaving);
        if known {
            return Ok(());
        }
        Err(exceptions::stale_delivery(
            py,
            (format!(
                "delivery {} (attempt {}) was not settled in time: the item has been requeued or discarded",
                self.receipt.sequence, self.attempt
            ),),
        ))
    }
}

/// A bool and nothing else: a number there was meant as the delay.
#[derive(Clone, Copy, Debug)]
struct Requeue(bool);

impl<'a, 'py> FromPyObject<'a, 'py> for Requeue {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match value.cast::<PyBool>() {
            Ok(requeue) => Ok(Self(requeue.is_true())),
            Err(_) => {
                Err(PyTypeError::new_err(format!("'requeue' must be a bool, not {} ({})", text(&value), type_name(&value))))
            }
        }
    }
}

#[pymethods]
impl PyDelivery {
    /// The item.
    #[getter]
    fn value(&self, py: Python<'_>) -> Item {
        self.value.clone_ref(py)
    }

    /// The number of times the item has been delivered, this time included; 1 for the first delivery.
    #[getter]
    fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The item's number, counted from 0 in the order in which items were sent.
    #[getter]
    fn sequence(&self) -> u64 {
        self.receipt.sequence
    }

    /// Report that the item has been processed. Calling it again has no effect.
    ///
    /// Raises StaleDelivery if it is too late (see `ack_wait`): the item has been delivered again or discarded.
    fn ack(&self, py: Python<'_>) -> PyResult<()> {
        self.settle(py, None)
    }

    /// Report that the item has not been processed. It is requeued at the head after `delay` seconds, or discarded with
    /// `requeue=False`.
    ///
    /// After `max_deliver` attempts it is discarded in any case: `on_discard` is called with it. Calling it again has
    /// no effect. Raises what `ack` raises; ValueError, TypeError or OverflowError for invalid arguments.
    #[pyo3(signature = (requeue = Requeue(true), delay = None), text_signature = "($self, requeue=True, delay=0.0)")]
    fn nack(&self, py: Python<'_>, requeue: Requeue, delay: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let delay = delay.map_or(Ok(0.0), |delay| arguments::duration("delay", delay))?;
        self.settle(py, Some(Nack { requeue: requeue.0, delay: nanos(delay), counts: true }))
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    #[pyo3(signature = (kind, error, traceback))]
    fn __exit__(&self, kind: &Bound<'_, PyAny>, error: &Bound<'_, PyAny>, traceback: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = (kind, traceback);
        if error.is_none() {
            return self.ack(error.py());
        }
        // CancelledError, KeyboardInterrupt, SystemExit and GeneratorExit are no Exceptions.
        let counts = error.is_instance_of::<PyException>();
        match self.settle(error.py(), Some(Nack { requeue: true, delay: 0, counts })) {
            // The body's exception goes on; that the delivery was stale is counted.
            Err(stale) if exceptions::is_stale_delivery(error.py(), &stale) => Ok(()),
            outcome => outcome,
        }
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let settled = if self.settled.load(Ordering::Relaxed) { " settled" } else { "" };
        format!(
            "<sluicegate.Delivery {} sequence={} attempt={}{settled}>",
            text(self.value.bind(py)),
            self.receipt.sequence,
            self.attempt
        )
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.body)?;
        visit.call(&self.value)
    }
}

refuse_copies!(PyDelivery);

impl Drop for PyDelivery {
    fn drop(&mut self) {
        if self.settled.load(Ordering::Relaxed) {
            return;
        }
        last_act(|py| {
            let body = self.body.get();
            let (leaving, _) = body.core.nack(py, self.receipt, Nack { requeue: true, delay: 0, counts: true });
            body.finish(py, leaving);
        });
    }
}
