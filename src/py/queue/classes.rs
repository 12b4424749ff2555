//! The queue classes: argument checks, and nothing else. The hot methods are in `hot`, the awaitable ones in Python.

use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use sluicegate_core::clock::nanos;
use sluicegate_core::queue::{Composition, Overflow, Side, State, Worker};

use crate::queue::composition::{self, Arguments};
use crate::queue::conditions;
use crate::queue::inner::{BoundQueue, QueueClass, QueueInner, inner_of, zero};
use crate::queue::items::{Item, Order};
use crate::queue::iterator::QueueIterator;
use crate::queue::mutex::QueueMutex;
use crate::queue::ops::QueueOperation;
use crate::queue::overflow::{self, Offered};
use crate::queue::pressure::{self, Pressure};
use crate::queue::stdlib;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Argument, Timeout, Truth};
use crate::rt::class::common_methods;
use crate::rt::ending::End;
use crate::rt::guarded;
use crate::rt::imported::imported;
use crate::rt::kept::{Kept, interned};
use crate::rt::memory::ListRoom;
use crate::rt::operation::Operation;
use crate::rt::select::PySelectable;
use crate::rt::source::items_of;

/// A bounded first-in, first-out queue for threads and asyncio.
#[pyclass(frozen, subclass, weakref, dict, generic, name = "Queue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyQueue {
    inner: QueueInner,
}

/// A last-in, first-out queue.
#[pyclass(frozen, subclass, weakref, dict, generic, extends = PyQueue, name = "LifoQueue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyLifoQueue;

/// A queue that returns the smallest item first, in exactly the order of `heapq`.
#[pyclass(frozen, subclass, weakref, dict, generic, extends = PyQueue, name = "PriorityQueue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyPriorityQueue;

/// A first-in, first-out queue with at most one item for each key: an item whose key waits already is merged into the
/// one that waits.
///
/// `key(item)` is called once for each item and returns its key: a str, bytes, int, UUID, IP address, or a tuple of
/// those; only a keyed 128-bit hash of it is kept, and nothing of a key that does not wait. `merge(old, new)` returns
/// what takes the place of the two; without it the newer item replaces the older one. A merged item keeps the place of
/// the first one, needs no room, also in a full queue, and counts as finished at once.
///
/// While `merge` runs nobody else takes, puts or merges an item, so it may change the old item in place; it should be
/// short. Called from inside it, `put` works and `get` raises RuntimeError.
///
/// Raises TypeError if `key` or `merge` cannot be called, or if a subclass overrides `_init`, `_qsize`, `_put` or `_get`.
#[pyclass(frozen, subclass, weakref, dict, generic, extends = PyQueue, name = "CoalescingQueue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyCoalescingQueue;

/// An unbounded first-in, first-out queue without task tracking or shutdown.
#[pyclass(frozen, subclass, weakref, dict, generic, name = "SimpleQueue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySimpleQueue {
    inner: QueueInner,
}

impl QueueClass for PyQueue {
    const TIMEOUT_FIRST: bool = false;

    #[inline]
    fn inner(&self) -> &QueueInner {
        &self.inner
    }
}

impl QueueClass for PySimpleQueue {
    const TIMEOUT_FIRST: bool = true;
    const HAS_TTL: bool = false;

    #[inline]
    fn inner(&self) -> &QueueInner {
        &self.inner
    }
}

/// A queue of `order`, or one that keeps the items of a subclass with hooks.
pub(in crate::queue) fn new_inner<C: QueueClass>(
    class: &Bound<'_, PyType>,
    base: &Bound<'_, PyType>,
    order: Order,
) -> PyResult<QueueInner> {
    Ok(QueueInner::new(order, stdlib::overrides(class, base)?, inner_of::<C>))
}

fn side_of(side: &str) -> PyResult<Side> {
    match side {
        "put" => Ok(Side::Put),
        "get" => Ok(Side::Get),
        "join" => Ok(Side::Join),
        _ => Err(PyValueError::new_err(format!("no wait queue {side:?}"))),
    }
}

