//! `Limiter`: one schedule, one line, one section.
//!
//! # Algorithm
//! A schedule ([`Gcra`] or [`Window`]) says when an amount may go; it knows nobody. The line is strictly first come, first served: an
//! arrival goes at once only if nobody waits. Its head is granted at the first moment at which the schedule allows its amount, and that
//! moment, not the one at which somebody came to look, is what the schedule books: a late wake-up costs nothing ([`State::settle`]).
//! A grant is a fact in the section; its owner fetches it. Whoever leaves before that gives it back.
//!
//! # Bookings
//! A reservation is a promise of a moment. Without a line it is taken from the schedule at once. Behind a line it stands apart, with the
//! moment that follows from those before it, and is taken when that comes. Promises never move.
//!
//! # What is given back
//! An amount that was never granted is returned in full. One that was granted, booked or settled is returned as far as no window then holds
//! more than the law allows: a window returns what is still in its log, a bucket what has not come in again since (see `lowwater`), and what
//! was promised in reliance on it stays taken. A refund is the caller's word, and is not limited that way.
//!
//! # Sets
//! A limiter knows the sets that it is a member of, weakly, in its own section. A visit that changes its law, or what it has let through,
//! leaves with those sets ([`Changed`]), and they look again before the call returns: nobody else has to remember to tell them.
//!
//! # Fairness and cancellation
//! Strict order, by weight: a large amount at the head holds up small ones behind it. [`Limiter::leave`] gives up a place; those behind
//! go earlier.

use std::fmt;
use std::sync::atomic::Ordering;

use super::bucket::Bucket;
use super::gate::{Gate, Passage};
use super::gcra::{Course, Gcra, Rule};
use super::room::NEVER;
use super::schedule::Schedule;
use super::state::{Booking, Fetched, Place, Refusal, Standing, State, Statistics, Terms};
use super::units::{Pace, Scale, Units};
use super::window::Window;
use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::section::{Domain, Gate as _, Section};
use crate::sync::{Count, Shared, Weak};
use crate::wait::{Ticket, Wake, Wakes};

/// What a limiter is made of.
#[derive(Clone, Copy, Debug)]
pub enum Law {
    /// At most `burst + rate * t` in any `t`.
    /// `debt` is what is missing from a full bucket in the beginning.
    Bucket { pace: Pace, burst: Units, debt: Units },
    /// One after the other, each after the last has been paid for; at most `capacity` in line.
    Spaced { pace: Pace, capacity: usize },
    /// At most `limit` in any `period`.
    Window { limit: Units, period: Nanos },
}

/// What depends on what a limiter lets through: a set that it is a member of.
pub(super) trait Depends<W: Wake, D: Domain>: Send + Sync {
    /// A member's law, or what it has let through, has been changed from outside.
    fn members_changed(&self, proof: D::Proof<'_>) -> Wakes<W>;
}

type Dependent<W, D> = dyn Depends<W, D>;

/// What a limiter's section guards.
struct Inside<W: Wake, D: Domain> {
    state: State<W>,
    sets: Vec<Weak<Dependent<W, D>>>,
}

/// The sets that have to look again, because a member of theirs has changed. What leaves its section with them are the wake-ups.
#[must_use = "the sets are told by `tell`, outside of every section"]
pub(super) struct Changed<W: Wake, D: Domain>(Vec<Shared<Dependent<W, D>>>);

impl<W: Wake, D: Domain> Changed<W, D> {
    pub(super) fn nobody() -> Self {
        Self(Vec::new())
    }

    pub(super) fn and(&mut self, other: Self) {
        for set in other.0 {
            if !self.0.iter().any(|known| Shared::ptr_eq(known, &set)) {
                self.0.push(set);
            }
        }
    }

    /// Without this one, which knows.
    pub(super) fn but<S>(mut self, set: &S) -> Self {
        self.0.retain(|other| !std::ptr::addr_eq(Shared::as_ptr(other), set));
        self
    }

