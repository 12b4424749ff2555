//! `CoalescingQueue`: how its items come to have keys, and what becomes of two with the same.
//!
//! # Protocol
//! The user's `key` runs once for each item, before anything else and outside every section; what is kept of its result is a hash, so that no
//! comparison of keys ever runs Python. Until it is in order the item is a [`KeyedItem`]: the item and that hash.
//!
//! The user's `merge` runs outside the section too, and nobody may take the old item meanwhile, or change it: it may be changed in place. So it
//! is called by the holder of the baton, as the comparisons of a heap are (see `baton`).
//!
//! | a put                                   | what happens                                                                     |
//! |-----------------------------------------|----------------------------------------------------------------------------------|
//! | its key waits                           | merged under the baton, full or not; put and finished with at once               |
//! | its key does not wait, there is room    | it enters at the end; waiting putters try again: one may have the same key        |
//! | its key does not wait, there is no room | it waits in the wait queue of putters                                             |
//! | from inside `merge`, on the same thread | into the inbox; merged or added before the baton is given back                    |
//!
//! If `merge` raises, a put raises that, with nothing changed. An item from the inbox, whose put has returned, then takes the old one's place.

use std::sync::OnceLock;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::keys::KeyHash;

use crate::queue::no_memory::no_memory;
use crate::rt::Item;
use crate::rt::arguments::{refuse_coroutine_function, text};
use crate::rt::guarded;
use crate::rt::keys::KeyHasher;

/// An item on its way in. Only ever seen by the queue.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct KeyedItem {
    pub(in crate::queue) key: KeyHash,
    pub(in crate::queue) item: Item,
}

#[pymethods]
impl KeyedItem {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.item)
    }
}

/// What the user had put, of an item that was dropped before it was in order.
pub(in crate::queue) fn without_key(py: Python<'_>, item: Item) -> Item {
    let plain = item.bind(py).cast::<KeyedItem>().ok().map(|keyed| keyed.get().item.clone_ref(py));
    plain.unwrap_or(item)
}

/// What a user has said about keys. Settled when the queue is first made.
#[derive(Debug)]
struct Functions {
    key: Item,
    /// None: the newer one replaces the older one.
    merge: Option<Item>,
}

#[derive(Debug)]
pub(in crate::queue) struct Keys {
    hasher: KeyHasher,
    functions: OnceLock<Functions>,
}

pub(in crate::queue) fn callable(name: &str, function: &Bound<'_, PyAny>) -> PyResult<Item> {
    if function.is_callable() {
        refuse_coroutine_function(name, function)?;
        return Ok(function.clone().unbind());
    }
    Err(PyTypeError::new_err(format!("'{name}' must be callable, not {}", text(function))))
}

impl Keys {
    pub(in crate::queue) fn new() -> Self {
        Self { hasher: KeyHasher::new(), functions: OnceLock::new() }
    }

    pub(in crate::queue) fn settle(&self, key: &Bound<'_, PyAny>, merge: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let merge = merge.filter(|merge| !merge.is_none());
        let functions = Functions { key: callable("key", key)?, merge: merge.map(|merge| callable("merge", merge)).transpose()? };
        let again = |_| PyRuntimeError::new_err("__init__ was called again: 'key' and 'merge' cannot be changed");
        self.functions.set(functions).map_err(again)
    }

    fn functions(&self) -> PyResult<&Functions> {
        self.functions.get().ok_or_else(|| PyRuntimeError::new_err("__init__ of this CoalescingQueue has not been called"))
    }

    /// Gives these their keys at the first attempt, before anything is held: `key` is a user's.
    pub(in crate::queue) fn give_to(&self, py: Python<'_>, items: &mut std::vec::IntoIter<Item>) -> PyResult<()> {
        if items.as_slice().first().is_some_and(|first| !first.bind(py).is_exact_instance_of::<KeyedItem>()) {
            let mut keyed = Vec::new();
            keyed.try_reserve_exact(items.len()).map_err(|_| no_memory(py))?;
            for item in items.by_ref() {
                keyed.push(self.with_key(item.into_bound(py))?);
            }
            *items = keyed.into_iter();
        }
        Ok(())
    }

    /// The item with its key, if it has none yet.
    pub(in crate::queue) fn with_key(&self, item: Bound<'_, PyAny>) -> PyResult<Item> {
        if item.is_exact_instance_of::<KeyedItem>() {
            return Ok(item.unbind());
        }
        let py = item.py();
        let key = guarded::call_one(self.functions()?.key.bind(py), &item)?;
        let key = self.hasher.hash(&key)?;
        Ok(Bound::new(py, KeyedItem { key, item: item.unbind() })?.into_any().unbind())
    }

    /// What becomes of an item that waits and a newer one.
    pub(in crate::queue) fn merge(&self, py: Python<'_>, old: &Item, new: &Item) -> PyResult<Item> {
        match &self.functions()?.merge {
            Some(merge) => guarded::call(merge.bind(py), &(old, new).into_pyobject(py)?).map(Bound::unbind),
            None => Ok(new.clone_ref(py)),
        }
    }

    pub(in crate::queue) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(functions) = self.functions.get() else { return Ok(()) };
        visit.call(&functions.key)?;
        visit.call(&functions.merge)
    }
}
