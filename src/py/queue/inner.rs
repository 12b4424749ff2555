//! `QueueInner`: the common inside of all queue classes.
//!
//! It contains the core's queue, whose section also guards the data that only Python uses: the name, the object given as `maxsize`, and how
//! the queue ended. So `maxsize` and the bound change in one step, and a snapshot shows both as of one moment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pyo3::PyClass;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyInt, PyString, PyTuple, PyType};
use sluicegate_core::clock::{Clock as CoreClock, Nanos, seconds};
use sluicegate_core::histogram::Summary;
use sluicegate_core::queue::{Composition, DropReason, Overflow, Queue as CoreQueue, Statistics, UNBOUNDED, Watermarks, Worker};

use crate::queue::fair_item::{FairKeys, shown_of};
use crate::queue::items::{Items, Order};
use crate::queue::keyed::Keys;
use crate::queue::replaced::ReplacedWaits;
use crate::rt::aio::caller_number;
use crate::rt::arguments::{self, text};
use crate::rt::class::{Common, repr_head};
use crate::rt::domain::Attached;
use crate::rt::ending::{End, Ending};
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::guarded;
use crate::rt::imported::imported;
use crate::rt::kept::{Kept, interned};
use crate::rt::memory;
use crate::rt::registration::{Anchor, WaitableClass};
use crate::rt::waker::Waker;

/// The next queue's number.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

pub(in crate::queue) type Core = CoreQueue<Items, Waker, Attached, Extras>;

/// The methods that a class overrides, perhaps a user's subclass. Determined when the queue is made.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each method, or group of them")]
pub(in crate::queue) struct Overrides {
    /// `_init`, `_qsize`, `_put` or `_get`: the subclass stores the items.
    pub(in crate::queue) hooks: bool,
    /// `_get`: the subclass knows which item is the next one.
    pub(in crate::queue) order: bool,
    pub(in crate::queue) put: bool,
    pub(in crate::queue) get: bool,
}

/// The binding's data inside the core's section. Nothing may be dropped there, so displaced objects are returned.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(in crate::queue) maxsize: Option<Py<PyAny>>,
    /// True if `maxsize` cannot be compared with a number. The error is raised at the first comparison, as in the standard library.
    pub(in crate::queue) maxsize_is_odd: bool,
    pub(in crate::queue) common: Common,
    pub(in crate::queue) ending: Ending,
    /// The `queue` attribute of a subclass that stores the items itself.
    pub(in crate::queue) storage: Option<Py<PyAny>>,
    /// The function that is called with every dropped item.
    pub(in crate::queue) on_drop: Option<Py<PyAny>>,
    /// The function that is told of every item that will not be taken: an executor's, whose jobs the items are.
    pub(in crate::queue) listener: Option<Py<PyAny>>,
    /// The function that weighs an item.
    pub(in crate::queue) weigh: Option<Py<PyAny>>,
    /// The arguments of the last refusals of calls that do not wait, by [`Refused`].
    pub(in crate::queue) told: [Option<RefusalArgs>; 5],
}

/// An operation that does not wait, and is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) enum Refused {
    Get,
    Put,
    GetMany,
    PutMany,
    /// Not because it does not wait, but because the policy is "reject".
    Rejected,
}

/// The arguments of a refusal, and the state of the queue for which they were made.
#[derive(Debug)]
pub(in crate::queue) struct RefusalArgs {
    pub(in crate::queue) seen: Bounds,
    pub(in crate::queue) args: Py<PyTuple>,
}

/// The size of a queue and its bounds on the number of items: in all, of each key, and the places that are reserved for some keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::queue) struct Bounds {
    pub(in crate::queue) size: usize,
    pub(in crate::queue) limit: usize,
    pub(in crate::queue) per_key: usize,
    pub(in crate::queue) reserved: usize,
}

/// The data of a snapshot and a `repr`, all of one moment.
struct Seen {
    counts: Statistics,
    name: Option<Py<PyAny>>,
    maxsize: Option<Py<PyAny>>,
    /// The number of waiters for the low mark, and the sum of their waiting times.
    low_waits: (usize, Nanos),
}

