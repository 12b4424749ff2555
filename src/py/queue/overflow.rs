//! What becomes of items that find no room, as Python says it (`overflow=`, `on_drop=`) and learns of it.
//!
//! The core decides (`sluicegate_core::queue`, file `overflow`), or the holder of the baton where the order needs Python. What is dropped
//! comes out of the section with the answer, and is reported here: outside every lock, on the thread that caused it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::num::NonZeroU64;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyString, PyTuple};
use sluicegate_core::queue::{DropReason, Dropped, LateItems, Overflow, PutError, UNBOUNDED};

use crate::queue::inner::{QueueInner, Refused, limit_of, name_of};
use crate::queue::items::{Item, Items, Order};
use crate::queue::keyed::without_key;
use crate::queue::no_memory::no_memory;
use crate::rt::aio::caller_number;
use crate::rt::arguments::{self, refuse_coroutine_function, text};
use crate::rt::kept::interned;
use crate::rt::{interrupts, memory};

/// An overflow policy: of the items that find a queue full, one in `n` is put in the place of the oldest, and the others are dropped.
///
/// In a PriorityQueue, which does not know which item is the oldest, it takes the place of the least urgent one. Raises
/// ValueError for an `n` below 1, TypeError for one that is not an integer.
#[pyclass(frozen, eq, hash, module = "sluicegate")]
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sample {
    n: NonZeroU64,
}

#[pymethods]
impl Sample {
    #[new]
    fn new(n: &Bound<'_, PyAny>) -> PyResult<Self> {
        let n = arguments::positive("n", n)?;
        Ok(Self { n: NonZeroU64::new(n as u64).unwrap_or(NonZeroU64::MIN) })
    }

    /// One in this many items is put.
    #[getter]
    fn n(&self) -> u64 {
        self.n.get()
    }

    fn __repr__(&self) -> String {
        format!("Sample({})", self.n)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (u64,)) {
        (slf.get_type().into_any(), (slf.get().n.get(),))
    }
}

/// What `offer` returns: whether the item was put, and which items were dropped for it. Its truth value is `accepted`.
#[pyclass(frozen, generic, module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct Offered {
    /// Whether the item is in the queue.
    #[pyo3(get)]
    accepted: bool,
    /// The items that had been in the queue and were dropped to make room.
    #[pyo3(get)]
    displaced: Py<PyTuple>,
    /// Why an item was dropped ("oldest", "newest", "lowest", "sampled", or "expired" if its own `ttl` had passed), "full" if the item
    /// was refused, else None.
    #[pyo3(get)]
    reason: Option<Py<PyString>>,
}

