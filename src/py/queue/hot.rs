//! The hot methods of the queues.
//!
//! The fast form serves a queue whose order needs no Python, when it need not wait. First it asks the core for the everyday case, which is a
//! part of the entry itself, then for the whole operation, with wake-ups. It drops no reference but those that the caller holds too.
#![expect(clippy::inline_always, reason = "a fast form is a part of its entry, see `rt::hot`")]

use crate::rt::kept::interned;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyString};
use sluicegate_core::clock::nanos;
use sluicegate_core::queue::{Admission, Attempt, Dropped, Due, GetError, Lost, PutError, Side, Terms};

use crate::queue::classes::{PyLifoQueue, PyPriorityQueue, PyQueue, PySimpleQueue};
use crate::queue::conditions;
use crate::queue::inner::{QueueClass, QueueInner, Refused};
use crate::queue::items::Items;
use crate::queue::ops::QueueOperation;
use crate::rt::Item;
use crate::rt::aio;
use crate::rt::arguments::{self, Timeout};
use crate::rt::guarded;
use crate::rt::hot::{Fast, attached, deliver, is_trivial_timeout, none, raise, trivial_timeout};
use crate::rt::hot_methods::hot_methods;
use crate::rt::operation::{Done, Mode, Operation};

type Argument<'a, 'py> = Option<Borrowed<'a, 'py, PyAny>>;

/// What a queue without `ttl` is given.
const NO_TTL: Argument<'_, '_> = None;

/// How an operation comes to the door with these arguments, if there is nothing to report about them whatever the queue holds.
#[inline]
pub(in crate::queue) fn is_trivial(block: Argument<'_, '_>, timeout: Argument<'_, '_>) -> Option<Admission> {
    let block = match block {
        None => true,
        Some(block) => block.cast_exact::<PyBool>().ok()?.is_true(),
    };
    if !block {
        return Some(Admission::Immediate);
    }
    Some(if trivial_timeout(timeout)? == 0.0 { Admission::Immediate } else { Admission::Queued })
}

pub(in crate::queue) fn is_true(value: Argument<'_, '_>) -> PyResult<bool> {
    value.map_or(Ok(true), |value| value.is_truthy())
}

/// The everyday case of a put. `None`: nothing has happened, and `put_slow` is next.
#[inline(always)]
pub(in crate::queue) fn put_at_once(
    inner: &QueueInner,
    item: Borrowed<'_, '_, PyAny>,
    admission: Admission,
) -> Option<Py<PyAny>> {
    let py = item.py();
    inner.core.put_uncontended(py, admission, || item.to_owned().unbind()).then(|| none(py))
}

#[inline(always)]
pub(in crate::queue) fn put_fast(inner: &QueueInner, item: Borrowed<'_, '_, PyAny>, admission: Admission) -> Fast {
    put_at_once(inner, item, admission).map_or_else(|| put_slow(inner, item, admission), Fast::Done)
}

/// A put that has somebody to wake, or memory to ask for.
#[inline(never)]
pub(in crate::queue) fn put_slow(inner: &QueueInner, item: Borrowed<'_, '_, PyAny>, admission: Admission) -> Fast {
    let py = item.py();
    if inner.core.is_entered(py) {
        return Fast::Declined;
    }
    if inner.slow {
        let (wakes, put) = inner.core.put_without_baton(py, admission, |items| items.push_plain(item));
        deliver(wakes);
        return if put { Fast::Done(none(py)) } else { refuse_unasked(py, inner, Refused::Put, admission) };
    }
    if inner.core.put_watched_or_noted(py, None, admission, || item.to_owned().unbind()) {
        return Fast::Done(none(py));
    }
    if let Some(dropped) = inner.core.displace_uncontended(py, || item.to_owned().unbind()) {
        return after_report(inner, dropped);
    }
    let (wakes, result) = inner.core.try_put(py, item.to_owned().unbind(), admission);
    deliver(wakes);
    match result {
        Ok(()) => Fast::Done(none(py)),
        Err(PutError::Full(item)) if admission == Admission::Immediate => {
            drop(item.into_bound(py)); // the caller holds it too
            refuse(py, inner, Refused::Put)
        }
        Err(PutError::Rejected(item)) => {
            drop(item.into_bound(py)); // the caller holds it too
            refuse(py, inner, Refused::Rejected)
        }
        Err(PutError::Overflows(item)) => put_or_drop(inner, item.into_bound(py)),
        Err(PutError::Composed(item)) => put_composed(inner, item.into_bound(py), Terms::NONE, admission),
        // Without memory it is tried again in the general form, which can say so.
        Err(PutError::Full(item) | PutError::ShutDown(item) | PutError::Locked(item) | PutError::NoMemory(item)) => {
            drop(item.into_bound(py)); // the caller holds it too
            Fast::Declined
        }
    }
}