#[derive(Debug)]
pub(in crate::queue) struct QueueInner {
    /// Unique in this process.
    pub(in crate::queue) number: u64,
    pub(in crate::queue) core: Core,
    pub(in crate::queue) overrides: Overrides,
    /// True if a worker has been added (`working`). Relaxed: a worker reads it on the thread that has set it.
    has_workers: AtomicBool,
    /// True if a user's function weighs the items, see `composition`.
    pub(in crate::queue) weighs: AtomicBool,
    pub(in crate::queue) replaced_waits: ReplacedWaits,
    /// True if items move only through the holder of the baton.
    pub(in crate::queue) slow: bool,
    /// The order of the class, whether or not a subclass stores the items.
    pub(in crate::queue) order: Order,
    /// The keys of a `CoalescingQueue`.
    pub(in crate::queue) keys: Option<Box<Keys>>,
    /// The keys of a `FairQueue`.
    pub(in crate::queue) fair: Option<Box<FairKeys>>,
    /// Finds the inner of an object of its class.
    pub(in crate::queue) of: InnerOf,
}

/// The bound in the core: `size >= maxsize` is `size >= limit`, and `maxsize <= 0` means no bound.
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
    // The smallest integer that is not below it.
    let float: f64 = maxsize.extract()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturating is what is meant")]
    Ok((float.ceil() as usize).clamp(1, UNBOUNDED - 1))
}

/// The error for a bound that leaves no room for keys without reserved places.
pub(in crate::queue) fn too_few_places(reserved: impl std::fmt::Display, maxsize: &Bound<'_, PyAny>) -> PyErr {
    PyValueError::new_err(format!(
        "'reserved' keeps {reserved} places, and 'maxsize' has to be greater than that, so that other keys have room: {}",
        text(maxsize)
    ))
}

pub(in crate::queue) fn name_of(py: Python<'_>, reason: DropReason) -> &Bound<'_, PyString> {
    match reason {
        DropReason::Oldest => interned!(py, "oldest"),
        DropReason::Newest => interned!(py, "newest"),
        DropReason::Lowest => interned!(py, "lowest"),
        DropReason::Sampled => interned!(py, "sampled"),
        DropReason::Expired => interned!(py, "expired"),
        DropReason::Shed => interned!(py, "shed"),
    }
}

/// The waiting times of items, in seconds.
fn latency_of<'py>(py: Python<'py>, seen: &Summary) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Kept<PyType> = Kept::new();
    let fields = PyDict::new(py);
    fields.set_item("count", seen.count)?;
    for (name, time) in
        [("mean", seen.mean), ("p50", seen.p50), ("p90", seen.p90), ("p99", seen.p99), ("p999", seen.p999), ("max", seen.max)]
    {
        fields.set_item(name, seconds(time))?;
    }
    guarded::call_by_name(imported(py, &CLASS, "sluicegate._statistics", "Latency")?, &fields)
}

impl QueueInner {
    pub(in crate::queue) fn new(order: Order, overrides: Overrides, of: InnerOf) -> Self {
        let items = Items::new(if overrides.hooks { Order::Hooked } else { order });
        let slow = items.needs_baton();
        let core = Core::with_extras(items, Extras::default(), UNBOUNDED, CoreClock::Monotonic);
        // Relaxed: the numbers are unique; their order does not matter.
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let keys = (order == Order::Keyed).then(|| Box::new(Keys::new()));
        let fair = (order == Order::Fair).then(|| Box::new(FairKeys::new()));
        Self {
            number,
            core,
            overrides,
            has_workers: AtomicBool::new(false),
            weighs: AtomicBool::new(false),
            replaced_waits: ReplacedWaits::default(),
            slow,
            order,
            keys,
            fair,
            of,
        }
    }

    pub(in crate::queue) fn extra(&self, py: Python<'_>, place: impl FnOnce(&Extras) -> &Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        self.core.look(py, |_, _, extras| place(extras).as_ref().map(|value| value.clone_ref(py)))
    }

