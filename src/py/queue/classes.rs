//! The queue classes: argument checks, and nothing else. The hot methods are in `hot`, the awaitable ones in Python.

use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple, PyType};
use sluicegate_core::clock::nanos;
use sluicegate_core::queue::Side;

use crate::queue::inner::{End, QueueClass, QueueInner, inner_of, zero};
use crate::queue::items::{Item, Order};
use crate::queue::iterator::QueueIterator;
use crate::queue::ops::QueueOperation;
use crate::queue::stdlib;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Argument, Timeout, Truth};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::exceptions;
use crate::rt::imported::imported;
use crate::rt::kept::{Kept, interned};

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

/// An unbounded first-in, first-out queue without task tracking or shutdown.
#[pyclass(frozen, subclass, weakref, dict, generic, name = "SimpleQueue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySimpleQueue {
    inner: QueueInner,
}

impl QueueClass for PyQueue {
    const CLASS: &'static str = "Queue";
    const TIMEOUT_FIRST: bool = false;

    #[inline]
    fn inner(&self) -> &QueueInner {
        &self.inner
    }
}

impl QueueClass for PySimpleQueue {
    const CLASS: &'static str = "SimpleQueue";
    const TIMEOUT_FIRST: bool = true;

    #[inline]
    fn inner(&self) -> &QueueInner {
        &self.inner
    }
}

/// A queue of `order`, or one that keeps the items of a subclass with hooks.
fn new_inner<C: QueueClass>(class: &Bound<'_, PyType>, base: &Bound<'_, PyType>, order: Order) -> PyResult<QueueInner> {
    Ok(QueueInner::new(order, stdlib::overrides(class, base)?, inner_of::<C>))
}

impl QueueInner {
    fn put_many(
        &self,
        this: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = this.py();
        let timeout = if block { Timeout::parse_strict("timeout", timeout)? } else { Timeout::Never };
        blocking::run(this, &mut QueueOperation::put_many(self, items)?, timeout)?.into_object(py)
    }

    fn get_many(
        &self,
        this: &Bound<'_, PyAny>,
        max: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<&Bound<'_, PyAny>>,
        linger: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let max = arguments::positive("max", max)?;
        let linger = linger.map_or(Ok(0.0), |linger| arguments::duration("linger", linger))?;
        let timeout = if block { Timeout::parse_strict("timeout", timeout)? } else { Timeout::Never };
        blocking::run(this, &mut QueueOperation::get_many(self, max, nanos(linger)), timeout)?.into_object(this.py())
    }
}

fn awaitable(this: &Bound<'_, PyAny>, operation: QueueOperation, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
    let timeout = Timeout::parse_strict("timeout", timeout)?;
    Ok(AsyncOperation::new(this.clone().unbind(), operation, timeout))
}

