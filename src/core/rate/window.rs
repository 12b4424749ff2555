//! The sliding window, exact: never more than `limit` in any window of `period`.
//!
//! A log of what was admitted, and of what is booked ahead, in order of time. Windows are half open: what came at `t` counts until just
//! before `t + period`. What may go, and when, follows from the log alone. Memory: one entry for each moment at which something was
//! admitted in the last `period`, so at most `limit` of them for whole tokens.

use std::collections::VecDeque;

use super::units::Units;
use crate::clock::Nanos;

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Nanos,
    n: Units,
}

#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) limit: Units,
    pub(super) period: Nanos,
    /// Sorted by time.
    log: VecDeque<Entry>,
    /// The sum of it.
    used: u128,
    /// The log is complete from here on only: nothing is dated before.
    expired_until: Nanos,
}

impl Window {
    pub(super) fn new(limit: Units, period: Nanos) -> Self {
        Self { limit, period, log: VecDeque::new(), used: 0, expired_until: 0 }
    }

    /// Forgets what no window that ends at `now` or later can contain.
    pub(super) fn expire(&mut self, now: Nanos) {
        self.expired_until = self.expired_until.max(now);
        while let Some(first) = self.log.front() {
            if first.at.saturating_add(self.period) > now {
                break;
            }
            self.used -= u128::from(first.n);
            self.log.pop_front();
        }
    }

    /// The first moment, not before `from`, at which `n` may go with everything that is booked still lawful.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        let from = from.max(self.expired_until);
        let mut before = self.log.partition_point(|entry| entry.at <= from);
        loop {
            let at = self.ready_after(before, n, from);
            let Some(next) = self.log.get(before) else { return at };
            if at < next.at && self.all_lawful(before, n, at) {
                return at;
            }
            before += 1; // it has to go behind that one
        }
    }

    /// The first moment that the first `count` entries allow, and not before the last of them.
    fn ready_after(&self, count: usize, n: Units, from: Nanos) -> Nanos {
        let entries = || self.log.iter().take(count);
        let mut at = entries().next_back().map_or(from, |last| from.max(last.at));
        let mut used = if count == self.log.len() { self.used } else { entries().map(|entry| u128::from(entry.n)).sum() };
        for entry in entries() {
            let leaves = entry.at.saturating_add(self.period);
            if leaves > at {
                if used + u128::from(n) <= u128::from(self.limit) {
                    break;
                }
                at = leaves;
            }
            used -= u128::from(entry.n);
        }
        at
    }

    /// With `n` at `at`: does each window that ends with an entry from `first` on stay within the limit, if it contains `at`?
    fn all_lawful(&self, first: usize, n: Units, at: Nanos) -> bool {
        self.log.range(first..).take_while(|entry| entry.at < at.saturating_add(self.period)).all(|last| {
            let in_window = self.log.iter().filter(|entry| entry.at <= last.at && entry.at.saturating_add(self.period) > last.at);
            in_window.map(|entry| u128::from(entry.n)).sum::<u128>() + u128::from(n) <= u128::from(self.limit)
        })
    }

    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        self.used += u128::from(n);
        let place = self.log.partition_point(|entry| entry.at <= at);
        match place.checked_sub(1).and_then(|before| self.log.get_mut(before)) {
            Some(entry) if entry.at == at && entry.n <= Units::MAX - n => entry.n += n,
            _ => self.log.insert(place, Entry { at, n }),
        }
    }

    /// Takes `n` out again that was taken at `at`. Returns how much of it was still there.
    pub(super) fn withdraw(&mut self, n: Units, at: Nanos) -> Units {
        let place = self.log.partition_point(|entry| entry.at < at);
        let Some(entry) = self.log.get_mut(place).filter(|entry| entry.at == at) else { return 0 };
        let withdrawn = n.min(entry.n);
        entry.n -= withdrawn;
        if entry.n == 0 {
            self.log.remove(place);
        }
        self.used -= u128::from(withdrawn);
        withdrawn
    }

    /// Gives `n` back, of what was taken last (but not of what is booked ahead).
    pub(super) fn give_back(&mut self, mut n: Units, now: Nanos) {
        let mut place = self.log.partition_point(|entry| entry.at <= now);
        while n > 0 && place > 0 {
            place -= 1;
            let entry = &mut self.log[place];
            let returned = n.min(entry.n);
            entry.n -= returned;
            n -= returned;
            self.used -= u128::from(returned);
            if entry.n == 0 {
                self.log.remove(place);
            }
        }
    }

    /// What is left of the limit now, in units; negative in debt.
    #[expect(clippy::cast_possible_wrap, reason = "sums of amounts that are in memory")]
    pub(super) fn level(&mut self, now: Nanos) -> i128 {
        self.expire(now);
        i128::from(self.limit) - self.used as i128
    }
}
