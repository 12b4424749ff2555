//! What makes the queues the standard library's: the classes that stand in for them, and the hooks for subclassing.
//!
//! `isinstance(q, queue.Queue)` holds without a common base class, which would cost each call 14 to 19 ns (docs/decisions, 0006): `__class__`
//! answers with a stand-in. A subclass that overrides `_init`, `_qsize`, `_put` or `_get` keeps the items itself, and calls the hooks of its
//! base for what it does not override: they work on the object that it has set as `queue`.

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::exceptions::{PyIndexError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};
use sluicegate_core::buffer::Buffer;
use sluicegate_core::queue::{Due, Terms};

use crate::queue::baton::BatonGuard;
use crate::queue::inner::{BoundQueue, Overrides, QueueInner};
use crate::queue::items::Order;
use crate::queue::mutex::MutexGuard;
use crate::queue::no_memory::no_memory;
use crate::rt::Item;
use crate::rt::interrupts;

/// What `class` overrides of `base`.
pub(in crate::queue) fn overrides(class: &Bound<'_, PyType>, base: &Bound<'_, PyType>) -> PyResult<Overrides> {
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
        order: overridden("_get")?,
        put: overridden("put")?,
        get: overridden("get")?,
    })
}

/// What `__class__` answers: for our exact types a class that the standard library's `isinstance` checks accept and that makes ours, for
/// a subclass (which has the standard library's class among its bases) itself. Filled by `sluicegate._queues` at import.
pub(in crate::queue) fn stand_in(class: &Bound<'_, PyType>) -> PyResult<Py<PyAny>> {
    let py = class.py();
    let found = stand_ins(py).get_item(class)?;
    Ok(found.map_or_else(|| class.clone().into_any().unbind(), Bound::unbind))
}

pub(crate) fn stand_ins(py: Python<'_>) -> &Bound<'_, PyDict> {
    static STAND_INS: Kept<PyDict> = Kept::new();
    STAND_INS.get(py).unwrap_or_else(|| STAND_INS.keep(PyDict::new(py)))
}

/// `_init` of a class that does not override it: makes the storage.
pub(in crate::queue) fn init_hook(this: &Bound<'_, PyAny>, inner: &QueueInner) -> PyResult<()> {
    let py = this.py();
    if !inner.overrides.hooks {
        return Ok(());
    }
    let storage = match inner.order {
        Order::Fifo => py.import("collections")?.getattr("deque")?.call0()?,
        _ => PyList::empty(py).into_any(),
    };
    set_storage(inner, &storage);
    Ok(())
}

pub(in crate::queue) fn qsize_hook(this: &Bound<'_, PyAny>, inner: &QueueInner) -> PyResult<usize> {
    if inner.overrides.hooks { storage(this)?.len() } else { Ok(inner.core.size(this.py())) }
}

pub(in crate::queue) fn put_hook(this: &Bound<'_, PyAny>, inner: &QueueInner, item: Item) -> PyResult<()> {
    let py = this.py();
    if !inner.overrides.hooks {
        let object = BoundQueue { this, inner };
        let _guard = held(&object, "_put")?;
        let weight = inner.weight_of(item.bind(py))?;
        if inner.slow {
            let mut guard = BatonGuard::take(&object, "_put")?;
            let outcome = guard.push_on(item, Terms { weight, due: Due::Never });
            return guard.finish(0, 0).and(outcome);
        }
        let mut item = Some(if inner.fair.is_some() { inner.with_fair_key(item.into_bound(py), None, None)? } else { item });
        let put = inner
            .step(this, "_put", |state, wakes| item.take().map_or(Ok(()), |item| state.push_by_hand(item, weight, wakes)))?;
        return put.map_err(|_| no_memory(py));
    }
    let storage = storage(this)?;
    match inner.order {
        Order::Heap => py.import("heapq")?.call_method1("heappush", (storage, item)).map(drop),
        _ => storage.call_method1("append", (item,)).map(drop),
    }
}

pub(in crate::queue) fn get_hook(this: &Bound<'_, PyAny>, inner: &QueueInner) -> PyResult<Item> {
    let py = this.py();
    if !inner.overrides.hooks {
        let object = BoundQueue { this, inner };
        let _guard = held(&object, "_get")?;
        let item = if inner.slow {
            let mut guard = BatonGuard::take(&object, "_get")?;
            let item = guard.pop();
            if let Err(error) = guard.finish(0, 0) {
                // Of an item that has come meanwhile, and is in: this one has been taken out all the same.
                interrupts::callback_failed(py, error, Some(this));
            }
            item?
        } else {
            inner.step(this, "_get", |state, wakes| state.edit(Buffer::pop, wakes))?
        };
        return item.map(|item| inner.bare(py, item)).ok_or_else(|| PyIndexError::new_err("_get from an empty queue"));
    }
    let storage = storage(this)?;
    let item = match inner.order {
        Order::Heap => py.import("heapq")?.call_method1("heappop", (storage,)),
        Order::Stack => storage.call_method0("pop"),
        _ => storage.call_method0("popleft"),
    };
    item.map(Bound::unbind)
}

/// `queue = storage`, in a subclass that keeps the items itself.
pub(in crate::queue) fn set_storage(inner: &QueueInner, storage: &Bound<'_, PyAny>) {
    let fresh = storage.clone().unbind();
    drop(inner.core.change_extras(storage.py(), |extras| extras.storage.replace(fresh)));
}

fn storage<'py>(this: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    this.getattr(interned!(this.py(), "queue"))
}

/// Hooks are for the owner of the mutex; and for a subclass that overrides some of them.
fn held<'a, 'b, 'py>(object: &'a BoundQueue<'b, 'py>, hook: &str) -> PyResult<MutexGuard<'a, 'b, 'py>> {
    MutexGuard::take_again(object)?.ok_or_else(|| {
        PyRuntimeError::new_err(format!(
            "{hook} can be called only while `mutex` is held, or in a subclass that overrides _init, _qsize, _put or _get; use put() and get()"
        ))
    })
}
