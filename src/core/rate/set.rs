//! `LimitSet`: several limiters taken together, all or none.
//!
//! One visit enters the sections of all members, nested, always in the order of their addresses, so that two sets with common members
//! cannot deadlock.
//!
//! # Algorithm
//! The set has a wait queue of its own. Only its *head* is booked in the members, in all of them for the same moment: the first at which
//! every member allows its amount. (A reservation books everybody who waits before it as well.) In a member that has waiters itself, the
//! head comes after those who waited there when the head was first booked; so callers of the set and of its members are served in the order
//! in which they came to the front. At the booked moment the head is granted, and the next waiter is booked, from that moment on. A head
//! that leaves gives its bookings back; the waiters behind it have taken nothing.
//!
//! A booking is a promise, so it would not move when a member's rate changes. Therefore a member that changes tells its sets (see
//! `limiter`), and a head whose bookings can be given back whole is booked anew.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::limiter::{Changed, Depends, Limiter};
use super::members::{Bookings, Forecast, Held, Wants, first_of_all};
use super::schedule::Projection;
use super::state::State as Member;
use super::types::{Need, Place, Refusal, Standing, Statistics};
use super::units::Units;
use super::wait_queue::{NEVER, TimedWaitQueue};
use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::section::{Domain, Section};
use crate::sync::{Arc, Shared};
use crate::wait::{Ticket, Wake, Wakes};

#[derive(Debug)]
struct State<W> {
    queue: TimedWaitQueue<W>,
    wants: BTreeMap<Ticket, Wants>,
    /// The head's booking; with a reservation behind them, those of everybody before it.
    booked: VecDeque<(Ticket, Bookings)>,
    forecast: Option<Box<Forecast>>,
    /// Granted and not fetched.
    grants: BTreeMap<Ticket, Option<Bookings>>,
    /// No booking is made from before this: the last grant's moment, or when something was given back.
    not_before: Nanos,
    due: Nanos,
    admitted: u64,
    refused: u64,
    waited: u64,
    generation: u64,
}

impl<W: Wake> State<W> {
    /// Grants whoever's time has come, and books the next.
    fn settle(&mut self, held: &mut Held<'_, '_, W>) {
        while let Some((ticket, _)) = self.queue.head() {
            if self.booked.is_empty() && self.book(ticket, held).is_err() {
                break; // too much is owed to be counted: somebody who comes to look tries again
            }
            if self.booked.front().is_none_or(|(_, bookings)| bookings.at > held.now) {
                break;
            }
            let (_, bookings) = self.booked.pop_front().expect("it was there a line ago");
            self.not_before = bookings.at;
            self.queue.grant(ticket, bookings.at, held.wakes);
            self.grants.insert(ticket, Some(bookings));
        }
        self.due = self.booked.front().map_or(NEVER, |(_, bookings)| bookings.at);
        self.queue.rearm(self.due, held.wakes);
    }

    /// Books the first in line that is not booked yet.
    fn book(&mut self, ticket: Ticket, held: &mut Held<'_, '_, W>) -> Result<(), Refusal> {
        let from = self.queue.since(ticket).max(self.not_before);
        let from = self.booked.back().map_or(from, |(_, before)| from.max(before.at));
        let Wants { amounts, turns, .. } = self.wants.get_mut(&ticket).expect("it is in line");
        let turns = turns.get_or_insert_with(|| held.turns());
        let at = held.foresee(amounts, turns, from);
        let foreseen = self.wants.get(&ticket).and_then(|wants| wants.foreseen);
        let forecast = self.forecast.take().filter(|forecast| forecast.is_valid(held));
        let bookings = held.book(&self.wants[&ticket].amounts, at, true)?;
        self.booked.push_back((ticket, bookings));
        // It goes as was foreseen, or earlier, because others have left.
        self.forecast =
            forecast.filter(|forecast| forecast.last < Some(ticket) || foreseen.is_some_and(|foreseen| at <= foreseen));
        if let Some(forecast) = &mut self.forecast {
            if forecast.last < Some(ticket) {
                forecast.take(ticket, &self.wants[&ticket].amounts, at.max(forecast.at));
            }
            forecast.left += usize::from(foreseen.is_some_and(|foreseen| at < foreseen));
            forecast.versions = held.versions().collect();
        }
        Ok(())
    }

    /// Those in line who are not booked.
    fn unbooked(&self) -> impl Iterator<Item = Ticket> {
        self.queue.waiting().skip(self.booked.len()).map(|(ticket, _)| ticket)
    }

    /// What `change` gives back in the members lets others go earlier than was foreseen, if anything.
    fn goes_earlier(&mut self, held: &mut Held<'_, '_, W>, change: impl FnOnce(&mut Self, &mut Held<'_, '_, W>)) {
        let mut forecast = self.forecast.take().filter(|forecast| forecast.is_valid(held));
        change(self, held);
        if let Some(forecast) = &mut forecast {
            forecast.left += 1;
            forecast.versions = held.versions().collect();
        }
        self.forecast = forecast;
    }

