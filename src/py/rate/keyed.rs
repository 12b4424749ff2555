//! `KeyedTokenBucket`, the handles of its keys, and how keys become hashes.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Weak};

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString, PyTuple, PyType};
use sluicegate_core::rate::{KeyHash, Pace, Refusal, Units};
use sluicegate_core::section::Section;
use sluicegate_core::wait::Wakes;

use super::amounts::{amount, pace, positive_amount, positive_number, scale};
use super::ops::Line;
use super::shapes::{period_of, set_bucket_rate};
use super::{Given, Keyed, Limiter, PyRateLimiter, Target, cannot_pass, rate_limited, refusal_error, statistics, visit_tasks};
use crate::rt::arguments::{self, Argument, text, type_name};
use crate::rt::class::{Common, refuse_copies, repr_head};
use crate::rt::domain::Attached;
use crate::rt::gc::attached_in_traverse;
use crate::rt::imported::imported;
use crate::rt::waker::Waker;

/// So many sections share the keys: on the build with a global lock more than one would be no use.
#[cfg(Py_GIL_DISABLED)]
const SHARDS: usize = 64;
#[cfg(not(Py_GIL_DISABLED))]
const SHARDS: usize = 1;

/// A key's tuples may be nested so deep.
const DEPTH: u32 = 16;

/// A token bucket for each of very many keys (users, addresses, hosts), in bounded memory.
///
/// Each key has a bucket of `burst` tokens to which `rate` come in per `period` seconds, and a line of its own: who waits for one
/// key holds up nobody at another. Keys are str, bytes, int, UUID, IP addresses, and tuples of those; only a keyed 128-bit hash of
/// each is stored. `key(k)` is a light handle with the whole interface of a token bucket; `try_acquire(key, n)` is the hot path.
///
/// At most `max_keys` are remembered. A full bucket is the same as none and is forgotten when room is needed; one in debt, waited
/// for or with a rate of its own never. When all of them are needed a new key is refused with RateLimited, because to forget a debt
/// would let more through than the limit; `retry_after` says when one may be forgotten.
///
/// Raises ValueError, TypeError or OverflowError for bad arguments.
///
/// Algorithm: GCRA (ITU-T I.371, annex A).
#[pyclass(frozen, subclass, weakref, name = "KeyedTokenBucket", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedTokenBucket {
    pub(crate) keyed: Keyed,
    given: Section<Given, Attached>,
    /// Keys with a rate of their own.
    own: Section<BTreeMap<KeyHash, Given>, Attached>,
    max_keys: usize,
    hashers: [RandomState; 2],
    common: Common,
}

/// One key's bucket: what `KeyedTokenBucket.key` returns. A light handle; the bucket itself is the keyed bucket's.
#[pyclass(frozen, weakref, extends = PyRateLimiter, name = "KeyedBucket", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyKeyedBucket;

/// What a part of a key begins with, so that parts of different kinds are different.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Str = 1,
    Bytes,
    Int,
    LongInt,
    Uuid,
    Address4,
    Address6,
    Tuple,
}

/// Two hashers at once.
struct Both([std::hash::DefaultHasher; 2]);

