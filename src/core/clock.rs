//! Time: the system's monotonic clock, and one that tests set by hand.
//!
//! Times are nanoseconds since an arbitrary origin, in a `u64` (584 years). A deadline is computed once, when a wait begins.
//! A manual clock keeps the waits that run on it in order of their deadlines. What it does when one is due is to *wake the waiter*,
//! like any other wake-up: the waiter comes, sees that its deadline has passed, and leaves. So a timer needs no state of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wait::Wake;

/// Nanoseconds since a clock's origin.
pub type Nanos = u64;

/// The longest time that can be asked for; larger ones are an error of the caller's.
pub const MAX_SECONDS: f64 = 9_223_372_036.0; // i64::MAX nanoseconds, as CPython's own limit

/// Seconds to nanoseconds, to the nearest. The caller has checked that `seconds` is finite, not negative and at most `MAX_SECONDS`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the caller, see above")]
pub fn nanos(seconds: f64) -> Nanos {
    // In two steps, so that whole seconds stay exact and the fraction keeps its nanoseconds.
    let whole = seconds.trunc();
    whole as u64 * 1_000_000_000 + ((seconds - whole) * 1e9).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "a float is what Python's clocks return; exact to the nanosecond below 52 days")]
pub fn seconds(nanos: Nanos) -> f64 {
    (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9
}

/// Where an object reads the time.
pub enum Clock<W> {
    Monotonic,
    Manual(Arc<Manual<W>>),
}

impl<W> Clone for Clock<W> {
    fn clone(&self) -> Self {
        match self {
            Self::Monotonic => Self::Monotonic,
            Self::Manual(manual) => Self::Manual(Arc::clone(manual)),
        }
    }
}

impl<W> fmt::Debug for Clock<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monotonic => "Monotonic",
            Self::Manual(_) => "Manual",
        })
    }
}

impl<W: Wake> Clock<W> {
    #[inline]
    pub fn now(&self) -> Nanos {
        match self {
            Self::Monotonic => monotonic(),
            Self::Manual(manual) => manual.now(),
        }
    }
}

/// What `Instant` reads, without the detour: the clock is the larger half of a token bucket's fast path.
#[cfg(target_os = "linux")]
#[inline]
#[expect(unsafe_code, reason = "clock_gettime")]
#[expect(clippy::cast_sign_loss, reason = "a monotonic clock counts from the machine's start")]
pub(crate) fn monotonic() -> Nanos {
    let mut now = std::mem::MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the clock is always there, and the call fills what it is given.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
        now.assume_init()
    };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn monotonic() -> Nanos {
    static ORIGIN: crate::lazy::Lazy<std::time::Instant> = crate::lazy::Lazy::new(std::time::Instant::now);
    u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A wait that a manual clock knows about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Enrolled {
    deadline: Nanos,
    number: u64,
}

struct ManualState<W> {
    now: Nanos,
    /// Every wait on this clock; those without a deadline stand at `Nanos::MAX`.
    waits: BTreeMap<Enrolled, W>,
    next: u64,
}

/// A clock that stands still until it is told to move.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::clock::Manual;
/// use sluicegate_core::wait::Parker;
///
/// let clock = Manual::new(0);
/// let parker = Arc::new(Parker::default());
/// let wait = clock.enroll(Some(1_000), Arc::clone(&parker));
/// clock.advance(999);
/// assert!(!parker.is_notified());
/// clock.advance(1);
/// assert!(parker.is_notified());
/// assert_eq!(clock.now(), 1_000);
/// # let _ = clock.withdraw(wait);
/// ```
pub struct Manual<W> {
    state: Mutex<ManualState<W>>,
    changed: Condvar,
}

impl<W: Wake> Manual<W> {
    pub fn new(start: Nanos) -> Self {
        Self { state: Mutex::new(ManualState { now: start, waits: BTreeMap::new(), next: 0 }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, ManualState<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Nanos {
        self.lock().now
    }

    /// A wait begins: `waker` is woken when the clock reaches `deadline`, if there is one; at once if it has already.
    pub fn enroll(&self, deadline: Option<Nanos>, waker: W) -> Enrolled {
        let mut state = self.lock();
        let due = deadline.is_some_and(|deadline| deadline <= state.now).then(|| waker.share());
        let place = if due.is_some() { Nanos::MAX } else { deadline.unwrap_or(Nanos::MAX) };
        let enrolled = Enrolled { deadline: place, number: state.next };
        state.next += 1;
        state.waits.insert(enrolled, waker);
        self.changed.notify_all();
        drop(state);
        if let Some(waker) = due {
            waker.wake().fire();
        }
        enrolled
    }

    /// The wait is over. The waker comes back to be dropped where foreign code may run.
    pub fn withdraw(&self, enrolled: Enrolled) -> Option<W> {
        let mut state = self.lock();
        // Where it was put, or where `advance` has put it since.
        let waker = state.waits.remove(&enrolled).or_else(|| state.waits.remove(&Enrolled { deadline: Nanos::MAX, ..enrolled }));
        drop(state);
        self.changed.notify_all();
        waker
    }

    pub fn waits(&self) -> usize {
        self.lock().waits.len()
    }

    /// Moves the clock, stopping at each deadline on the way to wake whoever is due, in time order.
    pub fn advance(&self, by: Nanos) {
        let target = self.now().saturating_add(by);
        loop {
            let due = {
                let mut state = self.lock();
                match state.waits.first_key_value() {
                    Some((&enrolled, _)) if enrolled.deadline <= target && enrolled.deadline != Nanos::MAX => {
                        state.now = state.now.max(enrolled.deadline);
                        let waker = state.waits.remove(&enrolled).expect("it was there a line ago");
                        // It goes on waiting, as far as anyone can see, until it has noticed; but it is due only once.
                        state.waits.insert(Enrolled { deadline: Nanos::MAX, ..enrolled }, waker.share());
                        waker
                    }
                    _ => {
                        state.now = state.now.max(target);
                        break;
                    }
                }
            };
            due.wake().fire();
        }
    }

    /// Blocks, for real, until `n` waits are enrolled; false when `patience` ran out first.
    pub fn wait_for_waits(&self, n: usize, patience: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| state.waits.len() < n)
            .unwrap_or_else(PoisonError::into_inner);
        state.waits.len() >= n
    }
}

impl<W> fmt::Debug for Manual<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manual").finish_non_exhaustive()
    }
}
