//! The hot methods of limiters.
#![allow(unsafe_code)] // the C calling convention

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};
use sluicegate_core::rate::{Scale, Units};

use super::keyed::PyKeyedTokenBucket;
use super::limiter::{PyRateLimiter, Target};
use crate::rt::aio;
use crate::rt::hot::{Call, Raw, fire, general, guarded, install_on, instance, parse, this};

/// The amount of an everyday call: there is nothing to report about it, and it is not zero.
#[inline(never)] // so that a call without an argument is short
fn everyday(n: Borrowed<'_, '_, PyAny>, scale: Scale) -> Option<Units> {
    let tokens = match n.cast_exact::<PyInt>() {
        Ok(int) => f64::from(int.extract::<u32>().ok()?),
        Err(_) => n.cast_exact::<PyFloat>().ok()?.value(),
    };
    if !(tokens > 0.0 && tokens.is_finite()) {
        return None;
    }
    scale.units(tokens).filter(|&units| units > 0)
}

/// The amount of a call with at most one argument, beginning at `first`.
///
/// It is given words and no [`Call`]: see the queues'.
///
/// # Safety
/// The interpreter called, attached.
#[inline]
unsafe fn amount(
    py: Python<'_>,
    args: *const Raw,
    nargs: ffi::Py_ssize_t,
    kwnames: Raw,
    first: usize,
    scale: Scale,
) -> Option<Units> {
    let nargs = nargs.unsigned_abs();
    if nargs == first && kwnames.is_null() {
        return Some(scale.per_token());
    }
    if nargs != first + 1 || !kwnames.is_null() {
        return None;
    }
    // SAFETY: so many arguments were passed.
    everyday(unsafe { Borrowed::from_ptr(py, *args.add(first)) }, scale)
}

#[inline]
fn boolean(py: Python<'_>, value: bool) -> Raw {
    PyBool::new(py, value).to_owned().into_ptr()
}

unsafe extern "C" fn try_acquire(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: called by the interpreter, attached, for an instance of the class.
    let (py, limiter) = unsafe { (Python::assume_attached(), instance::<PyRateLimiter>(Python::assume_attached(), this_)) };
    if let Target::Own(own) = &limiter.target {
        // SAFETY: as above.
        if let Some(passed) = unsafe { amount(py, args, nargs, kwnames, 0, own.scale()) }.and_then(|n| own.pass(py, n)) {
            return boolean(py, passed);
        }
    }
    try_acquire_after_all(this_, args, nargs, kwnames)
}

#[cold]
#[inline(never)]
fn try_acquire_after_all(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    guarded(|_| {
        general(|py| {
            let [n] = parse(py, call, ("RateLimiter", "try_acquire"), ["n"], 0)?;
            // SAFETY: the interpreter called, for an instance of the class.
            let (limiter, this) = unsafe { (call.instance::<PyRateLimiter>(py), this(py, &call.this)) };
            let went = limiter.try_acquire(this, limiter.amount("n", n.as_deref())?, false)?;
            Ok(PyBool::new(py, went).to_owned().into_any().unbind())
        })
    })
}

/// The fast path of `acquire_async`: True if it is done, `WAIT` if the coroutine has to go the long way.
unsafe extern "C" fn try_acquire_async(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: called by the interpreter, attached, for an instance of the class.
    let (py, limiter) = unsafe { (Python::assume_attached(), instance::<PyRateLimiter>(Python::assume_attached(), this_)) };
    if !aio::spend() {
        return aio::wait_marker(py);
    }
    if let Target::Own(own) = &limiter.target {
        // SAFETY: as above.
        if unsafe { amount(py, args, nargs, kwnames, 0, own.scale()) }.is_some_and(|n| own.pass_or_wait(py, n)) {
            return boolean(py, true);
        }
    }
    try_acquire_async_after_all(this_, args, nargs, kwnames)
}

#[cold]
#[inline(never)]
fn try_acquire_async_after_all(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    guarded(|_| {
        general(|py| {
            let [n] = parse(py, call, ("RateLimiter", "_try_acquire"), ["n"], 0)?;
            // SAFETY: the interpreter called, for an instance of the class.
            let (limiter, this) = unsafe { (call.instance::<PyRateLimiter>(py), this(py, &call.this)) };
            let went = limiter.try_acquire(this, limiter.amount("n", n.as_deref())?, true)?;
            Ok(if went {
                PyBool::new(py, true).to_owned().into_any().unbind()
            } else {
                aio::wait_marker_object(py).clone_ref(py)
            })
        })
    })
}

unsafe extern "C" fn try_acquire_key(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    guarded(|py| {
        // SAFETY: called by the interpreter, attached, for an instance of the class.
        let bucket = unsafe { call.instance::<PyKeyedTokenBucket>(py) };
        // SAFETY: as above.
        if let Some(n) = unsafe { amount(py, args, nargs, kwnames, 1, bucket.buckets.core.scale()) } {
            // SAFETY: an amount was found behind the key, or none was given.
            let key = unsafe { Bound::ref_from_ptr(py, &*call.args) };
            if let Some((wakes, result)) = bucket.everyday(key, n) {
                if !wakes.is_empty() {
                    fire(wakes);
                }
                return match result {
                    Ok(went) => boolean(py, went),
                    // SAFETY: as above.
                    Err(refusal) => general(|py| Err(bucket.refused(unsafe { this(py, &call.this) }, key, n, refusal))),
                };
            }
        }
        general(|py| {
            let [key, n] = parse(py, call, ("KeyedTokenBucket", "try_acquire"), ["key", "n"], 1)?;
            let hash = bucket.hash(&key.expect("required"))?;
            let n = bucket.amount(n.as_deref())?;
            if n == 0 {
                return Ok(PyBool::new(py, true).to_owned().into_any().unbind());
            }
            // SAFETY: as above.
            let went = bucket.buckets.try_acquire(unsafe { this(py, &call.this) }, hash, n)?;
            Ok(PyBool::new(py, went).to_owned().into_any().unbind())
        })
    })
}

const TRY_ACQUIRE: &CStr = c"try_acquire($self, n=1)
--

Take `n` tokens if they can go now and nobody waits. Returns whether it did. Never waits.

It overtakes nobody: while others wait in line it is refused. `n=0` goes always and changes nothing.

Raises ValueError if `n` can never pass at once; ValueError, TypeError or OverflowError for a bad `n`.";

const TRY_ACQUIRE_ASYNC: &CStr = c"_try_acquire($self, n=1)\n--\n\nThe fast path of acquire_async.";

const TRY_ACQUIRE_KEY: &CStr = c"try_acquire($self, key, n=1)
--

Take `n` tokens of the key's bucket if they can go now and nobody waits for them. Returns whether it did. Never waits.

`n=0` goes always and changes nothing.

Raises RateLimited if the key is new and all `max_keys` are needed (see the class), ValueError if `n` can never pass
at once; ValueError, TypeError or OverflowError for a bad `key` or `n`.";

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_on::<PyRateLimiter>(
        py,
        &[(c"try_acquire", try_acquire, TRY_ACQUIRE), (c"_try_acquire", try_acquire_async, TRY_ACQUIRE_ASYNC)],
    )?;
    install_on::<PyKeyedTokenBucket>(py, &[(c"try_acquire", try_acquire_key, TRY_ACQUIRE_KEY)])
}
