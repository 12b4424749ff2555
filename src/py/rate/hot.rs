//! The hot methods of limiters.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyString, PyTuple};
use sluicegate_core::clock::{Nanos, nanos};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{MAX_UNITS, Refusal, Scale, Told, Units};

use super::Limiter;
use super::amounts::seconds;
use super::keyed::{PyKeyedLeakyBucket, PyKeyedLimiter, PyKeyedSlidingWindow, PyKeyedTokenBucket};
use super::limiter::{PyRateLimiter, Target};
use super::plain::exactly_ours;
use super::refusal::{admits_later, all_in_use, limited_args, rate_limited, set_admits_later, tokens};
use super::set::PyRateLimits;
use crate::rt::aio;
use crate::rt::exceptions;
use crate::rt::guarded;
use crate::rt::hot::{
    Fast, Given, HotOpen, apart, attached, attached_form, boolean, deliver, install as install_methods, may_wait, open_method,
    raise, trivial_timeout,
};
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::{Kept, interned};
use crate::rt::keys::of_handle;

/// The amount, if it is valid and not zero.
#[inline]
pub(super) fn trivial_amount(n: Option<Borrowed<'_, '_, PyAny>>, scale: Scale) -> Option<Units> {
    match n {
        None => Some(scale.per_token()),
        Some(n) => trivial_units(n, scale),
    }
}

#[inline(never)] // so that a call without an argument is short
fn trivial_units(n: Borrowed<'_, '_, PyAny>, scale: Scale) -> Option<Units> {
    if let Ok(int) = n.cast_exact::<PyInt>() {
        let units = u64::from(int.extract::<u32>().ok()?).checked_mul(scale.per_token());
        return units.filter(|units| (1..=MAX_UNITS).contains(units));
    }
    let tokens = n.cast_exact::<PyFloat>().ok()?.value();
    if !(tokens > 0.0 && tokens.is_finite()) {
        return None;
    }
    scale.units(tokens).filter(|&units| units > 0)
}

/// True if the object has the name that the package's classes have. A subclass may override `name`.
fn has_our_name(this: &Bound<'_, PyRateLimiter>) -> bool {
    static NAME: Kept<PyAny> = Kept::new();
    if exactly_ours(this).is_some() {
        return true; // without the 120 instructions of a search in its bases
    }
    let (py, name) = (this.py(), interned!(this.py(), "name"));
    let ours = NAME.get(py).or_else(|| Some(NAME.keep(py.get_type::<PyRateLimiter>().getattr(name).ok()?)));
    ours.is_some_and(|ours| guarded::finds_in_class(this, name, ours))
}

/// Raises `RateLimited` for an object whose class has our `name`, with the arguments that `rate_limited` would use.
pub(super) fn raise_limited<'py, M>(
    this: Borrowed<'_, 'py, PyAny>,
    name: Option<Py<PyAny>>,
    template: &Bound<'py, PyString>,
    after: Nanos,
    more: M,
) -> Fast
where
    M: IntoPyObject<'py>,
{
    let Some(class) = exceptions::RATE_LIMITED.at_hand(this.py()) else {
        return attached(|_| Err(rate_limited(&this, template, after, more)));
    };
    match this.get_type().name().and_then(|kind| (template, name, seconds(after), kind, more).into_pyobject(this.py())) {
        Ok(args) => raise(class, &args),
        Err(error) => attached(|_| Err(error)),
    }
}

pub(super) fn refuse(this: Borrowed<'_, '_, PyRateLimiter>, own: &Limiter, after: Nanos, n: Units) -> Fast {
    refuse_of(this, admits_later(this.py()), after, tokens(this.py(), own.scale(), n))
}

fn refuse_of<'py, M>(this: Borrowed<'_, 'py, PyRateLimiter>, template: &Bound<'py, PyString>, after: Nanos, more: M) -> Fast
where
    M: IntoPyObject<'py>,
{
    if has_our_name(&this) {
        raise_limited(this.as_any().as_borrowed(), this.get().common().name(this.py()), template, after, more)
    } else {
        attached_form(|_| raise_by_its_name(&this, template, after, more))
    }
}

