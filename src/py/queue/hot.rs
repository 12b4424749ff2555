//! The hot methods, installed as raw `METH_FASTCALL | METH_KEYWORDS` descriptors on the PyO3 types.
//!
//! A PyO3 method costs about three times the queue operation inside it (see `docs/decisions`). These do by hand what PyO3 does otherwise:
//! parse keywords (with the texts of CPython's own errors), turn panics into exceptions, and attach in PyO3's sense before anything may
//! drop a reference; the fast path drops none.
//!
//! The fast path serves the plain call of a plain queue. Everything else, a keyword or a subclass too, takes the slow path, which is the
//! same operation in the general form; there is nothing that only one of the two can do.
#![allow(unsafe_code)] // the C calling convention

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt};
use sluicegate_core::clock::MAX_SECONDS;
use sluicegate_core::queue::{PutError, Turn};

use crate::queue::classes::{PyQueue, PySimpleQueue};
use crate::queue::inner::{Body, HasBody};
use crate::queue::ops::QueueOperation;
use crate::rt::Item;
use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::blocking;
use crate::rt::hot::{Call, Raw, fire, general, guarded, install_on, parse, this};
use crate::rt::operation::{Chance, Done, Operation};

/// The turn that `block` and `timeout` ask for, if they are of the everyday kind: nothing to report about them, whatever the queue holds.
fn everyday(block: Option<Borrowed<'_, '_, PyAny>>, timeout: Option<Borrowed<'_, '_, PyAny>>) -> Option<Turn> {
    let block = match block {
        None => true,
        Some(block) => block.cast_exact::<PyBool>().ok()?.is_true(),
    };
    if !block {
        return Some(Turn::Now);
    }
    match timeout {
        None => Some(Turn::Arrival),
        Some(timeout) if timeout.is_none() => Some(Turn::Arrival),
        Some(timeout) => {
            let seconds = match timeout.cast_exact::<PyFloat>() {
                Ok(float) => float.value(),
                Err(_) => f64::from(timeout.cast_exact::<PyInt>().ok()?.extract::<i32>().ok()?),
            };
            (0.0..=MAX_SECONDS).contains(&seconds).then_some(Turn::Arrival)
        }
    }
}

fn is_true(value: Option<Borrowed<'_, '_, PyAny>>) -> PyResult<bool> {
    value.map_or(Ok(true), |value| value.is_truthy())
}

/// `put` in the general form: the standard library's checks, in its order.
fn put_in_general(
    this: &Bound<'_, PyAny>,
    body: &Body,
    item: Item,
    block: impl FnOnce() -> PyResult<bool>,
    timeout: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let py = this.py();
    if body.core.is_shut(py) {
        return Err(body.shut_down_error(py, "put"));
    }
    let mut operation = QueueOperation::put(body, item);
    if !body.is_bounded(py)? {
        // Without a bound nobody looks at `block` or `timeout`. Should there be one by the time of the attempt, they count after all.
        if let Some(done) = operation.attempt(this, Chance::Arrival, 0)? {
            return done.into_object(py);
        }
    }
    let timeout = if block()? { Timeout::parse(timeout)? } else { Timeout::Never };
    blocking::run(this, &mut operation, timeout)?.into_object(py)
}

fn get_in_general(this: &Bound<'_, PyAny>, body: &Body, block: bool, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
    let py = this.py();
    if body.core.is_drained(py) {
        return Err(body.shut_down_error(py, "get"));
    }
    let timeout = if block { Timeout::parse(timeout)? } else { Timeout::Never };
    match blocking::run(this, &mut QueueOperation::get(body), timeout)? {
        Done::Item(item) => Ok(item),
        other => other.into_object(py),
    }
}

