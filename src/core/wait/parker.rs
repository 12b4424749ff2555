//! `Parker`: where one thread sleeps during one wait. States of its word: see the head of `wait`.
//!
//! A parker belongs to a wait, not to a thread: a signal handler that runs in the middle of a wait may itself wait, on its own.
//!
//! On Linux the thread sleeps on the word itself (`futex(2)`), because that is the one way to wait that comes back when a signal
//! arrives: condition variables, `std::thread::park` and `parking_lot` all swallow `EINTR`. Elsewhere it is a mutex and a condition
//! variable, and a caller that must see signals waits in slices.
#![allow(unsafe_code)] // futex(2)

use crate::leaving::{Wake, Wakes};
use crate::sync::{Arc, AtomicU32, Ordering};
use std::time::Duration;

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// Where one thread sleeps during one wait.
#[derive(Debug)]
pub struct Parker {
    word: AtomicU32,
    #[cfg(any(loom, not(target_os = "linux")))]
    bell: bell::Bell,
}

impl Default for Parker {
    fn default() -> Self {
        Self {
            word: AtomicU32::new(EMPTY),
            #[cfg(any(loom, not(target_os = "linux")))]
            bell: bell::Bell::default(),
        }
    }
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

impl Parker {
    /// Somebody said "come and try" since the last `reset`.
    #[inline]
    pub fn is_notified(&self) -> bool {
        // Acquire: pairs with the waker's swap, so its visit to the section is seen.
        self.word.load(Ordering::Acquire) == NOTIFIED
    }

    /// The owner is going to look: call it before each try.
    pub fn reset(&self) {
        // A swap, not a store, and AcqRel: what a waker did whose NOTIFIED it takes away is seen by the look that follows.
        self.word.swap(EMPTY, Ordering::AcqRel);
    }

    /// Tells the owner to come and try; wakes it if it sleeps.
    pub fn unpark(&self) {
        // AcqRel: what the waker did before is seen by who reads NOTIFIED; PARKED is seen only once the owner is on its way to sleep.
        if self.word.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            self.ring();
        }
    }

    /// Sleeps until notified, at most for `timeout`. May return early for no reason, and does so when a signal arrives (Linux).
    pub fn park(&self, timeout: Option<Duration>) {
        // AcqRel, and Acquire where it fails: then the word is NOTIFIED, as in `is_notified`.
        if self.word.compare_exchange(EMPTY, PARKED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.sleep(timeout);
            // Awake for another reason: take the PARKED mark back. If it is NOTIFIED by now, that stands.
            let _ = self.word.compare_exchange(PARKED, EMPTY, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

#[cfg(all(not(loom), target_os = "linux"))]
impl Parker {
    fn sleep(&self, timeout: Option<Duration>) {
        let limit = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        // SAFETY: the word outlives the call; the kernel only reads it and the timespec, which is null or valid. A relative
        // FUTEX_WAIT is measured on CLOCK_MONOTONIC.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                PARKED,
                limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
            );
        }
    }

    fn ring(&self) {
        // SAFETY: the word is valid; FUTEX_WAKE takes an address and a count.
        unsafe {
            libc::syscall(libc::SYS_futex, self.word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
        }
    }
}

#[cfg(any(loom, not(target_os = "linux")))]
impl Parker {
    fn sleep(&self, timeout: Option<Duration>) {
        self.bell.wait(timeout, || self.word.load(Ordering::Acquire) == PARKED);
    }

    fn ring(&self) {
        self.bell.ring();
    }
}

/// The portable way to sleep.
#[cfg(any(loom, not(target_os = "linux")))]
mod bell {
    #[cfg(loom)]
    use loom::sync::{Condvar, Mutex};
    #[cfg(not(loom))]
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    #[derive(Debug, Default)]
    pub(super) struct Bell {
        lock: Mutex<()>,
        rung: Condvar,
    }

    impl Bell {
        pub(super) fn wait(&self, timeout: Option<Duration>, asleep: impl Fn() -> bool) {
            let mut held = self.lock.lock().expect("nothing panics while it holds the bell");
            while asleep() {
                match timeout {
                    #[cfg(not(loom))]
                    Some(timeout) => {
                        // One go: a spurious return is allowed, and the caller knows its deadline.
                        let _ = self.rung.wait_timeout(held, timeout);
                        return;
                    }
                    _ => held = self.rung.wait(held).expect("nothing panics while it holds the bell"),
                }
            }
        }

        pub(super) fn ring(&self) {
            // Taking the lock orders this after a sleeper's last look at the word.
            drop(self.lock.lock().expect("nothing panics while it holds the bell"));
            self.rung.notify_one();
        }
    }
}
