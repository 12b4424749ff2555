//! Clocks: the system's monotonic clock, and a manual clock for tests.
//!
//! Times are nanoseconds since an arbitrary origin, in a `u64` (584 years). A deadline is computed once, when a wait begins.
//! A manual clock keeps its waits in the order of their deadlines. When a deadline is reached, the clock wakes the waiter, as any
//! other wake-up does: the waiter runs, sees that its deadline has passed, and leaves. So a timer needs no state of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wait::Wake;

/// Nanoseconds since a clock's origin.
pub type Nanos = u64;

/// The longest time that can be requested; a longer one is an error of the caller.
pub const MAX_SECONDS: f64 = 9_223_372_036.0; // i64::MAX nanoseconds, as CPython's own limit

/// The longest time for which a server's own Retry-After counts, everywhere: one that asks for more is mistaken, or lies.
pub const LONGEST_RETRY_AFTER: Nanos = 600 * 1_000_000_000;

/// Seconds to nanoseconds, to the nearest. The caller has checked that `seconds` is finite, not negative and at most `MAX_SECONDS`.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked by the caller, see above"
)]
pub fn nanos(seconds: f64) -> Nanos {
    // Up to here the product is exact to a sixteenth of a nanosecond, and exact for whole seconds.
    if seconds < 1e6 {
        // A float of this size has no bits for a fraction, so the addition rounds, and the lowest bits are the number. (A conversion would
        // have to ask whether it fits.)
        const WHOLE: f64 = (1_u64 << 52) as f64;
        return (seconds * 1e9 + WHOLE).to_bits() - WHOLE.to_bits();
    }
    // In two steps, so that whole seconds stay exact and the fraction keeps its nanoseconds.
    let whole = seconds as u64;
    whole * 1_000_000_000 + ((seconds - whole as f64) * 1e9 + 0.5) as u64
}

#[expect(clippy::cast_precision_loss, reason = "a float is what Python's clocks return; exact to the nanosecond below 52 days")]
pub fn seconds(nanos: Nanos) -> f64 {
    (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9
}

/// The clock from which an object reads the time.
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

impl<W> Clock<W> {
    /// True if both are the same clock.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Monotonic, Self::Monotonic) => true,
            (Self::Manual(one), Self::Manual(another)) => Arc::ptr_eq(one, another),
            _ => false,
        }
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

    /// The time of the system's last tick, where it can be read at an eighth of the cost of the time: never later than now, and earlier by
    /// less than [`TICKS`], unless the whole system has been kept from running. A manual clock is exact.
    #[expect(clippy::inline_always, reason = "the call costs as much as reading it")]
    #[inline(always)]
    pub(crate) fn recent(&self) -> Nanos {
        match self {
            Self::Monotonic => last_tick(),
            Self::Manual(manual) => manual.now(),
        }
    }
}

/// Much longer than a tick, which takes 1 to 10 milliseconds.
pub(crate) const TICKS: Nanos = 100_000_000;

/// Reads the clock that `Instant` reads, but directly: reading it is more than half of a token bucket's fast path.
#[cfg(target_os = "linux")]
#[inline]
pub(crate) fn monotonic() -> Nanos {
    read(libc::CLOCK_MONOTONIC)
}

