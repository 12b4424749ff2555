//! `State`: everything that a limiter's section guards.
//!
//! | waiter    | event                                           | next      | what else happens                               |
//! |-----------|-------------------------------------------------|-----------|-------------------------------------------------|
//! | -         | arrives; somebody waits or it does not fit      | waiting   | it gets a place in the queue                    |
//! | waiting   | is the head, and its moment has come (`settle`) | granted   | taken from the schedule, dated with that moment |
//! | waiting   | leaves                                          | -         | nothing had been taken                          |
//! | waiting   | the burst falls below its amount                | oversized | it is told so when it comes                     |
//! | granted   | comes                                           | -         | it has the amount                               |
//! | granted   | leaves                                          | -         | what can still be given back is given back      |
//!
//! A booking is a promise of a moment. If the schedule itself gives that moment, the booking is in the schedule from the start; otherwise
//! it is kept as a `FutureBooking` (see `bucket`) until its moment. The bookings of a window are in its log.

use std::collections::{BTreeMap, BTreeSet};

use super::bucket::FutureBooking;
use super::gcra::Rule;
use super::lowwater::{LowWater, Taking};
use super::schedule::{Projection, Schedule};
use super::types::{Booking, Need, Refusal, Standing, Terms};
use super::units::{Rate, Units};
use super::wait_queue::{NEVER, TimedWaitQueue};
use crate::clock::Nanos;
use crate::fork;
use crate::wait::{Ticket, Wake, Wakes};

/// A position in the queue: behind this waiter and everybody before it.
pub(super) type Turn = Option<Ticket>;

/// Owner of a grant: a waiter in this line, or a booking that a set holds for a waiter in its own line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    Waiter(Ticket),
    Booking(u64),
}

/// A grant that its owner has not fetched yet.
#[derive(Clone, Copy, Debug)]
struct Grant {
    n: Units,
    taking: Taking,
}

type UnclaimedGrants = BTreeMap<Whose, Grant>;

/// What a waiter fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    Grant,
    /// A change of the burst has made the amount too large.
    Oversized,
}

/// The schedule as it will be when everybody in the queue has been granted, kept for the next who asks.
#[derive(Debug)]
struct Forecast {
    projection: Projection,
    /// The last waiter that it counts.
    last: Turn,
    /// How many have left, or given something back, since it was made. With any of them it says when at the latest.
    left: usize,
}

/// A booking whose moment has not passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    n: Units,
    /// Its position in the schedule: the total taken when it was taken, plus what was still available to others then.
    mark: Option<i128>,
    /// The largest part of it that can still be given back.
    returnable: Units,
}

