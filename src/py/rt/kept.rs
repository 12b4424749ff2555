//! `Kept`: a Python object that is made when it is first needed and kept while the process lives; `interned!`: an interned string, so kept.
//!
//! The usual once-locks make whoever comes to a cell that is being filled wait for whoever fills it. That one may never come back: it may be
//! the same thread (a signal handler, a finaliser or a tracer in the middle of filling it), or the thread of a process that has forked
//! (PyO3's cells detach before they fill, so another thread can fork meanwhile). Here nobody waits: whoever finds the cell empty makes the
//! object, and the first to store its own wins.
//!
//! | cell  | who comes       | does                                                          |
//! |-------|-----------------|---------------------------------------------------------------|
//! | empty | makes an object | stores it: -> full for ever                                   |
//! | full  | made one too    | lets it go and uses the other                                 |
//! | full  | anybody         | uses it                                                       |
#![allow(unsafe_code)] // a reference is kept as a pointer

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Made when it is first needed.
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
        // Acquire: pairs with the store in `keep`; the object is read as its maker left it.
        if self.object.load(Ordering::Acquire).is_null() {
            return None;
        }
        // SAFETY: a `Py<T>` is a pointer that is not null, and `keep` stored that of one, whose reference is never given back. The cell is
        // never written again, so a plain reference to it may be shared.
        let kept: &'static Py<T> = unsafe { &*self.object.as_ptr().cast::<Py<T>>() };
        Some(kept.bind(py))
    }

    /// Keeps what has been made, unless somebody was faster. What is kept comes back.
    pub(crate) fn keep<'py>(&'static self, made: Bound<'py, T>) -> &'py Bound<'py, T> {
        let py = made.py();
        let made = made.unbind();
        // AcqRel: whoever reads the pointer sees the object. Acquire where it fails: so do we.
        let stored = self.object.compare_exchange(ptr::null_mut(), made.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
        if stored.is_ok() {
            std::mem::forget(made); // the cell has its reference
        } else {
            drop(made);
        }
        self.get(py).expect("the cell is full by now")
    }

    /// Is it this object? No if there is none yet.
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

    /// Is it this very object? No if nobody has asked for it yet.
    #[inline]
    pub(crate) fn is(&self, object: *mut ffi::PyObject) -> bool {
        self.string.is(object)
    }
}

/// `interned!(py, "text")`: that string, interned once.
macro_rules! interned {
    ($py:expr, $text:literal) => {{
        static INTERNED: $crate::rt::kept::Interned = $crate::rt::kept::Interned::new($text);
        INTERNED.get($py)
    }};
}
pub(crate) use interned;