/// Reports an item that a put has dropped.
fn after_report(inner: &QueueInner, dropped: Dropped<Item>) -> Fast {
    attached(|py| {
        inner.report(py, dropped);
        Ok(none(py))
    })
}

/// A put into a queue that is full and drops items.
#[inline(never)]
fn put_or_drop(inner: &QueueInner, item: Bound<'_, PyAny>) -> Fast {
    let py = item.py();
    let (wakes, result) = inner.core.put_or_drop(py, item.unbind());
    deliver(wakes);
    match result {
        Ok(None) => Fast::Done(none(py)),
        Ok(Some(dropped)) => after_report(inner, dropped),
        Err(
            PutError::Full(item)
            | PutError::ShutDown(item)
            | PutError::Locked(item)
            | PutError::Rejected(item)
            | PutError::Overflows(item)
            | PutError::Composed(item)
            | PutError::NoMemory(item),
        ) => {
            drop(item.into_bound(py)); // the caller holds it too
            Fast::Declined
        }
    }
}

/// The everyday case of a put with a `ttl`: of less than twelve days, into a queue with times to live and nothing else.
#[inline(always)]
fn put_in_time(inner: &QueueInner, item: Borrowed<'_, '_, PyAny>, ttl: Argument<'_, '_>) -> Fast {
    let py = item.py();
    if let Some(Ok(seconds)) = ttl.map(|ttl| ttl.cast_exact::<PyFloat>().map(|ttl| ttl.value())) {
        let is_common = seconds > 0.0 && seconds < 1e6;
        if is_common && inner.core.put_in_time(py, nanos(seconds), || item.to_owned().unbind()) {
            return Fast::Done(none(py));
        }
    }
    put_until(inner, item, ttl, Admission::Queued)
}

/// A put with a `ttl`.
#[inline(never)]
fn put_until(inner: &QueueInner, item: Borrowed<'_, '_, PyAny>, ttl: Argument<'_, '_>, admission: Admission) -> Fast {
    let py = item.py();
    match trivial_timeout(ttl) {
        Some(f64::INFINITY) => put_fast(inner, item, admission),
        Some(seconds) if seconds > 0.0 && !inner.slow && !inner.core.is_entered(py) => {
            let ttl = nanos(seconds);
            if inner.core.put_watched_or_noted(py, Some(ttl), admission, || item.to_owned().unbind()) {
                return Fast::Done(none(py));
            }
            let terms = Terms { weight: 0, due: Due::In(ttl) };
            put_composed(inner, item.to_owned(), terms, admission)
        }
        _ => Fast::Declined,
    }
}

