//! The hot methods of limiters.
#![expect(clippy::inline_always, reason = "a fast form is a part of its entry, see `rt::hot`")]

use std::ffi::CStr;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};
use sluicegate_core::rate::{Scale, Units};

use super::keyed::PyKeyedTokenBucket;
use super::limiter::{PyRateLimiter, Target};
use crate::rt::aio;
use crate::rt::hot::{Arguments, Hot, Parameter, Plain, attached, deliver, install as install_on, method};

static N: Parameter = Parameter::new("n");
static KEY: Parameter = Parameter::new("key");

/// The amount, if there is nothing to report about it and it is not zero.
#[inline]
fn trivial_amount(n: Option<Borrowed<'_, '_, PyAny>>, scale: Scale) -> Option<Units> {
    match n {
        None => Some(scale.per_token()),
        Some(n) => trivial_units(n, scale),
    }
}

#[inline(never)] // so that a call without an argument is short
fn trivial_units(n: Borrowed<'_, '_, PyAny>, scale: Scale) -> Option<Units> {
    let tokens = match n.cast_exact::<PyInt>() {
        Ok(int) => f64::from(int.extract::<u32>().ok()?),
        Err(_) => n.cast_exact::<PyFloat>().ok()?.value(),
    };
    if !(tokens > 0.0 && tokens.is_finite()) {
        return None;
    }
    scale.units(tokens).filter(|&units| units > 0)
}

#[inline]
fn boolean(py: Python<'_>, value: bool) -> Py<PyAny> {
    PyBool::new(py, value).to_owned().into_any().unbind()
}

struct TryAcquire;

impl Hot<1> for TryAcquire {
    type Class = PyRateLimiter;
    const CLASS: &'static str = "RateLimiter";
    const NAME: &'static CStr = c"try_acquire";
    const DOC: &'static CStr = TRY_ACQUIRE;
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 1] {
        [&N]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PyRateLimiter>, [n]: Arguments<'_, 'py, 1>) -> Plain {
        let py = this.py();
        let Target::Own(own) = &this.get().target else { return Plain::Declined };
        match trivial_amount(n, own.scale()).and_then(|n| own.pass(py, n)) {
            Some(passed) => Plain::Done(boolean(py, passed)),
            None => Plain::Declined,
        }
    }

    fn in_general<'py>(this: &Bound<'py, PyRateLimiter>, [n]: Arguments<'_, 'py, 1>) -> PyResult<Py<PyAny>> {
        let limiter = this.get();
        let went = limiter.try_acquire(this.as_any(), limiter.amount("n", n.as_deref())?, false)?;
        Ok(boolean(this.py(), went))
    }
}

/// The fast path of `acquire_async`: True if it is done, `WAIT` if the coroutine has to go the long way.
struct TryAcquireAsync;

impl Hot<1> for TryAcquireAsync {
    type Class = PyRateLimiter;
    const CLASS: &'static str = "RateLimiter";
    const NAME: &'static CStr = c"_try_acquire";
    const DOC: &'static CStr = c"_try_acquire($self, n=1)\n--\n\nThe fast path of acquire_async.";
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 1] {
        [&N]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PyRateLimiter>, [n]: Arguments<'_, 'py, 1>) -> Plain {
        let py = this.py();
        if !aio::spend() {
            return Plain::Done(aio::wait_marker(py));
        }
        let Target::Own(own) = &this.get().target else { return Plain::Declined };
        if trivial_amount(n, own.scale()).is_some_and(|n| own.pass_or_wait(py, n)) {
            Plain::Done(boolean(py, true))
        } else {
            Plain::Declined
        }
    }

    fn in_general<'py>(this: &Bound<'py, PyRateLimiter>, [n]: Arguments<'_, 'py, 1>) -> PyResult<Py<PyAny>> {
        let limiter = this.get();
        let went = limiter.try_acquire(this.as_any(), limiter.amount("n", n.as_deref())?, true)?;
        Ok(if went { boolean(this.py(), true) } else { aio::wait_marker(this.py()) })
    }
}

struct TryAcquireKey;

impl Hot<2> for TryAcquireKey {
    type Class = PyKeyedTokenBucket;
    const CLASS: &'static str = "KeyedTokenBucket";
    const NAME: &'static CStr = c"try_acquire";
    const DOC: &'static CStr = TRY_ACQUIRE_KEY;
    const REQUIRED: usize = 1;
    const GUARDED: bool = true;

    fn parameters() -> [&'static Parameter; 2] {
        [&KEY, &N]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PyKeyedTokenBucket>, [key, n]: Arguments<'_, 'py, 2>) -> Plain {
        let (py, bucket) = (this.py(), this.get());
        let (Some(key), Some(n)) = (key, trivial_amount(n, bucket.buckets.core.scale())) else { return Plain::Declined };
        let Some((wakes, result)) = bucket.everyday(&key, n) else { return Plain::Declined };
        deliver(wakes);
        match result {
            Ok(went) => Plain::Done(boolean(py, went)),
            Err(refusal) => attached(|_| Err(bucket.refused(this.as_any(), &key, n, refusal))),
        }
    }

    fn in_general<'py>(this: &Bound<'py, PyKeyedTokenBucket>, [key, n]: Arguments<'_, 'py, 2>) -> PyResult<Py<PyAny>> {
        let (py, bucket) = (this.py(), this.get());
        let hash = bucket.hash(&key.expect("required"))?;
        let n = bucket.amount(n.as_deref())?;
        let went = n == 0 || bucket.buckets.try_acquire(this.as_any(), hash, n)?;
        Ok(boolean(py, went))
    }
}

const TRY_ACQUIRE: &CStr = c"try_acquire($self, n=1)
--

Take `n` tokens if they are available and nobody is waiting. Return whether they were taken. Never waits.

While others are waiting it returns False, so it never overtakes a waiter. `n=0` always succeeds and changes
nothing.

Raises ValueError if `n` is larger than can ever be admitted at once; ValueError, TypeError or OverflowError for
an invalid `n`.";

const TRY_ACQUIRE_KEY: &CStr = c"try_acquire($self, key, n=1)
--

Take `n` tokens from the key's bucket if they are available and nobody is waiting for that key. Never waits.

Returns whether the tokens were taken. `n=0` always succeeds and changes nothing.

Raises RateLimited if the key is new and all `max_keys` buckets are in use (see the class), ValueError if `n` is
larger than can ever be admitted at once; ValueError, TypeError or OverflowError for an invalid `key` or `n`.";

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_on(&py.get_type::<PyRateLimiter>(), &[method::<TryAcquire, 1>(), method::<TryAcquireAsync, 1>()])?;
    install_on(&py.get_type::<PyKeyedTokenBucket>(), &[method::<TryAcquireKey, 2>()])
}
