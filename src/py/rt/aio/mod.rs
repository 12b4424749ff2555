//! Everything that depends on asyncio.
//!
//! The `*_async` methods are native coroutine functions in Python. Their fast path is one call of `_try_*`; when that answers
//! `WAIT`, the coroutine makes an [`AsyncOperation`] and drives it.
//!
//! - `budget`: when a task that never waits has to let its loop run
//! - `event_loop`: queries of asyncio: the running loop, and the running task
//! - `operation`: an operation awaited on a loop, which is itself the future that its task waits for
//! - `mailbox`: carries wake-ups from other threads to a loop
//!
//! # How a wake-up gets to its loop
//! From a task of the same loop: the loop is asked to resume the sleeping task in its next iteration. From anywhere else, and from the
//! loop's own thread when no task is running (a signal handler while the loop sleeps in `select`): through the loop's mailbox, with one
//! `call_soon_threadsafe` for all wake-ups in it. If the loop is closed, the next waiters are woken in place of its tasks. If the loop is
//! stopped, it keeps its wake-ups, but the next waiters are woken at once as well.
//!
//! # Cancellation
//! A wake-up carries no item. When an exception is thrown into the waiting coroutine, it calls `abandon`, which leaves the wait queue; if the
//! operation had been woken, the next waiter is woken instead.
//!
//! # References
//! A wait queue holds the operation. The operation holds its object and the callback that resumes its task, and shows both to the garbage
//! collector. A loop holds its mailbox, and the mailbox the operations with undelivered wake-ups; it has a weak reference to the loop.

mod budget;
mod event_loop;
mod mailbox;
mod operation;

use pyo3::Python;

/// Makes the classes that no module holds (`lib.rs` says why that is done at import).
pub(crate) fn make_classes(py: Python<'_>) {
    py.get_type::<mailbox::Mailbox>();
    py.get_type::<mailbox::CollectTicket>();
    py.get_type::<operation::Resumption>();
}

pub(crate) use budget::{spend, spend_on, wait_marker, wait_marker_object};
pub(crate) use event_loop::caller_number;
pub(crate) use operation::AsyncOperation;
