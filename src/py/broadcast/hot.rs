//! The hot methods of the broadcast and of its subscribers.

use pyo3::prelude::*;
use pyo3::types::PyBool;
use sluicegate_core::broadcast::{GetError, PublishError};

use super::inner::{PyBroadcast, PySubscriber};
use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::drops::FlatItem;
use crate::rt::exceptions;
use crate::rt::hot::{Fast, attached, deliver, is_trivial_timeout, may_wait, raise_of};
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::interned;

fn count(py: Python<'_>, subscribers: usize) -> Fast {
    let Ok(subscribers) = subscribers.into_pyobject(py);
    Fast::Done(subscribers.into_any().unbind())
}

/// Publishes an item if that goes at once.
#[inline]
fn publish_fast(this: Borrowed<'_, '_, PyBroadcast>, item: Borrowed<'_, '_, PyAny>, fair: bool) -> Fast {
    let (py, core) = (this.py(), &this.get().core);
    if core.is_entered(py) {
        return Fast::Declined;
    }
    let (wakes, result) = core.try_publish(py, FlatItem::new(&item), fair);
    deliver(wakes);
    match result {
        Ok(published) if published.displaced.is_empty() => count(py, published.subscribers),
        Ok(published) => attached(|py| {
            drop(published.displaced);
            Ok(published.subscribers.into_pyobject(py)?.into_any().unbind())
        }),
        Err(PublishError::Full(item)) if !fair => {
            drop(item.into_item().map(|item| item.into_bound(py))); // the caller holds it too
            raise_of(py, &exceptions::FULL, this.get().refusal_args(py, interned!(py, "publish without waiting")))
        }
        Err(PublishError::Full(item) | PublishError::ShutDown(item) | PublishError::NoMemory(item)) => {
            drop(item.into_item().map(|item| item.into_bound(py))); // the caller holds it too
            Fast::Declined
        }
    }
}

/// Takes an item if there is one.
#[inline]
fn get_fast(this: Borrowed<'_, '_, PySubscriber>, fair: bool) -> Fast {
    let (py, own) = (this.py(), &this.get().own);
    if own.broadcast().is_entered(py) {
        return Fast::Declined;
    }
    let (wakes, result) = own.try_get(py, fair, |item| item.share(py));
    deliver(wakes);
    match result.map(FlatItem::into_item) {
        Ok(Some(item)) => Fast::Done(item),
        Ok(None) => Fast::Done(py.None()),
        Err(GetError::Empty) if !fair => {
            raise_of(py, &exceptions::EMPTY, this.get().refusal_args(py, interned!(py, "get without waiting")))
        }
        Err(_) => Fast::Declined,
    }
}

/// May a `get` with these arguments wait, if there is nothing to report about them?
#[inline]
fn waits(block: Option<Borrowed<'_, '_, PyAny>>, timeout: Option<Borrowed<'_, '_, PyAny>>) -> Option<bool> {
    let block = block.map_or(Some(true), |block| Some(block.cast_exact::<PyBool>().ok()?.is_true()))?;
    if block { may_wait(timeout) } else { Some(false) }
}

hot_methods! {
    fn install_broadcast() for PyBroadcast as "Broadcast";

    /// Publish an item to all subscribers, and return the number of those that will get it.
    ///
    /// Waits while a subscriber with `overflow="block"` is full: indefinitely if `timeout` is None, otherwise for at most
    /// `timeout` seconds. Without such a subscriber it never waits.
    ///
    /// Raises Full if one was full all the time, with nothing published to anybody; ShutDown after a shutdown; ValueError,
    /// TypeError or OverflowError for an invalid `timeout`.
    ///
    /// Fairness: waiting publishers are woken in order of arrival; threads and tasks share one wait queue. If an exception
    /// from a signal handler interrupts the wait, nothing has been published.
    fn publish(this, item, timeout = None) {
        fast: match may_wait(timeout) {
            Some(waits) => publish_fast(this, item, waits),
            None => Fast::Declined,
        },
        general: PyBroadcast::publish_general(this, &item, Timeout::parse_strict("timeout", timeout.as_deref())?),
    }

    /// Publish an item without waiting, and return the number of subscribers that will get it.
    ///
    /// Raises Full if a subscriber with `overflow="block"` is full, with nothing published to anybody; ShutDown after a
    /// shutdown.
    fn publish_nowait(this, item) {
        fast: publish_fast(this, item, false),
        general: PyBroadcast::publish_general(this, &item, Timeout::Never),
    }

    /// The fast path of publish_async.
    fn _try_publish(this, item, timeout) {
        fast: if is_trivial_timeout(Some(timeout)) && aio::spend() { publish_fast(this, item, true) } else { Fast::Declined },
    }
}

hot_methods! {
    fn install_subscriber() for PySubscriber as "Subscriber";

    /// Remove and return the next item.
    ///
    /// If there is none, wait for one: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. With
    /// `block=False` the call does not wait, and `timeout` is ignored.
    ///
    /// Raises Empty if there was no item (in time); ShutDown if there is none and the broadcast has been shut down, or the
    /// subscriber has been disconnected or closed; ValueError, TypeError or OverflowError for an invalid `timeout`.
    ///
    /// Fairness: waiters of one subscriber are woken in order of arrival; threads and tasks share one wait queue. If an
    /// exception from a signal handler interrupts the wait, nothing has been taken.
    fn get(this, block = True, timeout = None) {
        fast: match waits(block, timeout) {
            Some(waits) => get_fast(this, waits),
            None => Fast::Declined,
        },
        general: {
            let block = block.map_or(Ok(true), |block| block.is_truthy())?;
            PySubscriber::get_general(this, block, timeout.as_deref())
        },
    }

    /// Remove and return the next item without waiting. Raises Empty if there is none, otherwise what `get` raises.
    fn get_nowait(this) {
        fast: get_fast(this, false),
        general: PySubscriber::get_general(this, false, None),
    }

    /// The fast path of get_async.
    fn _try_get(this, timeout = None) {
        fast: if is_trivial_timeout(timeout) && aio::spend() { get_fast(this, true) } else { Fast::Declined },
    }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_broadcast(&py.get_type::<PyBroadcast>())?;
    install_subscriber(&py.get_type::<PySubscriber>())
}
