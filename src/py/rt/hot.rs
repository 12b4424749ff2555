//! Hot methods: raw `METH_FASTCALL | METH_KEYWORDS` descriptors on the PyO3 types, with one generic entry.
//!
//! A PyO3 method costs about three times as much as the operation inside it (see `docs/decisions/0002-raw-descriptors.md`). The entry does
//! what PyO3 would do: it sorts positional and keyword arguments (with the messages of CPython's own errors), turns panics into exceptions,
//! and attaches in PyO3's sense before a reference may be dropped.
//!
//! A method is a type that implements [`Hot`]: its parameters, its docstring, and two forms of the same operation. `rt::hot_methods` makes
//! the type from a syntax like that of a Python function.
//!
//! | the call                                          | what runs                                                               |
//! |---------------------------------------------------|-------------------------------------------------------------------------|
//! | the required arguments, by position               | [`Hot::at_once`] if there is one, or [`Hot::fast`]: inlined into the entry |
//! | the same, and `at_once` declined                  | [`Hot::otherwise`]                                                      |
//! | these and one that is often given, by its name    | [`Hot::often`] if there is one                                          |
//! | further arguments, by position or by their names  | [`Hot::fast`], after the arguments have been sorted                     |
//! | wrong arguments, or one of the last three declined  | [`Hot::general`], attached in PyO3's sense, its panics caught           |
//!
//! `fast` runs as the interpreter called: it declines whatever could raise or drop the last reference to an object, or does it inside
//! [`attached`]. Every operation is possible in both forms.
#![allow(unsafe_code)] // the C calling convention

use std::ffi::{CString, c_int};
use std::hint::assert_unchecked;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::rt::kept::{Interned, Kept};
use pyo3::PyClass;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};
use sluicegate_core::clock::MAX_SECONDS;
use sluicegate_core::wait::Wakes;

use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::exceptions::Exception;
use crate::rt::guarded;
use crate::rt::waker::Waker;

type Raw = *mut ffi::PyObject;

/// The arguments of a call in the order of the parameters; `None` for a parameter that has its default.
pub(crate) type Arguments<'a, 'py, const N: usize> = [Option<Borrowed<'a, 'py, PyAny>>; N];

/// A method of `N` parameters beside `self`. See the head of this file.
pub(crate) trait Hot<const N: usize> {
    type Class: PyClass<Frozen = True> + Sync;

    /// The class name in error messages.
    const CLASS: &'static str;
    const NAME: &'static str;
    /// The signature in CPython's notation, and the docstring; each of its lines may begin with a space.
    const DOC: &'static str;
    /// The number of parameters without a default.
    const REQUIRED: usize;
    /// The number of parameters that may be given by position. The rest are keyword-only, and have defaults.
    const POSITIONAL: usize;
    /// True if `fast` might panic, so that it is called inside `catch_unwind`. Otherwise a panic in it aborts the process.
    const GUARDED: bool = false;

    /// The index of the parameter for which there is [`Hot::often`]. `N` or more: for none.
    const OFTEN: usize = usize::MAX;

    /// True if there are [`Hot::at_once`] and [`Hot::otherwise`].
    const AT_ONCE: bool;

    fn parameters() -> [&'static Parameter; N];

    /// The commonest case of a call with the required arguments alone, where each instruction counts. `None`: nothing has happened. It
    /// should be `#[inline(always)]` and call no function: then the entry needs no stack, and jumps away in all other cases.
    fn at_once<'py>(this: Borrowed<'_, 'py, Self::Class>, arguments: Arguments<'_, 'py, N>) -> Option<Py<PyAny>>;

    /// The fast form of a call that `at_once` has declined.
    fn otherwise<'py>(this: Borrowed<'_, 'py, Self::Class>, arguments: Arguments<'_, 'py, N>) -> Fast;

    /// The fast form of a call with the required arguments, by position, and one further argument by its name, with which most calls come.
    fn often<'py>(this: Borrowed<'_, 'py, Self::Class>, arguments: Arguments<'_, 'py, N>) -> Fast;

    /// The fast form. It should be `#[inline(always)]`, with rare cases outlined.
    fn fast<'py>(this: Borrowed<'_, 'py, Self::Class>, arguments: Arguments<'_, 'py, N>) -> Fast;

    /// The same operation in the general form.
    fn general<'py>(this: &Bound<'py, Self::Class>, arguments: Arguments<'_, 'py, N>) -> PyResult<Py<PyAny>>;
}