impl Both {
    fn part(&mut self, kind: Kind, bytes: &[u8]) {
        for hasher in &mut self.0 {
            hasher.write_u8(kind as u8);
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
    }

    fn key(&mut self, key: &Bound<'_, PyAny>, depth: u32) -> PyResult<()> {
        let py = key.py();
        if let Ok(string) = key.cast::<PyString>() {
            if let Ok(string) = string.to_str() {
                self.part(Kind::Str, string.as_bytes());
            } else {
                // Lone surrogates.
                let bytes = string.call_method1("encode", ("utf-8", "surrogatepass"))?;
                self.part(Kind::Str, bytes.cast::<PyBytes>()?.as_bytes());
            }
        } else if let Ok(bytes) = key.cast::<PyBytes>() {
            self.part(Kind::Bytes, bytes.as_bytes());
        } else if let Some(int) = key.cast::<PyInt>().ok().filter(|key| !key.is_instance_of::<PyBool>()) {
            if let Ok(small) = int.extract::<i64>() {
                self.part(Kind::Int, &small.to_le_bytes());
            } else {
                let digits = int.call_method1("__format__", ("x",))?;
                self.part(Kind::LongInt, digits.cast::<PyString>()?.to_str()?.as_bytes());
            }
        } else if let Ok(tuple) = key.cast::<PyTuple>() {
            if depth == 0 {
                return Err(PyTypeError::new_err(format!("'key' has tuples nested more than {DEPTH} deep")));
            }
            self.part(Kind::Tuple, &tuple.len().to_le_bytes());
            for part in tuple {
                self.key(&part, depth - 1)?;
            }
        } else {
            let (kind, bytes) = other_kind(key)?;
            self.part(kind, bytes.as_bytes());
            if let Kind::Address6 = kind {
                // The zone of a link-local address tells two apart.
                if let Some(zone) = key.getattr_opt(intern!(py, "scope_id"))?.filter(|zone| !zone.is_none()) {
                    self.key(&zone, depth)?;
                }
            }
        }
        Ok(())
    }
}

/// UUIDs and IP addresses.
fn other_kind<'py>(key: &Bound<'py, PyAny>) -> PyResult<(Kind, Bound<'py, PyBytes>)> {
    static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static ADDRESS4: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static ADDRESS6: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = key.py();
    let (kind, attribute) = if key.is_instance(imported(py, &UUID, "uuid", "UUID")?)? {
        (Kind::Uuid, "bytes")
    } else if key.is_instance(imported(py, &ADDRESS4, "ipaddress", "IPv4Address")?)? {
        (Kind::Address4, "packed")
    } else if key.is_instance(imported(py, &ADDRESS6, "ipaddress", "IPv6Address")?)? {
        (Kind::Address6, "packed")
    } else {
        let (key, kind) = (text(key), type_name(key));
        return Err(PyTypeError::new_err(format!(
            "'key' must be a str, bytes, int, UUID, IP address or a tuple of those, not {key} ({kind})"
        )));
    };
    Ok((kind, key.getattr(attribute)?.cast_into::<PyBytes>()?))
}

impl PyKeyedTokenBucket {
    pub(crate) fn hash(&self, key: &Bound<'_, PyAny>) -> PyResult<KeyHash> {
        let mut both = Both(self.hashers.each_ref().map(BuildHasher::build_hasher));
        both.key(key, DEPTH)?;
        Ok(KeyHash::new(both.0.map(|hasher| hasher.finish())))
    }

    /// The exception for a refusal of this key.
    fn refusal(&self, this: &Bound<'_, PyAny>, hash: KeyHash, n: Units, refusal: Refusal) -> PyErr {
        let py = this.py();
        match refusal {
            Refusal::LineFull(at) => {
                let after = at.saturating_sub(self.keyed.clock().now());
                let most = self.max_keys;
                rate_limited(
                    py,
                    &format!("all {most} keys that can be remembered are needed, so a new one is refused: {}", text(this)),
                    after,
                )
            }
            Refusal::NeverFits => cannot_pass("n", self.keyed.scale().tokens(n.into()), this),
            refusal => match self.limiter(this, hash) {
                Ok(limiter) => refusal_error(this, refusal, &Line::One(limiter, n)),
                Err(error) => error,
            },
        }
    }

    pub(crate) fn limiter(&self, this: &Bound<'_, PyAny>, hash: KeyHash) -> PyResult<Arc<Limiter>> {
        let (wakes, limiter) = self.keyed.limiter(this.py(), hash);
        wakes.fire();
        limiter.map_err(|refusal| self.refusal(this, hash, 0, refusal))
    }

    /// The hot path, for a key of a kind that cannot run Python. The wake-ups are the caller's to fire.
    pub(crate) fn everyday(&self, key: &Bound<'_, PyAny>, n: Units) -> Option<(Wakes<Waker>, Result<bool, Refusal>)> {
        let plain = key.is_exact_instance_of::<PyString>()
            || key.is_exact_instance_of::<PyInt>()
            || key.is_exact_instance_of::<PyBytes>();
        let hash = if plain { self.hash(key).ok()? } else { return None };
        Some(self.keyed.try_acquire(key.py(), hash, n))
    }

    /// The error for what `everyday` said.
    pub(crate) fn refused(&self, this: &Bound<'_, PyAny>, key: &Bound<'_, PyAny>, n: Units, refusal: Refusal) -> PyErr {
        self.hash(key).map_or_else(|error| error, |hash| self.refusal(this, hash, n, refusal))
    }

