//! `Histogram`: counts durations by size, for percentiles, in a fixed 5 KB and without a lock.
//!
//! # Algorithm
//! A log-linear array of counters, which is the idea of Gil Tene's HdrHistogram (hdrhistogram.org): each power of two is cut into 16 buckets
//! of the same width, so that a bucket is at most a sixteenth (6.25 %) as wide as its values are large, whatever they are. The bucket's number
//! comes from the position of the leading bit and the four bits behind it: no logarithm, no float, no search.
//!
//! Times are counted in steps of [`STEP`] (64 ns). Below 1.024 µs a step is a bucket, so a value is known to 64 ns there, which is about what
//! reading a clock costs; above, to 6.25 %. Both ends saturate: what is shorter than a step is in the first bucket, and what is longer than
//! [`LONGEST`] (39 hours) counts as `LONGEST`.
//!
//! # What is exact
//! The count and the largest value are exact. So is the sum, until the excesses of the values over the smallest value of their bucket add
//! up to 2⁶⁴ ns. (An excess is less than a sixteenth of its value, so this takes values of 9,000 years in total, or 10¹⁷ values below
//! 1.024 µs; after that the sum can be low by less than 6.25 %.) A percentile is the *upper end* of the bucket that contains the
//! nearest-rank percentile, or the largest value if that is less: never below the exact percentile, and above it by less than 6.25 %, or
//! 64 ns.
//!
//! # Threads
//! [`record`](Histogram::record) may be called from any thread, and never waits: two relaxed `fetch_add`, and a `fetch_max` when a value is
//! the largest yet. [`record_alone`](Histogram::record_alone) is for recorders that are mutually exclusive by other means, and uses plain
//! loads and stores. The counters belong to no protocol, and nothing is published through them, so `Relaxed` is enough for each, and a
//! loom model would have no order to check. A snapshot taken while other threads record contains each of their values wholly, partly, or
//! not at all; it contains all values recorded before it (in the sense of happens-before). Its percentiles are computed from one set of
//! counts, and are never above its `max`.
//!
//! There is no reset, because an exact reset would have to stop the recorders: the figures of an interval are the difference of two
//! snapshots ([`Snapshot::since`]). There are no shards for threads either: a queue records by `record_alone` in its section, where only
//! one thread is at a time.

use std::fmt;

use crate::clock::Nanos;
use crate::sync::{Count, Ordering};

/// Buckets for each power of two, as a number of bits.
const BITS: u32 = 4;
const PER_OCTAVE: usize = 1 << BITS;

/// The width of the first buckets, as a number of bits.
const STEP_BITS: u32 = 6;
/// The width of the narrowest buckets.
pub const STEP: Nanos = 1 << STEP_BITS;

const LONGEST_BITS: u32 = 47;
/// The longest time that can be recorded: 39 hours. Longer times count as this.
pub const LONGEST: Nanos = (1 << LONGEST_BITS) - 1;

/// The first octave is of the steps themselves: 16 below 1.024 µs.
const BUCKETS: usize = (LONGEST_BITS - STEP_BITS - BITS + 1) as usize * PER_OCTAVE;

/// The bucket of a value, which is at most [`LONGEST`].
#[inline]
fn bucket(value: Nanos) -> usize {
    let steps = value >> STEP_BITS;
    let shift = (steps | PER_OCTAVE as u64).ilog2() - BITS;
    shift as usize * PER_OCTAVE + (steps >> shift) as usize
}

/// The value, at most [`LONGEST`]; its bucket; and its excess over the smallest value of that bucket.
#[inline]
fn place(value: Nanos) -> (Nanos, usize, Nanos) {
    let value = value.min(LONGEST);
    let bucket = bucket(value);
    (value, bucket, value & ((1 << width_bits(bucket)) - 1))
}

/// The number of bits in a bucket's width.
fn width_bits(bucket: usize) -> usize {
    (bucket / PER_OCTAVE).saturating_sub(1) + STEP_BITS as usize
}

/// The smallest value in a bucket.
fn lowest(bucket: usize) -> Nanos {
    let octave = (bucket / PER_OCTAVE).saturating_sub(1);
    ((bucket - octave * PER_OCTAVE) as Nanos) << width_bits(bucket)
}

/// The largest value in a bucket.
fn highest(bucket: usize) -> Nanos {
    lowest(bucket) + (1 << width_bits(bucket)) - 1
}