    /// Takes back what is booked for those in line, the last first, as far as it can be given back whole.
    fn unbook(&mut self, held: &mut Held<'_, '_, W>) {
        while let Some((_, last)) = self.booked.back() {
            let mut each = held.members.iter().zip(&last.each);
            if !each.all(|(member, booking)| booking.is_none_or(|booking| member.is_movable(booking, held.now))) {
                break;
            }
            let (_, last) = self.booked.pop_back().expect("it was there a line ago");
            held.take_back(&last);
        }
    }

    /// The members' laws have changed: what has become too large is told so, and those who are booked are booked anew.
    fn book_anew(&mut self, held: &mut Held<'_, '_, W>) {
        self.unbook(held);
        self.forecast = None;
        self.not_before = held.now;
        let oversized: Vec<_> = self.unbooked().filter(|ticket| held.never_fits(&self.wants[ticket].amounts).is_err()).collect();
        for ticket in oversized {
            self.grants.insert(ticket, None);
            self.queue.grant(ticket, held.now, held.wakes);
        }
        self.settle(held);
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

    fn watch(&mut self, ticket: Ticket) -> Standing {
        Standing::Waiting(Some(self.queue.watch(ticket, self.due)).filter(|&at| at != NEVER))
    }
}

/// LimitSet limiters, see the head of this file.
pub struct LimitSet<W: Wake, D: Domain> {
    members: Vec<Arc<Limiter<W, D>>>,
    /// The members' indices, by address.
    order: Vec<usize>,
    clock: Clock<W>,
    section: Section<State<W>, D>,
}

impl<W: Wake + Send + 'static, D: Domain> LimitSet<W, D> {
    /// The members are different from each other, and have the same clock. They know it from now on.
    pub fn new(proof: D::Proof<'_>, members: Vec<Arc<Limiter<W, D>>>, clock: Clock<W>) -> Shared<Self> {
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by_key(|&index| Arc::as_ptr(&members[index]).addr());
        let state = State {
            queue: TimedWaitQueue::new(),
            wants: BTreeMap::new(),
            booked: VecDeque::new(),
            forecast: None,
            grants: BTreeMap::new(),
            not_before: 0,
            due: NEVER,
            admitted: 0,
            refused: 0,
            waited: 0,
            generation: fork::generation(),
        };
        let set = Shared::new(Self { members, order, clock, section: Section::new(state) });
        for member in &set.members {
            member.join(proof, Shared::downgrade(&set) as _);
        }
        set
    }
}

impl<W: Wake, D: Domain> LimitSet<W, D> {
    pub fn members(&self) -> &[Arc<Limiter<W, D>>] {
        &self.members
    }

    pub fn clock(&self) -> &Clock<W> {
        &self.clock
    }

    /// Enters the members from `depth` on, inside each other, and calls `critical` with all of them.
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

