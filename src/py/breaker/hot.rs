//! The hot methods of breakers and their permits.

use pyo3::prelude::*;
use sluicegate_core::keys::KeyHash;

use super::class::PyCircuitBreaker;
use super::keyed::PyKeyedBreaker;
use super::permit::PyCircuitPermit;
use crate::rt::entries::{acquire_fast, end_fast, enter_fast, enter_now, leave, succeed, try_acquire, try_fast};
use crate::rt::exceptions;
use crate::rt::hot::{attached, boolean, created, none, raise_of};
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::interned;
use crate::rt::keys::of_handle;

hot_methods! {
    fn install_permit() for PyCircuitPermit as "CircuitPermit";

    /// Begin the call. Return True. Never waits.
    ///
    /// Raises CircuitOpen if the breaker does not let it through, RuntimeError if the permit is held already.
    fn acquire(this) {
        fast: acquire_fast(this),
        general: enter_now(this.get(), this.py()).map(|()| boolean(this.py(), true)),
    }

    /// Begin the call if the breaker lets it through. Return whether it does. Never waits.
    ///
    /// Raises RuntimeError if the permit is held already.
    fn try_acquire(this) {
        fast: try_fast(this),
        general: try_acquire(this.get(), this.py()),
    }

    /// Report that the call succeeded. Only the first report counts: later ones, and how the block ends, have no effect.
    ///
    /// Raises RuntimeError if the permit has not been admitted.
    fn success(this) {
        fast: end_fast(this),
        general: succeed(this.get(), this.py()),
    }

    /// Begin the call, as `acquire`.
    fn __enter__(this) {
        fast: enter_fast(this),
        general: enter_now(this.get(), this.py()).map(|()| this.clone().into_any().unbind()),
    }

    /// Record the result, which is taken from how the block ends.
    fn __exit__(this, exc_type, exc_value, traceback) {
        fast: if exc_value.is_none() { end_fast(this) } else { Fast::Declined },
        general: leave(this.get(), &exc_value),
    }
}

hot_methods! {
    fn install_breaker() for PyCircuitBreaker as "CircuitBreaker";

    /// Return a permit for one call: a context manager (`with`, `async with`).
    ///
    /// Entering it raises CircuitOpen if the breaker does not let the call through. The end of the block records
    /// the result: see the class, and `CircuitPermit.success`, `failure` and `ignore`.
    fn permit(this) {
        fast: match this.get().ready() {
            Ok(()) => created(this.py(), PyCircuitPermit::new(this.to_owned().unbind())),
            Err(error) => attached(|_| Err(error)),
        },
        general: this.get().ready().and(Ok(Py::new(this.py(), PyCircuitPermit::new(this.clone().unbind()))?.into_any())),
    }

    /// Raise CircuitOpen, and count that, if a call that began now would be refused. No call begins, and no probe is taken.
    fn _refuse(this) {
        fast: {
            let (breaker, py) = (this.get(), this.py());
            if breaker.ready().is_err() || breaker.is_entered(py) {
                Fast::Declined
            } else {
                match breaker.refuse(py) {
                    None => Fast::Done(none(py)),
                    Some(refusal) => raise_of(py, &exceptions::CIRCUIT_OPEN, breaker.refusal(py, refusal)),
                }
            }
        },
        general: {
            let (breaker, py) = (this.get(), this.py());
            breaker.ready()?;
            match breaker.refuse(py) {
                None => Ok(none(py)),
                Some(refusal) => Err(exceptions::CIRCUIT_OPEN.with(py, breaker.refusal(py, refusal)?)),
            }
        },
    }
}

/// The hash of a key. `None` for a key whose hash needs Python, and for a subclass, which may have its own idea of a key.
#[inline]
fn plain_hash(this: Borrowed<'_, '_, PyKeyedBreaker>, key: &Bound<'_, PyAny>) -> Option<KeyHash> {
    this.is_exact_instance_of::<PyKeyedBreaker>().then(|| this.get().plain_hash(key)).flatten()
}

hot_methods! {
    fn install_keyed() for PyKeyedBreaker as "KeyedBreaker";

    /// Return a permit for one call with the key. Works as `CircuitBreaker.permit`.
    fn permit(this, key) {
        guarded true,
        fast: match plain_hash(this, &key) {
            Some(hash) => {
                let permit = PyCircuitPermit::of_key(this.to_owned().unbind(), hash, key.to_owned().unbind());
                created(this.py(), permit)
            }
            None => Fast::Declined,
        },
        general: of_handle(this.as_any(), &key, interned!(this.py(), "permit"), &[]),
    }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_keyed(&py.get_type::<PyKeyedBreaker>())?;
    install_permit(&py.get_type::<PyCircuitPermit>())?;
    install_breaker(&py.get_type::<PyCircuitBreaker>())
}
