//! Queries of asyncio: the loop and the task that run on this thread, and whether a loop is running, stopped or closed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyWeakrefReference};
use sluicegate_core::mailbox::Presence;

use crate::rt::imported::imported;
use crate::rt::process;

fn asyncio<'py>(py: Python<'py>, cell: &'static Kept<PyAny>, name: &str) -> PyResult<&'py Bound<'py, PyAny>> {
    imported(py, cell, "asyncio", name)
}

pub(super) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let running = process::running_loop(py)?;
    if running.is_none() {
        return Err(PyRuntimeError::new_err(
            "sluicegate's *_async methods need a running asyncio event loop (asyncio's own or uvloop's); there is none on this thread, \
             and trio's is not one",
        ));
    }
    Ok(running)
}

/// The task of this loop that is running on this thread.
fn current_task<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static FUNCTION: Kept<PyAny> = Kept::new();
    let task = asyncio(event_loop.py(), &FUNCTION, "current_task")?.call1((event_loop,))?;
    Ok(Some(task).filter(|task| !task.is_none()))
}

/// True if a task of this loop is running on this thread.
pub(super) fn runs_a_task_here(event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(process::running_loop(event_loop.py())?.is(event_loop) && current_task(event_loop)?.is_some())
}

pub(super) fn presence(event_loop: &Bound<'_, PyAny>) -> PyResult<Presence> {
    let py = event_loop.py();
    if event_loop.call_method0(interned!(py, "is_running"))?.is_truthy()? {
        return Ok(Presence::Running);
    }
    let closed = event_loop.call_method0(interned!(py, "is_closed"))?.is_truthy()?;
    Ok(if closed { Presence::Closed } else { Presence::Stopped })
}

/// The number of a thread: odd, while those of tasks are even, and never reused, while its identifier may be reused soon.
fn thread_number() -> u64 {
    // Relaxed: each call gets a different number; their order does not matter.
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(2, Ordering::Relaxed));
    NUMBER.with(|&number| number as u64)
}

/// The number of a task: even, and never reused, while its address may be reused soon.
fn task_number(task: &Bound<'_, PyAny>) -> PyResult<u64> {
    // Relaxed: as above.
    static NEXT: AtomicU64 = AtomicU64::new(2);
    // By weak reference, as in `weakref.WeakKeyDictionary`: an entry is removed when its task is.
    static NUMBERS: Kept<PyDict> = Kept::new();
    let py = task.py();
    let numbers = NUMBERS.get(py).unwrap_or_else(|| NUMBERS.keep(PyDict::new(py)));
    if let Some(number) = numbers.get_item(PyWeakrefReference::new(task)?)? {
        return number.extract();
    }
    let number = NEXT.fetch_add(2, Ordering::Relaxed);
    numbers.set_item(PyWeakrefReference::new_with(task, numbers.getattr(interned!(py, "pop"))?)?, number)?;
    Ok(number)
}

/// A number for the caller: of the task that is running on this thread, or else of the thread. It is never reused.
pub(crate) fn caller_number(py: Python<'_>) -> PyResult<u64> {
    let running = process::running_loop(py)?;
    let task = if running.is_none() { None } else { current_task(&running)? };
    task.map_or_else(|| Ok(thread_number()), |task| task_number(&task))
}