/// The methods that read the same in both kinds of queue.
macro_rules! shared_methods {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            /// The name given at creation, for `repr` and statistics.
            #[getter]
            fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
                self.inner.name(py)
            }

            /// Return the number of items in the queue at this moment.
            fn qsize(slf: &Bound<'_, Self>) -> PyResult<usize> {
                slf.get().inner.size(slf.as_any())
            }

            /// Return True if the queue is empty at this moment.
            fn empty(slf: &Bound<'_, Self>) -> PyResult<bool> {
                Ok(slf.get().inner.size(slf.as_any())? == 0)
            }

            /// Put all of `items`, in order, and return the number of items.
            ///
            /// If a list or tuple fits, it is put in one step. Otherwise items are put in chunks as room appears, with no other
            /// putter's items between them, waiting for room as `put` does. An item is taken from an iterator only when there
            /// is room for it, so afterwards the iterator is at the first item that was not put.
            ///
            /// Raises Full, ShutDown, or the exception of a signal handler or of the iterable, each with an attribute
            /// `accepted`: the number of items that were put.
            #[pyo3(signature = (items, block = true, timeout = None))]
            fn put_many(
                slf: &Bound<'_, Self>,
                items: &Bound<'_, PyAny>,
                block: bool,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                slf.get().inner.put_many(slf.as_any(), items, block, timeout)
            }

            /// Remove and return 1 to `max` items, as a list.
            ///
            /// Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more items:
            /// until `max` are there, the queue is full, a putter is waiting, or the queue is shut down. Meanwhile it keeps its
            /// position in the wait queue and has taken nothing.
            ///
            /// Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is empty, ValueError,
            /// TypeError or OverflowError for an invalid `max`, `timeout` or `linger`.
            #[pyo3(signature = (max, block = true, timeout = None, *, linger = None), text_signature = "($self, max, block=True, timeout=None, *, linger=0.0)")]
            fn get_many(
                slf: &Bound<'_, Self>,
                max: &Bound<'_, PyAny>,
                block: bool,
                timeout: Option<&Bound<'_, PyAny>>,
                linger: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                slf.get().inner.get_many(slf.as_any(), max, block, timeout, linger)
            }

            /// Remove all items from the queue, in one step, and return their number.
            ///
            /// Each removed item counts as a finished task.
            fn clear(slf: &Bound<'_, Self>) -> PyResult<usize> {
                slf.get().inner.clear_items(slf.as_any(), None)
            }

            /// Return the item that `get` would return next, without removing it.
            ///
            /// Raises Empty if there is no item, ShutDown if the queue has been shut down and is empty. Another getter may take
            /// the item before the caller does.
            fn peek(slf: &Bound<'_, Self>) -> PyResult<Item> {
                slf.get().inner.peek(slf.as_any())
            }

            fn _async_put(slf: &Bound<'_, Self>, item: Item, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
                awaitable(slf.as_any(), QueueOperation::put(&slf.get().inner, item), timeout)
            }

            fn _async_get(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
                awaitable(slf.as_any(), QueueOperation::get(&slf.get().inner), timeout)
            }

            fn _async_put_many(
                slf: &Bound<'_, Self>,
                items: &Bound<'_, PyAny>,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<AsyncOperation> {
                awaitable(slf.as_any(), QueueOperation::put_many(&slf.get().inner, items)?, timeout)
            }

            fn _async_get_many(
                slf: &Bound<'_, Self>,
                max: &Bound<'_, PyAny>,
                timeout: Option<&Bound<'_, PyAny>>,
                linger: &Bound<'_, PyAny>,
            ) -> PyResult<AsyncOperation> {
                let max = arguments::positive("max", max)?;
                let linger = arguments::duration("linger", linger)?;
                awaitable(slf.as_any(), QueueOperation::get_many(&slf.get().inner, max, nanos(linger)), timeout)
            }

            /// Raises what `get_many` raises about these arguments.
            fn _check_batch(&self, max: &Bound<'_, PyAny>, linger: &Bound<'_, PyAny>) -> PyResult<()> {
                arguments::positive("max", max)?;
                arguments::duration("linger", linger).map(drop)
            }

            fn __iter__(slf: &Bound<'_, Self>) -> PyResult<QueueIterator> {
                QueueIterator::new(slf.as_any(), &slf.get().inner)
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
refuse_copies!(PyQueue);
refuse_copies!(PySimpleQueue);

#[pymethods]
impl PyQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0, *, name=None, clock=None)")]
    fn new(cls: &Bound<'_, PyType>, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let base = cls.py().get_type::<Self>();
        Ok(Self { inner: new_inner::<Self>(cls, &base, Order::Fifo)? })
    }

    #[pyo3(signature = (maxsize = Argument::MISSING, *, name = None, clock = None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        maxsize: Argument<'_, '_>,
        name: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let inner = &slf.get().inner;
        let maxsize = maxsize.given().cloned().unwrap_or_else(|| zero(py));
        inner.init(py, Some(&maxsize), name, clock)?;
        if inner.overrides.hooks {
            slf.call_method1(interned!(py, "_init"), (maxsize,))?;
        }
        Ok(())
    }

    /// The largest number of items in the queue; zero or less means no bound. It can be assigned: a larger bound wakes
    /// waiting putters.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> Py<PyAny> {
        self.inner.extra(py, |extras| &extras.maxsize).unwrap_or_else(|| zero(py).unbind())
    }

    #[setter]
    fn set_maxsize(&self, maxsize: &Bound<'_, PyAny>) {
        self.inner.set_maxsize(maxsize.py(), maxsize);
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
        Ok(class.call1((slf, inner.order == Order::Fifo))?.unbind())
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
    fn _snapshot(slf: &Bound<'_, Self>) -> PyResult<Vec<Item>> {
        slf.get().inner.snapshot(slf.as_any())
    }

    /// Puts `items` in the place of `seen`, if those are still what is in the queue.
    #[expect(clippy::needless_pass_by_value, reason = "made of what Python passes")]
    fn _replace(slf: &Bound<'_, Self>, seen: Vec<Item>, items: Vec<Item>) -> PyResult<bool> {
        slf.get().inner.replace(slf.as_any(), &seen, items)
    }

    /// Return True if the queue holds `maxsize` items at this moment; always False if there is no bound.
    fn full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        // The comparison is the standard library's, with its error for a `maxsize` that is no number.
        if !zero(slf.py()).lt(slf.get().maxsize(slf.py()))? {
            return Ok(false);
        }
        let (size, limit) = slf.get().inner.size_and_limit(slf.as_any())?;
        Ok(size >= limit)
    }

    /// Indicate that an item taken from the queue has been processed.
    ///
    /// Raises ValueError if called more times than items were put.
    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        let (wakes, done) = self.inner.core.task_done(py);
        wakes.fire();
        if done { Ok(()) } else { Err(PyValueError::new_err("task_done() called too many times")) }
    }

    /// Block until every item that was put has been processed (see `task_done`).
    ///
    /// Raises TimeoutError after `timeout` seconds. The call returns if the count of unfinished tasks reached zero at
    /// any moment during the wait.
    #[pyo3(signature = (timeout = None))]
    fn join(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        blocking::run(slf.as_any(), &mut QueueOperation::join(&slf.get().inner), timeout).map(drop)
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
        let py = slf.py();
        let inner = &slf.get().inner;
        let end = error.map_or_else(|| Ok(End { error: None, immediate: immediate.0 }), |error| End::of(error, immediate.0))?;
        if immediate.0 {
            return inner.clear_items(slf.as_any(), Some(end)).map(drop);
        }
        inner.end(py, end);
        Ok(())
    }

    /// Shut the queue down with an error: the same as `shutdown(error=error)`.
    fn fail(slf: &Bound<'_, Self>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        if error.is_none() {
            return Err(PyTypeError::new_err("'error' must be an exception, not None"));
        }
        slf.get().inner.end(slf.py(), End::of(error, false)?);
        Ok(())
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

    /// Somebody begins to work, see `working`.
    fn _start_work(&self, py: Python<'_>) {
        self.inner.core.start_work(py).fire();
    }

    fn _stop_work(&self, py: Python<'_>) {
        self.inner.core.stop_work(py).fire();
    }

    fn _async_join(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        awaitable(slf.as_any(), QueueOperation::join(&slf.get().inner), timeout)
    }

    /// Waits until there is room (`putting`) or an item, and takes nothing. False if the time ran out.
    fn _wait_ready(slf: &Bound<'_, Self>, putting: bool, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let timeout = Timeout::parse(timeout)?;
        let side = if putting { Side::Put } else { Side::Get };
        match blocking::run(slf.as_any(), &mut QueueOperation::ready(&slf.get().inner, side), timeout) {
            Ok(_) => Ok(true),
            Err(error) if exceptions::is_refusal(slf.py(), &error) => Ok(false),
            Err(error) => Err(error),
        }
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
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0, *, name=None, clock=None)")]
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
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0, *, name=None, clock=None)")]
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
        slf.get().inner.init(slf.py(), None, name, clock)
    }

    /// Return a snapshot of the queue's size, counters and waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.inner.statistics(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.get().inner.describe(slf.as_any(), false)
    }
}
