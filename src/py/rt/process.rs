//! This process: which of its interpreters may have the module, which thread runs Python's signal handlers, which event loop runs on a thread.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

use crate::rt::imported::modules;

/// Refuses every interpreter but the main one. The types and the once cells of the binding are the process's, so an interpreter that
/// shared them would change and free objects of another. `PyO3` checks submodules alone, and the interpreter itself only asks the
/// modules of those that do not share the GIL.
#[allow(unsafe_code)]
pub(crate) fn refuse_subinterpreters(_: Python<'_>) -> PyResult<()> {
    // SAFETY: attached, which is all that the first call asks for; the second asks for nothing.
    let (this, main) = unsafe { (pyo3::ffi::PyInterpreterState_Get(), pyo3::ffi::PyInterpreterState_Main()) };
    if this == main {
        return Ok(());
    }
    Err(PyImportError::new_err("sluicegate works in the main interpreter only, and this is a subinterpreter"))
}

/// Relaxed: written at import and in a fork's child, before there are others to read it.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// Remembers which thread runs signal handlers: at import, and in the child of a fork.
pub(crate) fn remember_main_thread(py: Python<'_>) -> PyResult<()> {
    let ident = py.import("threading")?.call_method0("main_thread")?.getattr("ident")?.extract()?;
    MAIN_THREAD.store(ident, Ordering::Relaxed);
    Ok(())
}

pub(crate) fn this_is_the_main_thread() -> bool {
    thread_ident() == MAIN_THREAD.load(Ordering::Relaxed)
}

#[allow(unsafe_code)]
fn thread_ident() -> u64 {
    // SAFETY: it has no preconditions.
    #[allow(clippy::useless_conversion, reason = "the width of `c_ulong` differs between platforms")]
    unsafe { pyo3::ffi::PyThread_get_thread_ident() }.into()
}

/// The event loop that runs on this thread, or None. Where asyncio has not been imported there is none, and it is not imported for this.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static FUNCTION: Kept<PyAny> = Kept::new();
    if let Some(function) = FUNCTION.get(py) {
        return function.call0();
    }
    let Some(asyncio) = modules(py)?.get_item(interned!(py, "asyncio"))? else { return Ok(py.None().into_bound(py)) };
    // In the middle of its import it may not have the function yet, and no loop either.
    match asyncio.getattr_opt(interned!(py, "_get_running_loop"))? {
        Some(function) => FUNCTION.keep(function).call0(),
        None => Ok(py.None().into_bound(py)),
    }
}
