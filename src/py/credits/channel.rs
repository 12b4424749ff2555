//! The classes of channels.

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyTuple};
use sluicegate_core::clock::nanos;
use sluicegate_core::credits::{Config, Rules, UNBOUNDED};
use sluicegate_core::section::Section;

use super::amounts::whole;
use super::inner::{Core, PyChannelBody};
use super::lanes::Lanes;
use super::receiver::PyReceiver;
use super::retry::Retry;
use super::sender::PySender;
use crate::rt::arguments::{self, Argument, refuse_coroutine_function, text, type_name};
use crate::rt::class::{Common, refuse_copies, repr_head};
use crate::rt::domain::Attached;
use crate::rt::gc::attached_in_traverse;

/// The arguments that both classes have.
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
        Some(value) => refuse_coroutine_function(name, value).map(|()| Some(value.clone())),
        None => Ok(None),
    }
}

/// The amount of credit that is granted again in one step: `threshold` times the window.
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

/// The settings that only an `AckChannel` has.
struct DeliverySettings {
    rules: Option<Rules>,
    lanes: Option<Lanes>,
    retry: Retry,
    on_settled: Option<Py<PyAny>>,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self { rules: None, lanes: None, retry: Retry::After(0), on_settled: None }
    }
}

/// Makes the channel, its sender and its receiver.
fn make(py: Python<'_>, settings: &Settings<'_, '_>, deliveries: Option<DeliverySettings>) -> PyResult<Parts> {
    let DeliverySettings { rules, lanes, retry, on_settled } = deliveries.unwrap_or_default();
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
            sends_plainly: weigh.is_none() && lanes.is_none() && rules.is_none_or(|rules| rules.ack_wait.is_none()),
            weigh: weigh.map(Bound::unbind),
            lanes,
            max_deliver: rules.map_or(u32::MAX, |rules| rules.max_deliver),
            retry,
            on_settled,
            on_discard: on_discard.map(Bound::unbind),
            common,
        },
    )?;
    Ok(Parts {
        receiver: Py::new(py, PyReceiver::new(body.clone_ref(py)))?,
        sender: Py::new(py, PySender::new(body.clone_ref(py)))?,
        body,
    })
}

/// The common base of `CreditChannel` and `AckChannel`. It cannot be instantiated.
#[pyclass(frozen, subclass, weakref, generic, name = "Channel", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyChannel {
    /// Set by `__init__`, so that a subclass can have an `__init__` of its own.
    parts: Section<Option<Parts>, Attached>,
}

#[derive(Debug)]
struct Parts {
    // Dropped in this order: a channel whose ends were never used is cancelled first, so that no ResourceWarning is given.
    receiver: Py<PyReceiver>,
    sender: Py<PySender>,
    body: Py<PyChannelBody>,
}

impl PyChannel {
    fn unmade() -> Self {
        Self { parts: Section::new(None) }
    }

    /// Returns one of the parts.
    fn part<C>(&self, py: Python<'_>, which: impl FnOnce(&Parts) -> &Py<C>) -> PyResult<Py<C>> {
        self.parts.with(py, |parts| parts.as_ref().map(|parts| which(parts).clone_ref(py))).ok_or_else(|| {
            PyRuntimeError::new_err("the channel has not been initialized: its __init__ has not called super().__init__()")
        })
    }

    fn body(&self, py: Python<'_>) -> PyResult<Py<PyChannelBody>> {
        self.part(py, |parts| &parts.body)
    }

    fn init(&self, py: Python<'_>, made: Parts) -> PyResult<()> {
        let mut made = Some(made);
        self.parts.with(py, |parts| {
            if parts.is_none() {
                *parts = made.take();
            }
        });
        match made {
            None => Ok(()),
            Some(_) => Err(PyRuntimeError::new_err("the channel has been initialized already")),
        }
    }
}

#[pymethods]
impl PyChannel {
    /// The sending end.
    #[getter]
    fn sender(&self, py: Python<'_>) -> PyResult<Py<PySender>> {
        self.part(py, |parts| &parts.sender)
    }

    /// The receiving end.
    #[getter]
    fn receiver(&self, py: Python<'_>) -> PyResult<Py<PyReceiver>> {
        self.part(py, |parts| &parts.receiver)
    }

