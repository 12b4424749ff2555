//! The exceptions that the binding raises. The classes themselves are Python's (`sluicegate._exceptions`).
//!
//! An exception is created at once and not lazily: PyO3 releases the GIL to create a lazy exception later, which a call that promises not to
//! wait must not do. The `args` of a refusal are a template and its values, from which `__str__` makes the text only when it is read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::BoundObject;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::rt::guarded;
use crate::rt::imported::{imported, modules};

/// The classes that the package defines in Python, by name. A second import of the package finds the classes of the first one here.
pub(crate) fn classes(py: Python<'_>) -> &Bound<'_, PyDict> {
    static CLASSES: Kept<PyDict> = Kept::new();
    CLASSES.get(py).unwrap_or_else(|| CLASSES.keep(PyDict::new(py)))
}

/// True once asyncio's classes are bases of the classes here. Relaxed: while it is false, it is only a reason to check again.
static SEEN: AtomicBool = AtomicBool::new(false);

/// Ensures that `except asyncio.QueueFull` catches the exception that is about to be raised, even if asyncio was imported without the
/// package's import finder (`sluicegate._asyncio_bases`).
fn look_for_asyncio(py: Python<'_>) -> PyResult<()> {
    if !nothing_to_adopt(py)? {
        let adopted = py.import(interned!(py, "sluicegate._asyncio_bases"))?.call_method0(interned!(py, "adopt"))?;
        SEEN.store(adopted.is_truthy()?, Ordering::Relaxed);
    }
    Ok(())
}

/// True if asyncio has not been imported, or if its classes are bases of the classes here.
fn nothing_to_adopt(py: Python<'_>) -> PyResult<bool> {
    Ok(SEEN.load(Ordering::Relaxed) || !modules(py)?.contains(interned!(py, "asyncio.queues"))?)
}

/// One of the classes.
pub(crate) struct Exception {
    name: &'static str,
    class: Kept<PyType>,
    /// True if it has a base class in asyncio.
    is_queues: bool,
}

impl Exception {
    const fn new(name: &'static str) -> Self {
        Self { name, class: Kept::new(), is_queues: false }
    }

    /// An exception of queues, which has a base class in asyncio (`_THEIRS` of `sluicegate._exceptions`).
    const fn of_queues(name: &'static str) -> Self {
        Self { is_queues: true, ..Self::new(name) }
    }

    fn class<'py>(&'static self, py: Python<'py>) -> PyResult<&'py Bound<'py, PyType>> {
        imported(py, &self.class, "sluicegate._exceptions", self.name)
    }

    /// The class, if it has been loaded and nothing has to be done before it is raised. Drops no reference and raises nothing.
    pub(crate) fn at_hand<'py>(&'static self, py: Python<'py>) -> Option<&'py Bound<'py, PyType>> {
        self.class.get(py).filter(|_| !self.is_queues || nothing_to_adopt(py).unwrap_or(false))
    }

    /// Creates an exception with these arguments. The exception that is being handled becomes its context, as if it were raised in Python.
    pub(crate) fn with<'py>(&'static self, py: Python<'py>, args: impl IntoPyObject<'py, Target = PyTuple>) -> PyErr {
        let made = || -> PyResult<PyErr> {
            if self.is_queues {
                look_for_asyncio(py)?;
            }
            guarded::raise(self.class(py)?, &args.into_pyobject(py).map_err(Into::into)?.into_bound());
            Ok(PyErr::fetch(py))
        };
        made().unwrap_or_else(|error| error)
    }

    fn is_of(&'static self, py: Python<'_>, error: &PyErr) -> bool {
        self.class(py).is_ok_and(|class| error.is_instance(py, class))
    }
}

/// The arguments of a refusal that always says the same: made for the first one, and shared by all.
#[derive(Debug, Default)]
pub(crate) struct SharedArgs(OnceLock<Py<PyTuple>>);

impl SharedArgs {
    pub(crate) fn get<'py>(
        &self,
        py: Python<'py>,
        make: impl FnOnce() -> PyResult<Bound<'py, PyTuple>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        if let Some(args) = self.0.get() {
            return Ok(args.bind(py).clone());
        }
        let args = make()?; // outside the lock: it may run Python code
        let _ = self.0.set(args.clone().unbind());
        Ok(args)
    }
}

/// Normalises a lazy exception without releasing the GIL. (PyO3 would release it.)
pub(crate) fn made_at_once(py: Python<'_>, error: PyErr) -> PyErr {
    error.restore(py);
    PyErr::fetch(py)
}

macro_rules! exception {
    ($(#[$doc:meta])* $function:ident, $class:ident, $kind:ident $name:literal) => {
        pub(crate) static $class: Exception = Exception::$kind($name);

        $(#[$doc])*
        pub(crate) fn $function<'py>(py: Python<'py>, args: impl IntoPyObject<'py, Target = PyTuple>) -> PyErr {
            $class.with(py, args)
        }
    };
}

exception!(
    /// There was no room (in time).
    full, FULL, of_queues "Full"
);
exception!(
    /// There was no item (in time).
    empty, EMPTY, of_queues "Empty"
);
exception!(
    /// A limiter admits the request only later.
    rate_limited, RATE_LIMITED, new "RateLimited"
);
/// A breaker does not let a call through.
pub(crate) static CIRCUIT_OPEN: Exception = Exception::new("CircuitOpen");
exception!(
    /// There was no room for a call (in time).
    overloaded, OVERLOADED, new "Overloaded"
);

exception!(
    /// The queue has been shut down.
    shut_down, SHUT_DOWN, of_queues "ShutDown"
);

exception!(
    /// An error of a channel for which there is no special class.
    channel_error, CHANNEL_ERROR, new "ChannelError"
);
exception!(
    /// The channel has been completed.
    channel_closed, CHANNEL_CLOSED, new "ChannelClosed"
);
exception!(
    /// The receiver has cancelled or is gone.
    channel_cancelled, CHANNEL_CANCELLED, new "ChannelCancelled"
);
exception!(
    /// A sender has failed.
    channel_failed, CHANNEL_FAILED, new "ChannelFailed"
);
exception!(
    /// The delivery has been requeued or given up.
    stale_delivery, STALE_DELIVERY, new "StaleDelivery"
);

pub(crate) fn is_channel_closed(py: Python<'_>, error: &PyErr) -> bool {
    CHANNEL_CLOSED.is_of(py, error)
}

pub(crate) fn is_stale_delivery(py: Python<'_>, error: &PyErr) -> bool {
    STALE_DELIVERY.is_of(py, error)
}

/// True if it is a `Full`, `Empty` or `ShutDown` of this package, of `queue` or of asyncio.
pub(crate) fn ends_a_queue(py: Python<'_>, error: &PyErr) -> bool {
    [&FULL, &EMPTY, &SHUT_DOWN].into_iter().any(|ours| {
        ours.is_of(py, error)
            || ours.class(py).is_ok_and(|class| {
                class.bases().iter().any(|base| !base.is(py.get_type::<PyException>()) && error.is_instance(py, &base))
            })
    })
}

/// True if it is a refusal of this package: `RateLimited`, `CircuitOpen` or `Overloaded`.
pub(crate) fn is_refused(py: Python<'_>, error: &Bound<'_, PyAny>) -> bool {
    static REFUSED: Exception = Exception::new("Refused");
    REFUSED.class(py).and_then(|class| error.is_instance(class)).unwrap_or(false)
}

/// True if it is this package's `ShutDown`.
pub(crate) fn is_shut_down(py: Python<'_>, error: &PyErr) -> bool {
    SHUT_DOWN.is_of(py, error)
}
