//! `State`: everything a limiter knows. Only ever touched inside its section.
//!
//! | in line   | event                                        | next        | also                                              |
//! |-----------|----------------------------------------------|-------------|---------------------------------------------------|
//! | -         | arrives, somebody waits or it does not fit    | waiting     | a place in the line                               |
//! | -         | a reservation behind a line                   | booked      | a place that nobody waits in, with a fixed moment |
//! | waiting   | at the head, and its moment has come (`settle`) | granted   | taken from the schedule, dated with that moment   |
//! | waiting   | leaves                                        | -           | nothing had been taken                            |
//! | waiting   | the burst falls below its amount              | unfit       | told so when it comes                             |
//! | booked    | at the head (`settle`)                        | -           | taken from the schedule for its moment            |
//! | granted   | comes                                         | -           | has it                                            |
//! | granted   | leaves                                        | -           | gives back what can still be given back           |

use std::collections::BTreeMap;

use super::gcra::Rule;
use super::room::{NEVER, Room};
use super::schedule::{Projection, Schedule};
use super::units::Units;
use crate::clock::Nanos;
use crate::fork;
use crate::wait::{Ticket, Wake, Wakes};

/// Why something did not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not before this moment, as far as can be foreseen.
    Until(Nanos),
    /// The line is as long as it may be; a place becomes free about then.
    LineFull(Nanos),
    /// More than may ever go at once.
    NeverFits,
    /// So much is booked or owed that it cannot be counted.
    TooFar,
}

/// Where an operation stands that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Granted,
    /// It has a place in line, and has to come by itself at this moment, if any.
    Waiting(Option<Nanos>),
    Refused(Refusal),
}

/// The place, if any, that one operation holds in the line.
#[derive(Debug, Default)]
pub struct Place(pub(super) Option<Ticket>);

impl Place {
    pub fn ticket(&self) -> Option<Ticket> {
        self.0
    }
}

/// A promise: `units` may go at `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booking {
    pub at: Nanos,
    pub units: Units,
    pub(super) number: u64,
}

impl Booking {
    /// Of nothing, now: there is nothing to wait for and nothing to give back.
    pub fn nothing(now: Nanos) -> Self {
        Self { at: now, units: 0, number: u64::MAX }
    }
}

/// What a limiter has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub admitted: u64,
    pub refused: u64,
    /// Admitted after a wait.
    pub waited: u64,
    /// Summed over all waits, those still going on too.
    pub waited_for: Nanos,
    pub waiters: usize,
}

/// What somebody in line has been given and has not fetched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Grant {
    Taken {
        n: Units,
        at: Nanos,
        /// How much of it could still be given back.
        returnable: Units,
    },
    /// A change of the burst has made it too large.
    Unfit,
}

/// A booking whose moment has not passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Promise {
    InLine(Ticket),
    /// Taken from the schedule when its count of everything taken stood here.
    Taken(i128),
}

#[derive(Debug)]
pub(super) struct State<W> {
    pub(super) schedule: Schedule,
    pub(super) room: Room<W>,
    pub(super) grants: BTreeMap<Ticket, Grant>,
    pub(super) promises: BTreeMap<(Nanos, u64), Promise>,
    /// Promises that stand in line.
    pub(super) in_line: BTreeMap<Ticket, (Nanos, u64)>,
    pub(super) next_number: u64,
    /// Units taken so far, less what cancelled bookings gave back.
    pub(super) taken: i128,
    /// The state when the gate was opened.
    pub(super) opened_at: u64,
    pub(super) paused_until: Nanos,
    /// No grant is dated before this: something was given back then, or changed.
    pub(super) not_before: Nanos,
    /// The head's time.
    pub(super) due: Nanos,
    pub(super) capacity: usize,
    pub(super) admitted: u64,
    pub(super) refused: u64,
    pub(super) waited: u64,
    pub(super) generation: u64,
}

