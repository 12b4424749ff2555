//! The hot methods of the queues.
//!
//! The fast form serves a queue whose order needs no Python, when it need not wait. First it asks the core for the everyday case, which is a
//! part of the entry itself, then for the whole operation, with wake-ups. It drops no reference but those that the caller holds too.
#![expect(clippy::inline_always, reason = "a fast form is a part of its entry, see `rt::hot`")]

use std::ffi::CStr;
use std::marker::PhantomData;

use crate::rt::kept::interned;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};
use sluicegate_core::queue::{Admission, GetError, PutError, Side};

use crate::queue::classes::{PyLifoQueue, PyPriorityQueue, PyQueue, PySimpleQueue};
use crate::queue::inner::{QueueClass, QueueInner};
use crate::queue::ops::QueueOperation;
use crate::rt::Item;
use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::blocking;
use crate::rt::exceptions;
use crate::rt::hot::{
    Arguments, Hot, Method, Parameter, Plain, attached, deliver, install as install_on, is_trivial_timeout, method, raise,
    trivial_timeout,
};
use crate::rt::operation::{Chance, Done, Operation};

static ITEM: Parameter = Parameter::new("item");
static BLOCK: Parameter = Parameter::new("block");
static TIMEOUT: Parameter = Parameter::new("timeout");

type Argument<'a, 'py> = Option<Borrowed<'a, 'py, PyAny>>;

/// How an operation comes to the door with these arguments, if there is nothing to report about them whatever the queue holds.
#[inline]
fn is_trivial(block: Argument<'_, '_>, timeout: Argument<'_, '_>) -> Option<Admission> {
    let block = match block {
        None => true,
        Some(block) => block.cast_exact::<PyBool>().ok()?.is_true(),
    };
    if !block {
        return Some(Admission::Immediate);
    }
    Some(if trivial_timeout(timeout)? == 0.0 { Admission::Immediate } else { Admission::Queued })
}

fn is_true(value: Argument<'_, '_>) -> PyResult<bool> {
    value.map_or(Ok(true), |value| value.is_truthy())
}

#[inline(always)]
fn put_fast(inner: &QueueInner, item: Borrowed<'_, '_, PyAny>, admission: Admission) -> Plain {
    let py = item.py();
    if inner.core.put_at_once(py, admission, || item.to_owned().unbind()) {
        Plain::Done(py.None())
    } else {
        put_slow(inner, item, admission)
    }
}

/// A put that has somebody to wake, or memory to ask for.
#[inline(never)]
fn put_slow(inner: &QueueInner, item: Borrowed<'_, '_, PyAny>, admission: Admission) -> Plain {
    let py = item.py();
    if inner.slow || inner.core.is_entered(py) {
        return Plain::Declined;
    }
    let (wakes, result) = inner.core.try_put(py, item.to_owned().unbind(), admission);
    deliver(wakes);
    match result {
        Ok(()) => Plain::Done(py.None()),
        Err(PutError::Full(item)) if admission == Admission::Immediate => {
            drop(item.into_bound(py)); // the caller holds it too
            refuse(py, inner, Side::Put)
        }
        Err(PutError::Full(item) | PutError::ShutDown(item)) => {
            drop(item.into_bound(py)); // the caller holds it too
            Plain::Declined
        }
    }
}

#[inline(always)]
fn get_fast(py: Python<'_>, inner: &QueueInner, admission: Admission) -> Plain {
    match inner.core.get_at_once(py, admission) {
        Some(item) => Plain::Done(item),
        None => get_slow(py, inner, admission),
    }
}

#[inline(never)]
fn get_slow(py: Python<'_>, inner: &QueueInner, admission: Admission) -> Plain {
    if inner.slow || inner.core.is_entered(py) {
        return Plain::Declined;
    }
    let (wakes, result) = inner.core.try_get(py, admission);
    deliver(wakes);
    match result {
        Ok(item) => Plain::Done(item),
        Err(GetError::Empty) if admission == Admission::Immediate => refuse(py, inner, Side::Get),
        Err(_) => Plain::Declined,
    }
}

