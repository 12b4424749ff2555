//! `QueueInner`: what every queue class has inside, whatever its interface.
//!
//! The core's queue, and in its section what only Python knows of: the name, the object given as `maxsize`, the error by which a
//! producer left. So `maxsize` and the bound change in one step, and a snapshot shows both as they were at one moment.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::PyClass;
use pyo3::exceptions::{PyBaseException, PyException, PyStopAsyncIteration, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyInt, PyString, PyTuple, PyType};
use sluicegate_core::buffer::Buffer;
use sluicegate_core::clock::{Clock as CoreClock, seconds};
use sluicegate_core::queue::{Queue as CoreQueue, Side, Spot, Statistics, UNBOUNDED};
use sluicegate_core::wait::Ticket;

use crate::queue::items::{Items, Order};
use crate::rt::arguments;
use crate::rt::class::{Common, repr_head};
use crate::rt::domain::Attached;
use crate::rt::exceptions;
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::imported::imported;
use crate::rt::kept::{Kept, interned};
use crate::rt::operation::Place;
use crate::rt::waker::Waker;

/// The next queue's number.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

pub(in crate::queue) type Core = CoreQueue<Items, Waker, Attached, Extras>;

/// What the class of a queue, a user's subclass perhaps, overrides. Settled when the queue is made.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::queue) struct Overrides {
    /// `_init`, `_qsize`, `_put` or `_get`: the subclass keeps the items.
    pub(in crate::queue) hooks: bool,
    pub(in crate::queue) put: bool,
    pub(in crate::queue) get: bool,
}

/// Python's side of the state, inside the core's section: nothing here may be dropped there, so what is displaced is carried out.
#[derive(Debug, Default)]
pub(in crate::queue) struct Extras {
    pub(in crate::queue) maxsize: Option<Py<PyAny>>,
    /// `maxsize` cannot be compared with a number; the error comes when it has to be, as in the standard library.
    pub(in crate::queue) maxsize_is_odd: bool,
    pub(in crate::queue) common: Common,
    /// The error that the queue was shut down with, and its traceback at that time.
    pub(in crate::queue) failure: Option<Py<PyAny>>,
    pub(in crate::queue) traceback: Option<Py<PyAny>>,
    /// Items may have been removed: it has been shut down with `immediate=True`.
    pub(in crate::queue) killed: bool,
    /// The `queue` attribute of a subclass that keeps the items itself.
    pub(in crate::queue) storage: Option<Py<PyAny>>,
    /// What those that do not wait were told last: getters, putters.
    told: [Option<Told>; 2],
}

/// The arguments of a refusal, and for which state of the queue they were made.
#[derive(Debug)]
struct Told {
    size: usize,
    limit: usize,
    args: Py<PyTuple>,
}

/// How a queue is shut down.
#[derive(Debug)]
pub(in crate::queue) struct End {
    pub(in crate::queue) error: Option<Failure>,
    pub(in crate::queue) immediate: bool,
}

/// An error, and its traceback.
type Failure = (Py<PyAny>, Option<Py<PyAny>>);

impl End {
    /// An end with this error, which has to be an exception, or None.
    pub(in crate::queue) fn of(error: &Bound<'_, PyAny>, immediate: bool) -> PyResult<Self> {
        if error.is_none() {
            return Ok(Self { error: None, immediate });
        }
        if !error.is_instance_of::<PyBaseException>() {
            let given = arguments::text(error);
            return Err(PyTypeError::new_err(format!("'error' must be an exception or None, not {given}")));
        }
        let traceback = error.getattr(interned!(error.py(), "__traceback__"))?;
        Ok(Self { error: Some((error.clone().unbind(), Some(traceback.unbind()))), immediate })
    }

    /// Of several ends the first one counts, but that items are removed may follow. What is not needed comes back, to be dropped outside.
    pub(in crate::queue) fn note(self, extras: &mut Extras, again: bool) -> Option<Failure> {
        extras.killed |= self.immediate;
        if again {
            return self.error;
        }
        let (error, traceback) = self.error?;
        let old = extras.failure.replace(error);
        let old_traceback = std::mem::replace(&mut extras.traceback, traceback);
        old.map(|old| (old, old_traceback))
    }
}

