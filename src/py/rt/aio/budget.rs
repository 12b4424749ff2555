//! The loop's turn: no task owns its loop.
//!
//! An `async for` over a queue that a thread keeps full never waits, and a coroutine that never waits never lets its loop run. So the
//! operations that go through at once are counted, all those on one thread together, and after a number of them the next lets the
//! loop have a turn before it touches its object.

use std::cell::Cell;

use crate::rt::kept::Kept;
use pyo3::prelude::*;

/// This many operations in a row may go through on one loop without suspending; the next gives the loop a turn.
const BUDGET: u8 = 128;
/// No operation has been seen on this thread yet.
const UNSEEN: u8 = u8::MAX;

thread_local!(static LEFT: Cell<u8> = const { Cell::new(UNSEEN) });

/// Counts one awaited operation on the fast path. False when it is the loop's turn, or when it is not yet known that there is a loop.
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

/// Counts one awaited operation on a thread that is known to run a loop. False when it is the loop's turn, which it then has.
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

/// The coroutine suspends: the loop has its turn.
pub(super) fn refill() {
    LEFT.set(BUDGET);
}

/// The object by which the fast path says "not here: wait".
pub(crate) fn wait_marker_object(py: Python<'_>) -> &Bound<'_, PyAny> {
    static MARKER: Kept<PyAny> = Kept::new();
    if let Some(marker) = MARKER.get(py) {
        return marker;
    }
    let made = py.get_type::<PyAny>().call0().expect("memory for one object");
    MARKER.keep(made)
}

/// A new reference to it.
pub(crate) fn wait_marker(py: Python<'_>) -> Py<PyAny> {
    wait_marker_object(py).clone().unbind()
}
