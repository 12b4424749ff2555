//! The hot methods of limiters.
#![allow(unsafe_code)] // the C calling convention

use std::ffi::CStr;

use penstock_core::rate::{Scale, Units};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use super::{Call, Raw, fire, general, guarded, install_on, parse, this};
use crate::aio;
use crate::rate::keyed::PyKeyedTokenBucket;
use crate::rate::{PyRateLimiter, Target};

/// The amount of an everyday call: there is nothing to report about it, and it is not zero.
#[inline]
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
/// # Safety
/// The interpreter called, attached.
#[inline]
unsafe fn amount(py: Python<'_>, call: Call, first: usize, scale: Scale) -> Option<Units> {
    if call.is_plain(first) {
        return Some(scale.per_token());
    }
    if !call.is_plain(first + 1) {
        return None;
    }
    // SAFETY: so many arguments were passed.
    everyday(unsafe { Borrowed::from_ptr(py, *call.args.add(first)) }, scale)
}

#[inline]
fn boolean(py: Python<'_>, value: bool) -> Raw {
    PyBool::new(py, value).to_owned().into_ptr()
}

unsafe extern "C" fn try_acquire(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    // SAFETY: called by the interpreter, attached, for an instance of the class.
    let (py, limiter) = unsafe { (Python::assume_attached(), call.instance::<PyRateLimiter>(Python::assume_attached())) };
    if let Target::Own(own) = &limiter.target {
        // SAFETY: as above.
        if let Some(passed) = unsafe { amount(py, call, 0, own.scale()) }.and_then(|n| own.pass(py, n)) {
            return boolean(py, passed);
        }
    }
    guarded(|_| {
        general(|py| {
            let [n] = parse(py, call, ("RateLimiter", "try_acquire"), ["n"], 0)?;
            let n = limiter.amount("n", n.as_deref())?;
            // SAFETY: as above.
            let went = limiter.try_acquire(unsafe { this(py, &call.this) }, n)?;
            Ok(PyBool::new(py, went).to_owned().into_any().unbind())
        })
    })
}

/// The fast path of `acquire_async`: True if it is done, `WAIT` if the coroutine has to go the long way.
unsafe extern "C" fn try_acquire_async(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    // SAFETY: called by the interpreter, attached, for an instance of the class.
    let (py, limiter) = unsafe { (Python::assume_attached(), call.instance::<PyRateLimiter>(Python::assume_attached())) };
    if !aio::spend() {
        return aio::wait_marker(py);
    }
    if let Target::Own(own) = &limiter.target {
        // SAFETY: as above.
        if unsafe { amount(py, call, 0, own.scale()) }.is_some_and(|n| own.pass_or_wait(py, n)) {
            return boolean(py, true);
        }
    }
    guarded(|_| {
        general(|py| {
            let [n] = parse(py, call, ("RateLimiter", "_try_acquire"), ["n"], 0)?;
            let n = limiter.amount("n", n.as_deref())?;
            // SAFETY: as above.
            let went = limiter.try_or_wait(unsafe { this(py, &call.this) }, n)?;
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
        if let Some(n) = unsafe { amount(py, call, 1, bucket.keyed.scale()) } {
            // SAFETY: an amount was found behind the key, or none was given.
            let key = unsafe { Bound::ref_from_ptr(py, &*call.args) };
            if let Some((wakes, result)) = bucket.everyday(key, n) {
                if !wakes.is_empty() {
                    fire(wakes);
                }
                if let Ok(went) = result {
                    return boolean(py, went);
                }
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
            let went = bucket.try_acquire(unsafe { this(py, &call.this) }, hash, n)?;
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

pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    install_on::<PyRateLimiter>(
        py,
        &[(c"try_acquire", try_acquire, TRY_ACQUIRE), (c"_try_acquire", try_acquire_async, TRY_ACQUIRE_ASYNC)],
    )?;
    install_on::<PyKeyedTokenBucket>(py, &[(c"try_acquire", try_acquire_key, TRY_ACQUIRE_KEY)])
}
