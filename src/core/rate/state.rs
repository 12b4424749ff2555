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

/// A booking that stands in line.
#[derive(Clone, Copy, Debug)]
pub(super) struct InLine {
    at: Nanos,
    number: u64,
    hold: bool,
}

/// A booking whose moment has not passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Promise {
    InLine(Ticket),
    Taken {
        /// The count of everything taken, when this was.
        mark: i128,
        /// How much of what was taken before it could be given back without making its moment too early.
        slack: Units,
    },
}

/// A booking that a set holds for one in its line. It can be taken back as a grant can; and if nothing has changed since, it can be made
/// never to have been.
#[derive(Debug)]
pub(super) struct Held {
    grant: Grant,
    /// What the count of changes was after it.
    as_of: u64,
    tat: u64,
    returnables: Vec<(Ticket, Units)>,
    held_returnables: Vec<(u64, Units)>,
}

#[derive(Debug)]
pub(super) struct State<W> {
    pub(super) schedule: Schedule,
    pub(super) room: Room<W>,
    pub(super) grants: BTreeMap<Ticket, Grant>,
    /// By the booking's number.
    pub(super) held: BTreeMap<u64, Held>,
    pub(super) promises: BTreeMap<(Nanos, u64), Promise>,
    /// Promises that stand in line.
    pub(super) in_line: BTreeMap<Ticket, InLine>,
    pub(super) next_number: u64,
    /// Units taken so far, less what cancelled bookings gave back.
    pub(super) taken: i128,
    /// The state when the gate was opened.
    pub(super) opened_at: u64,
    /// Counts what changes the schedule.
    pub(super) changes: u64,
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
            held: BTreeMap::new(),
            promises: BTreeMap::new(),
            in_line: BTreeMap::new(),
            next_number: 1,
            taken: 0,
            opened_at: 0,
            changes: 0,
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
        let backlog = self.schedule.backlog(at);
        let held = self.held.values_mut().map(|held| &mut held.grant);
        for grant in self.grants.values_mut().chain(held) {
            if let Grant::Taken { returnable, .. } = grant {
                *returnable = backlog.min(*returnable);
            }
        }
        self.schedule.take(n, at);
        self.changes += 1;
        self.taken += i128::from(n);
    }

    /// What is owed, or used up without anybody having been let through.
    pub(super) fn charge(&mut self, n: Units, now: Nanos) {
        self.schedule.take(n, now);
        self.changes += 1;
    }

    /// Gives `n` back, or as much of it as the law allows for what is booked ahead, after the booking `after`. Returns how much. (What sets
    /// hold for their lines does not count: that is booked anew.)
    fn give_back_behind(&mut self, n: Units, after: u64, now: Nanos) -> Units {
        let Schedule::Gcra(gcra) = &mut self.schedule else { return 0 };
        let ahead = self.promises.range_mut((now + 1, 0)..);
        let ahead = ahead.filter(|((_, number), _)| *number > after && !self.held.contains_key(number));
        let mut slacks: Vec<&mut Units> = ahead
            .filter_map(|(_, promise)| match promise {
                Promise::Taken { slack, .. } => Some(slack),
                Promise::InLine(_) => None,
            })
            .collect();
        let returned = slacks.iter().map(|slack| **slack).fold(n, Units::min);
        slacks.iter_mut().for_each(|slack| **slack -= returned);
        gcra.give_back(returned);
        self.changes += 1;
        returned
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
            if let Some(InLine { at, number, hold }) = self.in_line.remove(&ticket) {
                self.take_booked(n, at, number, hold);
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
            self.room.grant(ticket, at, wakes);
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
        let mut projection = Projection { schedule: self.schedule.clone(), from };
        for (ticket, want) in self.room.waiting() {
            let at = self.in_line.get(&ticket).map_or_else(|| projection.ready_at(want, from), |booked| booked.at);
            projection.take(want, at);
        }
        projection
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
        let booked = self.promises.range((now + 1, 0)..).filter(|(_, promise)| matches!(promise, Promise::Taken { .. }));
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

    fn take_booked(&mut self, n: Units, at: Nanos, number: u64, hold: bool) {
        let returnable = |grant: &Grant| match *grant {
            Grant::Taken { returnable, .. } => Some(returnable),
            Grant::Unfit => None,
        };
        let before = hold.then(|| {
            let grants = self.grants.iter().filter_map(|(&ticket, grant)| Some((ticket, returnable(grant)?)));
            let held = self.held.iter().filter_map(|(&number, held)| Some((number, returnable(&held.grant)?)));
            (self.schedule.tat(), grants.collect(), held.collect())
        });
        let slack = self.schedule.backlog(at);
        self.take(n, at);
        self.promises.insert((at, number), Promise::Taken { mark: self.taken, slack });
        if let Some((tat, returnables, held_returnables)) = before {
            let grant = Grant::Taken { n, at, returnable: n };
            self.held.insert(number, Held { grant, as_of: self.changes, tat, returnables, held_returnables });
        }
    }

    /// Promises `n` at a moment that was foreseen. With `hold` it can be taken back as a grant can, until it is released.
    pub(super) fn book_at(&mut self, n: Units, at: Nanos, hold: bool, nobody: impl FnOnce() -> W) -> Booking {
        let number = self.next_number;
        self.next_number += 1;
        if self.room.nobody_waits() {
            self.take_booked(n, at, number, hold);
        } else {
            let ticket = self.room.book(nobody(), n);
            self.in_line.insert(ticket, InLine { at, number, hold });
            self.promises.insert((at, number), Promise::InLine(ticket));
        }
        Booking { at, units: n, number }
    }

    /// It has been fetched.
    pub(super) fn release(&mut self, booking: Booking) {
        self.held.remove(&booking.number);
    }

    /// Takes a held booking back, whether its moment has come or not.
    pub(super) fn take_back(&mut self, booking: Booking, now: Nanos, wakes: &mut Wakes<W>) {
        let Some(held) = self.held.remove(&booking.number) else {
            self.cancel(booking, 0, now, wakes);
            return;
        };
        self.promises.remove(&(booking.at, booking.number));
        match &mut self.schedule {
            Schedule::Gcra(gcra) if held.as_of == self.changes => {
                gcra.tat = held.tat;
                self.changes -= 1;
                self.taken -= i128::from(booking.units);
                for (ticket, units) in held.returnables {
                    if let Some(Grant::Taken { returnable, .. }) = self.grants.get_mut(&ticket) {
                        *returnable = units;
                    }
                }
                for (number, units) in held.held_returnables {
                    if let Some(Held { grant: Grant::Taken { returnable, .. }, .. }) = self.held.get_mut(&number) {
                        *returnable = units;
                    }
                }
            }
            _ => self.return_grant(held.grant),
        }
        self.not_before = now;
        self.settle(now, wakes);
    }

    fn return_grant(&mut self, grant: Grant) {
        if let Grant::Taken { n, at, returnable } = grant {
            let returned = match &mut self.schedule {
                Schedule::Window(window) => window.withdraw(n, at),
                Schedule::Gcra(gcra) => {
                    gcra.give_back(returnable);
                    returnable
                }
            };
            self.changes += 1;
            self.taken -= i128::from(returned);
        }
    }

    /// Can `n` be booked, at a moment that is not too late to be counted?
    pub(super) fn can_book(&self, n: Units) -> bool {
        self.room.nobody_waits() && self.schedule.can_book(n)
            || self.schedule.can_book(self.room.waiting().fold(n, |sum, (_, want)| sum.saturating_add(want)))
    }

    /// Would `take_back` give all of it back?
    pub(super) fn can_take_back_whole(&self, booking: Booking) -> bool {
        match self.held.get(&booking.number) {
            Some(Held { grant: Grant::Taken { n, returnable, .. }, as_of, .. }) => {
                *as_of == self.changes || n == returnable || matches!(self.schedule, Schedule::Window(_))
            }
            _ => matches!(self.promises.get(&(booking.at, booking.number)), Some(Promise::InLine(_))),
        }
    }

    /// Gives a booking back, as far as that is possible; with `keep` all but so much. Returns how much that was.
    pub(super) fn cancel(&mut self, booking: Booking, keep: Units, now: Nanos, wakes: &mut Wakes<W>) -> Units {
        let Booking { at, units, number } = booking;
        let promise = self.promises.remove(&(at, number)).filter(|_| at >= now);
        let wanted = units - keep;
        let returned = match promise {
            None => 0,
            Some(Promise::InLine(ticket)) => {
                if keep == 0 {
                    self.in_line.remove(&ticket);
                    self.room.leave(ticket, now, wakes);
                } else {
                    self.room.set_want(ticket, keep);
                    self.promises.insert((at, number), Promise::InLine(ticket));
                }
                wanted
            }
            Some(promise @ Promise::Taken { mark, .. }) => {
                let later = Units::try_from((self.taken - mark).max(0)).unwrap_or(Units::MAX);
                let spaced = matches!(&self.schedule, Schedule::Gcra(gcra) if gcra.course.rule == Rule::Spaced);
                let returned = if let Schedule::Window(window) = &mut self.schedule {
                    window.withdraw(wanted, at)
                } else if spaced && later > 0 {
                    0 // in a shaper a gap between two that stay cannot be filled by another at the end
                } else {
                    // x/time/rate's rule: what has been booked after it relies on it.
                    self.give_back_behind(wanted.min(units.saturating_sub(later)), number, now)
                };
                self.taken -= i128::from(returned);
                if keep > 0 {
                    self.promises.insert((at, number), promise);
                }
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
        if let Some(grant) = self.grants.remove(&ticket) {
            self.return_grant(grant);
        }
        self.room.leave(ticket, now, wakes);
        self.not_before = now;
        self.settle(now, wakes);
    }

    /// Gives `n` back that was let through before.
    pub(super) fn give_back(&mut self, n: Units, now: Nanos) {
        if let Schedule::Window(window) = &mut self.schedule {
            window.give_back(n, now);
        } else {
            self.give_back_behind(n, 0, now);
        }
        self.not_before = now;
    }

    /// What a booking came to: the difference is given back, as far as that is possible, or charged.
    pub(super) fn adjust(&mut self, booking: Booking, actual: Units, now: Nanos, wakes: &mut Wakes<W>) -> Result<(), Refusal> {
        if actual > booking.units {
            let more = actual - booking.units;
            if !self.can_book(more) {
                return Err(Refusal::TooFar);
            }
            self.charge(more, now);
        } else if booking.at > now {
            self.cancel(booking, actual, now, wakes);
        } else {
            self.give_back(booking.units - actual, now);
        }
        self.settle(now, wakes);
        Ok(())
    }

    /// Those in line whose amount has become too large are told so.
    pub(super) fn tell_unfit(&mut self, now: Nanos, wakes: &mut Wakes<W>) {
        let largest = self.schedule.largest();
        let unfit: Vec<_> =
            self.room.waiting().filter(|(ticket, n)| *n > largest && !self.in_line.contains_key(ticket)).collect();
        for (ticket, _) in unfit {
            self.grants.insert(ticket, Grant::Unfit);
            self.room.grant(ticket, now, wakes);
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
        self.held.clear();
        self.promises.retain(|_, promise| matches!(promise, Promise::Taken { .. }));
        self.due = NEVER;
    }
}

impl<W: Wake> State<W> {
    /// The law has changed: moments are worked out anew, from now on.
    pub(super) fn changed(&mut self, now: Nanos, wakes: &mut Wakes<W>) {
        self.not_before = now;
        self.changes += 1;
        self.tell_unfit(now, wakes);
        self.settle(now, wakes);
    }
}
