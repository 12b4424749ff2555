//! `KeyedLimiter` and its kinds: `KeyedTokenBucket`, `KeyedLeakyBucket`, `KeyedSlidingWindow`. The handles of their keys are in `handles`.

use std::sync::{Arc, OnceLock, Weak};

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple, PyType};
use sluicegate_core::clock::Clock;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{BucketLaw, Law, Refusal, Scale, Terms, Units, WindowLaw};
use sluicegate_core::section::Section;
use sluicegate_core::wait::Wakes;

use super::Keyed;
use super::amounts::amount;
use super::class::statistics;
use super::handles::{PyLeakyBucketKey, PySlidingWindowKey, PyTokenBucketKey};
use super::keys::{Change, Keys};
use super::keywords::{KEYED_LEAKY_BUCKET, KEYED_SLIDING_WINDOW, KEYED_TOKEN_BUCKET, SET_LEAKY_RATE, SET_RATE};
use super::limiter::{PyRateLimiter, Shape, Target};
use super::permit::{OfHandle, OfKey};
use super::shapes::{Counted, bucket_change, bucket_of, leaky_change, leaky_of, limit_change, window_of};
use crate::rt::arguments::{self, Argument};
use crate::rt::class::{Common, common_methods, repr_head};
use crate::rt::gc::show_wakers;
use crate::rt::keys::{KeyHasher, SHARDS};
use crate::rt::late::{self, Late, is_made_later, made_late};
use crate::rt::waker::Waker;

/// The common base of `KeyedTokenBucket`, `KeyedLeakyBucket` and `KeyedSlidingWindow`: a limiter for each of very many
/// keys, in bounded memory. The class cannot be instantiated.
#[pyclass(frozen, subclass, weakref, name = "KeyedLimiter", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedLimiter {
    parts: Late<Parts>,
}

/// The parts of a keyed limiter.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(super) keys: Arc<dyn Keys>,
    hasher: KeyHasher,
    shape: Shape,
    max_keys: usize,
    common: Common,
}

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
#[pyclass(frozen, subclass, weakref, extends = PyKeyedLimiter, name = "KeyedTokenBucket", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedTokenBucket {
    /// The keys of the base, with their concrete type. Set before the base is made.
    buckets: OnceLock<Arc<Keyed<BucketLaw>>>,
}

/// A leaky bucket used as a shaper for each of very many keys, in bounded memory: requests for one key are admitted
/// evenly spaced, `rate` per `period` seconds.
///
/// At most `capacity` requests can wait for each key, reservations included; further requests are refused. Keys, and
/// which of them are remembered, are those of `KeyedTokenBucket`; a key whose next request would be admitted at once
/// may be forgotten.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
#[pyclass(frozen, subclass, weakref, extends = PyKeyedLimiter, name = "KeyedLeakyBucket", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedLeakyBucket;

/// A sliding window for each of very many keys, in bounded memory: it never admits more than `limit` tokens of one key
/// in any window of `period` seconds.
///
/// Of each key the last 16 moments at which something was admitted are remembered. If there were more of them in one
/// period, some become one, and their amounts count for up to a fifteenth of the period longer; never shorter, so the
/// limit holds. Keys, and which of them are remembered, are those of `KeyedTokenBucket`; a key of which nothing was
/// admitted for a period may be forgotten.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
#[pyclass(frozen, subclass, weakref, extends = PyKeyedLimiter, name = "KeyedSlidingWindow", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedSlidingWindow;

fn max_keys_of(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    match arguments::positive("max_keys", value)? {
        usize::MAX => Err(PyOverflowError::new_err("'max_keys' is too large")),
        max_keys => Ok(max_keys),
    }
}

impl PyKeyedLimiter {
    /// A limiter by this law, and its keys.
    fn of<L>(law: &L, (scale, terms): Counted, shape: Shape, max_keys: usize, common: Common) -> (Self, Arc<Keyed<L>>)
    where
        L: Law + 'static,
        Keyed<L>: Keys,
    {
        let keys: Arc<Keyed<L>> = Arc::new(Keyed::new(law, terms, scale, max_keys, SHARDS, common.core_clock()));
        let parts = Parts { keys: Arc::clone(&keys) as _, hasher: KeyHasher::new(), shape, max_keys, common };
        (Self { parts: Late::made(parts) }, keys)
    }

    /// It admits nothing.
    fn unmade() -> Self {
        let nothing = WindowLaw::new(0, 1);
        let keys: Keyed<WindowLaw> = Keyed::new(&nothing, Terms::default(), Scale::default(), 1, SHARDS, Clock::Monotonic);
        let parts =
            Parts { keys: Arc::new(keys), hasher: KeyHasher::new(), shape: Shape::Set, max_keys: 0, common: Common::default() };
        Self { parts: Late::unmade(parts) }
    }

