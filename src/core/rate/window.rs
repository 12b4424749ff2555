//! The exact sliding window: at most `limit` in any window of `period`.
//!
//! A log of the amounts admitted and of those booked ahead, ordered by time. Windows are half open: an amount taken at `t` counts until
//! just before `t + period`. What can be admitted, and when, follows from the log alone. Memory: one entry for each moment at which
//! something was admitted in the last `period`, so at most `limit` entries for whole tokens, and one for each future booking.
//!
//! # Algorithm
//! Entries up to the last reading of the clock are in a queue, with running totals; later ones are in a tree (see `ahead`). Without future
//! bookings, an amount waits until enough has left the window, which a binary search over the totals finds. With bookings, it also has to
//! fit before each booking whose window it would be in. The search goes from one gap that is not too full to the next, and skips everything
//! that is too full in one step; two such steps lead further by at least a `period`.
//!
//! # In bounded memory
//! The window of a key (see `law`) remembers at most [`MOMENTS`] moments, if nothing is booked ahead. When there are more, two that are
//! less than a `1 / (MOMENTS - 1)` of a period apart are merged and dated with the later one: then an amount counts longer than a period,
//! by that much at most, and never shorter. There are always two such moments, because a period overlaps at most `MOMENTS` parts of that
//! length.

use std::collections::{TryReserveError, VecDeque};

use super::ahead::Ahead;
use super::units::Units;
use crate::clock::Nanos;

/// The number of moments that are remembered for a key.
pub(super) const MOMENTS: usize = 16;

/// The largest sum of a log.
const MOST: Units = 1 << 62;

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Nanos,
    /// The sum of everything taken up to and including this entry. It wraps.
    total: Units,
}

#[derive(Debug)]
pub(super) struct Window {
    pub(super) limit: Units,
    period: Nanos,
    /// The entries up to `expired_until`, ordered by time.
    past: VecDeque<Entry>,
    /// The total at the last entry that has left `past`.
    gone: Units,
    /// The entries after `expired_until`.
    ahead: Ahead,
    /// The log is complete only from this moment on: no entry is dated earlier.
    expired_until: Nanos,
    /// True if at most [`MOMENTS`] entries of the past are kept.
    bounded: bool,
}

/// The index of the part of time within which the moments of a window in bounded memory may be merged.
pub(super) fn part_of(at: Nanos, period: Nanos) -> Nanos {
    at / period.div_ceil(MOMENTS as Nanos - 1)
}

impl Window {
    pub(super) fn new(limit: Units, period: Nanos) -> Self {
        Self { limit, period, past: VecDeque::new(), gone: 0, ahead: Ahead::new(), expired_until: 0, bounded: false }
    }

    /// A window in bounded memory, with this log of earlier takings, in order.
    pub(super) fn bounded(limit: Units, period: Nanos, log: impl Iterator<Item = (Nanos, Units)>, now: Nanos) -> Self {
        let mut window = Self { bounded: true, ..Self::new(limit, period) };
        window.expire(now);
        log.for_each(|(at, n)| window.take(n, at));
        window
    }

    /// The log of a window in bounded memory, in order. `None` if something is booked ahead.
    pub(super) fn log(&mut self, now: Nanos) -> Option<impl Iterator<Item = (Nanos, Units)>> {
        self.expire(now);
        self.merge();
        let mut before = self.gone;
        self.ahead.is_empty().then(|| {
            self.past.iter().map(move |entry| (entry.at, entry.total.wrapping_sub(std::mem::replace(&mut before, entry.total))))
        })
    }

    /// Merges entries until there are few enough. A later entry's total already includes the earlier one.
    fn merge(&mut self) {
        if !self.bounded || !self.ahead.is_empty() {
            return;
        }
        while self.past.len() > MOMENTS {
            let part = |entry: &Entry| part_of(entry.at, self.period);
            let Some(first) = (1..self.past.len()).find(|&next| part(&self.past[next - 1]) == part(&self.past[next])) else {
                return;
            };
            self.past.remove(first - 1);
        }
    }

    pub(super) fn set_period(&mut self, period: Nanos) {
        self.period = period;
        let mut entries = self.ahead.remove_all();
        while let Some((at, n)) = self.ahead.next_of(&mut entries) {
            self.take(n, at); // in the memory of an entry that has been removed
        }
    }

    /// A copy, with memory for this many more takings that are not ahead.
    pub(super) fn try_clone(&self, more: usize) -> Result<Self, TryReserveError> {
        let mut past = VecDeque::new();
        past.try_reserve_exact(self.past.len() + self.ahead.len() + more)?;
        past.extend(self.past.iter().copied());
        Ok(Self { past, ahead: self.ahead.try_clone()?, ..*self })
    }

