//! `q.pressure`: the fill level of a queue, waiting for a lower level, and listeners.
//!
//! # Protocol
//! The queue's section counts crossings of its marks (`sluicegate_core::queue`, files `watermarks` and `pressure`), and its herald leaves
//! the section with the wake-ups. The herald is a [`PressureHub`]: it is woken outside every section, in the thread that caused the
//! crossing, releases the waiters for the low mark, and calls the listeners. The core decides which listeners are called, and with which
//! level (`crossings`). The hub has no reference to its queue, so the two are not a cycle.
//!
//! An exception of a listener goes to `sys.unraisablehook`, unless it does not derive from Exception (an interrupt on the main thread);
//! then it is raised there after the operation.
//!
//! # What it does not do
//! It does not pause a transport of an event loop: that is done in Python (`sluicegate._pressure`).

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTimeoutError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBool, PyFloat, PyInt, PyTuple};
use sluicegate_core::clock::{Clock as CoreClock, Nanos};
use sluicegate_core::monitor::Monitor;
use sluicegate_core::queue::{Crossed, Crossings, Gauge, Mark, Relief, Relieved, Told, UNBOUNDED, Watermarks};
use sluicegate_core::section::Section;
use sluicegate_core::wait::Wakes;

use crate::queue::inner::{BoundQueue, QueueInner, QueueRef, limit_of};
use crate::queue::overflow::plain_function;
use crate::rt::Item;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, text, type_name};
use crate::rt::blocking;
use crate::rt::domain::Attached;
use crate::rt::gc::{attached_in_traverse, show_wakers};
use crate::rt::guarded;
use crate::rt::interrupts;
use crate::rt::operation::{Done, Mode, Operation};
use crate::rt::registration::{Anchor, Registration, WaitableClass, registration};
use crate::rt::waker::{Callee, Waker};

type Waits = Monitor<Relief<Waker>, Waker, Attached, 1>;

/// Parses a mark.
fn mark(name: &str, value: &Bound<'_, PyAny>, least: i64) -> PyResult<Mark> {
    let wrong = || {
        PyTypeError::new_err(format!(
            "'{name}' must be a float, a share of the bound, or an int, a number of items or of units of weight, not {} ({})",
            text(value),
            type_name(value)
        ))
    };
    if value.is_instance_of::<PyBool>() {
        return Err(wrong());
    }
    if let Ok(share) = value.cast::<PyFloat>() {
        let share = share.extract::<f64>()?;
        if share > 0.0 && share <= 1.0 {
            return Ok(Mark::Share(share));
        }
        return Err(PyValueError::new_err(format!(
            "'{name}' as a float is a share, above 0.0 and at most 1.0, not {}",
            text(value)
        )));
    }
    let count = value.cast::<PyInt>().map_err(|_| wrong())?;
    if count.lt(least)? {
        return Err(PyValueError::new_err(format!("'{name}' as an int must be at least {least}, not {}", text(value))));
    }
    Ok(Mark::Count(count.extract::<u64>().unwrap_or(u64::MAX)))
}

