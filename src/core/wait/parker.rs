//! `Parker`: puts one thread to sleep during one wait. For the states of its word see the head of `wait`.
//!
//! A parker belongs to a wait and not to a thread, because a signal handler that runs in the middle of a wait may itself wait, with a
//! parker of its own.
//!
//! On Linux the thread sleeps on the word itself (`futex(2)`), because this is the only way to wait that returns when a signal
//! arrives: condition variables, `std::thread::park` and `parking_lot` all swallow `EINTR`. Other systems use a mutex and a condition
//! variable, and a caller that must see signals waits in slices.
#![allow(unsafe_code)] // futex(2)

use crate::leaving::{Wake, Wakes};
use crate::sync::{Arc, AtomicU32, Ordering};
use std::time::Duration;

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// Puts one thread to sleep during one wait, see the head of this file.
#[derive(Debug)]
pub struct Parker {
    word: AtomicU32,
    #[cfg(any(loom, not(target_os = "linux")))]
    sleeper: portable::Sleeper,
}

impl Default for Parker {
    fn default() -> Self {
        Self {
            word: AtomicU32::new(EMPTY),
            #[cfg(any(loom, not(target_os = "linux")))]
            sleeper: portable::Sleeper::default(),
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
    /// True if `unpark` has been called since the last `reset`.
    #[inline]
    pub fn is_notified(&self) -> bool {
        // Acquire: pairs with the swap in `unpark`, so what the waker did before is seen.
        self.word.load(Ordering::Acquire) == NOTIFIED
    }

    /// Forgets a notification. The owner calls it before each attempt.
    pub fn reset(&self) {
        // A swap and not a store, with AcqRel: if this removes a waker's NOTIFIED, the attempt that follows sees what the waker did before.
        self.word.swap(EMPTY, Ordering::AcqRel);
    }

    /// Notifies the owner, and wakes it if it sleeps.
    pub fn unpark(&self) {
        // AcqRel: an owner that reads NOTIFIED sees what the waker did before. PARKED is read only if the owner is about to sleep or sleeps.
        if self.word.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            self.wake_sleeper();
        }
    }

    /// Sleeps until notified, for at most `timeout`. May return early for no reason, and on Linux does so when a signal arrives.
    pub fn park(&self, timeout: Option<Duration>) {
        // AcqRel. Acquire on failure, as in `is_notified`: then the word is NOTIFIED.
        if self.word.compare_exchange(EMPTY, PARKED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.sleep(timeout);
            // If the thread woke up for another reason, PARKED becomes EMPTY again. NOTIFIED stays.
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

    fn wake_sleeper(&self) {
        // SAFETY: the word is valid; FUTEX_WAKE takes an address and a count.
        unsafe {
            libc::syscall(libc::SYS_futex, self.word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
        }
    }
}

#[cfg(any(loom, not(target_os = "linux")))]
impl Parker {
    fn sleep(&self, timeout: Option<Duration>) {
        self.sleeper.wait(timeout, || self.word.load(Ordering::Acquire) == PARKED);
    }

    fn wake_sleeper(&self) {
        self.sleeper.wake();
    }
}

/// Sleeping on systems without a futex, with a mutex and a condition variable.
#[cfg(any(loom, not(target_os = "linux")))]
mod portable {
    #[cfg(loom)]
    use loom::sync::{Condvar, Mutex};
    #[cfg(not(loom))]
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    #[derive(Debug, Default)]
    pub(super) struct Sleeper {
        lock: Mutex<()>,
        woken: Condvar,
    }

    impl Sleeper {
        pub(super) fn wait(&self, timeout: Option<Duration>, asleep: impl Fn() -> bool) {
            let mut held = self.lock.lock().expect("nothing panics while it holds the lock");
            while asleep() {
                match timeout {
                    #[cfg(not(loom))]
                    Some(timeout) => {
                        // Without a loop: a spurious return is allowed, and the caller checks its deadline.
                        let _ = self.woken.wait_timeout(held, timeout);
                        return;
                    }
                    _ => held = self.woken.wait(held).expect("nothing panics while it holds the lock"),
                }
            }
        }

        pub(super) fn wake(&self) {
            // Taking the lock orders this after the sleeper's last look at the word.
            drop(self.lock.lock().expect("nothing panics while it holds the lock"));
            self.woken.notify_one();
        }
    }
}
