//! The hot methods of channels' ends.
#![expect(clippy::inline_always, reason = "a fast form is a part of its entry, see `rt::hot`")]

use std::ffi::CStr;

use pyo3::prelude::*;
use sluicegate_core::credits::{Received, SendError};

use crate::credits::objects::object;
use crate::credits::receiver::PyReceiver;
use crate::credits::sender::PySender;
use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::hot::{Arguments, Hot, Parameter, Plain, attached, deliver, install as install_on, is_trivial_timeout, method};

static ITEM: Parameter = Parameter::new("item");
static TIMEOUT: Parameter = Parameter::new("timeout");

/// Sends an item that weighs one, if that goes at once.
#[inline(always)]
fn send_fast(sender: &PySender, item: Borrowed<'_, '_, PyAny>) -> Plain {
    let py = item.py();
    let body = sender.body.get();
    if !body.sends_plainly || sender.end.has_ended() || body.core.is_entered(py) {
        return Plain::Declined;
    }
    let (wakes, result) = body.core.try_send(py, item.to_owned().unbind(), 1);
    deliver(wakes);
    match result {
        Ok(()) => Plain::Done(py.None()),
        Err(SendError::Full(item) | SendError::TooHeavy(item) | SendError::Ended(item, _)) => {
            drop(item.into_bound(py)); // the caller holds it too
            Plain::Declined
        }
    }
}

/// Receives an item, if there is one.
#[inline(always)]
fn receive_fast(py: Python<'_>, receiver: &PyReceiver) -> Plain {
    let body = receiver.body.get();
    if body.acks || body.core.is_entered(py) {
        return Plain::Declined;
    }
    let (wakes, result) = body.core.try_receive(py);
    deliver(wakes);
    match result {
        Ok(Received::Item(item)) => Plain::Done(item),
        Ok(received) => attached(|py| object(py, received)),
        Err(_) => Plain::Declined,
    }
}

fn required<'a, 'py>(item: Option<Borrowed<'a, 'py, PyAny>>) -> Borrowed<'a, 'py, PyAny> {
    item.expect("required")
}

struct Send;

impl Hot<2> for Send {
    type Class = PySender;
    const CLASS: &'static str = "Sender";
    const NAME: &'static CStr = c"send";
    const DOC: &'static CStr = SEND;
    const REQUIRED: usize = 1;

    fn parameters() -> [&'static Parameter; 2] {
        [&ITEM, &TIMEOUT]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PySender>, [item, timeout]: Arguments<'_, 'py, 2>) -> Plain {
        match item {
            Some(item) if is_trivial_timeout(timeout) => send_fast(this.get(), item),
            _ => Plain::Declined,
        }
    }

    fn in_general<'py>(this: &Bound<'py, PySender>, [item, timeout]: Arguments<'_, 'py, 2>) -> PyResult<Py<PyAny>> {
        let timeout = Timeout::parse_strict("timeout", timeout.as_deref())?;
        PySender::send_in_general(this, &required(item), timeout)?;
        Ok(this.py().None())
    }
}

struct SendNowait;

impl Hot<1> for SendNowait {
    type Class = PySender;
    const CLASS: &'static str = "Sender";
    const NAME: &'static CStr = c"send_nowait";
    const DOC: &'static CStr = SEND_NOWAIT;
    const REQUIRED: usize = 1;

    fn parameters() -> [&'static Parameter; 1] {
        [&ITEM]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PySender>, [item]: Arguments<'_, 'py, 1>) -> Plain {
        item.map_or(Plain::Declined, |item| send_fast(this.get(), item))
    }

    fn in_general<'py>(this: &Bound<'py, PySender>, [item]: Arguments<'_, 'py, 1>) -> PyResult<Py<PyAny>> {
        PySender::send_in_general(this, &required(item), Timeout::Never)?;
        Ok(this.py().None())
    }
}

/// The fast path of `send_async`: None if it is done, `WAIT` if the coroutine has to go the long way.
struct TrySend;

impl Hot<2> for TrySend {
    type Class = PySender;
    const CLASS: &'static str = "Sender";
    const NAME: &'static CStr = c"_try_send";
    const DOC: &'static CStr = c"_try_send($self, item, timeout=None)\n--\n\nThe fast path of send_async.";
    const REQUIRED: usize = 1;

    fn parameters() -> [&'static Parameter; 2] {
        [&ITEM, &TIMEOUT]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PySender>, [item, timeout]: Arguments<'_, 'py, 2>) -> Plain {
        let plain = match item {
            Some(item) if is_trivial_timeout(timeout) && aio::spend() => send_fast(this.get(), item),
            _ => Plain::Declined,
        };
        plain.or_wait(this.py())
    }

