//! `Latest`: one value with many writers and many readers. Each reader gets the newest value and may miss values that it replaced.
//!
//! # Algorithm
//! A monitor with the value and its *version*, which grows by one with every value. A reader passes the version that it has, and waits in
//! a wait queue until there is a newer one. Reading removes nothing, so one visit of a writer wakes all readers that have an older version,
//! and each of them will find a newer value when it runs, because the version never goes back.
//!
//! | the waiter wants                 | wait queue   | woken by                                         |
//! |----------------------------------|--------------|--------------------------------------------------|
//! | [`Want::Newest`], no value yet   | `Change`, 0  | the first value, the end                         |
//! | [`Want::After`] a version        | `Change`, it | a value with a higher version, the end           |
//! | [`Want::Tick`], no value yet     | `Change`, 0  | the first value, the end                         |
//! | [`Want::Tick`], not due          | `End`        | the end (and the caller's clock, when it is due) |
//!
//! # The end
//! | state  | `set`   | `Newest`  | `After`, `Tick`                            | next                                    |
//! |--------|---------|-----------|--------------------------------------------|-----------------------------------------|
//! | open   | a value | the value | see above                                  | `shut_down`: shut; at once: killed      |
//! | shut   | refused | the end   | the last value, if the reader has not had it; then the end | at once: killed         |
//! | killed | refused | the end   | the end; the value is gone                 | -                                       |
//!
//! # Fairness
//! All readers are woken at once, in order of arrival. A writer never waits. A slow reader delays neither writers nor other readers: when it
//! runs, it gets the newest value.
//!
//! # Cancellation
//! An operation that stops waiting calls [`Latest::leave`](crate::monitor::Monitor::leave). No other waiter has to be woken for it.
//!
//! # What it does not do
//! It keeps no history and no list of readers: a reader that has to see every value needs a queue. It does not compare values: setting an
//! equal value makes a new version.

use crate::clock::{Clock, Nanos};
use crate::monitor::{self, Monitor, MonitorState, WaitQueues, wait_queues};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// The wait queues of readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Readers that wait for a version above the one that they have.
    Change,
    /// Readers that wait for the end, or for a time that the caller knows.
    End,
}

impl monitor::Side for Side {
    #[inline]
    fn index(self) -> usize {
        self as usize
    }
}

/// The place of one reader in one of the wait queues; [`Latest::leave`](crate::monitor::Monitor::leave) gives it up.
pub type Waiter = crate::wait::Waiter<Side>;

/// What a reader wants. Versions begin with 1; 0 is before any value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The current value, whatever its version.
    Newest,
    /// A value with a version above this.
    After(u64),
    /// The value at a certain time: `due` is true once that has come. `given` is the last version that the reader got.
    Tick { due: bool, given: u64 },
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The value that is wanted has not been set yet.
    NotYet,
    ShutDown,
}

/// Counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub version: u64,
    /// Values that were set, the initial one not counted.
    pub sets: u64,
    /// Values that were replaced before any reader had read them.
    pub replaced: u64,
    pub waiting_readers: usize,
    /// The total time of all waits for a value, unfinished waits included. Waits for a tick are not counted.
    pub read_blocked: Nanos,
    pub shut: bool,
}

/// The times at which a sampling reader gets a value: multiples of a period, counted from its first request. Times that it misses are skipped.
#[derive(Debug)]
pub struct Ticks {
    period: Nanos,
    next: Option<Nanos>,
    given: u64,
}

impl Ticks {
    /// The period is at least a nanosecond.
    pub fn new(period: Nanos) -> Self {
        Self { period: period.max(1), next: None, given: 0 }
    }

    /// What the reader wants now, and the time of the next tick. The first request is a tick.
    pub fn want(&mut self, now: Nanos) -> (Want, Nanos) {
        let next = *self.next.get_or_insert(now);
        (Want::Tick { due: next <= now, given: self.given }, next)
    }

    /// Records that the reader has got this version.
    pub fn give(&mut self, version: u64, now: Nanos) {
        self.given = version;
        if let Some(next) = self.next.filter(|next| *next <= now) {
            let past = (now - next) / self.period;
            self.next = Some(next.saturating_add(self.period.saturating_mul(past + 1)));
        }
    }
}

/// What a reader gets.
enum ReadAnswer {
    Value,
    End,
    Wait(Side, u64),
}