unsafe extern "C" fn put<C: HasBody>(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    // SAFETY: called by the interpreter, attached, for an instance of C.
    let body = unsafe { call.instance::<C>(Python::assume_attached()).body() };
    if call.is_plain(1) && !body.slow {
        // SAFETY: one argument was passed.
        return unsafe { put_plainly(body, this_, *args, Turn::Arrival) };
    }
    guarded(|_| {
        general(|py| {
            let [item, block, timeout] = parse(py, call, (C::CLASS, "put"), ["item", "block", "timeout"], 1)?;
            let mut item = item.expect("required").to_owned().unbind();
            if let Some(turn) = everyday(block, timeout).filter(|_| !body.slow) {
                let (wakes, result) = body.core.try_put(py, item, turn);
                wakes.fire();
                match result {
                    Ok(()) => return Ok(py.None()),
                    Err(PutError::Full(back) | PutError::ShutDown(back)) => item = back,
                }
            }
            // A simple queue has no bound: it takes `block` and `timeout` and never looks at them.
            // SAFETY: as above.
            put_in_general(unsafe { this(py, &call.this) }, body, item, || is_true(block), timeout.as_deref())
        })
    })
}

/// The fast path of a put. It cannot panic (the section is not entered, and nothing else in it does), so it needs no guard.
///
/// It is given words and no [`Call`]: a struct is written to the stack and copied from there before its words have arrived (5 ns).
///
/// # Safety
/// Called attached; `item` is a borrowed reference that is valid for the call.
#[inline]
unsafe fn put_plainly(body: &Body, this_: Raw, item: Raw, turn: Turn) -> Raw {
    // SAFETY: see above.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: see above.
    let item: Item = unsafe { Bound::from_borrowed_ptr(py, item) }.unbind();
    if body.core.is_entered(py) {
        return put_after_all(body, this_, item, turn);
    }
    let (wakes, result) = body.core.try_put(py, item, turn);
    match result {
        Ok(()) => {
            if wakes.is_empty() {
                std::mem::forget(wakes);
            } else {
                fire(wakes);
            }
            py.None().into_ptr()
        }
        Err(PutError::Full(item) | PutError::ShutDown(item)) => {
            fire(wakes);
            put_after_all(body, this_, item, turn)
        }
    }
}

/// What the fast path could not do.
#[cold]
#[inline(never)]
fn put_after_all(body: &Body, this_: Raw, item: Item, turn: Turn) -> Raw {
    guarded(|_| {
        general(|py| {
            // SAFETY: the interpreter called.
            put_in_general(unsafe { this(py, &this_) }, body, item, || Ok(turn == Turn::Arrival), None)
        })
    })
}

unsafe extern "C" fn get<C: HasBody>(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    // SAFETY: called by the interpreter, attached, for an instance of C.
    let body = unsafe { call.instance::<C>(Python::assume_attached()).body() };
    if call.is_plain(0) && !body.slow {
        // SAFETY: as above.
        return unsafe { get_plainly(body, this_, Turn::Arrival) };
    }
    guarded(|_| {
        general(|py| {
            let [block, timeout] = parse(py, call, (C::CLASS, "get"), ["block", "timeout"], 0)?;
            if let Some(turn) = everyday(block, timeout).filter(|_| !body.slow) {
                let (wakes, result) = body.core.try_get(py, turn);
                wakes.fire();
                if let Ok(item) = result {
                    return Ok(item);
                }
            }
            let block = is_true(block)?;
            if C::TIMEOUT_FIRST && block {
                Timeout::parse(timeout.as_deref())?.limit()?;
            }
            // SAFETY: as above.
            get_in_general(unsafe { this(py, &call.this) }, body, block, timeout.as_deref())
        })
    })
}

/// The fast path of a get; see `put_plainly`.
///
/// # Safety
/// Called attached.
#[inline]
unsafe fn get_plainly(body: &Body, this_: Raw, turn: Turn) -> Raw {
    // SAFETY: see above.
    let py = unsafe { Python::assume_attached() };
    if body.core.is_entered(py) {
        return get_after_all(body, this_, turn);
    }
    let (wakes, result) = body.core.try_get(py, turn);
    if wakes.is_empty() {
        std::mem::forget(wakes);
    } else {
        fire(wakes);
    }
    match result {
        Ok(item) => item.into_ptr(),
        Err(_) => get_after_all(body, this_, turn),
    }
}