/// The marks of a queue with these bounds, if it has any.
pub(in crate::queue) fn watermarks(
    (high, low): (Option<&Bound<'_, PyAny>>, Option<&Bound<'_, PyAny>>),
    maxsize: &Bound<'_, PyAny>,
    max_weight: Option<u64>,
) -> PyResult<Option<Watermarks>> {
    // If `maxsize` cannot be compared, that is an error of its own, raised at the first comparison.
    let limit = limit_of(maxsize).unwrap_or(UNBOUNDED - 1);
    let high = high.filter(|high| !high.is_none());
    let low = low.filter(|low| !low.is_none());
    let Some(high) = high else {
        return match low {
            None => Ok(None),
            Some(_) => Err(PyValueError::new_err("'low' needs 'high', the mark above it")),
        };
    };
    let top = mark("high", high, 1)?;
    let bottom = match (low, top) {
        (Some(low), _) => mark("low", low, 0)?,
        (None, Mark::Share(share)) => Mark::Share(share / 2.0),
        (None, Mark::Count(count)) => Mark::Count(count / 2),
    };
    let given = low.map_or_else(String::new, text);
    let is_bounded = limit != UNBOUNDED;
    match (top, bottom) {
        (Mark::Share(_), Mark::Share(_)) if !is_bounded && max_weight.is_none() => Err(PyValueError::new_err(format!(
            "'high' cannot be {}, a share of the bound, because the queue has none: give it a 'maxsize' greater than 0, or give a number",
            text(high)
        ))),
        (Mark::Share(high_share), Mark::Share(low_share)) if low_share >= high_share => {
            Err(PyValueError::new_err(format!("'low' must be less than 'high': {given} is not less than {}", text(high))))
        }
        (Mark::Count(high_count), Mark::Count(low_count)) if low_count >= high_count => {
            Err(PyValueError::new_err(format!("'low' must be less than 'high': {given} is not less than {}", text(high))))
        }
        (Mark::Count(_), Mark::Count(_)) if is_bounded && max_weight.is_some() => Err(PyValueError::new_err(format!(
            "'high' cannot be {}: it could be a number of items or of units of weight, and both are bounded; give a share of the bounds",
            text(high)
        ))),
        (Mark::Count(count), Mark::Count(_)) => {
            let bound = max_weight.or(is_bounded.then_some(limit as u64));
            if let Some(bound) = bound.filter(|bound| count > *bound) {
                let name = if max_weight.is_some() { "max_weight" } else { "maxsize" };
                return Err(PyValueError::new_err(format!("'high' cannot be {}: '{name}' is {bound}", text(high))));
            }
            Ok(Some(Watermarks::new(top, bottom, max_weight.is_some())))
        }
        (Mark::Share(_), Mark::Share(_)) => Ok(Some(Watermarks::new(top, bottom, false))),
        _ => Err(PyValueError::new_err(format!(
            "'high' and 'low' must be of one kind, two shares of the bound or two numbers, not {} and {given}",
            text(high)
        ))),
    }
}

/// The function that is called at a crossing.
#[derive(Debug)]
enum Callback {
    /// Called at every crossing, with whether the level is high now.
    OnChange(Item),
    /// One of them is called, according to the latest level.
    Drive { pause: Item, resume: Item },
    /// Called without arguments, in every thread that causes a crossing, in any order.
    Watch(Item),
}

/// Somebody who is told of crossings: what `on_change` and `drive` return. Closing it ends that; so does leaving a `with` block.
#[pyclass(frozen, weakref, module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PressureListener {
    callback: Section<Option<Callback>, Attached>,
    told: Section<Told, Attached>,
}

impl PressureListener {
    /// The function to be called, and whether it is told the state.
    fn function(&self, py: Python<'_>, is_high: bool) -> Option<(Item, bool)> {
        self.callback.with(py, |callback| match callback {
            Some(Callback::OnChange(function)) => Some((function.clone_ref(py), true)),
            Some(Callback::Drive { pause, .. }) if is_high => Some((pause.clone_ref(py), false)),
            Some(Callback::Drive { resume: function, .. } | Callback::Watch(function)) => Some((function.clone_ref(py), false)),
            None => None,
        })
    }

    /// Tells it what it has not been told yet, unless another thread does.
    fn tell(&self, py: Python<'_>, crossings: &Crossings) {
        let (latest, watches) = self.callback.with(py, |callback| match callback {
            Some(Callback::Watch(function)) => (true, Some(function.clone_ref(py))),
            callback => (matches!(callback, Some(Callback::Drive { .. })), None),
        });
        if let Some(function) = watches {
            return run(py, &function, None);
        }
        while let Some(is_high) = self.told.with(py, |told| told.next(crossings.count(), latest)) {
            if let Some((function, with_state)) = self.function(py, is_high) {
                run(py, &function, with_state.then_some(is_high));
            }
            if let Some(was_high) = self.told.with(py, Told::has_been_told) {
                self.end(py, was_high);
            }
        }
    }

