//! The queue classes: argument checks, and nothing else. The hot methods are in `hot`, the awaitable ones in Python.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple, PyType};
use sluicegate_core::buffer::Buffer;
use sluicegate_core::clock::{nanos, seconds};
use sluicegate_core::queue::{GetError, Side, Statistics};

use crate::queue::inner::{Body, BodyOf, HasBody, Object, Overrides, body_of};
use crate::queue::items::{Item, Order, Store};
use crate::queue::ops::QueueOperation;
use crate::queue::owner::Holding;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Argument, Timeout, Truth};
use crate::rt::blocking;
use crate::rt::exceptions;
use crate::rt::imported::imported;

/// A bounded first-in, first-out queue for threads and asyncio.
#[pyclass(frozen, subclass, weakref, dict, generic, name = "Queue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyQueue {
    pub(crate) body: Body,
}

/// A last-in, first-out queue.
#[pyclass(frozen, subclass, weakref, dict, generic, extends = PyQueue, name = "LifoQueue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyLifoQueue;

/// A queue that gives back the smallest item first, with exactly the order of `heapq`.
#[pyclass(frozen, subclass, weakref, dict, generic, extends = PyQueue, name = "PriorityQueue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyPriorityQueue;

/// An unbounded first-in, first-out queue without task tracking or shutdown.
#[pyclass(frozen, subclass, weakref, dict, generic, name = "SimpleQueue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySimpleQueue {
    pub(crate) body: Body,
}

impl HasBody for PyQueue {
    const CLASS: &'static str = "Queue";
    const TIMEOUT_FIRST: bool = false;

    #[inline]
    fn body(&self) -> &Body {
        &self.body
    }
}

impl HasBody for PySimpleQueue {
    const CLASS: &'static str = "SimpleQueue";
    const TIMEOUT_FIRST: bool = true;

    #[inline]
    fn body(&self) -> &Body {
        &self.body
    }
}

/// What `class` overrides of `base`.
fn overrides(class: &Bound<'_, PyType>, base: &Bound<'_, PyType>) -> PyResult<Overrides> {
    if class.is(base) {
        return Ok(Overrides::default());
    }
    let overridden = |name: &str| -> PyResult<bool> {
        Ok(match base.getattr_opt(name)? {
            Some(ours) => !class.getattr(name)?.is(&ours),
            None => false,
        })
    };
    Ok(Overrides {
        hooks: overridden("_init")? || overridden("_qsize")? || overridden("_put")? || overridden("_get")?,
        put: overridden("put")?,
        get: overridden("get")?,
    })
}

fn new_body<C: HasBody>(class: &Bound<'_, PyType>, base: &Bound<'_, PyType>, store: Store) -> PyResult<Body> {
    let overrides = overrides(class, base)?;
    let store = if overrides.hooks { Store::new(Order::Hooked) } else { store };
    Ok(Body::new(store, overrides, body_of::<C>))
}

