//! `Delivery`: an item that has to be settled.

use pyo3::exceptions::{PyBaseException, PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyBool;
use sluicegate_core::clock::{Nanos, nanos};
use sluicegate_core::credits::{Handed, Nack, Receipt, Settlement, Settling};

use super::inner::PyChannelBody;
use crate::rt::Item;
use crate::rt::arguments::{self, text, type_name};
use crate::rt::class::refuse_copies;
use crate::rt::drops::drop_flat;
use crate::rt::exceptions;
use crate::rt::guarded::last_act;

/// An item received from an `AckChannel`, which has to be settled. Its credit is granted again when it is settled.
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
    /// The number of the item in its lane.
    number: u64,
    lane: Option<Py<PyAny>>,
    settlement: Settlement,
}

impl PyDelivery {
    pub(crate) fn new(py: Python<'_>, body: &Py<PyChannelBody>, handed: Handed<Item>) -> PyResult<Self> {
        let Handed { item: value, receipt, attempt, lane, number } = handed;
        let mut delivery =
            Self { body: body.clone_ref(py), value, receipt, attempt, number, lane: None, settlement: Settlement::default() };
        // Set last: if there is no memory for the name, dropping the delivery returns the item to the channel.
        delivery.lane = body.get().lane_name(py, lane)?;
        Ok(delivery)
    }

    /// Acks the delivery if `nack` is `None`. Calling it again has no effect.
    fn settle(&self, py: Python<'_>, nack: Option<Nack>, error: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let body = self.body.get();
        let (leaving, (outcome, acked)) = body.core.settle(py, &self.settlement, self.receipt, nack);
        let because = match (outcome, error) {
            (Settling::Discarded(reason), Some(error)) => Some((reason, error)),
            _ => None,
        };
        body.finish_because(py, leaving, because);
        drop_flat(acked);
        if outcome == Settling::Stale { Err(self.stale(py)) } else { Ok(()) }
    }

    fn stale(&self, py: Python<'_>) -> PyErr {
        exceptions::stale_delivery(
            py,
            (format!(
                "delivery {} (attempt {}) was not settled in time: the item has been requeued or discarded",
                self.number, self.attempt
            ),),
        )
    }

    /// The delay before the item is requeued if this attempt fails now.
    fn delay(&self, py: Python<'_>) -> PyResult<Nanos> {
        let body = self.body.get();
        // The delay is not used if the delivery has been settled, or if the item is not requeued.
        if self.settlement.is_settled() || self.attempt >= body.max_deliver { Ok(0) } else { body.retry.delay(py, self.attempt) }
    }

    /// The same, for a caller that cannot raise an error.
    fn delay_or_none(&self, py: Python<'_>) -> Nanos {
        self.delay(py).unwrap_or_else(|error| {
            error.write_unraisable(py, self.body.get().retry.callable().map(|function| function.bind(py)));
            0
        })
    }
}

/// A bool. An int is refused, because it was probably meant as the delay.
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

    /// The item's number, counted from 0 in the order in which items were sent; on a channel with lanes, those of its lane.
    #[getter]
    fn sequence(&self) -> u64 {
        self.number
    }

    /// The item's lane, or None on a channel without lanes.
    #[getter]
    fn lane(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.lane.as_ref().map(|lane| lane.clone_ref(py))
    }

    /// Report that the item has been processed. Calling it again has no effect.
    ///
    /// Raises StaleDelivery, each time, if it is too late (see `ack_wait`): the item has been delivered again or
    /// discarded.
    fn ack(&self, py: Python<'_>) -> PyResult<()> {
        self.settle(py, None, None)
    }

    /// Report that the item has not been processed. It is requeued at the head after `delay` seconds, by default those of
    /// the channel's `retry`, or discarded with `requeue=False`.
    ///
    /// After `max_deliver` attempts it is discarded in any case. If it is discarded, `on_discard` is called with `error`.
    /// Calling it again has no effect. Raises what `ack` raises, and what `retry` raises; ValueError, TypeError or
    /// OverflowError for invalid arguments.
    #[pyo3(signature = (requeue = Requeue(true), delay = None, *, error = None), text_signature = "($self, requeue=True, delay=None, *, error=None)")]
    fn nack(
        &self,
        py: Python<'_>,
        requeue: Requeue,
        delay: Option<&Bound<'_, PyAny>>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let error = error.filter(|error| !error.is_none());
        if let Some(error) = error.filter(|error| !error.is_instance_of::<PyBaseException>()) {
            let (shown, kind) = (text(error), type_name(error));
            return Err(PyTypeError::new_err(format!("'error' must be an exception or None, not {shown} ({kind})")));
        }
        let delay = match delay.filter(|delay| !delay.is_none()) {
            Some(delay) => nanos(arguments::duration("delay", delay)?),
            None if requeue.0 => self.delay(py)?,
            None => 0,
        };
        self.settle(py, Some(Nack { requeue: requeue.0, delay, counts: true }), error)
    }

    /// Ask for more time: `ack_wait` ends in `seconds` from now, or when it would have ended, whichever is later.
    ///
    /// It has no effect on a channel without `ack_wait`, and after the delivery has been settled. Raises StaleDelivery if
    /// it is too late: the item has been delivered again or discarded; ValueError, TypeError or OverflowError for invalid
    /// `seconds`.
    fn extend(&self, py: Python<'_>, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        let time = nanos(arguments::duration("seconds", seconds)?);
        let body = self.body.get();
        let (leaving, is_out) = body.core.extend(py, &self.settlement, self.receipt, time);
        body.finish(py, leaving);
        if is_out { Ok(()) } else { Err(self.stale(py)) }
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
        // CancelledError, KeyboardInterrupt, SystemExit and GeneratorExit are not subclasses of Exception.
        let counts = error.is_instance_of::<PyException>();
        let delay = if counts { self.delay_or_none(error.py()) } else { 0 };
        match self.settle(error.py(), Some(Nack { requeue: true, delay, counts }), Some(error)) {
            // The block's exception is propagated; the stale delivery is only counted.
            Err(stale) if exceptions::is_stale_delivery(error.py(), &stale) => Ok(()),
            outcome => outcome,
        }
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let settled = if self.settlement.is_settled() { " settled" } else { "" };
        let lane = self.lane.as_ref().map_or_else(String::new, |lane| format!(" lane={}", text(lane.bind(py))));
        let (value, number, attempt) = (text(self.value.bind(py)), self.number, self.attempt);
        format!("<sluicegate.Delivery {value}{lane} sequence={number} attempt={attempt}{settled}>")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.body)?;
        visit.call(&self.lane)?;
        visit.call(&self.value)
    }
}

refuse_copies!(PyDelivery);

impl Drop for PyDelivery {
    fn drop(&mut self) {
        if self.settlement.is_settled() {
            return;
        }
        last_act(|py| {
            let delay = self.delay_or_none(py);
            // A stale delivery is only counted.
            drop(self.settle(py, Some(Nack { requeue: true, delay, counts: true }), None));
        });
    }
}
