//! `KeyedTokenBucket`, and the handles of its keys.

use std::sync::{Arc, Weak};

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{Refusal, Terms, Units};
use sluicegate_core::section::Section;
use sluicegate_core::wait::Wakes;

use super::Keyed;
use super::amounts::{amount, period_of, positive_number, rate_of, scale};
use super::buckets::Buckets;
use super::class::{statistics, visit_tasks};
use super::keywords::{KEYED_TOKEN_BUCKET, SET_RATE};
use super::limiter::{PyRateLimiter, Shape, Target, burst_of, told};
use crate::rt::arguments::{self, Argument};
use crate::rt::class::{Common, refuse_copies, repr_head};
use crate::rt::gc::attached_in_traverse;
use crate::rt::keys::KeyHasher;
use crate::rt::waker::Waker;

/// So many sections share the keys: on the build with a global lock more than one would be no use.
#[cfg(Py_GIL_DISABLED)]
const SHARDS: usize = 64;
#[cfg(not(Py_GIL_DISABLED))]
const SHARDS: usize = 1;

/// A token bucket for each of very many keys (users, addresses, hosts), in bounded memory.
///
/// Each key has a bucket of `burst` tokens, refilled with `rate` tokens per `period` seconds, and a wait queue of
/// its own, so waiting for one key delays no other key. Keys are str, bytes, int, UUID, IP addresses, and tuples of
/// those; only a keyed 128-bit hash of each is stored. `key(k)` returns a light handle with the whole interface of
/// a token bucket; `try_acquire(key, n)` is the fastest way to use a key.
///
/// At most `max_keys` keys are remembered. A full bucket is forgotten when room is needed, because a new bucket
/// starts full anyway. A bucket that is in use (not full, waited for, or with a rate of its own) is never
/// forgotten, because forgetting a debt would admit more than the limit. If all buckets are in use, a new key is
/// refused with RateLimited, whose `retry_after` says when a bucket can be forgotten.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
///
/// Algorithm: GCRA (ITU-T I.371, annex A).
#[pyclass(frozen, subclass, weakref, name = "KeyedTokenBucket", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedTokenBucket {
    pub(super) buckets: Arc<Buckets>,
    hasher: KeyHasher,
    common: Common,
}

/// The bucket of one key, as returned by `KeyedTokenBucket.key`. A light handle: the `KeyedTokenBucket` holds the
/// bucket's state.
#[pyclass(frozen, weakref, extends = PyRateLimiter, name = "KeyedBucket", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedBucket;

impl PyKeyedTokenBucket {
    pub(super) fn hash(&self, key: &Bound<'_, PyAny>) -> PyResult<KeyHash> {
        self.hasher.hash(key)
    }

    /// The hot path, for a key of a kind that cannot run Python. The wake-ups are the caller's to fire.
    pub(super) fn everyday(&self, key: &Bound<'_, PyAny>, n: Units) -> Option<(Wakes<Waker>, Result<bool, Refusal>)> {
        let hash = if KeyHasher::is_plain(key) { self.hash(key).ok()? } else { return None };
        Some(self.buckets.core.try_acquire(key.py(), hash, n))
    }

    /// The error for what `everyday` said.
    pub(super) fn refused(&self, this: &Bound<'_, PyAny>, key: &Bound<'_, PyAny>, n: Units, refusal: Refusal) -> PyErr {
        self.hash(key).map_or_else(|error| error, |hash| self.buckets.refusal(this, hash, n, refusal))
    }

    pub(super) fn amount(&self, n: Option<&Bound<'_, PyAny>>) -> PyResult<Units> {
        let scale = self.buckets.core.scale();
        n.map_or_else(|| Ok(scale.per_token()), |n| amount("n", n, scale))
    }
}

#[pymethods]
impl PyKeyedTokenBucket {
    #[new]
    #[pyo3(signature = (rate = Argument::MISSING, *more, burst = Argument::MISSING, max_keys = Argument::MISSING, period = Argument::MISSING, clock = None, name = None, **unknown), text_signature = "(rate, *, burst, max_keys, period=1.0, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "a constructor's parameters")]
    fn new(
        py: Python<'_>,
        rate: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        burst: Argument<'_, '_>,
        max_keys: Argument<'_, '_>,
        period: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        KEYED_TOKEN_BUCKET.refuse(rate.given(), more, unknown)?;
        let (rate, burst) = (KEYED_TOKEN_BUCKET.required("rate", &rate)?, KEYED_TOKEN_BUCKET.required("burst", &burst)?);
        let max_keys = KEYED_TOKEN_BUCKET.required("max_keys", &max_keys)?;
        let per_period = positive_number("rate", rate)?;
        let scale = scale("burst", burst)?;
        let (units, size) = burst_of(burst, scale)?;
        let max_keys = match arguments::positive("max_keys", max_keys)? {
            usize::MAX => return Err(PyOverflowError::new_err("'max_keys' is too large")),
            max_keys => max_keys,
        };
        let period = period_of(period.given())?;
        let rate = rate_of((rate, per_period), period, scale)?;
        let common = Common::new(py, name, clock)?;
        let terms = Terms { rate: per_period, size, period };
        let core = Keyed::new((rate, units, terms), scale, max_keys, SHARDS, common.core_clock());
        Ok(Self { buckets: Arc::new(Buckets { core, max_keys }), hasher: KeyHasher::new(), common })
    }

