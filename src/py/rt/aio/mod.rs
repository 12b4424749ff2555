//! Everything that knows of asyncio.
//!
//! The `*_async` methods are native coroutine functions in Python. Their fast path is one call of `_try_*`; when that answers
//! `WAIT`, the coroutine makes an [`AsyncOperation`] and drives it.
//!
//! - `budget`: when the loop has its turn
//! - `event_loop`: what is asked of asyncio: which loop runs here, and which task
//! - `operation`: an operation awaited on a loop, which is itself the future that its task sleeps on
//! - `mailbox`: a wake-up's way to its loop from elsewhere
//!
//! # A wake-up's way to its loop
//! From a task of the same loop: the loop is asked to resume the sleeping task in its next turn. From anywhere else, and from the loop's
//! own thread when no task is running (a signal handler while the loop sleeps in `select`): into the loop's mailbox, and one
//! `call_soon_threadsafe` for all that is in it. A closed loop gives every wake-up in its mailbox to the next in line. A stopped loop
//! keeps them, but the turns go to the next in line at once.
//!
//! # Cancellation
//! A wake-up carries no item. Whatever is thrown into the coroutine while it waits, it calls `abandon`, which gives up the place in line
//! and with it the turn.
//!
//! # Who keeps whom alive
//! A line holds the operation; the operation holds its object and what resumes its task, and shows both to the garbage collector. A loop
//! holds its mailbox, and the mailbox the operations whose wake-ups are on their way; it knows the loop weakly.

mod budget;
mod event_loop;
mod mailbox;
mod operation;

use pyo3::Python;

/// Makes the classes that no module holds (`lib.rs` says why that is done at import).
pub(crate) fn make_classes(py: Python<'_>) {
    py.get_type::<mailbox::Mailbox>();
    py.get_type::<mailbox::MailTicket>();
    py.get_type::<operation::Resumption>();
}

pub(crate) use budget::{spend, wait_marker, wait_marker_object};
pub(crate) use event_loop::whose_turn;
pub(crate) use operation::AsyncOperation;