pub(in crate::queue) fn awaitable<C: QueueClass>(
    operation: QueueOperation<C>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<AsyncOperation> {
    Ok(AsyncOperation::new(operation, Timeout::parse_strict("timeout", timeout)?))
}

fn make_get<C: QueueClass>(queue: &Bound<'_, PyAny>, _: Option<&Bound<'_, PyAny>>) -> PyResult<Box<dyn Operation>> {
    Ok(QueueOperation::get(queue.cast::<C>()?).selected())
}

fn make_put<C: QueueClass>(queue: &Bound<'_, PyAny>, item: Option<&Bound<'_, PyAny>>) -> PyResult<Box<dyn Operation>> {
    let item = item.map_or_else(|| queue.py().None(), |item| item.clone().unbind());
    Ok(QueueOperation::put(queue.cast::<C>()?, item, None)?.selected())
}

/// The methods that read the same in both kinds of queue.
macro_rules! shared_methods {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            /// Return the number of items in the queue at this moment.
            fn qsize(slf: &Bound<'_, Self>) -> PyResult<usize> {
                slf.get().inner.size(slf.as_any())
            }

            /// Return True if the queue is empty at this moment.
            fn empty(slf: &Bound<'_, Self>) -> PyResult<bool> {
                Ok(slf.get().inner.size(slf.as_any())? == 0)
            }

            /// Remove all items from the queue, in one step, and return their number.
            ///
            /// Each removed item counts as a finished task.
            fn clear(slf: &Bound<'_, Self>) -> PyResult<usize> {
                slf.get().inner.clear_items(slf.as_any(), None)
            }

            /// Return the item that `get` would return next, without removing it. With `shed=AdaptiveLifo()` that is the oldest item, also
            /// while `get` returns the newest.
            ///
            /// Raises Empty if there is no item, ShutDown if the queue has been shut down and is empty. Another getter may take
            /// the item before the caller does.
            fn peek(slf: &Bound<'_, Self>) -> PyResult<Item> {
                slf.get().inner.peek(slf.as_any())
            }

            /// Return the operation `get` for `select`, which then removes and returns the next item.
            fn getting(slf: &Bound<'_, Self>) -> PySelectable {
                PySelectable::new("getting", slf.as_any(), None, make_get::<$class>)
            }

            /// Return the operation `put(item)` for `select`, which then puts the item and returns None.
            fn putting(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PySelectable {
                PySelectable::new("putting", slf.as_any(), Some(item), make_put::<$class>)
            }

            #[pyo3(signature = (item, timeout, ttl = None))]
            fn _async_put(
                slf: &Bound<'_, Self>,
                item: Item,
                timeout: Option<&Bound<'_, PyAny>>,
                ttl: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<AsyncOperation> {
                awaitable(QueueOperation::put(slf, item, arguments::ttl(ttl)?)?, timeout)
            }

            fn _async_get(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
                awaitable(QueueOperation::get(slf), timeout)
            }

            fn _async_put_many(
                slf: &Bound<'_, Self>,
                items: &Bound<'_, PyAny>,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<AsyncOperation> {
                awaitable(QueueOperation::put_many(slf, items)?, timeout)
            }

            #[pyo3(signature = (max, timeout, linger, max_weight = None))]
            fn _async_get_many(
                slf: &Bound<'_, Self>,
                max: &Bound<'_, PyAny>,
                timeout: Option<&Bound<'_, PyAny>>,
                linger: &Bound<'_, PyAny>,
                max_weight: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<AsyncOperation> {
                let bounds = slf.get().inner.batch_bounds(max, max_weight)?;
                let linger = arguments::duration("linger", linger)?;
                awaitable(QueueOperation::get_many(slf, bounds, nanos(linger)), timeout)
            }

            /// Raises what `get_many` raises about these arguments.
            #[pyo3(signature = (max, linger, max_weight = None))]
            fn _check_batch(
                &self,
                max: &Bound<'_, PyAny>,
                linger: &Bound<'_, PyAny>,
                max_weight: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<()> {
                self.inner.batch_bounds(max, max_weight)?;
                arguments::duration("linger", linger).map(drop)
            }

            fn __iter__(slf: &Bound<'_, Self>) -> PyResult<QueueIterator> {
                QueueIterator::new(slf)
            }

            /// The memory of the object and of its buffer, without the items, as for a list.
            fn __sizeof__(slf: &Bound<'_, Self>) -> PyResult<usize> {
                let py = slf.py();
                let object: usize = py.get_type::<PyAny>().call_method1(interned!(py, "__sizeof__"), (slf,))?.extract()?;
                Ok(object + slf.get().inner.core.look(py, |items, _, _| items.allocated()))
            }

            fn __bool__(&self) -> bool {
                true
            }

            #[getter(__class__)]
            fn class(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                stdlib::stand_in(&slf.get_type())
            }

            fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
                self.inner.traverse(visit)
            }

            fn __clear__(&self, py: Python<'_>) {
                self.inner.clear(py);
            }
        }
    };
}

shared_methods!(PyQueue);
shared_methods!(PySimpleQueue);
common_methods!(PyQueue, inner);
common_methods!(PySimpleQueue, inner);

impl PyQueue {
    pub(in crate::queue) fn made(inner: QueueInner) -> Self {
        Self { inner }
    }
}

#[pymethods]
impl PyQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0, *, overflow='block', on_drop=None, weigh=None, max_weight=None, shed=None, track_latency=False, high=None, low=None, name=None, clock=None)")]
    fn new(cls: &Bound<'_, PyType>, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let base = cls.py().get_type::<Self>();
        Ok(Self { inner: new_inner::<Self>(cls, &base, Order::Fifo)? })
    }

    #[pyo3(signature = (maxsize = Argument::MISSING, *, overflow = None, on_drop = None, weigh = None, max_weight = None, shed = None, track_latency = Truth(false), high = None, low = None, name = None, clock = None))]
    #[expect(clippy::too_many_arguments, reason = "one for each of Python's")]
    fn __init__(
        slf: &Bound<'_, Self>,
        maxsize: Argument<'_, '_>,
        overflow: Option<&Bound<'_, PyAny>>,
        on_drop: Option<&Bound<'_, PyAny>>,
        weigh: Option<&Bound<'_, PyAny>>,
        max_weight: Option<&Bound<'_, PyAny>>,
        shed: Option<&Bound<'_, PyAny>>,
        track_latency: Truth,
        high: Option<&Bound<'_, PyAny>>,
        low: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let inner = &slf.get().inner;
        let maxsize = maxsize.given().cloned().unwrap_or_else(|| zero(py));
        let arguments = Arguments { weigh, max_weight, shed, track_latency: track_latency.0 };
        let composed = composition::parsed(inner, false, &arguments)?;
        let marks = pressure::watermarks((high, low), &maxsize, composed.0.max_weight)?;
        let overflow = overflow::settings(inner, (&maxsize, composed.1.is_some()), overflow, on_drop, (false, false))?;
        inner.init(slf.as_any(), Some(&maxsize), overflow, (composed.0, composed.1, marks), name, clock)?;
        if inner.overrides.hooks {
            slf.call_method1(interned!(py, "_init"), (maxsize,))?;
        }
        Ok(())
    }

    /// The largest number of items in the queue; zero or less means no bound. It can be assigned: a larger bound wakes
    /// waiting putters. Of a FairQueue it has to be greater than the number of reserved places.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> Py<PyAny> {
        self.inner.extra(py, |extras| &extras.maxsize).unwrap_or_else(|| zero(py).unbind())
    }

    #[setter]
    fn set_maxsize(&self, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        self.inner.set_maxsize(maxsize.py(), maxsize)
    }

    /// What happens to an item that finds the queue full: "block", "reject", "drop_oldest", "drop_newest", "drop_lowest" (of a
    /// PriorityQueue) or a `Sample`. It can be assigned; the new policy applies to waiting putters too.
    #[getter]
    fn overflow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.inner.overflow(py)
    }

    #[setter]
    fn set_overflow(&self, overflow: &Bound<'_, PyAny>) -> PyResult<()> {
        self.inner.set_overflow(overflow)
    }

    /// What the items in the queue may weigh together, or None without `weigh`. It can be assigned: a larger bound wakes waiting
    /// putters; with a smaller one, putters that wait with an item that is heavier get ValueError. Items in the queue stay.
    #[getter]
    fn max_weight(&self, py: Python<'_>) -> Option<u64> {
        self.inner.core.max_weight(py)
    }

    #[setter]
    fn set_max_weight(&self, max_weight: &Bound<'_, PyAny>) -> PyResult<()> {
        self.inner.set_max_weight(max_weight)
    }

    /// The function that is called with every dropped item and the reason, or None.
    #[getter]
    fn on_drop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.inner.extra(py, |extras| &extras.on_drop)
    }

    /// Put an item if there is room for it, or if the overflow policy makes room, without waiting and in one step. Return what became of
    /// it: an `Offered`, which is true if the item is in the queue.
    ///
    /// With `overflow="block"` or `"reject"` an item that finds no room is refused, with the reason "full". What is dropped by the other
    /// policies, or because its `ttl` has passed, is reported to `on_drop` as well. `ttl` is that of `put`. Raises ShutDown if the
    /// queue has been shut down.
    ///
    /// Fairness: as `put_nowait` it does not use the wait queue, so it takes free room even while other putters are waiting.
    #[pyo3(signature = (item, *, ttl = None))]
    fn offer(slf: &Bound<'_, Self>, item: Item, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<Offered> {
        QueueOperation::offer(slf, item, arguments::ttl(ttl)?)
    }

    /// How full the queue is, whether that is above its marks, and how to hear of it: see `Pressure`.
    #[getter]
    fn pressure(slf: &Bound<'_, Self>) -> Pressure {
        Pressure::new(&BoundQueue { this: slf.as_any(), inner: &slf.get().inner })
    }

    /// The number of items put for which `task_done` has not been called yet.
    #[getter]
    fn unfinished_tasks(&self, py: Python<'_>) -> i64 {
        self.inner.core.unfinished(py)
    }

    #[setter]
    fn set_unfinished_tasks(&self, py: Python<'_>, count: i64) {
        self.inner.core.set_unfinished(py, count).fire();
    }

    /// True once `shutdown` has been called.
    #[getter]
    fn is_shutdown(&self, py: Python<'_>) -> bool {
        self.inner.core.is_shut(py)
    }

    /// The queued items, as a live view with the methods of a `deque` (Queue) or a list (LifoQueue; PriorityQueue, in
    /// heap order). Changes by hand ignore `maxsize` and leave `unfinished_tasks` alone.
    #[getter]
    fn queue(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        static VIEW: Kept<PyType> = Kept::new();
        let py = slf.py();
        let inner = &slf.get().inner;
        if inner.overrides.hooks {
            return inner
                .extra(py, |extras| &extras.storage)
                .ok_or_else(|| PyAttributeError::new_err("'queue': this class has not set it (in _init)"));
        }
        let class = imported(py, &VIEW, "sluicegate._items", "QueueItems")?;
        let is_deque = matches!(inner.order, Order::Fifo | Order::Keyed);
        Ok(guarded::call(class, &(slf, is_deque).into_pyobject(py)?)?.unbind())
    }

    #[setter]
    fn set_queue(slf: &Bound<'_, Self>, storage: &Bound<'_, PyAny>) -> PyResult<()> {
        let inner = &slf.get().inner;
        if inner.overrides.hooks {
            stdlib::set_storage(inner, storage);
            return Ok(());
        }
        Self::queue(slf)?.call_method1(slf.py(), "_assign", (storage,)).map(drop)
    }

    /// A copy of the queued items, in the standard library's arrangement.
    fn _snapshot<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let items = slf.get().inner.snapshot(slf.as_any())?;
        ListRoom::new(slf.py(), items.len())?.filled(items)
    }

    /// Has a function called with every item that is dropped or cleared, after `on_drop`. An executor cannot leave that to the items'
    /// destructors: on the free-threaded build these wait for the thread that has made the item.
    fn _listen(&self, py: Python<'_>, listener: Item) {
        self.inner.set_listener(py, listener);
    }

    /// Takes the next item as a method of `queue` does, if that needs no copy of the items: a list of one item, or an empty one.
    fn _take_next(slf: &Bound<'_, Self>) -> PyResult<Option<Vec<Item>>> {
        slf.get().inner.take_next(slf.as_any())
    }

    /// Puts `items` in the place of `seen`, if those are still what is in the queue.
    fn _replace(slf: &Bound<'_, Self>, seen: &Bound<'_, PyList>, items: &Bound<'_, PyList>) -> PyResult<bool> {
        slf.get().inner.replace(slf.as_any(), &items_of(seen)?, items_of(items)?)
    }

    /// Return True if the queue holds `maxsize` items at this moment, or items that weigh `max_weight` together; always False if there
    /// is neither bound. Where items weigh something, one may find no room although the queue is not full.
    fn full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        // The comparison is the standard library's, with its error for a `maxsize` that is no number.
        let by_weight = slf.get().inner.core.is_full_by_weight(slf.py());
        if !zero(slf.py()).lt(slf.get().maxsize(slf.py()))? || by_weight {
            return Ok(by_weight);
        }
        let (size, limit) = slf.get().inner.size_and_limit(slf.as_any())?;
        Ok(size >= limit)
    }

    /// Indicate that an item taken from the queue has been processed.
    ///
    /// Raises ValueError if called more times than items were put.
    fn task_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        let done = slf.get().inner.step(slf.as_any(), "task_done", State::task_done)?;
        if done { Ok(()) } else { Err(PyValueError::new_err("task_done() called too many times")) }
    }

    /// `task_done` for a batch of items.
    fn _tasks_done(slf: &Bound<'_, Self>, count: u32) -> PyResult<()> {
        let done = slf.get().inner.step(slf.as_any(), "task_done", |state, wakes| state.tasks_done(count.into(), wakes))?;
        if done { Ok(()) } else { Err(PyValueError::new_err("task_done() called too many times")) }
    }

    /// Block until every item that was put has been processed (see `task_done`).
    ///
    /// Raises TimeoutError after `timeout` seconds. The call returns if the count of unfinished tasks reached zero at
    /// any moment during the wait.
    #[pyo3(signature = (timeout = None))]
    fn join(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        conditions::run(slf, &mut QueueOperation::join(slf), Side::Join, timeout).map(drop)
    }

    /// Shut the queue down: `put` raises ShutDown from now on, and `get` raises it once the queue is empty.
    ///
    /// With `immediate=True` the queued items are removed and count as finished tasks, and iteration raises ShutDown.
    /// With `error`, iteration raises that exception once the queue is empty, and it is the `__cause__` of every ShutDown.
    /// All waiters are woken. Calling it again has no effect, except that an immediate shutdown may follow.
    ///
    /// Raises TypeError if `error` is not an exception, with nothing changed.
    #[pyo3(signature = (immediate = Truth(false), *, error = None), text_signature = "($self, immediate=False, *, error=None)")]
    fn shutdown(slf: &Bound<'_, Self>, immediate: Truth, error: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let inner = &slf.get().inner;
        let end = End::by_shutdown(immediate.0, error)?;
        if immediate.0 {
            return inner.clear_items(slf.as_any(), Some(end)).map(drop);
        }
        inner.end(slf.as_any(), end)
    }

    /// Shut the queue down with an error: the same as `shutdown(error=error)`.
    fn fail(slf: &Bound<'_, Self>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        slf.get().inner.end(slf.as_any(), End::by_fail(error)?)
    }

    /// Return a snapshot of the queue's size, counters and waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.inner.statistics(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.get().inner.describe(slf.as_any(), true)
    }

    fn _init(slf: &Bound<'_, Self>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = maxsize;
        stdlib::init_hook(slf.as_any(), &slf.get().inner)
    }

    fn _qsize(slf: &Bound<'_, Self>) -> PyResult<usize> {
        stdlib::qsize_hook(slf.as_any(), &slf.get().inner)
    }

    fn _put(slf: &Bound<'_, Self>, item: Item) -> PyResult<()> {
        stdlib::put_hook(slf.as_any(), &slf.get().inner, item)
    }

    fn _get(slf: &Bound<'_, Self>) -> PyResult<Item> {
        stdlib::get_hook(slf.as_any(), &slf.get().inner)
    }

    /// Somebody begins to work, see `working`. The number is for `_stop_work`.
    fn _start_work(&self, py: Python<'_>) -> PyResult<Worker> {
        self.inner.start_work(py)
    }

    fn _stop_work(&self, py: Python<'_>, worker: Worker) {
        self.inner.core.stop_work(py, worker).fire();
    }

    fn _async_join(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        awaitable(QueueOperation::join(slf), timeout)
    }

    /// The lock that makes several steps one: see `QueueMutex`.
    #[getter]
    fn mutex(slf: &Bound<'_, Self>) -> QueueMutex {
        QueueMutex::new(slf.as_any(), &slf.get().inner)
    }

    /// `wait` of the condition on `side`: "put", "get" or "join".
    fn _wait_to_be_notified(slf: &Bound<'_, Self>, side: &str, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let timeout = Timeout::parse(timeout)?;
        conditions::wait_to_be_notified(slf, side_of(side)?, timeout)
    }

    /// `wait` of the condition on `side` is another function than its own (or its own again).
    fn _replace_wait(&self, side: &str, replaced: bool) -> PyResult<()> {
        self.inner.replaced_waits.set(side_of(side)?, replaced);
        Ok(())
    }

    fn _notify(&self, py: Python<'_>, side: &str, count: u64) -> PyResult<()> {
        conditions::notify(&self.inner, py, side_of(side)?, count)
    }

    /// What ends an iteration that has met ShutDown: raises, or returns None.
    fn _end_of_iteration(&self, py: Python<'_>) -> PyResult<()> {
        self.inner.end_of_iteration(py)
    }
}