/// A method that accepts any arguments, as `(self, *args, **kwargs)` does in Python.
pub(crate) trait HotOpen {
    type Class: PyClass<Frozen = True> + Sync;

    const NAME: &'static str;
    const DOC: &'static str;

    fn fast<'py>(this: Borrowed<'_, 'py, Self::Class>, given: Given<'py>) -> Fast;

    fn general<'py>(
        this: &Bound<'py, Self::Class>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>>;
}

/// The arguments of a [`HotOpen`].
#[derive(Clone, Copy)]
pub(crate) struct Given<'py> {
    call: Call,
    py: Python<'py>,
}

impl<'py> Given<'py> {
    /// The number of positional arguments.
    pub(crate) fn by_position(&self) -> usize {
        self.call.nargs
    }

    /// The keyword arguments.
    pub(crate) fn by_name<'a>(&self) -> impl Iterator<Item = (Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>)> {
        self.call.keywords(self.py)
    }
}

/// The result of a fast form.
pub(crate) enum Fast {
    Done(Py<PyAny>),
    /// An exception is set.
    Raised,
    /// Nothing has happened: the general form is called.
    Declined,
}

impl Fast {
    /// For the attempt of a coroutine: a declined call returns the marker that the coroutine has to wait.
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
    /// Interned by the interpreter: a caller's keyword is this very object, unless it was created at run time.
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
        if H::OFTEN < N && call.has_one_keyword(H::REQUIRED, H::parameters()[H::OFTEN]) {
            return enter_often::<H, N>(this, args, nargs, kwnames);
        }
        return enter_sorting::<H, N>(this, args, nargs, kwnames);
    }
    // SAFETY: the interpreter calls methods attached.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the descriptor has checked the type of `this`, and that many arguments were passed.
    let (instance, arguments) = unsafe { (call.instance(py), call.required::<N>(py, H::REQUIRED)) };
    if H::AT_ONCE {
        return match H::at_once(instance, arguments) {
            Some(object) => object.into_ptr(),
            None => enter_otherwise::<H, N>(this, args, nargs, kwnames),
        };
    }
    H::fast(instance, arguments).into_raw().unwrap_or_else(|| enter_general::<H, N>(this, args, nargs, kwnames))
}

/// The entry for calls that `at_once` has declined.
///
/// It and the other entries have the signature of the first, and do not unwind: then the first jumps to them, and needs no stack itself.
#[inline(never)]
extern "C" fn enter_otherwise<H: Hot<N>, const N: usize>(
    this: Raw,
    args: *const Raw,
    nargs: ffi::Py_ssize_t,
    kwnames: Raw,
) -> Raw {
    let call = Call::new(this, args, nargs, kwnames);
    // SAFETY: the interpreter calls methods attached; the descriptor has checked the type of `this`; `enter` has counted the arguments.
    let fast = unsafe {
        let py = Python::assume_attached();
        H::otherwise(call.instance(py), call.required(py, H::REQUIRED))
    };
    fast.into_raw().unwrap_or_else(|| enter_general::<H, N>(this, args, nargs, kwnames))
}

/// The entry for calls with the required arguments and one keyword that is often given.
#[inline(never)]
extern "C" fn enter_often<H: Hot<N>, const N: usize>(this: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this, args, nargs, kwnames);
    // SAFETY: the interpreter calls methods attached; the descriptor has checked the type of `this`; `enter` has counted the arguments, and
    // the value of the keyword follows them.
    let fast = unsafe {
        let py = Python::assume_attached();
        let mut arguments = call.required(py, H::REQUIRED);
        arguments[H::OFTEN] = Some(call.argument(py, H::REQUIRED));
        H::often(call.instance(py), arguments)
    };
    fast.into_raw().unwrap_or_else(|| enter_general::<H, N>(this, args, nargs, kwnames))
}

