//! The hot methods that book: `reserve`, `permit`, and the entry of a permit. The fast forms of `reserve` and of an entry do one thing: they
//! refuse what cannot be admitted in time, where that is known at once.

use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use sluicegate_core::clock::{Nanos, nanos};
use sluicegate_core::rate::Units;

use super::hot::{
    FEW, is_ours_keyed, raise_for_set, raise_limited, refuse, refuse_key, refuse_set, trivial_amount, trivial_request,
};
use super::keyed::{PyKeyedLimiter, request_of_key};
use super::limiter::{PyRateLimiter, Target};
use super::ops::Request;
use super::permit::{Amounts, Asked, OfKey, OfSet, PyRatePermit};
use super::refusal::{admits_later, tokens};
use super::set::{PyRateLimits, request_of_set};
use crate::rt::arguments::Timeout;
use crate::rt::hot::{
    Fast, Given, HotOpen, apart, created, deliver, install as install_methods, open_method, plain_timeout, trivial_timeout,
};
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::interned;
use crate::rt::keys::of_handle;

/// Raises `RateLimited` if `n` cannot be booked for a moment within `max_wait`; declines everything else.
fn refuse_reservation(
    this: Borrowed<'_, '_, PyRateLimiter>,
    n: Option<Borrowed<'_, '_, PyAny>>,
    max_wait: Option<Borrowed<'_, '_, PyAny>>,
) -> Fast {
    let Some(limit) = trivial_timeout(max_wait).filter(|limit| limit.is_finite()) else { return Fast::Declined };
    let own = match &this.get().target {
        Target::Own(own) => Some(own.clone()),
        Target::Key { limiter, .. } => limiter.with(this.py(), |limiter| limiter.upgrade()),
        Target::Set | Target::Unmade => None,
    };
    let Some((own, n)) = own.and_then(|own| Some((own.clone(), trivial_amount(n, own.scale())?))) else { return Fast::Declined };
    apart(|py| {
        let (wakes, after) = own.refuse_beyond(py, n, nanos(limit));
        deliver(wakes);
        after.map_or(Fast::Declined, |after| refuse(this, &own, after, n))
    })
}

hot_methods! {
    fn install_limiter() for PyRateLimiter as "RateLimiter";

    /// Book `n` tokens for the first moment at which they will be available, after all current waiters.
    ///
    /// Returns a Reservation, which tells that moment and can be waited for, settled and cancelled. The moment is
    /// fixed: nothing that happens later moves it.
    ///
    /// Raises RateLimited, with nothing booked, if the moment is more than `max_wait` seconds away or a leaky bucket
    /// has no free place for a waiter; ValueError if `n` is larger than can ever be admitted at once; ValueError,
    /// TypeError or OverflowError for an invalid argument.
    fn reserve(this, n = 1, *, max_wait = None) {
        fast: refuse_reservation(this, n, max_wait),
        general: {
            let reservation = PyRateLimiter::reserve(this, n.as_deref(), max_wait.as_deref())?;
            Ok(Bound::new(this.py(), reservation)?.into_any().unbind())
        },
    }

    /// Return a context manager (`with`, `async with`) that takes `n` tokens on entry.
    ///
    /// Entering waits in the wait queue as `acquire` does, at most `timeout` seconds if that is given. In the block, or after it,
    /// `settle(actual)` reports the amount actually used, and `refund()` that nothing was.
    ///
    /// Entering raises what `acquire` raises. Raises ValueError, TypeError or OverflowError for an invalid argument.
    fn permit(this, n = 1, *, timeout = None) {
        fast: {
            let Target::Own(own) = &this.get().target else { return Fast::Declined };
            match (trivial_amount(n, own.scale()), plain_timeout(timeout)) {
                (Some(n), Some(timeout)) => created(this.py(), permit_of(this, Request::One(Arc::clone(own), n), timeout)),
                _ => Fast::Declined,
            }
        },
        general: Ok(Py::new(this.py(), PyRateLimiter::permit(this, n.as_deref(), timeout.as_deref())?)?.into_any()),
    }
}

