//! `Limiter`: one schedule, one wait queue, one section.
//!
//! # Algorithm
//! A schedule ([`Gcra`] or [`Window`]) computes when an amount can be admitted; it knows no callers. The wait queue is strictly first come,
//! first served: an arrival is admitted at once only if no request is waiting. The head is granted at the first moment at which the schedule
//! allows its amount. The schedule records that moment, not the moment at which a thread woke up to grant it, so a late wake-up costs nothing
//! ([`State::grant_due`]). A grant is recorded in the section, and its owner fetches it. A waiter that leaves before that gives its grant back.
//!
//! # Bookings
//! A reservation is a booking for a certain moment. If no request is waiting, it is taken from the schedule at once. Otherwise it is kept as a
//! `FutureBooking` for the moment that follows from the waiters before it, and taken at that moment. The moment of a booking never changes.
//!
//! # How much is given back
//! An ungranted amount is returned in full; a granted, booked or settled amount only as far as no window then exceeds its limit. A window
//! returns what is still in its log, and a bucket what has not been refilled since (see `lowwater`). The part that later bookings rely on
//! stays taken. A refund is the caller's responsibility, and is not limited in this way.
//!
//! # Sets
//! A limiter keeps weak references, in its own section, to the sets of which it is a member. A visit that changes its policy, or the amounts
//! that it has admitted, returns these sets ([`Changed`]), and they recompute their grants before the call returns.
//!
//! # Fairness and cancellation
//! Waiters are served in strict order: a large amount at the head holds up small ones behind it. [`Limiter::leave`] removes a waiter, and
//! the waiters behind it are admitted earlier.

use std::collections::TryReserveError;
use std::fmt;

use super::bucket::Bucket;
use super::fast_path::{FastPath, Passage};
use super::gcra::{Gcra, Rule};
use super::schedule::Schedule;
use super::state::{Fetched, State};
use super::types::{AcquireState, Booking, Granted, Need, Refusal, Statistics, Terms, Waiter};
use super::units::{MAX_UNITS, Rate, Scale, Units};
use super::wait_queue::NEVER;
use super::window::Window;
use crate::blocks::Blocks;
use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::section::{Domain, Gate as _, Section};
use crate::sync::{Count, Ordering, Shared, Weak};
use crate::wait::{Ticket, Wake, Wakes};

/// What a limiter enforces.
#[derive(Clone, Copy, Debug)]
pub enum Policy {
    /// At most `burst + rate * t` in any `t`.
    /// `debt` is the amount missing from a full bucket at the beginning.
    Bucket { rate: Rate, burst: Units, debt: Units },
    /// Evenly spaced: each request is admitted when the amount of the previous one has drained; at most `capacity` waiters.
    Spaced { rate: Rate, capacity: usize },
    /// At most `limit` in any `period`.
    Window { limit: Units, period: Nanos },
    /// Admits everything at once, except in a pause.
    Unlimited,
    /// Admits nothing.
    Closed,
}

/// A set, as its members see it. Its grants depend on what the members admit.
pub(super) trait Depends<W: Wake, D: Domain>: Send + Sync {
    /// Called when a member's policy, or the amounts it has admitted, have been changed by something other than the set.
    fn members_changed(&self, proof: D::Proof<'_>) -> Wakes<W>;
}

type Dependent<W, D> = dyn Depends<W, D>;

/// What a limiter's section guards.
struct Inside<W: Wake, D: Domain> {
    state: State<W>,
    sets: Vec<Weak<Dependent<W, D>>>,
}

/// The sets that have to recompute their grants because one of their members has changed.
#[must_use = "the sets are told by `tell`, outside of every section"]
pub(super) struct Changed<W: Wake, D: Domain>(Blocks<Shared<Dependent<W, D>>>);

impl<W: Wake, D: Domain> Changed<W, D> {
    pub(super) fn nobody() -> Self {
        Self(Blocks::default())
    }