/// The state of a `Latest`. Only accessed inside its section.
///
/// `X` is data of the owner that is changed in one step with it.
#[derive(Debug)]
pub struct State<T, W, X = ()> {
    /// None before the first value, and after an immediate shutdown.
    value: Option<T>,
    version: u64,
    sets: u64,
    replaced: u64,
    /// True if a reader has read this value.
    is_read: bool,
    shut: bool,
    /// True if all waiters have been checked since the last change, and no waiter that was set aside can have missed a change.
    is_settled: bool,
    extras: X,
    wait_queues: WaitQueues<W, 2>,
}

/// One value for many writers and readers, see the head of this file. `W` wakes a reader, `D` guards the section.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::clock::Clock;
/// use sluicegate_core::latest::{Latest, ReadError, Waiter, Want};
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let latest: Latest<u32, Arc<Parker>, Threads> = Latest::new(None, (), Clock::Monotonic);
///
/// // There is no value yet, so the reader waits. A thread would sleep on the parker now.
/// let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
/// let (wakes, read) = latest.read_or_wait((), Want::After(0), &mut waiter, &parker, |value| *value);
/// wakes.fire();
/// assert_eq!(read, Err(ReadError::NotYet));
///
/// for value in [10, 20] {
///     let (wakes, displaced) = latest.set((), value);
///     wakes.fire();
///     drop(displaced);
/// }
/// assert!(parker.is_notified());
///
/// // The reader has missed the first value.
/// let (wakes, read) = latest.read_or_wait((), Want::After(0), &mut waiter, &parker, |value| *value);
/// wakes.fire();
/// assert_eq!(read, Ok((20, 2)));
/// ```
pub type Latest<T, W, D, X = ()> = Monitor<State<T, W, X>, W, D, 2>;

impl<T, W: Wake, X> State<T, W, X> {
    fn answer(&self, want: Want) -> ReadAnswer {
        let is_news = |given| self.value.is_some() && self.version > given;
        match want {
            Want::After(given) if is_news(given) => ReadAnswer::Value,
            Want::Tick { given, .. } if self.shut && is_news(given) => ReadAnswer::Value,
            _ if self.shut => ReadAnswer::End,
            Want::Newest | Want::Tick { due: true, .. } if self.value.is_some() => ReadAnswer::Value,
            Want::Tick { .. } if self.value.is_some() => ReadAnswer::Wait(Side::End, 0),
            Want::Newest | Want::Tick { .. } => ReadAnswer::Wait(Side::Change, 0),
            Want::After(given) => ReadAnswer::Wait(Side::Change, given),
        }
    }

    /// Returns what `look` makes of the value, and its version, and records that the value has been read.
    fn read<R>(&mut self, look: impl FnOnce(&T) -> R) -> (R, u64) {
        self.is_read = true;
        (look(self.value.as_ref().expect("an answer has said that it is there")), self.version)
    }

    /// Wakes the readers in a wait queue, in order, whose version satisfies `is_news`.
    fn tell(&mut self, side: Side, is_news: impl Fn(u64) -> bool, wakes: &mut Wakes<W>) {
        let line = self.wait_queues.queue_mut(side);
        let mut last = None;
        while let Some(ticket) = line.next_waiting(last, |_, given| is_news(given)) {
            line.wake(ticket, wakes);
            last = Some(ticket);
        }
    }
}

impl<T, W: Wake, X> MonitorState<W, 2> for State<T, W, X> {
    type Side = Side;

    wait_queues!(wait_queues, 2);

    /// A waiter that only leaves changes nothing for the others, so this does not check each of them then.
    #[inline(never)]
    fn wake_all_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        let (shut, version) = (self.shut, self.version);
        if !self.is_settled {
            self.tell(Side::Change, |given| shut || version > given, wakes);
            if shut {
                self.tell(Side::End, |_| true, wakes);
            }
        }
        self.is_settled = !self.wait_queues.queue(Side::Change).any_aside() && !self.wait_queues.queue(Side::End).any_aside();
    }
}

impl<T, W: Wake, D: Domain, X> Monitor<State<T, W, X>, W, D, 2> {
    /// With an initial value the version is 1.
    pub fn new(initial: Option<T>, extras: X, clock: Clock<W>) -> Self {
        let version = u64::from(initial.is_some());
        let (sets, replaced, is_read, shut, is_settled) = (0, 0, false, false, true);
        Self::of(State {
            value: initial,
            version,
            sets,
            replaced,
            is_read,
            shut,
            is_settled,
            extras,
            wait_queues: WaitQueues::new(clock),
        })
    }