/// The entry for calls with optional arguments.
///
/// It receives separate words, not a [`Call`]: a struct would be written to memory and read back (5 ns).
#[inline(never)]
extern "C" fn enter_sorting<H: Hot<N>, const N: usize>(this: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this, args, nargs, kwnames);
    let fast = |py: Python<'_>| {
        let mut arguments = [None; N];
        if !call.sort(py, &mut arguments, H::parameters(), H::POSITIONAL, H::REQUIRED) {
            return None;
        }
        // SAFETY: the descriptor has checked the type of `this`.
        H::fast(unsafe { call.instance(py) }, arguments).into_raw()
    };
    // SAFETY: the interpreter calls methods attached.
    let raw = if H::GUARDED { catching(fast) } else { fast(unsafe { Python::assume_attached() }) };
    raw.unwrap_or_else(|| enter_general::<H, N>(this, args, nargs, kwnames))
}

#[cold]
#[inline(never)]
extern "C" fn enter_general<H: Hot<N>, const N: usize>(this: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this, args, nargs, kwnames);
    let method = |py: Python<'_>| {
        // SAFETY: the descriptor has checked the type of `this`.
        let this = unsafe { call.instance::<H::Class>(py) };
        H::general(&this, call.parsed(py, (H::CLASS, H::NAME), H::parameters(), H::POSITIONAL, H::REQUIRED)?)
    };
    catching(|_| attached(method).into_raw()).unwrap_or(std::ptr::null_mut())
}

unsafe extern "C" fn enter_open<H: HotOpen>(this: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this, args, nargs, kwnames);
    // SAFETY: the descriptor has checked the type of `this`.
    let fast = |py: Python<'_>| H::fast(unsafe { call.instance(py) }, Given { call, py }).into_raw();
    catching(fast).unwrap_or_else(|| enter_open_general::<H>(call))
}

#[cold]
#[inline(never)]
fn enter_open_general<H: HotOpen>(call: Call) -> Raw {
    let method = |py: Python<'_>| {
        // SAFETY: as many arguments were passed.
        let args = PyTuple::new(py, (0..call.nargs).map(|index| unsafe { call.argument(py, index) }))?;
        let mut kwargs = None;
        for (name, value) in call.keywords(py) {
            kwargs.get_or_insert_with(|| PyDict::new(py)).set_item(name, value)?;
        }
        // SAFETY: the descriptor has checked the type of `this`.
        let this = unsafe { call.instance::<H::Class>(py) };
        H::general(&this, &args, kwargs.as_ref())
    };
    catching(|_| attached(method).into_raw()).unwrap_or(std::ptr::null_mut())
}

/// Runs `method` attached in PyO3's sense, so that references may be dropped and errors raised.
#[cold]
#[inline(never)]
pub(crate) fn attached(method: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>>) -> Fast {
    // SAFETY: the interpreter is up (it called us), though it may be finalizing, which `attach` would refuse.
    unsafe {
        Python::attach_unchecked(|py| match method(py) {
            Ok(result) => Fast::Done(result),
            Err(error) => {
                error.restore(py);
                Fast::Raised
            }
        })
    }
}

/// Runs a part of a fast form attached in PyO3's sense, so that references may be dropped.
#[inline]
pub(crate) fn attached_form(method: impl FnOnce(Python<'_>) -> Fast) -> Fast {
    // SAFETY: as in `attached`.
    unsafe { Python::attach_unchecked(method) }
}

/// Raises `class(*args)`, see [`guarded::raise`].
#[inline]
pub(crate) fn raise(class: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>) -> Fast {
    guarded::raise(class, args);
    Fast::Raised
}

/// Raises an exception of this kind.
pub(crate) fn raise_of<'py>(py: Python<'py>, kind: &'static Exception, args: PyResult<Bound<'py, PyTuple>>) -> Fast {
    match (args, kind.at_hand(py)) {
        (Ok(args), Some(class)) => raise(class, &args),
        (args, _) => attached(|py| Err(args.map_or_else(|error| error, |args| kind.with(py, args)))),
    }
}