#[derive(Debug)]
pub(super) struct State<W> {
    pub(super) schedule: Schedule,
    pub(super) terms: Terms,
    pub(super) queue: TimedWaitQueue<W>,
    unclaimed: UnclaimedGrants,
    /// How much can be given back of earlier takings.
    low_water: LowWater,
    oversized: BTreeSet<Ticket>,
    /// By moment and number.
    pub(super) promises: BTreeMap<(Nanos, u64), Promise>,
    /// The numbers of the bookings that sets hold for their own waiters.
    held: BTreeSet<u64>,
    next_number: u64,
    forecast: Option<Box<Forecast>>,
    /// Counts the changes that a forecast of a set has not foreseen.
    pub(super) version: u64,
    /// Units taken so far, less what cancelled bookings gave back.
    pub(super) taken: i128,
    /// The `tat` at which the fast path was opened.
    pub(super) opened_at: u64,
    pub(super) paused_until: Nanos,
    /// No grant is dated before this moment, at which something was given back or changed.
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
    pub(super) fn new(schedule: Schedule, terms: Terms, capacity: usize) -> Self {
        Self {
            schedule,
            terms,
            queue: TimedWaitQueue::new(),
            unclaimed: BTreeMap::new(),
            low_water: LowWater::new(),
            oversized: BTreeSet::new(),
            promises: BTreeMap::new(),
            held: BTreeSet::new(),
            next_number: 0,
            forecast: None,
            version: 0,
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

    /// The schedule is now the whole state: nobody waits, nothing is booked or paused.
    pub(super) fn is_quiet(&self, now: Nanos) -> bool {
        let plain = matches!(&self.schedule, Schedule::Bucket(bucket) if bucket.is_plain());
        plain && self.queue.is_empty() && self.unclaimed.is_empty() && now >= self.paused_until
    }

    /// The fast path has admitted what moved `tat` to this position, at moments up to `now`.
    pub(super) fn passed(&mut self, (tat, busy_from): (u64, u64), now: Nanos) {
        if tat == self.opened_at {
            return;
        }
        // The least that any of them can have found: what was there when the fast path was opened, as far as it has not been worked off by now.
        self.number_taking(now);
        self.taken += i128::from(tat) - i128::from(self.opened_at);
        self.goes_later();
        if let Schedule::Bucket(bucket) = &mut self.schedule {
            bucket.gcra.moved(tat, busy_from);
        }
    }

    /// Something has happened after which others go later than was foreseen.
    fn goes_later(&mut self) {
        self.version += 1;
        self.forecast = None;
    }

    /// Something has been given back, or somebody has left: others go earlier than was foreseen, if anything.
    fn goes_earlier(&mut self) {
        self.version += 1;
        if let Some(forecast) = &mut self.forecast {
            forecast.left += 1;
        }
    }

    fn next_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Something is about to be taken, or has been worked off at a rate that ends here.
    fn number_taking(&mut self, at: Nanos) -> Taking {
        let number = self.next_number();
        self.note(Taking { at, number })
    }

    fn note(&mut self, taking: Taking) -> Taking {
        match &self.schedule {
            Schedule::Bucket(bucket) => self.low_water.taking(taking, bucket.gcra.backlog(taking.at)),
            Schedule::Window(_) => taking, // its log knows
        }
    }

    /// Takes for good, or for an owner that has yet to fetch it.
    fn take_as(&mut self, n: Units, taking: Taking, whose: Option<Whose>) -> Taking {
        let noted = self.note(taking);
        if let Some(whose) = whose {
            self.unclaimed.insert(whose, Grant { n, taking: noted });
        }
        self.schedule.take(n, taking.at);
        self.taken += i128::from(n);
        noted
    }

    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        self.goes_later();
        let number = self.next_number();
        self.take_as(n, Taking { at, number }, None);
    }

    /// Takes an amount that is owed or used up, without anybody being admitted.
    pub(super) fn charge(&mut self, n: Units, now: Nanos) {
        self.goes_later();
        self.number_taking(now);
        self.schedule.take(n, now);
    }

    /// The moment of the waiter at the head.
    pub(super) fn moment(&self, ticket: Ticket, n: Units) -> Nanos {
        let from = self.queue.since(ticket).max(self.paused_until).max(self.not_before);
        self.schedule.ready_at(n, from)
    }

    /// Grants every waiter whose moment has come, and takes every booking whose moment has come, in order, each dated with its own moment.
    /// Call it first in every visit, and after every change.
    pub(super) fn settle(&mut self, now: Nanos, wakes: &mut Wakes<W>) {
        loop {
            let head = self.queue.head().map(|(ticket, n)| (self.moment(ticket, n), ticket, n));
            let booked = match &self.schedule {
                Schedule::Bucket(bucket) => bucket.first_due(now),
                Schedule::Window(_) => None,
            };
            match (booked, head) {
                (Some(FutureBooking { at, number, n }), _) if head.is_none_or(|(moment, ..)| at <= moment) => {
                    if let Schedule::Bucket(bucket) = &mut self.schedule {
                        bucket.remove_first();
                    }
                    self.take_as(n, Taking { at, number }, self.held.contains(&number).then_some(Whose::Booking(number)));
                    if let Some(promise) = self.promises.get_mut(&(at, number)) {
                        promise.mark = Some(self.taken + self.schedule.spare(at));
                    }
                }
                (_, Some((at, ticket, n))) if at <= now => {
                    let number = self.next_number();
                    self.take_as(n, Taking { at, number }, Some(Whose::Waiter(ticket)));
                    self.queue.grant(ticket, at, wakes);
                    // Somebody whom it has not counted yet has gone.
                    if let Some(forecast) = self.forecast.as_mut().filter(|forecast| forecast.last < Some(ticket)) {
                        forecast.projection.take(n, at);
                        forecast.last = Some(ticket);
                    }
                    self.not_before = self.not_before.max(at); // the next goes no earlier
                }
                _ => {
                    self.due = head.map_or(NEVER, |(at, ..)| at);
                    break;
                }
            }
        }
        while self.promises.first_key_value().is_some_and(|((at, _), _)| *at < now) {
            self.promises.pop_first();
        }
        self.queue.rearm(self.due, wakes);
    }

    /// The position of a newcomer: behind the last waiter.
    pub(super) fn turn(&self) -> Turn {
        self.queue.last()
    }

    /// The schedule as it will be when everybody before that position has been granted.
    pub(super) fn project(&self, turn: Turn, now: Nanos) -> Projection {
        let from = now.max(self.paused_until).max(self.not_before);
        let mut projection = Projection { schedule: self.schedule.clone(), from };
        projection.grant(self.queue.waiting_after(None).take_while(move |(ticket, _)| Some(*ticket) <= turn), now);
        projection
    }

    /// The schedule as it will be when everybody in the queue has been granted. What was found out for one caller is kept for the next, so
    /// that a caller does not cost as much as the queue is long.
    fn forecast(&mut self, need: Need, now: Nanos) -> &Projection {
        let waiting = self.queue.waiting_len();
        let current = |left: usize| left == 0 || need == Need::AtTheLatest && left * 2 <= waiting;
        let forecast = self.forecast.take().filter(|forecast| current(forecast.left));
        let mut forecast = forecast.unwrap_or_else(|| {
            let projection = self.project(self.turn(), now);
            Box::new(Forecast { projection, last: self.turn(), left: 0 })
        });
        if forecast.last < self.turn() {
            forecast.projection.grant(self.queue.waiting_after(forecast.last), now);
            forecast.last = self.turn();
        }
        &self.forecast.insert(forecast).projection
    }

    /// When `n` could be admitted to a newcomer, after all waiters.
    pub(super) fn foresee(&mut self, n: Units, need: Need, now: Nanos) -> Nanos {
        if self.queue.nobody_waits() {
            return self.schedule.ready_at(n, now.max(self.paused_until).max(self.not_before));
        }
        self.forecast(need, now).ready_at(n, now)
    }

    /// As `foresee`, but not before `from`, and only after the waiters before that position.
    pub(super) fn foresee_from(&mut self, n: Units, from: Nanos, turn: Turn, now: Nanos) -> Nanos {
        let first = self.queue.head().map(|(ticket, _)| ticket);
        if first.is_none() || first > turn {
            return self.schedule.ready_at(n, from.max(self.paused_until).max(self.not_before));
        }
        if turn >= self.turn() {
            return self.forecast(Need::Exact, now).ready_at(n, from.max(now));
        }
        self.project(turn, now).ready_at(n, from)
    }

    /// True if `n` can be admitted now and nobody waits.
    pub(super) fn may_go(&mut self, n: Units, now: Nanos) -> bool {
        if let Schedule::Window(window) = &mut self.schedule {
            window.expire(now);
        }
        self.queue.nobody_waits() && now >= self.paused_until && self.schedule.ready_at(n, now) == now
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

    /// Adds a waiter.
    pub(super) fn join(&mut self, waker: &W, n: Units, now: Nanos) -> Ticket {
        self.version += 1;
        self.queue.join(waker, n, now)
    }

    /// If the queue is as long as `capacity` allows: when one of the waiters will be gone.
    pub(super) fn line_is_full(&mut self, now: Nanos) -> Option<Nanos> {
        if self.capacity == usize::MAX {
            return None;
        }
        // Those of earlier moments have been removed.
        let booked = self.promises.len() - self.promises.range(..(now + 1, 0)).count();
        let first_booked = self.promises.range((now + 1, 0)..).next().map(|((at, _), _)| *at);
        let in_line = self.queue.waiting_len() + booked;
        (in_line >= self.capacity).then(|| {
            if self.capacity == 0 { self.foresee(0, Need::Exact, now) } else { first_booked.unwrap_or(NEVER).min(self.due) }
        })
    }

    /// Takes `n`, or refuses it. `None`: it may take a place in the queue.
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
            (None, Some(deadline)) => {
                if self.foresee(n, Need::AtTheLatest, now) <= deadline {
                    return None;
                }
                match self.foresee(n, Need::Exact, now) {
                    at if at <= deadline => return None,
                    at => Refusal::Until(at),
                }
            }
        };
        self.refused += 1;
        Some(Standing::Refused(refusal))
    }