    pub(super) fn hash(&self, key: &Bound<'_, PyAny>) -> PyResult<KeyHash> {
        self.parts.ready()?;
        self.hasher.hash(key)
    }

    /// The hash of a key of a kind that cannot run Python. `None` also if the object has not been made.
    pub(super) fn plain_hash(&self, key: &Bound<'_, PyAny>) -> Option<KeyHash> {
        if self.parts.is_made() { self.hasher.plain_hash(key) } else { None }
    }

    pub(super) fn common(&self) -> &Common {
        &self.parts.common
    }

    pub(super) fn amount(&self, n: Option<&Bound<'_, PyAny>>) -> PyResult<Units> {
        let scale = self.keys.scale();
        n.map_or_else(|| Ok(scale.per_token()), |n| amount("n", n, scale))
    }

    /// The limiter of the key with this hash.
    pub(super) fn handle(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, hash: KeyHash) -> PyResult<Py<PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let target = Target::Key {
            keys: Arc::clone(&this.keys),
            owner: slf.clone().into_any().unbind(),
            hash,
            key: key.clone().unbind(),
            limiter: Section::new(Weak::new()),
        };
        let limiter = PyClassInitializer::from(PyRateLimiter::new(target, this.shape, this.common.clone_ref(py)));
        Ok(match this.shape {
            Shape::Leaky => Py::new(py, limiter.add_subclass(PyLeakyBucketKey))?.into_any(),
            Shape::Window => Py::new(py, limiter.add_subclass(PySlidingWindowKey))?.into_any(),
            _ => Py::new(py, limiter.add_subclass(PyTokenBucketKey))?.into_any(),
        })
    }

    /// Applies a change to one key or, without `key`, to all.
    fn change(
        slf: &Bound<'_, Self>,
        key: Option<&Bound<'_, PyAny>>,
        (change, told): (Change, impl Fn(&mut Terms)),
    ) -> PyResult<()> {
        let this = slf.get();
        this.parts.ready()?;
        if let Some(key) = key {
            return this.keys.change_key(slf.as_any(), this.hash(key)?, change, &told);
        }
        this.keys.change(slf.py(), change, &told).fire();
        Ok(())
    }

    fn terms(&self, py: Python<'_>) -> Terms {
        self.keys.terms(py)
    }
}

#[pymethods]
impl PyKeyedLimiter {
    /// Return the limiter of one key, as a light handle with the whole interface of a limiter.
    ///
    /// Raises TypeError for a key of an unsupported type.
    pub(super) fn key(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Self::handle(slf, key, slf.get().hash(key)?)
    }

    /// Remove the key's own rate or limit, so that the default applies again. What it has taken still counts. Return
    /// whether it had one of its own.
    ///
    /// Raises TypeError for a key of an unsupported type.
    fn forget(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (wakes, found) = self.keys.forget(py, self.hash(key)?);
        wakes.fire();
        Ok(found)
    }

    /// The length of time that the rate or limit refers to, in seconds.
    #[getter]
    fn period(&self, py: Python<'_>) -> f64 {
        self.terms(py).period
    }

    /// The largest number of keys that are remembered.
    #[getter]
    fn max_keys(&self) -> usize {
        self.max_keys
    }

    /// Return a snapshot of the counters and waiting times of all keys together.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.parts.ready()?;
        let (wakes, seen) = self.keys.statistics(py);
        wakes.fire();
        let more = [("keys", seen.keys as u64), ("max_keys", self.max_keys as u64), ("forgotten", seen.forgotten)];
        statistics(py, "KeyedRateStatistics", self.common.name(py), seen.total, &more)
    }

    fn __len__(&self) -> usize {
        self.keys.len()
    }

    #[expect(clippy::unused_self, reason = "Python's protocol")]
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        let Terms { rate, size, period } = this.terms(py);
        let law = match this.shape {
            Shape::Window => format!("limit={size:?} period={period:?}"),
            Shape::Leaky => format!("rate={rate:?} capacity={size:.0}"),
            _ => format!("rate={rate:?} burst={size:?}"),
        };
        let plain = this.shape == Shape::Window || (period - 1.0).abs() <= 0.0;
        let period = if plain { String::new() } else { format!(" period={period:?}") };
        Ok(format!("{head} {law}{period} keys={} max_keys={}>", this.keys.len(), this.max_keys))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        show_wakers(&visit, |py, each| self.keys.visit_wakers(py, each))
    }
}

