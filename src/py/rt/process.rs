//! This process: which thread runs Python's signal handlers.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

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
