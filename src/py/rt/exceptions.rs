//! The exceptions that the binding raises. The classes themselves are Python's (`sluicegate._exceptions`).
//!
//! An exception is made at once, and not when somebody looks at it: PyO3 makes a lazy one later and gives up the GIL for that, which a call that
//! promises not to wait must not do. What a refusal has to tell are its `args`: a template and the values for it, of which `__str__` makes the
//! text only if somebody reads it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::BoundObject;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::rt::imported::{imported, modules};

/// The classes that the package has written in Python, by name: whoever imports it a second time finds those of the first, which are kept
/// here and elsewhere.
pub(crate) fn classes(py: Python<'_>) -> &Bound<'_, PyDict> {
    static CLASSES: Kept<PyDict> = Kept::new();
    CLASSES.get(py).unwrap_or_else(|| CLASSES.keep(PyDict::new(py)))
}

/// Are asyncio's classes among the bases of ours? Relaxed: only ever a reason to look once more.
static SEEN: AtomicBool = AtomicBool::new(false);

/// Sees to it that `except asyncio.QueueFull` catches what is about to be raised, should asyncio have come without our finder's noticing
/// (`sluicegate._asyncio_bases`).
fn look_for_asyncio(py: Python<'_>) -> PyResult<()> {
    if !nothing_to_adopt(py)? {
        let adopted = py.import(interned!(py, "sluicegate._asyncio_bases"))?.call_method0(interned!(py, "adopt"))?;
        SEEN.store(adopted.is_truthy()?, Ordering::Relaxed);
    }
    Ok(())
}

/// There is no asyncio yet, or ours have its classes among their bases.
fn nothing_to_adopt(py: Python<'_>) -> PyResult<bool> {
    Ok(SEEN.load(Ordering::Relaxed) || !modules(py)?.contains(interned!(py, "asyncio.queues"))?)
}

/// One of the classes.
pub(crate) struct Exception {
    name: &'static str,
    class: Kept<PyType>,
}

impl Exception {
    const fn new(name: &'static str) -> Self {
        Self { name, class: Kept::new() }
    }

    fn class<'py>(&'static self, py: Python<'py>) -> PyResult<&'py Bound<'py, PyType>> {
        imported(py, &self.class, "sluicegate._exceptions", self.name)
    }

    /// The class, if it is there and nothing has to be done before it is raised. Drops no reference and raises nothing.
    pub(crate) fn at_hand<'py>(&'static self, py: Python<'py>) -> Option<&'py Bound<'py, PyType>> {
        self.class.get(py).filter(|_| nothing_to_adopt(py).unwrap_or(false))
    }

    /// An exception with these arguments. The exception that is being handled is its context, as if it were raised in Python.
    fn with<'py>(&'static self, py: Python<'py>, args: impl IntoPyObject<'py, Target = PyTuple>) -> PyErr {
        let made = || -> PyResult<PyErr> {
            look_for_asyncio(py)?;
            let (class, args) = (self.class(py)?.clone(), args.into_pyobject(py).map_err(Into::into)?.into_any().unbind());
            Ok(made_at_once(py, PyErr::from_type(class, args)))
        };
        made().unwrap_or_else(|error| error)
    }

    fn is_of(&'static self, py: Python<'_>, error: &PyErr) -> bool {
        self.class(py).is_ok_and(|class| error.is_instance(py, class))
    }
}

/// A lazy exception, made by the interpreter, which keeps the GIL. (PyO3 gives it up.)
pub(crate) fn made_at_once(py: Python<'_>, error: PyErr) -> PyErr {
    error.restore(py);
    PyErr::fetch(py)
}

macro_rules! exception {
    ($(#[$doc:meta])* $function:ident, $class:ident, $name:literal) => {
        pub(crate) static $class: Exception = Exception::new($name);

        $(#[$doc])*
        pub(crate) fn $function<'py>(py: Python<'py>, args: impl IntoPyObject<'py, Target = PyTuple>) -> PyErr {
            $class.with(py, args)
        }
    };
}

exception!(
    /// There was no room (in time).
    full, FULL, "Full"
);
exception!(
    /// There was no item (in time).
    empty, EMPTY, "Empty"
);
exception!(
    /// A limiter lets it through only later.
    rate_limited, RATE_LIMITED, "RateLimited"
);
exception!(
    /// There was no room for a call (in time).
    overloaded, OVERLOADED, "Overloaded"
);

exception!(
    /// The queue has been shut down.
    shut_down, SHUT_DOWN, "ShutDown"
);

exception!(
    /// Something about a channel, and nothing more special.
    channel_error, CHANNEL_ERROR, "ChannelError"
);
exception!(
    /// The channel has been completed.
    channel_closed, CHANNEL_CLOSED, "ChannelClosed"
);
exception!(
    /// The receiver has gone.
    channel_cancelled, CHANNEL_CANCELLED, "ChannelCancelled"
);
exception!(
    /// A sender has failed.
    channel_failed, CHANNEL_FAILED, "ChannelFailed"
);
exception!(
    /// Somebody else has the item by now.
    stale_delivery, STALE_DELIVERY, "StaleDelivery"
);

pub(crate) fn is_channel_closed(py: Python<'_>, error: &PyErr) -> bool {
    CHANNEL_CLOSED.is_of(py, error)
}

pub(crate) fn is_stale_delivery(py: Python<'_>, error: &PyErr) -> bool {
    STALE_DELIVERY.is_of(py, error)
}

/// Is it our Full or Empty?
pub(crate) fn is_refusal(py: Python<'_>, error: &PyErr) -> bool {
    FULL.is_of(py, error) || EMPTY.is_of(py, error)
}

/// Is it a `Full`, `Empty` or `ShutDown`: ours, or one of `queue`'s or asyncio's, of which ours are subclasses?
pub(crate) fn ends_a_queue(py: Python<'_>, error: &PyErr) -> bool {
    [&FULL, &EMPTY, &SHUT_DOWN].into_iter().any(|ours| {
        ours.is_of(py, error)
            || ours.class(py).is_ok_and(|class| {
                class.bases().iter().any(|base| !base.is(py.get_type::<PyException>()) && error.is_instance(py, &base))
            })
    })
}

/// Is it our ShutDown?
pub(crate) fn is_shut_down(py: Python<'_>, error: &PyErr) -> bool {
    SHUT_DOWN.is_of(py, error)
}
