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
    fn expire(&mut self, now: Nanos) {
        self.expired_until = self.expired_until.max(now);
        while let Some(first) = self.log.front() {
            if first.at.saturating_add(self.period) > now {
                break;
            }
            self.used -= u128::from(first.n);
            self.log.pop_front();
        }
    }

    pub(super) fn fits(&mut self, n: Units, now: Nanos) -> bool {
        self.expire(now);
        self.ready_at(n, now) == now
    }

    /// The first moment, not before `from` and not before anything booked, at which `n` may go.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        let from = from.max(self.expired_until);
        let mut at = self.log.back().map_or(from, |last| from.max(last.at));
        let mut used = self.used;
        for entry in &self.log {
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
