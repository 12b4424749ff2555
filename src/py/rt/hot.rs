//! One call from the interpreter: its arguments, and the two ways to go on with it, plainly or in general.
#![allow(unsafe_code)] // the C calling convention

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::PyClass;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use sluicegate_core::wait::Wakes;

use crate::rt::waker::Waker;

pub(crate) type Raw = *mut ffi::PyObject;
pub(crate) type Method = unsafe extern "C" fn(Raw, *const Raw, ffi::Py_ssize_t, Raw) -> Raw;

/// The arguments of one call.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) this: Raw,
    pub(crate) args: *const Raw,
    pub(crate) nargs: usize,
    pub(crate) kwnames: Raw,
}

impl Call {
    pub(crate) fn new(this: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Self {
        Self { this, args, nargs: nargs.unsigned_abs(), kwnames }
    }

    pub(crate) fn is_plain(self, nargs: usize) -> bool {
        self.nargs == nargs && self.kwnames.is_null()
    }

    /// # Safety
    /// The interpreter called, for an instance of `C`, which lives as long as the call.
    pub(crate) unsafe fn instance<'a, C>(self, py: Python<'_>) -> &'a C
    where
        C: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync,
    {
        // SAFETY: as is asked for.
        unsafe { instance(py, self.this) }
    }
}

/// # Safety
/// As for [`Call::instance`].
#[inline]
pub(crate) unsafe fn instance<'a, C>(py: Python<'_>, this: Raw) -> &'a C
where
    C: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync,
{
    // SAFETY: the descriptor has checked the type; a frozen class is only ever borrowed shared.
    unsafe { Borrowed::from_ptr(py, this).cast_unchecked::<C>() }.get()
}

/// Runs a method: a panic becomes an exception.
#[inline]
pub(crate) fn guarded(method: impl FnOnce(Python<'_>) -> Raw) -> Raw {
    // SAFETY: the interpreter calls methods attached.
    let py = unsafe { Python::assume_attached() };
    match catch_unwind(AssertUnwindSafe(|| method(py))) {
        Ok(result) => result,
        Err(payload) => panicked(&*payload),
    }
}

#[cold]
#[inline(never)]
fn panicked(payload: &(dyn std::any::Any + Send)) -> Raw {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panic from Rust code");
    general(|py| -> PyResult<Py<PyAny>> {
        let _ = py;
        Err(PanicException::new_err(text.to_owned()))
    })
}

/// The general form: attached in PyO3's sense, so that references may be dropped and errors raised.
#[cold]
#[inline(never)]
pub(crate) fn general(method: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>>) -> Raw {
    // SAFETY: the interpreter is up (it called us), though it may be finalizing, which `attach` would refuse.
    unsafe {
        Python::attach_unchecked(|py| match method(py) {
            Ok(result) => result.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        })
    }
}

/// Parses positional and keyword arguments as a Python function of these parameters would; the first `required` have no default.
pub(crate) fn parse<'a, 'py, const N: usize>(
    py: Python<'py>,
    call: Call,
    function: (&str, &str),
    parameters: [&str; N],
    required: usize,
) -> PyResult<[Option<Borrowed<'a, 'py, PyAny>>; N]> {
    let function = || format!("{}.{}()", function.0, function.1);
    let mut values = [None; N];
    if call.nargs > N {
        // Counted as Python does, with self.
        let (least, most, given) = (required + 1, N + 1, call.nargs + 1);
        let takes = if least == most { format!("{most}") } else { format!("from {least} to {most}") };
        let s = if most == 1 { "" } else { "s" };
        let function = function();
        return Err(PyTypeError::new_err(format!("{function} takes {takes} positional argument{s} but {given} were given")));
    }
    for (index, value) in values.iter_mut().enumerate().take(call.nargs) {
        // SAFETY: the interpreter passes `nargs` arguments, borrowed for the call.
        *value = Some(unsafe { Borrowed::from_ptr(py, *call.args.add(index)) });
    }
    if !call.kwnames.is_null() {
        // SAFETY: a tuple of strings, as the calling convention has it.
        let names = unsafe { Borrowed::from_ptr(py, call.kwnames).cast_unchecked::<PyTuple>() };
        for (index, name) in names.iter().enumerate() {
            // SAFETY: keyword values follow the positional ones, in the order of their names.
            let value = unsafe { Borrowed::from_ptr(py, *call.args.add(call.nargs + index)) };
            let name = name.cast::<PyString>()?;
            let at = parameters.iter().position(|parameter| is_spelled(name, parameter));
            match at {
                Some(at) if values[at].is_none() => values[at] = Some(value),
                _ => {
                    let wrong =
                        if at.is_some() { "got multiple values for argument" } else { "got an unexpected keyword argument" };
                    return Err(PyTypeError::new_err(format!("{} {wrong} '{}'", function(), name.to_string_lossy())));
                }
            }
        }
    }
    if let Some(missing) = (0..required).find(|&index| values[index].is_none()) {
        let missing = parameters[missing];
        let function = function();
        return Err(PyTypeError::new_err(format!("{function} missing 1 required positional argument: '{missing}'")));
    }
    Ok(values)
}

/// Compares without making a Rust string.
fn is_spelled(name: &Bound<'_, PyString>, text: &str) -> bool {
    name.to_str().is_ok_and(|name| name == text)
}

/// # Safety
/// As [`Call::instance`].
pub(crate) unsafe fn this<'a, 'py>(py: Python<'py>, this: &'a Raw) -> &'a Bound<'py, PyAny> {
    // SAFETY: a borrowed reference that the caller holds for the length of the call.
    unsafe { Bound::ref_from_ptr(py, this) }
}

/// Delivers wake-ups, attached as PyO3 understands it.
#[cold]
#[inline(never)]
pub(crate) fn fire(wakes: Wakes<Waker>) {
    let outcome = guarded(|_| {
        general(|py| {
            wakes.fire();
            Ok(py.None())
        })
    });
    // SAFETY: attached; null with an error set (a panic), or a new reference.
    unsafe { if outcome.is_null() { ffi::PyErr_WriteUnraisable(std::ptr::null_mut()) } else { ffi::Py_DECREF(outcome) } }
}

pub(crate) fn install_on<C: PyClass>(py: Python<'_>, methods: &[(&'static CStr, Method, &'static CStr)]) -> PyResult<()> {
    let class: Bound<'_, PyType> = py.get_type::<C>();
    for &(name, method, doc) in methods {
        // The interpreter keeps a pointer to the definition for as long as it lives.
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: method },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS as c_int,
            ml_doc: doc.as_ptr(),
        }));
        // SAFETY: the type is alive, the definition lives for ever and says what the function is.
        let descriptor = unsafe {
            let raw = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
            Bound::from_owned_ptr_or_err(py, raw)?
        };
        class.setattr(name.to_string_lossy(), descriptor)?;
    }
    Ok(())
}