    /// Return the bucket of one key, as a light handle with the whole interface of a token bucket.
    ///
    /// Raises TypeError for a key of an unsupported type.
    fn key<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyKeyedBucket>> {
        let py = slf.py();
        let this = slf.get();
        let target = Target::Key {
            buckets: Arc::clone(&this.buckets),
            owner: slf.clone().into_any().unbind(),
            hash: this.hash(key)?,
            key: key.clone().unbind(),
            limiter: Section::new(Weak::new()),
        };
        let limiter = PyRateLimiter::new(target, Shape::Bucket, this.common.clone_ref(py));
        Bound::new(py, PyClassInitializer::from(limiter).add_subclass(PyKeyedBucket))
    }

    /// Change the rate (per the same period) and, if given, the burst, from now on.
    ///
    /// With `key` the change applies to that key alone, which is then remembered until `forget(key)`; otherwise it
    /// applies to every key without a rate of its own. Tokens are kept as far as they fit, and debts are kept.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed; RateLimited if there
    /// is no room for another key.
    #[pyo3(signature = (rate, *more, burst = None, key = Argument::MISSING, **unknown), text_signature = "($self, rate, *, burst=None, key=...)")]
    fn set_rate(
        slf: &Bound<'_, Self>,
        rate: &Bound<'_, PyAny>,
        more: &Bound<'_, PyTuple>,
        burst: Option<&Bound<'_, PyAny>>,
        key: Argument<'_, '_>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        SET_RATE.refuse(Some(rate), more, unknown)?;
        let py = slf.py();
        let this = slf.get();
        if let Some(key) = key.given() {
            let handle = Self::key(slf, key)?;
            return PyRateLimiter::set_rate(handle.as_super(), rate, burst);
        }
        let core = &this.buckets.core;
        let per_period = positive_number("rate", rate)?;
        let burst = burst.map(|burst| burst_of(burst, core.scale())).transpose()?;
        let rate = rate_of((rate, per_period), core.terms(py).period, core.scale())?;
        let told = told(per_period, burst.map(|(_, size)| size));
        core.set_rate(py, (rate, burst.map(|(units, _)| units)), told).fire();
        Ok(())
    }

    /// Remove the key's own rate, so that the default applies again. Its debt is kept. Return whether it had a rate of
    /// its own.
    ///
    /// Raises TypeError for a key of an unsupported type.
    fn forget(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let hash = self.hash(key)?;
        let (wakes, found) = self.buckets.core.forget(py, hash);
        wakes.fire();
        Ok(found)
    }

    /// The number of tokens refilled per `period`, for a key without a rate of its own.
    #[getter]
    fn rate(&self, py: Python<'_>) -> f64 {
        self.buckets.core.terms(py).rate
    }

    /// The largest number of tokens in a bucket, for a key without a rate of its own.
    #[getter]
    fn burst(&self, py: Python<'_>) -> f64 {
        self.buckets.core.terms(py).size
    }

    /// The length of time that `rate` refers to, in seconds.
    #[getter]
    fn period(&self, py: Python<'_>) -> f64 {
        self.buckets.core.terms(py).period
    }

    /// The largest number of keys that are remembered.
    #[getter]
    fn max_keys(&self) -> usize {
        self.buckets.max_keys
    }

    /// The name given at creation, for `repr` and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.common.name(py)
    }

    /// Return a snapshot of the counters and waiting times of all keys together.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (wakes, seen) = self.buckets.core.statistics(py);
        wakes.fire();
        let more = [("keys", seen.keys as u64), ("max_keys", self.buckets.max_keys as u64), ("forgotten", seen.forgotten)];
        statistics(py, "KeyedRateStatistics", self.name(py), seen.total, &more)
    }

    fn __len__(&self) -> usize {
        self.buckets.core.len()
    }

    #[expect(clippy::unused_self, reason = "Python's protocol")]
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        let Terms { rate, size, period } = this.buckets.core.terms(py);
        let period = if (period - 1.0).abs() > 0.0 { format!(" period={period:?}") } else { String::new() };
        let (keys, most) = (this.buckets.core.len(), this.buckets.max_keys);
        Ok(format!("{head} rate={rate:?} burst={size:?}{period} keys={keys} max_keys={most}>"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        visit_tasks(visit, |each| self.buckets.core.visit_wakers(attached_in_traverse(), each))
    }
}

refuse_copies!(PyKeyedTokenBucket);

#[pymethods]
impl PyKeyedBucket {
    /// The key.
    #[getter]
    fn key(slf: &Bound<'_, Self>) -> Py<PyAny> {
        match &slf.as_super().get().target {
            Target::Key { key, .. } => key.clone_ref(slf.py()),
            Target::Own(_) => slf.py().None(),
        }
    }

    /// The number of tokens refilled per `period`.
    #[getter]
    fn rate(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).rate
    }

    /// The largest number of tokens the bucket holds.
    #[getter]
    fn burst(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).size
    }

    /// The length of time that `rate` refers to, in seconds.
    #[getter]
    fn period(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).period
    }

    /// Give this key a rate of its own (per the same period) and, if given, a burst of its own, from now on.
    ///
    /// Tokens are kept as far as they fit, and debts are kept. The key is remembered until
    /// `KeyedTokenBucket.forget(key)`.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
    #[pyo3(signature = (rate, *more, burst = None, **unknown), text_signature = "($self, rate, *, burst=None)")]
    fn set_rate(
        slf: &Bound<'_, Self>,
        rate: &Bound<'_, PyAny>,
        more: &Bound<'_, PyTuple>,
        burst: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        SET_RATE.refuse(Some(rate), more, unknown)?;
        PyRateLimiter::set_rate(slf.as_super(), rate, burst)
    }
}
