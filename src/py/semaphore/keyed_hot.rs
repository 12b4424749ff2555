//! The hot methods of `KeyedSemaphore`. The rare cases go through a handle of the key.

use pyo3::prelude::*;
use pyo3::types::PyBool;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::semaphore::AcquireError;

use super::hot::trivial_weight;
use super::keyed::PyKeyedSemaphore;
use super::permit::{PyPermit, Source};
use super::permits::Keys;
use crate::rt::hot::{Fast, boolean, created, deliver, may_wait, plain_timeout};
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::interned;
use crate::rt::keys::of_handle;

type Argument<'a, 'py> = Option<Borrowed<'a, 'py, PyAny>>;

/// The keys and the hash of one. `None` for a key whose hash needs Python, and for a subclass, which may have its own idea of a key.
#[inline]
fn plain_key<'a>(this: Borrowed<'a, '_, PyKeyedSemaphore>, key: &Bound<'_, PyAny>) -> Option<(&'a Keys, KeyHash)> {
    this.is_exact_instance_of::<PyKeyedSemaphore>().then(|| this.get().plain(key)).flatten()
}

/// Takes permits of a key if that goes at once, and tells who does not wait that they are not free.
#[inline]
fn take_of_key(this: Borrowed<'_, '_, PyKeyedSemaphore>, key: &Bound<'_, PyAny>, n: Argument<'_, '_>, waits: bool) -> Fast {
    let py = this.py();
    let (Some(n), Some((keys, hash))) = (trivial_weight(n), plain_key(this, key)) else { return Fast::Declined };
    if keys.is_entered(py, hash) {
        return Fast::Declined;
    }
    match keys.try_acquire(py, hash, n) {
        Ok(()) => Fast::Done(boolean(py, true)),
        Err(AcquireError::Busy) if !waits => Fast::Done(boolean(py, false)),
        Err(_) => Fast::Declined,
    }
}

#[inline]
fn give_of_key(this: Borrowed<'_, '_, PyKeyedSemaphore>, key: &Bound<'_, PyAny>, n: Argument<'_, '_>) -> Fast {
    let py = this.py();
    let (Some(n), Some((keys, hash))) = (trivial_weight(n), plain_key(this, key)) else { return Fast::Declined };
    if keys.is_entered(py, hash) {
        return Fast::Declined;
    }
    let (wakes, result) = keys.release(py, hash, n);
    deliver(wakes);
    if result.is_ok() { Fast::Done(py.None()) } else { Fast::Declined }
}

/// Does `acquire` with these arguments wait? `None` if there is something to report about them.
#[inline]
fn acquire_waits(blocking: Argument<'_, '_>, timeout: Argument<'_, '_>) -> Option<bool> {
    match blocking {
        None => may_wait(timeout),
        Some(blocking) if timeout.is_none() => blocking.cast_exact::<PyBool>().ok().map(|blocking| blocking.is_true()),
        Some(_) => None,
    }
}

hot_methods! {
    fn install_methods() for PyKeyedSemaphore as "KeyedSemaphore";

    /// Acquire `n` permits of the key, waiting until free, and return True. Works as `Semaphore.acquire`.
    fn acquire(this, key, blocking = True, timeout = None, n = 1) {
        guarded true,
        fast: match acquire_waits(blocking, timeout) {
            Some(waits) => take_of_key(this, &key, n, waits),
            None => Fast::Declined,
        },
        general: of_handle(this.as_any(), &key, interned!(this.py(), "acquire"), &[("blocking", blocking), ("timeout", timeout), ("n", n)]),
    }

    /// Acquire `n` permits of the key if they are free and nobody is waiting. Works as `Semaphore.try_acquire`.
    fn try_acquire(this, key, n = 1) {
        guarded true,
        fast: take_of_key(this, &key, n, false),
        general: of_handle(this.as_any(), &key, interned!(this.py(), "try_acquire"), &[("n", n)]),
    }

    /// Release `n` permits of the key. Raises ValueError if fewer are held. Works as `Semaphore.release`.
    fn release(this, key, n = 1) {
        guarded true,
        fast: give_of_key(this, &key, n),
        general: of_handle(this.as_any(), &key, interned!(this.py(), "release"), &[("n", n)]),
    }

    /// Return a context manager that holds `n` permits of the key while its block runs. Works as `Semaphore.permit`.
    fn permit(this, key, n = 1, *, timeout = None) {
        guarded true,
        fast: match (plain_key(this, &key), trivial_weight(n), plain_timeout(timeout)) {
            (Some((_, hash)), Some(n), Some(timeout)) => {
                let permits = PyKeyedSemaphore::permits_of(&this, &key, hash);
                created(this.py(), PyPermit::new(Source::Key(permits), n, timeout))
            }
            _ => Fast::Declined,
        },
        general: of_handle(this.as_any(), &key, interned!(this.py(), "permit"), &[("n", n), ("timeout", timeout)]),
    }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_methods(&py.get_type::<PyKeyedSemaphore>())
}
