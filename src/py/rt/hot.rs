//! Hot methods: raw `METH_FASTCALL | METH_KEYWORDS` descriptors on the PyO3 types, all of them with one generic entry.
//!
//! A PyO3 method costs about three times the operation inside it (see `docs/decisions/0002-raw-descriptors.md`). The entry does by hand what
//! PyO3 does otherwise: it sorts positional and keyword arguments (with the texts of CPython's own errors), turns panics into exceptions, and
//! attaches in PyO3's sense before anything may drop a reference.
//!
//! A method is a type that implements [`Hot`]: its parameters, its docstring, and two forms of the same operation.
//!
//! | the call                                          | what runs                                                               |
//! |---------------------------------------------------|-------------------------------------------------------------------------|
//! | the required arguments, by position               | [`Hot::plainly`], inlined into the entry                                |
//! | further arguments, by position or by their names  | the same, after the arguments have been sorted                          |
//! | wrong arguments, or `plainly` declined            | [`Hot::in_general`], attached in PyO3's sense, its panics caught        |
//!
//! `plainly` runs as the interpreter called: it declines whatever could raise or drop the last reference to an object, or does that by
//! [`attached`]. There is nothing that only one of the two forms can do.
#![allow(unsafe_code)] // the C calling convention

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::rt::kept::Interned;
use pyo3::PyClass;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyFloat, PyInt, PyString, PyTuple, PyType};
use sluicegate_core::clock::MAX_SECONDS;
use sluicegate_core::wait::Wakes;

use crate::rt::aio;
use crate::rt::waker::Waker;

type Raw = *mut ffi::PyObject;

/// The arguments of a call in the order of the parameters; `None` where the default holds.
pub(crate) type Arguments<'a, 'py, const N: usize> = [Option<Borrowed<'a, 'py, PyAny>>; N];

/// A method of `N` parameters beside `self`. See the head of this file.
pub(crate) trait Hot<const N: usize> {
    type Class: PyClass<Frozen = True> + Sync;

    /// The class in error messages.
    const CLASS: &'static str;
    const NAME: &'static CStr;
    /// The signature, as CPython reads it, and the docstring.
    const DOC: &'static CStr;
    /// So many of the parameters have no default.
    const REQUIRED: usize;
    /// `plainly` might panic, so a guard stands around it. Without one a panic in it ends the process.
    const GUARDED: bool = false;

    fn parameters() -> [&'static Parameter; N];

    /// The fast form. To be `#[inline(always)]`, with what is rare outlined.
    fn plainly<'py>(this: Borrowed<'_, 'py, Self::Class>, arguments: Arguments<'_, 'py, N>) -> Plain;

    /// The same operation in the general form.
    fn in_general<'py>(this: &Bound<'py, Self::Class>, arguments: Arguments<'_, 'py, N>) -> PyResult<Py<PyAny>>;
}

/// What the fast form came to.
pub(crate) enum Plain {
    Done(Py<PyAny>),
    /// An exception is set.
    Raised,
    /// Nothing has happened: the general form is asked.
    Declined,
}

impl Plain {
    /// For a coroutine's attempt: what was declined is the mark that it has to go the long way.
    #[inline]
    pub(crate) fn or_wait(self, py: Python<'_>) -> Self {
        match self {
            Self::Declined => Self::Done(aio::wait_marker(py)),
            done => done,
        }
    }

    #[inline]
    fn into_raw(self) -> Option<Raw> {
        match self {
            Self::Done(object) => Some(object.into_ptr()),
            Self::Raised => Some(std::ptr::null_mut()),
            Self::Declined => None,
        }
    }
}

/// The name of a parameter.
pub(crate) struct Parameter {
    name: &'static str,
    /// As the interpreter interns it: a caller's keyword is this very object, unless it was made at run time.
    interned: Interned,
}

impl Parameter {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, interned: Interned::new(name) }
    }

    #[inline]
    fn is(&self, keyword: Raw) -> bool {
        self.interned.is(keyword)
    }
}

