//! `Bucket`: a GCRA, and the future bookings that are kept apart from it.
//!
//! A booking for the moment that the schedule itself yields needs no other record: `tat` moves ahead. A booking for a *later* moment (by a
//! set that waits for another limiter, behind waiters, or in a pause) would move `tat` over time that has not passed, and close the bucket
//! for all other callers until then. So such bookings are kept apart, ordered by moment, and taken when their moments come. Until then
//! other amounts may be taken before them, as long as each booking still fits at its moment (see `apart`).

use std::collections::TryReserveError;

use super::apart::{Apart, Key};
use super::gcra::Gcra;
use super::units::{Rate, Units};
use crate::clock::Nanos;

pub(super) use super::apart::FutureBooking;

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) gcra: Gcra,
    apart: Apart,
}

impl Bucket {
    pub(super) fn new(gcra: Gcra) -> Self {
        Self { gcra, apart: Apart::new() }
    }

    /// The moment of the last booking that is kept apart.
    pub(super) fn last_booked(&self) -> Option<Nanos> {
        self.apart.last()
    }

    /// True if nothing is booked apart: the schedule is the whole state.
    pub(super) fn is_plain(&self) -> bool {
        self.apart.is_empty()
    }

    /// The first booking, if its moment has come by `now`.
    pub(super) fn first_due(&self, now: Nanos) -> Option<FutureBooking> {
        self.apart.first().filter(|booking| booking.at <= now)
    }

    pub(super) fn try_clone(&self) -> Result<Self, TryReserveError> {
        Ok(Self { gcra: self.gcra, apart: self.apart.try_clone()? })
    }

    /// Reserves memory for one more booking.
    pub(super) fn try_reserve(&mut self) -> Result<(), TryReserveError> {
        self.apart.try_reserve()
    }

    pub(super) fn book(&mut self, booking: FutureBooking) {
        self.apart.insert(booking, &self.gcra.rate_state);
    }

    /// Removes a booking, or reduces it to `keep`.
    pub(super) fn cut(&mut self, key: Key, keep: Units) {
        self.apart.cut(key, keep, &self.gcra.rate_state);
    }

    /// Sets the rate and, if given, the burst, from now on.
    pub(super) fn set(&mut self, rate: Rate, burst: Option<Units>, now: Nanos) {
        self.gcra.set(rate, burst.unwrap_or(self.gcra.rate_state.burst), now);
        self.apart.rebuild(&self.gcra.rate_state);
    }

    /// See [`Gcra::rebase`].
    pub(super) fn rebase(&mut self, now: Nanos) {
        let before = self.gcra.rate_state;
        self.gcra.rebase(now);
        if !self.apart.is_empty() && self.gcra.rate_state != before {
            self.apart.rebuild(&self.gcra.rate_state);
        }
    }

    /// The first moment, not before `from`, at which `n` can be admitted while every booking still fits at its moment.
    pub(super) fn ready_at(&self, n: Units, mut from: Nanos) -> Nanos {
        if self.apart.is_empty() {
            return self.gcra.ready_at(n, from);
        }
        loop {
            let before = self.apart.until(from);
            let mut gcra = self.gcra;
            match before.highest.filter(|(highest, _)| *highest > i128::from(gcra.tat)) {
                Some((highest, start)) => (gcra.tat, gcra.busy_from) = (Gcra::position(highest + before.sum), start),
                None => gcra.tat = Gcra::position(i128::from(gcra.tat) + before.sum),
            }
            let at = gcra.ready_at(n, from);
            let Some(next) = self.apart.next_after(from) else { return at };
            if at >= next {
                // Too late for this gap.
                let high = i128::from(gcra.tat) - before.sum;
                from = self.apart.before_gap(from, high, gcra.left_by(n)).map_or(at, |before| before.max(next));
                continue;
            }
            let after = i128::from(gcra.tat.max(gcra.rate_state.ceil(at))) + i128::from(n) - before.sum;
            match self.apart.last_spoilt(from, after) {
                Some(spoilt) => from = spoilt,
                None => return at,
            }
        }
    }