    /// It has been closed, and nobody is in the middle of a call.
    fn end(&self, py: Python<'_>, was_high: bool) {
        let callback = self.callback.with(py, Option::take);
        match &callback {
            Some(Callback::Drive { resume, .. }) if was_high => run(py, resume, None),
            Some(Callback::Watch(function)) => run(py, function, None),
            _ => {}
        }
    }
}

/// Calls a listener's function.
fn run(py: Python<'_>, function: &Item, is_high: Option<bool>) {
    let function = function.bind(py);
    let args = match is_high {
        Some(is_high) => PyTuple::new(py, [is_high]),
        None => Ok(PyTuple::empty(py)),
    };
    interrupts::call_back(function, args);
}

#[pymethods]
impl PressureListener {
    /// End it. A source that `drive` has paused is resumed. If another thread is in the middle of a call, that call is the last one, and
    /// the source is resumed after it. Closing it again has no effect.
    fn close(slf: &Bound<'_, Self>) {
        let (py, this) = (slf.py(), slf.get());
        if let Some(was_high) = this.told.with(py, Told::close) {
            this.end(py, was_high);
        }
    }

    /// Whether it has been closed.
    #[getter]
    fn is_closed(&self, py: Python<'_>) -> bool {
        self.told.with(py, |told| told.is_closed())
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(slf: &Bound<'_, Self>, _args: &Bound<'_, PyTuple>) {
        Self::close(slf);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.callback.with(attached_in_traverse(), |callback| match callback {
            Some(Callback::OnChange(function) | Callback::Watch(function)) => visit.call(&*function),
            Some(Callback::Drive { pause, resume }) => visit.call(&*pause).and_then(|()| visit.call(&*resume)),
            None => Ok(()),
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.callback.with(py, Option::take));
    }
}

/// Takes those out that are told nothing more.
fn take_closed(py: Python<'_>, listeners: &mut Vec<Py<PressureListener>>) -> Vec<Py<PressureListener>> {
    let (closed, open) =
        std::mem::take(listeners).into_iter().partition(|each| each.get().told.with(py, |told| told.is_closed()));
    *listeners = open;
    closed
}

/// The herald of a queue with marks, see the head of this file.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct PressureHub {
    crossings: Arc<Crossings>,
    waits: Waits,
    listeners: Section<Vec<Py<PressureListener>>, Attached>,
}

impl PressureHub {
    /// For a queue that is made, with what its section is to keep.
    pub(in crate::queue) fn made(py: Python<'_>, marks: Watermarks, clock: CoreClock<Waker>) -> PyResult<Box<Gauge<Waker>>> {
        static HERALD: Callee = Callee {
            wake: |hub| {
                if let Ok(hub) = hub.cast::<PressureHub>() {
                    PressureHub::tell(hub);
                }
                Wakes::none()
            },
            group: |_| 0,
        };
        let crossings = Arc::<Crossings>::default();
        let hub = Self {
            crossings: Arc::clone(&crossings),
            waits: Waits::new(Arc::clone(&crossings), clock),
            listeners: Section::new(Vec::new()),
        };
        let herald = Waker::Object(Bound::new(py, hub)?.into_any().unbind(), &HERALD);
        Ok(Box::new(Gauge::new(marks, crossings, herald)))
    }

    /// There has been a crossing, or a shutdown. Outside every section.
    fn tell(hub: &Bound<'_, Self>) {
        let (py, this) = (hub.py(), hub.get());
        this.waits.look(py).fire();
        let (listeners, closed) = this.listeners.with(py, |listeners| {
            let closed = take_closed(py, listeners);
            (listeners.iter().map(|each| each.clone_ref(py)).collect::<Vec<_>>(), closed)
        });
        drop(closed);
        if listeners.is_empty() {
            return;
        }
        // An exception that is on its way is not the listeners'.
        guarded::undisturbed(py, || {
            for listener in &listeners {
                listener.get().tell(py, &this.crossings);
            }
            drop(listeners);
        });
    }

