//! `Lines`: items of a block of bytes that become Python objects when they are received: the bale of the binding's channels.
//!
//! Whoever has read the block (`io`) has found out detached where its items end, and that they are ASCII or valid UTF-8. What is left to do
//! is an allocation and a copy. The thread that receives an item does it, and most often frees it as well: that is what interpreters are
//! made for, and nothing of it holds up whoever reads. (docs/decisions, 0014)
#![cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only io makes them"))]

use std::ops::Range;
use std::sync::Arc;

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use sluicegate_core::credits::{Bale, Batch, Load};

use crate::rt::Item;

/// What an item is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It ends with a line feed. Without `keep_ends` that, and a carriage return before it, is not part of it.
    Lines { keep_ends: bool },
    /// As much as there is, in pieces of at most so much.
    Chunks { size: usize },
}

impl Kind {
    /// What an item says, of the bytes from the end of the one before it to its own.
    #[inline]
    pub(crate) fn content(self, bytes: &[u8]) -> &[u8] {
        match (self, bytes.strip_suffix(b"\n")) {
            (Self::Lines { keep_ends: false }, Some(line)) => line.strip_suffix(b"\r").unwrap_or(line),
            _ => bytes,
        }
    }
}

/// What the items become, and what is known of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Bytes,
    /// A str each, of ASCII.
    Ascii,
    /// A str each, of valid UTF-8.
    Utf8,
}

/// What is made of it.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    /// Where each item ends; the next one begins there.
    pub(crate) ends: Vec<usize>,
    pub(crate) kind: Kind,
    pub(crate) form: Form,
    /// An item weighs its length, not one.
    pub(crate) by_length: bool,
}

impl Text {
    fn begin(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn content(&self, item: Range<usize>) -> &[u8] {
        self.kind.content(&self.bytes[item])
    }
}

/// Some of a text's items.
#[derive(Debug)]
pub(crate) struct Lines {
    text: Arc<Text>,
    next: usize,
    end: usize,
}

impl Lines {
    /// All from `next` on.
    pub(crate) fn new(text: Text, next: usize) -> Self {
        let end = text.ends.len();
        Self { text: Arc::new(text), next, end }
    }

    pub(crate) fn text(&self) -> &Arc<Text> {
        &self.text
    }

    /// Where the first of them begins in the text.
    pub(crate) fn position(&self) -> usize {
        self.text.begin(self.next)
    }

    /// And where the last ends.
    pub(crate) fn end_position(&self) -> usize {
        self.text.begin(self.end)
    }

    /// Calls `each` with what each of them says, in order.
    #[inline]
    pub(crate) fn try_each<E>(&self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (bytes, kind) = (&*self.text.bytes, self.text.kind);
        let mut begin = self.position();
        for &end in &self.text.ends[self.next..self.end] {
            each(kind.content(&bytes[begin..end]))?;
            begin = end;
        }
        Ok(())
    }

    /// Makes the objects, in order.
    #[inline]
    fn make<'py>(&self, py: Python<'py>, mut put: impl FnMut(Bound<'py, PyAny>)) -> PyResult<()> {
        match self.text.form {
            Form::Bytes => self.try_each(|content| bytes(py, content).map(&mut put)),
            Form::Ascii => self.try_each(|content| ascii(py, content).map(&mut put)),
            Form::Utf8 => self.try_each(|content| PyString::from_bytes(py, content).map(|text| put(text.into_any()))),
        }
    }
}

impl Bale for Lines {
    fn count(&self) -> usize {
        self.end - self.next
    }

    fn weighs_one_each(&self) -> bool {
        !self.text.by_length
    }

    fn weight(&self, index: usize) -> u64 {
        if !self.text.by_length {
            return 1;
        }
        let index = self.next + index;
        let content = self.text.content(self.text.begin(index)..self.text.ends[index]);
        let length = match self.text.form {
            Form::Bytes | Form::Ascii => content.len(),
            // Each character has one byte that is not a continuation.
            Form::Utf8 => content.iter().filter(|&&byte| byte & 0xc0 != 0x80).count(),
        };
        length as u64
    }

    fn take(&mut self, count: usize) -> Self {
        let begin = self.next;
        self.next += count;
        Self { text: Arc::clone(&self.text), next: begin, end: self.next }
    }

    fn join(&mut self, next: Self) -> Result<(), Self> {
        if self.end != next.next || !Arc::ptr_eq(&self.text, &next.text) {
            return Err(next);
        }
        self.end = next.end;
        Ok(())
    }
}

/// What has been received, as an object.
#[inline]
pub(crate) fn object(py: Python<'_>, load: Load<Item, Lines>) -> PyResult<Item> {
    match load {
        Load::Item(item) => Ok(item),
        Load::Bale(lines) => {
            let mut object = None;
            lines.make(py, |made| object = Some(made.unbind()))?;
            Ok(object.expect("a load is of one item"))
        }
    }
}

/// A list of what has been received.
#[allow(unsafe_code)]
pub(crate) fn list(py: Python<'_>, batch: Batch<Item, Lines>) -> PyResult<Bound<'_, PyList>> {
    if batch.bales.is_empty() {
        return PyList::new(py, batch.items);
    }
    let length = ffi::Py_ssize_t::try_from(batch.count()).map_err(|_| PyMemoryError::new_err(()))?;
    let mut index = 0;
    // SAFETY: attached; a new list of so many places, each of which is set at most once, and `count` says that there is one for every
    // object. Until then it is empty, which a list that is dropped, or seen by the collector, may be.
    unsafe {
        let list = Bound::from_owned_ptr_or_err(py, ffi::PyList_New(length))?.cast_into_unchecked::<PyList>();
        let mut put = |object: Bound<'_, PyAny>| {
            assert!(index < length, "as many as were counted");
            ffi::PyList_SET_ITEM(list.as_ptr(), index, object.into_ptr());
            index += 1;
        };
        for load in batch.into_loads() {
            match load {
                Load::Item(item) => put(item.into_bound(py)),
                Load::Bale(lines) => lines.make(py, &mut put)?,
            }
        }
        debug_assert_eq!(index, length);
        Ok(list)
    }
}

#[allow(unsafe_code)]
#[inline]
fn bytes<'py>(py: Python<'py>, content: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let Ok(length) = ffi::Py_ssize_t::try_from(content.len()) else { return Err(PyMemoryError::new_err(())) };
    // SAFETY: attached, and as many bytes as it says. (PyO3's own either panics without memory, or writes everything twice.)
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(content.as_ptr().cast(), length)) }
}

/// A str of bytes that are ASCII: the interpreter need not look at each of them again.
#[allow(unsafe_code)]
#[inline]
pub(crate) fn ascii<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let Ok(length) = ffi::Py_ssize_t::try_from(bytes.len()) else { return Err(PyMemoryError::new_err(())) };
    // SAFETY: attached. A new str of so many ASCII characters, whose data are as many bytes; it is nobody else's until it is returned.
    unsafe {
        let text = Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_New(length, 127))?;
        if length > 0 {
            // The empty str is shared, and complete.
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), ffi::PyUnicode_DATA(text.as_ptr()).cast(), bytes.len());
        }
        Ok(text)
    }
}
