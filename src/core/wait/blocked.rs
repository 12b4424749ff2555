//! `Blocked`: the total time of waits, including those that are not over yet.

use crate::clock::Nanos;

/// Time spent waiting in one wait queue: the total of finished waits, and for unfinished waits their number and the sum of their start times.
#[derive(Debug, Default)]
pub struct Blocked {
    finished: Nanos,
    waiting: u32,
    begun: u128,
    /// The time during which the wait queue was not empty, up to when it was last empty; and since when it has not been empty.
    occupied: Nanos,
    occupied_since: Nanos,
}

impl Blocked {
    pub fn begin(&mut self, now: Nanos) {
        if self.waiting == 0 {
            self.occupied_since = now;
        }
        self.waiting += 1;
        self.begun += u128::from(now);
    }

    pub fn end(&mut self, since: Nanos, now: Nanos) {
        if self.waiting == 1 {
            self.occupied += now.saturating_sub(self.occupied_since);
        }
        self.waiting = self.waiting.saturating_sub(1);
        self.begun = self.begun.saturating_sub(u128::from(since));
        self.finished += now.saturating_sub(since);
    }

    /// All waits end now.
    pub fn end_all(&mut self, now: Nanos) {
        *self = Self { finished: self.total(now), occupied: self.occupied(now), ..Self::default() };
    }

    pub fn total(&self, now: Nanos) -> Nanos {
        let running = (u128::from(now) * u128::from(self.waiting)).saturating_sub(self.begun);
        self.finished.saturating_add(u64::try_from(running).unwrap_or(u64::MAX))
    }

    /// The time during which the wait queue was not empty.
    pub fn occupied(&self, now: Nanos) -> Nanos {
        self.occupied + if self.waiting > 0 { now.saturating_sub(self.occupied_since) } else { 0 }
    }

    /// After a fork: forgets the unfinished waits, which are the parent's and never end in this process.
    pub fn forget(&mut self) {
        *self = Self { finished: self.finished, occupied: self.occupied, ..Self::default() };
    }
}
