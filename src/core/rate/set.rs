//! `LimitSet`: several limiters taken together, all or none.
//!
//! One visit enters the sections of all members, nested, always in the order in which they were made, so that two sets with common members
//! cannot deadlock. (Their addresses would do, but differ from run to run in a model, which has to repeat itself.)
//!
//! # Algorithm
//! The set has a wait queue of its own. Only its *head* is booked in the members, in all of them for the same moment: the first at which
//! every member allows its amount. (A reservation also books all waiters before it.) In a member that has waiters of its own, the head
//! comes after those that waited there when the head was first booked; so the callers of the set and of its members are served in the order
//! in which they reached the front. At the booked moment the head is granted, and the next waiter is booked, from that moment on. A head
//! that leaves gives its bookings back; the waiters behind it have taken nothing.
//!
//! A booking never moves, so it would not follow a change of a member's rate. Therefore a member that changes notifies its sets (see
//! `limiter`), and a head whose bookings can be given back in full is booked again.

use std::collections::{BTreeMap, TryReserveError, VecDeque};
use std::fmt;

use super::limiter::{Changed, Depends, Limiter};
use super::members::{Bounds, Forecast, MembersInside, Wants};
use super::state::State as Member;
use super::types::{AcquireState, Bookings, Granted, Need, Refusal, Statistics, Waiter};
use super::units::Units;
use super::wait_queue::{NEVER, TimedWaitQueue};
use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::section::{Domain, Section};
use crate::sync::{Arc, Count, Ordering, Shared};
use crate::wait::{Ticket, Wake, Wakes};

/// The time after which the head asks again when there was no memory for its bookings: nobody else may come.
const ASK_AGAIN: Nanos = 10_000_000;

#[derive(Debug)]
pub(super) struct State<W> {
    pub(super) queue: TimedWaitQueue<W>,
    pub(super) wants: BTreeMap<Ticket, Wants>,
    /// The bookings of the head; if a reservation is behind them, of all waiters before it.
    pub(super) booked: VecDeque<(Ticket, Bookings)>,
    pub(super) forecast: Option<Box<Forecast>>,
    /// Moments that reservations have found while no request waited.
    pub(super) bounds: Bounds,
    /// Grants that have not been fetched.
    pub(super) grants: BTreeMap<Ticket, Option<Bookings>>,
    /// No booking is made for an earlier moment: the moment of the last grant, or the last one at which something was given back.
    pub(super) not_before: Nanos,
    pub(super) due: Nanos,
    pub(super) admitted: u64,
    pub(super) refused: u64,
    pub(super) waited: u64,
    pub(super) generation: u64,
}

impl<W: Wake> State<W> {
    /// Grants every waiter whose moment has come, and books the next one.
    fn grant_due(&mut self, held: &mut MembersInside<'_, '_, W>) {
        let mut again = NEVER;
        while let Some((ticket, _)) = self.queue.head() {
            if self.booked.is_empty() {
                match self.book(ticket, held) {
                    Ok(()) => {}
                    Err(Refusal::NoMemory) => {
                        again = held.now.saturating_add(ASK_AGAIN);
                        break;
                    }
                    Err(_) => break, // the total is too large to be counted: a later visit tries again
                }
            }
            if self.booked.front().is_none_or(|(_, bookings)| bookings.at > held.now) {
                break;
            }
            let (_, bookings) = self.booked.pop_front().expect("it was there a line ago");
            self.not_before = bookings.at;
            self.queue.grant(ticket, bookings.at, held.wakes);
            self.grants.insert(ticket, Some(bookings));
        }
        self.due = self.booked.front().map_or(again, |(_, bookings)| bookings.at);
        self.queue.rearm(self.due, held.wakes);
    }