/// Raises `RateLimited` for an object of any class, whose `name` may be a subclass's. Attached in PyO3's sense.
fn raise_by_its_name<'py, M>(this: &Bound<'py, PyAny>, template: &Bound<'py, PyString>, after: Nanos, more: M) -> Fast
where
    M: IntoPyObject<'py>,
{
    match (limited_args(this, template, after, more), exceptions::RATE_LIMITED.at_hand(this.py())) {
        (Ok(args), Some(class)) => raise(class, &args),
        (Ok(args), None) => raise_error(exceptions::rate_limited(this.py(), args), this.py()),
        (Err(error), _) => raise_error(error, this.py()),
    }
}

fn raise_error(error: PyErr, py: Python<'_>) -> Fast {
    error.restore(py);
    Fast::Raised
}

/// Raises `RateLimited` if `n` cannot be admitted in time; declines everything else.
#[inline(never)]
fn refuse_beyond(
    this: Borrowed<'_, '_, PyRateLimiter>,
    own: &Limiter,
    n: Units,
    timeout: Option<Borrowed<'_, '_, PyAny>>,
) -> Fast {
    let Some(limit) = trivial_timeout(timeout).filter(|limit| limit.is_finite()) else { return Fast::Declined };
    apart(|py| {
        let (wakes, after) = own.refuse_beyond(py, n, nanos(limit));
        deliver(wakes);
        after.map_or(Fast::Declined, |after| refuse(this, own, after, n))
    })
}

/// Takes `n` of a key, or raises `RateLimited`, if the key's limiter exists already.
#[inline(never)]
fn acquire_key(
    this: Borrowed<'_, '_, PyRateLimiter>,
    n: Option<Borrowed<'_, '_, PyAny>>,
    timeout: Option<Borrowed<'_, '_, PyAny>>,
) -> Fast {
    let Target::Key { limiter, .. } = &this.get().target else { return Fast::Declined };
    let Some(own) = limiter.with(this.py(), |limiter| limiter.upgrade()) else { return Fast::Declined };
    match (trivial_amount(n, own.scale()), may_wait(timeout)) {
        (Some(n), Some(false)) => acquire_now(this, &own, n),
        (Some(n), Some(true)) => refuse_beyond(this, &own, n, timeout),
        _ => Fast::Declined,
    }
}

/// Takes `n`, or raises `RateLimited`.
#[inline(never)]
fn acquire_now(this: Borrowed<'_, '_, PyRateLimiter>, own: &Limiter, n: Units) -> Fast {
    apart(|py| {
        let (wakes, result) = own.try_or_tell(py, n);
        deliver(wakes);
        match result {
            Ok(None) => Fast::Done(boolean(py, true)),
            Ok(Some(after)) => refuse(this, own, after, n),
            Err(_) => Fast::Declined, // nothing has changed, and the general form raises the same error
        }
    })
}

hot_methods! {
    fn install_limiter() for PyRateLimiter as "RateLimiter";

    /// Take `n` tokens, waiting until they are available.
    ///
    /// With `timeout` it waits for at most that many seconds; if the wait is known to be longer, the request is refused
    /// at once. `n=0` succeeds at once and changes nothing.
    ///
    /// Returns True, which is no context manager: for a block use `with limiter.permit(n)`.
    ///
    /// Raises RateLimited, with `retry_after` in seconds and nothing taken, if `n` tokens are not available in time or
    /// a leaky bucket has no free place for a waiter; ValueError if `n` is larger than can ever be admitted at once;
    /// ValueError, TypeError or OverflowError for an invalid argument.
    ///
    /// Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
    /// large request. If an exception from a signal handler interrupts the wait, nothing has been taken, and later
    /// waiters are admitted earlier.
    fn acquire(this, n = 1, *, timeout = None) {
        fast: {
            let py = this.py();
            let Target::Own(own) = &this.get().target else { return acquire_key(this, n, timeout) };
            match (trivial_amount(n, own.scale()), may_wait(timeout)) {
                (Some(n), Some(false)) => acquire_now(this, own, n),
                (Some(n), Some(true)) if own.pass_or_wait(py, n) => Fast::Done(boolean(py, true)),
                (Some(n), Some(true)) if timeout.is_some() => refuse_beyond(this, own, n, timeout),
                _ => Fast::Declined,
            }
        },
        general: PyRateLimiter::acquire(this, n.as_deref(), timeout.as_deref()).map(|()| boolean(this.py(), true)),
    }

    /// Take `n` tokens if they are available and nobody is waiting. Return whether they were taken. Never waits.
    ///
    /// While others are waiting it returns False, so it never overtakes a waiter. `n=0` always succeeds and changes
    /// nothing.
    ///
    /// Raises ValueError if `n` is larger than can ever be admitted at once; ValueError, TypeError or OverflowError for
    /// an invalid `n`.
    fn try_acquire(this, n = 1) {
        fast: {
            let py = this.py();
            let Target::Own(own) = &this.get().target else { return Fast::Declined };
            match trivial_amount(n, own.scale()).and_then(|n| own.pass(py, n)) {
                Some(passed) => Fast::Done(boolean(py, passed)),
                None => Fast::Declined,
            }
        },
        general: {
            let limiter = this.get();
            let went = limiter.try_acquire(this.as_any(), limiter.amount("n", n.as_deref())?, false)?;
            Ok(boolean(this.py(), went))
        },
    }

    /// The fast path of acquire_async.
    fn _try_acquire(this, n = 1) {
        fast: {
            let py = this.py();
            if !aio::spend() {
                return Fast::Done(aio::wait_marker(py));
            }
            let Target::Own(own) = &this.get().target else { return Fast::Declined };
            if trivial_amount(n, own.scale()).is_some_and(|n| own.pass_or_wait(py, n)) {
                Fast::Done(boolean(py, true))
            } else {
                Fast::Declined
            }
        },
        general: {
            let limiter = this.get();
            let went = limiter.try_acquire(this.as_any(), limiter.amount("n", n.as_deref())?, true)?;
            Ok(if went { boolean(this.py(), true) } else { aio::wait_marker(this.py()) })
        },
    }
}

