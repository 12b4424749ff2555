//! `Waiter`: the state that an operation keeps of its wait: the wait queue of the object in which it is, if any, its ticket, and since when.

use super::Ticket;
use crate::clock::Nanos;

/// A waiter, in no wait queue at first. `S` names a wait queue of the object.
#[derive(Debug)]
pub struct Waiter<S>(pub(crate) Option<Enqueued<S>>);

#[derive(Debug)]
pub(crate) struct Enqueued<S> {
    pub(crate) side: S,
    pub(crate) ticket: Ticket,
    pub(crate) since: Nanos,
}

impl<S> Default for Waiter<S> {
    fn default() -> Self {
        Self(None)
    }
}

impl<S: Copy> Waiter<S> {
    pub fn is_enqueued(&self) -> bool {
        self.0.is_some()
    }

    /// The queue and the ticket, for [`Monitor::step_aside`](crate::monitor::Monitor::step_aside).
    pub fn position(&self) -> Option<(S, Ticket)> {
        self.0.as_ref().map(|held| (held.side, held.ticket))
    }
}