/// Not what iteration itself ends with, and not what is meant for one thread or task only.
fn may_be_raised(failure: &Bound<'_, PyAny>) -> bool {
    let py = failure.py();
    let error = PyErr::from_value(failure.clone());
    error.is_instance_of::<PyException>(py)
        && !error.is_instance_of::<PyStopIteration>(py)
        && !error.is_instance_of::<PyStopAsyncIteration>(py)
        && !exceptions::ends_a_queue(py, &error)
}

#[derive(Debug)]
pub(in crate::queue) struct QueueInner {
    /// Of this process, and never given again.
    number: u64,
    pub(in crate::queue) core: Core,
    pub(in crate::queue) overrides: Overrides,
    /// Items move only through the holder of the baton.
    pub(in crate::queue) slow: bool,
    /// The order of its class, whether or not a subclass keeps the items.
    pub(in crate::queue) order: Order,
    /// How objects of its class are asked for it.
    pub(in crate::queue) of: InnerOf,
}

/// A bound as the core counts it: `size >= maxsize` is `size >= limit`, and `maxsize <= 0` is no bound.
pub(in crate::queue) fn limit_of(maxsize: &Bound<'_, PyAny>) -> PyResult<usize> {
    if let Ok(exact) = maxsize.cast_exact::<PyInt>() {
        return Ok(match exact.extract::<i64>() {
            Ok(n) if n <= 0 => UNBOUNDED,
            Ok(n) => usize::try_from(n).unwrap_or(UNBOUNDED - 1),
            Err(_) if maxsize.lt(0)? => UNBOUNDED,
            Err(_) => UNBOUNDED - 1,
        });
    }
    if !maxsize.gt(0)? {
        return Ok(UNBOUNDED); // NaN too: no comparison with it is true
    }
    // The least whole number that reaches it.
    let float: f64 = maxsize.extract()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturating is what is meant")]
    Ok((float.ceil() as usize).clamp(1, UNBOUNDED - 1))
}

fn refused(py: Python<'_>, side: Side, args: Bound<'_, PyTuple>) -> PyErr {
    if side == Side::Put { exceptions::full(py, args) } else { exceptions::empty(py, args) }
}

impl QueueInner {
    pub(in crate::queue) fn new(order: Order, overrides: Overrides, of: InnerOf) -> Self {
        let items = Items::new(if overrides.hooks { Order::Hooked } else { order });
        let slow = items.needs_baton();
        let core = Core::with_extras(items, Extras::default(), UNBOUNDED, CoreClock::Monotonic);
        // Relaxed: each queue gets a number of its own, in whatever order.
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { number, core, overrides, slow, order, of }
    }

    pub(in crate::queue) fn extra(&self, py: Python<'_>, place: impl FnOnce(&Extras) -> &Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        self.core.look(py, |_, _, extras| place(extras).as_ref().map(|value| value.clone_ref(py)))
    }

    /// The queue is made, or made anew: empty, with these settings. Those who wait go on waiting.
    pub(in crate::queue) fn init(
        &self,
        py: Python<'_>,
        maxsize: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let common = Common::new(py, name, clock)?;
        let core_clock = common.core_clock();
        let limit = maxsize.map_or(Ok(UNBOUNDED), limit_of);
        let fresh = Extras {
            maxsize: maxsize.map(|maxsize| maxsize.clone().unbind()),
            maxsize_is_odd: limit.is_err(),
            common,
            ..Extras::default()
        };
        // The items is emptied, not replaced: its kind was settled when the object was made.
        let empty = |items: &mut Items, extras: &mut Extras| {
            let storage = extras.storage.take();
            (items.take_all(), std::mem::replace(extras, Extras { storage, ..fresh }))
        };
        let (wakes, old) = self.core.reset(py, empty, limit.unwrap_or(0), core_clock);
        wakes.fire();
        drop(old);
        Ok(())
    }