/// True if the class is one of the package's.
pub(super) fn is_ours_keyed(this: &Bound<'_, PyKeyedLimiter>) -> bool {
    this.is_exact_instance_of::<PyKeyedTokenBucket>()
        || this.is_exact_instance_of::<PyKeyedLeakyBucket>()
        || this.is_exact_instance_of::<PyKeyedSlidingWindow>()
}

/// Takes `n` of a key, or raises `RateLimited`, if that is possible without the key's limiter.
fn acquire_of(
    this: Borrowed<'_, '_, PyKeyedLimiter>,
    key: Borrowed<'_, '_, PyAny>,
    n: Option<Borrowed<'_, '_, PyAny>>,
    timeout: Option<Borrowed<'_, '_, PyAny>>,
) -> Fast {
    let py = this.py();
    if !is_ours_keyed(&this) {
        return Fast::Declined;
    }
    let limiter = this.get();
    let Some(n) = trivial_amount(n, limiter.keys.scale()) else { return Fast::Declined };
    let Some(limit) = trivial_timeout(timeout).map(|limit| limit.is_finite().then(|| nanos(limit))) else {
        return Fast::Declined;
    };
    let Some(hash) = limiter.plain_hash(&key) else { return Fast::Declined };
    let (wakes, told) = limiter.keys.try_or_tell(py, hash, n, limit);
    deliver(wakes);
    match told {
        Ok(Some(Told::Admitted)) => Fast::Done(boolean(py, true)),
        Ok(Some(Told::RefusedFor(after))) => {
            let n = tokens(py, limiter.keys.scale(), n);
            raise_limited(this.as_any().as_borrowed(), limiter.common().name(py), admits_later(py), after, n)
        }
        Ok(None) => Fast::Declined,
        Err(refusal) => refuse_key(this, hash, n, refusal),
    }
}

/// Raises the exception for a refusal of a key.
#[inline(never)]
pub(super) fn refuse_key(this: Borrowed<'_, '_, PyKeyedLimiter>, hash: KeyHash, n: Units, refusal: Refusal) -> Fast {
    let (py, limiter) = (this.py(), this.get());
    match refusal {
        Refusal::AllKeysInUse(after) if is_ours_keyed(&this) => {
            raise_limited(this.as_any().as_borrowed(), limiter.common().name(py), all_in_use(py), after, limiter.keys.len())
        }
        refusal => attached(|_| Err(limiter.keys.refusal(this.as_any(), hash, n, refusal))),
    }
}

/// Tries to take `n` of a key, light or heavy.
fn try_key(this: &Bound<'_, PyKeyedLimiter>, key: &Bound<'_, PyAny>, n: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
    let limiter = this.get();
    let hash = limiter.hash(key)?;
    let n = limiter.amount(n)?;
    let went = n == 0 || limiter.keys.try_key(this.as_any(), hash, n)?;
    Ok(boolean(this.py(), went))
}

