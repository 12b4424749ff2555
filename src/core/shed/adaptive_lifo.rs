//! `AdaptiveLifo`: the newest item first while a queue stands, and short patience: B. Maurer, "Fail at Scale: Reliability in the Face of
//! Rapid Change", ACM Queue 13(8), 2015, and the server variant of CoDel that it describes.
//!
//! # Algorithm
//! A queue *stands* when it has not been empty for `interval`. An item that comes may wait for `interval` (100 ms in the article), but only
//! for `target` (5 ms) while the queue stands; after that it is shed. While the queue stands the newest item leaves first, since it
//! is the one whose sender still waits; otherwise the oldest.
//!
//! | the queue                                    | order of leaving | an item that comes may wait |
//! |----------------------------------------------|------------------|-----------------------------|
//! | was empty less than `interval` ago           | oldest first     | for `interval`              |
//! | has not been empty for `interval`            | newest first     | for `target`                |
//!
//! # Fairness
//! None while the queue stands, by intention: the items that came first would be served too late anyway.
//!
//! # What it does not do
//! It stores no items and reads no clock.

use crate::clock::Nanos;

/// The state of the rule, for one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveLifo {
    target: Nanos,
    interval: Nanos,
    /// When the queue was last known to be empty.
    last_empty: Nanos,
}

impl AdaptiveLifo {
    pub fn new(target: Nanos, interval: Nanos, now: Nanos) -> Self {
        Self { target, interval, last_empty: now }
    }

    pub fn target(&self) -> Nanos {
        self.target
    }

    pub fn interval(&self) -> Nanos {
        self.interval
    }

    /// Records that the queue is empty at `now`.
    pub fn empty_at(&mut self, now: Nanos) {
        self.last_empty = now;
    }

    /// True if the queue has not been empty for `interval`, so that the newest item leaves first.
    pub fn is_standing(&self, now: Nanos) -> bool {
        now.saturating_sub(self.last_empty) > self.interval
    }

    /// The time until which an item that arrives now may wait.
    pub fn patience(&self, now: Nanos) -> Nanos {
        now.saturating_add(if self.is_standing(now) { self.target } else { self.interval })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_queue_stands_when_it_has_not_been_empty_for_an_interval() {
        let mut rule = AdaptiveLifo::new(5, 100, 1000);
        assert!(!rule.is_standing(1100));
        assert_eq!(rule.patience(1100), 1200);
        assert!(rule.is_standing(1101));
        assert_eq!(rule.patience(1101), 1106);
        rule.empty_at(1101);
        assert!(!rule.is_standing(1201));
    }
}