/// Runs a part of a fast form that is rare and might panic: a panic becomes an exception.
#[inline]
pub(crate) fn apart(rare: impl FnOnce(Python<'_>) -> Fast) -> Fast {
    // SAFETY: the interpreter calls methods attached.
    let py = unsafe { Python::assume_attached() };
    catch_unwind(AssertUnwindSafe(|| rare(py))).unwrap_or_else(|payload| {
        panicked(&*payload);
        Fast::Raised
    })
}

/// Runs a method that may panic: a panic becomes an exception.
#[inline]
fn catching(method: impl FnOnce(Python<'_>) -> Option<Raw>) -> Option<Raw> {
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

/// None, as a result.
#[inline]
pub(crate) fn none(py: Python<'_>) -> Py<PyAny> {
    // SAFETY: attached; None is immortal, so nobody counts its references.
    #[cfg(Py_3_12)]
    return unsafe { Bound::from_owned_ptr(py, ffi::Py_None()).unbind() };
    #[cfg(not(Py_3_12))]
    py.None()
}

pub(crate) fn boolean(py: Python<'_>, value: bool) -> Py<PyAny> {
    PyBool::new(py, value).to_owned().into_any().unbind()
}

/// A new object, as the result of a fast form.
#[inline]
pub(crate) fn created<C: PyClass<Frozen = True> + Into<PyClassInitializer<C>>>(py: Python<'_>, object: C) -> Fast {
    match Py::new(py, object) {
        Ok(object) => Fast::Done(object.into_any()),
        Err(error) => attached(|_| Err(error)),
    }
}

/// True if `timeout` is valid: None, or a number of seconds that can be waited for.
#[inline]
pub(crate) fn is_trivial_timeout(timeout: Option<Borrowed<'_, '_, PyAny>>) -> bool {
    trivial_timeout(timeout).is_some()
}

/// The seconds of a valid `timeout`, infinite for None; `None` if an error has to be reported. The common cases are inlined into the entry.
#[expect(clippy::inline_always, reason = "the point of it")]
#[inline(always)]
pub(crate) fn trivial_timeout(timeout: Option<Borrowed<'_, '_, PyAny>>) -> Option<f64> {
    let Some(timeout) = timeout else { return Some(f64::INFINITY) };
    let Ok(float) = timeout.cast_exact::<PyFloat>() else { return rare_timeout(timeout) };
    Some(float.value()).filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds))
}

/// The same of None and of an int.
#[inline(never)]
fn rare_timeout(timeout: Borrowed<'_, '_, PyAny>) -> Option<f64> {
    if timeout.is_none() {
        return Some(f64::INFINITY);
    }
    if is_zero(timeout) {
        return Some(0.0);
    }
    let seconds = timeout.cast_exact::<PyInt>().ok().and_then(|int| int.extract::<i32>().ok()).map(f64::from);
    seconds.filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds))
}

/// True for the int 0 as it is written in a program: the interpreter has one for all. (To read an int costs a third of what there is left to
/// do for a refusal.)
fn is_zero(timeout: Borrowed<'_, '_, PyAny>) -> bool {
    static ZERO: Kept<PyInt> = Kept::new();
    let py = timeout.py();
    ZERO.get(py).unwrap_or_else(|| ZERO.keep(PyInt::new(py, 0))).is(timeout)
}

/// A valid `timeout`; `None` if an error has to be reported.
#[inline]
pub(crate) fn plain_timeout(timeout: Option<Borrowed<'_, '_, PyAny>>) -> Option<Timeout> {
    trivial_timeout(timeout).map(Timeout::of_valid)
}

/// Whether a call with this `timeout` waits. `None` if an error has to be reported. It is inlined into the entry, so that a call without
/// the argument does no work for it.
#[expect(clippy::inline_always, reason = "the point of it")]
#[inline(always)]
pub(crate) fn may_wait(timeout: Option<Borrowed<'_, '_, PyAny>>) -> Option<bool> {
    match timeout {
        None => Some(true),
        given => trivial_timeout(given).map(|seconds| seconds > 0.0),
    }
}

/// True for a list or tuple with at least one item.
pub(crate) fn is_filled(items: Borrowed<'_, '_, PyAny>) -> bool {
    match items.cast_exact::<PyList>() {
        Ok(list) => !list.is_empty(),
        Err(_) => items.cast_exact::<PyTuple>().is_ok_and(|tuple| !tuple.is_empty()),
    }
}

/// True for an int of at least 1 and of no great size.
pub(crate) fn is_positive(max: Borrowed<'_, '_, PyAny>) -> bool {
    max.cast_exact::<PyInt>().is_ok_and(|max| max.extract::<u32>().is_ok_and(|max| max > 0))
}

/// Fires the wake-ups of a fast form.
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
    aside(|_| wakes.fire());
}

