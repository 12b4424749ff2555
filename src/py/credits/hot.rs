//! The hot methods of channels' ends.
#![allow(unsafe_code)] // the C calling convention

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use sluicegate_core::credits::{Load, SendError};

use crate::credits::objects::{Lines, object};
use crate::credits::receiver::PyReceiver;
use crate::credits::sender::PySender;
use crate::rt::Item;
use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::hot::{Call, Raw, fire, general, guarded, install_on, instance, parse, this};

/// Sends an item that weighs one, if that goes at once. It cannot panic, and drops nothing.
///
/// # Safety
/// Called attached; `item` is a borrowed reference that is valid for the call.
#[inline]
unsafe fn send_plainly(sender: &PySender, item: Raw) -> Option<Raw> {
    // SAFETY: see above.
    let py = unsafe { Python::assume_attached() };
    let body = sender.body.get();
    if !body.sends_plainly || sender.end.has_ended() || body.core.is_entered(py) {
        return None;
    }
    // SAFETY: see above.
    let item: Item = unsafe { Bound::from_borrowed_ptr(py, item) }.unbind();
    let (wakes, result) = body.core.try_send(py, item, 1);
    if wakes.is_empty() {
        std::mem::forget(wakes);
    } else {
        fire(wakes);
    }
    match result {
        Ok(()) => Some(py.None().into_ptr()),
        Err(SendError::Full(item) | SendError::TooHeavy(item) | SendError::Ended(item, _)) => {
            drop(item.into_bound(py)); // the caller holds it too
            None
        }
    }
}

/// Receives an item, if there is one. As `send_plainly`.
///
/// # Safety
/// Called attached.
#[inline]
unsafe fn receive_plainly(receiver: &PyReceiver) -> Option<Raw> {
    // SAFETY: see above.
    let py = unsafe { Python::assume_attached() };
    let body = receiver.body.get();
    if body.acks || body.core.is_entered(py) {
        return None;
    }
    let (wakes, result) = body.core.try_receive(py);
    if wakes.is_empty() {
        std::mem::forget(wakes);
    } else {
        fire(wakes);
    }
    match result {
        Ok(Load::Item(item)) => Some(item.into_ptr()),
        Ok(Load::Bale(lines)) => Some(made(py, lines)),
        Err(_) => None,
    }
}

