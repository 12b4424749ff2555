//! `Blocked`: how long waits have taken, those that still go on too.

use crate::clock::Nanos;

/// Time spent waiting in one line: finished waits, and those still going on as a count and a sum of their beginnings.
#[derive(Debug, Default)]
pub struct Blocked {
    finished: Nanos,
    waiting: u32,
    begun: u128,
    /// For how long somebody waited, up to when the line was last empty, and since when somebody has.
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

    pub fn total(&self, now: Nanos) -> Nanos {
        let running = (u128::from(now) * u128::from(self.waiting)).saturating_sub(self.begun);
        self.finished.saturating_add(u64::try_from(running).unwrap_or(u64::MAX))
    }

    /// For how long there was somebody in line, however many that were.
    pub fn occupied(&self, now: Nanos) -> Nanos {
        self.occupied + if self.waiting > 0 { now.saturating_sub(self.occupied_since) } else { 0 }
    }

    /// Those who wait are not ours (after a fork): their waits never end here.
    pub fn forget(&mut self) {
        *self = Self { finished: self.finished, occupied: self.occupied, ..Self::default() };
    }
}