/// Does something rare beside a fast form, attached in PyO3's sense. A panic is reported as an exception that nobody can catch.
#[cold]
#[inline(never)]
pub(crate) fn aside(act: impl FnOnce(Python<'_>)) {
    let outcome = catching(|_| {
        let act = |py: Python<'_>| {
            act(py);
            Ok(py.None())
        };
        attached(act).into_raw()
    });
    // SAFETY: attached; null with an error set (a panic), or a new reference to None.
    unsafe {
        match outcome.filter(|none| !none.is_null()) {
            Some(none) => ffi::Py_DECREF(none),
            None => ffi::PyErr_WriteUnraisable(std::ptr::null_mut()),
        }
    }
}

/// The words of one call, valid during the call: `nargs` positional arguments, then the values of the keywords that `kwnames` lists.
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
        #[expect(clippy::cast_sign_loss, reason = "a count")]
        let nargs = nargs as usize;
        Self { this, args, nargs, kwnames }
    }

    /// # Safety
    /// The interpreter called, for an instance of `C`.
    #[inline]
    unsafe fn instance<'a, 'py, C>(&self, py: Python<'py>) -> Borrowed<'a, 'py, C> {
        // SAFETY: as is asked for; the caller holds its reference for the length of the call, so it is not null, which PyO3 would check.
        unsafe {
            assert_unchecked(!self.this.is_null());
            Borrowed::from_ptr(py, self.this).cast_unchecked::<C>()
        }
    }

    /// # Safety
    /// More arguments than `index` were passed, those by keyword included.
    #[inline]
    unsafe fn argument<'a, 'py>(&self, py: Python<'py>, index: usize) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: as is asked for; arguments are borrowed for the length of the call, and none is null.
        unsafe {
            let argument = *self.args.add(index);
            assert_unchecked(!argument.is_null());
            Borrowed::from_ptr(py, argument)
        }
    }

    /// The first `required` arguments, in their places.
    ///
    /// # Safety
    /// At least that many were passed.
    #[inline]
    unsafe fn required<'a, 'py, const N: usize>(&self, py: Python<'py>, required: usize) -> Arguments<'a, 'py, N> {
        let mut arguments = [None; N];
        for (index, argument) in arguments.iter_mut().enumerate().take(required) {
            // SAFETY: as is asked for.
            *argument = Some(unsafe { self.argument(py, index) });
        }
        arguments
    }

    #[inline]
    fn keyword_count(&self) -> isize {
        // SAFETY: a tuple, as the calling convention has it.
        if self.kwnames.is_null() { 0 } else { unsafe { ffi::PyTuple_GET_SIZE(self.kwnames) } }
    }

    /// True if these are the required arguments, by position, and one by the name of this parameter.
    #[inline]
    fn has_one_keyword(&self, required: usize, parameter: &'static Parameter) -> bool {
        // SAFETY: a tuple with one name.
        self.nargs == required && self.keyword_count() == 1 && parameter.is(unsafe { ffi::PyTuple_GET_ITEM(self.kwnames, 0) })
    }

    /// The names and values of the keyword arguments.
    #[inline]
    fn keywords<'a, 'py>(&self, py: Python<'py>) -> impl Iterator<Item = (Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>)> {
        let Self { kwnames, nargs, .. } = *self;
        let count = self.keyword_count();
        let call = *self;
        (0..count).map(move |index| {
            // SAFETY: the index is below the tuple's length, and there is a value for each name.
            unsafe {
                let name = Borrowed::from_ptr(py, ffi::PyTuple_GET_ITEM(kwnames, index));
                (name, call.argument(py, nargs + index.unsigned_abs()))
            }
        })
    }

    /// Sorts the arguments into `sorted`, where all are `None` before. False unless they are valid and each keyword is an interned string.
    ///
    /// It is a part of each entry: then the names are compared with constants, and a keyword costs a quarter of what it costs in a function.
    #[expect(clippy::inline_always, reason = "see above")]
    #[inline(always)]
    fn sort<'py, const N: usize>(
        &self,
        py: Python<'py>,
        sorted: &mut Arguments<'_, 'py, N>,
        parameters: [&'static Parameter; N],
        positional: usize,
        required: usize,
    ) -> bool {
        if self.nargs == required && self.keyword_count() == 1 {
            // Most calls that come here: what comes after the first test has no loop but over constants.
            // SAFETY: this many arguments were passed.
            *sorted = unsafe { self.required(py, required) };
            // SAFETY: the tuple has one name, and there is a value for it.
            let (name, value) = unsafe { (ffi::PyTuple_GET_ITEM(self.kwnames, 0), self.argument(py, required)) };
            let index = parameters.iter().position(|parameter| parameter.is(name));
            return index.is_some_and(|index| sorted[index].replace(value).is_none());
        }
        if self.nargs > positional {
            return false;
        }
        for (index, argument) in sorted.iter_mut().enumerate().take(self.nargs) {
            // SAFETY: this many arguments were passed.
            *argument = Some(unsafe { self.argument(py, index) });
        }
        for (name, value) in self.keywords(py) {
            let Some(index) = parameters.iter().position(|parameter| parameter.is(name.as_ptr())) else { return false };
            if sorted[index].replace(value).is_some() {
                return false;
            }
        }
        sorted.iter().skip(self.nargs).take(required.saturating_sub(self.nargs)).all(Option::is_some)
    }

    /// The arguments, sorted as for a Python function with these parameters: the first `positional` may be given by position, the first
    /// `required` have no default.
    fn parsed<'a, 'py, const N: usize>(
        &self,
        py: Python<'py>,
        (class, name): (&str, &str),
        parameters: [&'static Parameter; N],
        positional: usize,
        required: usize,
    ) -> PyResult<Arguments<'a, 'py, N>> {
        let error = |text: String| PyTypeError::new_err(format!("{class}.{name}() {text}"));
        let mut arguments = [None; N];
        for (index, argument) in arguments.iter_mut().enumerate().take(self.nargs.min(positional)) {
            // SAFETY: at least this many arguments were passed.
            *argument = Some(unsafe { self.argument(py, index) });
        }
        for (name, value) in self.keywords(py) {
            let name = name.cast::<PyString>()?;
            let at = parameters.iter().position(|parameter| name.to_str().is_ok_and(|name| name == parameter.name));
            match at {
                Some(at) if arguments[at].is_none() => arguments[at] = Some(value),
                Some(_) => return Err(error(format!("got multiple values for argument '{}'", name.to_string_lossy()))),
                None => return Err(error(format!("got an unexpected keyword argument '{}'", name.to_string_lossy()))),
            }
        }
        if self.nargs > positional {
            // Counted as Python does, including self.
            let (least, most, given) = (required + 1, positional + 1, self.nargs + 1);
            let takes = if required == positional { format!("{most}") } else { format!("from {least} to {most}") };
            let s = if most == 1 { "" } else { "s" };
            let by_keyword = match arguments.iter().skip(positional).flatten().count() {
                0 => String::new(),
                1 => " positional arguments (and 1 keyword-only argument)".to_owned(),
                count => format!(" positional arguments (and {count} keyword-only arguments)"),
            };
            return Err(error(format!("takes {takes} positional argument{s} but {given}{by_keyword} were given")));
        }
        match parameters.iter().zip(&arguments).take(required).find(|(_, argument)| argument.is_none()) {
            Some((missing, _)) => Err(error(format!("missing 1 required positional argument: '{}'", missing.name))),
            None => Ok(arguments),
        }
    }
}

