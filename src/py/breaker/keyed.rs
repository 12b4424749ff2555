//! `KeyedBreaker`, and the handles of its keys.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple, PyType};
use sluicegate_core::breaker::Keyed;
use sluicegate_core::keys::KeyHash;

use super::class::PyCircuitBreaker;
use super::options::{Options, refuse_args};
use super::target::{Keys, Target};
use crate::rt::arguments;
use crate::rt::class::{Common, common_methods, counts, repr_head, snapshot};
use crate::rt::keys::{KeyHasher, SHARDS};
use crate::rt::late::{Late, is_made_later, made_late};

/// A circuit breaker for each of very many keys (hosts, users, tenants), in bounded memory.
///
/// It takes the arguments of a CircuitBreaker, and `max_keys`. Keys are str, bytes, int, UUID, IP addresses, and tuples
/// of those; only a keyed 128-bit hash of each is stored. `key(k)` returns a light handle with the whole interface of a
/// breaker; the methods of this class are the handle's, with the key as the first argument, and `on_change` is called
/// with the key before its other arguments.
///
/// At most `max_keys` keys are remembered. To make room for another, a key is forgotten that has been closed without a
/// failure in the last `window` seconds. A breaker that is open is never forgotten while it is open. If no key can be
/// forgotten, calls for further keys are let through without being counted; the statistics say how many.
///
/// Fairness: nobody waits; of several calls of a key at the same moment those that come first become its probes. The
/// sources of the rules are those that CircuitBreaker names.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
#[pyclass(frozen, subclass, weakref, name = "KeyedBreaker", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedBreaker {
    parts: Late<Parts>,
}

/// What a keyed breaker is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    keys: Arc<Keys>,
    hasher: KeyHasher,
    common: Common,
}

impl Parts {
    fn new(max_keys: usize, Options { rules, judge, common }: Options) -> Self {
        let core = Keyed::new(rules, max_keys, SHARDS, common.core_clock());
        Self { keys: Arc::new(Keys { core, judge }), hasher: KeyHasher::new(), common }
    }
}

/// The breaker of one key, as returned by `KeyedBreaker.key`. A light handle: the `KeyedBreaker` holds the breaker's
/// state.
#[pyclass(frozen, weakref, extends = PyCircuitBreaker, name = "BreakerKey", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyBreakerKey;

impl PyKeyedBreaker {
    #[inline]
    pub(super) fn keys(&self) -> &Keys {
        &self.parts.keys
    }

    pub(super) fn common(&self) -> &Common {
        &self.parts.common
    }

    /// The hash of a key of a kind that cannot run Python. `None` also if the object has not been made.
    #[inline]
    pub(super) fn plain_hash(&self, key: &Bound<'_, PyAny>) -> Option<KeyHash> {
        self.parts.ready().ok()?;
        self.parts.hasher.plain_hash(key)
    }
}

#[pymethods]
impl PyKeyedBreaker {
    #[new]
    #[classmethod]
    #[pyo3(
        signature = (*args, **options),
        text_signature = "(*, max_keys, failure_rate=0.5, window=10.0, min_calls=20, run=5, slow_after=None, slow_rate=0.8, open_for=5.0, open_for_max=60.0, probes=3, probe_timeout=30.0, failure=..., ignore=(), on_change=None, calls=None, metrics_only=False, clock=None, name=None)"
    )]
    fn new(class: &Bound<'_, PyType>, args: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let py = class.py();
        if is_made_later::<Self>(class)? {
            return Ok(Self { parts: Late::unmade(Parts::new(1, Options::new(py, "KeyedBreaker", &[], None)?)) });
        }
        refuse_args("KeyedBreaker", args)?;
        let max_keys = options.map(|options| options.get_item("max_keys")).transpose()?.flatten();
        let max_keys = max_keys
            .ok_or_else(|| PyTypeError::new_err("KeyedBreaker() missing 1 required keyword-only argument: 'max_keys'"))?;
        let max_keys = arguments::positive("max_keys", &max_keys)?;
        let options = Options::new(py, "KeyedBreaker", &["max_keys"], options)?;
        Ok(Self { parts: Late::made(Parts::new(max_keys, options)) })
    }

    /// Return the breaker of one key, as a light handle with the whole interface of a breaker.
    ///
    /// Raises TypeError for a key of an unsupported type.
    pub(super) fn key<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBreakerKey>> {
        let (py, this) = (slf.py(), slf.get());
        this.parts.ready()?;
        let hash = this.hasher.hash(key)?;
        let target = Target::of_key(slf, &this.keys, key, hash);
        let breaker = PyCircuitBreaker::of_key(target, this.common.clone_ref(py));
        Bound::new(py, PyClassInitializer::from(breaker).add_subclass(PyBreakerKey))
    }

    /// The largest number of keys that are remembered.
    #[getter]
    fn max_keys(&self) -> usize {
        self.keys.max_keys()
    }

    /// Return a snapshot of the counters of all keys together.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.parts.ready()?;
        let seen = self.keys.statistics_of_all(py);
        let totals = seen.totals;
        let counts = [
            counts!(seen: keys, open, untracked, forgotten).as_slice(),
            &counts!(totals: calls, successes, failures, slow, ignored, stale, refused, opened),
            &[("max_keys", self.keys.max_keys() as u64)],
        ]
        .concat();
        snapshot(py, "KeyedBreakerStatistics", self.common.name(py), &counts, &[])
    }

    fn __len__(&self) -> usize {
        self.keys.len()
    }

    #[expect(clippy::unused_self, reason = "Python's protocol")]
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let seen = this.keys.statistics_of_all(py);
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        Ok(format!("{head} keys={} open={} max_keys={}>", seen.keys, seen.open, this.keys.max_keys()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        self.keys.judge.traverse(&visit)
    }
}

#[pymethods]
impl PyBreakerKey {
    /// The key.
    #[getter]
    fn key(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        slf.as_super().get().target.key().map(|of| of.key.clone_ref(slf.py()))
    }
}

made_late!(PyKeyedBreaker, Parts);
common_methods!(PyKeyedBreaker, common);
