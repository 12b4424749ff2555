//! `Source`: the items of a batch, all at hand or taken from an iterator one by one.

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple};

use crate::rt::Item;
use crate::rt::interrupts;
use crate::rt::kept::interned;
use crate::rt::operation::Mode;

/// The number of items after which signal handlers are run (an endless iterator in C would never run them).
const SIGNAL_CHECK: usize = 1024;

/// The number of items after which a task lets its event loop run.
const TURN: usize = 128;

/// The largest collection whose items are all copied before the batch begins.
const AT_HAND: usize = 4096;

#[derive(Debug)]
pub(crate) enum BatchSource {
    /// All items are at hand.
    Items(Vec<Item>),
    /// An iterator that is asked for an item only when there is room for the item.
    Iterator {
        iterator: Py<PyIterator>,
        /// The number of items left, if it is known: then the end is found without waiting for room.
        left: Option<usize>,
    },
}

impl BatchSource {
    pub(crate) fn of(items: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(list) = items.cast_exact::<PyList>() {
            return Ok(Self::Items(items_of(list)?));
        }
        if let Ok(tuple) = items.cast_exact::<PyTuple>() {
            let mut held = room_for(tuple.len())?;
            held.extend(tuple.iter().map(Bound::unbind));
            return Ok(Self::Items(held));
        }
        let iterator = items.try_iter()?;
        let left = if iterator.is(items) { None } else { items.len().ok() };
        Ok(match left {
            // Small enough to be copied, so that all its items are put in one step if they fit.
            Some(size) if size <= AT_HAND => {
                Self::Items(iterator.map(|item| item.map(Bound::unbind)).collect::<PyResult<Vec<_>>>()?)
            }
            left => Self::Iterator { iterator: iterator.unbind(), left },
        })
    }
}

/// Called between two items of a long batch, `accepted` of which have been put. Raises what a signal handler, or a callback that reports a
/// drop, has raised. Returns true if the attempt has to end here with no result, so that other tasks of the event loop get to run; it is
/// then repeated.
pub(crate) fn pause(py: Python<'_>, accepted: usize, mode: Mode<'_>) -> PyResult<bool> {
    interrupts::raise_kept(py)?;
    if accepted % SIGNAL_CHECK == 0 {
        py.check_signals()?;
    }
    Ok(match mode {
        Mode::Park(waker) if accepted % TURN == 0 => waker.wake_task(py),
        _ => false,
    })
}

/// The items of a list.
pub(crate) fn items_of(list: &Bound<'_, PyList>) -> PyResult<Vec<Item>> {
    let mut held = room_for(list.len())?;
    list.iter().for_each(|item| held.push(item.unbind())); // locks the list once, `collect` would for each item
    Ok(held)
}

fn room_for(count: usize) -> PyResult<Vec<Item>> {
    let mut held = Vec::new();
    held.try_reserve_exact(count).map_err(|_| PyMemoryError::new_err(()))?;
    Ok(held)
}

/// True if this is one of the interpreter's own iterators and is at its end. Other iterators cannot be asked without taking an item.
pub(crate) fn is_exhausted(iterator: &Bound<'_, PyIterator>) -> bool {
    let kind = iterator.get_type();
    // Not by `module()` of PyO3: its once-lock may be left half-initialised in the child of a fork. See `kept`.
    let own = kind.getattr(interned!(kind.py(), "__module__")).is_ok_and(|module| module.eq("builtins").unwrap_or(false));
    own && iterator.call_method0("__length_hint__").is_ok_and(|hint| hint.extract::<usize>().is_ok_and(|hint| hint == 0))
}