hot_methods! {
    fn install_keyed() for PyKeyedLimiter as "KeyedLimiter";

    /// Take `n` tokens of the key, waiting until they are available. Works as `TokenBucket.acquire`.
    fn acquire(this, key, n = 1, *, timeout = None) {
        guarded true,
        fast: acquire_of(this, key, n, timeout),
        general: of_handle(this.as_any(), &key, interned!(this.py(), "acquire"), &[("n", n), ("timeout", timeout)]),
    }

    /// Take `n` tokens of the key if they are available and nobody is waiting for that key. Never waits.
    ///
    /// Returns whether the tokens were taken. `n=0` always succeeds and changes nothing.
    ///
    /// Raises RateLimited if the key is new and all `max_keys` keys are in use (see the class), ValueError if `n` is
    /// larger than can ever be admitted at once; ValueError, TypeError or OverflowError for an invalid `key` or `n`.
    fn try_acquire(this, key, n = 1) {
        guarded true,
        fast: {
            let (py, limiter) = (this.py(), this.get());
            let Some(n) = trivial_amount(n, limiter.keys.scale()) else { return Fast::Declined };
            let Some(hash) = limiter.plain_hash(&key) else { return Fast::Declined };
            let (wakes, result) = limiter.keys.try_acquire(py, hash, n);
            deliver(wakes);
            match result {
                Ok(went) => Fast::Done(boolean(py, went)),
                Err(refusal) => refuse_key(this, hash, n, refusal),
            }
        },
        general: try_key(this, &key, n.as_deref()),
    }
}

// With direct access to its buckets.
hot_methods! {
    fn install_keyed_bucket() for PyKeyedTokenBucket as "KeyedTokenBucket";

    /// Take `n` tokens of the key if they are available and nobody is waiting for that key. Never waits.
    ///
    /// Returns whether the tokens were taken. `n=0` always succeeds and changes nothing.
    ///
    /// Raises RateLimited if the key is new and all `max_keys` keys are in use (see the class), ValueError if `n` is
    /// larger than can ever be admitted at once; ValueError, TypeError or OverflowError for an invalid `key` or `n`.
    fn try_acquire(this, key, n = 1) {
        guarded true,
        fast: {
            let (py, bucket) = (this.py(), this.get());
            let Some(n) = trivial_amount(n, bucket.scale()) else { return Fast::Declined };
            let Some(hash) = this.as_super().get().plain_hash(&key) else { return Fast::Declined };
            let (wakes, result) = bucket.try_acquire(py, hash, n);
            deliver(wakes);
            match result {
                Ok(went) => Fast::Done(boolean(py, went)),
                Err(refusal) => refuse_key(this.as_super().as_borrowed(), hash, n, refusal),
            }
        },
        general: try_key(this.as_super(), &key, n.as_deref()),
    }
}

/// The largest set whose amounts fit into an array on the stack.
pub(super) const FEW: usize = 8;

/// The amounts, one for each limiter of a set, and the time limit of a call, if the arguments are valid and each limiter is a direct
/// member. Amounts by name are stored in `named`; without any, they are those of `ones` itself. `limit_name` is the parameter for the time
/// that the call may wait, if it has one. (The names of keyword arguments are interned; others take the general form.)
pub(super) fn trivial_request<'a>(
    set: &'a PyRateLimits,
    given: Given<'_>,
    limit_name: Option<&Bound<'_, PyString>>,
    named: &'a mut [Units; FEW],
) -> Option<(&'a [Units], f64)> {
    let scales = set.scales.as_deref().filter(|scales| scales.len() <= FEW && given.by_position() == 0)?;
    let (mut count, mut limit) = (0, f64::INFINITY);
    for (name, value) in given.by_name() {
        if limit_name.is_some_and(|limit_name| name.is(limit_name)) {
            limit = trivial_timeout(Some(value))?;
            continue;
        }
        let index = set.labels.iter().position(|known| name.is(known))?;
        named[index] = trivial_units(value, scales[index])?;
        count += 1;
    }
    match count {
        0 => Some((&set.ones, limit)),
        _ if count == scales.len() => Some((&named[..count], limit)),
        _ => None,
    }
}