    pub(super) fn tell(self, proof: D::Proof<'_>, wakes: &mut Wakes<W>) {
        for set in self.0 {
            wakes.append(set.members_changed(proof));
        }
    }
}

/// A rate limiter, see the head of this file. `W` is how its waiters are told, `D` what guards its section.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::clock::{Clock, Manual};
/// use sluicegate_core::rate::{Law, Limiter, Pace, Refusal, Scale};
/// use sluicegate_core::section::Threads;
/// use sluicegate_core::wait::Parker;
///
/// let clock = Arc::new(Manual::new(0));
/// let scale = Scale::for_largest(1e9).unwrap();
/// let token = 1_000_000_000; // in units of this scale
/// let law = Law::Bucket { pace: Pace::new(10.0, 1.0, scale)?, burst: 2 * token, debt: 0 };
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
/// clock.advance(100_000_000); // in a tenth of a second one token comes in
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
    gate: Option<Gate>,
    scale: Scale,
    clock: Clock<W>,
    /// Relaxed, as `refused`: numbers for `statistics`, by which nothing else is ordered.
    admitted: Count,
    refused: Count,
    /// The most that may ever go at once, for those who ask without a visit. Written in the section.
    largest: Count,
    section: Section<Inside<W, D>, D>,
}

impl<W: Wake, D: Domain> Limiter<W, D> {
    /// A limiter whose terms nobody asks for.
    pub fn new(law: Law, scale: Scale, clock: Clock<W>) -> Self {
        Self::with_terms(law, Terms::default(), scale, clock)
    }

    pub fn with_terms(law: Law, terms: Terms, scale: Scale, clock: Clock<W>) -> Self {
        let now = clock.now();
        let (schedule, capacity) = match law {
            Law::Bucket { pace, burst, debt } => {
                (Schedule::Bucket(Bucket::new(Gcra::new(Rule::Burst, pace, burst, debt, now))), usize::MAX)
            }
            Law::Spaced { pace, capacity } => (Schedule::Bucket(Bucket::new(Gcra::new(Rule::Spaced, pace, 0, 0, now))), capacity),
            Law::Window { limit, period } => (Schedule::Window(Window::new(limit, period)), usize::MAX),
        };
        let gate = match &schedule {
            Schedule::Bucket(bucket) => Some(Gate::new(bucket.gcra.course)),
            Schedule::Window(_) => None,
        };
        Self::of(State::new(schedule, terms, capacity), gate, scale, clock)
    }

    /// A bucket that goes on where another form of it has stopped.
    pub(super) fn resume(course: Course, tat: u64, terms: Terms, scale: Scale, clock: Clock<W>) -> Self {
        let schedule = Schedule::Bucket(Bucket::new(Gcra::resume(course, tat)));
        Self::of(State::new(schedule, terms, usize::MAX), Some(Gate::new(course)), scale, clock)
    }

    fn of(state: State<W>, gate: Option<Gate>, scale: Scale, clock: Clock<W>) -> Self {
        let largest = Count::new(state.schedule.largest());
        let section = Section::new(Inside { state, sets: Vec::new() });
        Self { gate, scale, clock, admitted: Count::new(0), refused: Count::new(0), largest, section }
    }

    pub fn scale(&self) -> Scale {
        self.scale
    }

    pub fn clock(&self) -> &Clock<W> {
        &self.clock
    }