    fn of(sets: &[Weak<Dependent<W, D>>]) -> Self {
        Self(sets.iter().filter_map(Weak::upgrade).collect())
    }

    pub(super) fn and(&mut self, other: Self) {
        for set in other.0 {
            if !self.0.iter().any(|known| Shared::ptr_eq(known, &set)) {
                self.0.push(set);
            }
        }
    }

    /// Without this set, which made the change itself.
    pub(super) fn but<S>(self, set: &S) -> Self {
        Self(self.0.into_iter().filter(|other| !std::ptr::addr_eq(Shared::as_ptr(other), set)).collect())
    }

    pub(super) fn tell(self, proof: D::Proof<'_>, wakes: &mut Wakes<W>) {
        for set in self.0 {
            wakes.append(set.members_changed(proof));
        }
    }
}

/// A rate limiter, see the head of this file. `W` is how its waiters are woken, `D` what guards its section.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::clock::{Clock, Manual};
/// use sluicegate_core::rate::{Policy, Limiter, Rate, Refusal, Scale};
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let clock = Arc::new(Manual::new(0));
/// let scale = Scale::for_largest(1e9).unwrap();
/// let token = 1_000_000_000; // in units of this scale
/// let law = Policy::Bucket { rate: Rate::new(10.0, 1.0, scale)?, burst: 2 * token, debt: 0 };
/// let bucket: Limiter<Arc<Parker>, Threads> = Limiter::new(law, scale, Clock::Manual(Arc::clone(&clock)));
///
/// let (wakes, admitted) = bucket.try_acquire((), 2 * token);
/// wakes.fire();
/// assert_eq!(admitted, Ok(true));
///
/// let (wakes, admitted) = bucket.try_acquire((), token);
/// wakes.fire();
/// assert_eq!(admitted, Ok(false));
///
/// clock.advance(100_000_000); // in a tenth of a second one token is refilled
/// let (wakes, admitted) = bucket.try_acquire((), token);
/// wakes.fire();
/// assert_eq!(admitted, Ok(true));
///
/// let (wakes, wait) = bucket.retry_after((), 3 * token);
/// wakes.fire();
/// assert_eq!(wait, Err(Refusal::NeverFits));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Limiter<W: Wake, D: Domain> {
    pub(super) fast_path: Option<FastPath>,
    /// Its place in the order in which a set enters the sections of its members.
    pub(super) number: u64,
    scale: Scale,
    pub(super) clock: Clock<W>,
    /// Relaxed, as `refused`: counters for `statistics`, which order nothing else.
    pub(super) admitted: Count,
    pub(super) refused: Count,
    /// The largest amount that can be admitted at once, for callers that do not enter the section. Written in the section.
    largest: Count,
    section: Section<Inside<W, D>, D>,
}

impl<W: Wake, D: Domain> Limiter<W, D> {
    /// A limiter without terms, for users of the core crate.
    pub fn new(law: Policy, scale: Scale, clock: Clock<W>) -> Self {
        Self::with_terms(law, Terms::default(), scale, clock)
    }

    pub fn with_terms(law: Policy, terms: Terms, scale: Scale, clock: Clock<W>) -> Self {
        let now = clock.now();
        let (schedule, capacity) = match law {
            Policy::Bucket { rate, burst, debt } => {
                (Schedule::Bucket(Bucket::new(Gcra::new(Rule::Burst, rate, burst, debt, now))), usize::MAX)
            }
            Policy::Spaced { rate, capacity } => {
                (Schedule::Bucket(Bucket::new(Gcra::new(Rule::Spaced, rate, 0, 0, now))), capacity)
            }
            Policy::Window { limit, period } => (Schedule::Window(Window::new(limit, period)), usize::MAX),
            Policy::Unlimited => (Schedule::Always, usize::MAX),
            Policy::Closed => (Schedule::Never, usize::MAX),
        };
        let fast_path = match &schedule {
            Schedule::Bucket(bucket) => Some(FastPath::new(bucket.gcra.rate_state)),
            _ => None,
        };
        Self::of(State::new(schedule, terms, capacity), fast_path, scale, clock)
    }

