//! What makes the queues the standard library's: the classes that stand in for them, and the hooks for subclassing.
//!
//! `isinstance(q, queue.Queue)` holds without a common base class, which would cost each call 14 to 19 ns (docs/decisions, 0006): `__class__`
//! answers with a stand-in. A subclass that overrides `_init`, `_qsize`, `_put` or `_get` keeps the items itself, and calls the hooks of its
//! base for what it does not override: they work on the object that it has set as `queue`.

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};

use crate::queue::inner::{Overrides, QueueInner};
use crate::queue::items::Order;
use crate::rt::Item;

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
    let storage = hooked_storage(this, inner, "_put")?;
    match inner.order {
        Order::Heap => py.import("heapq")?.call_method1("heappush", (storage, item)).map(drop),
        _ => storage.call_method1("append", (item,)).map(drop),
    }
}

pub(in crate::queue) fn get_hook(this: &Bound<'_, PyAny>, inner: &QueueInner) -> PyResult<Item> {
    let py = this.py();
    let storage = hooked_storage(this, inner, "_get")?;
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

/// Where a subclass that overrides some of the hooks keeps its items for the others.
fn hooked_storage<'py>(this: &Bound<'py, PyAny>, inner: &QueueInner, hook: &str) -> PyResult<Bound<'py, PyAny>> {
    if inner.overrides.hooks {
        return storage(this);
    }
    Err(PyRuntimeError::new_err(format!(
        "{hook} can be called only in a subclass that overrides _init, _qsize, _put or _get; use put() and get()"
    )))
}
