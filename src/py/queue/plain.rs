//! Comparisons of items that the interpreter makes itself, without running Python code.
//!
//! # Algorithm
//! Two integers, two floats or two strings, each of exactly that class, are compared by the class's own function. Two tuples are compared by the
//! first elements that differ, as Python does it; the elements after these may be anything, so a `(priority, number, task)` is plain as
//! long as its numbers differ.
//!
//! Such a comparison cannot fail, allocates no object that the garbage collector knows, does not release the GIL and waits for no lock. So it
//! may be made inside a queue's section.
#![allow(unsafe_code)] // the comparison functions of the interpreter's own classes

use std::ffi::c_int;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyString, PyTuple};

/// `left < right`. `None` if only Python code, or an error, can say so.
#[inline]
pub(in crate::queue) fn less(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> Option<bool> {
    let (Ok(left_parts), Ok(right_parts)) = (left.cast_exact::<PyTuple>(), right.cast_exact::<PyTuple>()) else {
        return compare(left, right, ffi::Py_LT);
    };
    for (left, right) in left_parts.iter_borrowed().zip(right_parts.iter_borrowed()) {
        if left.is(right) {
            continue; // identity is enough for Python to take elements for equal, even a NaN
        }
        if !compare(&left, &right, ffi::Py_EQ)? {
            return compare(&left, &right, ffi::Py_LT);
        }
    }
    Some(left_parts.len() < right_parts.len())
}

/// Compares two objects of the same class by the class's own function.
#[inline]
fn compare(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>, how: c_int) -> Option<bool> {
    let class = left.get_type_ptr();
    let is_plain =
        left.is_exact_instance_of::<PyInt>() || left.is_exact_instance_of::<PyFloat>() || left.is_exact_instance_of::<PyString>();
    if !is_plain || !ptr::eq(class, right.get_type_ptr()) {
        return None;
    }
    // SAFETY: attached; two valid objects of one of these three classes, whose function takes them and returns one of two immortal objects
    // or, if it cannot compare them, another one, or null with an error set. `PyObject_RichCompare` is not called, because it may raise RecursionError.
    unsafe {
        let function = (*class).tp_richcompare?;
        let answer = function(left.as_ptr(), right.as_ptr(), how);
        let result = if answer == ffi::Py_True() {
            Some(true)
        } else if answer == ffi::Py_False() {
            Some(false)
        } else {
            if answer.is_null() {
                ffi::PyErr_Clear(); // a MemoryError: the general comparison comes to it again, or does not
            }
            None
        };
        ffi::Py_XDECREF(answer);
        result
    }
}
