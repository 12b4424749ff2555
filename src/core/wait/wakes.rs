//! `Wakes`: what has to happen after the section has been left.

use crate::sync::Arc;
use crate::wait::Parker;

/// How a waiter is told to come and try.
pub trait Wake: Sized {
    /// A second handle on the same waiter. Runs inside a section, so it may not run foreign code.
    #[must_use]
    fn share(&self) -> Self;

    /// A thread comes as soon as it is scheduled; a callback's owner may be long in coming.
    fn is_thread(&self) -> bool;

    /// Waiters of one group share a timekeeper, where waits end at times that the section works out (see `rate`): all threads
    /// are one group, the tasks of each event loop another.
    fn group(&self) -> usize {
        0
    }

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
///
/// One word wide: almost always there are none, and the hot path carries it through.
#[must_use = "wake-ups are delivered by `fire`, outside the section"]
#[derive(Debug)]
pub struct Wakes<W: Wake>(Option<Box<Bundle<W>>>);

#[derive(Debug)]
struct Bundle<W> {
    due: Vec<W>,
    /// Handles that only have to be dropped outside.
    discarded: Vec<W>,
}

impl<W: Wake> Wakes<W> {
    #[inline]
    pub const fn none() -> Self {
        Self(None)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Delivers every wake-up, in order, and those that follow from them.
    #[inline]
    pub fn fire(self) {
        drop(self);
    }

    /// Adds what `other` carries.
    pub fn append(&mut self, mut other: Self) {
        if let Some(other) = other.0.take() {
            let bundle = self.bundle();
            bundle.due.extend(other.due);
            bundle.discarded.extend(other.discarded);
        }
    }

    pub(crate) fn push(&mut self, waker: W) {
        self.bundle().due.push(waker);
    }

    pub(crate) fn discard(&mut self, waker: W) {
        self.bundle().discarded.push(waker);
    }

    fn bundle(&mut self) -> &mut Bundle<W> {
        self.0.get_or_insert_with(|| Box::new(Bundle { due: Vec::new(), discarded: Vec::new() }))
    }
}

#[cold]
#[inline(never)]
fn deliver<W: Wake>(mut bundle: Bundle<W>) {
    while !bundle.due.is_empty() {
        for waker in std::mem::take(&mut bundle.due) {
            // Put behind what is due already, not delivered from within: a long row of dead waiters costs no stack.
            if let Some(more) = waker.wake().0.take() {
                bundle.due.extend(more.due);
                bundle.discarded.extend(more.discarded);
            }
        }
    }
}

impl<W: Wake> Drop for Wakes<W> {
    #[inline]
    fn drop(&mut self) {
        if let Some(bundle) = self.0.take() {
            deliver(*bundle);
        }
    }
}
