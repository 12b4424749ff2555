//! Makes Python objects of received items: an item is returned as it is, and a frame (`credits::frames` in the core) becomes `str` or
//! `bytes` here, in the thread that receives it.
//!
//! The reader of the frames (`io`) has determined, while detached, where they end and that they are ASCII or valid UTF-8. An allocation and
//! a copy are left to do. The thread that receives an item does both, and usually frees the object as well: interpreters are optimized for
//! that, and it does not delay the reader. (docs/decisions, 0014)

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use sluicegate_core::credits::frames::{Form, FrameRange};
use sluicegate_core::credits::{Batch, Received};

use crate::rt::Item;
use crate::rt::memory::ListRoom;

/// Makes the objects of a range, in order.
#[inline]
fn make<'py>(py: Python<'py>, range: &FrameRange, mut put: impl FnMut(Bound<'py, PyAny>)) -> PyResult<()> {
    match range.form() {
        Form::Bytes => range.try_each(|content| bytes(py, content).map(&mut put)),
        Form::Ascii => range.try_each(|content| ascii(py, content).map(&mut put)),
        Form::Utf8 => range.try_each(|content| PyString::from_bytes(py, content).map(|text| put(text.into_any()))),
    }
}

/// The received item as an object.
#[inline]
pub(crate) fn object(py: Python<'_>, received: Received<Item, FrameRange>) -> PyResult<Item> {
    match received {
        Received::Item(item) => Ok(item),
        Received::Bale(range) => {
            let mut object = None;
            make(py, &range, |made| object = Some(made.unbind()))?;
            Ok(object.expect("one item was received"))
        }
    }
}

/// A list of the received items.
pub(crate) fn list(mut room: ListRoom<'_>, batch: Batch<Item, FrameRange>) -> PyResult<Bound<'_, PyList>> {
    room.fit(batch.count())?;
    let py = room.py();
    for received in batch.into_parts() {
        match received {
            Received::Item(item) => room.put(item.into_bound(py))?,
            Received::Bale(range) => {
                let mut outcome = Ok(());
                make(py, &range, |object| {
                    if outcome.is_ok() {
                        outcome = room.put(object);
                    }
                })?;
                outcome?;
            }
        }
    }
    Ok(room.into_list())
}

#[allow(unsafe_code)]
#[inline]
pub(crate) fn bytes<'py>(py: Python<'py>, content: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let Ok(length) = ffi::Py_ssize_t::try_from(content.len()) else { return Err(PyMemoryError::new_err(())) };
    // SAFETY: attached; the pointer is valid for `length` bytes. (PyO3's functions either panic without memory, or write everything twice.)
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(content.as_ptr().cast(), length)) }
}

/// A str of bytes that are known to be ASCII, so the interpreter does not have to check each of them again.
#[allow(unsafe_code)]
#[inline]
pub(crate) fn ascii<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let Ok(length) = ffi::Py_ssize_t::try_from(bytes.len()) else { return Err(PyMemoryError::new_err(())) };
    // SAFETY: attached. The data of a new str of `length` ASCII characters are as many bytes, and no other thread sees it until it is
    // returned.
    unsafe {
        let text = Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_New(length, 127))?;
        if length > 0 {
            // The empty str is a shared object that must not be written to.
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), ffi::PyUnicode_DATA(text.as_ptr()).cast(), bytes.len());
        }
        Ok(text)
    }
}