/// Durations, counted by size.
///
/// ```
/// use sluicegate_core::histogram::Histogram;
///
/// let times = Histogram::new();
/// for microseconds in 1..=1000 {
///     times.record(microseconds * 1000);
/// }
/// let summary = times.summary();
/// assert_eq!((summary.count, summary.mean, summary.max), (1000, 500_500, 1_000_000));
/// assert!((990_000..=1_051_875).contains(&summary.p99)); // never less, and at most 6.25 % more
/// ```
pub struct Histogram {
    /// `Relaxed`: each count is independent.
    counts: Box<[Count; BUCKETS]>,
    /// The sum of the excesses of values over the smallest value of their bucket. `Relaxed`: an independent sum.
    rest: Count,
    /// `Relaxed`: it only grows, and a snapshot that misses the last growth uses the bucket instead.
    max: Count,
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: Box::new([const { Count::new(0) }; BUCKETS]), rest: Count::new(0), max: Count::new(0) }
    }

    /// Counts a duration, from any thread.
    #[inline]
    pub fn record(&self, value: Nanos) {
        let (value, bucket, rest) = place(value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.rest.fetch_add(rest, Ordering::Relaxed);
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// Counts a duration while no other thread records, as in a section, without the locked instructions of a `fetch_add`. Two recorders
    /// at once would lose counts. Other threads may take snapshots.
    #[inline]
    pub fn record_alone(&self, value: Nanos) {
        let (value, bucket, rest) = place(value);
        let count = &self.counts[bucket];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.rest.store(self.rest.load(Ordering::Relaxed).wrapping_add(rest), Ordering::Relaxed);
        if value > self.max.load(Ordering::Relaxed) {
            self.max.store(value, Ordering::Relaxed);
        }
    }

    /// The counts at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let mut counts = Box::new([0; BUCKETS]);
        for (copy, count) in counts.iter_mut().zip(self.counts.iter()) {
            *copy = count.load(Ordering::Relaxed);
        }
        let max = self.max.load(Ordering::Relaxed);
        let mut snapshot = Snapshot { counts, rest: self.rest.load(Ordering::Relaxed), max };
        // A value may be in its bucket and not in `max` yet.
        snapshot.max = snapshot.max.max(snapshot.last().map_or(0, lowest));
        snapshot
    }

    /// The percentiles that people ask for.
    pub fn summary(&self) -> Summary {
        self.snapshot().summary()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Histogram").field(&self.summary()).finish()
    }
}

/// The figures of a histogram, in nanoseconds. All are 0 if nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub count: u64,
    pub mean: Nanos,
    pub max: Nanos,
    pub p50: Nanos,
    pub p90: Nanos,
    pub p99: Nanos,
    pub p999: Nanos,
}

/// What a histogram had counted at a moment. Snapshots of several histograms can be merged.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    counts: Box<[u64; BUCKETS]>,
    rest: u64,
    max: Nanos,
}

impl Snapshot {
    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations.
    pub fn sum(&self) -> u128 {
        let whole: u128 = self.filled().map(|(bucket, count)| u128::from(lowest(bucket)) * u128::from(count)).sum();
        whole + u128::from(self.rest)
    }

    /// The longest duration. For an interval (see `since`) it is not exact: not below the longest, and at most 6.25 % above it.
    pub fn max(&self) -> Nanos {
        self.max
    }

    /// The quantile `part / whole` (`quantile(99, 100)` is p99), rounded up to the end of its bucket. 0 if nothing has been recorded.
    pub fn quantile(&self, part: u64, whole: u64) -> Nanos {
        self.value_at(self.count(), part, whole)
    }

    fn value_at(&self, total: u64, part: u64, whole: u64) -> Nanos {
        let rank = (u128::from(total) * u128::from(part)).div_ceil(u128::from(whole)).max(1);
        let mut passed = 0;
        for (bucket, count) in self.filled() {
            passed += u128::from(count);
            if passed >= rank {
                return highest(bucket).min(self.max);
            }
        }
        self.max
    }

    /// The percentiles that people ask for.
    pub fn summary(&self) -> Summary {
        let count = self.count();
        let mean = self.sum().checked_div(u128::from(count)).unwrap_or(0);
        let mean = u64::try_from(mean).unwrap_or(u64::MAX).min(self.max);
        let [p50, p90, p99, p999] = [500, 900, 990, 999].map(|part| self.value_at(count, part, 1000));
        Summary { count, mean, max: self.max, p50, p90, p99, p999 }
    }

    /// Adds what another has counted. The order does not matter.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.rest = self.rest.wrapping_add(other.rest); // as the atomic does
        self.max = self.max.max(other.max);
    }

    /// What was recorded between an earlier snapshot of the same histogram and this one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut between = self.clone();
        for (count, before) in between.counts.iter_mut().zip(earlier.counts.iter()) {
            *count = count.saturating_sub(*before);
        }
        between.rest = self.rest.wrapping_sub(earlier.rest);
        between.max = between.last().map_or(0, |bucket| highest(bucket).min(self.max));
        between
    }

    /// The largest value of each bucket that has any, with its count, in order: what an exporter needs.
    pub fn buckets(&self) -> impl Iterator<Item = (Nanos, u64)> + '_ {
        self.filled().map(|(bucket, count)| (highest(bucket), count))
    }

    fn filled(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.counts.iter().copied().enumerate().filter(|&(_, count)| count > 0)
    }

    fn last(&self) -> Option<usize> {
        self.counts.iter().rposition(|&count| count > 0)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&self.summary()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_without_gap_or_overlap() {
        assert_eq!(lowest(0), 0);
        for bucket in 1..BUCKETS {
            assert_eq!(lowest(bucket), highest(bucket - 1) + 1, "{bucket}");
        }
        assert_eq!(highest(BUCKETS - 1), LONGEST);
    }

    #[test]
    fn each_end_of_a_bucket_is_in_it() {
        for each in 0..BUCKETS {
            assert_eq!((bucket(lowest(each)), bucket(highest(each))), (each, each));
        }
    }

    #[test]
    fn a_bucket_is_a_step_or_a_sixteenth_wide() {
        for bucket in 0..BUCKETS {
            let width = highest(bucket) - lowest(bucket) + 1;
            assert!(width == STEP || width * PER_OCTAVE as u64 <= lowest(bucket), "{bucket}");
        }
    }

    #[test]
    fn five_kilobytes() {
        assert!(size_of::<[Count; BUCKETS]>() < 5 * 1024);
        assert!(size_of::<Histogram>() <= 24); // the memory that an object without recorded values uses
    }
}