    pub(crate) fn try_acquire(&self, this: &Bound<'_, PyAny>, hash: KeyHash, n: Units) -> PyResult<bool> {
        let (wakes, result) = self.keyed.try_acquire(this.py(), hash, n);
        wakes.fire();
        result.map_err(|refusal| self.refusal(this, hash, n, refusal))
    }

    pub(crate) fn set_pace_of(
        &self,
        this: &Bound<'_, PyAny>,
        hash: KeyHash,
        (pace, burst): (Pace, Units),
        given: Given,
    ) -> PyResult<()> {
        let py = this.py();
        // First what is said of it: who is woken, because it fits no longer, tells its caller.
        let before = self.own.with(py, |own| own.insert(hash, given));
        let (wakes, result) = self.keyed.set_pace_of(py, hash, pace, burst);
        wakes.fire();
        result.map_err(|refusal| {
            self.own.with(py, |own| match before {
                Some(before) => own.insert(hash, before),
                None => own.remove(&hash),
            });
            self.refusal(this, hash, 0, refusal)
        })
    }

    pub(crate) fn given_of(&self, py: Python<'_>, hash: KeyHash) -> Given {
        self.own.with(py, |own| own.get(&hash).copied()).unwrap_or_else(|| self.given(py))
    }

    pub(crate) fn never_fits(&self, py: Python<'_>, hash: KeyHash, n: Units) -> bool {
        let (wakes, result) = self.keyed.retry_after(py, hash, n);
        wakes.fire();
        result == Err(Refusal::NeverFits)
    }

    pub(crate) fn amount(&self, n: Option<&Bound<'_, PyAny>>) -> PyResult<Units> {
        let scale = self.keyed.scale();
        n.map_or_else(|| Ok(scale.per_token()), |n| amount("n", n, scale))
    }

    fn given(&self, py: Python<'_>) -> Given {
        self.given.with(py, |given| *given)
    }
}

#[pymethods]
impl PyKeyedTokenBucket {
    #[new]
    #[pyo3(signature = (rate, burst, *, max_keys, period = Argument::MISSING, clock = None, name = None), text_signature = "(rate, burst, *, max_keys, period=1.0, clock=None, name=None)")]
    fn new(
        py: Python<'_>,
        rate: &Bound<'_, PyAny>,
        burst: &Bound<'_, PyAny>,
        max_keys: &Bound<'_, PyAny>,
        period: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let per_period = positive_number("rate", rate)?;
        let scale = scale("burst", burst)?;
        let units = positive_amount("burst", burst, scale)?;
        let max_keys = match arguments::positive("max_keys", max_keys)? {
            usize::MAX => return Err(PyOverflowError::new_err("'max_keys' is too large: so many cannot be remembered")),
            max_keys => max_keys,
        };
        let period = period_of(period.given())?;
        let pace = pace((rate, per_period), period, scale)?;
        let common = Common::new(py, name, clock)?;
        let given = Given { rate: per_period, size: positive_number("burst", burst)?, period };
        Ok(Self {
            keyed: Keyed::new(pace, units, scale, max_keys, SHARDS, common.core_clock()),
            given: Section::new(given),
            own: Section::new(BTreeMap::new()),
            max_keys,
            hashers: [RandomState::new(), RandomState::new()],
            common,
        })
    }

    /// The bucket of one key, as a light handle with the whole interface of a token bucket.
    ///
    /// Raises TypeError for a key of another kind.
    fn key<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyKeyedBucket>> {
        let py = slf.py();
        let this = slf.get();
        let target = Target::Key {
            bucket: slf.clone().unbind(),
            hash: this.hash(key)?,
            key: key.clone().unbind(),
            limiter: Section::new(Weak::new()),
        };
        let limiter = PyRateLimiter::new(target, this.given(py), this.common.clone_ref(py));
        Bound::new(py, PyClassInitializer::from(limiter).add_subclass(PyKeyedBucket))
    }