    /// `maxsize` has been assigned.
    pub(in crate::queue) fn set_maxsize(&self, py: Python<'_>, maxsize: &Bound<'_, PyAny>) {
        let limit = limit_of(maxsize);
        let odd = limit.is_err();
        let maxsize = maxsize.clone().unbind();
        // With a bound of nothing every put is refused, and then the error is reported.
        let (wakes, old) = self.core.set_limit_with(py, limit.unwrap_or(0), |extras| {
            extras.maxsize_is_odd = odd;
            extras.maxsize.replace(maxsize)
        });
        wakes.fire();
        drop(old);
    }

    /// Is there a bound? Raises what comparing an odd `maxsize` raises.
    pub(in crate::queue) fn is_bounded(&self, py: Python<'_>) -> PyResult<bool> {
        let (limit, odd) = self.core.look(py, |_, limit, extras| {
            (limit, extras.maxsize.as_ref().filter(|_| extras.maxsize_is_odd).map(|maxsize| maxsize.clone_ref(py)))
        });
        odd.map_or(Ok(limit != UNBOUNDED), |maxsize| maxsize.bind(py).gt(0))
    }

    /// Shuts the queue down. What is in it stays.
    pub(in crate::queue) fn end(&self, py: Python<'_>, end: End) {
        let (wakes, displaced) = self.core.shut_down_with(py, |extras, again| end.note(extras, again));
        wakes.fire();
        drop(displaced);
    }

    pub(in crate::queue) fn shut_down_error(&self, py: Python<'_>, operation: &str) -> PyErr {
        let label = self.label(py);
        let Some(cause) = self.extra(py, |extras| &extras.failure) else {
            return self.marked(py, exceptions::shut_down(py, (format!("{operation}: the queue{label} has been shut down"),)));
        };
        let cause = cause.into_bound(py);
        let told = arguments::text(&cause);
        let error =
            exceptions::shut_down(py, (format!("{operation}: the queue{label} has been shut down with an error: {told}"),));
        error.set_cause(py, Some(PyErr::from_value(cause)));
        self.marked(py, error)
    }

    /// With the mark by which [`QueueInner::has_raised`] knows it.
    fn marked(&self, py: Python<'_>, error: PyErr) -> PyErr {
        let mark = error.value(py).setattr(interned!(py, "_queue"), self.number);
        mark.map_or_else(|error| error, |()| error)
    }

    /// Is it a `ShutDown` of this queue?
    pub(in crate::queue) fn has_raised(&self, error: &Bound<'_, PyAny>) -> bool {
        let mark = || error.getattr_opt(interned!(error.py(), "_queue"))?.map_or(Ok(0), |mark| mark.extract::<u64>());
        mark().is_ok_and(|mark| mark == self.number)
    }

    /// What ends an iteration, once the queue has been shut down and drained: nothing, or the error that it was shut down with, or, after
    /// items may have been removed, `ShutDown`. An error that would look like an end of its own is told by `ShutDown` as well.
    pub(in crate::queue) fn end_of_iteration(&self, py: Python<'_>) -> PyResult<()> {
        let (killed, failure, traceback) = self.core.look(py, |_, _, extras| {
            let copy = |object: &Option<Py<PyAny>>| object.as_ref().map(|object| object.clone_ref(py));
            (extras.killed, copy(&extras.failure), copy(&extras.traceback))
        });
        match failure.map(|failure| failure.into_bound(py)) {
            None if !killed => Ok(()),
            Some(failure) if !killed && may_be_raised(&failure) => {
                let _ = failure.setattr(interned!(py, "__traceback__"), traceback);
                Err(PyErr::from_value(failure))
            }
            _ => Err(self.shut_down_error(py, "iteration")),
        }
    }

    /// The name as it follows a noun in a message.
    fn label(&self, py: Python<'_>) -> String {
        self.name(py).map_or_else(String::new, |name| format!(" {}", arguments::text(name.bind(py))))
    }

