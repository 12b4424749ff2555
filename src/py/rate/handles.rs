//! The handles of keys: `TokenBucketKey`, `LeakyBucketKey`, `SlidingWindowKey`.

use pyo3::prelude::*;

use super::limiter::{PyRateLimiter, Target};
use super::shapes::{bucket_methods, leaky_methods, window_methods};

/// The bucket of one key, as returned by `KeyedTokenBucket.key`. A light handle: the `KeyedTokenBucket` holds the
/// bucket's state.
///
/// Its `statistics()` shows who waits for the key now. The other counters are kept for all keys together: those of one key
/// may begin anew whenever nobody waits for it.
#[pyclass(frozen, weakref, extends = PyRateLimiter, name = "TokenBucketKey", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyTokenBucketKey;

/// The leaky bucket of one key, as returned by `KeyedLeakyBucket.key`. A light handle: the `KeyedLeakyBucket` holds the
/// bucket's state.
///
/// Its `statistics()` shows who waits for the key now. The other counters are kept for all keys together: those of one key
/// may begin anew whenever nobody waits for it.
#[pyclass(frozen, weakref, extends = PyRateLimiter, name = "LeakyBucketKey", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyLeakyBucketKey;

/// The window of one key, as returned by `KeyedSlidingWindow.key`. A light handle: the `KeyedSlidingWindow` holds the
/// window's state.
///
/// Its `statistics()` shows who waits for the key now. The other counters are kept for all keys together: those of one key
/// may begin anew whenever nobody waits for it.
#[pyclass(frozen, weakref, extends = PyRateLimiter, name = "SlidingWindowKey", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySlidingWindowKey;

/// Gives handles the getter of their key.
macro_rules! keys_of {
    ($($class:ty),*) => {
        $(#[pymethods]
        impl $class {
            /// The key.
            #[getter]
            fn key(slf: &Bound<'_, Self>) -> Py<PyAny> {
                match slf.as_super().get().target() {
                    Target::Key { key, .. } => key.clone_ref(slf.py()),
                    _ => slf.py().None(),
                }
            }
        })*
    };
}
keys_of!(PyTokenBucketKey, PyLeakyBucketKey, PySlidingWindowKey);

bucket_methods! {
    PyTokenBucketKey:
    /// Give this key a rate of its own (per the same period) and, if given, a burst of its own, from now on.
    ///
    /// Tokens are kept as far as they fit, and debts are kept. The key is remembered until
    /// `KeyedTokenBucket.forget(key)`.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
}

leaky_methods! {
    PyLeakyBucketKey:
    /// Give this key a rate of its own (per the same period) and, if given, a capacity of its own, from now on.
    ///
    /// The key is remembered until `KeyedLeakyBucket.forget(key)`.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
}

window_methods! {
    PySlidingWindowKey:
    /// Give this key a limit of its own and, if given, a period of its own, from now on.
    ///
    /// Amounts already taken still count. The key is remembered until `KeyedSlidingWindow.forget(key)`.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
}