/// A put into a queue that keeps notes of its items.
#[inline(never)]
pub(in crate::queue) fn put_composed(inner: &QueueInner, item: Bound<'_, PyAny>, terms: Terms, admission: Admission) -> Fast {
    let py = item.py();
    if inner.weighs() {
        return Fast::Declined; // that runs Python; and the caller holds the item too
    }
    let attempt = if admission == Admission::Immediate { Attempt::Now } else { Attempt::Arrival };
    let (wakes, lost, result) = inner.core.put_composed(py, item.unbind(), terms, attempt);
    deliver(wakes);
    let plain = match result {
        Ok(()) => Fast::Done(none(py)),
        Err(PutError::Full(item)) if admission == Admission::Immediate => {
            drop(item.into_bound(py)); // the caller holds it too
            refuse(py, inner, Refused::Put)
        }
        Err(PutError::Rejected(item)) => {
            drop(item.into_bound(py)); // the caller holds it too
            refuse(py, inner, Refused::Rejected)
        }
        Err(
            PutError::Full(item)
            | PutError::ShutDown(item)
            | PutError::Locked(item)
            | PutError::Overflows(item)
            | PutError::Composed(item)
            | PutError::NoMemory(item),
        ) => {
            drop(item.into_bound(py)); // the caller holds it too
            Fast::Declined
        }
    };
    if lost.is_empty() { plain } else { after_reports(py, inner, lost, plain) }
}

/// Reports what has been given up, then goes on.
#[cold]
#[inline(never)]
fn after_reports(py: Python<'_>, inner: &QueueInner, lost: Lost<Item>, plain: Fast) -> Fast {
    let report = |lost: Lost<Item>| {
        attached(|py| {
            // An exception that is on its way is not the reports'.
            guarded::undisturbed(py, || lost.into_vec().into_iter().for_each(|lost| inner.report(py, lost)));
            Ok(none(py))
        })
    };
    if let Fast::Done(none) = report(lost) {
        drop(none.into_bound(py)); // None
    }
    plain
}

#[inline(always)]
fn get_fast(py: Python<'_>, inner: &QueueInner, admission: Admission) -> Fast {
    inner.core.get_uncontended(py, admission).map_or_else(|| get_slow(py, inner, admission), Fast::Done)
}

/// A get from a queue that is not plain.
#[inline(always)]
fn get_otherwise<C: QueueClass>(py: Python<'_>, inner: &QueueInner) -> Fast {
    let item = if C::HAS_TTL { inner.core.get_in_time(py) } else { None };
    item.map_or_else(|| get_slow(py, inner, Admission::Queued), Fast::Done)
}

#[inline(never)]
fn get_slow(py: Python<'_>, inner: &QueueInner, admission: Admission) -> Fast {
    if inner.core.is_entered(py) {
        return Fast::Declined;
    }
    if inner.slow {
        let (wakes, item) = inner.core.get_without_baton(py, admission, |items| items.pop_plain(py));
        deliver(wakes);
        return item.map_or_else(|| refuse_unasked(py, inner, Refused::Get, admission), Fast::Done);
    }
    if let Some(item) = inner.core.get_watched_or_noted(py, admission) {
        return Fast::Done(inner.bare(py, item));
    }
    let (wakes, result) = inner.core.try_get(py, admission);
    deliver(wakes);
    match result {
        Ok(item) => Fast::Done(inner.bare(py, item)),
        Err(GetError::Empty) if admission == Admission::Immediate => refuse(py, inner, Refused::Get),
        Err(GetError::Composed) => get_composed(py, inner, admission),
        Err(_) => Fast::Declined,
    }
}

/// A get from a queue that keeps notes of its items.
#[inline(never)]
fn get_composed(py: Python<'_>, inner: &QueueInner, admission: Admission) -> Fast {
    let attempt = if admission == Admission::Immediate { Attempt::Now } else { Attempt::Arrival };
    let (wakes, lost, result) = inner.core.get_composed(py, attempt);
    deliver(wakes);
    let plain = match result {
        Ok(item) => Fast::Done(inner.bare(py, item)),
        Err(GetError::Empty) if admission == Admission::Immediate => refuse(py, inner, Refused::Get),
        Err(_) => Fast::Declined,
    };
    if lost.is_empty() { plain } else { after_reports(py, inner, lost, plain) }
}

/// Full or Empty for a call that does not wait, on a queue whose order needs Python, if that can be decided without calling Python.
fn refuse_unasked(py: Python<'_>, inner: &QueueInner, refused: Refused, admission: Admission) -> Fast {
    if inner.slow && admission == Admission::Immediate && is_refused_unasked(py, inner, refused.side()) {
        refuse(py, inner, refused)
    } else {
        Fast::Declined
    }
}