unsafe extern "C" fn enter<H: Hot<N>, const N: usize>(this: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this, args, nargs, kwnames);
    if H::GUARDED || call.nargs != H::REQUIRED || !kwnames.is_null() {
        return enter_sorting::<H, N>(this, args, nargs, kwnames);
    }
    // SAFETY: the interpreter calls methods attached.
    let py = unsafe { Python::assume_attached() };
    let mut arguments = [None; N];
    for (index, argument) in arguments.iter_mut().enumerate().take(H::REQUIRED) {
        // SAFETY: so many arguments were passed.
        *argument = Some(unsafe { call.argument(py, index) });
    }
    // SAFETY: the descriptor has checked the type of `this`.
    let plain = H::plainly(unsafe { call.instance(py) }, arguments);
    plain.into_raw().unwrap_or_else(|| enter_in_general::<H, N>(this, args, nargs, kwnames))
}

/// The entry for calls with optional arguments.
///
/// It is given words and no [`Call`]: a struct is written to memory and read from there before its words have arrived (5 ns).
#[inline(never)]
fn enter_sorting<H: Hot<N>, const N: usize>(this: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this, args, nargs, kwnames);
    let plainly = |py: Python<'_>| {
        let arguments = call.sorted(py, H::parameters(), H::REQUIRED)?;
        // SAFETY: the descriptor has checked the type of `this`.
        H::plainly(unsafe { call.instance(py) }, arguments).into_raw()
    };
    // SAFETY: the interpreter calls methods attached.
    let raw = if H::GUARDED { guarded(plainly) } else { plainly(unsafe { Python::assume_attached() }) };
    raw.unwrap_or_else(|| enter_in_general::<H, N>(this, args, nargs, kwnames))
}

#[cold]
#[inline(never)]
fn enter_in_general<H: Hot<N>, const N: usize>(this: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this, args, nargs, kwnames);
    let method = |py: Python<'_>| {
        // SAFETY: the descriptor has checked the type of `this`.
        let this = unsafe { call.instance::<H::Class>(py) };
        H::in_general(&this, call.parsed(py, (H::CLASS, H::NAME), H::parameters(), H::REQUIRED)?)
    };
    guarded(|_| attached(method).into_raw()).unwrap_or(std::ptr::null_mut())
}

/// Runs `method` attached as PyO3 understands it, so that references may be dropped and errors raised.
#[cold]
#[inline(never)]
pub(crate) fn attached(method: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>>) -> Plain {
    // SAFETY: the interpreter is up (it called us), though it may be finalizing, which `attach` would refuse.
    unsafe {
        Python::attach_unchecked(|py| match method(py) {
            Ok(result) => Plain::Done(result),
            Err(error) => {
                error.restore(py);
                Plain::Raised
            }
        })
    }
}

/// Raises `class(*args)`. The arguments are shared with other exceptions: nobody sees the difference, and nothing is made but the exception.
#[inline]
pub(crate) fn raise(class: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>) -> Plain {
    // SAFETY: attached; a class of exceptions and its arguments. (Its own `__init__` there is none, so no Python runs.)
    unsafe { ffi::PyErr_SetObject(class.as_ptr(), args.as_ptr()) };
    Plain::Raised
}

/// Runs what may panic: a panic becomes an exception.
#[inline]
fn guarded(method: impl FnOnce(Python<'_>) -> Option<Raw>) -> Option<Raw> {
    // SAFETY: the interpreter calls methods attached.
    let py = unsafe { Python::assume_attached() };
    catch_unwind(AssertUnwindSafe(|| method(py))).unwrap_or_else(|payload| panicked(&*payload))
}

#[cold]
#[inline(never)]
fn panicked(payload: &(dyn std::any::Any + Send)) -> Option<Raw> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panic from Rust code");
    attached(|_| Err(PanicException::new_err(text.to_owned()))).into_raw()
}