    /// Promises `n` at a moment that was foreseen. With `hold` it is for a waiter of a set, and can be taken back as a grant can.
    pub(super) fn book_at(&mut self, n: Units, at: Nanos, hold: bool, now: Nanos) -> Booking {
        let number = self.next_number();
        let alone = !hold && self.queue.nobody_waits();
        self.version += 1;
        // Behind all waiters it is a part of what comes next; anywhere else it is not foreseen.
        self.forecast = self.forecast.take().filter(|forecast| !hold && forecast.left == 0 && forecast.last == self.turn());
        if let Some(forecast) = &mut self.forecast {
            forecast.projection.book(n, at, number);
        }
        let (mut mark, mut taking) = (None, Taking { at, number });
        match &mut self.schedule {
            Schedule::Window(window) => window.take(n, at),
            Schedule::Bucket(bucket) if alone && bucket.is_plain() && bucket.gcra.ready_at(n, now) == at => {
                taking = self.take_as(n, taking, None);
                mark = Some(self.taken + self.schedule.spare(at));
            }
            Schedule::Bucket(bucket) => bucket.book(FutureBooking { at, number, n }),
        }
        self.promises.insert((at, number), Promise { n, mark, returnable: n });
        if hold {
            self.held.insert(number);
        }
        Booking { at, units: n, taking }
    }