    /// Sets the value. Returns the value that it replaces, to be dropped outside the section, or after the end the new value, in `Err`.
    #[inline]
    pub fn set(&self, proof: D::Proof<'_>, value: T) -> (Wakes<W>, Result<Option<T>, T>) {
        self.visit(proof, |state, wakes| {
            if state.shut {
                return Err(value);
            }
            let old = state.value.replace(value);
            state.version += 1;
            state.sets += 1;
            state.replaced += u64::from(old.is_some() && !state.is_read);
            state.is_read = false;
            state.is_settled = false;
            if !state.wait_queues.queue(Side::Change).none_waiting() {
                state.wake_all_eligible(wakes);
            }
            Ok(old)
        })
    }

    /// Reads without waiting. Returns what `look` makes of the value, and its version.
    #[inline]
    pub fn try_read<R>(&self, proof: D::Proof<'_>, want: Want, look: impl FnOnce(&T) -> R) -> Result<(R, u64), ReadError> {
        self.section.with(proof, |state| match state.answer(want) {
            ReadAnswer::Value => Ok(state.read(look)),
            ReadAnswer::End => Err(ReadError::ShutDown),
            ReadAnswer::Wait(..) => Err(ReadError::NotYet),
        })
    }

    /// Reads, or waits: after `NotYet` the waiter is in a wait queue, and `waker` will be woken.
    pub fn read_or_wait<R>(
        &self,
        proof: D::Proof<'_>,
        want: Want,
        waiter: &mut Waiter,
        waker: &W,
        look: impl FnOnce(&T) -> R,
    ) -> (Wakes<W>, Result<(R, u64), ReadError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let result = match state.answer(want) {
                ReadAnswer::Value => Ok(state.read(look)),
                ReadAnswer::End => Err(ReadError::ShutDown),
                ReadAnswer::Wait(side, given) => {
                    state.wait_queues.enqueue_or_requeue(side, given, waiter, waker, wakes);
                    return Err(ReadError::NotYet);
                }
            };
            state.wait_queues.remove_waiter(waiter, wakes);
            result
        })
    }

    /// Returns what `look` makes of the value, if there is one, also after the end. The value does not count as read.
    pub fn peek<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.section.with(proof, |state| state.value.as_ref().map(look))
    }

    /// Accepts no further value; each reader still gets the last value if it has not had it. With `at_once` the value is removed and returned.
    /// In the same step `end` is called with the owner's extras, to record how it ended, and with whether it had ended before. `end` must not
    /// drop anything.
    pub fn shut_down<R>(
        &self,
        proof: D::Proof<'_>,
        at_once: bool,
        end: impl FnOnce(&mut X, bool) -> R,
    ) -> (Wakes<W>, (Option<T>, R)) {
        self.visit(proof, |state, wakes| {
            let ended = end(&mut state.extras, state.shut);
            state.shut = true;
            state.is_settled = false;
            let removed = if at_once { state.value.take() } else { None };
            state.wake_all_eligible(wakes);
            (removed, ended)
        })
    }

    /// 0 before any value.
    #[inline]
    pub fn version(&self, proof: D::Proof<'_>) -> u64 {
        self.section.with(proof, |state| state.version)
    }

    /// Calls `look` with the value and the owner's extras, in one step.
    pub fn look<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(Option<&T>, &X) -> R) -> R {
        self.section.with(proof, |state| look(state.value.as_ref(), &state.extras))
    }

    /// Removes and returns the value and the owner's extras, for the garbage collector. The object is not used any more.
    pub fn empty(&self, proof: D::Proof<'_>) -> (Option<T>, X)
    where
        X: Default,
    {
        self.section.with(proof, |state| (state.value.take(), std::mem::take(&mut state.extras)))
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Statistics {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            let now = state.wait_queues.clock.now();
            Statistics {
                version: state.version,
                sets: state.sets,
                replaced: state.replaced,
                waiting_readers: state.wait_queues.queue(Side::Change).len() + state.wait_queues.queue(Side::End).len(),
                read_blocked: state.wait_queues.blocked(Side::Change, now),
                shut: state.shut,
            }
        })
    }
}