/// Everything that the classes have in common, by the body.
impl Body {
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.extra(py, |extras| &extras.name)
    }

    fn is_really_simple(&self) -> bool {
        !self.slow
    }

    fn size(&self, this: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.size_and_limit(this).map(|(size, _)| size)
    }

    /// Both as they are at one moment: while the baton is held, the size stays.
    fn size_and_limit(&self, this: &Bound<'_, PyAny>) -> PyResult<(usize, usize)> {
        let py = this.py();
        let look = || self.core.look(py, |store, limit, _| (store.len(), limit));
        if !self.overrides.hooks {
            return Ok(look());
        }
        if self.core.baton_is_mine(py) {
            return Ok((this.call_method0(intern!(py, "_qsize"))?.extract()?, look().1));
        }
        let object = Object { this, body: self };
        let holding = Holding::take(&object, "qsize")?;
        let measured = holding.measure()?;
        let (size, limit) = look();
        holding.finish(0, 0)?;
        Ok((measured.unwrap_or(size), limit))
    }

    fn clear_items(&self, this: &Bound<'_, PyAny>, shut: bool) -> PyResult<usize> {
        let py = this.py();
        let object = Object { this, body: self };
        if self.is_really_simple() {
            let (wakes, (items, count)) = self.core.clear(py, shut, |store| {
                let count = store.len();
                ((store.take_all(), count), count)
            });
            wakes.fire();
            drop(items);
            return Ok(count);
        }
        if shut {
            self.core.shut_down(py).fire();
        }
        let mut holding = Holding::take(&object, if shut { "shutdown" } else { "clear" })?;
        if !self.overrides.hooks {
            let (wakes, (items, count)) = self.core.clear(py, shut, |store| {
                let count = store.len();
                ((store.take_all(), count), count)
            });
            holding.finish(0, 0)?;
            wakes.fire();
            drop(items);
            return Ok(count);
        }
        let mut count = 0;
        let mut outcome = Ok(());
        while holding.measure()?.is_some_and(|size| size > 0) {
            match holding.pop() {
                Ok(item) => drop(item),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            count += 1;
        }
        let size = if outcome.is_ok() { 0 } else { holding.measure()?.unwrap_or(0) };
        let (wakes, ()) = self.core.clear(py, shut, |store| {
            store.size = size;
            ((), count)
        });
        holding.finish(0, 0)?;
        wakes.fire();
        outcome.map(|()| count)
    }

    /// What is in the queue, in the standard library's arrangement.
    fn snapshot(&self, this: &Bound<'_, PyAny>) -> PyResult<Vec<Item>> {
        let py = this.py();
        let copy = || self.core.with_buffer(py, |store| store.items().map(|item| item.clone_ref(py)).collect());
        if self.is_really_simple() {
            return Ok(copy());
        }
        let object = Object { this, body: self };
        let holding = Holding::take(&object, "queue")?;
        let items = copy();
        holding.finish(0, 0)?;
        Ok(items)
    }

    fn peek(&self, this: &Bound<'_, PyAny>) -> PyResult<Item> {
        let py = this.py();
        if self.overrides.hooks {
            return Err(PyTypeError::new_err(
                "peek() needs sluicegate's own order: this class keeps its items itself (it overrides _init, _qsize, _put or _get)",
            ));
        }
        let look = || self.core.peek(py, |item| item.clone_ref(py));
        let item = if self.is_really_simple() {
            look()
        } else {
            let object = Object { this, body: self };
            let holding = Holding::take(&object, "peek")?;
            let item = look();
            holding.finish(0, 0)?;
            item
        };
        item.map_err(|error| match error {
            GetError::ShutDown => self.shut_down_error(py, "peek"),
            GetError::Empty => exceptions::empty(py, format!("peek: {}", self.holds(py))),
        })
    }

    /// The statistics, the name, and the object given as `maxsize`, all of one moment.
    fn seen(&self, py: Python<'_>) -> (Statistics, Option<Py<PyAny>>, Option<Py<PyAny>>) {
        let (seen, (name, maxsize)) = self.core.statistics_with(py, |extras| {
            let copy = |object: &Option<Py<PyAny>>| object.as_ref().map(|object| object.clone_ref(py));
            (copy(&extras.name), copy(&extras.maxsize))
        });
        (seen, name, maxsize)
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
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

    fn describe(&self, this: &Bound<'_, PyAny>, has_maxsize: bool) -> PyResult<String> {
        use std::fmt::Write;
        let py = this.py();
        let (seen, name, maxsize) = self.seen(py);
        let class = this.get_type();
        let mut text = format!("<{}.{}", class.module()?, class.qualname()?);
        if let Some(name) = name {
            let _ = write!(text, " {}", arguments::text(name.bind(py)));
        }
        let _ = write!(text, " at {:#x}", this.as_ptr().addr());
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

fn refuse(this: &Bound<'_, PyAny>, what: &str) -> PyErr {
    let name = this.get_type().name().map_or_else(|_| "Queue".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "cannot {what} '{name}' object: it is shared by reference, and those who wait on it stay with it"
    ))
}

/// The methods that read the same in both kinds of queue.
macro_rules! shared_methods {
    ($class:ty) => {
        #[pymethods]
        impl $class {
            /// The name given at creation, for `repr` and statistics.
            #[getter]
            fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
                self.body.name(py)
            }

            /// The number of items in the queue, at this moment.
            fn qsize(slf: &Bound<'_, Self>) -> PyResult<usize> {
                slf.get().body.size(slf.as_any())
            }

            /// True if the queue holds nothing, at this moment.
            fn empty(slf: &Bound<'_, Self>) -> PyResult<bool> {
                Ok(slf.get().body.size(slf.as_any())? == 0)
            }

            /// Put every item of `items`, in order, and return how many that were.
            ///
            /// A list or tuple that fits enters in one step. What does not fit enters in chunks, with no other
            /// putter's items in between; an item is taken from an iterator only when its place is certain, so that
            /// the iterator stands at the first item that was not put. Waits for room as `put` does.
            ///
            /// Raises Full, ShutDown, or what a signal handler or the iterable raised, each with an attribute
            /// `accepted`: how many items were put.
            #[pyo3(signature = (items, block = true, timeout = None))]
            fn put_many(
                slf: &Bound<'_, Self>,
                items: &Bound<'_, PyAny>,
                block: bool,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                slf.get().body.put_many(slf.as_any(), items, block, timeout)
            }

            /// Remove and return 1 to `max` items, as a list.
            ///
            /// Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more: until
            /// `max` are there, the queue is full, a putter waits, or the queue is shut down. Meanwhile it keeps its
            /// place in line and has taken nothing.
            ///
            /// Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is drained,
            /// ValueError, TypeError or OverflowError for a bad `max`, `timeout` or `linger`.
            #[pyo3(signature = (max, block = true, timeout = None, *, linger = None), text_signature = "($self, max, block=True, timeout=None, *, linger=0.0)")]
            fn get_many(
                slf: &Bound<'_, Self>,
                max: &Bound<'_, PyAny>,
                block: bool,
                timeout: Option<&Bound<'_, PyAny>>,
                linger: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<Py<PyAny>> {
                slf.get().body.get_many(slf.as_any(), max, block, timeout, linger)
            }

            /// Remove everything that is in the queue, in one step, and return how many items that were.
            ///
            /// Each counts as a finished task.
            fn clear(slf: &Bound<'_, Self>) -> PyResult<usize> {
                slf.get().body.clear_items(slf.as_any(), false)
            }

            /// Return the item that `get` would return next, without removing it.
            ///
            /// Raises Empty if there is none, ShutDown if the queue has been shut down and is drained. Another getter may
            /// take the item before you do.
            fn peek(slf: &Bound<'_, Self>) -> PyResult<Item> {
                slf.get().body.peek(slf.as_any())
            }

            fn _async_put(slf: &Bound<'_, Self>, item: Item, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
                awaitable(slf.as_any(), QueueOperation::put(&slf.get().body, item), timeout)
            }

            fn _async_get(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
                awaitable(slf.as_any(), QueueOperation::get(&slf.get().body), timeout)
            }

            fn _async_put_many(
                slf: &Bound<'_, Self>,
                items: &Bound<'_, PyAny>,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<AsyncOperation> {
                awaitable(slf.as_any(), QueueOperation::put_many(&slf.get().body, items)?, timeout)
            }

            fn _async_get_many(
                slf: &Bound<'_, Self>,
                max: &Bound<'_, PyAny>,
                timeout: Option<&Bound<'_, PyAny>>,
                linger: &Bound<'_, PyAny>,
            ) -> PyResult<AsyncOperation> {
                let max = arguments::positive("max", max)?;
                let linger = arguments::duration("linger", linger)?;
                awaitable(slf.as_any(), QueueOperation::get_many(&slf.get().body, max, nanos(linger)), timeout)
            }

            fn __iter__(slf: &Bound<'_, Self>) -> PyResult<QueueIterator> {
                let get = if slf.get().body.overrides.get { Some(slf.getattr("get")?.unbind()) } else { None };
                Ok(QueueIterator { queue: slf.clone().into_any().unbind(), of: slf.get().body.of, get, ended: AtomicBool::new(false) })
            }

            fn __bool__(&self) -> bool {
                true
            }

            fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
                Err(refuse(slf.as_any(), "pickle"))
            }

            fn __copy__(slf: &Bound<'_, Self>) -> PyResult<()> {
                Err(refuse(slf.as_any(), "copy"))
            }

            fn __deepcopy__(slf: &Bound<'_, Self>, _memo: &Bound<'_, PyAny>) -> PyResult<()> {
                Err(refuse(slf.as_any(), "copy"))
            }

            #[getter(__class__)]
            fn class(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
                stand_in(&slf.get_type())
            }

            fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
                self.body.traverse(visit)
            }

            fn __clear__(&self, py: Python<'_>) {
                self.body.clear(py);
            }
        }
    };
}