    /// Books the first waiter that is not booked yet.
    fn book(&mut self, ticket: Ticket, held: &mut MembersInside<'_, '_, W>) -> Result<(), Refusal> {
        let from = self.queue.since(ticket).max(self.not_before);
        let from = self.booked.back().map_or(from, |(_, before)| from.max(before.at));
        let Wants { amounts, turns, .. } = self.wants.get_mut(&ticket).expect("it is in the wait queue");
        let turns = turns.get_or_insert_with(|| held.turns());
        let at = held.foresee(amounts, turns, from)?;
        let foreseen = self.wants.get(&ticket).and_then(|wants| wants.foreseen);
        let forecast = self.forecast.take().filter(|forecast| forecast.is_valid(held));
        self.booked.try_reserve(1).map_err(|_| Refusal::NoMemory)?;
        let bookings = held.book(&self.wants[&ticket].amounts, at, true)?;
        self.booked.push_back((ticket, bookings));
        // The forecast stays valid if the waiter goes at the foreseen moment, or earlier because others have left.
        let stays = |forecast: &mut Box<Forecast>| {
            let includes = forecast.last >= Some(ticket);
            if includes { foreseen.is_some_and(|foreseen| at <= foreseen) } else { forecast.try_reserve(1).is_ok() }
        };
        self.forecast = forecast.and_then(|mut forecast| stays(&mut forecast).then_some(forecast));
        if let Some(forecast) = &mut self.forecast {
            if forecast.last < Some(ticket) {
                forecast.take(ticket, &self.wants[&ticket].amounts, at.max(forecast.at));
            }
            forecast.left += usize::from(foreseen.is_some_and(|foreseen| at < foreseen));
            forecast.versions = held.versions().collect();
        }
        Ok(())
    }

    /// Books all waiters.
    fn book_all(&mut self, held: &mut MembersInside<'_, '_, W>) -> Result<(), Refusal> {
        while let Some(ticket) = self.queue.next_waiting(self.last_booked(), |_, _| true) {
            self.book(ticket, held)?;
        }
        Ok(())
    }

    /// The last of the waiters that are booked. They are the first ones of the queue.
    fn last_booked(&self) -> Option<Ticket> {
        self.booked.back().map(|(ticket, _)| *ticket)
    }

    /// The waiters that are not booked.
    pub(super) fn unbooked(&self) -> impl Iterator<Item = Ticket> {
        self.queue.waiting_after(self.last_booked()).map(|(ticket, _)| ticket)
    }

    /// Runs `change`, and records that others may be admitted earlier than was forecast if it gives something back in the members.
    fn goes_earlier(
        &mut self,
        held: &mut MembersInside<'_, '_, W>,
        change: impl FnOnce(&mut Self, &mut MembersInside<'_, '_, W>),
    ) {
        let mut forecast = self.forecast.take().filter(|forecast| forecast.is_valid(held));
        change(self, held);
        if let Some(forecast) = &mut forecast {
            forecast.left += 1;
            forecast.versions = held.versions().collect();
        }
        self.forecast = forecast;
    }

    /// Takes back the bookings of waiters, the last first, as long as they can be given back in full.
    fn unbook(&mut self, held: &mut MembersInside<'_, '_, W>) {
        while let Some((_, last)) = self.booked.back() {
            let mut each = held.members.iter().zip(&last.each);
            if !each.all(|(member, booking)| booking.is_none_or(|booking| member.is_movable(booking, held.now))) {
                break;
            }
            let (_, last) = self.booked.pop_back().expect("it was there a line ago");
            held.take_back(&last);
        }
    }

    /// Called after a member's policy has changed: marks waiters whose amounts are too large now, and books the others again.
    fn book_anew(&mut self, held: &mut MembersInside<'_, '_, W>) {
        self.unbook(held);
        self.forecast = None;
        self.not_before = held.now;
        let mut last = self.last_booked();
        let never_fits = |ticket, held: &MembersInside<'_, '_, W>| held.never_fits(&self.wants[&ticket].amounts).is_err();
        while let Some(ticket) = self.queue.next_waiting(last, |ticket, _| never_fits(ticket, held)) {
            self.grants.insert(ticket, None);
            self.queue.grant(ticket, held.now, held.wakes);
            last = Some(ticket);
        }
        self.grant_due(held);
    }

    fn forget(&mut self, generation: u64) {
        self.generation = generation;
        self.forecast = None;
        self.queue.forget();
        self.wants.clear();
        self.booked.clear();
        self.grants.clear();
        self.due = NEVER;
    }

