//! `Spot`: the place, if any, that one operation holds in one of an object's lines.

use super::Ticket;
use crate::clock::Nanos;

/// Begins empty. `S` says which of the object's lines it is.
#[derive(Debug)]
pub struct Spot<S>(pub(crate) Option<Held<S>>);

#[derive(Debug)]
pub(crate) struct Held<S> {
    pub(crate) side: S,
    pub(crate) ticket: Ticket,
    pub(crate) since: Nanos,
}

impl<S> Default for Spot<S> {
    fn default() -> Self {
        Self(None)
    }
}

impl<S: Copy> Spot<S> {
    pub fn is_held(&self) -> bool {
        self.0.is_some()
    }

    /// Where it is, for those who step aside.
    pub fn place(&self) -> Option<(S, Ticket)> {
        self.0.as_ref().map(|held| (held.side, held.ticket))
    }
}