fn permit_of<C>(owner: Borrowed<'_, '_, C>, request: Request, timeout: Timeout) -> PyRatePermit {
    PyRatePermit::new(owner.as_any().clone().unbind(), request, timeout)
}

/// A permit for a key of a kind that cannot run Python.
fn permit_of_key(
    this: Borrowed<'_, '_, PyKeyedLimiter>,
    key: Borrowed<'_, '_, PyAny>,
    n: Option<Borrowed<'_, '_, PyAny>>,
    timeout: Option<Borrowed<'_, '_, PyAny>>,
) -> Fast {
    if !is_ours_keyed(&this) {
        return Fast::Declined;
    }
    let keyed = this.get();
    let scale = keyed.keys.scale();
    match (trivial_amount(n, scale), plain_timeout(timeout), keyed.plain_hash(&key)) {
        (Some(n), Some(timeout), Some(hash)) => {
            let key = key.to_owned().unbind();
            let of_key = OfKey { hash, n, scale, key, make: request_of_key, made: OnceLock::new() };
            created(this.py(), PyRatePermit::of_key(this.as_any().to_owned().unbind(), of_key, timeout))
        }
        _ => Fast::Declined,
    }
}

/// Raises `RateLimited` if what is asked for cannot be admitted in time; declines everything else.
fn refuse_at_once(owner: Borrowed<'_, '_, PyAny>, asked: &Asked, limit: Nanos) -> Fast {
    match asked {
        Asked::Of(Request::One(own, n)) if *n > 0 => {
            let (wakes, after) = own.refuse_beyond(owner.py(), *n, limit);
            deliver(wakes);
            after.map_or(Fast::Declined, |after| owner.cast().map_or(Fast::Declined, |owner| refuse(owner, own, after, *n)))
        }
        Asked::Of(_) => Fast::Declined,
        Asked::Key(of) => owner.cast().map_or(Fast::Declined, |owner| refuse_key_at_once(owner, of, limit)),
        Asked::Set(of) => owner.cast().map_or(Fast::Declined, |owner| refuse_set_at_once(owner, of, limit)),
    }
}

fn refuse_key_at_once(owner: Borrowed<'_, '_, PyKeyedLimiter>, of_key: &OfKey, limit: Nanos) -> Fast {
    let (py, keyed) = (owner.py(), owner.get());
    if of_key.n == 0 {
        return Fast::Declined;
    }
    let (wakes, refused) = keyed.keys.refuse_beyond(py, of_key.hash, of_key.n, limit);
    deliver(wakes);
    match refused {
        Ok(None) => Fast::Declined,
        Ok(Some(after)) => {
            let n = tokens(py, of_key.scale, of_key.n);
            raise_limited(owner.as_any().as_borrowed(), keyed.common().name(py), admits_later(py), after, n)
        }
        Err(refusal) => refuse_key(owner, of_key.hash, of_key.n, refusal),
    }
}

fn refuse_set_at_once(owner: Borrowed<'_, '_, PyRateLimits>, of_set: &OfSet, limit: Nanos) -> Fast {
    let set = owner.get();
    let amounts: &[Units] = match &of_set.amounts {
        Amounts::Ones => &set.ones,
        Amounts::Two(amounts) => amounts,
        Amounts::Any(amounts) => amounts,
    };
    let (wakes, refused) = set.set.refuse_beyond(owner.py(), amounts, limit);
    deliver(wakes);
    refused.map_or(Fast::Declined, |(after, limit)| raise_for_set(owner, after, Some(limit)))
}

hot_methods! {
    fn install_keyed() for PyKeyedLimiter as "KeyedLimiter";

    /// Return a context manager that takes `n` tokens of the key on entry. Works as `TokenBucket.permit`.
    fn permit(this, key, n = 1, *, timeout = None) {
        guarded true,
        fast: permit_of_key(this, key, n, timeout),
        general: of_handle(this.as_any(), &key, interned!(this.py(), "permit"), &[("n", n), ("timeout", timeout)]),
    }
}