    /// A bucket that continues from a state kept elsewhere (see `keyed`).
    pub(super) fn resume(gcra: Gcra, capacity: usize, terms: Terms, scale: Scale, clock: Clock<W>) -> Self {
        let (schedule, fast_path) = (Schedule::Bucket(Bucket::new(gcra)), FastPath::new(gcra.rate_state));
        Self::of(State::new(schedule, terms, capacity), Some(fast_path), scale, clock)
    }

    /// A window that continues from a state kept elsewhere (see `keyed`).
    pub(super) fn resume_window(window: Window, terms: Terms, scale: Scale, clock: Clock<W>) -> Self {
        Self::of(State::new(Schedule::Window(window), terms, usize::MAX), None, scale, clock)
    }

    fn of(state: State<W>, fast_path: Option<FastPath>, scale: Scale, clock: Clock<W>) -> Self {
        static MADE: Count = Count::new(0);
        let largest = Count::new(state.schedule.largest());
        let section = Section::new(Inside { state, sets: Vec::new() });
        let number = MADE.fetch_add(1, Ordering::Relaxed); // Relaxed: only that numbers differ matters
        Self { fast_path, number, scale, clock, admitted: Count::new(0), refused: Count::new(0), largest, section }
    }

    pub fn scale(&self) -> Scale {
        self.scale
    }

    pub fn clock(&self) -> &Clock<W> {
        &self.clock
    }