#[cold]
#[inline(never)]
fn get_after_all(body: &Body, this_: Raw, turn: Turn) -> Raw {
    guarded(|_| {
        general(|py| {
            // SAFETY: the interpreter called.
            get_in_general(unsafe { this(py, &this_) }, body, turn == Turn::Arrival, None)
        })
    })
}

unsafe extern "C" fn put_nowait<C: HasBody>(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    // SAFETY: called by the interpreter, attached, for an instance of C.
    let body = unsafe { call.instance::<C>(Python::assume_attached()).body() };
    if call.is_plain(1) && !body.slow && !body.overrides.put {
        // SAFETY: one argument was passed.
        return unsafe { put_plainly(body, this_, *args, Turn::Now) };
    }
    guarded(|_| {
        general(|py| {
            let [item] = parse(py, call, (C::CLASS, "put_nowait"), ["item"], 1)?;
            let item = item.expect("required").to_owned();
            // SAFETY: as above.
            let this = unsafe { this(py, &call.this) };
            if body.overrides.put {
                let block = PyDict::new(py);
                block.set_item(intern!(py, "block"), false)?;
                return this.call_method(intern!(py, "put"), (item,), Some(&block)).map(Bound::unbind);
            }
            put_in_general(this, body, item.unbind(), || Ok(false), None)
        })
    })
}

unsafe extern "C" fn get_nowait<C: HasBody>(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    // SAFETY: called by the interpreter, attached, for an instance of C.
    let body = unsafe { call.instance::<C>(Python::assume_attached()).body() };
    if call.is_plain(0) && !body.slow && !body.overrides.get {
        // SAFETY: as above.
        return unsafe { get_plainly(body, this_, Turn::Now) };
    }
    guarded(|_| {
        general(|py| {
            let [] = parse(py, call, (C::CLASS, "get_nowait"), [], 0)?;
            // SAFETY: as above.
            let this = unsafe { this(py, &call.this) };
            if body.overrides.get {
                let block = PyDict::new(py);
                block.set_item(intern!(py, "block"), false)?;
                return this.call_method(intern!(py, "get"), (), Some(&block)).map(Bound::unbind);
            }
            get_in_general(this, body, false, None)
        })
    })
}

/// The fast path of `put_async`: None if it is done, `WAIT` if the coroutine has to go the long way.
unsafe extern "C" fn try_put<C: HasBody>(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    // SAFETY: called by the interpreter, attached, for an instance of C.
    let (py, body) = unsafe { (Python::assume_attached(), call.instance::<C>(Python::assume_attached()).body()) };
    if !call.is_plain(1) {
        return guarded(|_| general(|py| parse(py, call, (C::CLASS, "_try_put"), ["item"], 1).map(|_| py.None())));
    }
    if body.slow || body.core.is_entered(py) || !aio::spend() {
        return aio::wait_marker(py);
    }
    // SAFETY: one argument was passed.
    let item: Item = unsafe { Bound::from_borrowed_ptr(py, *args) }.unbind();
    let (wakes, result) = body.core.try_put(py, item, Turn::Arrival);
    if wakes.is_empty() {
        std::mem::forget(wakes);
    } else {
        fire(wakes);
    }
    match result {
        Ok(()) => py.None().into_ptr(),
        Err(PutError::Full(item) | PutError::ShutDown(item)) => {
            // The caller holds the item too, so this runs nothing.
            // SAFETY: attached; one reference of ours.
            unsafe { ffi::Py_DECREF(item.into_ptr()) };
            aio::wait_marker(py)
        }
    }
}

/// The fast path of `get_async`: the item, or `WAIT`.
unsafe extern "C" fn try_get<C: HasBody>(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    // SAFETY: called by the interpreter, attached, for an instance of C.
    let (py, body) = unsafe { (Python::assume_attached(), call.instance::<C>(Python::assume_attached()).body()) };
    if !call.is_plain(0) {
        return guarded(|_| general(|py| parse(py, call, (C::CLASS, "_try_get"), [], 0).map(|[]| py.None())));
    }
    if body.slow || body.core.is_entered(py) || !aio::spend() {
        return aio::wait_marker(py);
    }
    let (wakes, result) = body.core.try_get(py, Turn::Arrival);
    if wakes.is_empty() {
        std::mem::forget(wakes);
    } else {
        fire(wakes);
    }
    result.map_or_else(|_| aio::wait_marker(py), Item::into_ptr)
}