    /// How many wait for the low mark, and for how long all together have waited.
    pub(in crate::queue) fn low_waits(&self, py: Python<'_>) -> (usize, Nanos) {
        self.waits.waits(py)
    }

    fn add<'py>(hub: &Bound<'py, Self>, callback: Callback, seen: u64) -> PyResult<Bound<'py, PressureListener>> {
        let (py, this) = (hub.py(), hub.get());
        let listener =
            Bound::new(py, PressureListener { callback: Section::new(Some(callback)), told: Section::new(Told::new(seen)) })?;
        let held = listener.clone().unbind();
        // Those that have been closed are forgotten when another comes, and when there is something to tell.
        let closed = this.listeners.with(py, |listeners| {
            let closed = take_closed(py, listeners);
            listeners.push(held);
            closed
        });
        drop(closed);
        // What has happened between the look at the crossings and now.
        listener.get().tell(py, &this.crossings);
        Ok(listener)
    }
}

#[pymethods]
impl PressureHub {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.listeners.with(attached_in_traverse(), |listeners| listeners.iter().try_for_each(|each| visit.call(each)))?;
        show_wakers(&visit, |py, see| self.waits.visit_wakers(py, see))
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.listeners.with(py, std::mem::take));
    }
}

impl WaitableClass for PressureHub {
    type Waitable = Waits;

    fn waitable(&self) -> &Waits {
        &self.waits
    }
}

/// Waits for the low mark.
#[derive(Debug)]
struct WaitLow {
    registration: Registration<Py<PressureHub>>,
    queue: QueueRef,
}

impl Operation for WaitLow {
    fn names(&self) -> (&'static str, &'static str) {
        ("wait_low", "wait_low_async")
    }

    registration!(registration);

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let Registration { object, waiter, .. } = &mut self.registration;
        let waker = if let Mode::Park(waker) = mode { Some(waker) } else { None };
        let (wakes, relieved) = object.get().waits.relieved_or_wait(py, waiter, waker);
        wakes.fire();
        match relieved {
            Relieved::Yes => Ok(Some(Done::Nothing)),
            Relieved::NotYet => Ok(None),
            Relieved::ShutDown => Err(self.queue.inner(py).shut_down_error(py, self.names().0)),
        }
    }

    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done> {
        let (asked, level) = (timeout.asked(self.names().0), self.queue.inner(py).core.pressure(py).level);
        Err(PyTimeoutError::new_err(format!("{asked}: the queue is still filled to {:.0} %", level * 100.0)))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.registration.object)?;
        self.queue.traverse(visit)
    }
}

/// How full a queue is: what `Queue.pressure` returns. It cannot be instantiated.
///
/// A queue that is made with `high` has two marks. It is *high* from when it is filled to `high` until it is filled to `low` only, so
/// that a source is not stopped and started for every item.
#[pyclass(frozen, weakref, module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct Pressure {
    queue: QueueRef,
}

impl Pressure {
    pub(in crate::queue) fn new(object: &BoundQueue<'_, '_>) -> Self {
        Self { queue: QueueRef::new(object) }
    }

    fn hub<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PressureHub>> {
        let hub = self.queue.inner(py).pressure_hub(py);
        hub.ok_or_else(|| PyRuntimeError::new_err("this queue has no watermarks: make it with 'high', and 'low'"))
    }

    fn waiting(&self, py: Python<'_>) -> PyResult<WaitLow> {
        let registration = Registration::new(self.hub(py)?.unbind());
        Ok(WaitLow { registration, queue: self.queue.clone_ref(py) })
    }
}

#[pymethods]
impl Pressure {
    /// How full the queue is at this moment, from 0.0 to 1.0: by the number of items or by their weight, whichever is fuller. Without
    /// a bound it is 0.0. A queue without marks has it too.
    #[getter]
    fn level(&self, py: Python<'_>) -> f64 {
        self.queue.inner(py).core.pressure(py).level
    }

    /// Whether the queue has been filled to the high mark, and not emptied to the low one since.
    #[getter]
    fn high(&self, py: Python<'_>) -> bool {
        self.queue.inner(py).core.pressure(py).crossed.is_some_and(Crossed::is_high)
    }