    /// The waiter of a set has fetched the booking that the set held for it.
    pub(super) fn release(&mut self, booking: Booking) {
        self.held.remove(&booking.number());
        self.unclaimed.remove(&Whose::Booking(booking.number()));
    }

    /// Takes back a booking that a set held, whether its moment has come or not.
    pub(super) fn take_back(&mut self, booking: Booking, now: Nanos, wakes: &mut Wakes<W>) {
        self.goes_earlier();
        let (Booking { at, units, .. }, number) = (booking, booking.number());
        self.held.remove(&number);
        self.promises.remove(&(at, number));
        let granted = self.unclaimed.remove(&Whose::Booking(number));
        match (&mut self.schedule, granted) {
            (Schedule::Window(window), _) => drop(window.withdraw(units, at)),
            (Schedule::Bucket(bucket), None) => bucket.cut(number, 0),
            (Schedule::Bucket(_), Some(Grant { n, taking })) => self.withdraw(n, taking, now),
        }
        self.not_before = now;
        self.settle(now, wakes);
    }

    /// Gives `n` back to the bucket, or the part of it that no promise needs. Returns how much it gave back.
    fn put_back(&mut self, n: Units, now: Nanos) -> Units {
        let Schedule::Bucket(bucket) = &mut self.schedule else { return 0 };
        let promised = self.promises.range((now + 1, 0)..).filter(|(_, promise)| promise.mark.is_some());
        bucket.gcra.give_back(n, promised.map(|((at, _), promise)| (*at, promise.n)))
    }

