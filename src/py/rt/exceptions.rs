//! The exceptions that the binding raises. The classes themselves are Python's (`sluicegate._exceptions`).
//!
//! An exception is made at once, and not when somebody looks at it: PyO3 makes a lazy one later and gives up the GIL for that, which a call that
//! promises not to wait must not do. What a refusal has to tell are its `args`: a template and the values for it, of which `__str__` makes the
//! text only if somebody reads it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::rt::imported::{imported, modules};

/// The classes that the package has written in Python, by name: whoever imports it a second time finds those of the first, which are kept
/// here and elsewhere.
pub(crate) fn classes(py: Python<'_>) -> &Bound<'_, PyDict> {
    static CLASSES: Kept<PyDict> = Kept::new();
    CLASSES.get(py).unwrap_or_else(|| CLASSES.keep(PyDict::new(py)))
}

fn class<'py>(py: Python<'py>, cell: &'static Kept<PyType>, name: &str) -> PyResult<Bound<'py, PyType>> {
    imported(py, cell, "sluicegate._exceptions", name).cloned()
}

/// Sees to it that `except asyncio.QueueFull` catches what is about to be raised, should asyncio have come without our finder's noticing
/// (`sluicegate._asyncio_bases`).
fn look_for_asyncio(py: Python<'_>) -> PyResult<()> {
    // Relaxed: only ever a reason to look once more.
    static SEEN: AtomicBool = AtomicBool::new(false);
    if SEEN.load(Ordering::Relaxed) {
        return Ok(());
    }
    if modules(py)?.contains(interned!(py, "asyncio.queues"))? {
        let adopted = py.import(interned!(py, "sluicegate._asyncio_bases"))?.call_method0(interned!(py, "adopt"))?;
        SEEN.store(adopted.is_truthy()?, Ordering::Relaxed);
    }
    Ok(())
}

macro_rules! exception {
    ($(#[$doc:meta])* $function:ident, $name:literal) => {
        $(#[$doc])*
        pub(crate) fn $function<'py>(py: Python<'py>, args: impl PyCallArgs<'py>) -> PyErr {
            static CLASS: Kept<PyType> = Kept::new();
            let made = look_for_asyncio(py).and_then(|()| class(py, &CLASS, $name)).and_then(|class| class.call1(args));
            made.map_or_else(|error| error, PyErr::from_value)
        }
    };
}

exception!(
    /// There was no room (in time).
    full, "Full"
);
exception!(
    /// There was no item (in time).
    empty, "Empty"
);
exception!(
    /// A limiter lets it through only later.
    rate_limited, "RateLimited"
);
exception!(
    /// There was no room for a call (in time).
    overloaded, "Overloaded"
);

exception!(
    /// The queue has been shut down.
    shut_down, "ShutDown"
);

exception!(
    /// Something about a channel, and nothing more special.
    channel_error, "ChannelError"
);
exception!(
    /// The channel has been completed.
    channel_closed, "ChannelClosed"
);
exception!(
    /// The receiver has gone.
    channel_cancelled, "ChannelCancelled"
);
exception!(
    /// A sender has failed.
    channel_failed, "ChannelFailed"
);
exception!(
    /// Somebody else has the item by now.
    stale_delivery, "StaleDelivery"
);

pub(crate) fn is_channel_closed(py: Python<'_>, error: &PyErr) -> bool {
    static CLASS: Kept<PyType> = Kept::new();
    is_one_of(py, error, &CLASS, "ChannelClosed")
}

pub(crate) fn is_stale_delivery(py: Python<'_>, error: &PyErr) -> bool {
    static CLASS: Kept<PyType> = Kept::new();
    is_one_of(py, error, &CLASS, "StaleDelivery")
}

/// Is it our Full or Empty?
pub(crate) fn is_refusal(py: Python<'_>, error: &PyErr) -> bool {
    static FULL: Kept<PyType> = Kept::new();
    static EMPTY: Kept<PyType> = Kept::new();
    is_one_of(py, error, &FULL, "Full") || is_one_of(py, error, &EMPTY, "Empty")
}

/// Is it one of the standard library's `Full`, `Empty` and `ShutDown`, of which ours are subclasses, or ours?
pub(crate) fn ends_a_queue(py: Python<'_>, error: &PyErr) -> bool {
    static FULL: Kept<PyType> = Kept::new();
    static EMPTY: Kept<PyType> = Kept::new();
    let theirs = |cell, name| imported::<PyType>(py, cell, "queue", name).is_ok_and(|class| error.is_instance(py, class));
    theirs(&FULL, "Full") || theirs(&EMPTY, "Empty") || is_shut_down(py, error)
}

/// Is it our ShutDown?
pub(crate) fn is_shut_down(py: Python<'_>, error: &PyErr) -> bool {
    static CLASS: Kept<PyType> = Kept::new();
    is_one_of(py, error, &CLASS, "ShutDown")
}

fn is_one_of(py: Python<'_>, error: &PyErr, cell: &'static Kept<PyType>, name: &str) -> bool {
    class(py, cell, name).is_ok_and(|class| error.is_instance(py, &class))
}