    /// One visit to the set and all of its members.
    fn visit<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut State<W>, &mut Held<'_, '_, W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.section.with(proof, |state| {
            let entered = Vec::with_capacity(self.members.len());
            self.enter(proof, 0, entered, &mut wakes, |members, wakes| {
                let generation = fork::generation();
                if state.generation != generation {
                    state.forget(generation);
                }
                let mut held = Held { members, now: self.clock.now(), wakes };
                state.settle(&mut held);
                critical(state, &mut held)
            })
        });
        (wakes, result)
    }

    /// A visit that changes what the members have let through: the other sets that they are in are told.
    fn change<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut State<W>, &mut Held<'_, '_, W>) -> R) -> (Wakes<W>, R) {
        let (mut wakes, result) = self.visit(proof, |state, held| {
            // First what is booked for those in line, so that all of it can be given back.
            state.unbook(held);
            let result = critical(state, held);
            state.book_anew(held);
            result
        });
        self.tell_others(proof, &mut wakes);
        (wakes, result)
    }

    /// The other sets that the members are in look again.
    fn tell_others(&self, proof: D::Proof<'_>, wakes: &mut Wakes<W>) {
        let mut changed = Changed::nobody();
        for member in &self.members {
            changed.and(member.changed(proof));
        }
        changed.but(self).tell(proof, wakes);
    }

    /// Takes everything if it may go now and nobody is before it. For somebody who waits if it does not a refusal is none.
    pub fn try_acquire(&self, proof: D::Proof<'_>, amounts: &[Units], or_wait: bool) -> (Wakes<W>, Result<bool, Refusal>) {
        self.visit(proof, |state, held| {
            held.never_fits(amounts)?;
            let goes = state.try_now(amounts, held);
            state.refused += u64::from(!goes && !or_wait);
            Ok(goes)
        })
    }

    /// As [`Limiter::acquire_or_wait`], for all members.
    pub fn acquire_or_wait(
        &self,
        proof: D::Proof<'_>,
        amounts: &[Units],
        place: &mut Place,
        waker: &W,
        deadline: Option<Nanos>,
    ) -> (Wakes<W>, Standing) {
        self.visit(proof, |state, held| {
            if let Some(ticket) = place.0 {
                if let Some(grant) = state.grants.remove(&ticket) {
                    state.remove(ticket, held);
                    state.queue.rearm(state.due, held.wakes);
                    place.0 = None;
                    let Some(bookings) = grant else {
                        state.refused += 1;
                        return Standing::Refused(held.never_fits(amounts).err().unwrap_or(Refusal::NeverFits));
                    };
                    held.release(&bookings);
                    state.admitted += 1;
                    state.waited += 1;
                    return Standing::Granted;
                }
                if state.queue.contains(ticket) {
                    return state.watch(ticket);
                }
                place.0 = None; // forgotten after a fork: it comes again
            }
            if let Some(standing) = state.arrive(amounts, deadline, held) {
                return standing;
            }
            let ticket = state.queue.join(waker, 0, held.now);
            state.wants.insert(ticket, Wants { amounts: amounts.into(), turns: None, foreseen: None });
            place.0 = Some(ticket);
            // Its own wake-up, should it be nudged here, costs it one look.
            state.settle(held);
            state.watch(ticket)
        })
    }

    /// The operation waits no longer. What it had been granted, or booked, goes back.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn leave(&self, proof: D::Proof<'_>, place: &mut Place) -> Wakes<W> {
        let Some(ticket) = place.0.take() else { return Wakes::none() };
        let (mut wakes, gave_back) = self.visit(proof, |state, held| {
            if !state.queue.contains(ticket) {
                return false;
            }
            let mut gave_back = false;
            let holds = state.grants.contains_key(&ticket) || state.booked.iter().any(|(holder, _)| *holder == ticket);
            state.goes_earlier(held, |state, held| {
                if !holds {
                    return; // it had taken nothing, and stood behind whoever is booked
                }
                // First those behind it, so that all of it can be given back.
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
            state.settle(held);
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

    /// Books everything for the first moment possible, which is at most `max_wait` away, and after everybody who waits.
    pub fn reserve(
        &self,
        proof: D::Proof<'_>,
        amounts: &[Units],
        max_wait: Option<Nanos>,
    ) -> (Wakes<W>, Result<Bookings, Refusal>) {
        self.visit(proof, |state, held| {
            held.never_fits(amounts)?;
            let at = state.foresee(amounts, Need::Exact, held);
            let outcome = if max_wait.is_some_and(|limit| at - held.now > limit) {
                Err(Refusal::Until(at))
            } else {
                let waiting: Vec<_> = state.unbooked().collect();
                let booked = waiting.into_iter().try_for_each(|ticket| state.book(ticket, held));
                booked.and_then(|()| held.book(amounts, at, false))
            };
            *if outcome.is_ok() { &mut state.admitted } else { &mut state.refused } += 1;
            outcome
        })
    }

    /// Gives bookings back, as far as that is possible; returns how much of each that was.
    pub fn cancel(&self, proof: D::Proof<'_>, bookings: &Bookings) -> (Wakes<W>, Vec<Units>) {
        self.change(proof, |_, held| held.cancel(bookings))
    }

    /// What bookings really came to, where that is known: see [`Limiter::adjust`].
    pub fn adjust(&self, proof: D::Proof<'_>, bookings: &Bookings, actual: &[Option<Units>]) -> (Wakes<W>, Result<(), Refusal>) {
        self.change(proof, |_, held| {
            let (now, mut outcome) = (held.now, Ok(()));
            for ((member, booking), actual) in held.members.iter_mut().zip(&bookings.each).zip(actual) {
                let result = match (*booking, *actual) {
                    (Some(booking), Some(actual)) => member.adjust(booking, actual, now, held.wakes),
                    (None, Some(actual)) if actual > 0 && !member.can_book(actual) => Err(Refusal::TooFar),
                    (None, Some(actual)) if actual > 0 => {
                        member.charge(actual, now);
                        Ok(())
                    }
                    _ => Ok(()),
                };
                outcome = outcome.and(result);
            }
            outcome
        })
    }

    /// Gives amounts back to the members: see [`Limiter::refund`].
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn refund(&self, proof: D::Proof<'_>, amounts: &[Units]) -> Wakes<W> {
        self.change(proof, |_, held| {
            for (member, &n) in held.members.iter_mut().zip(amounts).filter(|(_, n)| **n > 0) {
                member.give_back(n, held.now);
                member.settle(held.now, held.wakes);
            }
        })
        .0
    }

    /// Takes amounts of the members without asking, of all or of none: see [`Limiter::debit`].
    pub fn debit(&self, proof: D::Proof<'_>, amounts: &[Units]) -> (Wakes<W>, Result<(), Refusal>) {
        self.change(proof, |_, held| {
            if held.members.iter().zip(amounts).any(|(member, &n)| n > 0 && !member.can_book(n)) {
                return Err(Refusal::TooFar);
            }
            for (member, &n) in held.members.iter_mut().zip(amounts).filter(|(_, n)| **n > 0) {
                member.charge(n, held.now);
                member.settle(held.now, held.wakes);
            }
            Ok(())
        })
    }

    /// Nobody goes to any member before `pause` has passed.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn pause(&self, proof: D::Proof<'_>, pause: Nanos) -> Wakes<W> {
        self.change(proof, |_, held| held.members.iter_mut().for_each(|member| member.pause(pause, held.now, held.wakes))).0
    }

    /// How long until everything could go, those in line being served first.
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
            Ok(match state.foresee(amounts, need, held) {
                NEVER => NEVER,
                at => at - held.now,
            })
        })
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> (Wakes<W>, Statistics) {
        self.visit(proof, |state, held| Statistics {
            admitted: state.admitted,
            refused: state.refused,
            waited: state.waited,
            waited_for: state.queue.blocked.total(held.now),
            waiters: state.queue.waiters(),
        })
    }

    /// Every waker in the line, each once.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, waker: impl FnMut(&W)) {
        self.section.with(proof, |state| {
            if state.generation == fork::generation() {
                state.queue.wakers().for_each(waker);
            }
        });
    }
}

