//! The process: the interpreter that may import the module, the thread that runs Python's signal handlers, and the event loop of a thread.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Refuses every interpreter except the main one. The types and the once-cells of the binding belong to the process, so an interpreter that
/// shared them would change and free objects of another one. `PyO3` does not check this for a top-level module, and CPython only checks the
/// modules of interpreters that do not share the GIL.
#[allow(unsafe_code)]
pub(crate) fn refuse_subinterpreters(_: Python<'_>) -> PyResult<()> {
    // SAFETY: the first call requires an attached thread, which this is; the second has no preconditions.
    let (this, main) = unsafe { (pyo3::ffi::PyInterpreterState_Get(), pyo3::ffi::PyInterpreterState_Main()) };
    if this == main {
        return Ok(());
    }
    Err(PyImportError::new_err("sluicegate works in the main interpreter only, and this is a subinterpreter"))
}

/// Relaxed: written at import and in the child of a fork, before other threads can read it.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// Records the thread that runs signal handlers: called at import, and in the child of a fork.
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

/// The event loop that is running on this thread, or None. If asyncio has not been imported, there is none, and asyncio is not imported here.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static FUNCTION: Kept<PyAny> = Kept::new();
    if let Some(function) = FUNCTION.get(py) {
        return function.call0();
    }
    let modules = py.import(interned!(py, "sys"))?.getattr(interned!(py, "modules"))?.cast_into::<PyDict>()?;
    let Some(asyncio) = modules.get_item(interned!(py, "asyncio"))? else { return Ok(py.None().into_bound(py)) };
    // While asyncio is being imported, the function may not exist yet, and no loop can be running.
    match asyncio.getattr_opt(interned!(py, "_get_running_loop"))? {
        Some(function) => FUNCTION.keep(function).call0(),
        None => Ok(py.None().into_bound(py)),
    }
}