/// Is there nothing to report about a `timeout`? (None, or a number of seconds that can be waited for.)
#[inline]
pub(crate) fn is_trivial_timeout(timeout: Option<Borrowed<'_, '_, PyAny>>) -> bool {
    trivial_timeout(timeout).is_some()
}

/// The seconds of a `timeout` about which there is nothing to report; infinite for None.
#[inline]
pub(crate) fn trivial_timeout(timeout: Option<Borrowed<'_, '_, PyAny>>) -> Option<f64> {
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else { return Some(f64::INFINITY) };
    let seconds = match timeout.cast_exact::<PyFloat>() {
        Ok(float) => Some(float.value()),
        Err(_) => timeout.cast_exact::<PyInt>().ok().and_then(|int| int.extract::<i32>().ok()).map(f64::from),
    };
    seconds.filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds))
}

/// Delivers the wake-ups of a fast form.
#[inline]
pub(crate) fn deliver(wakes: Wakes<Waker>) {
    if wakes.is_empty() {
        std::mem::forget(wakes);
    } else {
        fire(wakes);
    }
}

#[cold]
#[inline(never)]
fn fire(wakes: Wakes<Waker>) {
    let outcome = guarded(|_| {
        let fire = |py: Python<'_>| {
            wakes.fire();
            Ok(py.None())
        };
        attached(fire).into_raw()
    });
    // SAFETY: attached; null with an error set (a panic), or a new reference to None.
    unsafe {
        match outcome.filter(|none| !none.is_null()) {
            Some(none) => ffi::Py_DECREF(none),
            None => ffi::PyErr_WriteUnraisable(std::ptr::null_mut()),
        }
    }
}

/// The words of one call, valid while it lasts: `nargs` positional arguments, then the values of the keywords that `kwnames` lists.
#[derive(Clone, Copy)]
struct Call {
    this: Raw,
    args: *const Raw,
    nargs: usize,
    kwnames: Raw,
}

