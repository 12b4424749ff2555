//! `Blocked`: how long waits have taken, those that still go on too.

use crate::clock::Nanos;

/// Time spent waiting in one line: finished waits, and those still going on as a count and a sum of their beginnings.
#[derive(Debug, Default)]
pub struct Blocked {
    finished: Nanos,
    waiting: u32,
    begun: u128,
}

impl Blocked {
    pub fn begin(&mut self, now: Nanos) {
        self.waiting += 1;
        self.begun += u128::from(now);
    }

    pub fn end(&mut self, since: Nanos, now: Nanos) {
        self.waiting = self.waiting.saturating_sub(1);
        self.begun = self.begun.saturating_sub(u128::from(since));
        self.finished += now.saturating_sub(since);
    }

    pub fn total(&self, now: Nanos) -> Nanos {
        let running = (u128::from(now) * u128::from(self.waiting)).saturating_sub(self.begun);
        self.finished.saturating_add(u64::try_from(running).unwrap_or(u64::MAX))
    }

    /// Those who wait are not ours (after a fork): their waits never end here.
    pub fn forget(&mut self) {
        *self = Self { finished: self.finished, ..Self::default() };
    }
}
