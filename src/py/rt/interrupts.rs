//! Exceptions that cannot be raised where they arise: those of callbacks, and those that a signal handler raises in the middle of something
//! that is committed.
//!
//! | what arises                                            | on             | what becomes of it                                  |
//! |--------------------------------------------------------|----------------|-----------------------------------------------------|
//! | an `Exception` or a cancellation, in a callback        | any thread     | `sys.unraisablehook` is called                      |
//! | anything else in a callback, such as KeyboardInterrupt | main thread    | kept, see below                                     |
//! | the same                                               | other threads  | `sys.unraisablehook` is called                      |
//! | an exception in the middle of what is committed        | main thread    | kept: most likely a signal handler has raised it    |
//!
//! What is kept is raised as soon as no callback is running: by a batch after the item that it is at ([`raise_kept`]), or else right after
//! the operation, as if the signal had arrived then. It is never raised inside a further callback, which would not be called then. Of two
//! exceptions that are kept at the same time, the second goes to `sys.unraisablehook`.

use std::cell::{Cell, RefCell};

use pyo3::exceptions::{PyException, PyGeneratorExit};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::rt::guarded;
use crate::rt::imported::class_of;
use crate::rt::kept::Kept;
use crate::rt::process::this_is_the_main_thread;

thread_local! {
    /// The exception that is to be raised on this thread, which is the main thread.
    static KEPT: RefCell<Option<PyErr>> = const { RefCell::new(None) };
    /// The number of callbacks that are running on this thread, one inside the other.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// A callback that is running.
struct Callback<'py>(Python<'py>);

impl<'py> Callback<'py> {
    fn begin(py: Python<'py>) -> Self {
        RUNNING.set(RUNNING.get() + 1);
        Self(py)
    }
}

impl Drop for Callback<'_> {
    fn drop(&mut self) {
        RUNNING.set(RUNNING.get() - 1);
        // If it has been asked for while the callback ran, it has not been raised.
        if is_due() {
            schedule(self.0);
        }
    }
}

fn is_due() -> bool {
    RUNNING.get() == 0 && KEPT.with_borrow(Option::is_some)
}

/// Calls a user's function, whose exception the caller cannot be told of. `args` may have failed too.
pub(crate) fn call_back(callback: &Bound<'_, PyAny>, args: PyResult<Bound<'_, PyTuple>>) {
    let py = callback.py();
    report_failure(py, Some(callback), || guarded::call(callback, &args?).map(drop));
}

/// The same of several calls that count as one callback.
pub(crate) fn report_failure(py: Python<'_>, callback: Option<&Bound<'_, PyAny>>, calls: impl FnOnce() -> PyResult<()>) {
    let running = Callback::begin(py);
    let outcome = calls();
    drop(running);
    if let Err(error) = outcome {
        callback_failed(py, error, callback);
    }
}

/// Handles what a user's function has raised, whose caller cannot be told of it.
pub(crate) fn callback_failed(py: Python<'_>, error: PyErr, callback: Option<&Bound<'_, PyAny>>) {
    if is_of_the_callback(py, &error) {
        report(py, error, callback);
    } else {
        raise_later(py, error);
    }
}

/// Calls `sys.unraisablehook`, which is a callback too: it would swallow what is kept.
fn report(py: Python<'_>, error: PyErr, callback: Option<&Bound<'_, PyAny>>) {
    let _running = Callback::begin(py);
    error.write_unraisable(py, callback);
}

/// False for what is meant for the program, as Ctrl-C is.
fn is_of_the_callback(py: Python<'_>, error: &PyErr) -> bool {
    static CANCELLED: Kept<PyType> = Kept::new();
    let is_cancellation = || {
        let cancelled = class_of(py, &CANCELLED, "asyncio.exceptions", "CancelledError");
        cancelled.is_ok_and(|class| class.is_some_and(|class| error.matches(py, class).unwrap_or(false)))
    };
    error.is_instance_of::<PyException>(py) || error.is_instance_of::<PyGeneratorExit>(py) || is_cancellation()
}

/// Handles an exception that must not propagate, because the operation is committed.
pub(crate) fn raise_later(py: Python<'_>, error: PyErr) {
    if !this_is_the_main_thread() {
        return report(py, error, None);
    }
    let second = KEPT.with_borrow_mut(|kept| match kept {
        None => {
            *kept = Some(error);
            None
        }
        Some(_) => Some(error),
    });
    if let Some(second) = second {
        report(py, second, None);
    } else if is_due() {
        schedule(py);
    }
}

/// Handles an exception of a call whose failure does no harm, because it will be made again. On the main thread it may come from a signal
/// handler that happened to run in the call, and then it is raised right after the operation; an error of the call itself is raised
/// there too, where the standard library would raise it at once.
pub(crate) fn raise_interrupt_later(py: Python<'_>, error: PyErr) {
    if this_is_the_main_thread() {
        raise_later(py, error);
    }
}

/// Raises what is kept, if no callback is running. For operations of many steps, between two of them.
pub(crate) fn raise_kept(_py: Python<'_>) -> PyResult<()> {
    if is_due() { take().map_or(Ok(()), Err) } else { Ok(()) }
}

/// Has the interpreter raise what is kept, as soon as it runs Python code on the main thread.
fn schedule(py: Python<'_>) {
    // Nothing, if it has been raised; or if a callback is running, at whose end it is scheduled again.
    if !guarded::raise_soon(|| if is_due() { take() } else { None }) {
        if let Some(error) = take() {
            report(py, error, None);
        }
    }
}

fn take() -> Option<PyErr> {
    KEPT.with_borrow_mut(Option::take)
}
