//! Python objects out of what has been received: items as they are, and frames (`credits::frames` in the core), which become `str` or `bytes`
//! here, in the thread that receives them.
//!
//! Whoever has read the frames (`io`) has found out detached where they end, and that they are ASCII or valid UTF-8. What is left to do is
//! an allocation and a copy. The thread that receives an item does it, and most often frees it as well: that is what interpreters are
//! made for, and nothing of it holds up whoever reads. (docs/decisions, 0014)

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use sluicegate_core::credits::frames::{Form, FrameRange};
use sluicegate_core::credits::{Batch, Received};

use crate::rt::Item;

/// Makes the objects of a range, in order.
#[inline]
fn make<'py>(py: Python<'py>, range: &FrameRange, mut put: impl FnMut(Bound<'py, PyAny>)) -> PyResult<()> {
    match range.form() {
        Form::Bytes => range.try_each(|content| bytes(py, content).map(&mut put)),
        Form::Ascii => range.try_each(|content| ascii(py, content).map(&mut put)),
        Form::Utf8 => range.try_each(|content| PyString::from_bytes(py, content).map(|text| put(text.into_any()))),
    }
}

/// What has been received, as an object.
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

/// A list of what has been received.
#[allow(unsafe_code)]
pub(crate) fn list(py: Python<'_>, batch: Batch<Item, FrameRange>) -> PyResult<Bound<'_, PyList>> {
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
        for received in batch.into_parts() {
            match received {
                Received::Item(item) => put(item.into_bound(py)),
                Received::Bale(range) => make(py, &range, &mut put)?,
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