    /// Makes the queue, or makes it anew: empty, with these settings. Waiters continue to wait.
    pub(in crate::queue) fn init(
        &self,
        this: &Bound<'_, PyAny>,
        maxsize: Option<&Bound<'_, PyAny>>,
        (policy, on_drop): (Overflow, Option<Py<PyAny>>),
        (parts, weigh, marks): (Composition, Option<Py<PyAny>>, Option<Watermarks>),
        name: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = this.py();
        let common = Common::new(py, name, clock)?;
        let core_clock = common.core_clock();
        let limit = maxsize.map_or(Ok(UNBOUNDED), limit_of);
        self.weighs.store(weigh.is_some(), Ordering::Relaxed);
        let mut fresh = Some(Extras {
            on_drop,
            weigh,
            maxsize: maxsize.map(|maxsize| maxsize.clone().unbind()),
            maxsize_is_odd: limit.is_err(),
            common,
            ..Extras::default()
        });
        let limit = limit.unwrap_or(0);
        let mut gauge = Self::gauge(py, marks, core_clock.clone())?;
        let old = self.step(this, "__init__", |state, wakes| {
            // `items` is emptied, not replaced, because its kind was determined when the object was made.
            let empty = |items: &mut Items, extras: &mut Extras| {
                let mut old = fresh.take().unwrap_or_default();
                old.storage = extras.storage.take();
                std::mem::swap(&mut old, extras);
                (items.take_all(), old)
            };
            let old = state.reset(empty, limit, policy, &parts, core_clock.clone(), wakes);
            (old, state.watch(gauge.take(), wakes))
        })?;
        drop(old);
        Ok(())
    }

    /// Handles an assignment to `maxsize`.
    pub(in crate::queue) fn set_maxsize(&self, py: Python<'_>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let limit = limit_of(maxsize);
        if let (Ok(limit), Some(_)) = (&limit, &self.fair) {
            // What is reserved is fixed when the queue is made.
            let reserved = self.core.look(py, |items, _, _| items.fair.as_ref().map_or(0, |fair| fair.reserved()));
            if reserved > 0 && reserved >= *limit {
                return Err(too_few_places(reserved, maxsize));
            }
        }
        let odd = limit.is_err();
        let maxsize = maxsize.clone().unbind();
        // With a bound of 0 every put is refused, and then the error is raised.
        let (wakes, old) = self.core.set_limit_with(py, limit.unwrap_or(0), |extras| {
            extras.maxsize_is_odd = odd;
            extras.maxsize.replace(maxsize)
        });
        wakes.fire();
        drop(old);
        Ok(())
    }

    pub(in crate::queue) fn has_workers(&self) -> bool {
        self.has_workers.load(Ordering::Relaxed)
    }

    /// Adds a worker and returns its number.
    pub(in crate::queue) fn start_work(&self, py: Python<'_>) -> PyResult<Worker> {
        let worker = caller_number(py)?;
        self.has_workers.store(true, Ordering::Relaxed);
        let (wakes, started) = self.core.start_work(py, worker);
        wakes.fire();
        started.map(|()| worker).map_err(|_| memory::none(py, c"there is no memory for one more worker"))
    }

    /// True if there is a bound. Raises what comparing an odd `maxsize` raises.
    pub(in crate::queue) fn is_bounded(&self, py: Python<'_>) -> PyResult<bool> {
        let (limit, odd) = self.core.look(py, |_, limit, extras| {
            (limit, extras.maxsize.as_ref().filter(|_| extras.maxsize_is_odd).map(|maxsize| maxsize.clone_ref(py)))
        });
        odd.map_or(Ok(limit != UNBOUNDED), |maxsize| maxsize.bind(py).gt(0))
    }

    /// Records the error with which the queue is about to be shut down, unless it has been already.
    pub(in crate::queue) fn blame(&self, py: Python<'_>, end: End) {
        let shut = self.core.is_shut(py);
        let blame = End { immediate: false, ..end }; // nothing has been removed yet
        let displaced = self.core.change_extras(py, |extras| blame.note(&mut extras.ending, shut));
        drop(displaced);
    }

    /// Shuts the queue down. Its items stay.
    pub(in crate::queue) fn end(&self, this: &Bound<'_, PyAny>, end: End) -> PyResult<()> {
        let mut end = Some(end);
        let displaced = self.step(this, "shutdown", |state, wakes| {
            let note = |extras: &mut Extras, again| end.take().and_then(|end| end.note(&mut extras.ending, again));
            state.shut_down_with(note, wakes)
        })?;
        drop(displaced);
        Ok(())
    }

    /// Raises TypeError if items cannot have a `ttl`.
    pub(in crate::queue) fn takes_ttl(&self) -> PyResult<()> {
        self.can_note("ttl")
    }

    /// The same for any option that needs notes of the items, by its name.
    pub(in crate::queue) fn can_note(&self, what: &str) -> PyResult<()> {
        if self.overrides.hooks {
            return Err(PyTypeError::new_err(format!(
                "'{what}' is not available in a class that overrides _init, _qsize, _put or _get, because that class keeps the items"
            )));
        }
        if self.keys.is_some() {
            return Err(PyTypeError::new_err(format!(
                "'{what}' is not available in a CoalescingQueue, because its items are merged"
            )));
        }
        Ok(())
    }