    /// True if this thread is inside the section already. Every other operation would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>) -> bool {
        self.section.is_entered(proof)
    }

    /// Enters the section once: closes the fast path, grants the waiters whose time has come, and afterwards opens the fast path again if no
    /// waiter is left.
    pub(super) fn visit<R>(
        &self,
        proof: D::Proof<'_>,
        wakes: &mut Wakes<W>,
        critical: impl FnOnce(&mut State<W>, Nanos, &mut Wakes<W>) -> R,
    ) -> R {
        self.section.with(proof, |inside| self.inside(&mut inside.state, wakes, critical))
    }

    fn inside<R>(
        &self,
        state: &mut State<W>,
        wakes: &mut Wakes<W>,
        critical: impl FnOnce(&mut State<W>, Nanos, &mut Wakes<W>) -> R,
    ) -> R {
        let passed = self.fast_path.as_ref().and_then(FastPath::close);
        let now = self.clock.now();
        if let Some(passed) = passed {
            state.passed(passed, now);
        }
        let generation = fork::generation();
        if state.generation != generation {
            state.forget(generation);
        }
        state.grant_due(now, wakes);
        // Only after everything dated before now has been booked.
        state.schedule.rebase(now);
        let result = critical(state, now, wakes);
        if let (Schedule::Bucket(Bucket { gcra, .. }), Some(fast_path)) = (&state.schedule, &self.fast_path) {
            if state.is_quiet(now) && gcra.tat < Gcra::FAR {
                state.opened_at = gcra.tat;
                fast_path.open(gcra);
            }
        }
        result
    }

    pub(super) fn visited<R>(
        &self,
        proof: D::Proof<'_>,
        critical: impl FnOnce(&mut State<W>, Nanos, &mut Wakes<W>) -> R,
    ) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.visit(proof, &mut wakes, critical);
        (wakes, result)
    }

    /// A visit that may change the moments of grants of the sets of which this is a member.
    fn visit_to_change<R>(
        &self,
        proof: D::Proof<'_>,
        wakes: &mut Wakes<W>,
        critical: impl FnOnce(&mut State<W>, Nanos, &mut Wakes<W>) -> R,
    ) -> (R, Changed<W, D>) {
        self.section.with(proof, |inside| {
            let result = self.inside(&mut inside.state, wakes, critical);
            // Relaxed: an independent number; callers that need the exact value enter the section.
            self.largest.store(inside.state.schedule.largest(), Ordering::Relaxed);
            (result, Changed::of(&inside.sets))
        })
    }

    /// As `visit_to_change`, and also makes the sets recompute their grants.
    fn change<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut State<W>, Nanos, &mut Wakes<W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let (result, changed) = self.visit_to_change(proof, &mut wakes, critical);
        changed.tell(proof, &mut wakes);
        (wakes, result)
    }

    /// Makes it a member of that set.
    pub(super) fn join(&self, proof: D::Proof<'_>, set: Weak<Dependent<W, D>>) -> Result<(), TryReserveError> {
        self.section.with(proof, |Inside { sets, .. }| {
            sets.retain(|known| known.strong_count() > 0);
            sets.try_reserve(1)?;
            sets.push(set);
            Ok(())
        })
    }

    /// The sets of this limiter, after another member of a set has changed it.
    pub(super) fn changed(&self, proof: D::Proof<'_>) -> Changed<W, D> {
        self.section.with(proof, |inside| Changed::of(&inside.sets))
    }

    /// Takes `n` on the fast path if that is possible. `None`: use [`Limiter::try_acquire`]. Cannot panic.
    #[inline]
    pub fn pass(&self, proof: D::Proof<'_>, n: Units) -> Option<bool> {
        match self.on_fast_path(proof, n) {
            Passage::Admitted => Some(true),
            Passage::Refused => {
                Self::count(&self.refused);
                Some(false)
            }
            Passage::Closed => None,
        }
    }

    /// As `pass`, for a caller that will wait if it is not admitted, so that it does not count as refused.
    #[inline]
    pub fn pass_or_wait(&self, proof: D::Proof<'_>, n: Units) -> bool {
        self.on_fast_path(proof, n) == Passage::Admitted
    }

    #[inline]
    fn on_fast_path(&self, _proof: D::Proof<'_>, n: Units) -> Passage {
        let Some(fast_path) = &self.fast_path else { return Passage::Closed };
        let passage = fast_path.pass(n, self.clock.now(), !D::Gate::IS_A_LOCK);
        if passage == Passage::Admitted {
            Self::count(&self.admitted);
        }
        passage
    }

    /// Counts with a proof: if the proof excludes other threads, this is a plain addition.
    #[inline]
    pub(super) fn count(count: &Count) {
        if D::Gate::IS_A_LOCK {
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Takes `n` if it can be admitted now and no request is waiting.
    pub fn try_acquire(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<bool, Refusal>) {
        let (wakes, result) = self.try_or_wait(proof, n);
        if matches!(result, Ok(false)) {
            Self::count(&self.refused);
        }
        (wakes, result)
    }

    /// As `try_acquire`, for a caller that will wait if it is not admitted, so that it does not count as refused.
    pub fn try_or_wait(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<bool, Refusal>) {
        if self.pass_or_wait(proof, n) {
            return (Wakes::none(), Ok(true));
        }
        self.visited(proof, |state, now, _| {
            if state.never_fits(n) {
                return Err(Refusal::NeverFits);
            }
            state.make_room()?;
            let goes = state.try_now(n, now).is_some();
            state.admitted += u64::from(goes);
            Ok(goes)
        })
    }

    /// Takes `n` if it can be admitted now and no request is waiting, for a caller that later reports the amount actually used (see
    /// [`Limiter::adjust`]). With `or_wait` the caller will wait otherwise, so that it does not count as refused.
    pub fn try_book(&self, proof: D::Proof<'_>, n: Units, or_wait: bool) -> (Wakes<W>, Result<Option<Booking>, Refusal>) {
        self.visited(proof, |state, now, _| {
            if state.never_fits(n) {
                return Err(Refusal::NeverFits);
            }
            state.make_room()?;
            let booking = state.try_now(n, now);
            state.admitted += u64::from(booking.is_some());
            state.refused += u64::from(booking.is_none() && !or_wait);
            Ok(booking)
        })
    }

    /// Takes `n`, or waits: while it returns `Waiting`, the waiter is in the wait queue, and `waker` will be woken. A request that cannot be
    /// served by its deadline is refused at once, and is not in the queue. A grant is recorded in `waiter`.
    pub fn acquire_or_wait(
        &self,
        proof: D::Proof<'_>,
        n: Units,
        waiter: &mut Waiter,
        waker: &W,
        deadline: Option<Nanos>,
    ) -> (Wakes<W>, AcquireState) {
        self.visited(proof, |state, now, wakes| {
            if let Some(ticket) = waiter.ticket {
                if let Some(fetched) = state.fetch(ticket, now, wakes) {
                    waiter.ticket = None;
                    return match fetched {
                        Fetched::Grant(booking) => {
                            waiter.granted = Granted::One(booking);
                            AcquireState::Granted
                        }
                        Fetched::Oversized => AcquireState::Refused(Refusal::NeverFits),
                    };
                }
                if state.queue.contains(ticket) {
                    return AcquireState::Waiting(Some(state.queue.watch(ticket, state.due)).filter(|&at| at != NEVER));
                }
                waiter.ticket = None; // its place was forgotten after a fork: it is an arrival again
            }
            match state.arrive(n, deadline, now) {
                Err(refusal) => return AcquireState::Refused(refusal),
                Ok(Some(booking)) => {
                    waiter.granted = Granted::One(booking);
                    return AcquireState::Granted;
                }
                Ok(None) => {}
            }
            let ticket = state.join(waker, n, now);
            waiter.ticket = Some(ticket);
            if state.queue.head().is_some_and(|(head, _)| head == ticket) {
                state.due = state.moment(ticket, n);
            }
            AcquireState::Waiting(Some(state.queue.watch(ticket, state.due)).filter(|&at| at != NEVER))
        })
    }

    /// Stops waiting. A grant that has not been fetched is given back.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn leave(&self, proof: D::Proof<'_>, waiter: &mut Waiter) -> Wakes<W> {
        let Some(ticket) = waiter.ticket.take() else { return Wakes::none() };
        self.change(proof, |state, now, wakes| {
            if state.queue.contains(ticket) {
                state.leave(ticket, now, wakes);
            }
        })
        .0
    }

    /// Called when the waiter cannot try for a while (its thread runs a signal handler): another waiter becomes the leader.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_aside(&self, proof: D::Proof<'_>, ticket: Ticket) -> Wakes<W> {
        self.visited(proof, |state, _, wakes| {
            state.queue.step_aside(ticket);
            state.queue.rearm(state.due, wakes);
        })
        .0
    }

    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_back(&self, proof: D::Proof<'_>, ticket: Ticket) -> Wakes<W> {
        self.visited(proof, |state, _, wakes| {
            state.queue.step_back(ticket);
            state.queue.rearm(state.due, wakes);
        })
        .0
    }

    /// Books `n` for the first possible moment, if that is at most `max_wait` away.
    pub fn reserve(&self, proof: D::Proof<'_>, n: Units, max_wait: Option<Nanos>) -> (Wakes<W>, Result<Booking, Refusal>) {
        self.visited(proof, |state, now, wakes| {
            if state.never_fits(n) {
                return Err(Refusal::NeverFits);
            }
            let at = state.foresee(n, Need::Exact, now)?;
            let full = state.wait_queue_is_full(now)?.filter(|_| at > now);
            let refusal = match full {
                _ if state.schedule.is_closed() => Some(Refusal::Until(NEVER)),
                _ if max_wait.is_some_and(|limit| at - now > limit) => Some(Refusal::Until(at)),
                Some(free) => Some(Refusal::WaitQueueFull(free)),
                None => (at == NEVER || !state.can_book(n)).then_some(Refusal::TooFar),
            };
            if let Some(refusal) = refusal {
                state.refused += 1;
                return Err(refusal);
            }
            state.make_room_to_book()?;
            state.admitted += 1;
            let booking = state.book_at(n, at, false, now);
            state.grant_due(now, wakes);
            Ok(booking)
        })
    }

    /// Gives a booking back as far as that is possible. Returns how much it gave back.
    pub fn cancel(&self, proof: D::Proof<'_>, booking: Booking) -> (Wakes<W>, Units) {
        self.change(proof, |state, now, wakes| state.cancel(booking, 0, now, wakes))
    }

    /// Reports the amount of a booking or grant that was actually used: the difference is given back as far as that is possible, or charged.
    /// Returns how much was given back.
    pub fn adjust(&self, proof: D::Proof<'_>, booking: Booking, actual: Units) -> (Wakes<W>, Result<Units, Refusal>) {
        self.change(proof, |state, now, wakes| state.adjust(booking, actual, now, wakes))
    }

    /// Gives `n` back, but never above the burst.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn refund(&self, proof: D::Proof<'_>, n: Units) -> Wakes<W> {
        self.change(proof, |state, now, wakes| {
            state.give_back(n, now);
            state.grant_due(now, wakes);
        })
        .0
    }

    /// Takes `n` unconditionally, even if that leaves a debt.
    pub fn debit(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<(), Refusal>) {
        self.change(proof, |state, now, wakes| {
            if !state.can_book(n) {
                return Err(Refusal::TooFar);
            }
            state.make_room()?;
            state.charge(n, now);
            state.grant_due(now, wakes);
            Ok(())
        })
    }

    /// Sets the rate and, if given, the burst of a bucket or the capacity of a shaper. `terms` records the values that the user gave.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn set_rate(
        &self,
        proof: D::Proof<'_>,
        rate: Rate,
        burst: Option<Units>,
        capacity: Option<usize>,
        terms: impl FnOnce(&mut Terms),
    ) -> Wakes<W> {
        self.change(proof, |state, now, wakes| state.set_rate((rate, burst, capacity), terms, now, wakes)).0
    }

    /// As `set_rate`, for a key's limiter, from inside the section of its keyed limiter. The caller notifies the sets outside of it.
    pub(super) fn set_rate_inside(
        &self,
        proof: D::Proof<'_>,
        rate: (Rate, Option<Units>, Option<usize>),
        terms: impl FnOnce(&mut Terms),
        wakes: &mut Wakes<W>,
    ) -> Changed<W, D> {
        self.visit_to_change(proof, wakes, |state, now, wakes| state.set_rate(rate, terms, now, wakes)).1
    }

    /// Sets the limit of a window and, if given, its period. `terms` records the values that the user gave.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn set_window(
        &self,
        proof: D::Proof<'_>,
        limit: Units,
        period: Option<Nanos>,
        terms: impl FnOnce(&mut Terms),
    ) -> Wakes<W> {
        self.change(proof, |state, now, wakes| state.set_window((limit, period), terms, now, wakes)).0
    }

    /// As `set_limit`, for a key's limiter: see `set_rate_inside`.
    pub(super) fn set_window_inside(
        &self,
        proof: D::Proof<'_>,
        window: (Units, Option<Nanos>),
        terms: impl FnOnce(&mut Terms),
        wakes: &mut Wakes<W>,
    ) -> Changed<W, D> {
        self.visit_to_change(proof, wakes, |state, now, wakes| state.set_window(window, terms, now, wakes)).1
    }

    /// The current terms.
    pub fn terms(&self, proof: D::Proof<'_>) -> Terms {
        self.section.with(proof, |inside| inside.state.terms)
    }

    /// Admits no request until `pause` has passed.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn pause(&self, proof: D::Proof<'_>, pause: Nanos) -> Wakes<W> {
        self.change(proof, |state, now, wakes| {
            state.pause(pause, now, wakes);
        })
        .0
    }

    /// The units available now; negative in debt. (For a shaper, the level of a bucket with a burst of one token.)
    pub fn level(&self, proof: D::Proof<'_>) -> (Wakes<W>, i128) {
        self.visited(proof, |state, now, _| match &mut state.schedule {
            Schedule::Bucket(Bucket { gcra, .. }) if gcra.rate_state.rule == Rule::Spaced => {
                gcra.level(now, self.scale.per_token())
            }
            Schedule::Bucket(Bucket { gcra, .. }) => gcra.level(now, gcra.rate_state.burst),
            Schedule::Window(window) => window.level(now),
            Schedule::Always => i128::from(MAX_UNITS),
            Schedule::Never => 0,
        })
    }

    /// The time until `n` can be admitted, after all current waiters.
    pub fn retry_after(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<Nanos, Refusal>) {
        self.foresee(proof, n, Need::Exact)
    }

    /// As `retry_after`, but an upper bound: it may be too long after other waiters have left. (An exact answer takes time in proportion to the
    /// number of waiters, so if many gave up at once it would take quadratic time.)
    pub fn retry_after_at_most(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<Nanos, Refusal>) {
        self.foresee(proof, n, Need::AtTheLatest)
    }

    fn foresee(&self, proof: D::Proof<'_>, n: Units, need: Need) -> (Wakes<W>, Result<Nanos, Refusal>) {
        self.visited(proof, |state, now, _| {
            if state.never_fits(n) {
                return Err(Refusal::NeverFits);
            }
            Ok(match state.foresee(n, need, now)? {
                NEVER => NEVER,
                at => at - now,
            })
        })
    }

    /// True if `n` is more than can ever be admitted at once. It does not enter the section, so an attempt may decide otherwise.
    pub fn never_fits(&self, n: Units) -> bool {
        n > self.largest.load(Ordering::Relaxed)
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> (Wakes<W>, Statistics) {
        self.visited(proof, |state, now, _| Statistics {
            admitted: state.admitted + self.admitted.load(Ordering::Relaxed),
            refused: state.refused + self.refused.load(Ordering::Relaxed),
            waited: state.waited,
            waited_for: state.queue.blocked.total(now),
            waiters: state.queue.waiters(),
        })
    }

    /// Calls `waker` with every waker in the wait queue, once each. Grants nothing.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, waker: impl FnMut(&W)) {
        self.section.with(proof, |Inside { state, .. }| {
            if state.generation == fork::generation() {
                state.queue.wakers().for_each(waker);
            }
        });
    }

    /// Its schedule, if that is its whole state: no request is waiting, nothing is booked ahead, nothing is paused.
    pub(super) fn if_quiet(&self, proof: D::Proof<'_>) -> (Wakes<W>, Option<Schedule>) {
        self.visited(proof, |state, now, _| {
            let quiet = state.is_all_in_schedule(now);
            quiet.then(|| state.schedule.try_clone(0).ok()).flatten()
        })
    }

    /// The first moment, or a later one, at which nothing will be owed if nobody asks for more: all waiters have been served, all bookings
    /// have come, and what was taken has been refilled.
    pub(super) fn whole_at(&self, proof: D::Proof<'_>) -> (Wakes<W>, Nanos) {
        self.visited(proof, |state, now, _| state.whole_at(now))
    }

    /// True if the schedule is the whole state; the schedule is not copied.
    pub(super) fn is_quiet(&self, proof: D::Proof<'_>) -> (Wakes<W>, bool) {
        self.visited(proof, |state, now, _| state.is_all_in_schedule(now))
    }
}

impl<W: Wake, D: Domain> fmt::Debug for Limiter<W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}