impl Call {
    #[inline]
    fn new(this: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Self {
        Self { this, args, nargs: nargs.unsigned_abs(), kwnames }
    }

    /// # Safety
    /// The interpreter called, for an instance of `C`.
    #[inline]
    unsafe fn instance<'a, 'py, C>(&self, py: Python<'py>) -> Borrowed<'a, 'py, C> {
        // SAFETY: as is asked for; the caller holds its reference for the length of the call.
        unsafe { Borrowed::from_ptr(py, self.this).cast_unchecked::<C>() }
    }

    /// # Safety
    /// So many arguments were passed, those by keyword counted.
    #[inline]
    unsafe fn argument<'a, 'py>(&self, py: Python<'py>, index: usize) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: as is asked for; arguments are borrowed for the length of the call.
        unsafe { Borrowed::from_ptr(py, *self.args.add(index)) }
    }

    /// The positional arguments, at most `N`.
    #[inline]
    fn positional<'a, 'py, const N: usize>(&self, py: Python<'py>) -> Arguments<'a, 'py, N> {
        let mut arguments = [None; N];
        for (index, argument) in arguments.iter_mut().enumerate().take(self.nargs) {
            // SAFETY: so many arguments were passed.
            *argument = Some(unsafe { self.argument(py, index) });
        }
        arguments
    }

    /// The names of the keywords, and their values.
    #[inline]
    fn keywords<'a, 'py>(&self, py: Python<'py>) -> impl Iterator<Item = (Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>)> {
        let Self { kwnames, nargs, .. } = *self;
        // SAFETY: a tuple, as the calling convention has it.
        let count = if kwnames.is_null() { 0 } else { unsafe { ffi::PyTuple_GET_SIZE(kwnames) } };
        let call = *self;
        (0..count).map(move |index| {
            // SAFETY: so long is the tuple, and there is a value for each of its names.
            unsafe {
                let name = Borrowed::from_ptr(py, ffi::PyTuple_GET_ITEM(kwnames, index));
                (name, call.argument(py, nargs + index.unsigned_abs()))
            }
        })
    }

    /// The arguments, if there is nothing to report about them and each keyword is spelled as the interpreter spells it.
    #[inline]
    fn sorted<'a, 'py, const N: usize>(
        &self,
        py: Python<'py>,
        parameters: [&'static Parameter; N],
        required: usize,
    ) -> Option<Arguments<'a, 'py, N>> {
        if self.nargs > N {
            return None;
        }
        let mut arguments = self.positional(py);
        for (name, value) in self.keywords(py) {
            let index = parameters.iter().position(|parameter| parameter.is(name.as_ptr()))?;
            if arguments[index].replace(value).is_some() {
                return None;
            }
        }
        arguments.iter().take(required).all(Option::is_some).then_some(arguments)
    }

    /// The arguments, as a Python function of these parameters would take them; the first `required` have no default.
    fn parsed<'a, 'py, const N: usize>(
        &self,
        py: Python<'py>,
        (class, name): (&str, &CStr),
        parameters: [&'static Parameter; N],
        required: usize,
    ) -> PyResult<Arguments<'a, 'py, N>> {
        let error = |text: String| PyTypeError::new_err(format!("{class}.{}() {text}", name.to_string_lossy()));
        if self.nargs > N {
            // Counted as Python does, with self.
            let (least, most, given) = (required + 1, N + 1, self.nargs + 1);
            let takes = if least == most { format!("{most}") } else { format!("from {least} to {most}") };
            let s = if most == 1 { "" } else { "s" };
            return Err(error(format!("takes {takes} positional argument{s} but {given} were given")));
        }
        let mut arguments = self.positional(py);
        for (name, value) in self.keywords(py) {
            let name = name.cast::<PyString>()?;
            let at = parameters.iter().position(|parameter| name.to_str().is_ok_and(|name| name == parameter.name));
            match at {
                Some(at) if arguments[at].is_none() => arguments[at] = Some(value),
                Some(_) => return Err(error(format!("got multiple values for argument '{}'", name.to_string_lossy()))),
                None => return Err(error(format!("got an unexpected keyword argument '{}'", name.to_string_lossy()))),
            }
        }
        match parameters.iter().zip(&arguments).take(required).find(|(_, argument)| argument.is_none()) {
            Some((missing, _)) => Err(error(format!("missing 1 required positional argument: '{}'", missing.name))),
            None => Ok(arguments),
        }
    }
}

/// A method that can be installed on `C` and on what is derived from it.
pub(crate) struct Method<C> {
    name: &'static CStr,
    doc: &'static CStr,
    function: unsafe extern "C" fn(Raw, *const Raw, ffi::Py_ssize_t, Raw) -> Raw,
    /// Interns the names of the parameters.
    intern: fn(Python<'_>),
    class: PhantomData<fn() -> C>,
}

pub(crate) const fn method<H: Hot<N>, const N: usize>() -> Method<H::Class> {
    let intern = |py: Python<'_>| {
        for parameter in H::parameters() {
            parameter.interned.get(py);
        }
    };
    Method { name: H::NAME, doc: H::DOC, function: enter::<H, N>, intern, class: PhantomData }
}

/// Installs methods on `class`, which is `C` or derived from it. (The interpreter's own shortcut for calling a method asks for the exact
/// class that the descriptor names, so a class that is to be fast has descriptors of its own.)
pub(crate) fn install<C: PyClass>(class: &Bound<'_, PyType>, methods: &[Method<C>]) -> PyResult<()> {
    let py = class.py();
    assert!(class.is_subclass_of::<C>()?, "the methods are for another class");
    for method in methods {
        (method.intern)(py);
        // The interpreter keeps a pointer to the definition for as long as it lives.
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: method.name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: method.function },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS as c_int,
            ml_doc: method.doc.as_ptr(),
        }));
        // SAFETY: the type is alive, the definition lives for ever and says what the function is.
        let descriptor = unsafe {
            let raw = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
            Bound::from_owned_ptr_or_err(py, raw)?
        };
        class.setattr(method.name.to_string_lossy(), descriptor)?;
    }
    Ok(())
}