/// True if an operation that does not wait is refused, and no Python has to be asked for that.
pub(in crate::queue) fn is_refused_unasked(py: Python<'_>, inner: &QueueInner, side: Side) -> bool {
    let has_keys = inner.keys.is_some() || inner.fair.is_some();
    let asks_python = inner.overrides.hooks || (side == Side::Put && has_keys);
    !asks_python && !inner.core.is_entered(py) && inner.core.refuses_at_once(py, side, Items::is_settled)
}

/// Full or Empty for a call that does not wait. As a rule the exception says the same as the one before, and has the same arguments.
pub(in crate::queue) fn refuse(py: Python<'_>, inner: &QueueInner, refused: Refused) -> Fast {
    match (inner.last_refusal(py, refused), refused.exception().at_hand(py)) {
        (Some(args), Some(class)) => raise(class, &args),
        _ => attached(|py| {
            if refused.side() == Side::Put {
                inner.is_bounded(py)?; // a `maxsize` that cannot be compared has its own error
            }
            Err(inner.refuse_at_once(py, refused, None))
        }),
    }
}

/// `put` in the general form: the standard library's checks, in its order.
pub(in crate::queue) fn put_general<C: QueueClass>(
    this: &Bound<'_, C>,
    item: Item,
    block: impl FnOnce() -> PyResult<bool>,
    timeout: Option<&Bound<'_, PyAny>>,
    ttl: Argument<'_, '_>,
) -> PyResult<Py<PyAny>> {
    let (py, inner) = (this.py(), this.get().inner());
    let ttl = arguments::ttl(ttl.as_deref())?;
    if inner.core.is_shut(py) {
        return Err(inner.shut_down_error(py, "put"));
    }
    let mut operation = QueueOperation::put(this, item, ttl)?;
    if !inner.is_bounded(py)? {
        // Without a bound nobody looks at `block` or `timeout`. Should there be one by the time of the attempt, they count after all.
        if let Some(done) = operation.attempt(py, Mode::TryFair, 0)? {
            return done.into_object(py);
        }
    }
    let timeout = if block()? { Timeout::parse(timeout)? } else { Timeout::Never };
    conditions::run(this, &mut operation, Side::Put, timeout)?.into_object(py)
}

fn get_general<C: QueueClass>(this: &Bound<'_, C>, block: bool, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
    let (py, inner) = (this.py(), this.get().inner());
    if inner.core.is_drained(py) {
        return Err(inner.shut_down_error(py, "get"));
    }
    let timeout = if block { Timeout::parse(timeout)? } else { Timeout::Never };
    match conditions::run(this, &mut QueueOperation::get(this), Side::Get, timeout)? {
        Done::Item(item) => Ok(item),
        other => other.into_object(py),
    }
}

/// What `put_nowait` and `get_nowait` are where a subclass has its own `put` or `get`: that one, with `block=False`.
pub(in crate::queue) fn call_without_blocking<'py, A>(
    this: &Bound<'py, PyAny>,
    method: &Bound<'py, PyString>,
    arguments: A,
    ttl: Argument<'_, 'py>,
) -> PyResult<Py<PyAny>>
where
    A: pyo3::call::PyCallArgs<'py>,
{
    let block = PyDict::new(this.py());
    block.set_item(interned!(this.py(), "block"), false)?;
    if let Some(ttl) = ttl {
        block.set_item(interned!(this.py(), "ttl"), ttl)?;
    }
    this.call_method(method, arguments, Some(&block)).map(Bound::unbind)
}

/// May a coroutine try now? Else it goes the long way: the loop has its turn there, and Python its say.
#[inline]
pub(in crate::queue) fn may_try(py: Python<'_>, inner: &QueueInner) -> bool {
    !inner.slow && !inner.core.is_entered(py) && aio::spend()
}

/// The everyday case of a coroutine, while the loop need not run. `None`: nothing has happened.
#[inline(always)]
fn aio_at_once<T>(inner: &QueueInner, operation: impl FnOnce(&QueueInner) -> Option<T>) -> Option<T> {
    if inner.slow { None } else { aio::spend_on(|| operation(inner)) }
}