    /// Full (`Side::Put`) or Empty: what was asked, and what the queue holds.
    pub(in crate::queue) fn refusal(&self, asked: Bound<'_, PyString>, side: Side) -> PyErr {
        let py = asked.py();
        match self.tell(asked) {
            Ok(told) => refused(py, side, told.args.into_bound(py)),
            Err(error) => error,
        }
    }

    /// The same for whoever does not wait. What it tells is kept for the next one.
    pub(in crate::queue) fn refuse_at_once(&self, py: Python<'_>, side: Side) -> PyErr {
        let asked = if side == Side::Put { interned!(py, "put without waiting") } else { interned!(py, "get without waiting") };
        let told = match self.tell(asked.clone()) {
            Ok(told) => told,
            Err(error) => return error,
        };
        let error = refused(py, side, told.args.bind(py).clone());
        drop(self.core.change_extras(py, |extras| extras.told[usize::from(side == Side::Put)].replace(told)));
        error
    }

    /// What the last one was told, if that is still so.
    pub(in crate::queue) fn last_refusal<'py>(&self, py: Python<'py>, side: Side) -> Option<Bound<'py, PyTuple>> {
        self.core.look(py, |items, limit, extras| {
            let told = extras.told[usize::from(side == Side::Put)].as_ref()?;
            (told.size == items.len() && told.limit == limit).then(|| told.args.bind(py).clone())
        })
    }

    fn tell(&self, asked: Bound<'_, PyString>) -> PyResult<Told> {
        let py = asked.py();
        let (size, limit, name) = self.core.look(py, |items, limit, extras| (items.len(), limit, extras.common.name(py)));
        let template = if limit == UNBOUNDED {
            interned!(py, "{1}: the queue{0} holds {2} items and has no bound")
        } else {
            interned!(py, "{1}: the queue{0} holds {2} of {3} items")
        };
        let args = (template, name, asked, size, (limit != UNBOUNDED).then_some(limit)).into_pyobject(py)?;
        Ok(Told { size, limit, args: args.unbind() })
    }

    pub(in crate::queue) fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.core.look(py, |_, _, extras| extras.common.name(py))
    }

    /// The statistics, the name, and the object given as `maxsize`, all of one moment.
    fn seen(&self, py: Python<'_>) -> (Statistics, Option<Py<PyAny>>, Option<Py<PyAny>>) {
        let (seen, (name, maxsize)) = self
            .core
            .statistics_with(py, |extras| (extras.common.name(py), extras.maxsize.as_ref().map(|maxsize| maxsize.clone_ref(py))));
        (seen, name, maxsize)
    }

    pub(in crate::queue) fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: Kept<PyType> = Kept::new();
        let (seen, name, maxsize) = self.seen(py);
        let fields = PyDict::new(py);
        fields.set_item("name", name)?;
        fields.set_item("size", seen.size)?;
        fields.set_item("maxsize", maxsize.unwrap_or_else(|| zero(py).unbind()))?;
        fields.set_item("puts", seen.puts)?;
        fields.set_item("gets", seen.gets)?;
        fields.set_item("unfinished_tasks", seen.unfinished)?;
        fields.set_item("peak_size", seen.peak_size)?;
        fields.set_item("waiting_putters", seen.waiting_putters)?;
        fields.set_item("waiting_getters", seen.waiting_getters)?;
        fields.set_item("waiting_joiners", seen.waiting_joiners)?;
        fields.set_item("put_blocked_seconds", seconds(seen.put_blocked))?;
        fields.set_item("get_blocked_seconds", seconds(seen.get_blocked))?;
        fields.set_item("full_for", seconds(seen.full_for))?;
        fields.set_item("is_shutdown", seen.shut)?;
        imported(py, &CLASS, "sluicegate._statistics", "QueueStatistics")?.call((), Some(&fields))
    }

    pub(in crate::queue) fn describe(&self, this: &Bound<'_, PyAny>, has_maxsize: bool) -> PyResult<String> {
        use std::fmt::Write;
        let py = this.py();
        let (seen, name, maxsize) = self.seen(py);
        let label = name.map_or_else(String::new, |name| format!(" {}", arguments::text(name.bind(py))));
        let mut text = repr_head(this, &label)?;
        let _ = write!(text, " size={}", seen.size);
        if has_maxsize {
            let maxsize = maxsize.map_or_else(|| zero(py), |maxsize| maxsize.into_bound(py));
            let _ = write!(text, " maxsize={}", arguments::text(&maxsize));
        }
        for (label, count) in [
            ("waiting_putters", seen.waiting_putters),
            ("waiting_getters", seen.waiting_getters),
            ("waiting_joiners", seen.waiting_joiners),
        ] {
            if count > 0 {
                let _ = write!(text, " {label}={count}");
            }
        }
        if seen.unfinished != 0 {
            let _ = write!(text, " unfinished_tasks={}", seen.unfinished);
        }
        if seen.shut {
            text.push_str(" shut down");
        }
        text.push('>');
        Ok(text)
    }

    pub(in crate::queue) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let py = attached_in_traverse();
        let shown = Shown::to(&visit);
        self.core.look(py, |items, _, extras| {
            let Extras { maxsize, common, failure, traceback, storage, told, maxsize_is_odd: _, killed: _ } = extras;
            for object in [maxsize, failure, traceback, storage] {
                shown.object(object);
            }
            told.iter().flatten().for_each(|told| shown.object(&told.args));
            common.show(&shown);
            items.iter().for_each(|item| shown.object(item));
        });
        self.core.visit_wakers(py, |waker| shown.waker(waker));
        shown.outcome()
    }

    /// Breaks cycles: everything that can be emptied is moved out and dropped here, outside the section.
    pub(in crate::queue) fn clear(&self, py: Python<'_>) {
        let items = self.core.with_buffer(py, Items::take_all);
        let extras = self.core.change_extras(py, std::mem::take);
        drop((items, extras));
    }
}