    /// Change the rate, per the same period, and the burst, if one is given, from now on: for every key without a rate of its own,
    /// or for one key alone.
    ///
    /// Tokens stay, as far as they fit, and so do debts. A key with a rate of its own is remembered until `forget(key)`.
    ///
    /// Raises ValueError, TypeError or OverflowError for bad arguments, with nothing changed; RateLimited if there is no
    /// room for one more key.
    #[pyo3(signature = (rate, burst = None, *, key = Argument::MISSING), text_signature = "($self, rate, burst=None, *, key=...)")]
    fn set_rate(
        slf: &Bound<'_, Self>,
        rate: &Bound<'_, PyAny>,
        burst: Option<&Bound<'_, PyAny>>,
        key: Argument<'_, '_>,
    ) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if let Some(key) = key.given() {
            let handle = Self::key(slf, key)?;
            return set_bucket_rate(handle.as_super(), rate, burst);
        }
        let old = this.given(py);
        let scale = this.keyed.scale();
        let per_period = positive_number("rate", rate)?;
        let (units, size) = match burst {
            Some(burst) => (positive_amount("burst", burst, scale)?, positive_number("burst", burst)?),
            None => (scale.units(old.size).expect("it was counted before"), old.size),
        };
        let pace = pace((rate, per_period), old.period, scale)?;
        this.given.with(py, |given| *given = Given { rate: per_period, size, ..*given });
        this.keyed.set_pace(py, pace, units).fire();
        Ok(())
    }

    /// Drop the key's own rate: that of all others holds for it again. Its debt stays. Returns whether it had one.
    ///
    /// Raises TypeError for a key of another kind.
    fn forget(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let hash = self.hash(key)?;
        self.own.with(py, |own| own.remove(&hash));
        let (wakes, found) = self.keyed.forget(py, hash);
        wakes.fire();
        Ok(found)
    }

    /// Tokens that come in per `period`, for a key without a rate of its own.
    #[getter]
    fn rate(&self, py: Python<'_>) -> f64 {
        self.given(py).rate
    }

    /// Tokens that can be saved, for a key without a rate of its own.
    #[getter]
    fn burst(&self, py: Python<'_>) -> f64 {
        self.given(py).size
    }

    /// Seconds that `rate` is counted over.
    #[getter]
    fn period(&self, py: Python<'_>) -> f64 {
        self.given(py).period
    }

    /// The most keys that are remembered.
    #[getter]
    fn max_keys(&self) -> usize {
        self.max_keys
    }

    /// The name given at creation, for `repr` and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.common.name(py)
    }

    /// A snapshot of what the buckets of all keys have seen, at this moment.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let (wakes, seen) = self.keyed.statistics(py);
        wakes.fire();
        let more = [("keys", seen.keys as u64), ("max_keys", self.max_keys as u64), ("forgotten", seen.forgotten)];
        statistics(py, &CLASS, "KeyedRateStatistics", self.name(py), seen.total, &more)
    }

    fn __len__(&self) -> usize {
        self.keyed.len()
    }

    #[expect(clippy::unused_self, reason = "Python's protocol")]
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        let Given { rate, size, period } = this.given(py);
        let period = if (period - 1.0).abs() > 0.0 { format!(" period={period:?}") } else { String::new() };
        let (keys, most) = (this.keyed.len(), this.max_keys);
        Ok(format!("{head} rate={rate:?} burst={size:?}{period} keys={keys} max_keys={most}>"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        visit_tasks(visit, |each| self.keyed.visit_wakers(attached_in_traverse(), each))
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

    /// Tokens that come in per `period`.
    #[getter]
    fn rate(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().given(slf.py()).rate
    }

    /// Tokens that can be saved.
    #[getter]
    fn burst(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().given(slf.py()).size
    }

    /// Seconds that `rate` is counted over.
    #[getter]
    fn period(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().given(slf.py()).period
    }

    /// Give this key a rate of its own, per the same period, and a burst, if one is given, from now on.
    ///
    /// Tokens stay, as far as they fit, and so do debts. The key is then remembered until `KeyedTokenBucket.forget(key)`.
    ///
    /// Raises ValueError, TypeError or OverflowError for bad arguments, with nothing changed.
    #[pyo3(signature = (rate, burst = None))]
    fn set_rate(slf: &Bound<'_, Self>, rate: &Bound<'_, PyAny>, burst: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        set_bucket_rate(slf.as_super(), rate, burst)
    }
}
