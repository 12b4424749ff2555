//! `StreamEnd`: counts the members of one end of a stream, the producers or the consumers of a queue, and finds the last one.
//!
//! | event                         | answer                                                  |
//! |-------------------------------|---------------------------------------------------------|
//! | `enter`, fewer than expected before | true                                              |
//! | `enter`, all have entered     | false: the expected number was too small                |
//! | `leave`, some are still expected | false: some are inside, or have not entered yet      |
//! | `leave`, the last of all      | true, once: this end of the stream is over              |
//!
//! A member may leave only after it has entered. A `StreamEnd` does not know the queue: the caller decides what happens at the end.

use crate::sync::{AtomicU64, Ordering};

/// The members of one end of a stream.
#[derive(Debug)]
pub struct StreamEnd {
    expected: u64,
    entered: AtomicU64,
    left: AtomicU64,
}

impl StreamEnd {
    /// An end with `expected` members, at least one.
    pub fn new(expected: u64) -> Self {
        Self { expected, entered: AtomicU64::new(0), left: AtomicU64::new(0) }
    }

    /// The number of members.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// The numbers of members that have entered, and that have left.
    pub fn counts(&self) -> (u64, u64) {
        // Relaxed: for information only. `left` is read first, so that it is never above `entered`.
        let left = self.left.load(Ordering::Relaxed);
        (self.entered.load(Ordering::Relaxed), left)
    }

    /// A member enters. Returns false if all expected members have entered already.
    #[must_use = "without leave nobody has entered"]
    pub fn enter(&self) -> bool {
        // Relaxed: it limits a number, and publishes nothing.
        self.entered
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |entered| (entered < self.expected).then_some(entered + 1))
            .is_ok()
    }

    /// A member leaves. Returns true for the last of all expected members.
    #[must_use = "the last one ends the stream"]
    pub fn leave(&self) -> bool {
        // AcqRel: the last member sees what all others did before they left.
        self.left.fetch_add(1, Ordering::AcqRel) + 1 == self.expected
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_leave_is_told_once() {
        let ends = StreamEnd::new(3);
        assert!((0..3).all(|_| ends.enter()));
        assert_eq!([ends.leave(), ends.leave(), ends.leave()], [false, false, true]);
        assert_eq!(ends.counts(), (3, 3));
    }

    #[test]
    fn an_end_is_not_over_before_all_have_come() {
        let ends = StreamEnd::new(2);
        assert!(ends.enter());
        assert!(!ends.leave());
        assert!(ends.enter());
        assert!(ends.leave());
    }

    #[test]
    fn nobody_enters_beyond_the_number() {
        let ends = StreamEnd::new(1);
        assert!(ends.enter());
        assert!(!ends.enter());
        assert!(ends.leave());
        assert!(!ends.enter(), "an end that has left does not make room");
        assert_eq!(ends.counts(), (1, 1));
    }
}