    /// Call `callback(high)` at every crossing of a mark: with True when the queue has become high, with False when it has become low.
    /// Return a `PressureListener`, whose `close()` ends that.
    ///
    /// Crossings alternate, and a listener is called once for each, in their order, in the thread that caused it. If that happens
    /// while another thread is in the middle of a call of this listener, the other thread makes this call too, right after its own.
    /// It is called outside every lock, after the operation has happened, so it may use the queue; a crossing that it causes itself
    /// is told when it has returned. It should be short: the operation returns after it. What it raises goes to
    /// `sys.unraisablehook`.
    ///
    /// Raises TypeError if `callback` cannot be called or is a coroutine function, RuntimeError if the queue has no marks.
    fn on_change<'py>(&self, callback: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PressureListener>> {
        let hub = self.hub(callback.py())?;
        let function = plain_function("callback", callback)?;
        let seen = hub.get().crossings.count();
        PressureHub::add(&hub, Callback::OnChange(function), seen)
    }

    /// Call `pause()` when the queue becomes high and `resume()` when it becomes low again, for a source that can only be
    /// stopped and started. If it is high now, `pause()` is called at once. Return a `PressureListener`, whose `close()` ends that, and
    /// resumes a source that is paused.
    ///
    /// The two are called in turn, as `on_change` calls its callback; if several crossings have happened before there is time for a
    /// call, only the last one counts. Raises TypeError if one of them cannot be called or is a coroutine function, RuntimeError if the
    /// queue has no marks.
    fn drive<'py>(&self, pause: &Bound<'py, PyAny>, resume: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PressureListener>> {
        let hub = self.hub(pause.py())?;
        let callback = Callback::Drive { pause: plain_function("pause", pause)?, resume: plain_function("resume", resume)? };
        PressureHub::add(&hub, callback, 0) // as one that is not paused
    }

    /// Call `look()` at every crossing, in the thread that caused it, without keeping an order; and now, and at the end.
    fn _watch<'py>(&self, look: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PressureListener>> {
        let hub = self.hub(look.py())?;
        PressureHub::add(&hub, Callback::Watch(plain_function("look", look)?), 0)
    }

    /// Wait until the queue is low. Return at once if it is not high.
    ///
    /// Raises TimeoutError if it is still high after `timeout` seconds, ShutDown if it is high and has been shut down (waiters
    /// are woken then), RuntimeError if the queue has no marks, ValueError, TypeError or OverflowError for an invalid `timeout`.
    ///
    /// Fairness: all waiters, threads and tasks, are woken at the next crossing, in order of arrival. It may be high again by the
    /// time that they run.
    #[pyo3(signature = (timeout = None))]
    fn wait_low(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        blocking::run(py, &mut self.waiting(py)?, timeout).map(drop)
    }

    #[pyo3(signature = (timeout = None))]
    fn _async_wait_low(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        Ok(AsyncOperation::new(self.waiting(py)?, timeout))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let pressure = self.queue.inner(py).core.pressure(py);
        let state = match pressure.crossed {
            None => "no marks",
            Some(crossed) if crossed.is_high() => "high",
            Some(_) => "low",
        };
        format!("<pressure {:.2} ({state}) of {}>", pressure.level, text(self.queue.object(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.queue.traverse(&visit)
    }
}

impl QueueInner {
    /// The object that reports crossings, if the queue has marks.
    pub(in crate::queue) fn pressure_hub<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PressureHub>> {
        let herald = self.core.herald(py)?;
        if let Waker::Object(hub, _) = herald { hub.into_bound(py).cast_into().ok() } else { None }
    }

    /// What is to be watched in a new queue.
    pub(in crate::queue) fn gauge(
        py: Python<'_>,
        marks: Option<Watermarks>,
        clock: CoreClock<Waker>,
    ) -> PyResult<Option<Box<Gauge<Waker>>>> {
        marks.map(|marks| PressureHub::made(py, marks, clock)).transpose()
    }
}