impl<W: Wake> State<W> {
    fn try_now(&mut self, amounts: &[Units], held: &mut Held<'_, '_, W>) -> bool {
        let goes = self.queue.nobody_waits() && held.may_go(amounts);
        if goes {
            let now = held.now;
            held.members.iter_mut().zip(amounts).filter(|(_, n)| **n > 0).for_each(|(member, &n)| member.take(n, now));
            self.admitted += 1;
        }
        goes
    }

    /// Takes everything, or foresees and refuses; `None`: it may take a place in line.
    fn arrive(&mut self, amounts: &[Units], deadline: Option<Nanos>, held: &mut Held<'_, '_, W>) -> Option<Standing> {
        if let Err(refusal) = held.never_fits(amounts) {
            return Some(Standing::Refused(refusal));
        }
        if self.try_now(amounts, held) {
            return Some(Standing::Granted);
        }
        let deadline = deadline?;
        if self.foresee(amounts, Need::AtTheLatest, held) <= deadline {
            return None;
        }
        let at = Some(self.foresee(amounts, Need::Exact, held)).filter(|at| *at > deadline)?;
        self.refused += 1;
        Some(Standing::Refused(Refusal::Until(at)))
    }

    /// When it could be admitted, after everybody in the queue.
    fn foresee(&mut self, amounts: &[Units], need: Need, held: &mut Held<'_, '_, W>) -> Nanos {
        let from = held.now.max(self.not_before);
        let from = self.booked.back().map_or(from, |(_, last)| from.max(last.at));
        if self.unbooked().next().is_none() {
            let turns = held.turns();
            return held.foresee(amounts, &turns, from);
        }
        let waiting = self.queue.waiting_len();
        let mut forecast = self.forecast.take().filter(|forecast| {
            let outdated = forecast.left > 0 && (need == Need::Exact || forecast.left * 2 > waiting);
            !outdated && forecast.is_valid(held)
        });
        let mut forecast = forecast.take().unwrap_or_else(|| {
            let members = held.members.iter().map(|member| member.project(member.turn(), held.now)).collect();
            let last = self.booked.back().map(|(ticket, _)| *ticket);
            Box::new(Forecast { members, last, at: from, left: 0, versions: held.versions().collect() })
        });
        let ready_at = |members: &mut [Projection], amounts: &[Units], from: Nanos| {
            first_of_all(members, amounts, from, |member, n, from| member.ready_at(n, from))
        };
        forecast.at = forecast.at.max(from);
        for (ticket, _) in self.queue.waiting_after(forecast.last) {
            let wants = self.wants.get_mut(&ticket).expect("it is in the queue");
            let at = ready_at(&mut forecast.members, &wants.amounts, forecast.at);
            forecast.take(ticket, &wants.amounts, at);
            wants.foreseen = Some(at);
        }
        let at = ready_at(&mut forecast.members, amounts, forecast.at);
        self.forecast = Some(forecast);
        at
    }

    fn remove(&mut self, ticket: Ticket, held: &mut Held<'_, '_, W>) {
        self.wants.remove(&ticket);
        self.queue.leave(ticket, held.now, held.wakes);
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
