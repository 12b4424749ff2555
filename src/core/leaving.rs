//! `Leaving`: the wake-ups and the displaced items of a section, which are delivered after the section.
//!
//! Waking a waiter and dropping an item run foreign code, which may not run inside a section. So the section only collects them in one
//! value, which the caller receives and drops after the section. Dropping the value delivers what is in it, so that nothing can be
//! forgotten, even if a panic leaves the section. Wake-ups are delivered first, in order, so that no waiter waits for an item's destructor.
//!
//! Nearly always there is nothing to deliver. The value is one word wide, and its parts are allocated only when they are needed. However many
//! waiters are woken together, no large block of memory is asked for: see [`crate::blocks`].
//!
//! What it does not do: it does not record why an item was displaced. The type `I` can: a channel's
//! [`Removed`](crate::credits::Removed) separates the items that are to be reported from those that are only to be dropped.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::blocks::Blocks;

/// A handle that wakes a waiter, so that it tries its operation again.
pub trait Wake: Sized {
    /// A second handle on the same waiter. Runs inside a section, so it may not run foreign code.
    #[must_use]
    fn share(&self) -> Self;

    /// True if the waiter is a thread, which tries as soon as it is scheduled. A task may be delayed by its event loop for long.
    fn is_thread(&self) -> bool;

    /// The group of the waiter. Where waits end at times that are computed in the section (see `rate`), the waiters of a group
    /// share one timekeeper. All threads are one group; the tasks of each event loop are another.
    fn group(&self) -> usize {
        0
    }

    /// Wakes the waiter. Runs outside every section. Returns the wake-ups that follow from it (if the waiter is gone, the next one is
    /// woken) instead of delivering them, so that a long row of dead waiters does not use up the stack.
    fn wake(self) -> Wakes<Self>;
}

/// The wake-ups of a section that displaces no items.
pub type Wakes<W> = Leaving<W>;

/// The wake-ups and displaced items of a section, see the head of this file. Dropping the value delivers them; use [`Leaving::fire`]
/// to say so.
#[must_use = "wake-ups are delivered by `fire`, outside the section"]
#[derive(Debug)]
pub struct Leaving<W: Wake, I = ()>(Option<Box<Bundle<W, I>>>);

#[derive(Debug)]
struct Bundle<W, I> {
    due: Blocks<W>,
    /// Handles that only have to be dropped.
    discarded: Blocks<W>,
    items: I,
}

impl<W: Wake, I> Leaving<W, I> {
    #[inline]
    pub const fn none() -> Self {
        Self(None)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Delivers every wake-up, in order, and those that follow from them; then drops the items.
    #[inline]
    pub fn fire(self) {
        drop(self);
    }
}

impl<W: Wake, I: Default> Leaving<W, I> {
    /// Adds further wake-ups.
    pub fn append(&mut self, mut other: Wakes<W>) {
        if let Some(other) = other.0.take() {
            let bundle = self.bundle();
            bundle.due.extend(other.due);
            bundle.discarded.extend(other.discarded);
        }
    }

    fn bundle(&mut self) -> &mut Bundle<W, I> {
        self.0
            .get_or_insert_with(|| Box::new(Bundle { due: Blocks::default(), discarded: Blocks::default(), items: I::default() }))
    }

    /// Delivers every wake-up, and returns the items to the caller.
    pub fn fire_and_keep(mut self) -> I {
        let Some(mut bundle) = self.0.take() else { return I::default() };
        let items = std::mem::take(&mut bundle.items);
        drop(Self(Some(bundle)));
        items
    }
}

impl<W: Wake> Wakes<W> {
    /// Adds the items that have been displaced in the same section.
    pub fn with_items<I>(mut self, items: I) -> Leaving<W, I> {
        let (due, discarded) = self.0.take().map_or_else(Default::default, |bundle| (bundle.due, bundle.discarded));
        Leaving(Some(Box::new(Bundle { due, discarded, items })))
    }

    /// Converts the wake-ups to a value that could hold items but has none.
    pub fn without_items<I: Default>(self) -> Leaving<W, I> {
        if self.is_empty() { Leaving::none() } else { self.with_items(I::default()) }
    }