/// The object of a line, or null with an error set.
#[cold]
#[inline(never)]
fn made(py: Python<'_>, lines: Lines) -> Raw {
    match object(py, Load::Bale(lines)) {
        Ok(item) => item.into_ptr(),
        Err(error) => {
            error.restore(py);
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// The interpreter called, attached, for an instance of the class.
unsafe extern "C" fn send(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    if nargs == 1 && kwnames.is_null() {
        // SAFETY: as above; one argument was passed.
        if let Some(done) = unsafe { send_plainly(instance(Python::assume_attached(), this_), *args) } {
            return done;
        }
    }
    send_after_all(this_, args, nargs, kwnames)
}

#[cold]
#[inline(never)]
fn send_after_all(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    guarded(|_| {
        general(|py| {
            let [item, timeout] = parse(py, call, ("Sender", "send"), ["item", "timeout"], 1)?;
            let timeout = Timeout::parse_strict("timeout", timeout.as_deref())?;
            // SAFETY: the interpreter called, for an instance of the class.
            let sender = unsafe { this(py, &call.this).cast_unchecked::<PySender>() };
            PySender::send_in_general(sender, &item.expect("required"), timeout)?;
            Ok(py.None())
        })
    })
}

unsafe extern "C" fn send_nowait(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    if nargs == 1 && kwnames.is_null() {
        // SAFETY: called by the interpreter, attached, for an instance of the class; one argument was passed.
        if let Some(done) = unsafe { send_plainly(instance(Python::assume_attached(), this_), *args) } {
            return done;
        }
    }
    let call = Call::new(this_, args, nargs, kwnames);
    guarded(|_| {
        general(|py| {
            let [item] = parse(py, call, ("Sender", "send_nowait"), ["item"], 1)?;
            // SAFETY: the interpreter called, for an instance of the class.
            let sender = unsafe { this(py, &call.this).cast_unchecked::<PySender>() };
            PySender::send_in_general(sender, &item.expect("required"), Timeout::Never)?;
            Ok(py.None())
        })
    })
}

/// The fast path of `send_async`: None if it is done, `WAIT` if the coroutine has to go the long way.
unsafe extern "C" fn try_send(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: called by the interpreter, attached, for an instance of the class.
    let py = unsafe { Python::assume_attached() };
    if nargs == 1 && kwnames.is_null() && aio::spend() {
        // SAFETY: as above; one argument was passed.
        if let Some(done) = unsafe { send_plainly(instance(py, this_), *args) } {
            return done;
        }
    }
    aio::wait_marker(py)
}

unsafe extern "C" fn receive(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    if nargs == 0 && kwnames.is_null() {
        // SAFETY: called by the interpreter, attached, for an instance of the class.
        if let Some(item) = unsafe { receive_plainly(instance(Python::assume_attached(), this_)) } {
            return item;
        }
    }
    receive_after_all(this_, args, nargs, kwnames)
}

#[cold]
#[inline(never)]
fn receive_after_all(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    let call = Call::new(this_, args, nargs, kwnames);
    guarded(|_| {
        general(|py| {
            let [timeout] = parse(py, call, ("Receiver", "receive"), ["timeout"], 0)?;
            let timeout = Timeout::parse_strict("timeout", timeout.as_deref())?;
            // SAFETY: the interpreter called, for an instance of the class.
            let receiver = unsafe { this(py, &call.this).cast_unchecked::<PyReceiver>() };
            PyReceiver::receive_in_general(receiver, timeout)
        })
    })
}

unsafe extern "C" fn receive_nowait(this_: Raw, args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    if nargs == 0 && kwnames.is_null() {
        // SAFETY: called by the interpreter, attached, for an instance of the class.
        if let Some(item) = unsafe { receive_plainly(instance(Python::assume_attached(), this_)) } {
            return item;
        }
    }
    let call = Call::new(this_, args, nargs, kwnames);
    guarded(|_| {
        general(|py| {
            let [] = parse(py, call, ("Receiver", "receive_nowait"), [], 0)?;
            // SAFETY: the interpreter called, for an instance of the class.
            let receiver = unsafe { this(py, &call.this).cast_unchecked::<PyReceiver>() };
            PyReceiver::receive_in_general(receiver, Timeout::Never)
        })
    })
}

/// The fast path of `receive_async`: an item, or `WAIT`.
unsafe extern "C" fn try_receive(this_: Raw, _args: *const Raw, nargs: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: called by the interpreter, attached, for an instance of the class.
    let py = unsafe { Python::assume_attached() };
    if nargs == 0 && kwnames.is_null() && aio::spend() {
        // SAFETY: as above.
        if let Some(item) = unsafe { receive_plainly(instance(py, this_)) } {
            return item;
        }
    }
    aio::wait_marker(py)
}

const SEND: &CStr = c"send($self, item, timeout=None)
--

Send an item. Waits for credit: without a limit if `timeout` is None, else for at most `timeout` seconds.

Raises Full if there was none in time, ChannelClosed if this sender has completed, ChannelCancelled if the
receiver has gone, ChannelFailed if another sender has failed; ValueError for an item that is heavier than the
window; ValueError, TypeError or OverflowError for a bad `timeout`, or a bad weight.

Fairness: credit is given strictly in the order in which senders came, by weight, threads and tasks in one line.
Interrupted by an exception from a signal handler it has sent nothing.";

const SEND_NOWAIT: &CStr = c"send_nowait($self, item)
--

Send an item if there is credit for it and nobody waits. Never waits.

Raises Full if there is none, else as `send`.";

const TRY_SEND: &CStr = c"_try_send($self, item)\n--\n\nThe fast path of send_async.";

const RECEIVE: &CStr = c"receive($self, timeout=None)
--

Receive the next item. Waits for one: without a limit if `timeout` is None, else for at most `timeout` seconds.

Raises Empty if there was none in time; ChannelClosed when the channel is complete and everything received; the
sender's own exception if it failed, after what was sent before; ChannelCancelled after `cancel`; ValueError,
TypeError or OverflowError for a bad `timeout`. From an AckChannel it is a Delivery; ChannelError if the channel
is complete and nothing is left but deliveries that the caller itself has not settled.

Fairness: strictly in the order in which receivers came, threads and tasks in one line. Interrupted by an
exception from a signal handler it has taken nothing.";

const RECEIVE_NOWAIT: &CStr = c"receive_nowait($self)
--

Receive the next item if there is one. Never waits.

Raises Empty if there is none, else as `receive`.";

const TRY_RECEIVE: &CStr = c"_try_receive($self)\n--\n\nThe fast path of receive_async.";

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_on::<PySender>(
        py,
        &[(c"send", send, SEND), (c"send_nowait", send_nowait, SEND_NOWAIT), (c"_try_send", try_send, TRY_SEND)],
    )?;
    install_on::<PyReceiver>(
        py,
        &[
            (c"receive", receive, RECEIVE),
            (c"receive_nowait", receive_nowait, RECEIVE_NOWAIT),
            (c"_try_receive", try_receive, TRY_RECEIVE),
        ],
    )
}
