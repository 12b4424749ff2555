//! Calls that run Python code, or wait to run it, and are safe while the interpreter exits.
//!
//! While it exits, CPython before 3.13.8 ends a daemon thread that attaches by `pthread_exit`, which unwinds the stack. A foreign unwind
//! through Rust frames would abort the process. Later versions make such a thread hang, and here the same happens on all versions: the
//! calls below are declared as able to unwind, and a guard around each call stops the thread for ever, detached, before the unwind
//! reaches another Rust frame.
//!
//! Every call that may release the interpreter for long is made here: waits, hooks, comparisons, iterators, event loops.
#![allow(unsafe_code)] // the C API

use std::hint::black_box;

use pyo3::exceptions::PyLookupError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyString, PyTuple, PyType};

use crate::rt::kept::Kept;

unsafe extern "C-unwind" {
    fn PyEval_SaveThread() -> *mut ffi::PyThreadState;
    fn PyEval_RestoreThread(state: *mut ffi::PyThreadState);
    fn PyGILState_Ensure() -> ffi::PyGILState_STATE;
    fn PyObject_Call(callable: *mut ffi::PyObject, args: *mut ffi::PyObject, kwargs: *mut ffi::PyObject) -> *mut ffi::PyObject;
    fn PyObject_VectorcallDict(
        callable: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwargs: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
    fn PyObject_VectorcallMethod(
        name: *mut ffi::PyObject,
        args: *const *mut ffi::PyObject,
        nargsf: usize,
        kwnames: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
    fn PyObject_RichCompareBool(
        left: *mut ffi::PyObject,
        right: *mut ffi::PyObject,
        operation: std::ffi::c_int,
    ) -> std::ffi::c_int;
    fn _PyType_Lookup(class: *mut ffi::PyTypeObject, name: *mut ffi::PyObject) -> *mut ffi::PyObject;
    fn PyIter_Next(iterator: *mut ffi::PyObject) -> *mut ffi::PyObject;
    fn PyImport_Import(name: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// Stops the thread if it is being unwound. Nothing that may panic belongs between its creation and its end.
struct StopHere;

impl Drop for StopHere {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// Makes one C call that may not return, because the interpreter exits.
///
/// The function is called through a pointer that is opaque to the optimizer: PyO3 declares the same functions as never unwinding, and if the
/// declarations were merged at link time, the guard could be removed.
macro_rules! perhaps_the_last {
    ($function:ident($($argument:expr),*)) => {{
        let function = black_box($function as unsafe extern "C-unwind" fn($(perhaps_the_last!(@type_of $argument)),*) -> _);
        let guard = StopHere;
        let result = function($($argument),*);
        std::mem::forget(guard);
        result
    }};
    (@type_of $argument:expr) => { _ };
}

/// Raises `class(*args)`: afterwards an exception is set. The tuple of arguments may be shared with other exceptions, which is invisible,
/// so that only the exception is created. The exception that is being handled becomes its context.
///
/// The instance is made by `__new__` alone, which stores the arguments; `__init__` of an exception would only store them again.
pub(crate) fn raise(class: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>) {
    // SAFETY: attached; a class of exceptions, which is alive, and its arguments. (The package's classes have no `__new__` of their own, so
    // Python code runs only if a program has given them one.) `tp_new` returns a new reference, or null with an error set.
    unsafe {
        let Some(new) = (*class.as_type_ptr()).tp_new else { return ffi::PyErr_SetObject(class.as_ptr(), args.as_ptr()) };
        let error = new(class.as_type_ptr(), args.as_ptr(), std::ptr::null_mut());
        if !error.is_null() {
            set_new(class, error);
        }
    }
}

/// Sets a new exception, and takes over the reference to it.
///
/// # Safety
/// Attached, with a reference that the caller owns to an object that has no traceback if it is exactly of this class of exceptions.
#[inline]
unsafe fn set_new(class: &Bound<'_, PyType>, error: *mut ffi::PyObject) {
    // SAFETY: attached, and `error` is owned. `PyErr_GetHandledException` returns a new reference or null. What is set as it is, is an
    // exception, because it is of the class.
    unsafe {
        // Without an exception that is being handled there is no context to be set. `PyErr_SetObject` would find that out too, with some 170
        // instructions more.
        #[cfg(Py_3_11)]
        if ffi::Py_TYPE(error) == class.as_type_ptr() {
            let handled = ffi::PyErr_GetHandledException();
            if handled.is_null() {
                #[cfg(Py_3_12)]
                ffi::PyErr_SetRaisedException(error);
                #[cfg(not(Py_3_12))]
                {
                    ffi::Py_INCREF(class.as_ptr());
                    ffi::PyErr_Restore(class.as_ptr(), error, std::ptr::null_mut());
                }
                return;
            }
            ffi::Py_DECREF(handled);
        }
        ffi::PyErr_SetObject(class.as_ptr(), error);
        ffi::Py_DECREF(error);
    }
}

/// True if the object's class, or the first of its bases that has an attribute of this name, has this one. No Python code runs.
pub(crate) fn finds_in_class(object: &Bound<'_, PyAny>, name: &Bound<'_, PyString>, attribute: &Bound<'_, PyAny>) -> bool {
    // SAFETY: valid objects; the result is borrowed or null, and only compared.
    unsafe { _PyType_Lookup(ffi::Py_TYPE(object.as_ptr()), name.as_ptr()) == attribute.as_ptr() }
}

/// Has the interpreter call `take` on the main thread, as soon as it runs Python code there, and raise what that returns. False if there are
/// too many such calls already.
pub(crate) fn raise_soon(take: fn() -> Option<PyErr>) -> bool {
    extern "C" fn raise(take: *mut std::ffi::c_void) -> std::ffi::c_int {
        // SAFETY: it was made from such a function below.
        let take = unsafe { std::mem::transmute::<*mut std::ffi::c_void, fn() -> Option<PyErr>>(take) };
        let Some(error) = take() else { return 0 };
        // SAFETY: pending calls run attached.
        unsafe { Python::attach_unchecked(|py| error.restore(py)) };
        -1
    }
    // SAFETY: it may be called from any thread.
    unsafe { ffi::Py_AddPendingCall(Some(raise), take as *mut std::ffi::c_void) == 0 }
}

/// Runs `work` detached from the interpreter. It must not access Python objects, and must not panic.
pub(crate) fn detached(_py: Python<'_>, work: impl FnOnce()) {
    // SAFETY: this thread is attached; between the two calls it touches no Python object.
    unsafe {
        let state = PyEval_SaveThread();
        work();
        perhaps_the_last!(PyEval_RestoreThread(state));
    }
}

/// Runs `work` attached, on a thread that Python has not created. `None` if there is no interpreter, or it is about to exit.
pub(crate) fn attached<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    // SAFETY: it has no preconditions.
    if unsafe { ffi::Py_IsInitialized() } == 0 {
        return None;
    }
    // SAFETY: the interpreter exists; if it exits meanwhile, this call does not return.
    let _release = Release(unsafe { perhaps_the_last!(PyGILState_Ensure()) });
    Python::try_attach(work)
}

/// Detaches when it is dropped, also after a panic.
struct Release(ffi::PyGILState_STATE);

impl Drop for Release {
    fn drop(&mut self) {
        // SAFETY: the state comes from PyGILState_Ensure on this thread; what ran in between has left the thread attached as it was.
        unsafe { ffi::PyGILState_Release(self.0) };
    }
}

/// Runs the last actions of an object that is being destroyed. An exception that is being raised meanwhile is preserved.
pub(crate) fn last_act(act: impl FnOnce(Python<'_>)) {
    // Without an interpreter there is nothing left to do.
    Python::try_attach(|py| undisturbed(py, || act(py)));
}

/// Does something else while an exception may be on its way: that is put aside, and is on its way again afterwards.
///
/// `PyErr::take` would not do: it goes on with the panic that a `PanicException` stands for, and where an object is destroyed that would end the
/// process.
pub(crate) fn undisturbed<R>(_py: Python<'_>, act: impl FnOnce() -> R) -> R {
    let _raised = Aside::new();
    act()
}

/// The exception that was on its way, which `drop` sets again, also after a panic.
#[cfg(Py_3_12)]
struct Aside(*mut ffi::PyObject);

#[cfg(Py_3_12)]
impl Aside {
    fn new() -> Self {
        // SAFETY: only `undisturbed` makes one, attached.
        Self(unsafe { ffi::PyErr_GetRaisedException() })
    }
}

#[cfg(Py_3_12)]
impl Drop for Aside {
    fn drop(&mut self) {
        // SAFETY: attached as when it was made; it takes over the reference, and null clears the indicator.
        unsafe { ffi::PyErr_SetRaisedException(self.0) };
    }
}

/// The exception that was on its way, which `drop` sets again, also after a panic.
#[cfg(not(Py_3_12))]
struct Aside([*mut ffi::PyObject; 3]);

#[cfg(not(Py_3_12))]
impl Aside {
    fn new() -> Self {
        let mut raised = [std::ptr::null_mut(); 3];
        let [class, value, traceback] = &mut raised;
        // SAFETY: only `undisturbed` makes one, attached.
        unsafe { ffi::PyErr_Fetch(class, value, traceback) };
        Self(raised)
    }
}

#[cfg(not(Py_3_12))]
impl Drop for Aside {
    fn drop(&mut self) {
        let [class, value, traceback] = self.0;
        // SAFETY: attached as when it was made; it takes over the references, and nulls clear the indicator.
        unsafe { ffi::PyErr_Restore(class, value, traceback) };
    }
}

pub(crate) fn call<'py>(callable: &Bound<'py, PyAny>, args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: valid objects; the result is a new reference or null with an error set.
    unsafe {
        let result = perhaps_the_last!(PyObject_Call(callable.as_ptr(), args.as_ptr(), std::ptr::null_mut()));
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// As [`call`], with arguments by name.
pub(crate) fn call_by_name<'py>(callable: &Bound<'py, PyAny>, arguments: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    let none = PyTuple::empty(callable.py());
    // SAFETY: valid objects; the result is a new reference or null with an error set.
    unsafe {
        let result = perhaps_the_last!(PyObject_Call(callable.as_ptr(), none.as_ptr(), arguments.as_ptr()));
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// Returns a module, and imports it if that has not been done.
pub(crate) fn import<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let name = PyString::new(py, name);
    // SAFETY: attached, and a str; the result is a new reference or null with an error set.
    unsafe {
        let result = perhaps_the_last!(PyImport_Import(name.as_ptr()));
        Bound::from_owned_ptr_or_err(py, result)
    }
}

/// `callable(*args, **kwargs)`
#[inline]
pub(crate) fn call_with<'py>(
    callable: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let kwargs = if kwargs.is_empty() { std::ptr::null_mut() } else { kwargs.as_ptr() };
    // SAFETY: valid objects; the result is a new reference or null with an error set.
    unsafe {
        let result = perhaps_the_last!(PyObject_Call(callable.as_ptr(), args.as_ptr(), kwargs));
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// The value of a `ContextVar` that has a default.
#[inline]
pub(crate) fn value_of<'py>(variable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = variable.py();
    let mut value = std::ptr::null_mut();
    // SAFETY: attached; another object than a `ContextVar` is an error. The value is a new reference.
    unsafe {
        match ffi::PyContextVar_Get(variable.as_ptr(), std::ptr::null_mut(), &raw mut value) {
            0 => Bound::from_owned_ptr_or_opt(py, value).ok_or_else(|| PyLookupError::new_err(())),
            _ => Err(PyErr::fetch(py)),
        }
    }
}

/// Sets a `ContextVar`, for good.
#[inline]
pub(crate) fn set_value(variable: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: attached; another object than a `ContextVar` is an error. The token is a new reference.
    unsafe { Bound::from_owned_ptr_or_err(variable.py(), ffi::PyContextVar_Set(variable.as_ptr(), value.as_ptr())).map(drop) }
}

pub(crate) fn call_method<'py, A>(object: &Bound<'py, PyAny>, name: &Bound<'py, PyString>, args: A) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>,
    PyErr: From<A::Error>,
{
    call(&object.getattr(name)?, &args.into_pyobject(object.py())?)
}

pub(crate) fn call_one<'py>(callable: &Bound<'py, PyAny>, arg: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let args = [arg.as_ptr()];
    // SAFETY: valid objects, and one argument; the result is a new reference or null with an error set. (`PyObject_CallOneArg` is no
    // function that can be linked to before 3.11.)
    unsafe {
        let result =
            perhaps_the_last!(PyObject_VectorcallDict(callable.as_ptr(), args.as_ptr(), args.len(), std::ptr::null_mut()));
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// `context.run(callable, arg)`. `None`, with nothing called, if the context has been entered already.
pub(crate) fn call_in_context(
    context: &Bound<'_, PyAny>,
    callable: &Bound<'_, PyAny>,
    arg: &Bound<'_, PyAny>,
) -> Option<PyResult<()>> {
    let py = context.py();
    // SAFETY: a valid object; entering fails with an error set.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
        drop(PyErr::fetch(py));
        return None;
    }
    let outcome = call_one(callable, arg);
    // SAFETY: it was entered above, by this thread.
    let left = unsafe { ffi::PyContext_Exit(context.as_ptr()) };
    Some(if left < 0 { Err(PyErr::fetch(py)) } else { outcome.map(drop) })
}

/// `event_loop.call_soon(callback, context=context)`
pub(crate) fn call_soon(event_loop: &Bound<'_, PyAny>, callback: &Bound<'_, PyAny>, context: &Bound<'_, PyAny>) -> PyResult<()> {
    static KEYWORDS: Kept<PyTuple> = Kept::new();
    let py = event_loop.py();
    let keywords = if let Some(keywords) = KEYWORDS.get(py) {
        keywords
    } else {
        let made = PyTuple::new(py, ["context"])?;
        KEYWORDS.keep(made)
    };
    let args = [event_loop.as_ptr(), callback.as_ptr(), context.as_ptr()];
    // SAFETY: valid objects, two of them positional; the result is a new reference or null with an error set.
    let handle = unsafe {
        let name = crate::rt::kept::interned!(py, "call_soon").as_ptr();
        let result = perhaps_the_last!(PyObject_VectorcallMethod(name, args.as_ptr(), 2_usize, keywords.as_ptr()));
        Bound::from_owned_ptr_or_err(py, result)
    };
    handle.map(drop)
}

/// `left < right`
pub(crate) fn less(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: valid objects.
    match unsafe { perhaps_the_last!(PyObject_RichCompareBool(left.as_ptr(), right.as_ptr(), ffi::Py_LT)) } {
        -1 => Err(PyErr::fetch(left.py())),
        answer => Ok(answer != 0),
    }
}

/// The next item of an iterator.
pub(crate) fn next<'py>(iterator: &Bound<'py, PyIterator>) -> Option<PyResult<Bound<'py, PyAny>>> {
    let py = iterator.py();
    // SAFETY: a valid iterator; the result is a new reference, or null at the end or with an error set.
    unsafe {
        let item = perhaps_the_last!(PyIter_Next(iterator.as_ptr()));
        match Bound::from_owned_ptr_or_opt(py, item) {
            Some(item) => Some(Ok(item)),
            None => PyErr::take(py).map(Err),
        }
    }
}