    /// For a projection: takes an amount at a future moment.
    pub(super) fn take_later(&mut self, n: Units, at: Nanos) {
        while let Some(booking) = self.first_due(at) {
            self.cut((booking.at, booking.number), 0);
            self.gcra.take(booking.n, booking.at);
        }
        self.gcra.take(n, at);
        self.rebase(at); // a long queue can lead beyond the range of positions
    }

    /// The sum of the bookings that are kept apart.
    pub(super) fn booked(&self) -> Units {
        Units::try_from(self.apart.sum()).unwrap_or(Units::MAX)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::gcra::Rule;
    use super::super::units::Scale;
    use super::*;

    /// A model for the test: the bookings in a list, tried one after the other.
    struct Plain {
        gcra: Gcra,
        list: Vec<FutureBooking>,
    }

    impl Plain {
        /// True if every booking fits at its moment.
        fn fits(mut gcra: Gcra, list: &[FutureBooking]) -> bool {
            list.iter().all(|booking| {
                let fits = gcra.ready_at(booking.n, booking.at) == booking.at;
                gcra.take(booking.n, booking.at);
                fits
            })
        }

        fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
            let mut gcra = self.gcra;
            let mut from = from;
            for (index, booking) in self.list.iter().enumerate() {
                let at = gcra.ready_at(n, from);
                if at < booking.at {
                    let mut with = gcra;
                    with.take(n, at);
                    if Self::fits(with, &self.list[index..]) {
                        return at;
                    }
                }
                gcra.take(booking.n, booking.at);
                from = from.max(booking.at);
            }
            gcra.ready_at(n, from)
        }
    }

    #[test]
    fn as_a_plain_list() {
        let mut random = 11_u64;
        let mut dice = |sides: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % sides
        };
        let scale = Scale::for_largest(1e9).unwrap();
        for round in 0..900 {
            // One unit a nanosecond, two, and half a unit.
            let rate = Rate::new([1.0, 2.0, 0.5][round % 3], 1.0, scale).unwrap();
            let big = [1, 1, 40][round % 5 % 3];
            let (rule, burst) = if round % 4 == 3 { (Rule::Spaced, 0) } else { (Rule::Burst, big * (1 + dice(9))) };
            let gcra = Gcra::new(rule, rate, burst, 0, 0);
            let (mut bucket, mut plain) = (Bucket::new(gcra), Plain { gcra, list: Vec::new() });
            let mut now = 0;
            for number in 0..40 {
                now += dice(4) * dice(2) * dice(1 + big / 4);
                while let Some(due) = bucket.first_due(now) {
                    bucket.cut((due.at, due.number), 0);
                    bucket.gcra.take(due.n, due.at);
                }
                plain.gcra = bucket.gcra;
                plain.list.retain(|booking| booking.at > now);
                let n = if dice(3) == 0 { burst.max(1) } else { 1 + dice(if rule == Rule::Burst { burst } else { 5 * big }) };
                let from = now + dice(2) * dice(20);
                let at = bucket.ready_at(n, from);
                assert_eq!(at, plain.ready_at(n, from), "{n} from {from}: {:?} {:?}", plain.gcra, plain.list);
                match dice(6) {
                    0..=2 if at > now => {
                        let booking = FutureBooking { at, number, n };
                        bucket.book(booking);
                        plain.list.push(booking);
                        plain.list.sort_by_key(|booking| (booking.at, booking.number));
                    }
                    3 if !plain.list.is_empty() => {
                        let index = usize::try_from(dice(plain.list.len() as u64)).unwrap();
                        let FutureBooking { at, number, n } = plain.list[index];
                        let keep = dice(n + 1);
                        bucket.cut((at, number), keep);
                        plain.list[index].n = keep;
                        plain.list.retain(|booking| booking.n > 0);
                    }
                    4 if at == now => bucket.gcra.take(n, now),
                    _ => {}
                }
                assert_eq!(u128::from(bucket.booked()), plain.list.iter().map(|booking| u128::from(booking.n)).sum());
                assert!(Plain::fits(bucket.gcra, &plain.list));
            }
        }
    }
}
