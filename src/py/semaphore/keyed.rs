//! `KeyedSemaphore`, and the handles of its keys.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyInt, PyTuple, PyType};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::semaphore::Overrelease;

use super::class::{Parts, PySemaphore, permits};
use super::permits::{Keys, Permits};
use crate::rt::arguments::{self, Argument, text};
use crate::rt::class::{Common, common_methods, counts, repr_head, snapshot};
use crate::rt::gc::show_wakers;
use crate::rt::keys::{KeyHasher, SHARDS};
use crate::rt::late::{Late, is_made_later, made_late, refuse_more};

/// A semaphore of `value` permits for each of very many keys (hosts, users, tenants); only the keys in use take
/// memory.
///
/// Each key has permits and a wait queue of its own, so waiting for one key delays no other key. Keys are str,
/// bytes, int, UUID, IP addresses, and tuples of those; only a keyed 128-bit hash of each is stored. `key(k)`
/// returns a light handle with the whole interface of a semaphore; the methods of this class are the handle's, with
/// the key as the first argument.
///
/// An idle key is forgotten, and a key whose permits are held or waited for never is. Permits of at most `max_keys`
/// keys can be held at the same time: a request for a further key waits until another key is idle, and
/// `try_acquire` for it returns False.
///
/// Fairness: strictly first come, first served within each key; keys that wait for another to become idle are
/// served in the order of their first waiters.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
#[pyclass(frozen, subclass, weakref, name = "KeyedSemaphore", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedSemaphore {
    parts: Late<KeyedParts>,
}

/// The parts of a keyed semaphore.
#[derive(Debug)]
pub(crate) struct KeyedParts {
    core: Arc<Keys>,
    hasher: KeyHasher,
    size: u64,
    max_keys: usize,
    common: Common,
}

/// The semaphore of one key, as returned by `KeyedSemaphore.key`. A light handle: the `KeyedSemaphore` holds the
/// permits.
#[pyclass(frozen, weakref, extends = PySemaphore, name = "SemaphoreKey", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySemaphoreKey;

impl KeyedParts {
    fn new(size: u64, max_keys: usize, common: Common) -> Self {
        let core = Arc::new(Keys::new(size, max_keys, SHARDS, common.core_clock()));
        Self { core, hasher: KeyHasher::new(), size, max_keys, common }
    }
}

impl PyKeyedSemaphore {
    /// The keys and the hash of one, if that is known without Python.
    #[inline]
    pub(super) fn plain(&self, key: &Bound<'_, PyAny>) -> Option<(&Keys, KeyHash)> {
        self.parts.ready().ok()?;
        Some((&self.core, self.hasher.plain_hash(key)?))
    }

    /// The permits of the key with this hash.
    pub(super) fn permits_of(this: &Bound<'_, Self>, key: &Bound<'_, PyAny>, hash: KeyHash) -> Permits {
        Permits::of_key(this, &this.get().core, key, hash)
    }

    pub(super) fn common(&self) -> &Common {
        &self.common
    }
}

#[pymethods]
impl PyKeyedSemaphore {
    #[new]
    #[classmethod]
    #[pyo3(signature = (value = Argument::MISSING, *more, max_keys = Argument::MISSING, clock = None, name = None, **unknown), text_signature = "(value, *, max_keys, clock=None, name=None)")]
    fn new(
        class: &Bound<'_, PyType>,
        value: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        max_keys: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        if is_made_later::<Self>(class)? {
            return Ok(Self { parts: Late::unmade(KeyedParts::new(1, 1, Common::default())) });
        }
        let keys = more.get_item(0).ok().filter(PyAnyMethods::is_instance_of::<PyInt>);
        if let (Some(keys), None) = (keys, max_keys.given()) {
            // Python's sentence, and what is meant by it.
            let refused = refuse_more("KeyedSemaphore", more, None)
                .err()
                .map_or_else(String::new, |error| error.value(class.py()).to_string());
            return Err(PyTypeError::new_err(format!("{refused}; write max_keys={}", text(&keys))));
        }
        refuse_more("KeyedSemaphore", more, unknown)?;
        let missing = |name| PyTypeError::new_err(format!("KeyedSemaphore() missing 1 required argument: '{name}'"));
        let size = permits("value", value.given().ok_or_else(|| missing("value"))?, 1)?;
        let max_keys = arguments::positive("max_keys", max_keys.given().ok_or_else(|| missing("max_keys"))?)?;
        Ok(Self { parts: Late::made(KeyedParts::new(size, max_keys, Common::new(class.py(), name, clock)?)) })
    }

    /// Return the semaphore of one key, as a light handle with the whole interface of a bounded semaphore except
    /// `resize`.
    ///
    /// Raises TypeError for a key of an unsupported type.
    fn key<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PySemaphoreKey>> {
        let (py, this) = (slf.py(), slf.get());
        this.parts.ready()?;
        let permits = Self::permits_of(slf, key, this.hasher.hash(key)?);
        let parts = Parts::new(permits, Overrelease::Bounded, this.common.clone_ref(py));
        let semaphore = PySemaphore { parts: Late::made(parts) };
        Bound::new(py, PyClassInitializer::from(semaphore).add_subclass(PySemaphoreKey))
    }

    /// The number of permits of each key.
    #[getter]
    fn size(&self) -> u64 {
        self.size
    }

    /// The largest number of keys whose permits can be held at the same time.
    #[getter]
    fn max_keys(&self) -> usize {
        self.max_keys
    }

    /// Return a snapshot of the permits, counters and waiting times of all keys together.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.parts.ready()?;
        let seen = self.core.statistics_of_all(py);
        let counts = counts!(seen: keys, waiting_keys, held, acquired, waiters);
        snapshot(py, "KeyedSemaphoreStatistics", self.common.name(py), &counts, &[("waited_seconds", seen.waited)])
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let seen = this.core.statistics_of_all(py);
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        Ok(format!("{head} size={} max_keys={} keys={} waiters={}>", this.size, this.max_keys, seen.keys, seen.waiters))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        show_wakers(&visit, |py, each| self.core.visit_wakers(py, each))
    }
}

made_late!(PyKeyedSemaphore, KeyedParts);
common_methods!(PyKeyedSemaphore, common);
