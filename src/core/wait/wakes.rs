//! `Wakes`: what has to happen after the section has been left.

use crate::sync::Arc;
use crate::wait::Parker;

/// How a waiter is told to come and try.
pub trait Wake: Sized {
    /// A second handle on the same waiter. Runs inside a section, so it may not run foreign code.
    fn share(&self) -> Self;

    /// A thread comes as soon as it is scheduled; a callback's owner may be long in coming.
    fn is_thread(&self) -> bool;

    /// Tells the waiter. Runs outside every section. What follows from it (a waiter that turned out to be gone gives its turn to
    /// the next) comes back as further wake-ups, so that a long row of dead waiters costs no stack.
    fn wake(self) -> Wakes<Self>;
}

impl Wake for Arc<Parker> {
    fn share(&self) -> Self {
        Arc::clone(self)
    }

    fn is_thread(&self) -> bool {
        true
    }

    fn wake(self) -> Wakes<Self> {
        self.unpark();
        Wakes::none()
    }
}

/// Wake-ups on their way out of a section. Dropping it delivers them, so they cannot be forgotten, but say [`Wakes::fire`].
#[must_use = "wake-ups are delivered by `fire`, outside the section"]
#[derive(Debug)]
pub struct Wakes<W: Wake> {
    due: Vec<W>,
    /// Handles that only have to be dropped outside.
    discarded: Vec<W>,
}

impl<W: Wake> Wakes<W> {
    #[inline]
    pub const fn none() -> Self {
        Self { due: Vec::new(), discarded: Vec::new() }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty() && self.discarded.is_empty()
    }

    /// Delivers every wake-up, in order, and those that follow from them.
    #[inline]
    pub fn fire(self) {
        drop(self);
    }

    /// Adds what `other` carries.
    pub fn append(&mut self, mut other: Self) {
        self.due.append(&mut other.due);
        self.discarded.append(&mut other.discarded);
    }

    pub(crate) fn push(&mut self, waker: W) {
        self.due.push(waker);
    }

    pub(crate) fn discard(&mut self, waker: W) {
        self.discarded.push(waker);
    }

    #[cold]
    #[inline(never)]
    fn deliver(&mut self) {
        while !self.due.is_empty() {
            for waker in std::mem::take(&mut self.due) {
                let mut more = waker.wake();
                self.due.append(&mut more.due);
                self.discarded.append(&mut more.discarded);
            }
        }
    }
}

impl<W: Wake> Drop for Wakes<W> {
    #[inline]
    fn drop(&mut self) {
        if !self.due.is_empty() {
            self.deliver();
        }
    }
}
