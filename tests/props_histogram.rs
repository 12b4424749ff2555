//! A histogram against a sorted list: percentiles within their error, everything else exact; and threads that record at once.
#![cfg(not(loom))]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;
use sluicegate_core::histogram::{Histogram, LONGEST, STEP, Snapshot, Summary};

/// Of every order of magnitude alike, the ends and what lies beyond them too.
fn duration() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => (0u32..64, any::<u64>()).prop_map(|(bits, noise)| (1 << bits) | (noise & ((1 << bits) - 1))),
        1 => Just(0),
        1 => Just(STEP - 1),
        1 => Just(LONGEST),
        1 => Just(LONGEST + 1),
        1 => Just(u64::MAX),
    ]
}

fn durations() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(duration(), 0..400)
}

fn recorded(values: &[u64]) -> Histogram {
    let histogram = Histogram::new();
    for &value in values {
        histogram.record(value);
    }
    histogram
}

/// The nearest-rank percentile: the least value that at least that part of all values do not exceed.
fn exact(sorted: &[u64], part: usize, whole: usize) -> u64 {
    let rank = (sorted.len() * part).div_ceil(whole).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0).min(LONGEST)
}

/// Never below, and less than a step or a sixteenth above.
fn close(measured: u64, exact: u64) -> bool {
    measured >= exact && measured - exact < STEP.max(exact.div_ceil(16))
}

proptest! {
    #[test]
    fn percentiles_are_never_low_and_high_by_a_sixteenth_at_most(values in durations(), part in 0usize..=1000) {
        let snapshot = recorded(&values).snapshot();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let (measured, exact) = (snapshot.quantile(part as u64, 1000), exact(&sorted, part, 1000));
        prop_assert!(close(measured, exact), "{measured} for {exact}");
        prop_assert!(measured <= snapshot.max());
    }

    #[test]
    fn count_sum_and_max_are_exact(values in durations()) {
        let snapshot = recorded(&values).snapshot();
        let clamped: Vec<u64> = values.iter().map(|&value| value.min(LONGEST)).collect();
        prop_assert_eq!(snapshot.count(), values.len() as u64);
        prop_assert_eq!(snapshot.sum(), clamped.iter().map(|&value| u128::from(value)).sum());
        prop_assert_eq!(snapshot.max(), clamped.iter().copied().max().unwrap_or(0));
    }

    #[test]
    fn a_summary_is_the_snapshots_figures(values in durations()) {
        let histogram = recorded(&values);
        let (summary, snapshot) = (histogram.summary(), histogram.snapshot());
        prop_assert_eq!(summary.count, snapshot.count());
        prop_assert_eq!(u128::from(summary.mean), snapshot.sum() / u128::from(summary.count.max(1)));
        let quantiles = [500, 900, 990, 999].map(|part| snapshot.quantile(part, 1000));
        prop_assert_eq!([summary.p50, summary.p90, summary.p99, summary.p999], quantiles);
        prop_assert!(quantiles.is_sorted());
        prop_assert!(summary.p999 <= summary.max && summary.mean <= summary.max);
    }

    #[test]
    fn alone_is_the_same(values in durations()) {
        let histogram = Histogram::new();
        for (i, &value) in values.iter().enumerate() {
            if i % 3 == 0 { histogram.record(value) } else { histogram.record_alone(value) }
        }
        prop_assert_eq!(histogram.snapshot(), recorded(&values).snapshot());
    }

    #[test]
    fn merged_is_as_if_recorded_in_one(first in durations(), second in durations()) {
        let together = recorded(&[first.clone(), second.clone()].concat()).snapshot();
        let mut merged = recorded(&first).snapshot();
        merged.merge(&recorded(&second).snapshot());
        prop_assert_eq!(merged, together);
    }

    /// All of an interval's figures are as if only its values had been recorded, but `max`, which is known to the bucket.
    #[test]
    fn the_difference_of_two_snapshots_is_the_interval(first in durations(), second in durations()) {
        let histogram = recorded(&first);
        let before = histogram.snapshot();
        for &value in &second {
            histogram.record(value);
        }
        let (between, alone) = (histogram.snapshot().since(&before), recorded(&second).snapshot());
        prop_assert_eq!(between.count(), alone.count());
        prop_assert_eq!(between.sum(), alone.sum());
        prop_assert!(between.buckets().eq(alone.buckets()));
        prop_assert!(close(between.max(), alone.max()) || second.is_empty() && between.max() == 0);
    }

    #[test]
    fn buckets_are_in_order_and_have_everything(values in durations()) {
        let snapshot = recorded(&values).snapshot();
        let buckets: Vec<_> = snapshot.buckets().collect();
        prop_assert!(buckets.is_sorted());
        prop_assert_eq!(buckets.iter().map(|&(_, count)| count).sum::<u64>(), values.len() as u64);
        for (upper, _) in buckets {
            prop_assert!(values.iter().any(|&value| close(upper, value.min(LONGEST))));
        }
    }
}

