//! `KeyedSemaphore`, and the handles of its keys.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::semaphore::Kind;

use super::inner::{PySemaphore, permits};
use super::permits::{Keys, Permits};
use crate::rt::arguments;
use crate::rt::class::{Common, refuse_copies, repr_head, snapshot};
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::keys::KeyHasher;

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

#[pymethods]
impl PyKeyedSemaphore {
    #[new]
    #[pyo3(signature = (value, *, max_keys, clock = None, name = None))]
    fn new(
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        max_keys: &Bound<'_, PyAny>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (size, max_keys) = (permits("value", value, 1)?, arguments::positive("max_keys", max_keys)?);
        let common = Common::new(py, name, clock)?;
        let core = Arc::new(Keys::new(size, max_keys, common.core_clock()));
        Ok(Self { core, hasher: KeyHasher::new(), size, max_keys, common })
    }

    /// Return the semaphore of one key, as a light handle with the whole interface of a bounded semaphore except
    /// `resize`.
    ///
    /// Raises TypeError for a key of an unsupported type.
    fn key<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PySemaphoreKey>> {
        let (py, this) = (slf.py(), slf.get());
        let hash = this.hasher.hash(key)?;
        let (keys, owner) = (Arc::clone(&this.core), slf.clone().into_any().unbind());
        let permits = Permits::Key { keys, hash, key: key.clone().unbind(), owner };
        let semaphore = PySemaphore { permits, common: this.common.clone_ref(py), kind: Kind::Bounded };
        Bound::new(py, PyClassInitializer::from(semaphore).add_subclass(PySemaphoreKey))
    }

    /// The name given at creation, for `repr`, messages and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.common.name(py)
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
        let seen = self.core.statistics(py);
        let counts = [
            ("keys", seen.keys as u64),
            ("waiting_keys", seen.waiting_keys as u64),
            ("held", seen.held),
            ("acquired", seen.acquired),
            ("waiters", seen.waiters as u64),
        ];
        snapshot(py, "KeyedSemaphoreStatistics", &self.common, &counts, &[("waited_seconds", seen.waited)])
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let seen = this.core.statistics(py);
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        Ok(format!("{head} size={} max_keys={} keys={} waiters={}>", this.size, this.max_keys, seen.keys, seen.waiters))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        let shown = Shown::to(&visit);
        self.core.visit_wakers(attached_in_traverse(), |waker| shown.waker(waker));
        shown.outcome()
    }
}

refuse_copies!(PyKeyedSemaphore);
