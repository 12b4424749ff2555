//! `State`: the state of a limiter, which its section guards.
//!
//! | waiter    | event                                           | next      | also                                            |
//! |-----------|-------------------------------------------------|-----------|-------------------------------------------------|
//! | -         | arrives; others wait, or its amount is not available | waiting   | joins the wait queue                       |
//! | waiting   | is the head, and its moment has come (`grant_due`) | granted   | taken from the schedule, dated with that moment |
//! | waiting   | leaves                                          | -         | nothing had been taken                          |
//! | waiting   | the burst falls below its amount                | oversized | its next attempt gets an error                  |
//! | granted   | tries                                           | -         | it has the amount                               |
//! | granted   | leaves                                          | -         | the amount is given back as far as possible     |
//!
//! A booking is made for a certain moment. If the schedule itself yields that moment, the booking is in the schedule from the start; otherwise
//! it is kept as a `FutureBooking` (see `bucket`) until its moment. The bookings of a window are in its log.

use std::collections::{BTreeMap, BTreeSet, TryReserveError};

use super::bucket::FutureBooking;
use super::lowwater::{LowWater, Taking};
use super::schedule::{Projection, Schedule};
use super::types::{Booking, Need, Refusal, Terms};
use super::units::{Rate, Units};
use super::wait_queue::{NEVER, TimedWaitQueue};
use crate::clock::Nanos;
use crate::fork;
use crate::ordered::Ordered;
use crate::room::Boxed;
use crate::wait::{Ticket, Wake, Wakes};

/// A position in the queue: behind this waiter and all waiters before it.
pub(super) type Turn = Option<Ticket>;

/// The owner of a grant: a waiter in this wait queue, or a booking that a set holds for a waiter in its own wait queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GrantOwner {
    Waiter(Ticket),
    Booking(u64),
}

/// A grant that its owner has not fetched yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) n: Units,
    pub(super) at: Nanos,
    pub(super) taking: Taking,
}

pub(super) type UnclaimedGrants = BTreeMap<GrantOwner, Grant>;

/// The result that a waiter fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    Grant(Booking),
    /// The burst has been reduced below the amount.
    Oversized,
}

/// The schedule as it will be when all waiters in the queue have been granted, kept for the next caller.
#[derive(Debug)]
pub(super) struct Forecast {
    pub(super) projection: Projection,
    /// The last waiter that it includes.
    pub(super) last: Turn,
    /// The number of waiters that have left, or given something back, since it was computed. If there are any, its moments are upper bounds.
    pub(super) left: usize,
}

/// A booking whose moment has not passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) n: Units,
    /// Its position in the schedule: the total taken when it was taken, plus the amount that was still available to others then.
    pub(super) mark: Option<i128>,
    /// The largest part of it that can be given back.
    pub(super) returnable: Units,
}

#[derive(Debug)]
pub(super) struct State<W> {
    pub(super) schedule: Schedule,
    pub(super) terms: Terms,
    pub(super) queue: TimedWaitQueue<W>,
    pub(super) unclaimed: UnclaimedGrants,
    /// How much of the amounts taken earlier can still be given back.
    pub(super) low_water: LowWater,
    pub(super) oversized: BTreeSet<Ticket>,
    /// By moment and number.
    pub(super) promises: Ordered<(Nanos, u64), Promise>,
    /// The numbers of the bookings that sets hold for their own waiters.
    pub(super) held: Ordered<u64, ()>,
    pub(super) next_number: u64,
    pub(super) forecast: Option<Boxed<Forecast>>,
    /// Counts changes that make the forecast of a set invalid.
    pub(super) version: u64,
    /// Counts those of these changes after which a waiter may be admitted earlier than before.
    pub(super) earlier: u64,
    /// Units taken so far, less what cancelled bookings gave back.
    pub(super) taken: i128,
    /// The `tat` at which the fast path was opened.
    pub(super) opened_at: u64,
    pub(super) paused_until: Nanos,
    /// No grant is dated before this moment, the last one at which something was given back or changed.
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
            promises: Ordered::default(),
            held: Ordered::default(),
            next_number: 0,
            forecast: None,
            version: 0,
            earlier: 0,
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

