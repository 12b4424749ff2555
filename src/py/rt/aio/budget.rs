//! A budget of operations, so that no task monopolises its event loop.
//!
//! An `async for` over a queue that a thread keeps full never waits, and a coroutine that never waits never lets its loop run. So the
//! operations that complete without waiting are counted, all of one thread together. After a number of them the next operation suspends
//! once before it accesses its object, so that the loop can run other tasks (as tokio's cooperative budget does).

use std::cell::Cell;

use crate::rt::kept::Kept;
use pyo3::prelude::*;

/// The number of operations in a row that may complete on one loop without suspending; the next one lets the loop run.
const BUDGET: u8 = 128;
/// The count of a thread on which no operation has been counted yet.
const UNSEEN: u8 = u8::MAX;

thread_local!(static LEFT: Cell<u8> = const { Cell::new(UNSEEN) });

/// Counts one awaited operation on the fast path. Returns false if the loop has to run, or if it is not known yet whether there is a loop.
#[inline]
pub(crate) fn spend() -> bool {
    LEFT.with(|left| {
        let now = left.get();
        let go = now != 0 && now != UNSEEN;
        if go {
            left.set(now - 1);
        }
        go
    })
}

/// Counts one awaited operation on the fast path if it is done at once. `None` if it is not, or as `spend`: then nothing has happened.
#[expect(clippy::inline_always, reason = "a part of the entry, see `rt::hot`")]
#[inline(always)]
pub(crate) fn spend_on<T>(operation: impl FnOnce() -> Option<T>) -> Option<T> {
    LEFT.with(|left| {
        let now = left.get();
        if now == 0 || now == UNSEEN {
            return None;
        }
        let done = operation();
        if done.is_some() {
            left.set(now - 1);
        }
        done
    })
}

/// Counts one awaited operation on a thread that is known to run a loop. Returns false, and renews the budget, if the loop has to run.
pub(super) fn spend_on_a_loop() -> bool {
    match LEFT.get() {
        0 => {
            refill();
            false
        }
        UNSEEN => {
            LEFT.set(BUDGET - 1);
            true
        }
        left => {
            LEFT.set(left - 1);
            true
        }
    }
}

/// Renews the budget. Called when a coroutine suspends, so that the loop runs.
pub(super) fn refill() {
    LEFT.set(BUDGET);
}

/// The object that the fast path returns if the operation has to wait.
pub(crate) fn wait_marker_object(py: Python<'_>) -> &Bound<'_, PyAny> {
    static MARKER: Kept<PyAny> = Kept::new();
    if let Some(marker) = MARKER.get(py) {
        return marker;
    }
    let made = py.get_type::<PyAny>().call0().expect("memory for one object");
    MARKER.keep(made)
}

/// A new reference to that object.
pub(crate) fn wait_marker(py: Python<'_>) -> Py<PyAny> {
    wait_marker_object(py).clone().unbind()
}