    /// Is this thread inside the section already? Every other operation would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>) -> bool {
        self.section.is_entered(proof)
    }

    /// One visit to the section: the gate is closed, those whose time has come are granted, and afterwards the gate is opened again if
    /// nobody is left.
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
        let passed = self.gate.as_ref().and_then(Gate::close);
        let now = self.clock.now();
        if let Some(tat) = passed {
            state.passed(tat, now);
        }
        let generation = fork::generation();
        if state.generation != generation {
            state.forget(generation);
        }
        state.settle(now, wakes);
        // Now that everything dated before now has been booked.
        state.schedule.rebase(now);
        let result = critical(state, now, wakes);
        if let (Schedule::Bucket(Bucket { gcra, .. }), Some(gate)) = (&state.schedule, &self.gate) {
            if state.is_quiet(now) && gcra.tat < Gcra::FAR {
                state.opened_at = gcra.tat;
                gate.open(gcra);
            }
        }
        result
    }

    fn visited<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut State<W>, Nanos, &mut Wakes<W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.visit(proof, &mut wakes, critical);
        (wakes, result)
    }

    /// A visit that may let the sets that it is a member of go earlier, or later.
    fn visit_to_change<R>(
        &self,
        proof: D::Proof<'_>,
        wakes: &mut Wakes<W>,
        critical: impl FnOnce(&mut State<W>, Nanos, &mut Wakes<W>) -> R,
    ) -> (R, Changed<W, D>) {
        self.section.with(proof, |inside| {
            let result = self.inside(&mut inside.state, wakes, critical);
            // Relaxed: it is a number by itself, and who needs the truth asks in the section.
            self.largest.store(inside.state.schedule.largest(), Ordering::Relaxed);
            (result, Changed(inside.sets.iter().filter_map(Weak::upgrade).collect()))
        })
    }

    /// The same, and the sets have been told.
    fn change<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut State<W>, Nanos, &mut Wakes<W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let (result, changed) = self.visit_to_change(proof, &mut wakes, critical);
        changed.tell(proof, &mut wakes);
        (wakes, result)
    }

    /// It is a member of that set from now on.
    pub(super) fn join(&self, proof: D::Proof<'_>, set: Weak<Dependent<W, D>>) {
        self.section.with(proof, |Inside { sets, .. }| {
            sets.retain(|known| known.strong_count() > 0);
            sets.push(set);
        });
    }

    /// Another member of a set has changed this one.
    pub(super) fn changed(&self, proof: D::Proof<'_>) -> Changed<W, D> {
        self.section.with(proof, |inside| Changed(inside.sets.iter().filter_map(Weak::upgrade).collect()))
    }

    /// Through the gate, if that is possible. `None`: ask [`Limiter::try_acquire`]. Cannot panic.
    #[inline]
    pub fn pass(&self, proof: D::Proof<'_>, n: Units) -> Option<bool> {
        match self.at_gate(proof, n) {
            Passage::Admitted => Some(true),
            Passage::Refused => {
                Self::count(&self.refused);
                Some(false)
            }
            Passage::Closed => None,
        }
    }

    /// As `pass`, for somebody who waits if it does not go: that is no refusal.
    #[inline]
    pub fn pass_or_wait(&self, proof: D::Proof<'_>, n: Units) -> bool {
        self.at_gate(proof, n) == Passage::Admitted
    }

    #[inline]
    fn at_gate(&self, _proof: D::Proof<'_>, n: Units) -> Passage {
        let Some(gate) = &self.gate else { return Passage::Closed };
        let passage = gate.pass(n, self.clock.now(), !D::Gate::IS_A_LOCK);
        if passage == Passage::Admitted {
            Self::count(&self.admitted);
        }
        passage
    }

    /// Called with a proof at hand: where that keeps others out, counting is a plain addition.
    #[inline]
    fn count(count: &Count) {
        if D::Gate::IS_A_LOCK {
            count.fetch_add(1, Ordering::Relaxed);
        } else {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Takes `n` if it may go now and nobody is before it.
    pub fn try_acquire(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<bool, Refusal>) {
        let (wakes, result) = self.try_or_wait(proof, n);
        if matches!(result, Ok(false)) {
            Self::count(&self.refused);
        }
        (wakes, result)
    }

    /// As `try_acquire`, for somebody who waits if it does not go: that is no refusal.
    pub fn try_or_wait(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<bool, Refusal>) {
        if self.pass_or_wait(proof, n) {
            return (Wakes::none(), Ok(true));
        }
        self.visited(proof, |state, now, _| {
            if state.never_fits(n) {
                return Err(Refusal::NeverFits);
            }
            let goes = state.try_now(n, now);
            state.admitted += u64::from(goes);
            Ok(goes)
        })
    }

    /// Takes `n`, or takes (or keeps) a place in line: while it says `Waiting` the place is held, and `waker` will be woken. One that
    /// cannot be served by its deadline is refused at once, and holds no place.
    pub fn acquire_or_wait(
        &self,
        proof: D::Proof<'_>,
        n: Units,
        place: &mut Place,
        waker: &W,
        deadline: Option<Nanos>,
    ) -> (Wakes<W>, Standing) {
        self.visited(proof, |state, now, wakes| {
            if let Some(ticket) = place.0 {
                if let Some(fetched) = state.fetch(ticket, now, wakes) {
                    place.0 = None;
                    return match fetched {
                        Fetched::Grant => Standing::Granted,
                        Fetched::Unfit => Standing::Refused(Refusal::NeverFits),
                    };
                }
                if state.room.contains(ticket) {
                    return Standing::Waiting(Some(state.room.watch(ticket, state.due)).filter(|&at| at != NEVER));
                }
                place.0 = None; // forgotten after a fork: it comes again
            }
            if let Some(standing) = state.arrive(n, deadline, now) {
                return standing;
            }
            let ticket = state.room.join(waker, n, now);
            place.0 = Some(ticket);
            if state.room.head().is_some_and(|(head, _)| head == ticket) {
                state.due = state.moment(ticket, n);
            }
            Standing::Waiting(Some(state.room.watch(ticket, state.due)).filter(|&at| at != NEVER))
        })
    }

    /// The operation waits no longer. What it had been granted goes back.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn leave(&self, proof: D::Proof<'_>, place: &mut Place) -> Wakes<W> {
        let Some(ticket) = place.0.take() else { return Wakes::none() };
        self.change(proof, |state, now, wakes| {
            if state.room.contains(ticket) {
                state.leave(ticket, now, wakes);
            }
        })
        .0
    }

    /// The waiter cannot come for a while (it runs a signal handler): somebody else keeps time.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_aside(&self, proof: D::Proof<'_>, ticket: Ticket) -> Wakes<W> {
        self.visited(proof, |state, _, wakes| {
            state.room.step_aside(ticket);
            state.room.ring(state.due, wakes);
        })
        .0
    }

    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_back(&self, proof: D::Proof<'_>, ticket: Ticket) -> Wakes<W> {
        self.visited(proof, |state, _, wakes| {
            state.room.step_back(ticket);
            state.room.ring(state.due, wakes);
        })
        .0
    }

    /// Books `n` at the first moment possible, which is at most `max_wait` away.
    pub fn reserve(&self, proof: D::Proof<'_>, n: Units, max_wait: Option<Nanos>) -> (Wakes<W>, Result<Booking, Refusal>) {
        self.visited(proof, |state, now, wakes| {
            if state.never_fits(n) {
                return Err(Refusal::NeverFits);
            }
            let at = state.foresee(n, now);
            let full = state.line_is_full(now).filter(|_| at > now);
            let refusal = match full {
                _ if max_wait.is_some_and(|limit| at - now > limit) => Some(Refusal::Until(at)),
                Some(free) => Some(Refusal::LineFull(free)),
                None => (at == NEVER || !state.can_book(n)).then_some(Refusal::TooFar),
            };
            if let Some(refusal) = refusal {
                state.refused += 1;
                return Err(refusal);
            }
            state.admitted += 1;
            let booking = state.book_at(n, at, false, now);
            state.settle(now, wakes);
            Ok(booking)
        })
    }

    /// Gives a booking back, as far as that is possible; returns how much that was.
    pub fn cancel(&self, proof: D::Proof<'_>, booking: Booking) -> (Wakes<W>, Units) {
        self.change(proof, |state, now, wakes| state.cancel(booking, 0, now, wakes))
    }

    /// What a booking really came to: the difference is given back, as far as that is possible, or charged.
    pub fn adjust(&self, proof: D::Proof<'_>, booking: Booking, actual: Units) -> (Wakes<W>, Result<(), Refusal>) {
        self.change(proof, |state, now, wakes| state.adjust(booking, actual, now, wakes))
    }

    /// Gives `n` back; never above the burst.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn refund(&self, proof: D::Proof<'_>, n: Units) -> Wakes<W> {
        self.change(proof, |state, now, wakes| {
            state.give_back(n, now);
            state.settle(now, wakes);
        })
        .0
    }

    /// Takes `n` without asking.
    pub fn debit(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<(), Refusal>) {
        self.change(proof, |state, now, wakes| {
            if !state.can_book(n) {
                return Err(Refusal::TooFar);
            }
            state.charge(n, now);
            state.settle(now, wakes);
            Ok(())
        })
    }

    /// Another rate, and burst of a bucket or capacity of a shaper, from now on. What is not given stays. `terms` says it as it was told.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn set_pace(
        &self,
        proof: D::Proof<'_>,
        pace: Pace,
        burst: Option<Units>,
        capacity: Option<usize>,
        terms: impl FnOnce(&mut Terms),
    ) -> Wakes<W> {
        self.change(proof, |state, now, wakes| state.set_pace((pace, burst, capacity), terms, now, wakes)).0
    }

    /// The same for a key's limiter, from inside the section of its keyed limiter: the sets are to be told outside.
    pub(super) fn set_pace_inside(
        &self,
        proof: D::Proof<'_>,
        (pace, burst): (Pace, Option<Units>),
        terms: impl FnOnce(&mut Terms),
        wakes: &mut Wakes<W>,
    ) -> Changed<W, D> {
        self.visit_to_change(proof, wakes, |state, now, wakes| state.set_pace((pace, burst, None), terms, now, wakes)).1
    }

    /// Another limit, and period, for a window. What is not given stays. `terms` says it as it was told.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn set_window(
        &self,
        proof: D::Proof<'_>,
        limit: Units,
        period: Option<Nanos>,
        terms: impl FnOnce(&mut Terms),
    ) -> Wakes<W> {
        self.change(proof, |state, now, wakes| {
            if let Schedule::Window(window) = &mut state.schedule {
                window.limit = limit;
                window.period = period.unwrap_or(window.period);
            }
            terms(&mut state.terms);
            state.changed(now, wakes);
        })
        .0
    }

    /// What it was told, last.
    pub fn terms(&self, proof: D::Proof<'_>) -> Terms {
        self.section.with(proof, |inside| inside.state.terms)
    }

    /// Nobody goes before `pause` has passed.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn pause(&self, proof: D::Proof<'_>, pause: Nanos) -> Wakes<W> {
        self.change(proof, |state, now, wakes| {
            state.pause(pause, now, wakes);
        })
        .0
    }

    /// What could be taken now, in units; negative in debt. (A shaper answers as a bucket for one token would.)
    pub fn level(&self, proof: D::Proof<'_>) -> (Wakes<W>, i128) {
        self.visited(proof, |state, now, _| match &mut state.schedule {
            Schedule::Bucket(Bucket { gcra, .. }) if gcra.course.rule == Rule::Spaced => gcra.level(now, self.scale.per_token()),
            Schedule::Bucket(Bucket { gcra, .. }) => gcra.level(now, gcra.course.burst),
            Schedule::Window(window) => window.level(now),
        })
    }

    /// How long until `n` could go, those in line being served first.
    pub fn retry_after(&self, proof: D::Proof<'_>, n: Units) -> (Wakes<W>, Result<Nanos, Refusal>) {
        self.visited(proof, |state, now, _| {
            if state.never_fits(n) {
                return Err(Refusal::NeverFits);
            }
            Ok(match state.foresee(n, now) {
                NEVER => NEVER,
                at => at - now,
            })
        })
    }

    /// Is it more than may ever go at once? Without a visit: whoever tries is told for certain.
    pub fn never_fits(&self, n: Units) -> bool {
        n > self.largest.load(Ordering::Relaxed)
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> (Wakes<W>, Statistics) {
        self.visited(proof, |state, now, _| Statistics {
            admitted: state.admitted + self.admitted.load(Ordering::Relaxed),
            refused: state.refused + self.refused.load(Ordering::Relaxed),
            waited: state.waited,
            waited_for: state.room.blocked.total(now),
            waiters: state.room.waiters(),
        })
    }

    /// Every waker in the line, each once. Grants nobody anything.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, waker: impl FnMut(&W)) {
        self.section.with(proof, |Inside { state, .. }| {
            if state.generation == fork::generation() {
                state.room.wakers().for_each(waker);
            }
        });
    }

    /// Its schedule, if there is nothing else to it: nobody waits, nothing is booked ahead, nothing is paused.
    pub(super) fn if_quiet(&self, proof: D::Proof<'_>) -> (Wakes<W>, Option<Gcra>) {
        self.visited(proof, |state, now, _| match &state.schedule {
            Schedule::Bucket(bucket) if state.is_quiet(now) && state.promises.is_empty() => Some(bucket.gcra),
            _ => None,
        })
    }
}

impl<W: Wake, D: Domain> fmt::Debug for Limiter<W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}
