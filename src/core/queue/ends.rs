//! `Ends`: counts those who share one end of a stream, producers or consumers of a queue, and says who is the last.
//!
//! | event                         | answer                                                  |
//! |-------------------------------|---------------------------------------------------------|
//! | `enter`, fewer than expected before | true                                              |
//! | `enter`, all are here or gone | false: the caller said too small a number               |
//! | `leave`, some are still expected | false: some are inside, or have not come yet          |
//! | `leave`, the last of all      | true, once: the end is over                             |
//!
//! Whoever has not entered may not leave. It does not know the queue: what happens at the end is the caller's.

use crate::sync::{AtomicU64, Ordering};

/// Those who share an end of a stream.
#[derive(Debug)]
pub struct Ends {
    expected: u64,
    entered: AtomicU64,
    left: AtomicU64,
}

impl Ends {
    /// An end that is shared by `expected`, at least one.
    pub fn new(expected: u64) -> Self {
        Self { expected, entered: AtomicU64::new(0), left: AtomicU64::new(0) }
    }

    /// How many share it.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// How many have entered, and how many of them have left.
    pub fn counts(&self) -> (u64, u64) {
        // Relaxed: only shown. `left` first, so that it is never above `entered`.
        let left = self.left.load(Ordering::Relaxed);
        (self.entered.load(Ordering::Relaxed), left)
    }

    /// Somebody enters: false if all who were expected have done so already.
    #[must_use = "without leave nobody has entered"]
    pub fn enter(&self) -> bool {
        // Relaxed: it admits a number of callers, and publishes nothing.
        self.entered
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |entered| (entered < self.expected).then_some(entered + 1))
            .is_ok()
    }

    /// Somebody leaves: true if that was the last of all who were expected.
    #[must_use = "the last one ends the stream"]
    pub fn leave(&self) -> bool {
        // AcqRel: what everybody did before leaving is seen by the last one.
        self.left.fetch_add(1, Ordering::AcqRel) + 1 == self.expected
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_leave_is_told_once() {
        let ends = Ends::new(3);
        assert!((0..3).all(|_| ends.enter()));
        assert_eq!([ends.leave(), ends.leave(), ends.leave()], [false, false, true]);
        assert_eq!(ends.counts(), (3, 3));
    }

    #[test]
    fn an_end_is_not_over_before_all_have_come() {
        let ends = Ends::new(2);
        assert!(ends.enter());
        assert!(!ends.leave());
        assert!(ends.enter());
        assert!(ends.leave());
    }

    #[test]
    fn nobody_enters_beyond_the_number() {
        let ends = Ends::new(1);
        assert!(ends.enter());
        assert!(!ends.enter());
        assert!(ends.leave());
        assert!(!ends.enter(), "who has left does not make room");
        assert_eq!(ends.counts(), (1, 1));
    }
}