    /// Reserves memory for this many more entries, and for one future booking. What is booked already will be a part of the past, which
    /// must need no memory then.
    pub(super) fn try_reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        self.past.try_reserve(self.ahead.len() + more)?;
        self.ahead.try_reserve()
    }

    /// The moment of the last entry that is ahead.
    pub(super) fn last_booked(&self) -> Option<Nanos> {
        self.ahead.last_before(Nanos::MAX)
    }

    /// True if nothing is booked ahead.
    pub(super) fn is_plain(&self) -> bool {
        self.ahead.is_empty()
    }

    /// The sum of `past`.
    fn used_before(&self) -> Units {
        self.past.back().map_or(0, |last| last.total.wrapping_sub(self.gone))
    }

    fn used(&self) -> Units {
        self.used_before() + self.ahead.sum()
    }

    /// True if `n` more can be counted.
    pub(super) fn can_book(&self, n: Units) -> bool {
        self.used().saturating_add(n) <= MOST
    }

    fn leaves(&self, at: Nanos) -> Nanos {
        at.saturating_add(self.period)
    }

    /// Removes the entries that no window ending at `now` or later contains.
    pub(super) fn expire(&mut self, now: Nanos) {
        if now > self.expired_until {
            self.expired_until = now;
            while let Some((at, n)) = self.ahead.pop_due(now) {
                self.past.push_back(Entry { at, total: self.gone.wrapping_add(self.used_before()).wrapping_add(n) });
            }
        }
        while let Some(first) = self.past.front().filter(|first| self.leaves(first.at) <= now) {
            self.gone = first.total;
            self.past.pop_front();
        }
    }

    /// The sum of the amounts taken up to and including `at`.
    fn sum_until(&self, at: Nanos) -> Units {
        if at >= self.expired_until {
            return self.used_before() + self.ahead.sum_until(at);
        }
        let place = self.past.partition_point(|entry| entry.at <= at);
        place.checked_sub(1).map_or(0, |last| self.past[last].total.wrapping_sub(self.gone))
    }

    /// The moment at which the first `sum` units of the log have left the window.
    fn has_left(&self, sum: Units) -> Nanos {
        let before = self.used_before();
        if sum > before {
            return self.ahead.reaches(sum - before).map_or(Nanos::MAX, |at| self.leaves(at));
        }
        // Mostly it is one of the first entries.
        let mut first = self.past.iter().take(4);
        if let Some(entry) = first.find(|entry| entry.total.wrapping_sub(self.gone) >= sum) {
            return self.leaves(entry.at);
        }
        let place = self.past.partition_point(|entry| entry.total.wrapping_sub(self.gone) < sum);
        self.leaves(self.past[place].at)
    }

    /// The first moment, not before `from`, at which `n` can be admitted with every window that holds a booking still within the limit.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        let mut at = from.max(self.expired_until);
        let most = self.limit.saturating_sub(n);
        loop {
            at = self.first_low(at, most);
            if self.ahead.is_empty() {
                return at;
            }
            match self.ahead.last_full(at, self.leaves(at), most) {
                Some(full) => at = full,
                None => return at,
            }
        }
    }

    /// The first moment, not before `from`, at which the window holds at most `most`.
    fn first_low(&self, from: Nanos, most: Units) -> Nanos {
        if self.ahead.is_empty() {
            let used = self.used_before();
            return if used <= most { from } else { from.max(self.has_left(used - most)) };
        }
        let gone = from.checked_sub(self.period).map_or(0, |before| self.sum_until(before));
        if self.sum_until(from) - gone <= most {
            return from;
        }
        // It is in the last gap before this entry, or after all entries.
        let next = self.ahead.first_low(from, most);
        let last = self.ahead.last_before(next.unwrap_or(Nanos::MAX)).map_or(from, |last| from.max(last));
        let so_far = self.sum_until(last);
        if so_far <= most { last } else { last.max(self.has_left(so_far - most)) }
    }

    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        let leaves = self.leaves(at);
        if at > self.expired_until {
            let until = self.sum_until(at);
            let before = self.sum_until(at - 1);
            let gone = at.checked_sub(self.period).map_or(0, |gone| self.sum_until(gone));
            let gone_before =
                at.checked_sub(self.period).and_then(|gone| gone.checked_sub(1)).map_or(0, |gone| self.sum_until(gone));
            self.ahead.insert(at, n, until - gone, before - gone_before);
        } else {
            let place = self.past.partition_point(|entry| entry.at <= at);
            let before = place.checked_sub(1).map_or(self.gone, |before| self.past[before].total);
            if place.checked_sub(1).is_none_or(|before| self.past[before].at != at) {
                self.past.insert(place, Entry { at, total: before });
            }
            let same = self.past.partition_point(|entry| entry.at < at);
            self.past.range_mut(same..).for_each(|entry| entry.total = entry.total.wrapping_add(n));
        }
        self.ahead.count(n, at, leaves);
        self.merge();
    }

    /// Takes up to `n` out of the entry of `past` at this index, and removes an entry that becomes empty. Returns the amount taken out.
    fn take_out(&mut self, n: Units, place: usize) -> Units {
        let Entry { at, total } = self.past[place];
        let before = place.checked_sub(1).map_or(self.gone, |before| self.past[before].total);
        let there = total.wrapping_sub(before);
        let taken = n.min(there);
        self.past.range_mut(place..).for_each(|entry| entry.total = entry.total.wrapping_sub(taken));
        if taken == there {
            self.past.remove(place);
        }
        self.ahead.count(taken.wrapping_neg(), at, self.leaves(at));
        taken
    }

    /// Takes `n`, which was taken at `at`, out of the log. Returns the part that was still there.
    pub(super) fn withdraw(&mut self, n: Units, at: Nanos) -> Units {
        if at > self.expired_until {
            let taken = self.ahead.take_out(n, at);
            self.ahead.count(taken.wrapping_neg(), at, self.leaves(at));
            return taken;
        }
        let place = self.past.partition_point(|entry| entry.at < at);
        match self.past.get(place) {
            Some(entry) if entry.at == at => self.take_out(n, place),
            // The entry may have been merged with the next one.
            Some(entry) if self.bounded && part_of(entry.at, self.period) == part_of(at, self.period) => self.take_out(n, place),
            _ => 0,
        }
    }

    /// Gives `n` back, from the latest takings (but not from future bookings).
    pub(super) fn give_back(&mut self, mut n: Units, now: Nanos) {
        self.expire(now);
        while n > 0 && !self.past.is_empty() {
            n -= self.take_out(n, self.past.len() - 1);
        }
    }

    /// The part of the limit that is left now, in units; negative in debt.
    pub(super) fn level(&mut self, now: Nanos) -> i128 {
        self.expire(now);
        i128::from(self.limit) - i128::from(self.used())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A straightforward window, as a model for the test.
    struct Plain {
        limit: Units,
        period: Nanos,
        log: Vec<(Nanos, Units)>,
    }

    impl Plain {
        fn used(&self, at: Nanos) -> Units {
            self.log.iter().filter(|(t, _)| *t <= at && t + self.period > at).map(|(_, n)| n).sum()
        }

        fn is_lawful(&self, n: Units, at: Nanos) -> bool {
            let ends = self.log.iter().map(|(t, _)| *t).filter(|t| *t > at && *t < at + self.period);
            std::iter::once(at).chain(ends).all(|end| self.used(end) + n <= self.limit)
        }

        fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
            let leave = self.log.iter().map(|(t, _)| t + self.period);
            let mut moments: Vec<_> =
                self.log.iter().map(|(t, _)| *t).chain(leave).chain([from]).filter(|t| *t >= from).collect();
            moments.sort_unstable();
            moments.into_iter().find(|&at| self.is_lawful(n, at)).expect("everything leaves")
        }
    }

    #[test]
    fn as_a_plain_list() {
        let mut random = 5_u64;
        let mut dice = |sides: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % sides
        };
        for round in 0..400 {
            let (limit, period) = (1 + dice(8), 1 + dice(12));
            let (mut window, mut plain) = (Window::new(limit, period), Plain { limit, period, log: Vec::new() });
            let mut now = dice(3);
            for _ in 0..60 {
                now += dice(4) * dice(2);
                window.expire(now);
                let n = 1 + dice(plain.limit);
                match dice(10) {
                    0..=5 => {
                        let at = window.ready_at(n, now + dice(3) * dice(9));
                        window.take(n, at);
                        plain.log.push((at, n));
                    }
                    6 => {
                        let at = now + dice(3) * dice(20); // a charge, or the booking of another set, which may exceed the limit
                        window.take(n, at);
                        plain.log.push((at, n));
                    }
                    7 if !plain.log.is_empty() => {
                        let index = usize::try_from(dice(plain.log.len() as u64)).unwrap();
                        let at = plain.log[index].0;
                        let there: Units =
                            plain.log.iter().filter(|(t, _)| *t == at && t + plain.period > now).map(|(_, n)| n).sum();
                        let taken = window.withdraw(n, at);
                        assert_eq!(taken, n.min(there));
                        plain.log.push((at, there - taken));
                        let last = plain.log.len() - 1;
                        plain.log =
                            plain.log.iter().enumerate().filter(|(i, (t, _))| *t != at || *i == last).map(|(_, e)| *e).collect();
                    }
                    8 if round % 3 == 0 => {
                        plain.limit = 1 + dice(8);
                        window.limit = plain.limit;
                    }
                    9 if round % 3 == 1 => {
                        // A longer period does not bring back the takings that have left.
                        plain.log.retain(|(t, _)| t + plain.period > now);
                        plain.period = 1 + dice(12);
                        window.set_period(plain.period);
                        window.expire(now);
                    }
                    _ => {}
                }
                plain.log.retain(|(t, n)| *n > 0 && t + plain.period > now);
                let (n, from) = (1 + dice(plain.limit), now + dice(2) * dice(15));
                assert_eq!(
                    window.ready_at(n, from),
                    plain.ready_at(n, from),
                    "{n} from {from}: {plain_log:?}",
                    plain_log = plain.log
                );
                let used: Units = plain.log.iter().map(|(_, n)| n).sum();
                assert_eq!(window.level(now), i128::from(plain.limit) - i128::from(used));
            }
        }
    }
}
