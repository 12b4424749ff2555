//! Bookings for future moments, and the settlement of bookings and grants: a part of `state`, which has the table of states.

use super::bucket::FutureBooking;
use super::gcra::Rule;
use super::lowwater::Taking;
use super::schedule::Schedule;
use super::state::{Grant, GrantOwner, Promise, State};
use super::types::{Booking, Refusal};
use super::units::Units;
use crate::clock::Nanos;
use crate::wait::{Wake, Wakes};

impl<W: Wake> State<W> {
    /// Books `n` for a moment that was foreseen, after [`State::make_room_to_book`]. With `hold` the booking belongs to a waiter of a set, and can be taken back like a grant.
    pub(super) fn book_at(&mut self, n: Units, at: Nanos, hold: bool, now: Nanos) -> Booking {
        let number = self.next_number();
        let alone = !hold && self.queue.none_waiting();
        self.version += 1;
        // The forecast stays valid only if it includes all waiters: then the booking comes right behind them.
        self.forecast = self.forecast.take().filter(|forecast| !hold && forecast.left == 0 && forecast.last == self.turn());
        if let Some(mut forecast) = self.forecast.take() {
            let memory = forecast.projection.schedule.try_reserve(1);
            self.forecast = memory.is_ok().then(|| {
                forecast.projection.book(n, at, number);
                forecast
            });
        }
        let (mut mark, mut taking) = (None, Taking { at, number });
        match &mut self.schedule {
            Schedule::Window(window) => window.take(n, at),
            Schedule::Bucket(bucket) if alone && bucket.is_plain() && bucket.gcra.ready_at(n, now) == at => {
                taking = self.take_as(n, taking, None);
                mark = Some(self.taken + self.schedule.spare(at));
            }
            Schedule::Bucket(bucket) => bucket.book(FutureBooking { at, number, n }),
            Schedule::Always | Schedule::Never => {}
        }
        self.promises.insert((at, number), Promise { n, mark, returnable: n });
        if hold {
            self.held.insert(number, ());
        }
        Booking { at, units: n, taking }
    }

    /// Called when the waiter of a set has fetched the booking that the set held for it. Returns the booking with its taking.
    pub(super) fn release(&mut self, booking: Booking) -> Booking {
        self.held.remove(&booking.number());
        let granted = self.unclaimed.remove(&GrantOwner::Booking(booking.number()));
        granted.map_or(booking, |Grant { taking, .. }| Booking { taking, ..booking })
    }

    /// Takes back a booking that a set held, before or after its moment.
    pub(super) fn take_back(&mut self, booking: Booking, now: Nanos, wakes: &mut Wakes<W>) {
        self.goes_earlier();
        let (Booking { at, units, .. }, number) = (booking, booking.number());
        self.held.remove(&number);
        self.promises.remove(&(at, number));
        let granted = self.unclaimed.remove(&GrantOwner::Booking(number));
        match (&mut self.schedule, granted) {
            (Schedule::Window(window), _) => drop(window.withdraw(units, at)),
            (Schedule::Bucket(bucket), None) => bucket.cut((at, number), 0),
            (Schedule::Always | Schedule::Never, _) => {}
            (Schedule::Bucket(_), Some(Grant { n, taking, .. })) => self.withdraw(n, taking, now),
        }
        self.not_before = now;
        self.grant_due(now, wakes);
    }

    /// True if `take_back` would return the booking in full, which is so before its moment.
    pub(super) fn is_movable(&self, booking: Booking, now: Nanos) -> bool {
        booking.at > now && self.promises.contains(&(booking.at, booking.number()))
    }

    /// Gives a booking back except for `keep`, as far as possible. Returns the amount given back.
    pub(super) fn cancel(&mut self, booking: Booking, keep: Units, now: Nanos, wakes: &mut Wakes<W>) -> Units {
        let (at, number) = (booking.at, booking.number());
        let Some(promise) = self.promises.get(&(at, number)).copied() else { return 0 };
        if at < now {
            self.promises.remove(&(at, number));
            return 0;
        }
        self.goes_earlier();
        let wanted = promise.n.saturating_sub(keep);
        let mut returned = match (&mut self.schedule, promise.mark) {
            (Schedule::Window(window), _) => window.withdraw(wanted, at),
            (Schedule::Always | Schedule::Never, _) => wanted,
            (Schedule::Bucket(bucket), None) => {
                bucket.cut((at, number), keep);
                wanted
            }
            (Schedule::Bucket(bucket), Some(mark)) => {
                // The rule of x/time/rate: amounts taken later rely on this booking.
                let later = Units::try_from((self.taken - mark).max(0)).unwrap_or(Units::MAX);
                let spaced = bucket.gcra.rate_state.rule == Rule::Spaced;
                // In a shaper, a gap between two bookings that stay cannot be filled by one that comes later.
                let returned = if spaced && later > 0 { 0 } else { wanted.min(promise.n.saturating_sub(later)) };
                // After a change of the rate, a part may have drained already; that part cannot be returned.
                returned.min(promise.returnable).min(bucket.gcra.backlog(now).saturating_sub(later))
            }
        };
        if keep == 0 {
            self.promises.remove(&(at, number));
        } else if let Some(promise) = self.promises.get_mut(&(at, number)) {
            promise.mark = promise.mark.map(|mark| mark - i128::from(returned));
            (promise.n, promise.returnable) = (promise.n - returned, promise.returnable - returned);
        }
        if promise.mark.is_some() {
            returned = self.put_back(returned, now);
            self.taken -= i128::from(returned);
            self.low_water.given_back(booking.taking, returned);
        }
        self.not_before = now;
        self.grant_due(now, wakes);
        returned
    }

    /// Settles a booking or a grant with the amount actually used. The difference is charged, or given back as if it had never been taken:
    /// for a bucket only what has not been refilled since, for a window what is still in its log. Returns the amount given back. Call it
    /// once.
    pub(super) fn adjust(&mut self, booking: Booking, actual: Units, now: Nanos, wakes: &mut Wakes<W>) -> Result<Units, Refusal> {
        let mut returned = 0;
        if actual > booking.units {
            let more = actual - booking.units;
            if !self.can_book(more) {
                return Err(Refusal::TooFar);
            }
            self.make_room()?;
            self.charge(more, now);
        } else if booking.at > now {
            returned = self.cancel(booking, actual, now, wakes);
        } else {
            self.goes_earlier();
            let unused = booking.units - actual;
            returned = match &mut self.schedule {
                Schedule::Window(window) => window.withdraw(unused, booking.at),
                Schedule::Bucket(_) => self.take_out(unused, booking.taking, now),
                Schedule::Always | Schedule::Never => unused,
            };
            self.not_before = now;
        }
        self.grant_due(now, wakes);
        Ok(returned)
    }
}
