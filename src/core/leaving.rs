//! `Leaving`: what leaves a section, to be done after it: wake-ups, and items that the state has given up.
//!
//! Waking a waiter and dropping an item run foreign code, which may not run inside a section. So the section only collects them, in one
//! value; whoever entered it gets that value, or drops it, after the section. Dropping it delivers: nothing in it can be forgotten, also
//! where a panic comes out of the section. Wake-ups come first, in order, so that no waiter waits for an item's destructor.
//!
//! Almost always there is nothing. The value is one word wide, and none of its parts is made before it is needed.
//!
//! What it does not do: it tells nobody why an item was given up. `I` does: a channel's [`Removed`](crate::credits::Removed) keeps apart
//! what has to be reported and what has only to be dropped.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

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

/// Wake-ups on their way out of a section that gives up no items.
pub type Wakes<W> = Leaving<W>;

/// What leaves a section, see the head of this file. Dropping it delivers it, but say [`Leaving::fire`].
#[must_use = "wake-ups are delivered by `fire`, outside the section"]
#[derive(Debug)]
pub struct Leaving<W: Wake, I = ()>(Option<Box<Bundle<W, I>>>);

#[derive(Debug)]
struct Bundle<W, I> {
    due: Vec<W>,
    /// Handles that only have to be dropped.
    discarded: Vec<W>,
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
        self.0.get_or_insert_with(|| Box::new(Bundle { due: Vec::new(), discarded: Vec::new(), items: I::default() }))
    }

    /// Delivers every wake-up; the items are the caller's.
    pub fn fire_and_keep(mut self) -> I {
        let Some(mut bundle) = self.0.take() else { return I::default() };
        let items = std::mem::take(&mut bundle.items);
        drop(Self(Some(bundle)));
        items
    }
}

impl<W: Wake> Wakes<W> {
    /// The same with items that have been given up in the same section.
    pub fn with_items<I>(mut self, items: I) -> Leaving<W, I> {
        let (due, discarded) = self.0.take().map_or_else(Default::default, |bundle| (bundle.due, bundle.discarded));
        Leaving(Some(Box::new(Bundle { due, discarded, items })))
    }

    /// The same without any.
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
            // A waiter that cannot be told is no reason not to tell the others.
            match catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                // Put behind what is due already, not delivered from within: a long row of dead waiters costs no stack.
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

    /// Writes down what happens to it.
    #[derive(Debug)]
    struct Told(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Wake for Told {
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

    /// Likewise when it is dropped.
    #[derive(Debug, Default)]
    struct Item(Option<Told>);

    impl Drop for Item {
        fn drop(&mut self) {
            if let Some(Told(name, log)) = self.0.take() {
                log.lock().unwrap().push(name);
            }
        }
    }

    fn leaving(names: &[&'static str], log: &Arc<Mutex<Vec<&'static str>>>) -> Leaving<Told, Item> {
        let mut wakes = Wakes::none();
        for name in names {
            wakes.push(Told(name, Arc::clone(log)));
        }
        wakes.with_items(Item(Some(Told("item", Arc::clone(log)))))
    }

    #[test]
    fn it_is_one_word_wide() {
        assert_eq!(size_of::<Leaving<Told, Item>>(), size_of::<usize>());
        assert!(Wakes::<Told>::none().without_items::<Item>().is_empty());
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
    fn a_waiter_that_panics_keeps_nobody_from_being_told() {
        let log = Arc::default();
        let leaving = leaving(&["one", "bad", "two"], &log);
        assert!(catch_unwind(AssertUnwindSafe(|| leaving.fire())).is_err());
        assert_eq!(*log.lock().unwrap_or_else(std::sync::PoisonError::into_inner), ["one", "bad", "two", "item"]);
    }

    #[test]
    fn a_panic_on_the_way_delivers_it() {
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