/// A class with a [`QueueInner`], and the rules in which the two kinds of queue differ.
pub(in crate::queue) trait QueueClass: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync {
    /// For messages.
    const CLASS: &'static str;
    /// `get` refuses a timeout that is too long even when it need not wait.
    const TIMEOUT_FIRST: bool;

    fn inner(&self) -> &QueueInner;
}

/// How an object of one of the classes is asked for its inner.
pub(in crate::queue) type InnerOf = for<'a, 'py> fn(&'a Bound<'py, PyAny>) -> &'a QueueInner;

pub(in crate::queue) fn zero(py: Python<'_>) -> Bound<'_, PyAny> {
    PyInt::new(py, 0).into_any()
}

pub(in crate::queue) fn inner_of<'a, C: QueueClass>(this: &'a Bound<'_, PyAny>) -> &'a QueueInner {
    this.cast::<C>().expect("an object of this class").get().inner()
}

/// A Python object of one of our classes, with its inner at hand.
pub(in crate::queue) struct Object<'a, 'py> {
    pub(in crate::queue) this: &'a Bound<'py, PyAny>,
    pub(in crate::queue) inner: &'a QueueInner,
}

impl<'py> Object<'_, 'py> {
    pub(in crate::queue) fn py(&self) -> Python<'py> {
        self.this.py()
    }
}

/// The place of an operation on a queue.
pub(in crate::queue) struct QueuePlace {
    queue: Py<PyAny>,
    of: InnerOf,
    place: (Side, Ticket),
}

impl QueuePlace {
    pub(in crate::queue) fn of(queue: &Bound<'_, PyAny>, of: InnerOf, spot: &Spot) -> Option<Box<dyn Place>> {
        let place = spot.place()?;
        Some(Box::new(Self { queue: queue.clone().unbind(), of, place }))
    }
}

impl Place for QueuePlace {
    fn step_aside(&self, py: Python<'_>) {
        (self.of)(self.queue.bind(py)).core.step_aside(py, self.place).fire();
    }

    fn step_back(&self, py: Python<'_>) {
        (self.of)(self.queue.bind(py)).core.step_back(py, self.place).fire();
    }
}
