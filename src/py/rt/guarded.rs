//! Calls that run Python code, or wait to run it, in a way that survives the end of the interpreter.
//!
//! While it exits, CPython before 3.13.8 ends a daemon thread that wants to attach with `pthread_exit`, which unwinds the stack. Rust's
//! frames do not let a foreign unwind pass: the process would abort. Later versions leave such a thread hanging, and here all do: the
//! calls below are declared as able to unwind, and a guard around each stops the thread for good, detached, before a frame of ours is
//! reached that cannot be unwound.
//!
//! Whatever may release the interpreter for long goes through here: waits, hooks, comparisons, iterators, event loops.
#![allow(unsafe_code)] // the C API

use std::hint::black_box;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyString, PyTuple};

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
    fn PyIter_Next(iterator: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// Stops the thread if it is being unwound. Nothing that may panic belongs between its making and its end.
struct StopHere;

impl Drop for StopHere {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// Makes one C call that may be the last this thread makes.
///
/// The function is called through a pointer that the optimizer cannot see through: PyO3 declares the same functions as never unwinding, and
/// when declarations are merged at link time the guard would be removed if that one won.
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

/// Runs `work` detached from the interpreter. It may touch nothing of Python's, and may not panic.
pub(crate) fn detached(_py: Python<'_>, work: impl FnOnce()) {
    // SAFETY: this thread is attached; between the two calls it touches no Python object.
    unsafe {
        let state = PyEval_SaveThread();
        work();
        perhaps_the_last!(PyEval_RestoreThread(state));
    }
}

/// Runs `work` attached, on a thread that is not Python's. `None` if there is no interpreter, or it is about to end.
pub(crate) fn attached<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    // SAFETY: it has no preconditions.
    if unsafe { ffi::Py_IsInitialized() } == 0 {
        return None;
    }
    // SAFETY: the interpreter is there; it may end meanwhile, and then this is the last call that the thread makes.
    let _release = Release(unsafe { perhaps_the_last!(PyGILState_Ensure()) });
    Python::try_attach(work)
}

/// Detaches again, after a panic too.
struct Release(ffi::PyGILState_STATE);

impl Drop for Release {
    fn drop(&mut self) {
        // SAFETY: made from the state that PyGILState_Ensure gave, on this thread; what was done in between has let go of the interpreter.
        unsafe { ffi::PyGILState_Release(self.0) };
    }
}

/// An exception that nobody up the stack may have: the operation is committed, and what it told others had to be told. On the main
/// thread it is most likely a signal handler's, so it is raised there right after this call has returned, as if the signal had come then.
pub(crate) fn raise_later(py: Python<'_>, error: PyErr) {
    extern "C" fn raise(error: *mut std::ffi::c_void) -> std::ffi::c_int {
        // SAFETY: the box that `raise_later` let go, passed on once; pending calls are made attached.
        unsafe {
            let error = Box::from_raw(error.cast::<PyErr>());
            Python::attach_unchecked(|py| error.restore(py));
        }
        -1
    }
    if !crate::rt::process::this_is_the_main_thread() {
        return error.write_unraisable(py, None);
    }
    let error = Box::into_raw(Box::new(error));
    // SAFETY: `raise` takes the box over; if there is no room for the call, it is taken back here.
    unsafe {
        if ffi::Py_AddPendingCall(Some(raise), error.cast()) != 0 {
            Box::from_raw(error).write_unraisable(py, None);
        }
    }
}

/// Runs what a dying object still has to do. An exception that is on its way meanwhile stays as it is.
pub(crate) fn last_act(act: impl FnOnce(Python<'_>)) {
    // No interpreter any more: nobody is left to be told.
    Python::try_attach(|py| {
        let pending = PyErr::take(py);
        act(py);
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}

pub(crate) fn call<'py>(callable: &Bound<'py, PyAny>, args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: valid objects; the result is a new reference or null with an error set.
    unsafe {
        let result = perhaps_the_last!(PyObject_Call(callable.as_ptr(), args.as_ptr(), std::ptr::null_mut()));
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
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

/// `context.run(callable, arg)`. `None` if the context cannot be entered, because it is entered already: then nothing has been called.
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