    pub(crate) fn push(&mut self, waker: W) {
        self.bundle().due.push(waker);
    }

    pub(crate) fn discard(&mut self, waker: W) {
        self.bundle().discarded.push(waker);
    }
}

#[cold]
#[inline(never)]
fn deliver<W: Wake, I>(bundle: Bundle<W, I>) {
    let Bundle { mut due, mut discarded, items } = bundle;
    let mut panic = None;
    while !due.is_empty() {
        for waker in std::mem::take(&mut due) {
            // If waking one waiter panics, the others are woken all the same.
            match catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                // Appended instead of delivered recursively, so that a long row of dead waiters does not use up the stack.
                Ok(mut more) => {
                    if let Some(more) = more.0.take() {
                        due.extend(more.due);
                        discarded.extend(more.discarded);
                    }
                }
                Err(payload) => panic = panic.or(Some(payload)),
            }
        }
    }
    drop((discarded, items));
    if let Some(payload) = panic.filter(|_| !std::thread::panicking()) {
        resume_unwind(payload);
    }
}

impl<W: Wake, I> Drop for Leaving<W, I> {
    #[inline]
    fn drop(&mut self) {
        if let Some(bundle) = self.0.take() {
            deliver(*bundle);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A waker that logs its name when it is woken.
    #[derive(Debug)]
    struct LoggingWaker(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Wake for LoggingWaker {
        fn share(&self) -> Self {
            Self(self.0, Arc::clone(&self.1))
        }

        fn is_thread(&self) -> bool {
            false
        }

        fn wake(self) -> Wakes<Self> {
            self.1.lock().unwrap().push(self.0);
            assert_ne!(self.0, "bad");
            Wakes::none()
        }
    }

    /// An item that logs its name when it is dropped.
    #[derive(Debug, Default)]
    struct Item(Option<LoggingWaker>);

    impl Drop for Item {
        fn drop(&mut self) {
            if let Some(LoggingWaker(name, log)) = self.0.take() {
                log.lock().unwrap().push(name);
            }
        }
    }

    fn leaving(names: &[&'static str], log: &Arc<Mutex<Vec<&'static str>>>) -> Leaving<LoggingWaker, Item> {
        let mut wakes = Wakes::none();
        for name in names {
            wakes.push(LoggingWaker(name, Arc::clone(log)));
        }
        wakes.with_items(Item(Some(LoggingWaker("item", Arc::clone(log)))))
    }

    #[test]
    fn it_is_one_word_wide() {
        assert_eq!(size_of::<Leaving<LoggingWaker, Item>>(), size_of::<usize>());
        assert!(Wakes::<LoggingWaker>::none().without_items::<Item>().is_empty());
    }

    #[test]
    fn wake_ups_come_before_items() {
        let log = Arc::default();
        drop(leaving(&["one", "two"], &log));
        assert_eq!(*log.lock().unwrap(), ["one", "two", "item"]);
    }

    #[test]
    fn items_can_be_kept() {
        let log = Arc::default();
        let item = leaving(&["one"], &log).fire_and_keep();
        assert_eq!(*log.lock().unwrap(), ["one"]);
        drop(item);
        assert_eq!(*log.lock().unwrap(), ["one", "item"]);
    }

    #[test]
    fn a_waiter_that_panics_does_not_keep_others_from_being_woken() {
        let log = Arc::default();
        let leaving = leaving(&["one", "bad", "two"], &log);
        assert!(catch_unwind(AssertUnwindSafe(|| leaving.fire())).is_err());
        assert_eq!(*log.lock().unwrap_or_else(std::sync::PoisonError::into_inner), ["one", "bad", "two", "item"]);
    }

    #[test]
    fn a_panic_delivers_the_wake_ups_and_items() {
        let log = Arc::default();
        let leaving = leaving(&["one"], &log);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _leaving = leaving;
            panic!("in the middle");
        }));
        assert!(panics.is_err());
        assert_eq!(*log.lock().unwrap(), ["one", "item"]);
    }
}