shared_methods!(PyQueue);
shared_methods!(PySimpleQueue);

#[pymethods]
impl PyQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0, *, name=None, clock=None)")]
    fn new(cls: &Bound<'_, PyType>, _args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let base = cls.py().get_type::<Self>();
        Ok(Self { body: new_body::<Self>(cls, &base, Store::new(Order::Fifo))? })
    }

    #[pyo3(signature = (maxsize = Argument::MISSING, *, name = None, clock = None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        maxsize: Argument<'_, '_>,
        name: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let body = &slf.get().body;
        let maxsize = maxsize.given().cloned().unwrap_or_else(|| zero(py));
        body.init(py, Some(&maxsize), name, clock)?;
        if body.overrides.hooks {
            slf.call_method1(intern!(py, "_init"), (maxsize,))?;
        }
        Ok(())
    }

    /// The bound on the number of items; zero or less for none. May be assigned: waiting putters notice.
    #[getter]
    fn maxsize(&self, py: Python<'_>) -> Py<PyAny> {
        self.body.extra(py, |extras| &extras.maxsize).unwrap_or_else(|| zero(py).unbind())
    }

    #[setter]
    fn set_maxsize(&self, maxsize: &Bound<'_, PyAny>) {
        self.body.set_maxsize(maxsize.py(), maxsize);
    }

    /// How many items have been put for which `task_done` has not been called yet.
    #[getter]
    fn unfinished_tasks(&self, py: Python<'_>) -> i64 {
        self.body.core.unfinished(py)
    }

    #[setter]
    fn set_unfinished_tasks(&self, py: Python<'_>, count: i64) {
        self.body.core.set_unfinished(py, count).fire();
    }

    /// True once `shutdown` has been called.
    #[getter]
    fn is_shutdown(&self, py: Python<'_>) -> bool {
        self.body.core.is_shut(py)
    }

    /// A copy of what is in the queue: a `deque` (Queue) or list (LifoQueue, PriorityQueue: in heap order).
    #[getter]
    fn queue(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let body = &slf.get().body;
        if body.overrides.hooks {
            return body
                .extra(py, |extras| &extras.storage)
                .ok_or_else(|| PyAttributeError::new_err("'queue': this class has not set it (in _init)"));
        }
        let items = PyList::new(py, body.snapshot(slf.as_any())?)?;
        if slf.is_instance_of::<PyLifoQueue>() || slf.is_instance_of::<PyPriorityQueue>() {
            return Ok(items.into_any().unbind());
        }
        Ok(py.import("collections")?.getattr("deque")?.call1((items,))?.unbind())
    }

    #[setter]
    fn set_queue(&self, storage: &Bound<'_, PyAny>) -> PyResult<()> {
        if !self.body.overrides.hooks {
            return Err(PyAttributeError::new_err(
                "'queue' is a copy of what is in the queue and cannot be assigned; use put_many() or clear(), or override the hooks _init, \
                 _qsize, _put and _get to keep the items yourself",
            ));
        }
        let fresh = storage.clone().unbind();
        drop(self.body.core.change_extras(storage.py(), |extras| extras.storage.replace(fresh)));
        Ok(())
    }

    /// True if the queue holds `maxsize` items, at this moment. Never, if there is no bound.
    fn full(slf: &Bound<'_, Self>) -> PyResult<bool> {
        // The comparison is the standard library's, with its error for a `maxsize` that is no number.
        if !zero(slf.py()).lt(slf.get().maxsize(slf.py()))? {
            return Ok(false);
        }
        let (size, limit) = slf.get().body.size_and_limit(slf.as_any())?;
        Ok(size >= limit)
    }

    /// Say that one item that was got has been dealt with.
    ///
    /// Raises ValueError if called more often than items were put.
    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        let (wakes, done) = self.body.core.task_done(py);
        wakes.fire();
        if done { Ok(()) } else { Err(PyValueError::new_err("task_done() called too many times")) }
    }

    /// Block until every item that was put has been dealt with (see `task_done`).
    ///
    /// Raises TimeoutError after `timeout` seconds. It is enough that the count of unfinished tasks reached zero at
    /// some moment during the wait.
    #[pyo3(signature = (timeout = None))]
    fn join(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        blocking::run(slf.as_any(), &mut QueueOperation::join(&slf.get().body), timeout).map(drop)
    }

    /// Shut the queue down: puts raise ShutDown from now on, gets when nothing is left.
    ///
    /// With `immediate=True` everything that is in the queue is removed, and counts as finished. Wakes everybody who
    /// waits. May be called again, also to make a graceful shutdown an immediate one.
    #[pyo3(signature = (immediate = Truth(false)), text_signature = "($self, immediate=False)")]
    fn shutdown(slf: &Bound<'_, Self>, immediate: Truth) -> PyResult<()> {
        let body = &slf.get().body;
        if immediate.0 {
            return body.clear_items(slf.as_any(), true).map(drop);
        }
        body.core.shut_down(slf.py()).fire();
        Ok(())
    }

    /// What the queue has seen so far, as a frozen snapshot.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.body.statistics(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.get().body.describe(slf.as_any(), true)
    }

    fn _init(slf: &Bound<'_, Self>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let _ = maxsize;
        let py = slf.py();
        if !slf.get().body.overrides.hooks {
            return Ok(());
        }
        let storage = if slf.is_instance_of::<PyLifoQueue>() || slf.is_instance_of::<PyPriorityQueue>() {
            PyList::empty(py).into_any()
        } else {
            py.import("collections")?.getattr("deque")?.call0()?
        };
        slf.get().set_queue(&storage)
    }

    fn _qsize(slf: &Bound<'_, Self>) -> PyResult<usize> {
        let body = &slf.get().body;
        if body.overrides.hooks { slf.getattr("queue")?.len() } else { Ok(body.core.size(slf.py())) }
    }

    fn _put(slf: &Bound<'_, Self>, item: Item) -> PyResult<()> {
        let py = slf.py();
        let storage = slf.get().hooked_storage(slf, "_put")?;
        if slf.is_instance_of::<PyPriorityQueue>() {
            return py.import("heapq")?.call_method1("heappush", (storage, item)).map(drop);
        }
        storage.call_method1("append", (item,)).map(drop)
    }

    fn _get(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let storage = slf.get().hooked_storage(slf, "_get")?;
        if slf.is_instance_of::<PyPriorityQueue>() {
            return py.import("heapq")?.call_method1("heappop", (storage,)).map(Bound::unbind);
        }
        let method = if slf.is_instance_of::<PyLifoQueue>() { "pop" } else { "popleft" };
        storage.call_method0(method).map(Bound::unbind)
    }

    fn _async_join(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        awaitable(slf.as_any(), QueueOperation::join(&slf.get().body), timeout)
    }

    /// Waits until there is room (`putting`) or an item, and takes nothing. False if the time ran out.
    fn _wait_ready(slf: &Bound<'_, Self>, putting: bool, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let timeout = Timeout::parse(timeout)?;
        let side = if putting { Side::Put } else { Side::Get };
        match blocking::run(slf.as_any(), &mut QueueOperation::ready(&slf.get().body, side), timeout) {
            Ok(_) => Ok(true),
            Err(error) if exceptions::is_refusal(slf.py(), &error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Remembers by which exception the stream was cut short. The first one stays.
    fn _fail(&self, py: Python<'_>, error: Py<PyAny>) {
        let refused = self.body.core.change_extras(py, |extras| {
            if extras.failure.is_some() {
                return Some(error);
            }
            extras.failure = Some(error);
            None
        });
        drop(refused);
    }
}

impl PyQueue {
    /// Where a subclass that overrides some of the hooks keeps its items for the others.
    fn hooked_storage<'py>(&self, slf: &Bound<'py, Self>, hook: &str) -> PyResult<Bound<'py, PyAny>> {
        if self.body.overrides.hooks {
            return slf.getattr("queue");
        }
        Err(PyRuntimeError::new_err(format!(
            "{hook} is a hook for subclasses that override it or another of _init, _qsize, _put, _get; use put() and get()"
        )))
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
        let queue = PyQueue { body: new_body::<PyQueue>(cls, &base, Store::new(Order::Stack))? };
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
        let store = Store::new(Order::Heap);
        let queue = PyQueue { body: new_body::<PyQueue>(cls, &base, store)? };
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
        Ok(Self { body: new_body::<Self>(cls, &base, Store::new(Order::Fifo))? })
    }

    #[pyo3(signature = (*, name = None, clock = None))]
    fn __init__(slf: &Bound<'_, Self>, name: Option<&Bound<'_, PyAny>>, clock: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        slf.get().body.init(slf.py(), None, name, clock)
    }

    /// What the queue has seen so far, as a frozen snapshot.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.body.statistics(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        slf.get().body.describe(slf.as_any(), false)
    }
}