/// Raises `RateLimited` if the amounts of a call cannot be admitted in time; declines everything else.
pub(super) fn refuse_set(this: Borrowed<'_, '_, PyRateLimits>, given: Given<'_>, limit_name: &Bound<'_, PyString>) -> Fast {
    let mut named = [0; FEW];
    let request = trivial_request(this.get(), given, Some(limit_name), &mut named).filter(|(_, limit)| limit.is_finite());
    let Some((amounts, limit)) = request.filter(|_| this.is_exact_instance_of::<PyRateLimits>()) else { return Fast::Declined };
    let (wakes, refused) = this.get().set.refuse_beyond(this.py(), amounts, nanos(limit));
    deliver(wakes);
    refused.map_or(Fast::Declined, |(after, limit)| raise_for_set(this, after, Some(limit)))
}

pub(super) fn raise_for_set(this: Borrowed<'_, '_, PyRateLimits>, after: Nanos, limit: Option<usize>) -> Fast {
    let py = this.py();
    let limit = limit.and_then(|limit| this.get().labels.get(limit)).map(|label| label.bind(py));
    let (limiter, template) = (this.as_super(), set_admits_later(py, limit.is_some()));
    if this.is_exact_instance_of::<PyRateLimits>() {
        return raise_limited(this.as_any().as_borrowed(), limiter.get().common().name(py), template, after, limit);
    }
    refuse_of(limiter.as_borrowed(), template, after, limit)
}

struct SetAcquire;

impl HotOpen for SetAcquire {
    type Class = PyRateLimits;
    const NAME: &'static str = "acquire";
    const DOC: &'static str = "acquire($self, n=1, *, timeout=None, **amounts)\n--\n\n\
        Take `n` of each limit, or amounts by name, waiting until all are available. All or none.\n\
        \n\
        With `timeout` it waits for at most that many seconds; if the wait is known to be longer, the request is refused\n\
        at once.\n\
        \n\
        Returns True, which is no context manager: for a block use `with limits.permit(...)`.\n\
        \n\
        Raises RateLimited, with `retry_after` in seconds and nothing taken, if the amounts are not available in time;\n\
        ValueError for an amount that can never be admitted at once; TypeError for a limit that is missing or unknown;\n\
        ValueError, TypeError or OverflowError for an invalid argument.\n\
        \n\
        Fairness: strictly first come, first served; threads and tasks share one wait queue. If an exception from a\n\
        signal handler interrupts the wait, nothing has been taken.";

    fn fast<'py>(this: Borrowed<'_, 'py, PyRateLimits>, given: Given<'py>) -> Fast {
        refuse_set(this, given, interned!(this.py(), "timeout"))
    }

    fn general<'py>(
        this: &Bound<'py, PyRateLimits>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        PyRateLimits::acquire(this, args, kwargs).map(|went| boolean(this.py(), went))
    }
}

struct SetTryAcquire;

impl HotOpen for SetTryAcquire {
    type Class = PyRateLimits;
    const NAME: &'static str = "try_acquire";
    const DOC: &'static str = "try_acquire($self, n=1, **amounts)\n--\n\n\
        Take `n` of each limit, or amounts by name, if all are available now and nobody is waiting. All or none.\n\
        \n\
        Returns whether they were taken. Never waits. Raises what `acquire` raises for amounts that can never be\n\
        admitted and for invalid arguments.";

    fn fast<'py>(this: Borrowed<'_, 'py, PyRateLimits>, given: Given<'py>) -> Fast {
        let (py, mut named) = (this.py(), [0; FEW]);
        let request = trivial_request(this.get(), given, None, &mut named);
        let Some((amounts, _)) = request.filter(|_| this.is_exact_instance_of::<PyRateLimits>()) else { return Fast::Declined };
        let (wakes, refused) = this.get().set.refuse_beyond(py, amounts, 0);
        deliver(wakes);
        refused.map_or(Fast::Declined, |_| Fast::Done(boolean(py, false)))
    }

    fn general<'py>(
        this: &Bound<'py, PyRateLimits>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        PyRateLimits::try_acquire(this, args, kwargs).map(|went| boolean(this.py(), went))
    }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_methods(&py.get_type::<PyRateLimits>(), &[open_method::<SetAcquire>(), open_method::<SetTryAcquire>()])?;
    install_limiter(&py.get_type::<PyRateLimiter>())?;
    install_keyed(&py.get_type::<PyKeyedLimiter>())?;
    install_keyed_bucket(&py.get_type::<PyKeyedTokenBucket>())
}
