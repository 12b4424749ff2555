//! The sliding window, exact: never more than `limit` in any window of `period`.
//!
//! A log of what was admitted, and of what is booked ahead, in order of time. Windows are half open: an amount taken at `t` counts until just
//! before `t + period`. What can be admitted, and when, follows from the log alone. Memory: one entry for each moment at which something was
//! admitted in the last `period`, so at most `limit` of them for whole tokens, and one for each booking ahead.
//!
//! # Algorithm
//! Entries up to the last reading of the clock are in a queue, with running totals; later ones are in a tree (see `ahead`). Without bookings
//! ahead an amount waits until enough has left the window, which a binary search over the totals finds. With bookings it also has to fit
//! before each of them whose window it would be in. The search goes from one gap to the next that is not too full, and skips whatever is
//! too full in one step; two such steps lead further by at least a `period`.

use std::collections::VecDeque;

use super::ahead::Ahead;
use super::units::Units;
use crate::clock::Nanos;

/// No more than this is ever in a log.
const MOST: Units = 1 << 62;

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Nanos,
    /// Of everything ever taken up to here; it wraps.
    total: Units,
}

#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) limit: Units,
    period: Nanos,
    /// Up to `expired_until`, sorted by time.
    past: VecDeque<Entry>,
    /// The total of what has left `past`.
    gone: Units,
    /// After `expired_until`.
    ahead: Ahead,
    /// The log is complete from here on only: nothing is dated before.
    expired_until: Nanos,
}

impl Window {
    pub(super) fn new(limit: Units, period: Nanos) -> Self {
        Self { limit, period, past: VecDeque::new(), gone: 0, ahead: Ahead::new(), expired_until: 0 }
    }

    pub(super) fn set_period(&mut self, period: Nanos) {
        self.period = period;
        let entries = self.ahead.entries();
        self.ahead = Ahead::new();
        for (at, n) in entries {
            self.take(n, at);
        }
    }

    /// The sum of `past`.
    fn used_before(&self) -> Units {
        self.past.back().map_or(0, |last| last.total.wrapping_sub(self.gone))
    }

    fn used(&self) -> Units {
        self.used_before() + self.ahead.sum()
    }

    /// Can `n` more be counted?
    pub(super) fn can_book(&self, n: Units) -> bool {
        self.used().saturating_add(n) <= MOST
    }

    fn leaves(&self, at: Nanos) -> Nanos {
        at.saturating_add(self.period)
    }

    /// Forgets what no window that ends at `now` or later can contain.
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

    /// The sum of what was taken up to `at`, included.
    fn sum_until(&self, at: Nanos) -> Units {
        if at >= self.expired_until {
            return self.used_before() + self.ahead.sum_until(at);
        }
        let place = self.past.partition_point(|entry| entry.at <= at);
        place.checked_sub(1).map_or(0, |last| self.past[last].total.wrapping_sub(self.gone))
    }

    /// The moment at which so much has left the window: when the entry leaves with which the sum from the beginning reaches `sum`.
    fn has_left(&self, sum: Units) -> Nanos {
        let before = self.used_before();
        if sum > before {
            return self.ahead.reaches(sum - before).map_or(Nanos::MAX, |at| self.leaves(at));
        }
        // Mostly it is one of the first.
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
        // In the last gap before this entry, or after all of them.
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
    }

    /// Takes `n` out of the entry of `past` at this place, which may vanish. Returns how much that was.
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

    /// Takes `n` out again that was taken at `at`. Returns how much of it was still there.
    pub(super) fn withdraw(&mut self, n: Units, at: Nanos) -> Units {
        if at > self.expired_until {
            let taken = self.ahead.take_out(n, at);
            self.ahead.count(taken.wrapping_neg(), at, self.leaves(at));
            return taken;
        }
        let place = self.past.partition_point(|entry| entry.at < at);
        match self.past.get(place) {
            Some(entry) if entry.at == at => self.take_out(n, place),
            _ => 0,
        }
    }

    /// Gives `n` back, of what was taken last (but not of what is booked ahead).
    pub(super) fn give_back(&mut self, mut n: Units, now: Nanos) {
        self.expire(now);
        while n > 0 && !self.past.is_empty() {
            n -= self.take_out(n, self.past.len() - 1);
        }
    }

    /// What is left of the limit now, in units; negative in debt.
    pub(super) fn level(&mut self, now: Nanos) -> i128 {
        self.expire(now);
        i128::from(self.limit) - i128::from(self.used())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// What a window is, without any cleverness.
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
                        let at = now + dice(3) * dice(20); // a charge, or another set's promise: lawful or not
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
                        // A longer period does not bring back what has left.
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
