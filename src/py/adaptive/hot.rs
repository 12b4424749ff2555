//! The hot methods of adaptive limits and their permits.

use pyo3::prelude::*;

use super::class::PyAdaptiveConcurrency;
use super::options::priority as level;
use super::permit::{PyConcurrencyPermit, patience};
use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::entries::{acquire_fast, end_fast, enter_fast, leave, succeed, try_acquire, try_fast};
use crate::rt::hot::{boolean, created};
use crate::rt::hot_methods::hot_methods;
use crate::rt::permit::{enter, enter_within};

hot_methods! {
    fn install_permit() for PyConcurrencyPermit as "ConcurrencyPermit";

    /// Begin the call, waiting in the wait queue for a slot, and return True.
    ///
    /// It waits at most `timeout` seconds; without it, as long as the `timeout` of the permit says. Raises Overloaded if there is
    /// neither a slot nor a place in the wait queue, if no slot was free in time, or if the call was shed; RuntimeError if the
    /// permit is held already; ValueError, TypeError or OverflowError for an invalid `timeout`.
    ///
    /// If an exception from a signal handler interrupts the wait, nothing has been acquired, and later waiters move up.
    fn acquire(this, *, timeout = None) {
        fast: if timeout.is_none() { acquire_fast(this) } else { Fast::Declined },
        general: {
            let timeout = patience(this.get(), timeout.as_deref())?;
            enter_within(this, timeout).map(|()| boolean(this.py(), true))
        },
    }

    /// Begin the call if a slot is free and nobody is waiting. Return whether it has begun. Never waits.
    ///
    /// Raises RuntimeError if the permit is held already.
    fn try_acquire(this) {
        fast: try_fast(this),
        general: try_acquire(this.get(), this.py()),
    }

    /// The fast path of `async with`.
    fn _try_enter(this) {
        fast: if aio::spend() { acquire_fast(this) } else { Fast::Declined },
    }

    /// Report that the call was served. Only the first report counts: later ones, and how the block ends, have no effect.
    ///
    /// How long it took counts. Raises RuntimeError if the permit has not been admitted.
    fn success(this) {
        fast: end_fast(this),
        general: succeed(this.get(), this.py()),
    }

    /// Begin the call, as `acquire`.
    fn __enter__(this) {
        fast: enter_fast(this),
        general: enter(this).map(|()| this.clone().into_any().unbind()),
    }

    /// Record the result, which is taken from how the block ends.
    fn __exit__(this, exc_type, exc_value, traceback) {
        fast: if exc_value.is_none() { end_fast(this) } else { Fast::Declined },
        general: leave(this.get(), &exc_value),
    }
}

hot_methods! {
    fn install_limiter() for PyAdaptiveConcurrency as "AdaptiveConcurrency";

    /// Return a permit for one call: a context manager (`with`, `async with`).
    ///
    /// Entering it waits in the wait queue for a slot, at most `timeout` seconds, or raises Overloaded; the end of the block records
    /// the result: see the class, and `ConcurrencyPermit.success`, `failure` and `ignore`. With a `max_waiting` of 0 there is no wait
    /// queue, and a call that finds no slot is refused at once, whatever `timeout` says.
    ///
    /// `priority` is from 0, the most urgent, to 4. When there is little room, less urgent calls are refused first.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid argument.
    fn permit(this, *, priority = 0, timeout = None) {
        fast: if priority.is_none() && timeout.is_none() && this.get().parts.is_made() {
            created(this.py(), PyConcurrencyPermit::new(this.to_owned().unbind(), 0, Timeout::Forever))
        } else {
            Fast::Declined
        },
        general: {
            this.get().parts.ready()?;
            let priority = priority.as_deref().map_or(Ok(0), level)?;
            let timeout = Timeout::parse_strict("timeout", timeout.as_deref())?;
            Ok(Py::new(this.py(), PyConcurrencyPermit::new(this.clone().unbind(), priority, timeout))?.into_any())
        },
    }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_permit(&py.get_type::<PyConcurrencyPermit>())?;
    install_limiter(&py.get_type::<PyAdaptiveConcurrency>())
}