    fn watch(&mut self, ticket: Ticket) -> AcquireState {
        AcquireState::Waiting(Some(self.queue.watch(ticket, self.due)).filter(|&at| at != NEVER))
    }
}

/// Several limiters taken together, see the head of this file.
pub struct LimitSet<W: Wake, D: Domain> {
    members: Vec<Arc<Limiter<W, D>>>,
    /// The indices of the members, sorted by number, which is the lock order.
    order: Vec<usize>,
    clock: Clock<W>,
    /// Refusals without a visit. Relaxed: a count orders nothing.
    refused_at_once: Count,
    section: Section<State<W>, D>,
}

impl<W: Wake + Send + 'static, D: Domain> LimitSet<W, D> {
    /// Makes a set and registers it with its members, which must be distinct and have the same clock.
    ///
    /// # Errors
    /// There is no memory for one more set in the list of a member.
    pub fn new(proof: D::Proof<'_>, members: Vec<Arc<Limiter<W, D>>>, clock: Clock<W>) -> Result<Shared<Self>, TryReserveError> {
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by_key(|&index| members[index].number);
        let state = State {
            queue: TimedWaitQueue::new(),
            wants: BTreeMap::new(),
            booked: VecDeque::new(),
            forecast: None,
            bounds: Bounds::default(),
            grants: BTreeMap::new(),
            not_before: 0,
            due: NEVER,
            admitted: 0,
            refused: 0,
            waited: 0,
            generation: fork::generation(),
        };
        let set = Shared::new(Self { members, order, clock, refused_at_once: Count::new(0), section: Section::new(state) });
        for member in &set.members {
            member.join(proof, Shared::downgrade(&set) as _)?; // on an error the set is dropped, and those that it has joined ignore it
        }
        Ok(set)
    }
}

impl<W: Wake, D: Domain> LimitSet<W, D> {
    pub fn members(&self) -> &[Arc<Limiter<W, D>>] {
        &self.members
    }

    pub fn clock(&self) -> &Clock<W> {
        &self.clock
    }

    /// Enters the members from `depth` on, nested, and calls `critical` with all of them.
    fn enter<R>(
        &self,
        proof: D::Proof<'_>,
        depth: usize,
        entered: Vec<(usize, &mut Member<W>)>,
        wakes: &mut Wakes<W>,
        critical: impl FnOnce(&mut [&mut Member<W>], &mut Wakes<W>) -> R,
    ) -> R {
        let Some(&index) = self.order.get(depth) else {
            let mut entered = entered;
            entered.sort_by_key(|(index, _)| *index);
            let mut members: Vec<&mut Member<W>> = entered.into_iter().map(|(_, member)| member).collect();
            return critical(&mut members, wakes);
        };
        self.members[index].visit(proof, wakes, |member, _, wakes| {
            let mut entered: Vec<(usize, &mut Member<W>)> = entered;
            entered.push((index, member));
            self.enter(proof, depth + 1, entered, wakes, critical)
        })
    }

