//! A histogram: what one duration costs, alone and with four threads at one histogram, and what a summary costs.
//!
//! The goal is 20 ns for `record`. Beside it stands one relaxed `fetch_add`, of which it needs two, and `record_alone`, which needs none. The durations spread over nine powers of ten
//! in no order, so that neither the cache nor the branch predictor has it easier than in a program.
//!
//! Best rounds of a thousand on a busy machine (AMD EPYC, November 2026): `record` 9.6 ns, `record_alone` 1.4 ns, one `fetch_add` 4.8 ns.
//!
//! How to read the figures: `benches/README.md`.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate_bench::crew;
use sluicegate_core::histogram::Histogram;

const THREADS: usize = 4;
const MANY: usize = 4096;

/// From nanoseconds to seconds.
fn durations() -> Vec<u64> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        state >> 32
    };
    (0..MANY).map(|_| next() >> (next() % 30)).collect()
}

fn one_thread(c: &mut Criterion) {
    let (durations, histogram, count) = (durations(), Histogram::new(), AtomicU64::new(0));
    let mut group = c.benchmark_group("histogram");
    let mut turn = 0;
    group.bench_function("record", |b| {
        b.iter(|| {
            turn = (turn + 1) % MANY;
            histogram.record(durations[turn]);
        });
    });
    group.bench_function("record_alone", |b| {
        b.iter(|| {
            turn = (turn + 1) % MANY;
            histogram.record_alone(durations[turn]);
        });
    });
    group.bench_function("one fetch_add", |b| {
        b.iter(|| {
            turn = (turn + 1) % MANY;
            count.fetch_add(durations[turn], Ordering::Relaxed)
        });
    });
    group.bench_function("summary", |b| b.iter(|| black_box(&histogram).summary()));
    group.finish();
}

fn four_threads(c: &mut Criterion) {
    let (durations, histogram) = (durations(), Histogram::new());
    let mut group = c.benchmark_group("histogram, 4 threads");
    group.sample_size(10).sampling_mode(criterion::SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.bench_function("record", |b| {
        b.iter_custom(|calls| {
            crew(THREADS, THREADS, calls, |_, each| {
                let each = usize::try_from(each).expect("it fits");
                durations.iter().cycle().take(each).for_each(|&duration| histogram.record(duration));
            })
        });
    });
    group.finish();
}

criterion_group!(benches, one_thread, four_threads);
criterion_main!(benches);
