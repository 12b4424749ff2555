//! Memory that is reserved before an operation begins, so that a lack of it raises before anything has been changed.
//!
//! What Rust allocates aborts the process where there is no memory, unless it is asked for in a way that can fail. Whatever has a size that a
//! user or a number of items decides asks that way, and the answer comes out of the section as a value. Two things cannot: the list
//! for a batch is Python's, and making it can run the garbage collector, so it is made before the items are taken ([`ListRoom`]); and
//! a place in a wait queue is several small allocations, so a thread or task that is about to wait first allocates as much at once ([`for_a_wait`]).
//!
//! What it does not do: the few bytes of a wake-up, or of an object of fixed size, are not asked for in advance.
#![allow(unsafe_code)] // lists and tuples are filled in place

use std::ffi::CStr;
use std::hint::black_box;

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::rt::Item;

/// More than a place in a wait queue takes, with everything that belongs to it.
const FOR_A_WAIT: usize = 4096;

/// A MemoryError that asks for no memory but Python's own, which raises one of its spare ones if there is none.
pub(crate) fn none(py: Python<'_>, text: &CStr) -> PyErr {
    // SAFETY: attached; a class and a text that ends.
    unsafe { ffi::PyErr_SetString(ffi::PyExc_MemoryError, text.as_ptr()) };
    PyErr::fetch(py)
}

/// Raises MemoryError if there is none for a place in a wait queue.
pub(crate) fn for_a_wait(py: Python<'_>) -> PyResult<()> {
    let mut place: Vec<u8> = Vec::new();
    let there_is = place.try_reserve_exact(FOR_A_WAIT).is_ok();
    black_box(&place); // so that it is really asked for
    if there_is { Ok(()) } else { Err(none(py, c"there is no memory to wait with")) }
}

/// A tuple of `count` items. Raises MemoryError, where PyO3 panics.
pub(crate) fn tuple<'py>(py: Python<'py>, count: usize, items: impl Iterator<Item = Item>) -> PyResult<Bound<'py, PyTuple>> {
    let length = ffi::Py_ssize_t::try_from(count).map_err(|_| PyMemoryError::new_err(()))?;
    // SAFETY: attached; a new tuple, or null with an error set.
    let tuple: Bound<'py, PyTuple> = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(length))?.cast_into_unchecked() };
    for (index, item) in (0..length).zip(items) {
        // SAFETY: attached; a tuple that nobody else has, and a place in it that is empty.
        unsafe { ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index, item.into_ptr()) };
    }
    Ok(tuple)
}

/// A list that is there before the items that it is to hold.
pub(crate) struct ListRoom<'py> {
    list: Bound<'py, PyList>,
    filled: usize,
}

impl<'py> ListRoom<'py> {
    /// Makes room for `count` items. Slots that are still empty are null, which the garbage collector and the list's deallocation accept.
    pub(crate) fn new(py: Python<'py>, count: usize) -> PyResult<Self> {
        let length = ffi::Py_ssize_t::try_from(count).map_err(|_| PyMemoryError::new_err(()))?;
        // SAFETY: attached; a new list, or null with an error set.
        let list = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(length))?.cast_into_unchecked() };
        Ok(Self { list, filled: 0 })
    }

    pub(crate) fn py(&self) -> Python<'py> {
        self.list.py()
    }

    /// Shrinks the list to `count` items. For a larger count it grows as items are added.
    pub(crate) fn fit(&mut self, count: usize) -> PyResult<()> {
        let length = self.list.len();
        if count >= length || self.list.del_slice(count, length).is_ok() {
            return Ok(());
        }
        // Even to shrink a list takes memory. The places beyond are empty: it keeps them, and calls itself shorter.
        let count = ffi::Py_ssize_t::try_from(count).map_err(|_| PyMemoryError::new_err(()))?;
        // SAFETY: attached; a list that nobody else has, with room for more than that.
        unsafe { (*self.list.as_ptr().cast::<ffi::PyVarObject>()).ob_size = count };
        Ok(())
    }

    pub(crate) fn put(&mut self, object: Bound<'py, PyAny>) -> PyResult<()> {
        if self.filled >= self.list.len() {
            self.list.append(object)?;
            self.filled += 1;
            return Ok(());
        }
        let index = ffi::Py_ssize_t::try_from(self.filled).map_err(|_| PyMemoryError::new_err(()))?;
        // SAFETY: attached; a list that nobody else has, and a place in it that is empty.
        unsafe { ffi::PyList_SET_ITEM(self.list.as_ptr(), index, object.into_ptr()) };
        self.filled += 1;
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn into_list(self) -> Bound<'py, PyList> {
        debug_assert!(self.filled == self.list.len(), "every place has its item");
        self.list
    }

    pub(crate) fn filled(mut self, items: Vec<Item>) -> PyResult<Bound<'py, PyList>> {
        let py = self.py();
        self.fit(items.len())?;
        for item in items {
            self.put(item.into_bound(py))?;
        }
        Ok(self.into_list())
    }
}
