//! Where a batch of items comes from.

use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple};

use crate::rt::Item;

/// Every how many items out of an iterator signal handlers get a chance (an endless iterator in C gives them none).
pub(crate) const SIGNAL_CHECK: usize = 1024;

/// Up to so many items of a collection are taken out of it before the batch begins.
const AT_HAND: usize = 4096;

#[derive(Debug)]
pub(crate) enum Source {
    /// All there already.
    Items(Vec<Item>),
    /// To be asked for an item only once its place is certain.
    Iterator {
        iterator: Py<PyIterator>,
        /// How many there are, if that is known: then no room is needed to see the end.
        left: Option<usize>,
    },
}

impl Source {
    pub(crate) fn of(items: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(list) = items.cast_exact::<PyList>() {
            let mut held = Vec::with_capacity(list.len());
            list.iter().for_each(|item| held.push(item.unbind())); // locks the list once, `collect` would for each item
            return Ok(Self::Items(held));
        }
        if let Ok(tuple) = items.cast_exact::<PyTuple>() {
            return Ok(Self::Items(tuple.iter().map(Bound::unbind).collect()));
        }
        let iterator = items.try_iter()?;
        let left = if iterator.is(items) { None } else { items.len().ok() };
        Ok(match left {
            // Small enough to have all of it at hand, so that it enters in one step if it fits.
            Some(size) if size <= AT_HAND => {
                Self::Items(iterator.map(|item| item.map(Bound::unbind)).collect::<PyResult<Vec<_>>>()?)
            }
            left => Self::Iterator { iterator: iterator.unbind(), left },
        })
    }
}

/// Does one of the interpreter's own iterators know that it is at its end? Others are only asked for items.
pub(crate) fn is_exhausted(iterator: &Bound<'_, PyIterator>) -> bool {
    let kind = iterator.get_type();
    let own = kind.module().is_ok_and(|module| module == "builtins");
    own && iterator.call_method0("__length_hint__").is_ok_and(|hint| hint.extract::<usize>().is_ok_and(|hint| hint == 0))
}