/// Ends at shutdown, once the queue is drained.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct QueueIterator {
    queue: Py<PyAny>,
    of: BodyOf,
    /// The bound `get` of a subclass that has its own.
    get: Option<Py<PyAny>>,
    ended: AtomicBool,
}

#[pymethods]
impl QueueIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let got = if let Some(get) = &self.get {
            get.call0(py)
        } else {
            let queue = self.queue.bind(py);
            blocking::run(queue, &mut QueueOperation::get((self.of)(queue)), Timeout::Forever)
                .and_then(|done| done.into_object(py))
        };
        match got {
            Ok(item) => Ok(Some(item)),
            Err(error) if exceptions::is_shut_down(py, &error) => {
                self.ended.store(true, Ordering::Relaxed);
                if error.cause(py).is_some() { Err(error) } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)?;
        visit.call(&self.get)
    }
}

/// What `__class__` answers: for our exact types a class that the standard library's `isinstance` checks accept and that makes ours, for
/// a subclass (which has the standard library's class among its bases) itself. Filled by `sluicegate._queues` at import.
fn stand_in(class: &Bound<'_, PyType>) -> PyResult<Py<PyAny>> {
    let py = class.py();
    let found = stand_ins(py).bind(py).get_item(class)?;
    Ok(found.map_or_else(|| class.clone().into_any().unbind(), Bound::unbind))
}

pub(crate) fn stand_ins(py: Python<'_>) -> &Py<PyDict> {
    static STAND_INS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    STAND_INS.get_or_init(py, || PyDict::new(py).unbind())
}

fn zero(py: Python<'_>) -> Bound<'_, PyAny> {
    PyInt::new(py, 0).into_any()
}
