//! The hot methods of channels' ends.
#![expect(clippy::inline_always, reason = "a fast form is a part of its entry, see `rt::hot`")]

use pyo3::prelude::*;
use sluicegate_core::credits::{ReceiveError, Received, SendError};

use crate::credits::objects::object;
use crate::credits::ops::ChannelOperation;
use crate::credits::receiver::PyReceiver;
use crate::credits::refusal::Direction;
use crate::credits::sender::PySender;
use crate::rt::aio;
use crate::rt::arguments::{self, Timeout};
use crate::rt::blocking;
use crate::rt::hot::{Fast, attached, deliver, is_filled, is_positive, is_trivial_timeout, may_wait};
use crate::rt::hot_methods::hot_methods;

/// Sends an item of weight one if that is possible at once. Otherwise, if `waits` is false, the call is refused.
#[inline(always)]
fn send_fast(sender: &PySender, item: Borrowed<'_, '_, PyAny>, waits: bool) -> Fast {
    let py = item.py();
    let body = sender.body.get();
    if !body.sends_plainly || sender.end.has_ended() || body.core.is_entered(py) {
        return Fast::Declined;
    }
    let (wakes, result) = body.core.try_send(py, item.to_owned().unbind(), 1);
    deliver(wakes);
    match result {
        Ok(()) => Fast::Done(py.None()),
        Err(error) => {
            let is_refused = !waits && matches!(error, SendError::Full(_));
            let (SendError::Full(item) | SendError::TooHeavy(item) | SendError::NoMemory(item) | SendError::Ended(item, _)) =
                error;
            drop(item.into_bound(py)); // the caller holds another reference
            if is_refused { body.refuse_at_once(py, Direction::Send) } else { Fast::Declined }
        }
    }
}

/// Receives an item if there is one. Otherwise, if `waits` is false, the call is refused.
#[inline(always)]
fn receive_fast(py: Python<'_>, receiver: &PyReceiver, waits: bool) -> Fast {
    let body = receiver.body.get();
    if body.acks || body.core.is_entered(py) {
        return if waits { Fast::Declined } else { refuse_receive(py, receiver, Direction::Receive) };
    }
    let (wakes, result) = body.core.try_receive(py);
    deliver(wakes);
    match result {
        Ok(Received::Item(item)) => Fast::Done(item),
        Ok(received) => attached(|py| object(py, received)),
        Err(ReceiveError::Empty) if !waits => body.refuse_at_once(py, Direction::Receive),
        Err(_) => Fast::Declined,
    }
}

/// Refuses to receive if there is nothing.
#[inline(never)]
fn refuse_receive(py: Python<'_>, receiver: &PyReceiver, direction: Direction) -> Fast {
    let body = receiver.body.get();
    if !body.core.is_entered(py) && body.core.has_nothing_to_receive(py) {
        body.refuse_at_once(py, direction)
    } else {
        Fast::Declined
    }
}

/// Refuses to send a batch whose items have no weights if there is no credit.
fn refuse_send_many(py: Python<'_>, sender: &PySender) -> Fast {
    let body = sender.body.get();
    let may_look = body.sends_plainly && !sender.end.has_ended() && !body.core.is_entered(py);
    if may_look && body.core.has_no_credit(py) { body.refuse_at_once(py, Direction::SendMany) } else { Fast::Declined }
}