    /// True if the schedule is the whole state: no request is waiting, nothing is booked or paused.
    pub(super) fn is_quiet(&self, now: Nanos) -> bool {
        matches!(&self.schedule, Schedule::Bucket(bucket) if bucket.is_plain()) && self.is_idle(now)
    }

    /// True if no request is waiting, no grant is unfetched, and nothing is paused.
    pub(super) fn is_idle(&self, now: Nanos) -> bool {
        self.queue.is_empty() && self.unclaimed.is_empty() && now >= self.paused_until
    }

    /// True if the schedule is the whole state, and nothing is booked for later.
    pub(super) fn is_all_in_schedule(&mut self, now: Nanos) -> bool {
        if let Schedule::Window(window) = &mut self.schedule {
            window.expire(now); // what was booked for a moment that has come is no longer ahead
        }
        self.is_idle(now) && self.schedule.is_plain() && self.promises.is_empty()
    }

    /// True if no request is waiting and nothing is booked for later: what can be admitted at a moment can be at each later one too.
    pub(super) fn is_unbooked(&self, now: Nanos) -> bool {
        let booked = self.promises.last().is_some_and(|&((at, _), _)| at > now);
        let is_plain = !matches!(&self.schedule, Schedule::Bucket(bucket) if !bucket.is_plain());
        !booked && is_plain && self.held.is_empty() && self.is_idle(now)
    }

    /// Records that the fast path has admitted amounts that moved `tat` to this position, at moments up to `now`.
    pub(super) fn passed(&mut self, (tat, busy_from): (u64, u64), now: Nanos) {
        if tat == self.opened_at {
            return;
        }
        // The least that any of them can have found: the level at which the fast path was opened, less what has drained by now.
        self.number_taking(now);
        self.taken += i128::from(tat) - i128::from(self.opened_at);
        self.goes_later();
        if let Schedule::Bucket(bucket) = &mut self.schedule {
            bucket.gcra.moved(tat, busy_from);
        }
    }

    /// Records a change after which other requests are admitted later than was forecast.
    pub(super) fn goes_later(&mut self) {
        self.version += 1;
        self.forecast = None;
    }