    /// Gives back `n` of what was taken from the bucket then, as if it had never been taken: what has come in again since is gone.
    /// Returns how much that was.
    fn take_out(&mut self, n: Units, taking: Taking, now: Nanos) -> Units {
        let returned = self.put_back(n.min(self.low_water.since(taking)), now);
        self.low_water.given_back(taking, returned);
        returned
    }

    /// As `take_out`, for an amount that was given up: it does not count as taken any more.
    fn withdraw(&mut self, n: Units, taking: Taking, now: Nanos) {
        self.taken -= i128::from(self.take_out(n, taking, now));
    }

    /// True if `n` can be booked at a moment that is not too late to be counted.
    pub(super) fn can_book(&self, n: Units) -> bool {
        self.schedule.can_book(n.saturating_add(self.queue.wanted()))
    }

    /// True if `take_back` could give all of it back, which it can before its moment.
    pub(super) fn is_movable(&self, booking: Booking, now: Nanos) -> bool {
        booking.at > now && self.promises.contains_key(&(booking.at, booking.number()))
    }

    /// Gives a booking back except for `keep`, as far as that is possible. Returns how much it gave back.
    pub(super) fn cancel(&mut self, booking: Booking, keep: Units, now: Nanos, wakes: &mut Wakes<W>) -> Units {
        let (at, number) = (booking.at, booking.number());
        let Some(promise) = self.promises.remove(&(at, number)).filter(|_| at >= now) else { return 0 };
        self.goes_earlier();
        let wanted = promise.n.saturating_sub(keep);
        let mut returned = match (&mut self.schedule, promise.mark) {
            (Schedule::Window(window), _) => window.withdraw(wanted, at),
            (Schedule::Bucket(bucket), None) => {
                bucket.cut(number, keep);
                wanted
            }
            (Schedule::Bucket(bucket), Some(mark)) => {
                // x/time/rate's rule: what has been taken after it relies on it.
                let later = Units::try_from((self.taken - mark).max(0)).unwrap_or(Units::MAX);
                let spaced = bucket.gcra.rate_state.rule == Rule::Spaced;
                // In a shaper a gap between two that stay cannot be filled by another at the end.
                let returned = if spaced && later > 0 { 0 } else { wanted.min(promise.n.saturating_sub(later)) };
                // After a change of the rate it may have been worked off already: what has drained away is gone.
                returned.min(promise.returnable).min(bucket.gcra.backlog(now).saturating_sub(later))
            }
        };
        if keep > 0 {
            let Promise { n, mark, returnable } = promise;
            let mark = mark.map(|mark| mark - i128::from(returned));
            self.promises.insert((at, number), Promise { n: n - returned, mark, returnable: returnable - returned });
        }
        if promise.mark.is_some() {
            returned = self.put_back(returned, now);
            self.taken -= i128::from(returned);
            self.low_water.given_back(booking.taking, returned);
        }
        self.not_before = now;
        self.settle(now, wakes);
        returned
    }

    /// A waiter fetches what it has been given.
    pub(super) fn fetch(&mut self, ticket: Ticket, now: Nanos, wakes: &mut Wakes<W>) -> Option<Fetched> {
        let fetched = if self.unclaimed.remove(&Whose::Waiter(ticket)).is_some() {
            self.admitted += 1;
            self.waited += 1;
            Fetched::Grant
        } else if self.oversized.remove(&ticket) {
            self.refused += 1;
            Fetched::Oversized
        } else {
            return None;
        };
        self.queue.leave(ticket, now, wakes);
        self.queue.rearm(self.due, wakes);
        Some(fetched)
    }

    pub(super) fn leave(&mut self, ticket: Ticket, now: Nanos, wakes: &mut Wakes<W>) {
        self.goes_earlier();
        self.oversized.remove(&ticket);
        if let Some(Grant { n, taking }) = self.unclaimed.remove(&Whose::Waiter(ticket)) {
            match &mut self.schedule {
                Schedule::Window(window) => drop(window.withdraw(n, taking.at)),
                Schedule::Bucket(_) => self.withdraw(n, taking, now),
            }
        }
        self.queue.leave(ticket, now, wakes);
        self.not_before = now;
        self.settle(now, wakes);
    }

