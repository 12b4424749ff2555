//! The only module that names atomics, cells and the locks of modelled protocols: `std` and `parking_lot` in a normal build, loom's in a model.
//!
//! Loom does not model time, so nothing here waits with a deadline; the parker (`wait::parker`) and the clock (`clock`) have mutexes and
//! condition variables of their own for that.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
};

/// For values that are not part of a modelled protocol.
pub(crate) use std::sync::atomic::AtomicPtr;

/// For counts that are not part of a modelled protocol.
pub(crate) use std::sync::atomic::AtomicU64 as Count;

/// A number that is different for every living thread.
#[cfg(not(loom))]
pub(crate) type ThreadMark = usize;
#[cfg(loom)]
pub(crate) type ThreadMark = loom::thread::ThreadId;

#[cfg(not(loom))]
pub(crate) fn this_thread() -> ThreadMark {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

#[cfg(loom)]
pub(crate) fn this_thread() -> ThreadMark {
    loom::thread::current().id()
}

/// The number of pauses before a thread that found the lock taken looks at it again: one to six microseconds on current processors.
#[cfg(not(loom))]
const PAUSES: u32 = 128;

/// The number of times it does that before it sleeps on the lock.
#[cfg(not(loom))]
const LOOKS: u32 = 8;

/// A mutual exclusion lock that is held for the length of a closure.
#[derive(Debug, Default)]
pub struct Mutex {
    #[cfg(not(loom))]
    inner: parking_lot::Mutex<()>,
    #[cfg(loom)]
    inner: loom::sync::Mutex<()>,
}

impl Mutex {
    #[inline]
    pub(crate) fn hold<R>(&self, critical: impl FnOnce() -> R) -> R {
        #[cfg(not(loom))]
        let _held = self.inner.try_lock().unwrap_or_else(|| self.lock_later());
        #[cfg(loom)]
        let _held = self.inner.lock().expect("no model panics inside a section");
        critical()
    }

    /// Called when another thread holds the lock. Each look at the lock takes its cache line away from the holder, so this thread pauses
    /// for the time of several visits. Meanwhile the holder runs at full speed; two threads that alternate would spend most of their time
    /// waiting for cache lines.
    #[cfg(not(loom))]
    #[cold]
    #[inline(never)]
    fn lock_later(&self) -> parking_lot::MutexGuard<'_, ()> {
        for _ in 0..LOOKS {
            for _ in 0..PAUSES {
                std::hint::spin_loop();
            }
            if let Some(held) = self.inner.try_lock() {
                return held;
            }
        }
        self.inner.lock()
    }
}

/// A cell that is reached through a pointer, so that loom can check every access.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T> {
    #[cfg(not(loom))]
    inner: std::cell::UnsafeCell<T>,
    #[cfg(loom)]
    inner: loom::cell::UnsafeCell<T>,
}

impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        #[cfg(not(loom))]
        let inner = std::cell::UnsafeCell::new(value);
        #[cfg(loom)]
        let inner = loom::cell::UnsafeCell::new(value);
        Self { inner }
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        #[cfg(not(loom))]
        let result = access(self.inner.get());
        #[cfg(loom)]
        let result = self.inner.with_mut(access);
        result
    }
}

/// Reference counting that loom need not see: the referents are only accessed in a section. (loom has no weak references.)
pub(crate) use std::sync::{Arc as Shared, Weak};