#[pymethods]
impl Offered {
    fn __bool__(&self) -> bool {
        self.accepted
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let accepted = if self.accepted { "True" } else { "False" };
        let reason = self.reason.as_ref().map_or_else(|| "None".to_owned(), |reason| text(reason.bind(py)));
        format!("Offered(accepted={accepted}, displaced={}, reason={reason})", text(self.displaced.bind(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.displaced)
    }
}

impl Offered {
    fn made(accepted: bool, displaced: Bound<'_, PyTuple>, reason: Option<&Bound<'_, PyString>>) -> Self {
        Self { accepted, displaced: displaced.unbind(), reason: reason.map(|reason| reason.clone().unbind()) }
    }
}

/// The policy that is called so.
fn policy_of(overflow: &Bound<'_, PyAny>) -> PyResult<Overflow> {
    if let Ok(sample) = overflow.cast::<Sample>() {
        return Ok(Overflow::Sample(sample.get().n));
    }
    let known = "'overflow' must be 'block', 'reject', 'drop_oldest', 'drop_newest', 'drop_lowest' or a Sample";
    let name = overflow.cast::<PyString>().map_err(|_| PyTypeError::new_err(format!("{known}, not {}", text(overflow))))?;
    match name.to_str()? {
        "block" => Ok(Overflow::Block),
        "reject" => Ok(Overflow::Reject),
        "drop_oldest" => Ok(Overflow::DropOldest),
        "drop_newest" => Ok(Overflow::DropNewest),
        "drop_lowest" => Ok(Overflow::DropLowest),
        _ => Err(PyValueError::new_err(format!("{known}, not {}", text(overflow)))),
    }
}

/// What `on_drop` of one queue is being told on one thread.
struct Running {
    queue: u64,
    /// Dropped while it runs: told next, one after the other, so that calls are not nested.
    waiting: VecDeque<Dropped<Item>>,
}

thread_local! {
    static RUNNING: RefCell<Vec<Running>> = const { RefCell::new(Vec::new()) };
}

/// The calls of `on_drop` of the queue with this number, on this thread. Dropping it ends them.
struct Reports(u64);

impl Reports {
    /// The report, if the caller is to make it now, and those that follow it. Otherwise the call that is already reporting makes it; or, if it
    /// is `is_own`, nobody does.
    fn begin(queue: u64, dropped: Dropped<Item>, is_own: bool) -> Option<(Dropped<Item>, Option<Self>)> {
        let mut report = Some(dropped);
        let (is_now, is_first) = RUNNING.with_borrow_mut(|all| {
            let Some(running) = all.iter_mut().find(|running| running.queue == queue) else {
                all.push(Running { queue, waiting: VecDeque::new() });
                return (true, true);
            };
            if is_own {
                return (false, false);
            }
            if running.waiting.try_reserve(1).is_err() {
                return (true, false); // without memory calls are nested
            }
            running.waiting.extend(report.take());
            (false, false)
        });
        Some((report.filter(|_| is_now)?, is_first.then_some(Self(queue))))
    }

    /// True if this thread is in a call of `on_drop` of the queue.
    fn is_running(queue: u64) -> bool {
        RUNNING.with_borrow(|all| all.iter().any(|running| running.queue == queue))
    }

    fn next(&self) -> Option<Dropped<Item>> {
        RUNNING.with_borrow_mut(|running| running.iter_mut().find(|running| running.queue == self.0)?.waiting.pop_front())
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let ended = RUNNING.with_borrow_mut(|running| {
            let place = running.iter().position(|running| running.queue == self.0);
            place.map(|place| running.remove(place))
        });
        drop(ended); // out here, because that may run a user's code
    }
}

impl QueueInner {
    /// The policy, if a queue of this order and bound can have it.
    fn checked_policy(
        &self,
        overflow: &Bound<'_, PyAny>,
        limit: usize,
        weighs: bool,
        (is_ranked, is_per_key): (bool, bool),
    ) -> PyResult<Overflow> {
        let policy = policy_of(overflow)?;
        let drops = !matches!(policy, Overflow::Block | Overflow::Reject);
        if self.overrides.hooks && matches!(policy, Overflow::DropLowest | Overflow::Sample(_)) {
            let given = text(overflow);
            return Err(PyTypeError::new_err(format!("'overflow' cannot be {given} where a subclass overrides _put or _get")));
        }
        let unsuitable = match policy {
            Overflow::DropOldest if self.order == Order::Heap && !self.overrides.order => {
                "a PriorityQueue does not know which item is the oldest; 'drop_lowest' drops the least urgent one"
            }
            Overflow::DropOldest if self.order == Order::Stack && self.overrides.hooks && !self.overrides.order => {
                "it drops what _get() takes, and that of a LifoQueue takes the newest item; override _get too"
            }
            Overflow::DropOldest if is_ranked => {
                "with within='priority' nobody knows which item is the oldest; 'drop_lowest' drops the least urgent one"
            }
            Overflow::DropLowest if self.order == Order::Fair && !is_ranked => {
                "only with within='priority' it is known which item is the least urgent"
            }
            Overflow::DropLowest if !is_ranked && self.order != Order::Heap => {
                "only a PriorityQueue knows which item is the least urgent"
            }
            Overflow::DropLowest | Overflow::Sample(_) if self.order == Order::Heap && weighs => {
                "with 'weigh' one item may need the places of several, and a PriorityQueue drops one at a time"
            }
            _ if drops && limit == UNBOUNDED && !is_per_key && !weighs => {
                "a queue without a bound is never full; give it a 'maxsize' greater than 0"
            }
            _ => return Ok(policy),
        };
        Err(PyValueError::new_err(format!("'overflow' cannot be {}: {unsuitable}", text(overflow))))
    }

    pub(in crate::queue) fn overflow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let name = match self.core.overflow(py) {
            Overflow::Block => "block",
            Overflow::Reject => "reject",
            Overflow::DropOldest => "drop_oldest",
            Overflow::DropNewest => "drop_newest",
            Overflow::DropLowest => "drop_lowest",
            Overflow::Sample(n) => return Ok(Bound::new(py, Sample { n })?.into_any()),
        };
        Ok(PyString::intern(py, name).into_any())
    }

    pub(in crate::queue) fn set_overflow(&self, overflow: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = overflow.py();
        let about_keys = self.fair.as_ref().map_or((false, false), |keys| (keys.is_ranked(), keys.is_per_key()));
        let policy = self.checked_policy(overflow, self.core.limit(py), self.weighs(), about_keys)?;
        self.core.set_overflow(py, policy).fire();
        Ok(())
    }

    /// Tells the owner of an item that it has been dropped, and drops it. From inside `on_drop` of this queue: what the policy drops for an
    /// item that is put there is counted, and that is all, because an `on_drop` that fills the queue would never come to an end. Items
    /// whose time has passed are always reported: they come next.
    pub(in crate::queue) fn report(&self, py: Python<'_>, dropped: Dropped<Item>) {
        let is_own = !matches!(dropped.reason, DropReason::Expired | DropReason::Shed);
        self.report_or_count(py, dropped, is_own);
    }

    /// The same of what comes back with the mutex: other threads have put it, or the owner before it unlocked the mutex.
    pub(in crate::queue) fn report_late(&self, py: Python<'_>, late: LateItems<Item>) {
        for dropped in late.dropped {
            self.report_or_count(py, dropped, false);
        }
    }

    fn report_or_count(&self, py: Python<'_>, dropped: Dropped<Item>, is_own: bool) {
        let shared = |function: &Option<Py<PyAny>>| function.as_ref().map(|function| function.clone_ref(py));
        let (on_drop, listener) = self.core.look(py, |_, _, extras| (shared(&extras.on_drop), shared(&extras.listener)));
        if on_drop.is_none() && listener.is_none() {
            return;
        }
        let is_counted = is_own && Reports::is_running(self.number);
        let dropped = match self.core.is_locked(py).then(|| caller_number(py)) {
            Some(Ok(caller)) if !is_counted => match self.core.report_later(py, caller, dropped) {
                Ok(()) => return,
                Err(dropped) => dropped,
            },
            _ => dropped,
        };
        let item = listener.as_ref().map(|_| dropped.item.clone_ref(py));
        if let Some(on_drop) = on_drop {
            self.tell_user(&on_drop.into_bound(py), dropped, is_own);
        }
        if let Some((listener, item)) = listener.zip(item) {
            self.tell_listener(listener.bind(py), item);
        }
    }

    fn tell_user(&self, on_drop: &Bound<'_, PyAny>, dropped: Dropped<Item>, is_own: bool) {
        let py = on_drop.py();
        let Some((dropped, reports)) = Reports::begin(self.number, dropped, is_own) else { return };
        let mut next = Some(dropped);
        while let Some(Dropped { item, reason, .. }) = next {
            let args = (self.bare(py, without_key(py, item)), name_of(py, reason)).into_pyobject(py);
            interrupts::call_back(on_drop, args);
            next = reports.as_ref().and_then(Reports::next);
        }
    }

    fn tell_listener(&self, listener: &Bound<'_, PyAny>, item: Item) {
        let py = listener.py();
        let args = (self.bare(py, without_key(py, item)),).into_pyobject(py);
        interrupts::call_back(listener, args);
    }

    /// Tells the listener of items that have been cleared.
    pub(in crate::queue) fn report_cleared(&self, py: Python<'_>, items: &Items) {
        let Some(listener) = self.extra(py, |extras| &extras.listener) else { return };
        for item in items.iter() {
            self.tell_listener(listener.bind(py), item.clone_ref(py));
        }
    }

    /// Sets the listener.
    pub(in crate::queue) fn set_listener(&self, py: Python<'_>, listener: Py<PyAny>) {
        drop(self.core.change_extras(py, |extras| extras.listener.replace(listener)));
    }

    /// The refusal of a put whose queue does not let it wait.
    pub(in crate::queue) fn rejected(&self, py: Python<'_>) -> PyErr {
        self.refuse_at_once(py, Refused::Rejected, None)
    }

    /// What `offer` answers to what the core has said. An item that is not accepted and not reported is dropped: the caller has it.
    pub(in crate::queue) fn offered(
        &self,
        py: Python<'_>,
        outcome: Result<Vec<Dropped<Item>>, PutError<Item>>,
    ) -> PyResult<Offered> {
        match outcome {
            Ok(mut dropped) => {
                for each in &mut dropped {
                    let item = std::mem::replace(&mut each.item, py.None());
                    each.item = self.bare(py, without_key(py, item));
                }
                // What the policy has done comes last.
                let reason = dropped.last().map(|last| name_of(py, last.reason));
                let accepted = dropped.iter().all(|each| each.was_stored);
                let stored = || dropped.iter().filter(|each| each.was_stored);
                let displaced = memory::tuple(py, stored().count(), stored().map(|each| each.item.clone_ref(py)));
                let offered = displaced.map(|displaced| Offered::made(accepted, displaced, reason));
                for dropped in dropped {
                    self.report(py, dropped);
                }
                offered
            }
            Err(PutError::ShutDown(_)) => Err(self.shut_down_error(py, "offer")),
            Err(PutError::NoMemory(_)) => Err(no_memory(py)),
            Err(_) => Ok(Offered::made(false, PyTuple::empty(py), Some(interned!(py, "full")))),
        }
    }
}

/// What a new queue is told about overflow: the policy and `on_drop`.
pub(in crate::queue) fn settings<'py>(
    inner: &QueueInner,
    (maxsize, weighs): (&Bound<'py, PyAny>, bool),
    overflow: Option<&Bound<'py, PyAny>>,
    on_drop: Option<&Bound<'py, PyAny>>,
    about_keys: (bool, bool),
) -> PyResult<(Overflow, Option<Py<PyAny>>)> {
    // A `maxsize` that cannot be compared has its own error, when it has to be.
    let limit = limit_of(maxsize).unwrap_or(0);
    let policy = overflow.map_or(Ok(Overflow::Block), |overflow| inner.checked_policy(overflow, limit, weighs, about_keys))?;
    Ok((policy, checked_on_drop(on_drop)?))
}

/// `on_drop`, if it is given.
fn checked_on_drop(on_drop: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Item>> {
    on_drop.filter(|on_drop| !on_drop.is_none()).map(|on_drop| plain_function("on_drop", on_drop)).transpose()
}

/// A function that is called and not awaited: so a coroutine function is refused.
pub(in crate::queue) fn plain_function(name: &str, function: &Bound<'_, PyAny>) -> PyResult<Item> {
    if !function.is_callable() {
        return Err(PyTypeError::new_err(format!("'{name}' must be callable, not {}", text(function))));
    }
    refuse_coroutine_function(name, function)?;
    Ok(function.clone().unbind())
}
