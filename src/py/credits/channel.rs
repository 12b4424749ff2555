//! The two kinds of channel.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBool, PyFloat, PyInt};
use sluicegate_core::clock::nanos;
use sluicegate_core::credits::{Config, Rules, UNBOUNDED};

use super::amounts::whole;
use super::inner::{Core, PyChannelBody};
use super::receiver::PyReceiver;
use super::sender::PySender;
use crate::rt::arguments::{self, Argument, text, type_name};
use crate::rt::class::{Common, refuse_copies};

/// The arguments that both kinds have.
struct Settings<'a, 'py> {
    window: Argument<'a, 'py>,
    threshold: Argument<'a, 'py>,
    buffer: Option<&'a Bound<'py, PyAny>>,
    weigh: Option<&'a Bound<'py, PyAny>>,
    control_capacity: Argument<'a, 'py>,
    on_discard: Option<&'a Bound<'py, PyAny>>,
    clock: Option<&'a Bound<'py, PyAny>>,
    name: Option<&'a Bound<'py, PyAny>>,
}

const WINDOW: u64 = 256;
const CONTROL_CAPACITY: usize = 8;

fn callable<'py>(name: &str, value: Option<&Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match value.filter(|value| !value.is_none()) {
        Some(value) if !value.is_callable() => {
            Err(PyTypeError::new_err(format!("'{name}' must be callable or None, not {} ({})", text(value), type_name(value))))
        }
        value => Ok(value.cloned()),
    }
}

/// The share of the window that is given back at once, as an amount.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of the window")]
fn step(threshold: Argument<'_, '_>, window: u64) -> PyResult<u64> {
    let share = match threshold.given() {
        None => 0.5,
        Some(value) => {
            let number =
                !value.is_instance_of::<PyBool>() && (value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>());
            if !number {
                return Err(PyTypeError::new_err(format!(
                    "'threshold' must be a number, not {} ({})",
                    text(value),
                    type_name(value)
                )));
            }
            let share: f64 = value.extract().map_err(|_| {
                PyOverflowError::new_err(format!("'threshold' must be greater than 0 and at most 1, got {}", text(value)))
            })?;
            if !(share > 0.0 && share <= 1.0) {
                return Err(PyValueError::new_err(format!(
                    "'threshold' must be greater than 0 and at most 1, got {}",
                    text(value)
                )));
            }
            share
        }
    };
    Ok(((window as f64 * share).ceil() as u64).clamp(1, window.max(1)))
}

/// Channel, sender and receiver.
fn make(py: Python<'_>, settings: &Settings<'_, '_>, rules: Option<Rules>) -> PyResult<PyChannel> {
    let window = settings.window.given().map_or(Ok(WINDOW), |window| whole("'window'", window, 0))?;
    let step = step(settings.threshold, window)?;
    let bound = match settings.buffer.filter(|buffer| !buffer.is_none()) {
        None if window > 0 => window,
        None => {
            return Err(PyTypeError::new_err(
                "window=0 requires 'buffer', the largest amount in the channel at once (math.inf for no bound)",
            ));
        }
        Some(_) if window > 0 => {
            return Err(PyTypeError::new_err("'buffer' is allowed only with window=0; otherwise the window is the bound"));
        }
        Some(buffer) if buffer.is_instance_of::<PyFloat>() && buffer.extract::<f64>()? == f64::INFINITY => UNBOUNDED,
        Some(buffer) => whole("'buffer'", buffer, 1)?,
    };
    let control_capacity =
        settings.control_capacity.given().map_or(Ok(CONTROL_CAPACITY), |n| arguments::positive("control_capacity", n))?;
    let weigh = callable("weigh", settings.weigh)?;
    let on_discard = callable("on_discard", settings.on_discard)?;
    let common = Common::new(py, settings.name, settings.clock)?;
    let body = Py::new(
        py,
        PyChannelBody {
            core: Core::new(Config { window, step, bound, control_capacity, rules }, common.core_clock()),
            acks: rules.is_some(),
            window,
            sends_plainly: weigh.is_none() && rules.is_none_or(|rules| rules.ack_wait.is_none()),
            weigh: weigh.map(Bound::unbind),
            on_discard: on_discard.map(Bound::unbind),
            common,
        },
    )?;
    Ok(PyChannel {
        receiver: Py::new(py, PyReceiver::new(body.clone_ref(py)))?,
        sender: Py::new(py, PySender::new(body.clone_ref(py)))?,
        body,
    })
}

/// The common base of `CreditChannel` and `AckChannel`. It cannot be instantiated.
#[pyclass(frozen, subclass, weakref, generic, name = "Channel", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyChannel {
    // In this order: a channel that nobody has taken the ends of is cancelled first, and nobody is warned of.
    receiver: Py<PyReceiver>,
    sender: Py<PySender>,
    body: Py<PyChannelBody>,
}