impl<W: Wake> State<W> {
    pub(super) fn new(schedule: Schedule, capacity: usize) -> Self {
        Self {
            schedule,
            room: Room::new(),
            grants: BTreeMap::new(),
            promises: BTreeMap::new(),
            in_line: BTreeMap::new(),
            next_number: 0,
            taken: 0,
            opened_at: 0,
            paused_until: 0,
            not_before: 0,
            due: NEVER,
            capacity,
            admitted: 0,
            refused: 0,
            waited: 0,
            generation: fork::generation(),
        }
    }

    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        if let Schedule::Gcra(gcra) = &self.schedule {
            if !self.grants.is_empty() {
                let backlog = gcra.backlog(at);
                for grant in self.grants.values_mut() {
                    if let Grant::Taken { returnable, .. } = grant {
                        *returnable = backlog.min(*returnable);
                    }
                }
            }
        }
        self.schedule.take(n, at);
        self.taken += i128::from(n);
    }

    /// The moment of the waiter at the head.
    pub(super) fn moment(&self, ticket: Ticket, n: Units) -> Nanos {
        let from = self.room.since(ticket).max(self.paused_until).max(self.not_before);
        self.schedule.ready_at(n, from)
    }

    /// Grants whoever's time has come, in order, each dated with its own moment. Call it first in every visit, and after every change.
    pub(super) fn settle(&mut self, now: Nanos, wakes: &mut Wakes<W>) {
        self.due = NEVER;
        while let Some((ticket, n)) = self.room.head() {
            if let Some(key) = self.in_line.remove(&ticket) {
                self.take(n, key.0);
                self.promises.insert(key, Promise::Taken(self.taken));
                self.room.leave(ticket, now, wakes);
                continue;
            }
            let at = self.moment(ticket, n);
            if at > now {
                self.due = at;
                break;
            }
            self.take(n, at);
            self.grants.insert(ticket, Grant::Taken { n, at, returnable: n });
            self.room.grant(ticket, wakes);
        }
        while let Some(first) = self.promises.first_entry() {
            if first.key().0 >= now || matches!(first.get(), Promise::InLine(_)) {
                break;
            }
            first.remove();
        }
        self.room.ring(self.due, wakes);
    }

    /// The schedule as it will be when everybody in line has been granted.
    pub(super) fn project(&self, now: Nanos) -> Projection {
        let from = now.max(self.paused_until).max(self.not_before);
        let mut schedule = self.schedule.clone();
        for (ticket, want) in self.room.waiting() {
            let at = self.in_line.get(&ticket).map_or_else(|| schedule.ready_at(want, from), |&(at, _)| at);
            schedule.take(want, at);
        }
        Projection { schedule, from }
    }

    /// When `n` more could go after everybody in line.
    pub(super) fn foresee(&self, n: Units, now: Nanos) -> Nanos {
        if self.room.nobody_waits() {
            return self.schedule.ready_at(n, now.max(self.paused_until).max(self.not_before));
        }
        self.project(now).ready_at(n, now)
    }

    /// May `n` go now, nobody being before it?
    pub(super) fn may_go(&mut self, n: Units, now: Nanos) -> bool {
        self.room.nobody_waits() && now >= self.paused_until && self.schedule.fits(n, now)
    }

    pub(super) fn never_fits(&self, n: Units) -> bool {
        n > self.schedule.largest()
    }

    pub(super) fn try_now(&mut self, n: Units, now: Nanos) -> bool {
        let goes = self.may_go(n, now);
        if goes {
            self.take(n, now);
        }
        goes
    }

    /// If as many stand in line as may: when one of them will be gone.
    pub(super) fn line_is_full(&self, now: Nanos) -> Option<Nanos> {
        if self.capacity == usize::MAX {
            return None;
        }
        let booked = self.promises.range((now + 1, 0)..).filter(|(_, promise)| matches!(promise, Promise::Taken(_)));
        let first_booked = booked.clone().next().map_or(NEVER, |(&(at, _), _)| at);
        (self.room.waiting().count() + booked.count() >= self.capacity)
            .then(|| if self.capacity == 0 { self.foresee(0, now) } else { first_booked.min(self.due) })
    }

    /// Takes, or foresees and refuses; `None`: it may take a place in line.
    pub(super) fn arrive(&mut self, n: Units, deadline: Option<Nanos>, now: Nanos) -> Option<Standing> {
        if self.never_fits(n) {
            return Some(Standing::Refused(Refusal::NeverFits));
        }
        if self.try_now(n, now) {
            self.admitted += 1;
            return Some(Standing::Granted);
        }
        let refusal = match (self.line_is_full(now), deadline) {
            (Some(at), _) => Refusal::LineFull(at),
            (None, None) => return None,
            (None, Some(deadline)) => match self.foresee(n, now) {
                at if at <= deadline => return None,
                at => Refusal::Until(at),
            },
        };
        self.refused += 1;
        Some(Standing::Refused(refusal))
    }

    /// Promises `n` at the first moment that is possible, but not before `from`.
    pub(super) fn book_at(&mut self, n: Units, at: Nanos, now: Nanos, nobody: impl FnOnce() -> W) -> Booking {
        let number = self.next_number;
        self.next_number += 1;
        let promise = if self.room.nobody_waits() {
            self.take(n, at);
            Promise::Taken(self.taken)
        } else {
            let ticket = self.room.book(nobody(), n);
            self.in_line.insert(ticket, (at, number));
            Promise::InLine(ticket)
        };
        if at >= now {
            self.promises.insert((at, number), promise);
        }
        Booking { at, units: n, number }
    }

    /// Can `n` be booked, at a moment that is not too late to be counted?
    pub(super) fn can_book(&self, n: Units) -> bool {
        self.room.nobody_waits() && self.schedule.can_book(n)
            || self.schedule.can_book(self.room.waiting().fold(n, |sum, (_, want)| sum.saturating_add(want)))
    }

    /// Would `cancel` give all of it back?
    pub(super) fn can_give_back_whole(&self, booking: Booking) -> bool {
        match self.promises.get(&(booking.at, booking.number)) {
            None => false,
            Some(Promise::InLine(_)) => true,
            Some(Promise::Taken(mark)) => matches!(self.schedule, Schedule::Window(_)) || *mark == self.taken,
        }
    }

    pub(super) fn cancel(&mut self, booking: Booking, now: Nanos, wakes: &mut Wakes<W>) -> Units {
        let Booking { at, units, number } = booking;
        let returned = match self.promises.remove(&(at, number)) {
            None => 0,
            Some(_) if at < now => 0,
            Some(Promise::InLine(ticket)) => {
                self.in_line.remove(&ticket);
                self.room.leave(ticket, now, wakes);
                units
            }
            Some(Promise::Taken(mark)) => {
                let later = Units::try_from((self.taken - mark).max(0)).unwrap_or(Units::MAX);
                let returned = match &mut self.schedule {
                    Schedule::Window(window) => window.withdraw(units, at),
                    Schedule::Gcra(gcra) => {
                        let spaced = gcra.course.rule == Rule::Spaced;
                        // In a shaper a gap between two that stay cannot be filled by another at the end.
                        let returned = if spaced && later > 0 { 0 } else { units.saturating_sub(later) };
                        gcra.give_back(returned);
                        returned
                    }
                };
                self.taken -= i128::from(returned);
                returned
            }
        };
        if returned > 0 {
            self.not_before = now;
        }
        self.settle(now, wakes);
        returned
    }

    pub(super) fn leave(&mut self, ticket: Ticket, now: Nanos, wakes: &mut Wakes<W>) {
        self.settle(now, wakes);
        if let Some(Grant::Taken { n, at, returnable }) = self.grants.remove(&ticket) {
            match &mut self.schedule {
                Schedule::Gcra(gcra) => gcra.give_back(returnable),
                Schedule::Window(window) => drop(window.withdraw(n, at)),
            }
        }
        self.room.leave(ticket, now, wakes);
        self.not_before = now;
        self.settle(now, wakes);
    }

    pub(super) fn give_back(&mut self, n: Units, now: Nanos) {
        match &mut self.schedule {
            Schedule::Gcra(gcra) => gcra.give_back(n),
            Schedule::Window(window) => window.give_back(n, now),
        }
        self.not_before = now;
    }

    /// Those in line whose amount has become too large are told so.
    pub(super) fn tell_unfit(&mut self, wakes: &mut Wakes<W>) {
        let largest = self.schedule.largest();
        let unfit: Vec<_> =
            self.room.waiting().filter(|(ticket, n)| *n > largest && !self.in_line.contains_key(ticket)).collect();
        for (ticket, _) in unfit {
            self.grants.insert(ticket, Grant::Unfit);
            self.room.grant(ticket, wakes);
        }
    }

    /// Every wait in the line is the parent's.
    #[cold]
    #[inline(never)]
    pub(super) fn forget(&mut self, generation: u64) {
        self.generation = generation;
        self.room.forget();
        self.grants.clear();
        self.in_line.clear();
        self.promises.retain(|_, promise| matches!(promise, Promise::Taken(_)));
        self.due = NEVER;
    }
}

impl<W: Wake> State<W> {
    /// The law has changed: moments are worked out anew, from now on.
    pub(super) fn changed(&mut self, now: Nanos, wakes: &mut Wakes<W>) {
        self.not_before = now;
        self.tell_unfit(wakes);
        self.settle(now, wakes);
    }
}
