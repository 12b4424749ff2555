//! The conditions that share `queue.mutex`: `wait` and `notify`, as `threading.Condition` has them. What notifies by itself is in the core.
//!
//! # A replaced `wait`
//! A program may assign another function to `wait` of a condition (a test that wants to know when a thread waits, say). The standard
//! library's `put`, `get` and `join` call it. Here they do so too, but only where they would wait: [`run`] then acquires the mutex, and
//! attempts the operation and calls the function in turn, as the standard library does. An operation that need not wait pays nothing.

use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use sluicegate_core::queue::Side;

use crate::queue::baton::reentered;
use crate::queue::inner::{BoundQueue, QueueClass, QueueInner};
use crate::queue::mutex::{MutexGuard, lock_mutex, measure};
use crate::queue::ops::QueueOperation;
use crate::rt::aio::caller_number;
use crate::rt::arguments::Timeout;
use crate::rt::blocking;
use crate::rt::guarded;
use crate::rt::kept::interned;
use crate::rt::operation::{Done, Mode, Operation, annotated};

/// `Condition.wait`: gives the mutex back, waits to be notified, and takes it again, whatever has happened.
pub(in crate::queue) fn wait_to_be_notified<C: QueueClass>(queue: &Bound<'_, C>, side: Side, timeout: Timeout) -> PyResult<bool> {
    let py = queue.py();
    let inner = queue.get().inner();
    let object = BoundQueue { this: queue.as_any(), inner };
    let owner = caller_number(py)?;
    if !inner.core.has_mutex(py, owner) {
        return Err(PyRuntimeError::new_err("cannot wait on un-acquired lock"));
    }
    if inner.core.baton_is_mine(py) {
        return Err(reentered("a wait on a condition")); // others could not come in, and notify it
    }
    // Not to wait at all means to let others have it all the same.
    let timeout = if matches!(timeout, Timeout::Never) { Timeout::Within(1e-9) } else { timeout };
    measure(&object, owner);
    let mut operation = QueueOperation::wait_on_condition(queue, side, owner);
    let mut outcome = blocking::run(py, &mut operation, timeout).map(|done| matches!(done, Done::Yes));
    let Some((wait, depth)) = operation.begun_wait() else { return outcome };
    let (wakes, notified) = inner.core.end_condition_wait(py, &wait, outcome.is_err());
    wakes.fire();
    outcome = outcome.map(|_| notified);
    while let Err(error) = lock_mutex(&object, owner, None, "wait") {
        // A signal handler has raised: that comes out with the mutex in hand.
        outcome = outcome.and(Err(error));
    }
    inner.core.set_mutex_depth(py, owner, depth);
    outcome
}

/// `Condition.notify`
pub(in crate::queue) fn notify(inner: &QueueInner, py: Python<'_>, side: Side, count: u64) -> PyResult<()> {
    let (wakes, notified) = inner.core.notify(py, caller_number(py)?, side, count);
    wakes.fire();
    notified.map_err(|_| PyRuntimeError::new_err("cannot notify on un-acquired lock"))
}

/// Runs a blocking `put`, `get` or `join`. If it has to wait, and the `wait` of its condition has been replaced, it waits by calling that.
pub(in crate::queue) fn run<C: QueueClass>(
    queue: &Bound<'_, C>,
    operation: &mut QueueOperation<C>,
    side: Side,
    timeout: Timeout,
) -> PyResult<Done> {
    let (py, inner) = (queue.py(), queue.get().inner());
    let waits = inner.replaced_waits.has(side) && !matches!(timeout, Timeout::Never);
    if !waits || inner.core.has_mutex(py, caller_number(py)?) || inner.core.baton_is_mine(py) {
        return blocking::run(py, operation, timeout);
    }
    let outcome = match operation.attempt(py, Mode::TryFair, 0) {
        Ok(Some(done)) => Ok(done),
        Ok(None) => wait_by_calling(queue, operation, side, timeout),
        Err(error) => Err(error),
    };
    outcome.map_err(|error| annotated(operation, py, error))
}

fn wait_by_calling<C: QueueClass>(
    queue: &Bound<'_, C>,
    operation: &mut QueueOperation<C>,
    side: Side,
    timeout: Timeout,
) -> PyResult<Done> {
    let (py, inner) = (queue.py(), queue.get().inner());
    let name = match side {
        Side::Put => interned!(py, "not_full"),
        Side::Get => interned!(py, "not_empty"),
        _ => interned!(py, "all_tasks_done"),
    };
    let clock = inner.core.clock(py);
    let deadline = timeout.limit()?.map(|limit| clock.now().saturating_add(limit));
    let object = BoundQueue { this: queue.as_any(), inner };
    let _guard = MutexGuard::take(&object, operation.names().0)?;
    loop {
        let looked_at = clock.now();
        if let Some(done) = operation.attempt(py, Mode::Try, looked_at)? {
            return Ok(done);
        }
        let now = clock.now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return operation.out_of_time(py, timeout);
        }
        let end = if side == Side::Put { inner.core.next_end(py, looked_at) } else { None };
        let next = deadline.into_iter().chain(operation.look_again_at()).chain(end).min();
        let left = next.map(|next| next.saturating_sub(now));
        let condition = queue.as_any().getattr(name)?;
        match left {
            Some(left) => guarded::call_method(&condition, interned!(py, "wait"), (Duration::from_nanos(left).as_secs_f64(),))?,
            None => guarded::call_method(&condition, interned!(py, "wait"), ())?,
        };
    }
}