    /// Records that something has been given back, or a waiter has left: others may be admitted earlier than was forecast, never later.
    pub(super) fn goes_earlier(&mut self) {
        self.version += 1;
        self.earlier += 1;
        if let Some(forecast) = &mut self.forecast {
            forecast.left += 1;
        }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Called when something is about to be taken, or when the rate is about to change.
    fn number_taking(&mut self, at: Nanos) -> Taking {
        let number = self.next_number();
        self.note(Taking { at, number })
    }

    fn note(&mut self, taking: Taking) -> Taking {
        match &self.schedule {
            Schedule::Bucket(bucket) => self.low_water.taking(taking, bucket.gcra.backlog(taking.at)),
            // The log of a window contains this.
            Schedule::Window(_) | Schedule::Always | Schedule::Never => taking,
        }
    }

    /// Takes an amount, permanently or for an owner that has yet to fetch it.
    pub(super) fn take_as(&mut self, n: Units, taking: Taking, whose: Option<GrantOwner>) -> Taking {
        let noted = self.note(taking);
        if let Some(whose) = whose {
            self.unclaimed.insert(whose, Grant { n, at: taking.at, taking: noted });
        }
        self.schedule.take(n, taking.at);
        self.taken += i128::from(n);
        noted
    }

    /// Returns what `adjust` gives back, if anything.
    pub(super) fn take(&mut self, n: Units, at: Nanos) -> Booking {
        self.goes_later();
        let number = self.next_number();
        let taking = self.take_as(n, Taking { at, number }, None);
        Booking { at, units: n, taking }
    }

    /// Takes an amount that is owed or used up, without admitting a request.
    pub(super) fn charge(&mut self, n: Units, now: Nanos) {
        self.goes_later();
        self.number_taking(now);
        self.schedule.take(n, now);
    }

    /// The moment at which the waiter at the head is to be granted.
    pub(super) fn moment(&self, ticket: Ticket, n: Units) -> Nanos {
        let from = self.queue.since(ticket).max(self.paused_until).max(self.not_before);
        self.schedule.ready_at(n, from)
    }

    /// Grants every waiter whose moment has come, and takes every booking whose moment has come, in order, each dated with its own moment.
    /// Call it first in every visit, and after every change.
    pub(super) fn grant_due(&mut self, now: Nanos, wakes: &mut Wakes<W>) {
        loop {
            let head = self.queue.head().map(|(ticket, n)| (self.moment(ticket, n), ticket, n));
            let booked = match &self.schedule {
                Schedule::Bucket(bucket) => bucket.first_due(now),
                _ => None,
            };
            match (booked, head) {
                (Some(FutureBooking { at, number, n }), _) if head.is_none_or(|(moment, ..)| at <= moment) => {
                    if let Schedule::Bucket(bucket) = &mut self.schedule {
                        bucket.cut((at, number), 0);
                    }
                    self.take_as(n, Taking { at, number }, self.held.contains(&number).then_some(GrantOwner::Booking(number)));
                    if let Some(promise) = self.promises.get_mut(&(at, number)) {
                        promise.mark = Some(self.taken + self.schedule.spare(at));
                    }
                }
                (_, Some((at, ticket, n))) if at <= now => {
                    let number = self.next_number();
                    self.take_as(n, Taking { at, number }, Some(GrantOwner::Waiter(ticket)));
                    self.queue.grant(ticket, at, wakes);
                    // A waiter that it does not include has been granted.
                    if let Some(mut forecast) = self.forecast.take() {
                        let is_new = forecast.last < Some(ticket);
                        let taken = is_new && forecast.projection.schedule.try_reserve(1).is_ok();
                        if taken {
                            forecast.projection.take(n, at);
                            forecast.last = Some(ticket);
                        }
                        self.forecast = (taken || !is_new).then_some(forecast); // without memory it is made again when it is needed
                    }
                    self.not_before = self.not_before.max(at); // the next waiter is granted no earlier
                }
                _ => {
                    self.due = head.map_or(NEVER, |(at, ..)| at);
                    break;
                }
            }
        }
        while self.promises.first().is_some_and(|((at, _), _)| *at < now) {
            self.promises.pop_first();
        }
        self.queue.rearm(self.due, wakes);
    }

    /// The position of a newcomer: behind the last waiter.
    pub(super) fn turn(&self) -> Turn {
        self.queue.last()
    }

    /// The schedule as it will be when all waiters before that position have been granted.
    pub(super) fn project(&self, turn: Turn, now: Nanos) -> Result<Projection, Refusal> {
        let from = now.max(self.paused_until).max(self.not_before);
        let count = self.queue.waiting_len();
        let mut projection = Projection { schedule: self.schedule.try_clone(count)?, from };
        projection.grant(self.queue.waiting_after(None).take_while(move |(ticket, _)| Some(*ticket) <= turn), count, now)?;
        Ok(projection)
    }

    /// The schedule as it will be when all waiters in the queue have been granted. The result for one caller is kept for the next, so that a
    /// call does not take time in proportion to the length of the queue.
    fn forecast(&mut self, need: Need, now: Nanos) -> Result<&Projection, Refusal> {
        let waiting = self.queue.waiting_len();
        let current = |left: usize| left == 0 || need == Need::AtTheLatest && left * 2 <= waiting;
        let forecast = self.forecast.take().filter(|forecast| current(forecast.left));
        let mut forecast = if let Some(forecast) = forecast {
            forecast
        } else {
            let projection = self.project(self.turn(), now)?;
            Boxed::try_new(Forecast { projection, last: self.turn(), left: 0 }).map_err(|_| Refusal::NoMemory)?
        };
        if forecast.last < self.turn() {
            let later = self.queue.waiting_after(forecast.last);
            forecast.projection.grant(later, waiting, now)?;
            forecast.last = self.turn();
        }
        Ok(&self.forecast.insert(forecast).projection)
    }

    /// The moment at which `n` could be admitted to a newcomer, after all waiters. With waiters it takes memory for a copy of the schedule.
    pub(super) fn foresee(&mut self, n: Units, need: Need, now: Nanos) -> Result<Nanos, Refusal> {
        if self.queue.none_waiting() {
            return Ok(self.schedule.ready_at(n, now.max(self.paused_until).max(self.not_before)));
        }
        Ok(self.forecast(need, now)?.ready_at(n, now))
    }

    /// As `foresee`, but not before `from`, and only after the waiters before that position.
    pub(super) fn foresee_from(&mut self, n: Units, from: Nanos, turn: Turn, now: Nanos) -> Result<Nanos, Refusal> {
        let first = self.queue.head().map(|(ticket, _)| ticket);
        if first.is_none() || first > turn {
            return Ok(self.schedule.ready_at(n, from.max(self.paused_until).max(self.not_before)));
        }
        if turn >= self.turn() {
            return Ok(self.forecast(Need::Exact, now)?.ready_at(n, from.max(now)));
        }
        Ok(self.project(turn, now)?.ready_at(n, from))
    }

    /// See [`Limiter::whole_at`](super::limiter::Limiter::whole_at).
    pub(super) fn whole_at(&mut self, now: Nanos) -> Nanos {
        let promised = self.promises.last().map(|&((at, _), _)| at);
        let from = promised.into_iter().chain(self.schedule.last_booked()).fold(now, Nanos::max);
        let all = match self.schedule.largest() {
            Units::MAX => 1, // of a shaper, for which one amount is as good as another
            burst => burst,
        };
        if self.queue.none_waiting() {
            return self.schedule.ready_at(all, from.max(self.paused_until).max(self.not_before));
        }
        // Without memory to foresee it, it is not known.
        self.forecast(Need::AtTheLatest, now).map_or(now, |projection| projection.ready_at(all, from))
    }

    /// True if `n` can be admitted now and no request is waiting.
    pub(super) fn may_go(&mut self, n: Units, now: Nanos) -> bool {
        if let Schedule::Window(window) = &mut self.schedule {
            window.expire(now);
        }
        self.queue.none_waiting() && now >= self.paused_until && self.schedule.ready_at(n, now) == now
    }

    pub(super) fn never_fits(&self, n: Units) -> bool {
        n > self.schedule.largest()
    }

    /// Reserves memory for recording one more amount, and those of the waiters: when they are granted, a lack of memory could not be
    /// reported to anyone. On an error nothing has changed. (A bucket needs no memory for them.)
    pub(super) fn make_room(&mut self) -> Result<(), Refusal> {
        match &mut self.schedule {
            Schedule::Window(_) => self.schedule.try_reserve(self.queue.waiting_len() + 1),
            _ => Ok(()),
        }
    }

    /// The same for one more booking.
    pub(super) fn make_room_to_book(&mut self) -> Result<(), Refusal> {
        self.schedule.try_reserve(self.queue.waiting_len() + 1)?;
        let memory = |promises: Result<(), TryReserveError>| promises.map_err(|_| Refusal::NoMemory);
        memory(self.promises.try_reserve())?;
        memory(self.held.try_reserve())
    }

    pub(super) fn try_now(&mut self, n: Units, now: Nanos) -> Option<Booking> {
        self.may_go(n, now).then(|| self.take(n, now))
    }

    /// Adds a waiter.
    pub(super) fn join(&mut self, waker: &W, n: Units, now: Nanos) -> Ticket {
        self.version += 1;
        self.queue.join(waker, n, now)
    }

    /// If the queue is as long as `capacity` allows: the moment at which one of the waiters will have been granted.
    pub(super) fn wait_queue_is_full(&mut self, now: Nanos) -> Result<Option<Nanos>, Refusal> {
        if self.capacity == usize::MAX {
            return Ok(None);
        }
        // Bookings with earlier moments have been removed.
        let booked = self.promises.len() - self.promises.iter().take_while(|((at, _), _)| *at <= now).count();
        let first_booked = self.promises.starting_at((now + 1, 0)).next().map(|((at, _), _)| *at);
        let in_line = self.queue.waiting_len() + booked;
        if in_line < self.capacity {
            return Ok(None);
        }
        let free =
            if self.capacity == 0 { self.foresee(0, Need::Exact, now)? } else { first_booked.unwrap_or(NEVER).min(self.due) };
        Ok(Some(free))
    }

    /// Takes `n`, or refuses it. `None`: it may take a place in the queue.
    pub(super) fn arrive(&mut self, n: Units, deadline: Option<Nanos>, now: Nanos) -> Result<Option<Booking>, Refusal> {
        if self.never_fits(n) {
            return Err(Refusal::NeverFits);
        }
        self.make_room()?;
        if let Some(booking) = self.try_now(n, now) {
            self.admitted += 1;
            return Ok(Some(booking));
        }
        let refusal = match (self.wait_queue_is_full(now)?, deadline) {
            (Some(at), _) => Refusal::WaitQueueFull(at),
            (None, _) if self.schedule.is_closed() => Refusal::Until(NEVER),
            (None, None) => return Ok(None),
            (None, Some(deadline)) => {
                if self.foresee(n, Need::AtTheLatest, now)? <= deadline {
                    return Ok(None);
                }
                match self.foresee(n, Need::Exact, now)? {
                    at if at <= deadline => return Ok(None),
                    at => Refusal::Until(at),
                }
            }
        };
        self.refused += 1;
        Err(refusal)
    }

    /// Gives `n` back to the bucket, or the part of it that no booking relies on. Returns how much it gave back.
    pub(super) fn put_back(&mut self, n: Units, now: Nanos) -> Units {
        let Schedule::Bucket(bucket) = &mut self.schedule else { return 0 };
        let promised = self.promises.starting_at((now + 1, 0)).filter(|(_, promise)| promise.mark.is_some());
        bucket.gcra.give_back(n, promised.map(|((at, _), promise)| (*at, promise.n)))
    }

    /// Gives back `n` of an amount taken from the bucket earlier, as if it had never been taken: what has been refilled since is not given
    /// back. Returns how much it gave back.
    pub(super) fn take_out(&mut self, n: Units, taking: Taking, now: Nanos) -> Units {
        let returned = self.put_back(n.min(self.low_water.since(taking)), now);
        self.low_water.given_back(taking, returned);
        returned
    }

    /// As `take_out`, for an amount that was not used at all: it does not count as taken any more.
    pub(super) fn withdraw(&mut self, n: Units, taking: Taking, now: Nanos) {
        self.taken -= i128::from(self.take_out(n, taking, now));
    }

    /// True if `n` can be booked at a moment that can be represented.
    pub(super) fn can_book(&self, n: Units) -> bool {
        self.schedule.can_book(n.saturating_add(self.queue.wanted()))
    }

    /// Fetches the grant of a waiter.
    pub(super) fn fetch(&mut self, ticket: Ticket, now: Nanos, wakes: &mut Wakes<W>) -> Option<Fetched> {
        let fetched = if let Some(Grant { n, at, taking }) = self.unclaimed.remove(&GrantOwner::Waiter(ticket)) {
            self.admitted += 1;
            self.waited += 1;
            Fetched::Grant(Booking { at, units: n, taking })
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
        if let Some(Grant { n, at, taking }) = self.unclaimed.remove(&GrantOwner::Waiter(ticket)) {
            match &mut self.schedule {
                Schedule::Window(window) => drop(window.withdraw(n, at)),
                Schedule::Bucket(_) => self.withdraw(n, taking, now),
                Schedule::Always | Schedule::Never => {}
            }
        }
        self.queue.leave(ticket, now, wakes);
        self.not_before = now;
        self.grant_due(now, wakes);
    }

    /// Gives back `n` that was not used, without checking that the caller had taken it.
    pub(super) fn give_back(&mut self, n: Units, now: Nanos) {
        self.goes_earlier();
        match &mut self.schedule {
            Schedule::Window(window) => window.give_back(n, now),
            Schedule::Bucket(_) => {
                let returned = self.put_back(n, now);
                // Future bookings will find that much less to drain; otherwise the amount would be refilled twice.
                self.low_water.given_back(Taking { at: now, number: self.next_number }, returned);
            }
            Schedule::Always | Schedule::Never => {}
        }
        self.not_before = now;
    }

    pub(super) fn pause(&mut self, pause: Nanos, now: Nanos, wakes: &mut Wakes<W>) {
        self.goes_later();
        self.paused_until = self.paused_until.max(now.saturating_add(pause));
        self.grant_due(now, wakes);
    }

    /// Sets the rate and, if given, the burst or the capacity.
    pub(super) fn set_rate(
        &mut self,
        (rate, burst, capacity): (Rate, Option<Units>, Option<usize>),
        terms: impl FnOnce(&mut Terms),
        now: Nanos,
        wakes: &mut Wakes<W>,
    ) {
        self.will_change(now);
        if let Schedule::Bucket(bucket) = &mut self.schedule {
            bucket.set(rate, burst, now);
        }
        self.capacity = capacity.unwrap_or(self.capacity);
        terms(&mut self.terms);
        self.changed(now, wakes);
    }

    /// Sets the limit of a window and, if given, its period.
    pub(super) fn set_window(
        &mut self,
        (limit, period): (Units, Option<Nanos>),
        terms: impl FnOnce(&mut Terms),
        now: Nanos,
        wakes: &mut Wakes<W>,
    ) {
        if let Schedule::Window(window) = &mut self.schedule {
            window.limit = limit;
            if let Some(period) = period {
                window.set_period(period);
            }
        }
        terms(&mut self.terms);
        self.changed(now, wakes);
    }

    /// Called before the policy changes: amounts that have been refilled at the old rate can no longer be given back.
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

    /// Called after the policy has changed: marks waiters whose amount is too large now, and recomputes the moments.
    pub(super) fn changed(&mut self, now: Nanos, wakes: &mut Wakes<W>) {
        self.goes_later();
        self.earlier += 1;
        self.not_before = now;
        let largest = self.schedule.largest();
        let mut last = None;
        while let Some(ticket) = self.queue.next_waiting(last, |_, n| n > largest) {
            self.oversized.insert(ticket);
            self.queue.grant(ticket, now, wakes);
            last = Some(ticket);
        }
        self.grant_due(now, wakes);
    }

    /// Forgets all waiters after a fork, because they belong to the parent, and the bookings that sets hold for their waiters.
    #[cold]
    #[inline(never)]
    pub(super) fn forget(&mut self, generation: u64) {
        self.generation = generation;
        self.goes_later();
        self.earlier += 1;
        self.queue.forget();
        self.unclaimed.clear();
        self.oversized.clear();
        let held = std::mem::take(&mut self.held);
        let schedule = &mut self.schedule;
        self.promises.retain(|&(at, number), promise| {
            let theirs = held.contains(&number);
            match schedule {
                Schedule::Window(window) if theirs => drop(window.withdraw(promise.n, at)),
                Schedule::Bucket(bucket) if theirs => bucket.cut((at, number), 0),
                _ => {}
            }
            !theirs
        });
        self.due = NEVER;
    }
}