    /// The name given at creation, for `repr` and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.body(py)?.get().name(py))
    }

    /// Return a snapshot of the channel's state, counters and waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.body(py)?.get().statistics(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        match slf.get().body(slf.py()) {
            Ok(body) => body.get().describe(slf.as_any()),
            Err(_) => Ok(format!("{} not initialized>", repr_head(slf.as_any(), "")?)),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.parts.with(attached_in_traverse(), |parts| {
            let Some(Parts { receiver, sender, body }) = &*parts else { return Ok(()) };
            visit.call(receiver)?;
            visit.call(sender)?;
            visit.call(body)
        })
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
/// slots as units in the window. `control_capacity` is the largest number of waiting control messages.
///
/// `on_discard(item, reason, error)` is called with each item that is sent and will not be received, outside every lock.
/// `reason` is "cancelled": the receiver has cancelled, stopped or is gone. `error` is the exception that caused this, or
/// None.
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
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(window=256, *, threshold=0.5, buffer=None, weigh=None, control_capacity=8, on_discard=None, clock=None, name=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(PyChannel::unmade()).add_subclass(Self)
    }

    #[pyo3(signature = (window = Argument::MISSING, *, threshold = Argument::MISSING, buffer = None, weigh = None, control_capacity = Argument::MISSING, on_discard = None, clock = None, name = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords")]
    fn __init__(
        slf: &Bound<'_, Self>,
        window: Argument<'_, '_>,
        threshold: Argument<'_, '_>,
        buffer: Option<&Bound<'_, PyAny>>,
        weigh: Option<&Bound<'_, PyAny>>,
        control_capacity: Argument<'_, '_>,
        on_discard: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let settings = Settings { window, threshold, buffer, weigh, control_capacity, on_discard, clock, name };
        slf.as_super().get().init(py, make(py, &settings, None)?)
    }
}

/// A credit channel whose items have to be settled: `receive` returns a `Delivery`, and its credit is granted again
/// when it is acked.
///
/// A delivery that is nacked, dropped or not settled within `ack_wait` seconds is requeued at the head. After
/// `max_deliver` attempts the item is discarded. `retry` is how long a delivery that was nacked, dropped, or left with an
/// exception stays away before that: a number of seconds, or a function of the number of the attempt (1, 2, ...) that
/// returns it. A delivery that has outlasted `ack_wait`, and one whose holder was cancelled, comes back at once.
///
/// `on_discard(item, reason, error)` is called with each item that is given up. `reason` is "poison" (`max_deliver`
/// attempts have failed), "rejected" (`nack(requeue=False)`) or "cancelled" (the receiver has cancelled, stopped or is
/// gone); `error` is the exception that left the `with delivery:` block, or None.
///
/// `lane(item)` returns the part of the stream that an item belongs to, any hashable object: for example a log's
/// partition. Items are then counted separately in each lane, and `receiver.stop(lanes=...)` stops some of them. The
/// channel keeps a few words of memory for every lane that it has ever seen.
///
/// `on_settled(through)`, with lanes `on_settled(lane, through)`, is called when `receiver.settled_through` has grown:
/// one call at a time, in order, outside every lock, from a thread that settles. Progress made during a call is reported
/// by the next call, several steps together. An exception in it goes to `sys.unraisablehook`.
///
/// Everything else works as in `CreditChannel`.
#[pyclass(frozen, subclass, weakref, extends = PyChannel, name = "AckChannel", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyAckChannel;

#[pymethods]
impl PyAckChannel {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(window=256, *, threshold=0.5, buffer=None, ack_wait=None, max_deliver=5, retry=None, lane=None, weigh=None, control_capacity=8, on_discard=None, on_settled=None, clock=None, name=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyClassInitializer<Self> {
        PyClassInitializer::from(PyChannel::unmade()).add_subclass(Self)
    }

    #[pyo3(signature = (window = Argument::MISSING, *, threshold = Argument::MISSING, buffer = None, ack_wait = None, max_deliver = Argument::MISSING, retry = None, lane = None, weigh = None, control_capacity = Argument::MISSING, on_discard = None, on_settled = None, clock = None, name = None))]
    #[expect(clippy::too_many_arguments, reason = "keywords")]
    fn __init__(
        slf: &Bound<'_, Self>,
        window: Argument<'_, '_>,
        threshold: Argument<'_, '_>,
        buffer: Option<&Bound<'_, PyAny>>,
        ack_wait: Option<&Bound<'_, PyAny>>,
        max_deliver: Argument<'_, '_>,
        retry: Option<&Bound<'_, PyAny>>,
        lane: Option<&Bound<'_, PyAny>>,
        weigh: Option<&Bound<'_, PyAny>>,
        control_capacity: Argument<'_, '_>,
        on_discard: Option<&Bound<'_, PyAny>>,
        on_settled: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let ack_wait = match ack_wait.filter(|wait| !wait.is_none()) {
            None => None,
            Some(wait) => match nanos(arguments::duration("ack_wait", wait)?) {
                0 => return Err(PyValueError::new_err(format!("'ack_wait' must be greater than 0 seconds, got {}", text(wait)))),
                wait => Some(wait),
            },
        };
        let max_deliver = max_deliver.given().map_or(Ok(5), |n| arguments::positive("max_deliver", n))?;
        let on_settled = callable("on_settled", on_settled)?;
        let max_deliver = u32::try_from(max_deliver).unwrap_or(u32::MAX);
        let deliveries = DeliverySettings {
            rules: Some(Rules { ack_wait, max_deliver, reports: on_settled.is_some() }),
            lanes: callable("lane", lane)?.map(Lanes::new),
            retry: Retry::parse(retry)?,
            on_settled: on_settled.map(Bound::unbind),
        };
        let settings = Settings { window, threshold, buffer, weigh, control_capacity, on_discard, clock, name };
        slf.as_super().get().init(py, make(py, &settings, Some(deliveries))?)
    }
}