    pub(in crate::queue) fn shut_down_error(&self, py: Python<'_>, operation: &str) -> PyErr {
        let text = format!("{operation}: the queue{}", self.label(py));
        self.marked(py, self.ending(py).shut_down_error(py, &text))
    }

    fn ending(&self, py: Python<'_>) -> Ending {
        self.core.look(py, |_, _, extras| extras.ending.clone_ref(py))
    }

    /// Adds the mark by which [`QueueInner::has_raised`] recognizes the error.
    fn marked(&self, py: Python<'_>, error: PyErr) -> PyErr {
        let mark = error.value(py).setattr(interned!(py, "_queue"), self.number);
        mark.map_or_else(|error| error, |()| error)
    }

    /// True if the error is a `ShutDown` of this queue.
    pub(in crate::queue) fn has_raised(&self, error: &Bound<'_, PyAny>) -> bool {
        let mark = || error.getattr_opt(interned!(error.py(), "_queue"))?.map_or(Ok(0), |mark| mark.extract::<u64>());
        mark().is_ok_and(|mark| mark == self.number)
    }

    /// Ends an iteration once the queue has been shut down and drained: raises the exception that ends it, or returns for an ordinary end.
    pub(in crate::queue) fn end_of_iteration(&self, py: Python<'_>) -> PyResult<()> {
        self.ending(py).of_iteration(py, || self.shut_down_error(py, "iteration"))
    }

    /// The name, formatted to follow a noun in a message.
    fn label(&self, py: Python<'_>) -> String {
        self.name(py).map_or_else(String::new, |name| format!(" {}", arguments::text(name.bind(py))))
    }

    pub(in crate::queue) fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.core.look(py, |_, _, extras| extras.common.name(py))
    }

    /// The statistics, the name, and the object given as `maxsize`, all of one moment.
    fn seen(&self, py: Python<'_>) -> Seen {
        let hub = self.pressure_hub(py);
        let (counts, (name, maxsize, low_waits)) = self.core.statistics_with(py, |extras| {
            let low_waits = hub.as_ref().map_or((0, 0), |hub| hub.get().low_waits(py));
            (extras.common.name(py), extras.maxsize.as_ref().map(|maxsize| maxsize.clone_ref(py)), low_waits)
        });
        Seen { counts, name, maxsize, low_waits }
    }

    pub(in crate::queue) fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: Kept<PyType> = Kept::new();
        let Seen { counts: seen, name, maxsize, low_waits } = self.seen(py);
        let fields = PyDict::new(py);
        fields.set_item("name", name)?;
        fields.set_item("size", seen.size)?;
        fields.set_item("maxsize", maxsize.unwrap_or_else(|| zero(py).unbind()))?;
        fields.set_item("puts", seen.puts)?;
        fields.set_item("gets", seen.gets)?;
        fields.set_item("merged", seen.merged)?;
        fields.set_item("unfinished_tasks", seen.unfinished)?;
        fields.set_item("peak_size", seen.peak_size)?;
        fields.set_item("waiting_putters", seen.waiting_putters)?;
        fields.set_item("waiting_getters", seen.waiting_getters)?;
        fields.set_item("waiting_joiners", seen.waiting_joiners)?;
        fields.set_item("put_blocked_seconds", seconds(seen.put_blocked))?;
        fields.set_item("get_blocked_seconds", seconds(seen.get_blocked))?;
        fields.set_item("full_for", seconds(seen.full_for))?;
        fields.set_item("is_shutdown", seen.shut)?;
        fields.set_item("rejected", seen.rejected)?;
        fields.set_item("weight", seen.weight.map(|(weight, _)| weight))?;
        fields.set_item("max_weight", seen.weight.map(|(_, max)| max))?;
        fields.set_item("oldest_seconds", seen.oldest.map(seconds))?;
        fields.set_item("level", seen.pressure.level)?;
        let crossed = seen.pressure.crossed.unwrap_or_default();
        fields.set_item("is_high", crossed.is_high())?;
        fields.set_item("high_crossings", crossed.crossings.div_ceil(2))?;
        fields.set_item("low_crossings", crossed.crossings / 2)?;
        fields.set_item("high_seconds", seconds(crossed.high_for))?;
        fields.set_item("waiting_low", low_waits.0)?;
        fields.set_item("low_blocked_seconds", seconds(low_waits.1))?;
        let latency = seen.latency.map(|latency| latency_of(py, &latency)).transpose()?;
        fields.set_item("latency", latency)?;
        for reason in DropReason::ALL {
            fields.set_item(format!("dropped_{}", name_of(py, reason)), seen.dropped[reason as usize])?;
        }
        guarded::call_by_name(imported(py, &CLASS, "sluicegate._statistics", "QueueStatistics")?, &fields)
    }

    pub(in crate::queue) fn describe(&self, this: &Bound<'_, PyAny>, has_maxsize: bool) -> PyResult<String> {
        use std::fmt::Write;
        let py = this.py();
        let Seen { counts: seen, name, maxsize, .. } = self.seen(py);
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
            let Extras { maxsize, common, ending, storage, on_drop, listener, weigh, told, maxsize_is_odd: _ } = extras;
            for object in [maxsize, storage, on_drop, listener, weigh] {
                shown.object(object);
            }
            told.iter().flatten().for_each(|told| shown.object(&told.args));
            common.show(&shown);
            ending.show(&shown);
            items.iter().for_each(|item| shown.object(shown_of(item)));
        });
        self.core.visit_late(py, |item| shown.object(shown_of(item)));
        self.core.visit_wakers(py, |waker| shown.waker(waker));
        self.core.visit_herald(py, |waker| shown.waker(waker));
        self.keys.as_ref().map_or(Ok(()), |keys| keys.traverse(&visit))?;
        self.fair.as_ref().map_or(Ok(()), |keys| keys.traverse(&visit))?;
        shown.outcome()
    }

    /// Breaks cycles: everything that can be emptied is moved out and dropped here, outside the section.
    pub(in crate::queue) fn clear(&self, py: Python<'_>) {
        let late = self.core.reset_mutex(py);
        let items = self.core.with_buffer(py, Items::take_all);
        let extras = self.core.change_extras(py, std::mem::take);
        let gauge = self.core.unwatch(py);
        drop((late, items, extras, gauge));
    }
}