/// Full or Empty for whoever does not wait. As a rule it says the same as the one before, and has the same arguments.
fn refuse(py: Python<'_>, inner: &QueueInner, side: Side) -> Plain {
    let kind = if side == Side::Put { &exceptions::FULL } else { &exceptions::EMPTY };
    match (inner.last_refusal(py, side), kind.at_hand(py)) {
        (Some(args), Some(class)) => raise(class, &args),
        _ => attached(|py| {
            if side == Side::Put {
                inner.is_bounded(py)?; // a `maxsize` that cannot be compared has its own error
            }
            Err(inner.refuse_at_once(py, side))
        }),
    }
}

/// `put` in the general form: the standard library's checks, in its order.
fn put_general(
    this: &Bound<'_, PyAny>,
    inner: &QueueInner,
    item: Item,
    block: impl FnOnce() -> PyResult<bool>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let py = this.py();
    if inner.core.is_shut(py) {
        return Err(inner.shut_down_error(py, "put"));
    }
    let mut operation = QueueOperation::put(inner, item);
    if !inner.is_bounded(py)? {
        // Without a bound nobody looks at `block` or `timeout`. Should there be one by the time of the attempt, they count after all.
        if let Some(done) = operation.attempt(this, Chance::Arrival, 0)? {
            return done.into_object(py);
        }
    }
    let timeout = if block()? { Timeout::parse(timeout)? } else { Timeout::Never };
    blocking::run(this, &mut operation, timeout)?.into_object(py)
}

fn get_general(
    this: &Bound<'_, PyAny>,
    inner: &QueueInner,
    block: bool,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let py = this.py();
    if inner.core.is_drained(py) {
        return Err(inner.shut_down_error(py, "get"));
    }
    let timeout = if block { Timeout::parse(timeout)? } else { Timeout::Never };
    match blocking::run(this, &mut QueueOperation::get(inner), timeout)? {
        Done::Item(item) => Ok(item),
        other => other.into_object(py),
    }
}

/// What `put_nowait` and `get_nowait` are where a subclass has its own `put` or `get`: that one, with `block=False`.
fn call_without_blocking<'py, A>(this: &Bound<'py, PyAny>, method: &Bound<'py, PyString>, arguments: A) -> PyResult<Py<PyAny>>
where
    A: pyo3::call::PyCallArgs<'py>,
{
    let block = PyDict::new(this.py());
    block.set_item(interned!(this.py(), "block"), false)?;
    this.call_method(method, arguments, Some(&block)).map(Bound::unbind)
}

fn required<'py>(argument: Argument<'_, 'py>) -> Bound<'py, PyAny> {
    argument.expect("required").to_owned()
}

struct Put<C>(PhantomData<C>);

impl<C: Documented> Hot<3> for Put<C> {
    type Class = C;
    const CLASS: &'static str = C::CLASS;
    const NAME: &'static CStr = c"put";
    const DOC: &'static CStr = C::PUT;
    const REQUIRED: usize = 1;

    fn parameters() -> [&'static Parameter; 3] {
        [&ITEM, &BLOCK, &TIMEOUT]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, C>, [item, block, timeout]: Arguments<'_, 'py, 3>) -> Plain {
        match (item, is_trivial(block, timeout)) {
            (Some(item), Some(admission)) => put_fast(this.get().inner(), item, admission),
            _ => Plain::Declined,
        }
    }

    fn in_general<'py>(this: &Bound<'py, C>, [item, block, timeout]: Arguments<'_, 'py, 3>) -> PyResult<Py<PyAny>> {
        // A simple queue has no bound: it takes `block` and `timeout` and never looks at them.
        put_general(this.as_any(), this.get().inner(), required(item).unbind(), || is_true(block), timeout.as_deref())
    }
}

struct Get<C>(PhantomData<C>);

impl<C: Documented> Hot<2> for Get<C> {
    type Class = C;
    const CLASS: &'static str = C::CLASS;
    const NAME: &'static CStr = c"get";
    const DOC: &'static CStr = C::GET;
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 2] {
        [&BLOCK, &TIMEOUT]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, C>, [block, timeout]: Arguments<'_, 'py, 2>) -> Plain {
        match is_trivial(block, timeout) {
            Some(admission) => get_fast(this.py(), this.get().inner(), admission),
            None => Plain::Declined,
        }
    }

    fn in_general<'py>(this: &Bound<'py, C>, [block, timeout]: Arguments<'_, 'py, 2>) -> PyResult<Py<PyAny>> {
        let block = is_true(block)?;
        if C::TIMEOUT_FIRST && block {
            Timeout::parse(timeout.as_deref())?.limit()?;
        }
        get_general(this.as_any(), this.get().inner(), block, timeout.as_deref())
    }
}