/// A method that can be installed on `C` and on classes derived from it.
pub(crate) struct Method<C> {
    name: &'static str,
    doc: &'static str,
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

pub(crate) const fn open_method<H: HotOpen>() -> Method<H::Class> {
    Method { name: H::NAME, doc: H::DOC, function: enter_open::<H>, intern: |_| {}, class: PhantomData }
}

/// Installs methods on `class`, which is `C` or derived from it. (The interpreter's fast path for method calls requires the exact class
/// that the descriptor names, so each class that has to be fast has descriptors of its own.)
pub(crate) fn install<C: PyClass>(class: &Bound<'_, PyType>, methods: &[Method<C>]) -> PyResult<()> {
    let py = class.py();
    assert!(class.is_subclass_of::<C>()?, "the methods are for another class");
    for method in methods {
        (method.intern)(py);
        // The interpreter keeps pointers to the definition and its texts as long as it lives.
        let text = |text: &str| CString::new(text).map(CString::into_raw);
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: text(method.name)?,
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: method.function },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS as c_int,
            ml_doc: text(method.doc.replace("\n ", "\n").trim_end())?,
        }));
        // SAFETY: the type is alive, the definition lives for ever and says what the function is.
        let descriptor = unsafe {
            let raw = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
            Bound::from_owned_ptr_or_err(py, raw)?
        };
        class.setattr(method.name, descriptor)?;
    }
    Ok(())
}