#[pymethods]
impl PyLifoQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0, *, overflow='block', on_drop=None, weigh=None, max_weight=None, shed=None, track_latency=False, high=None, low=None, name=None, clock=None)")]
    fn new(
        cls: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let base = cls.py().get_type::<Self>();
        let queue = PyQueue { inner: new_inner::<PyQueue>(cls, &base, Order::Stack)? };
        Ok(PyClassInitializer::from(queue).add_subclass(Self))
    }
}

#[pymethods]
impl PyPriorityQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0, *, overflow='block', on_drop=None, weigh=None, max_weight=None, shed=None, track_latency=False, high=None, low=None, name=None, clock=None)")]
    fn new(
        cls: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let base = cls.py().get_type::<Self>();
        let queue = PyQueue { inner: new_inner::<PyQueue>(cls, &base, Order::Heap)? };
        Ok(PyClassInitializer::from(queue).add_subclass(Self))
    }
}

#[pymethods]
impl PyCoalescingQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0, *, key, merge=None, overflow='block', on_drop=None, high=None, low=None, name=None, clock=None)")]
    fn new(
        cls: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let base = cls.py().get_type::<Self>();
        let inner = new_inner::<PyQueue>(cls, &base, Order::Keyed)?;
        if inner.overrides.hooks {
            return Err(PyTypeError::new_err(
                "a subclass of CoalescingQueue cannot override _init, _qsize, _put or _get, because the keys decide what is put",
            ));
        }
        Ok(PyClassInitializer::from(PyQueue { inner }).add_subclass(Self))
    }

    #[pyo3(signature = (maxsize = Argument::MISSING, *, key, merge = None, overflow = None, on_drop = None, high = None, low = None, name = None, clock = None))]
    #[expect(clippy::too_many_arguments, reason = "one for each of Python's")]
    fn __init__(
        slf: &Bound<'_, Self>,
        maxsize: Argument<'_, '_>,
        key: &Bound<'_, PyAny>,
        merge: Option<&Bound<'_, PyAny>>,
        overflow: Option<&Bound<'_, PyAny>>,
        on_drop: Option<&Bound<'_, PyAny>>,
        high: Option<&Bound<'_, PyAny>>,
        low: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let queue = slf.as_super();
        if let Some(keys) = &queue.get().inner.keys {
            keys.settle(key, merge)?;
        }
        PyQueue::__init__(queue, maxsize, overflow, on_drop, None, None, None, Truth(false), high, low, name, clock)
    }
}

#[pymethods]
impl PySimpleQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(*, name=None, clock=None)")]
    fn new(cls: &Bound<'_, PyType>, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let base = cls.py().get_type::<Self>();
        Ok(Self { inner: new_inner::<Self>(cls, &base, Order::Fifo)? })
    }

    #[pyo3(signature = (*, name = None, clock = None))]
    fn __init__(slf: &Bound<'_, Self>, name: Option<&Bound<'_, PyAny>>, clock: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        slf.get().inner.init(slf.as_any(), None, (Overflow::Block, None), (Composition::default(), None, None), name, clock)
    }

    /// Return a snapshot of the queue's size, counters and waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.inner.statistics(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.get().inner.describe(slf.as_any(), false)
    }
}