struct PutNowait<C>(PhantomData<C>);

impl<C: Documented> Hot<1> for PutNowait<C> {
    type Class = C;
    const CLASS: &'static str = C::CLASS;
    const NAME: &'static CStr = c"put_nowait";
    const DOC: &'static CStr = C::PUT_NOWAIT;
    const REQUIRED: usize = 1;

    fn parameters() -> [&'static Parameter; 1] {
        [&ITEM]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, C>, [item]: Arguments<'_, 'py, 1>) -> Plain {
        let inner = this.get().inner();
        match item {
            Some(item) if !inner.overrides.put => put_fast(inner, item, Admission::Immediate),
            _ => Plain::Declined,
        }
    }

    fn in_general<'py>(this: &Bound<'py, C>, [item]: Arguments<'_, 'py, 1>) -> PyResult<Py<PyAny>> {
        let inner = this.get().inner();
        if inner.overrides.put {
            return call_without_blocking(this.as_any(), interned!(this.py(), "put"), (required(item),));
        }
        put_general(this.as_any(), inner, required(item).unbind(), || Ok(false), None)
    }
}

struct GetNowait<C>(PhantomData<C>);

impl<C: Documented> Hot<0> for GetNowait<C> {
    type Class = C;
    const CLASS: &'static str = C::CLASS;
    const NAME: &'static CStr = c"get_nowait";
    const DOC: &'static CStr = C::GET_NOWAIT;
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 0] {
        []
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, C>, []: Arguments<'_, 'py, 0>) -> Plain {
        let inner = this.get().inner();
        if inner.overrides.get { Plain::Declined } else { get_fast(this.py(), inner, Admission::Immediate) }
    }

    fn in_general<'py>(this: &Bound<'py, C>, []: Arguments<'_, 'py, 0>) -> PyResult<Py<PyAny>> {
        let inner = this.get().inner();
        if inner.overrides.get {
            return call_without_blocking(this.as_any(), interned!(this.py(), "get"), ());
        }
        get_general(this.as_any(), inner, false, None)
    }
}

/// May a coroutine try now? Else it goes the long way: the loop has its turn there, and Python its say.
#[inline]
fn may_try(py: Python<'_>, inner: &QueueInner) -> bool {
    !inner.slow && !inner.core.is_entered(py) && aio::spend()
}

/// The fast path of `put_async`: None if it is done, `WAIT` if the coroutine has to go the long way.
struct TryPut<C>(PhantomData<C>);

impl<C: Documented> Hot<2> for TryPut<C> {
    type Class = C;
    const CLASS: &'static str = C::CLASS;
    const NAME: &'static CStr = c"_try_put";
    const DOC: &'static CStr = c"_try_put($self, item, timeout=None)\n--\n\nThe fast path of put_async.";
    const REQUIRED: usize = 1;

    fn parameters() -> [&'static Parameter; 2] {
        [&ITEM, &TIMEOUT]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, C>, [item, timeout]: Arguments<'_, 'py, 2>) -> Plain {
        let (py, inner) = (this.py(), this.get().inner());
        match item {
            Some(item) if is_trivial_timeout(timeout) && may_try(py, inner) => put_fast(inner, item, Admission::Queued),
            _ => Plain::Declined,
        }
        .or_wait(py)
    }

    fn in_general<'py>(this: &Bound<'py, C>, _: Arguments<'_, 'py, 2>) -> PyResult<Py<PyAny>> {
        Ok(aio::wait_marker(this.py()))
    }
}

/// The fast path of `get_async`: the item, or `WAIT`.
struct TryGet<C>(PhantomData<C>);