    fn in_general<'py>(this: &Bound<'py, PySender>, _: Arguments<'_, 'py, 2>) -> PyResult<Py<PyAny>> {
        Ok(aio::wait_marker(this.py()))
    }
}

struct Receive;

impl Hot<1> for Receive {
    type Class = PyReceiver;
    const CLASS: &'static str = "Receiver";
    const NAME: &'static CStr = c"receive";
    const DOC: &'static CStr = RECEIVE;
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 1] {
        [&TIMEOUT]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PyReceiver>, [timeout]: Arguments<'_, 'py, 1>) -> Plain {
        if is_trivial_timeout(timeout) { receive_fast(this.py(), this.get()) } else { Plain::Declined }
    }

    fn in_general<'py>(this: &Bound<'py, PyReceiver>, [timeout]: Arguments<'_, 'py, 1>) -> PyResult<Py<PyAny>> {
        PyReceiver::receive_in_general(this, Timeout::parse_strict("timeout", timeout.as_deref())?)
    }
}

struct ReceiveNowait;

impl Hot<0> for ReceiveNowait {
    type Class = PyReceiver;
    const CLASS: &'static str = "Receiver";
    const NAME: &'static CStr = c"receive_nowait";
    const DOC: &'static CStr = RECEIVE_NOWAIT;
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 0] {
        []
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PyReceiver>, []: Arguments<'_, 'py, 0>) -> Plain {
        receive_fast(this.py(), this.get())
    }

    fn in_general<'py>(this: &Bound<'py, PyReceiver>, []: Arguments<'_, 'py, 0>) -> PyResult<Py<PyAny>> {
        PyReceiver::receive_in_general(this, Timeout::Never)
    }
}

/// The fast path of `receive_async`: an item, or `WAIT`.
struct TryReceive;

impl Hot<1> for TryReceive {
    type Class = PyReceiver;
    const CLASS: &'static str = "Receiver";
    const NAME: &'static CStr = c"_try_receive";
    const DOC: &'static CStr = c"_try_receive($self, timeout=None)\n--\n\nThe fast path of receive_async.";
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 1] {
        [&TIMEOUT]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PyReceiver>, [timeout]: Arguments<'_, 'py, 1>) -> Plain {
        let py = this.py();
        let plain = if is_trivial_timeout(timeout) && aio::spend() { receive_fast(py, this.get()) } else { Plain::Declined };
        plain.or_wait(py)
    }

    fn in_general<'py>(this: &Bound<'py, PyReceiver>, _: Arguments<'_, 'py, 1>) -> PyResult<Py<PyAny>> {
        Ok(aio::wait_marker(this.py()))
    }
}

const SEND: &CStr = c"send($self, item, timeout=None)
--

Send an item. Waits for credit: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.

Raises Full if there was no credit in time, ChannelClosed if this sender has completed, ChannelCancelled if the
receiver has cancelled or is gone, ChannelFailed if another sender has failed; ValueError for an item that is
heavier than the window; ValueError, TypeError or OverflowError for an invalid `timeout` or weight.

Fairness: credit is given strictly first come, first served, by weight; threads and tasks share one wait queue.
If an exception from a signal handler interrupts the call, nothing has been sent.";

const SEND_NOWAIT: &CStr = c"send_nowait($self, item)
--

Send an item if there is credit for it and nobody is waiting. Never waits.

Raises Full if there is no credit or others are waiting, otherwise what `send` raises.";

const RECEIVE: &CStr = c"receive($self, timeout=None)
--

Receive the next item. Waits for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
seconds.

On an AckChannel the result is a Delivery.

Raises Empty if there was no item in time; ChannelClosed if the channel is complete and everything has been
received; the sender's own exception if it failed, after the items sent before; ChannelCancelled after `cancel`;
ChannelError if an AckChannel is complete and all that is left is deliveries that the caller itself has not
settled; ValueError, TypeError or OverflowError for an invalid `timeout`.

Fairness: strictly first come, first served; threads and tasks share one wait queue. If an exception from a
signal handler interrupts the call, nothing has been taken.";

const RECEIVE_NOWAIT: &CStr = c"receive_nowait($self)
--

Receive the next item if there is one. Never waits.

Raises Empty if there is no item, otherwise what `receive` raises.";

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_on(&py.get_type::<PySender>(), &[method::<Send, 2>(), method::<SendNowait, 1>(), method::<TrySend, 2>()])?;
    install_on(&py.get_type::<PyReceiver>(), &[method::<Receive, 1>(), method::<ReceiveNowait, 0>(), method::<TryReceive, 1>()])
}