    /// Enters the set and all of its members once.
    fn visit<R>(
        &self,
        proof: D::Proof<'_>,
        critical: impl FnOnce(&mut State<W>, &mut MembersInside<'_, '_, W>) -> R,
    ) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.section.with(proof, |state| {
            let entered = Vec::with_capacity(self.members.len());
            self.enter(proof, 0, entered, &mut wakes, |members, wakes| {
                let generation = fork::generation();
                if state.generation != generation {
                    state.forget(generation);
                }
                let mut held = MembersInside { members, now: self.clock.now(), wakes };
                state.grant_due(&mut held);
                critical(state, &mut held)
            })
        });
        (wakes, result)
    }

    /// A visit that changes the amounts that the members have admitted: the other sets of these members are notified.
    fn change<R>(
        &self,
        proof: D::Proof<'_>,
        critical: impl FnOnce(&mut State<W>, &mut MembersInside<'_, '_, W>) -> R,
    ) -> (Wakes<W>, R) {
        let (mut wakes, result) = self.visit(proof, |state, held| {
            // The waiters' bookings are taken back first, so that they can be given back in full.
            state.unbook(held);
            let result = critical(state, held);
            state.book_anew(held);
            result
        });
        self.tell_others(proof, &mut wakes);
        (wakes, result)
    }

    /// Makes the other sets of the members recompute their grants.
    fn tell_others(&self, proof: D::Proof<'_>, wakes: &mut Wakes<W>) {
        let mut changed = Changed::nobody();
        for member in &self.members {
            changed.and(member.changed(proof));
        }
        changed.but(self).tell(proof, wakes);
    }

    /// Takes all amounts if they can be admitted now and no request is waiting. With `or_wait` the caller will wait otherwise, so that it
    /// does not count as refused.
    pub fn try_acquire(&self, proof: D::Proof<'_>, amounts: &[Units], or_wait: bool) -> (Wakes<W>, Result<bool, Refusal>) {
        self.visit(proof, |state, held| {
            held.never_fits(amounts)?;
            held.make_room()?;
            let goes = state.goes_now(amounts, held);
            if goes {
                held.take(amounts);
            }
            state.refused += u64::from(!goes && !or_wait);
            Ok(goes)
        })
    }

    /// Refuses amounts that cannot be admitted within `limit`, and returns the time until they could be, and the index of the member that
    /// determines it. `None`: they can be, or there is another reason to ask [`LimitSet::acquire_or_wait`]; nothing has happened.
    pub fn refuse_beyond(&self, proof: D::Proof<'_>, amounts: &[Units], limit: Nanos) -> (Wakes<W>, Option<(Nanos, usize)>) {
        let (mut wakes, now) = (Wakes::none(), self.clock.now());
        let is_quiet = |state: &mut State<W>| {
            let waits = !state.queue.is_empty() || !state.booked.is_empty() || !state.grants.is_empty();
            !waits && state.generation == fork::generation() && state.not_before <= now
        };
        if !self.section.with(proof, is_quiet) {
            return (wakes, None);
        }
        let mut asked = self.members.iter().zip(amounts).enumerate().filter(|(_, (_, n))| **n > 0);
        let last = asked.try_fold((0, 0), |last, (index, (member, &n))| {
            let after = member.tell_unbooked(proof, n, now, &mut wakes)?;
            Some(if after > last.0 { (after, index) } else { last })
        });
        let last = last.filter(|&(after, _)| after > limit);
        if last.is_some() {
            Limiter::<W, D>::count(&self.refused_at_once);
        }
        (wakes, last)
    }

    /// The index of the member that admits its amount last, after all current waiters: it determines when the amounts can be admitted.
    /// `None` if no member does, because they can be admitted as soon as the waiters before them, or now.
    pub fn last_to_admit(&self, proof: D::Proof<'_>, amounts: &[Units]) -> (Wakes<W>, Option<usize>) {
        self.visit(proof, |state, held| state.last_to_admit(amounts, held))
    }

    /// As [`Limiter::try_book`], for all members.
    pub fn try_book(
        &self,
        proof: D::Proof<'_>,
        amounts: &[Units],
        or_wait: bool,
    ) -> (Wakes<W>, Result<Option<Bookings>, Refusal>) {
        self.visit(proof, |state, held| {
            held.never_fits(amounts)?;
            held.make_room()?;
            let bookings = state.try_now(amounts, held);
            state.refused += u64::from(bookings.is_none() && !or_wait);
            Ok(bookings)
        })
    }

    /// As [`Limiter::acquire_or_wait`], for all members.
    pub fn acquire_or_wait(
        &self,
        proof: D::Proof<'_>,
        amounts: &[Units],
        waiter: &mut Waiter,
        waker: &W,
        deadline: Option<Nanos>,
    ) -> (Wakes<W>, AcquireState) {
        self.visit(proof, |state, held| {
            if let Some(ticket) = waiter.ticket {
                if let Some(grant) = state.grants.remove(&ticket) {
                    state.remove(ticket, held);
                    state.queue.rearm(state.due, held.wakes);
                    waiter.ticket = None;
                    let Some(bookings) = grant else {
                        state.refused += 1;
                        return AcquireState::Refused(held.never_fits(amounts).err().unwrap_or(Refusal::NeverFits));
                    };
                    waiter.granted = Granted::Several(held.release(bookings));
                    state.admitted += 1;
                    state.waited += 1;
                    return AcquireState::Granted;
                }
                if state.queue.contains(ticket) {
                    return state.watch(ticket);
                }
                waiter.ticket = None; // its place was forgotten after a fork: it is an arrival again
            }
            match state.arrive(amounts, deadline, held) {
                Err(refusal) => return AcquireState::Refused(refusal),
                Ok(Some(bookings)) => {
                    waiter.granted = Granted::Several(bookings);
                    return AcquireState::Granted;
                }
                Ok(None) => {}
            }
            let ticket = state.queue.join(waker, 0, held.now);
            state.wants.insert(ticket, Wants { amounts: amounts.into(), turns: None, foreseen: None });
            waiter.ticket = Some(ticket);
            // If this wakes the waiter itself, that costs one spurious attempt.
            state.grant_due(held);
            state.watch(ticket)
        })
    }

    /// Stops waiting. Amounts that were granted or booked are given back.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn leave(&self, proof: D::Proof<'_>, waiter: &mut Waiter) -> Wakes<W> {
        let Some(ticket) = waiter.ticket.take() else { return Wakes::none() };
        let (mut wakes, gave_back) = self.visit(proof, |state, held| {
            if !state.queue.contains(ticket) {
                return false;
            }
            let mut gave_back = false;
            let holds = state.grants.contains_key(&ticket) || state.booked.iter().any(|(holder, _)| *holder == ticket);
            state.goes_earlier(held, |state, held| {
                if !holds {
                    return; // it had taken nothing, and no booking depends on it
                }
                // The waiters behind it come first, so that their bookings can be given back in full.
                state.unbook(held);
                let granted = state.grants.remove(&ticket).flatten();
                let booked = state.booked.iter().position(|(holder, _)| *holder == ticket);
                let booked = booked.and_then(|index| state.booked.remove(index)).map(|(_, bookings)| bookings);
                gave_back = granted.is_some() || booked.is_some();
                for bookings in granted.into_iter().chain(booked) {
                    held.take_back(&bookings);
                }
            });
            state.not_before = held.now;
            state.remove(ticket, held);
            state.grant_due(held);
            gave_back
        });
        if gave_back {
            self.tell_others(proof, &mut wakes);
        }
        wakes
    }

    /// See [`Limiter::step_aside`].
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_aside(&self, proof: D::Proof<'_>, ticket: Ticket) -> Wakes<W> {
        self.visit(proof, |state, held| {
            state.queue.step_aside(ticket);
            state.queue.rearm(state.due, held.wakes);
        })
        .0
    }

    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_back(&self, proof: D::Proof<'_>, ticket: Ticket) -> Wakes<W> {
        self.visit(proof, |state, held| {
            state.queue.step_back(ticket);
            state.queue.rearm(state.due, held.wakes);
        })
        .0
    }

    /// Books all amounts for the first possible moment after all waiters, if that is at most `max_wait` away.
    pub fn reserve(
        &self,
        proof: D::Proof<'_>,
        amounts: &[Units],
        max_wait: Option<Nanos>,
    ) -> (Wakes<W>, Result<Bookings, Refusal>) {
        self.visit(proof, |state, held| {
            held.never_fits(amounts)?;
            let at = state.foresee_booking(amounts, held)?;
            let outcome = if held.is_closed(amounts) || max_wait.is_some_and(|limit| at - held.now > limit) {
                Err(Refusal::Until(at))
            } else {
                state.book_all(held).and_then(|()| held.book(amounts, at, false))
            };
            *if outcome.is_ok() { &mut state.admitted } else { &mut state.refused } += 1;
            outcome
        })
    }

    /// Gives bookings back as far as possible. Returns the amount given back in each member.
    pub fn cancel(&self, proof: D::Proof<'_>, bookings: &Bookings) -> (Wakes<W>, Vec<Units>) {
        self.change(proof, |_, held| held.cancel(bookings))
    }

    /// Reports the amounts actually used, where they are known: see [`Limiter::adjust`]. Returns the amount given back in each member.
    pub fn adjust(
        &self,
        proof: D::Proof<'_>,
        bookings: &Bookings,
        actual: &[Option<Units>],
    ) -> (Wakes<W>, Result<Vec<Units>, Refusal>) {
        self.change(proof, |_, held| {
            let now = held.now;
            let each = held.members.iter_mut().zip(&bookings.each).zip(actual).map(|((member, booking), actual)| {
                match (*booking, *actual) {
                    (Some(booking), Some(actual)) => member.adjust(booking, actual, now, held.wakes),
                    (None, Some(actual)) if actual > 0 && !member.can_book(actual) => Err(Refusal::TooFar),
                    (None, Some(actual)) if actual > 0 => {
                        member.make_room()?;
                        member.charge(actual, now);
                        Ok(0)
                    }
                    _ => Ok(0),
                }
            });
            let each: Vec<_> = each.collect(); // collected first, so that an error of one member does not skip the others
            each.into_iter().collect()
        })
    }

    /// Gives amounts back to the members: see [`Limiter::refund`].
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn refund(&self, proof: D::Proof<'_>, amounts: &[Units]) -> Wakes<W> {
        self.change(proof, |_, held| {
            for (member, &n) in held.members.iter_mut().zip(amounts).filter(|(_, n)| **n > 0) {
                member.give_back(n, held.now);
                member.grant_due(held.now, held.wakes);
            }
        })
        .0
    }

    /// Takes amounts from the members unconditionally, from all or from none: see [`Limiter::debit`].
    pub fn debit(&self, proof: D::Proof<'_>, amounts: &[Units]) -> (Wakes<W>, Result<(), Refusal>) {
        self.change(proof, |_, held| {
            if held.members.iter().zip(amounts).any(|(member, &n)| n > 0 && !member.can_book(n)) {
                return Err(Refusal::TooFar);
            }
            held.make_room()?;
            for (member, &n) in held.members.iter_mut().zip(amounts).filter(|(_, n)| **n > 0) {
                member.charge(n, held.now);
                member.grant_due(held.now, held.wakes);
            }
            Ok(())
        })
    }

    /// Makes every member admit no request until `pause` has passed.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn pause(&self, proof: D::Proof<'_>, pause: Nanos) -> Wakes<W> {
        self.change(proof, |_, held| held.members.iter_mut().for_each(|member| member.pause(pause, held.now, held.wakes))).0
    }

    /// The time until all amounts can be admitted, after all current waiters.
    pub fn retry_after(&self, proof: D::Proof<'_>, amounts: &[Units]) -> (Wakes<W>, Result<Nanos, Refusal>) {
        self.foresee(proof, amounts, Need::Exact)
    }

    /// See [`Limiter::retry_after_at_most`].
    pub fn retry_after_at_most(&self, proof: D::Proof<'_>, amounts: &[Units]) -> (Wakes<W>, Result<Nanos, Refusal>) {
        self.foresee(proof, amounts, Need::AtTheLatest)
    }

    fn foresee(&self, proof: D::Proof<'_>, amounts: &[Units], need: Need) -> (Wakes<W>, Result<Nanos, Refusal>) {
        self.visit(proof, |state, held| {
            held.never_fits(amounts)?;
            Ok(match state.foresee(amounts, need, held)? {
                NEVER => NEVER,
                at => at - held.now,
            })
        })
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> (Wakes<W>, Statistics) {
        self.visit(proof, |state, held| Statistics {
            admitted: state.admitted,
            refused: state.refused + self.refused_at_once.load(Ordering::Relaxed),
            waited: state.waited,
            waited_for: state.queue.blocked.total(held.now),
            waiters: state.queue.waiters(),
        })
    }

    /// Calls `waker` with every waker in the wait queue, once each.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, waker: impl FnMut(&W)) {
        self.section.with(proof, |state| {
            if state.generation == fork::generation() {
                state.queue.wakers().for_each(waker);
            }
        });
    }
}

impl<W: Wake + Send, D: Domain> Depends<W, D> for LimitSet<W, D> {
    fn members_changed(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, State::book_anew).0
    }
}

impl<W: Wake, D: Domain> fmt::Debug for LimitSet<W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitSet").finish_non_exhaustive()
    }
}
