//! `Kept`: a Python object that is created on first use and kept for the life of the process; `interned!`: an interned string kept like this.
//!
//! With the usual once-locks, a thread that finds a cell being initialised waits for the thread that initialises it. That thread may never
//! finish: it may be the same thread (a signal handler, a finaliser or a tracer runs in the middle of the initialisation), or a thread of the
//! parent of a fork (PyO3's cells detach before they initialise, so another thread can fork meanwhile). Here no thread waits: each thread that
//! finds the cell empty creates an object, and the first object to be stored is kept.
//!
//! | cell  | a thread             | does                                                     |
//! |-------|----------------------|----------------------------------------------------------|
//! | empty | has created an object | stores it: the cell is full for ever                     |
//! | full  | has created one too  | drops its own and uses the stored one                    |
//! | full  | any other            | uses the stored one                                      |
#![allow(unsafe_code)] // a reference is kept as a pointer

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// An object that is created on first use.
pub(crate) struct Kept<T> {
    object: AtomicPtr<ffi::PyObject>,
    class: PhantomData<fn() -> Py<T>>,
}

impl<T> Kept<T> {
    pub(crate) const fn new() -> Self {
        Self { object: AtomicPtr::new(ptr::null_mut()), class: PhantomData }
    }

    #[inline]
    pub(crate) fn get<'py>(&'static self, py: Python<'py>) -> Option<&'py Bound<'py, T>> {
        // Acquire: pairs with the store in `keep`; the object is read as the thread that created it left it.
        if self.object.load(Ordering::Acquire).is_null() {
            return None;
        }
        // SAFETY: a `Py<T>` is a non-null pointer, and `keep` stored the pointer of one whose reference is never released. The cell is never
        // written again, so a reference to it may be shared.
        let kept: &'static Py<T> = unsafe { &*self.object.as_ptr().cast::<Py<T>>() };
        Some(kept.bind(py))
    }

    /// Stores an object unless another thread was faster. Returns the stored object.
    pub(crate) fn keep<'py>(&'static self, made: Bound<'py, T>) -> &'py Bound<'py, T> {
        let py = made.py();
        let made = made.unbind();
        // AcqRel: a thread that reads the pointer sees the object. Acquire on failure: this thread sees the object of the winner.
        let stored = self.object.compare_exchange(ptr::null_mut(), made.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
        if stored.is_ok() {
            std::mem::forget(made); // the cell owns the reference
        } else {
            drop(made);
        }
        self.get(py).expect("the cell is full by now")
    }

    /// True if the stored object is this one.
    #[inline]
    pub(crate) fn is(&self, other: *mut ffi::PyObject) -> bool {
        // Acquire, though only the address is used: as in `get`.
        self.object.load(Ordering::Acquire) == other
    }
}

/// An interned string.
pub(crate) struct Interned {
    text: &'static str,
    string: Kept<PyString>,
}

impl Interned {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self { text, string: Kept::new() }
    }

    #[inline]
    pub(crate) fn get<'py>(&'static self, py: Python<'py>) -> &'py Bound<'py, PyString> {
        self.string.get(py).unwrap_or_else(|| self.string.keep(PyString::intern(py, self.text)))
    }

    /// True if the string has been created and is this object.
    #[inline]
    pub(crate) fn is(&self, object: *mut ffi::PyObject) -> bool {
        self.string.is(object)
    }
}

/// `interned!(py, "text")`: the string, interned once.
macro_rules! interned {
    ($py:expr, $text:literal) => {{
        static INTERNED: $crate::rt::kept::Interned = $crate::rt::kept::Interned::new($text);
        INTERNED.get($py)
    }};
}
pub(crate) use interned;