#[test]
fn nothing_recorded() {
    let histogram = Histogram::default();
    assert_eq!(histogram.summary(), Summary::default());
    assert_eq!(histogram.snapshot().sum(), 0);
    assert_eq!(histogram.snapshot().buckets().count(), 0);
    assert!(format!("{histogram:?} {:?}", histogram.snapshot()).starts_with("Histogram(Summary { count: 0"));
}

/// Percentiles of a million are taken by whole numbers: a float would be one rank off here and there.
#[test]
fn ranks_are_exact() {
    let histogram = recorded(&[1000; 999]);
    histogram.record(1_000_000);
    assert!(close(histogram.summary().p999, 1000)); // the 999th of 1000
    histogram.record(1_000_000);
    assert_eq!(histogram.summary().p999, 1_000_000); // the 1000th of 1001
}

/// A sum that no `u64` holds: 39 hours, two hundred million times, merged by doubling.
#[test]
fn the_sum_is_wider_than_64_bits() {
    let mut snapshot = recorded(&[LONGEST]).snapshot();
    for _ in 0..20 {
        let same = snapshot.clone();
        snapshot.merge(&same);
    }
    assert_eq!(snapshot.sum(), u128::from(LONGEST) << 20);
    assert!(snapshot.sum() > u128::from(u64::MAX));
    assert_eq!((snapshot.summary().mean, snapshot.summary().p50), (LONGEST, LONGEST));
    for _ in 0..20 {
        let same = snapshot.clone();
        snapshot.merge(&same);
    }
    let (exact, low) = (u128::from(LONGEST) << 40, snapshot.sum());
    assert!(low <= exact && (exact - low) * 16 < exact); // long past nine thousand years
}

/// Threads that record at once lose nothing, and a snapshot taken meanwhile never contradicts itself.
#[test]
fn a_storm_of_recorders() {
    const THREADS: u64 = 4;
    const EACH: u64 = 50_000;
    let (histogram, start, end) = (Histogram::new(), Barrier::new(5), AtomicBool::new(false));
    let value = |thread: u64, i: u64| (i * 7919 + thread) % 5_000_000;
    let consistent = |snapshot: &Snapshot, last: u64| {
        let summary = snapshot.summary();
        assert!(summary.p50 <= summary.p90 && summary.p90 <= summary.p99 && summary.p99 <= summary.p999);
        assert!(summary.p999 <= summary.max && summary.mean <= summary.max);
        assert!(summary.count >= last);
        summary.count
    };
    thread::scope(|scope| {
        let recorders: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (histogram, start) = (&histogram, &start);
                scope.spawn(move || {
                    start.wait();
                    (0..EACH).for_each(|i| histogram.record(value(thread, i)));
                })
            })
            .collect();
        let watcher = scope.spawn(|| {
            start.wait();
            let mut last = 0;
            while !end.load(Ordering::Relaxed) {
                last = consistent(&histogram.snapshot(), last);
            }
        });
        for recorder in recorders {
            recorder.join().unwrap();
        }
        end.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
    });
    let all: Vec<u64> = (0..THREADS).flat_map(|thread| (0..EACH).map(move |i| value(thread, i))).collect();
    assert_eq!(histogram.snapshot(), recorded(&all).snapshot());
}