/// A class with a [`QueueInner`], and the rules in which queue classes differ.
pub(in crate::queue) trait QueueClass:
    PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + std::fmt::Debug + Sync
{
    /// True if `get` refuses a timeout that is too long even when it need not wait.
    const TIMEOUT_FIRST: bool;
    /// True if its items may have a time to live.
    const HAS_TTL: bool = true;

    fn inner(&self) -> &QueueInner;
}

/// A function that returns the inner of an object of one class.
pub(in crate::queue) type InnerOf = for<'a, 'py> fn(&'a Bound<'py, PyAny>) -> &'a QueueInner;

pub(in crate::queue) fn zero(py: Python<'_>) -> Bound<'_, PyAny> {
    PyInt::new(py, 0).into_any()
}

pub(in crate::queue) fn inner_of<'a, C: QueueClass>(this: &'a Bound<'_, PyAny>) -> &'a QueueInner {
    this.cast::<C>().expect("an object of this class").get().inner()
}

/// A Python object of one of our classes, together with its inner.
pub(in crate::queue) struct BoundQueue<'a, 'py> {
    pub(in crate::queue) this: &'a Bound<'py, PyAny>,
    pub(in crate::queue) inner: &'a QueueInner,
}

impl<'py> BoundQueue<'_, 'py> {
    pub(in crate::queue) fn py(&self) -> Python<'py> {
        self.this.py()
    }
}

impl<C: QueueClass> WaitableClass for C {
    type Waitable = Core;

    #[inline]
    fn waitable(&self) -> &Core {
        &self.inner().core
    }
}

/// A reference to a queue of any class.
#[derive(Debug)]
pub(in crate::queue) struct QueueRef {
    queue: Py<PyAny>,
    of: InnerOf,
}

impl QueueRef {
    pub(in crate::queue) fn new(object: &BoundQueue<'_, '_>) -> Self {
        Self { queue: object.this.clone().unbind(), of: object.inner.of }
    }

    pub(in crate::queue) fn object<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.queue.bind(py)
    }

    pub(in crate::queue) fn inner<'a>(&'a self, py: Python<'a>) -> &'a QueueInner {
        (self.of)(self.queue.bind(py))
    }
}

impl Anchor for QueueRef {
    type Waitable = Core;

    fn waitable<'a>(&'a self, py: Python<'a>) -> &'a Core {
        &self.inner(py).core
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { queue: self.queue.clone_ref(py), of: self.of }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}