#[pymethods]
impl PyChannel {
    /// The sending end.
    #[getter]
    fn sender(&self, py: Python<'_>) -> Py<PySender> {
        self.sender.clone_ref(py)
    }

    /// The receiving end.
    #[getter]
    fn receiver(&self, py: Python<'_>) -> Py<PyReceiver> {
        self.receiver.clone_ref(py)
    }

    /// The name given at creation, for `repr` and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.body.get().name(py)
    }

    /// Return a snapshot of the channel's state, counters and waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.body.get().statistics(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.get().body.get().describe(slf.as_any())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.receiver)?;
        visit.call(&self.sender)?;
        visit.call(&self.body)
    }
}

refuse_copies!(PyChannel);

/// A channel on which the receiver decides how much may be outstanding.
///
/// With a `window` (default 256) the amount sent and not yet received never exceeds the window. Credit is granted
/// again as items are received, in steps of `threshold` times the window, and in full when a sender is waiting or
/// nothing is left to receive. With `window=0` a sender may only send what was requested with
/// `receiver.credit.request(n)`, and at most `buffer` of it can wait to be received.
///
/// Amounts are counted in items, or by `weigh(item)`, which returns a whole number, for example of bytes. An item
/// heavier than the window is refused. An item of weight 0 takes no credit but occupies a slot; there are as many
/// slots as units in the window. `on_discard(item)` is called with each discarded item. `control_capacity` is the
/// largest number of waiting control messages.
///
/// The ends, `sender` and `receiver`, can be given to different owners; the channel object itself need not be kept.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
///
/// Fairness: credit is given to senders strictly first come, first served, by weight; threads and tasks share one
/// wait queue.
#[pyclass(frozen, subclass, weakref, extends = PyChannel, name = "CreditChannel", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyCreditChannel;

#[pymethods]
impl PyCreditChannel {
    #[new]
    #[pyo3(signature = (window = Argument::MISSING, *, threshold = Argument::MISSING, buffer = None, weigh = None, control_capacity = Argument::MISSING, on_discard = None, clock = None, name = None), text_signature = "(window=256, *, threshold=0.5, buffer=None, weigh=None, control_capacity=8, on_discard=None, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "keywords")]
    fn new(
        py: Python<'_>,
        window: Argument<'_, '_>,
        threshold: Argument<'_, '_>,
        buffer: Option<&Bound<'_, PyAny>>,
        weigh: Option<&Bound<'_, PyAny>>,
        control_capacity: Argument<'_, '_>,
        on_discard: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let settings = Settings { window, threshold, buffer, weigh, control_capacity, on_discard, clock, name };
        Ok(PyClassInitializer::from(make(py, &settings, None)?).add_subclass(Self))
    }
}

/// A credit channel whose items have to be settled: `receive` returns a `Delivery`, and its credit is granted again
/// when it is acked.
///
/// A delivery that is nacked, dropped or not settled within `ack_wait` seconds is requeued at the head. After
/// `max_deliver` attempts the item is discarded and passed to `on_discard`. `receiver.settled_through` is the
/// sequence number below which every item is settled.
///
/// Everything else works as in `CreditChannel`.
#[pyclass(frozen, subclass, weakref, extends = PyChannel, name = "AckChannel", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyAckChannel;

#[pymethods]
impl PyAckChannel {
    #[new]
    #[pyo3(signature = (window = Argument::MISSING, *, threshold = Argument::MISSING, buffer = None, ack_wait = None, max_deliver = Argument::MISSING, weigh = None, control_capacity = Argument::MISSING, on_discard = None, clock = None, name = None), text_signature = "(window=256, *, threshold=0.5, buffer=None, ack_wait=None, max_deliver=5, weigh=None, control_capacity=8, on_discard=None, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "keywords")]
    fn new(
        py: Python<'_>,
        window: Argument<'_, '_>,
        threshold: Argument<'_, '_>,
        buffer: Option<&Bound<'_, PyAny>>,
        ack_wait: Option<&Bound<'_, PyAny>>,
        max_deliver: Argument<'_, '_>,
        weigh: Option<&Bound<'_, PyAny>>,
        control_capacity: Argument<'_, '_>,
        on_discard: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let ack_wait = match ack_wait.filter(|wait| !wait.is_none()) {
            None => None,
            Some(wait) => match nanos(arguments::duration("ack_wait", wait)?) {
                0 => return Err(PyValueError::new_err(format!("'ack_wait' must be greater than 0 seconds, got {}", text(wait)))),
                wait => Some(wait),
            },
        };
        let max_deliver = max_deliver.given().map_or(Ok(5), |n| arguments::positive("max_deliver", n))?;
        let rules = Rules { ack_wait, max_deliver: u32::try_from(max_deliver).unwrap_or(u32::MAX) };
        let settings = Settings { window, threshold, buffer, weigh, control_capacity, on_discard, clock, name };
        Ok(PyClassInitializer::from(make(py, &settings, Some(rules))?).add_subclass(Self))
    }
}