hot_methods! {
    fn install_permit() for PyRatePermit as "RatePermit";

    /// Wait until the request is admitted, and return the permit.
    fn __enter__(this) {
        fast: apart(|py| {
            let permit = this.get();
            let Some((asked, limit)) = permit.asked(py) else { return Fast::Declined };
            refuse_at_once(permit.owner().bind_borrowed(py), asked, limit)
        }),
        general: PyRatePermit::enter(this).map(|()| this.clone().into_any().unbind()),
    }
}

struct SetReserve;

impl HotOpen for SetReserve {
    type Class = PyRateLimits;
    const NAME: &'static str = "reserve";
    const DOC: &'static str = "reserve($self, n=1, *, max_wait=None, **amounts)\n--\n\n\
        Book `n` of each limit, or amounts by name, for the first moment at which all are available, after all current\n\
        waiters.\n\
        \n\
        Returns a Reservation. Call its `settle` with amounts by name when the true amounts are known.\n\
        \n\
        Raises RateLimited, with nothing booked, if the moment is more than `max_wait` seconds away; otherwise what\n\
        `acquire` raises.";

    fn fast<'py>(this: Borrowed<'_, 'py, PyRateLimits>, given: Given<'py>) -> Fast {
        refuse_set(this, given, interned!(this.py(), "max_wait"))
    }

    fn general<'py>(
        this: &Bound<'py, PyRateLimits>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let reservation = PyRateLimits::reserve(this, args, kwargs)?;
        Ok(Bound::new(this.py(), reservation)?.into_any().unbind())
    }
}

struct SetPermit;

impl HotOpen for SetPermit {
    type Class = PyRateLimits;
    const NAME: &'static str = "permit";
    const DOC: &'static str = "permit($self, n=1, *, timeout=None, **amounts)\n--\n\n\
        Return a context manager (`with`, `async with`) that takes `n` of each limit, or amounts by name, on entry: all or\n\
        none.\n\
        \n\
        Entering waits in the wait queue as `acquire` does, at most `timeout` seconds if that is given. Semaphores of the set are\n\
        acquired first, in their order, and released when the block ends; then the tokens are taken. In the block, or\n\
        after it, `settle` reports the true amounts by name, and `refund` gives everything back.\n\
        \n\
        Entering raises RateLimited if the amounts are not available in time, Overloaded if a semaphore is not, with\n\
        nothing held or taken; ValueError for an amount that can never be admitted at once. Raises TypeError for a limit\n\
        that is missing or unknown; ValueError, TypeError or OverflowError for an invalid argument.";

    fn fast<'py>(this: Borrowed<'_, 'py, PyRateLimits>, given: Given<'py>) -> Fast {
        let (set, mut named) = (this.get(), [0; FEW]);
        let request = trivial_request(set, given, Some(interned!(this.py(), "timeout")), &mut named);
        let Some((amounts, limit)) = request.filter(|_| this.is_exact_instance_of::<PyRateLimits>()) else {
            return Fast::Declined;
        };
        let amounts = match amounts {
            ones if std::ptr::eq(ones, &raw const *set.ones) => Amounts::Ones,
            &[one, other] => Amounts::Two([one, other]),
            any => Amounts::Any(any.into()),
        };
        let owner = this.as_any().to_owned().unbind();
        created(this.py(), PyRatePermit::of_set(owner, OfSet::new(amounts, request_of_set), Timeout::of_valid(limit), None))
    }

    fn general<'py>(
        this: &Bound<'py, PyRateLimits>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        Ok(Py::new(this.py(), PyRateLimits::permit(this, args, kwargs)?)?.into_any())
    }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_limiter(&py.get_type::<PyRateLimiter>())?;
    install_keyed(&py.get_type::<PyKeyedLimiter>())?;
    install_permit(&py.get_type::<PyRatePermit>())?;
    install_methods(&py.get_type::<PyRateLimits>(), &[open_method::<SetReserve>(), open_method::<SetPermit>()])
}