/// The same clock as it stood at the last tick.
#[cfg(target_os = "linux")]
#[expect(clippy::inline_always, reason = "see `recent`")]
#[inline(always)]
fn last_tick() -> Nanos {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

#[cfg(target_os = "linux")]
#[inline(always)]
#[expect(clippy::inline_always, reason = "see `Clock::recent`")]
#[expect(unsafe_code, reason = "clock_gettime")]
#[expect(clippy::cast_sign_loss, reason = "a monotonic clock counts from the machine's start")]
fn read(clock: libc::clockid_t) -> Nanos {
    let mut now = std::mem::MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: both clocks exist on every system, and the call fills the timespec.
    let now = unsafe {
        libc::clock_gettime(clock, now.as_mut_ptr());
        now.assume_init()
    };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
fn last_tick() -> Nanos {
    monotonic()
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

struct Wait<W> {
    waker: W,
    /// The clock has woken it.
    is_over: bool,
}

struct ManualState<W> {
    now: Nanos,
    /// Every wait on this clock; the deadline of a wait without one is `Nanos::MAX`.
    waits: BTreeMap<Enrolled, Wait<W>>,
    /// How many of them are over.
    over: usize,
    next: u64,
}

impl<W> ManualState<W> {
    fn remove(&mut self, enrolled: Enrolled) -> Option<W> {
        // Its key is the one it was inserted with, or the one to which `advance` has moved it since.
        let wait = self.waits.remove(&enrolled).or_else(|| self.waits.remove(&Enrolled { deadline: Nanos::MAX, ..enrolled }))?;
        self.over -= usize::from(wait.is_over);
        Some(wait.waker)
    }

    /// One whose time has come does not count, though its waiter has yet to run and to leave: who acts when `n` are waiting must not take
    /// it for the next wait of the same thread.
    fn count(&self) -> usize {
        self.waits.len() - self.over
    }
}

/// A clock that moves only when `advance` is called.
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
/// assert_eq!((clock.now(), clock.waits()), (1_000, 0));
/// let wait = clock.reschedule(wait, None);
/// assert_eq!(clock.waits(), 1);
/// # let _ = clock.withdraw(wait);
/// ```
pub struct Manual<W> {
    state: Mutex<ManualState<W>>,
    changed: Condvar,
}

impl<W: Wake> Manual<W> {
    pub fn new(start: Nanos) -> Self {
        Self { state: Mutex::new(ManualState { now: start, waits: BTreeMap::new(), over: 0, next: 0 }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, ManualState<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call, so that a fast path that reads the time holds nothing of it.
    #[cold]
    #[inline(never)]
    pub fn now(&self) -> Nanos {
        self.lock().now
    }

    /// Registers a wait: `waker` is woken when the clock reaches `deadline`, if there is one; at once if that has passed already.
    pub fn enroll(&self, deadline: Option<Nanos>, waker: W) -> Enrolled {
        Self::insert(self.lock(), &self.changed, deadline, waker)
    }

    /// Changes the deadline of a wait, in one step: a wait that is not over is counted exactly once at every moment.
    pub fn reschedule(&self, enrolled: Enrolled, deadline: Option<Nanos>) -> Enrolled {
        let mut state = self.lock();
        let waker = state.remove(enrolled).expect("a wait is enrolled until it is withdrawn");
        Self::insert(state, &self.changed, deadline, waker)
    }

    fn insert(mut state: MutexGuard<'_, ManualState<W>>, changed: &Condvar, deadline: Option<Nanos>, waker: W) -> Enrolled {
        let due = deadline.is_some_and(|deadline| deadline <= state.now).then(|| waker.share());
        let place = if due.is_some() { Nanos::MAX } else { deadline.unwrap_or(Nanos::MAX) };
        let enrolled = Enrolled { deadline: place, number: state.next };
        state.next += 1;
        state.over += usize::from(due.is_some());
        state.waits.insert(enrolled, Wait { waker, is_over: due.is_some() });
        changed.notify_all();
        drop(state);
        if let Some(waker) = due {
            waker.wake().fire();
        }
        enrolled
    }

    /// Ends a wait. Returns the waker, which the caller drops where foreign code may run.
    pub fn withdraw(&self, enrolled: Enrolled) -> Option<W> {
        let waker = self.lock().remove(enrolled);
        self.changed.notify_all();
        waker
    }

    /// The number of waits whose time has not come.
    pub fn waits(&self) -> usize {
        self.lock().count()
    }

    /// Moves the clock, stopping at each deadline on the way to wake the waits that are due, in time order.
    pub fn advance(&self, by: Nanos) {
        let target = self.now().saturating_add(by);
        loop {
            let due = {
                let mut state = self.lock();
                match state.waits.first_key_value() {
                    Some((&enrolled, _)) if enrolled.deadline <= target && enrolled.deadline != Nanos::MAX => {
                        state.now = state.now.max(enrolled.deadline);
                        let waker = state.waits.remove(&enrolled).expect("it was there a line ago").waker;
                        // It is woken only once.
                        let woken = Wait { waker: waker.share(), is_over: true };
                        state.waits.insert(Enrolled { deadline: Nanos::MAX, ..enrolled }, woken);
                        state.over += 1;
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

    /// Blocks, in real time, until there are `n` waits whose time has not come. Returns false if `patience` has passed first.
    pub fn wait_for_waits(&self, n: usize, patience: Duration) -> bool {
        let state = self.lock();
        let (state, _) =
            self.changed.wait_timeout_while(state, patience, |state| state.count() < n).unwrap_or_else(PoisonError::into_inner);
        state.count() >= n
    }
}

impl<W> fmt::Debug for Manual<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manual").finish_non_exhaustive()
    }
}