hot_methods! {
    fn install_sender() for PySender as "Sender";

    /// Send an item. Waits for credit: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds.
    ///
    /// Raises Full if there was no credit in time, ChannelClosed if this sender has completed, ChannelCancelled if the
    /// receiver has cancelled or is gone, ChannelFailed if another sender has failed; ValueError for an item that is
    /// heavier than the window; ValueError, TypeError or OverflowError for an invalid `timeout` or weight.
    ///
    /// Fairness: credit is given strictly first come, first served, by weight; threads and tasks share one wait queue.
    /// If an exception from a signal handler interrupts the wait, nothing has been sent.
    fn send(this, item, timeout = None) {
        fast: match may_wait(timeout) {
            Some(waits) => send_fast(this.get(), item, waits),
            None => Fast::Declined,
        },
        general: {
            let timeout = Timeout::parse_strict("timeout", timeout.as_deref())?;
            PySender::send_general(this, &item, timeout).map(|()| this.py().None())
        },
    }

    /// Send an item if there is credit for it and nobody is waiting. Never waits.
    ///
    /// Raises Full if there is no credit or others are waiting, otherwise what `send` raises.
    fn send_nowait(this, item) {
        fast: send_fast(this.get(), item, false),
        general: PySender::send_general(this, &item, Timeout::Never).map(|()| this.py().None()),
    }

    /// Send all of `items`, in order, and return the number of items.
    ///
    /// As many items as there is credit for are sent in one step, the rest as credit is granted; `timeout` bounds the
    /// whole call. An item is taken from an iterator only when there is credit for one, so afterwards the iterator is
    /// at the first item that was not sent. With `weigh`, an item that was taken and turned out to be too heavy for the
    /// remaining credit is in the exception's `pending`.
    ///
    /// Raises Full if there was no credit in time, ChannelClosed, ChannelFailed or ChannelCancelled at the end of the
    /// channel, ValueError for an item that is too heavy. The exception's `accepted`, also that of CancelledError, is
    /// the number of items that were sent.
    fn send_many(this, items, *, timeout = None) {
        fast: match may_wait(timeout) {
            Some(false) if is_filled(items) => refuse_send_many(this.py(), this.get()),
            _ => Fast::Declined,
        },
        general: {
            let timeout = Timeout::parse_strict("timeout", timeout.as_deref())?;
            let mut operation = this.get().batch(this.py(), "send_many", &items)?;
            blocking::run(this.py(), &mut operation, timeout)?.into_object(this.py())
        },
    }

    /// The fast path of send_async.
    fn _try_send(this, item, timeout = None) {
        fast: if is_trivial_timeout(timeout) && aio::spend() { send_fast(this.get(), item, true) } else { Fast::Declined },
    }
}

hot_methods! {
    fn install_receiver() for PyReceiver as "Receiver";

    /// Receive the next item. Waits for an item: indefinitely if `timeout` is None, otherwise for at most `timeout`
    /// seconds.
    ///
    /// On an AckChannel the result is a Delivery.
    ///
    /// Raises Empty if there was no item in time; ChannelClosed if the channel is complete and everything has been
    /// received; the sender's own exception if it failed, after the items sent before; ChannelCancelled after `cancel`;
    /// ChannelError if an AckChannel is complete and all that is left is deliveries that the caller itself has not
    /// settled; ValueError, TypeError or OverflowError for an invalid `timeout`.
    ///
    /// Fairness: strictly first come, first served; threads and tasks share one wait queue. If an exception from a
    /// signal handler interrupts the wait, nothing has been taken.
    fn receive(this, timeout = None) {
        fast: match may_wait(timeout) {
            Some(waits) => receive_fast(this.py(), this.get(), waits),
            None => Fast::Declined,
        },
        general: PyReceiver::receive_general(this, Timeout::parse_strict("timeout", timeout.as_deref())?),
    }

    /// Receive the next item if there is one. Never waits.
    ///
    /// Raises Empty if there is no item, otherwise what `receive` raises.
    fn receive_nowait(this) {
        fast: receive_fast(this.py(), this.get(), false),
        general: PyReceiver::receive_general(this, Timeout::Never),
    }

    /// Receive 1 to `max` items, as a list: wait for the first item, then take what else is available.
    ///
    /// Raises Empty if there was no item within `timeout` seconds, and what `receive` raises at the end of the channel;
    /// ValueError, TypeError or OverflowError for an invalid `max` or `timeout`.
    fn receive_many(this, max, *, timeout = None) {
        fast: match may_wait(timeout) {
            Some(false) if is_positive(max) => refuse_receive(this.py(), this.get(), Direction::ReceiveMany),
            _ => Fast::Declined,
        },
        general: {
            let max = arguments::positive("max", &max)?;
            let timeout = Timeout::parse_strict("timeout", timeout.as_deref())?;
            let mut operation = ChannelOperation::receive_many(this.get().body.bind(this.py()), max);
            blocking::run(this.py(), &mut operation, timeout)?.into_object(this.py())
        },
    }

    /// The fast path of receive_async.
    fn _try_receive(this, timeout = None) {
        fast: {
            let may_try = is_trivial_timeout(timeout) && aio::spend();
            if may_try { receive_fast(this.py(), this.get(), true) } else { Fast::Declined }
        },
    }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_sender(&py.get_type::<PySender>())?;
    install_receiver(&py.get_type::<PyReceiver>())
}