/// The methods of both kinds of queue: `fast` first of the everyday case, for arguments that say nothing new.
macro_rules! queue_methods {
    (
        $visibility:vis fn $install:ident() for $class:ident as $class_name:literal;
        ttl: $ttl:expr, declared as [$($declared:tt)*], often given: $often:ident;
        $(#[doc = $put:literal])* fn put();
        $(#[doc = $get:literal])* fn get();
        $(#[doc = $put_nowait:literal])* fn put_nowait();
        $(#[doc = $get_nowait:literal])* fn get_nowait();
    ) => {
        hot_methods! {
            $visibility fn $install() for $class as $class_name;

            $(#[doc = $put])*
            fn put(this, item, block = True, timeout = None $($declared)*) {
                often: $often => put_in_time(this.get().inner(), item, $ttl),
                at_once: put_at_once(this.get().inner(), item, Admission::Queued),
                otherwise: put_slow(this.get().inner(), item, Admission::Queued),
                fast: match is_trivial(block, timeout) {
                    Some(admission) if $ttl.is_none() => put_fast(this.get().inner(), item, admission),
                    Some(admission) => put_until(this.get().inner(), item, $ttl, admission),
                    None => Fast::Declined,
                },
                // A simple queue has no bound: it takes `block` and `timeout` and never looks at them.
                general: put_general(this, item.to_owned().unbind(), || is_true(block), timeout.as_deref(), $ttl),
            }

            $(#[doc = $get])*
            fn get(this, block = True, timeout = None) {
                at_once: this.get().inner().core.get_uncontended(this.py(), Admission::Queued),
                otherwise: get_otherwise::<$class>(this.py(), this.get().inner()),
                fast: match is_trivial(block, timeout) {
                    Some(admission) => get_fast(this.py(), this.get().inner(), admission),
                    None => Fast::Declined,
                },
                general: {
                    let block = is_true(block)?;
                    if $class::TIMEOUT_FIRST && block {
                        Timeout::parse(timeout.as_deref())?.limit()?;
                    }
                    get_general(this, block, timeout.as_deref())
                },
            }

            $(#[doc = $put_nowait])*
            fn put_nowait(this, item $($declared)*) {
                at_once: {
                    let inner = this.get().inner();
                    if inner.overrides.put { None } else { put_at_once(inner, item, Admission::Immediate) }
                },
                otherwise: {
                    let inner = this.get().inner();
                    if inner.overrides.put { Fast::Declined } else { put_slow(inner, item, Admission::Immediate) }
                },
                fast: {
                    let inner = this.get().inner();
                    if inner.overrides.put {
                        Fast::Declined
                    } else if $ttl.is_none() {
                        put_fast(inner, item, Admission::Immediate)
                    } else {
                        put_until(inner, item, $ttl, Admission::Immediate)
                    }
                },
                general: {
                    if this.get().inner().overrides.put {
                        return call_without_blocking(this.as_any(), interned!(this.py(), "put"), (item,), $ttl);
                    }
                    put_general(this, item.to_owned().unbind(), || Ok(false), None, $ttl)
                },
            }

            $(#[doc = $get_nowait])*
            fn get_nowait(this) {
                at_once: {
                    let inner = this.get().inner();
                    if inner.overrides.get { None } else { inner.core.get_uncontended(this.py(), Admission::Immediate) }
                },
                otherwise: {
                    let inner = this.get().inner();
                    if inner.overrides.get { Fast::Declined } else { get_slow(this.py(), inner, Admission::Immediate) }
                },
                fast: {
                    let inner = this.get().inner();
                    if inner.overrides.get { Fast::Declined } else { get_fast(this.py(), inner, Admission::Immediate) }
                },
                general: {
                    if this.get().inner().overrides.get {
                        return call_without_blocking(this.as_any(), interned!(this.py(), "get"), (), None);
                    }
                    get_general(this, false, None)
                },
            }

            /// The fast path of put_async.
            fn _try_put(this, item, timeout, ttl) {
                at_once: {
                    if timeout.is_none() && ttl.is_none() {
                        aio_at_once(this.get().inner(), |inner| put_at_once(inner, item, Admission::Queued))
                    } else {
                        None
                    }
                },
                otherwise: {
                    let inner = this.get().inner();
                    let may_try = is_trivial_timeout(Some(timeout)) && may_try(this.py(), inner);
                    if may_try { put_until(inner, item, Some(ttl), Admission::Queued) } else { Fast::Declined }
                },
                fast: Fast::Declined,
            }

            /// The fast path of get_async.
            fn _try_get(this, timeout) {
                at_once: {
                    let py = this.py();
                    if timeout.is_none() {
                        aio_at_once(this.get().inner(), |inner| inner.core.get_uncontended(py, Admission::Queued))
                    } else {
                        None
                    }
                },
                otherwise: {
                    let (py, inner) = (this.py(), this.get().inner());
                    let may_try = is_trivial_timeout(Some(timeout)) && may_try(py, inner);
                    if may_try { get_fast(py, inner, Admission::Queued) } else { Fast::Declined }
                },
                fast: Fast::Declined,
            }
        }
    };
}

queue_methods! {
    pub(in crate::queue) fn install_queue() for PyQueue as "Queue";
    ttl: ttl, declared as [, *, ttl = None], often given: ttl;

    /// Put an item into the queue.
    ///
    /// If the queue is full, wait for room: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
    /// With `block=False` the call does not wait, and `timeout` is ignored.
    ///
    /// With `ttl` the item expires after that many seconds, the wait for room included: it is then dropped instead of being
    /// delivered, with the reason "expired". If that time passes before there is room, the call raises Full. A `ttl` of a second
    /// or more may be counted from the system's last tick: the item expires up to 10 milliseconds early, and never late.
    ///
    /// Raises Full if there was no room (in time), ShutDown if the queue has been shut down, ValueError for a negative
    /// or NaN timeout or for a `ttl` that is not positive.
    ///
    /// Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
    /// signal handler interrupts the wait, nothing has been put.
    fn put();

    /// Remove and return the next item.
    ///
    /// If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
    /// seconds. With `block=False` the call does not wait, and `timeout` is ignored.
    ///
    /// Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is empty, ValueError
    /// for a negative or NaN timeout.
    ///
    /// Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
    /// signal handler interrupts the wait, nothing has been taken.
    fn get();

    /// Put an item without waiting. Raises Full if there is no room, ShutDown if the queue has been shut down.
    ///
    /// It does not use the wait queue: if there is room, it takes the room even while other putters are waiting. `ttl` is that
    /// of `put`.
    fn put_nowait();

    /// Remove and return the next item without waiting. Raises Empty if there is no item, ShutDown if the queue has
    /// been shut down and is empty.
    ///
    /// It does not use the wait queue: if there is an item, it takes the item even while other getters are waiting.
    fn get_nowait();
}

queue_methods! {
    fn install_simple() for PySimpleQueue as "SimpleQueue";
    ttl: NO_TTL, declared as [], often given: nothing;

    /// Put an item into the queue. It never waits: the queue has no bound, and `block` and `timeout` are ignored.
    fn put();

    /// Remove and return the next item.
    ///
    /// If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
    /// seconds. With `block=False` the call does not wait, and `timeout` is ignored.
    ///
    /// Raises Empty if there was no item (in time), ValueError for a negative or NaN timeout, OverflowError for a
    /// timeout that is too long.
    ///
    /// Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
    /// signal handler interrupts the wait, nothing has been taken.
    fn get();

    /// Put an item into the queue, as `put` does.
    fn put_nowait();

    /// Remove and return the next item without waiting. Raises Empty if there is no item.
    ///
    /// It does not use the wait queue: if there is an item, it takes the item even while other getters are waiting.
    fn get_nowait();
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    for class in [py.get_type::<PyQueue>(), py.get_type::<PyLifoQueue>(), py.get_type::<PyPriorityQueue>()] {
        install_queue(&class)?;
    }
    install_simple(&py.get_type::<PySimpleQueue>())
}