impl<C: Documented> Hot<1> for TryGet<C> {
    type Class = C;
    const CLASS: &'static str = C::CLASS;
    const NAME: &'static CStr = c"_try_get";
    const DOC: &'static CStr = c"_try_get($self, timeout=None)\n--\n\nThe fast path of get_async.";
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 1] {
        [&TIMEOUT]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, C>, [timeout]: Arguments<'_, 'py, 1>) -> Plain {
        let (py, inner) = (this.py(), this.get().inner());
        let plain = if is_trivial_timeout(timeout) && may_try(py, inner) {
            get_fast(py, inner, Admission::Queued)
        } else {
            Plain::Declined
        };
        plain.or_wait(py)
    }

    fn in_general<'py>(this: &Bound<'py, C>, _: Arguments<'_, 'py, 1>) -> PyResult<Py<PyAny>> {
        Ok(aio::wait_marker(this.py()))
    }
}

/// The docstrings, where the two kinds of queue differ.
trait Documented: QueueClass {
    const PUT: &'static CStr;
    const GET: &'static CStr;
    const PUT_NOWAIT: &'static CStr;
    const GET_NOWAIT: &'static CStr;
}

impl Documented for PyQueue {
    const PUT: &'static CStr = PUT;
    const GET: &'static CStr = GET;
    const PUT_NOWAIT: &'static CStr = PUT_NOWAIT;
    const GET_NOWAIT: &'static CStr = GET_NOWAIT;
}

impl Documented for PySimpleQueue {
    const PUT: &'static CStr = SIMPLE_PUT;
    const GET: &'static CStr = SIMPLE_GET;
    const PUT_NOWAIT: &'static CStr = SIMPLE_PUT_NOWAIT;
    const GET_NOWAIT: &'static CStr = SIMPLE_GET_NOWAIT;
}

const PUT: &CStr = c"put($self, item, block=True, timeout=None)
--

Put an item into the queue.

If the queue is full, wait for room: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
With `block=False` the call does not wait, and `timeout` is ignored.

Raises Full if there was no room (in time), ShutDown if the queue has been shut down, ValueError for a negative
or NaN timeout.

Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
signal handler interrupts the call, nothing has been put.";

const SIMPLE_PUT: &CStr = c"put($self, item, block=True, timeout=None)
--

Put an item into the queue. It never waits: the queue has no bound, and `block` and `timeout` are ignored.";

const GET: &CStr = c"get($self, block=True, timeout=None)
--

Remove and return the next item.

If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
seconds. With `block=False` the call does not wait, and `timeout` is ignored.

Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is empty, ValueError
for a negative or NaN timeout.

Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
signal handler interrupts the call, nothing has been taken.";

const SIMPLE_GET: &CStr = c"get($self, block=True, timeout=None)
--

Remove and return the next item.

If the queue is empty, wait for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
seconds. With `block=False` the call does not wait, and `timeout` is ignored.

Raises Empty if there was no item (in time), ValueError for a negative or NaN timeout, OverflowError for a
timeout that is too long.

Fairness: waiters are woken in order of arrival; threads and tasks share one wait queue. If an exception from a
signal handler interrupts the call, nothing has been taken.";

const SIMPLE_PUT_NOWAIT: &CStr = c"put_nowait($self, item)
--

Put an item into the queue, as `put` does.";

const SIMPLE_GET_NOWAIT: &CStr = c"get_nowait($self)
--

Remove and return the next item without waiting. Raises Empty if there is no item.

It does not use the wait queue: if there is an item, it takes the item even while other getters are waiting.";

const PUT_NOWAIT: &CStr = c"put_nowait($self, item)
--

Put an item without waiting. Raises Full if there is no room, ShutDown if the queue has been shut down.

It does not use the wait queue: if there is room, it takes the room even while other putters are waiting.";

const GET_NOWAIT: &CStr = c"get_nowait($self)
--

Remove and return the next item without waiting. Raises Empty if there is no item, ShutDown if the queue has
been shut down and is empty.

It does not use the wait queue: if there is an item, it takes the item even while other getters are waiting.";

const fn methods<C: Documented>() -> [Method<C>; 6] {
    [
        method::<Put<C>, 3>(),
        method::<Get<C>, 2>(),
        method::<PutNowait<C>, 1>(),
        method::<GetNowait<C>, 0>(),
        method::<TryPut<C>, 2>(),
        method::<TryGet<C>, 1>(),
    ]
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    for class in [py.get_type::<PyQueue>(), py.get_type::<PyLifoQueue>(), py.get_type::<PyPriorityQueue>()] {
        install_on(&class, &methods::<PyQueue>())?;
    }
    install_on(&py.get_type::<PySimpleQueue>(), &methods::<PySimpleQueue>())
}