/// See [`OfKey::make`].
pub(super) fn request_of_key(keyed: &Bound<'_, PyAny>, of: &OfKey) -> PyResult<OfHandle> {
    let py = keyed.py();
    let handle = PyKeyedLimiter::handle(keyed.cast()?, of.key.bind(py), of.hash)?;
    let limiter = handle.bind(py).cast::<PyRateLimiter>()?;
    Ok(OfHandle { request: limiter.get().request(limiter.as_any(), of.n)?, handle })
}

made_late!(PyKeyedLimiter, Parts);
common_methods!(PyKeyedLimiter, common);

impl PyKeyedTokenBucket {
    pub(super) fn scale(&self) -> Scale {
        self.buckets.get().map_or_else(Scale::default, |buckets| buckets.scale())
    }

    /// The hot path. The caller fires the wake-ups.
    pub(super) fn try_acquire(&self, py: Python<'_>, hash: KeyHash, n: Units) -> (Wakes<Waker>, Result<bool, Refusal>) {
        self.buckets.get().expect("a hash is one of an object that is made").try_acquire(py, hash, n)
    }
}

#[pymethods]
impl PyKeyedTokenBucket {
    #[new]
    #[classmethod]
    #[pyo3(signature = (rate = Argument::MISSING, *more, burst = Argument::MISSING, max_keys = Argument::MISSING, period = Argument::MISSING, clock = None, name = None, **unknown), text_signature = "(rate, *, burst, max_keys, period=1.0, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "a constructor's parameters")]
    fn new(
        class: &Bound<'_, PyType>,
        rate: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        burst: Argument<'_, '_>,
        max_keys: Argument<'_, '_>,
        period: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        if is_made_later::<Self>(class)? {
            return Ok(PyClassInitializer::from(PyKeyedLimiter::unmade()).add_subclass(Self { buckets: OnceLock::new() }));
        }
        KEYED_TOKEN_BUCKET.refuse(rate.given(), more, unknown)?;
        let (rate, burst) = (KEYED_TOKEN_BUCKET.required("rate", &rate)?, KEYED_TOKEN_BUCKET.required("burst", &burst)?);
        let max_keys = KEYED_TOKEN_BUCKET.required("max_keys", &max_keys)?;
        let (rate, burst, counted) = bucket_of(rate, burst, period.given())?;
        let (max_keys, common) = (max_keys_of(max_keys)?, Common::new(class.py(), name, clock)?);
        let law = BucketLaw::new(rate, burst, common.core_clock().now());
        let (base, buckets) = PyKeyedLimiter::of(&law, counted, Shape::Bucket, max_keys, common);
        Ok(PyClassInitializer::from(base).add_subclass(Self { buckets: OnceLock::from(buckets) }))
    }

    /// Called by a subclass with an `__init__` of its own.
    #[pyo3(signature = (*args, **kwargs))]
    fn __init__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let base = slf.as_super().get();
        late::init(slf, args, kwargs, base.parts.is_made(), |like| {
            if let Some(buckets) = like.get().buckets.get() {
                // If two threads get here at once, one of them makes it.
                if slf.get().buckets.set(Arc::clone(buckets)).is_ok() {
                    base.parts.make_like(&like.as_super().get().parts);
                }
            }
            Ok(())
        })
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
        let this = slf.as_super().get();
        this.parts.ready()?;
        let change = bucket_change(rate, burst, this.terms(slf.py()), this.keys.scale())?;
        PyKeyedLimiter::change(slf.as_super(), key.given(), change)
    }

    /// The number of tokens refilled per `period`, for a key without a rate of its own.
    #[getter]
    fn rate(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).rate
    }

    /// The largest number of tokens in a bucket, for a key without a rate of its own.
    #[getter]
    fn burst(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).size
    }
}