const PUT: &CStr = c"put($self, item, block=True, timeout=None)
--

Put an item into the queue.

Waits for room while the queue is full: without a limit if `timeout` is None, else for at most
`timeout` seconds. With `block=False` it never waits and `timeout` is ignored.

Raises Full if there was no room (in time), ShutDown if the queue has been shut down, ValueError for a
negative or NaN timeout.

Fairness: waiters get their turn in the order they came, threads and tasks in one line. Interrupted by an
exception from a signal handler, it has put nothing.";

const SIMPLE_PUT: &CStr = c"put($self, item, block=True, timeout=None)
--

Put an item into the queue. Never waits: the queue has no bound, and `block` and `timeout` are
ignored.";

const GET: &CStr = c"get($self, block=True, timeout=None)
--

Remove and return the next item.

Waits for one while the queue is empty: without a limit if `timeout` is None, else for at most `timeout`
seconds. With `block=False` it never waits and `timeout` is ignored.

Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is drained,
ValueError for a negative or NaN timeout.

Fairness: waiters get their turn in the order they came, threads and tasks in one line. Interrupted by an
exception from a signal handler, it has taken nothing.";

const SIMPLE_GET: &CStr = c"get($self, block=True, timeout=None)
--

Remove and return the next item.

Waits for one while the queue is empty: without a limit if `timeout` is None, else for at most `timeout`
seconds. With `block=False` it never waits and `timeout` is ignored.

Raises Empty if there was no item (in time), ValueError for a negative or NaN timeout, OverflowError for one
that is too long.

Fairness: waiters get their turn in the order they came, threads and tasks in one line. Interrupted by an
exception from a signal handler, it has taken nothing.";

const SIMPLE_PUT_NOWAIT: &CStr = c"put_nowait($self, item)
--

Put an item into the queue, as `put` does.";

const SIMPLE_GET_NOWAIT: &CStr = c"get_nowait($self)
--

Remove and return the next item without waiting. Raises Empty if there is none.

It never waits, so it never stands in line: if there is an item it is taken, whoever waits.";

const PUT_NOWAIT: &CStr = c"put_nowait($self, item)
--

Put an item without waiting. Raises Full if there is no room, ShutDown if the queue has been shut down.

It never waits, so it never stands in line: if there is room it is taken, whoever waits.";

const GET_NOWAIT: &CStr = c"get_nowait($self)
--

Remove and return the next item without waiting. Raises Empty if there is none, ShutDown if the queue has
been shut down and is drained.

It never waits, so it never stands in line: if there is an item it is taken, whoever waits.";

const TRY_PUT: &CStr = c"_try_put($self, item)\n--\n\nThe fast path of put_async.";
const TRY_GET: &CStr = c"_try_get($self)\n--\n\nThe fast path of get_async.";

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_on::<PyQueue>(
        py,
        &[
            (c"put", put::<PyQueue>, PUT),
            (c"get", get::<PyQueue>, GET),
            (c"put_nowait", put_nowait::<PyQueue>, PUT_NOWAIT),
            (c"get_nowait", get_nowait::<PyQueue>, GET_NOWAIT),
            (c"_try_put", try_put::<PyQueue>, TRY_PUT),
            (c"_try_get", try_get::<PyQueue>, TRY_GET),
        ],
    )?;
    install_on::<PySimpleQueue>(
        py,
        &[
            (c"put", put::<PySimpleQueue>, SIMPLE_PUT),
            (c"get", get::<PySimpleQueue>, SIMPLE_GET),
            (c"put_nowait", put_nowait::<PySimpleQueue>, SIMPLE_PUT_NOWAIT),
            (c"get_nowait", get_nowait::<PySimpleQueue>, SIMPLE_GET_NOWAIT),
            (c"_try_put", try_put::<PySimpleQueue>, TRY_PUT),
            (c"_try_get", try_get::<PySimpleQueue>, TRY_GET),
        ],
    )
}