    /// Gives back `n` that was not used, whoever had taken it.
    pub(super) fn give_back(&mut self, n: Units, now: Nanos) {
        self.goes_earlier();
        match &mut self.schedule {
            Schedule::Window(window) => window.give_back(n, now),
            Schedule::Bucket(_) => {
                let returned = self.put_back(n, now);
                // Bookings for a later moment find that much less to be worked off: else it would come in twice.
                self.low_water.given_back(Taking { at: now, number: self.next_number }, returned);
            }
        }
        self.not_before = now;
    }

    /// What a booking came to: the difference is charged; or it is given back as if it had never been booked, of a bucket what has not come
    /// in again, of a window what is still in its log. Call it once.
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
            self.goes_earlier();
            let unused = booking.units - actual;
            match &mut self.schedule {
                Schedule::Window(window) => drop(window.withdraw(unused, booking.at)),
                Schedule::Bucket(_) => drop(self.take_out(unused, booking.taking, now)),
            }
            self.not_before = now;
        }
        self.settle(now, wakes);
        Ok(())
    }

    pub(super) fn pause(&mut self, pause: Nanos, now: Nanos, wakes: &mut Wakes<W>) {
        self.goes_later();
        self.paused_until = self.paused_until.max(now.saturating_add(pause));
        self.settle(now, wakes);
    }

    /// Sets the rate, and the burst or capacity where one is given.
    pub(super) fn set_rate(
        &mut self,
        (rate, burst, capacity): (Rate, Option<Units>, Option<usize>),
        terms: impl FnOnce(&mut Terms),
        now: Nanos,
        wakes: &mut Wakes<W>,
    ) {
        self.will_change(now);
        if let Schedule::Bucket(bucket) = &mut self.schedule {
            bucket.gcra.set(rate, burst.unwrap_or(bucket.gcra.rate_state.burst), now);
        }
        self.capacity = capacity.unwrap_or(self.capacity);
        terms(&mut self.terms);
        self.changed(now, wakes);
    }

    /// The policy is about to change: what has been refilled at the old rate can no longer be given back.
    fn will_change(&mut self, now: Nanos) {
        self.number_taking(now);
        let Schedule::Bucket(bucket) = &self.schedule else { return };
        let backlog = bucket.gcra.backlog(now);
        for promise in self.promises.values_mut() {
            if let Some(mark) = promise.mark {
                let later = Units::try_from((self.taken - mark).max(0)).unwrap_or(Units::MAX);
                promise.returnable = promise.returnable.min(backlog.saturating_sub(later));
            }
        }
    }

    /// The policy has changed: waiters whose amount is too large now are told so, and the moments are worked out anew.
    pub(super) fn changed(&mut self, now: Nanos, wakes: &mut Wakes<W>) {
        self.goes_later();
        self.not_before = now;
        let largest = self.schedule.largest();
        let oversized: Vec<_> = self.queue.waiting().filter(|(_, n)| *n > largest).collect();
        for (ticket, _) in oversized {
            self.oversized.insert(ticket);
            self.queue.grant(ticket, now, wakes);
        }
        self.settle(now, wakes);
    }

    /// Forgets all waiters after a fork, because they belong to the parent, and what sets hold for theirs.
    #[cold]
    #[inline(never)]
    pub(super) fn forget(&mut self, generation: u64) {
        self.generation = generation;
        self.goes_later();
        self.queue.forget();
        self.unclaimed.clear();
        self.oversized.clear();
        let held = std::mem::take(&mut self.held);
        let schedule = &mut self.schedule;
        self.promises.retain(|&(at, number), promise| {
            let theirs = held.contains(&number);
            match schedule {
                Schedule::Window(window) if theirs => drop(window.withdraw(promise.n, at)),
                Schedule::Bucket(bucket) if theirs => bucket.cut(number, 0),
                _ => {}
            }
            !theirs
        });
        self.due = NEVER;
    }
}