#[pymethods]
impl PyKeyedLeakyBucket {
    #[new]
    #[classmethod]
    #[pyo3(signature = (rate = Argument::MISSING, *more, capacity = Argument::MISSING, max_keys = Argument::MISSING, period = Argument::MISSING, clock = None, name = None, **unknown), text_signature = "(rate, *, capacity, max_keys, period=1.0, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "a constructor's parameters")]
    fn new(
        class: &Bound<'_, PyType>,
        rate: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        capacity: Argument<'_, '_>,
        max_keys: Argument<'_, '_>,
        period: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        if is_made_later::<Self>(class)? {
            return Ok(PyClassInitializer::from(PyKeyedLimiter::unmade()).add_subclass(Self));
        }
        KEYED_LEAKY_BUCKET.refuse(rate.given(), more, unknown)?;
        let rate = KEYED_LEAKY_BUCKET.required("rate", &rate)?;
        let capacity = KEYED_LEAKY_BUCKET.required("capacity", &capacity)?;
        let max_keys = KEYED_LEAKY_BUCKET.required("max_keys", &max_keys)?;
        let (rate, capacity, counted) = leaky_of(rate, capacity, period.given())?;
        let (max_keys, common) = (max_keys_of(max_keys)?, Common::new(class.py(), name, clock)?);
        let law = BucketLaw::spaced(rate, capacity, common.core_clock().now());
        let (base, _) = PyKeyedLimiter::of(&law, counted, Shape::Leaky, max_keys, common);
        Ok(PyClassInitializer::from(base).add_subclass(Self))
    }

    /// Change the rate (per the same period) and, if given, the capacity, from now on.
    ///
    /// With `key` the change applies to that key alone, which is then remembered until `forget(key)`; otherwise it
    /// applies to every key without a rate of its own.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed; RateLimited if there
    /// is no room for another key.
    #[pyo3(signature = (rate, *more, capacity = None, key = Argument::MISSING, **unknown), text_signature = "($self, rate, *, capacity=None, key=...)")]
    fn set_rate(
        slf: &Bound<'_, Self>,
        rate: &Bound<'_, PyAny>,
        more: &Bound<'_, PyTuple>,
        capacity: Option<&Bound<'_, PyAny>>,
        key: Argument<'_, '_>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        SET_LEAKY_RATE.refuse(Some(rate), more, unknown)?;
        let this = slf.as_super().get();
        this.parts.ready()?;
        let change = leaky_change(rate, capacity, this.terms(slf.py()), this.keys.scale())?;
        PyKeyedLimiter::change(slf.as_super(), key.given(), change)
    }

    /// The number of tokens admitted per `period`, for a key without a rate of its own.
    #[getter]
    fn rate(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).rate
    }

    /// The largest number of requests that can wait for one key.
    #[getter]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was made of a u32")]
    fn capacity(slf: &Bound<'_, Self>) -> u32 {
        slf.as_super().get().terms(slf.py()).size as u32
    }
}

#[pymethods]
impl PyKeyedSlidingWindow {
    #[new]
    #[classmethod]
    #[pyo3(signature = (limit = Argument::MISSING, period = Argument::MISSING, *more, max_keys = Argument::MISSING, clock = None, name = None, **unknown), text_signature = "(limit, period, *, max_keys, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "a constructor's parameters")]
    fn new(
        class: &Bound<'_, PyType>,
        limit: Argument<'_, '_>,
        period: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        max_keys: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        if is_made_later::<Self>(class)? {
            return Ok(PyClassInitializer::from(PyKeyedLimiter::unmade()).add_subclass(Self));
        }
        KEYED_SLIDING_WINDOW.refuse(limit.given(), more, unknown)?;
        let limit = KEYED_SLIDING_WINDOW.required("limit", &limit)?;
        let period = KEYED_SLIDING_WINDOW.required("period", &period)?;
        let max_keys = KEYED_SLIDING_WINDOW.required("max_keys", &max_keys)?;
        let (limit, window, counted) = window_of(limit, period)?;
        let (max_keys, common) = (max_keys_of(max_keys)?, Common::new(class.py(), name, clock)?);
        let (base, _) = PyKeyedLimiter::of(&WindowLaw::new(limit, window), counted, Shape::Window, max_keys, common);
        Ok(PyClassInitializer::from(base).add_subclass(Self))
    }

    /// Change the limit and, if given, the period, from now on.
    ///
    /// With `key` the change applies to that key alone, which is then remembered until `forget(key)`; otherwise it
    /// applies to every key without a limit of its own. Amounts already taken still count. Lengthening the period does
    /// not bring back amounts that have already left the window.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed; RateLimited if there
    /// is no room for another key.
    #[pyo3(signature = (limit, period = None, *, key = Argument::MISSING), text_signature = "($self, limit, period=None, *, key=...)")]
    fn set_limit(
        slf: &Bound<'_, Self>,
        limit: &Bound<'_, PyAny>,
        period: Option<&Bound<'_, PyAny>>,
        key: Argument<'_, '_>,
    ) -> PyResult<()> {
        let change = limit_change(limit, period, slf.as_super().get().keys.scale())?;
        PyKeyedLimiter::change(slf.as_super(), key.given(), change)
    }

    /// The largest number of tokens admitted in any window, for a key without a limit of its own.
    #[getter]
    fn limit(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).size
    }
}
