//! The hot methods of the latest value.

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};
use sluicegate_core::latest::{ReadError, Want};

use super::inner::{PyLatest, since as version_of};
use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::drops::FlatItem;
use crate::rt::exceptions;
use crate::rt::hot::{Fast, attached, deliver, is_trivial_timeout, may_wait, raise_of};
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::interned;

/// Returns the value, if there is one. Otherwise, if `waits` is false, the call is refused.
#[inline]
fn get_fast(this: Borrowed<'_, '_, PyLatest>, waits: bool) -> Fast {
    let (py, core) = (this.py(), &this.get().core);
    if core.is_entered(py) {
        return Fast::Declined;
    }
    match core.try_read(py, Want::Newest, |value| value.clone_ref(py)) {
        Ok((value, _)) => Fast::Done(value),
        Err(ReadError::NotYet) if !waits => refuse(this, interned!(py, "get without waiting"), 0),
        Err(_) => Fast::Declined,
    }
}

/// Raises Empty: there is no value newer than version `since`.
#[inline(never)]
fn refuse<'py>(this: Borrowed<'_, 'py, PyLatest>, asked: &Bound<'py, PyString>, since: u64) -> Fast {
    raise_of(this.py(), &exceptions::EMPTY, this.get().refusal_args(this.py(), asked, since))
}

/// Raises Empty if the call does not wait and there is no value newer than `since`.
fn refuse_changed(
    this: Borrowed<'_, '_, PyLatest>,
    since: Option<Borrowed<'_, '_, PyAny>>,
    timeout: Option<Borrowed<'_, '_, PyAny>>,
) -> Fast {
    let (py, core) = (this.py(), &this.get().core);
    let since = since.and_then(|since| since.cast_exact::<PyInt>().ok()?.extract::<u64>().ok());
    let Some(since) = since.filter(|_| may_wait(timeout) == Some(false) && !core.is_entered(py)) else {
        return Fast::Declined;
    };
    // What is read here is dropped with another reference to it left: that of the object.
    match core.try_read(py, Want::After(since), |_| ()) {
        Err(ReadError::NotYet) => refuse(this, interned!(py, "changed without waiting"), since),
        _ => Fast::Declined,
    }
}

#[inline]
fn set_fast(this: Borrowed<'_, '_, PyLatest>, value: Borrowed<'_, '_, PyAny>) -> Fast {
    let (py, core) = (this.py(), &this.get().core);
    if core.is_entered(py) {
        return Fast::Declined;
    }
    let (wakes, result) = core.set(py, FlatItem::new(&value));
    deliver(wakes);
    match result.map(|old| old.and_then(FlatItem::into_item)) {
        Ok(None) => Fast::Done(py.None()),
        Ok(Some(old)) => attached(|py| {
            drop(old);
            Ok(py.None())
        }),
        Err(value) => {
            drop(value.into_item().map(|value| value.into_bound(py))); // the caller holds another reference
            Fast::Declined
        }
    }
}

/// Returns a newer value that has been set already, with its version.
fn changed_at_once(
    this: &Bound<'_, PyLatest>,
    since: &Bound<'_, PyAny>,
    timeout: Borrowed<'_, '_, PyAny>,
) -> PyResult<Option<Py<PyAny>>> {
    let (py, core) = (this.py(), &this.get().core);
    let Some(given) = version_of(Some(since))?.filter(|_| is_trivial_timeout(Some(timeout)) && aio::spend()) else {
        return Ok(None);
    };
    match core.try_read(py, Want::After(given), |value| value.clone_ref(py)) {
        Ok(read) => Ok(Some(read.into_pyobject(py)?.into_any().unbind())),
        Err(_) => Ok(None),
    }
}

hot_methods! {
    pub(crate) fn install() for PyLatest as "Latest";

    /// Set the value and wake all waiting readers. Never waits.
    ///
    /// The version grows by one, also if the value is equal to the one before. Readers that have not come yet get only the
    /// newest value.
    ///
    /// Raises ShutDown after a shutdown.
    fn set(this, value) {
        fast: set_fast(this, value),
        general: PyLatest::set(this, &value).map(|()| this.py().None()),
    }

    /// Return the value. If none has been set yet, wait for the first: indefinitely if `timeout` is None, otherwise for at
    /// most `timeout` seconds.
    ///
    /// Raises Empty if there was none in time; ShutDown after a shutdown (`peek` still returns the last value); ValueError,
    /// TypeError or OverflowError for an invalid `timeout`.
    fn get(this, timeout = None) {
        fast: match may_wait(timeout) {
            Some(waits) => get_fast(this, waits),
            None => Fast::Declined,
        },
        general: PyLatest::get(this, Timeout::parse_strict("timeout", timeout.as_deref())?),
    }

    /// Return the value without waiting for one.
    ///
    /// Raises Empty if no value has been set yet, ShutDown after a shutdown.
    fn get_nowait(this) {
        fast: get_fast(this, false),
        general: PyLatest::get(this, Timeout::Never),
    }

    /// Return the value without waiting for one, also after a shutdown. It does not count as read.
    ///
    /// Raises Empty if no value has been set yet, ShutDown if an immediate shutdown has removed it.
    fn peek(this) {
        fast: {
            let (py, core) = (this.py(), &this.get().core);
            if core.is_entered(py) {
                Fast::Declined
            } else {
                match core.peek(py, |value| value.clone_ref(py)) {
                    Some(value) => Fast::Done(value),
                    None if core.try_read(py, Want::Newest, |_| ()) == Err(ReadError::NotYet) => refuse(this, interned!(py, "peek"), 0),
                    None => Fast::Declined,
                }
            }
        },
        general: this.get().peek(this.py()),
    }

    /// Wait for a value newer than version `since`, and return it with its version: `value, version`.
    ///
    /// `since` is the version that the caller has; 0 accepts any value. Without it the call waits for a value that is set
    /// after it has begun. If several values have been set since, the newest is returned. Pass the returned version the next
    /// time to miss no change:
    ///
    ///     value, version = latest.changed(version)
    ///
    /// Raises Empty if there was none within `timeout` seconds; ShutDown after a shutdown, if no newer value had been set
    /// before; ValueError, TypeError or OverflowError for an invalid argument.
    ///
    /// Fairness: a new value wakes all waiting readers, in order of arrival.
    fn changed(this, since = None, *, timeout = None) {
        fast: refuse_changed(this, since, timeout),
        general: PyLatest::changed(this, since.as_deref(), timeout.as_deref()),
    }

    /// The fast path of get_async.
    fn _try_get(this, timeout) {
        fast: if is_trivial_timeout(Some(timeout)) && aio::spend() { get_fast(this, true) } else { Fast::Declined },
    }

    /// The fast path of changed_async.
    fn _try_changed(this, since, timeout) {
        fast: {
            let _ = (this, since, timeout); // the result would be a new tuple, which the general form makes
            Fast::Declined
        },
        general: Ok(changed_at_once(this, &since, timeout)?.unwrap_or_else(|| aio::wait_marker(this.py()))),
    }
}
