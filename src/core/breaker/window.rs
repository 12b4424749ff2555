//! The results that count for the rates of a closed breaker: those of a number of seconds, or a number of results.
//!
//! # Algorithm
//! A window of time has ten buckets. Each counts the results of a tenth of the window, and is emptied when its turn comes round again; the
//! totals are kept beside them, so that a result costs a few additions however many there are. The window therefore covers between nine
//! tenths of its length and the whole of it. The buckets begin when the breaker closes, so what happens depends on nothing else.
//!
//! A window of results is a ring of their marks, likewise with totals. It takes one byte a result, as they come.

use super::rules::Rules;
use crate::clock::Nanos;

const BUCKETS: usize = 10;

/// How many results, and how many of them were bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    pub(crate) slow: u64,
}

impl Counts {
    fn add(&mut self, failed: bool, slow: bool) {
        self.calls += 1;
        self.failures += u64::from(failed);
        self.slow += u64::from(slow);
    }

    fn subtract(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failures -= other.failures;
        self.slow -= other.slow;
    }

    pub(crate) fn is_spotless(&self) -> bool {
        self.failures == 0 && self.slow == 0
    }
}

#[derive(Debug)]
enum Span {
    Time {
        buckets: Box<[Counts; BUCKETS]>,
        /// The length of a bucket.
        width: Nanos,
        /// When the first bucket began.
        origin: Nanos,
        /// The number of the bucket that was written last.
        current: u64,
    },
    Results {
        ring: Vec<u8>,
        size: usize,
        /// The oldest result, once the ring is full.
        oldest: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Window {
    span: Span,
    total: Counts,
}

const FAILED: u8 = 1;
const SLOW: u8 = 2;

impl Window {
    pub(crate) fn new(rules: &Rules, now: Nanos) -> Self {
        let span = match rules.calls {
            None => {
                let width = (rules.window / BUCKETS as u64).max(1);
                Span::Time { buckets: Box::default(), width, origin: now, current: 0 }
            }
            Some(size) => Span::Results { ring: Vec::new(), size, oldest: 0 },
        };
        Self { span, total: Counts::default() }
    }

    /// What counts at this moment.
    pub(crate) fn counts(&mut self, now: Nanos) -> Counts {
        self.pass(now);
        self.total
    }

    pub(crate) fn record(&mut self, now: Nanos, failed: bool, slow: bool) -> Counts {
        self.pass(now);
        match &mut self.span {
            Span::Time { buckets, current, .. } => buckets[index(*current)].add(failed, slow),
            Span::Results { ring, size, oldest } => {
                let mark = if failed { FAILED } else { 0 } | if slow { SLOW } else { 0 };
                if ring.len() < *size && ring.try_reserve(1).is_err() {
                    *size = ring.len(); // without memory the window stays as long as it is
                }
                if *size == 0 {
                    return self.total;
                }
                if ring.len() < *size {
                    ring.push(mark);
                } else {
                    let gone = std::mem::replace(&mut ring[*oldest], mark);
                    *oldest = (*oldest + 1) % *size;
                    let (failures, slow) = (u64::from(gone & FAILED), u64::from(gone & SLOW != 0));
                    self.total.subtract(Counts { calls: 1, failures, slow });
                }
            }
        }
        self.total.add(failed, slow);
        self.total
    }

    /// Empties the buckets whose turn has come round again.
    #[inline]
    fn pass(&mut self, now: Nanos) {
        let Span::Time { buckets, width, origin, current } = &mut self.span else { return };
        let bucket = now.saturating_sub(*origin) / *width;
        if bucket > *current {
            for passed in (*current + 1..=bucket).take(BUCKETS) {
                self.total.subtract(std::mem::take(&mut buckets[index(passed)]));
            }
            *current = bucket;
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below ten")]
fn index(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}
