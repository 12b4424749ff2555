//! The limiters without Python: one thread and four, admitted and refused, with a booking, as a set, and by key.
//!
//! Beside them stand the textbook's bucket, a mutex around two numbers, and a bare reading of the clock, which every limiter needs and
//! which is the larger half of the fast ones. What the textbook leaves out (a line, bookings, exact fractions) is in our figures and not
//! in its own; what it is for is the scale.
//!
//! How to read the figures: `benches/README.md`. The contended groups are the noisy ones.

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sluicegate_bench::crew;
use sluicegate_core::clock::Clock;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{BucketLaw, Keyed, LimitSet, Limiter, Policy, Rate, Scale, Terms, Units};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Waker = Arc<Parker>;

/// A burst that no measurement uses up, at a rate at which it does not come back meanwhile.
const AMPLE: f64 = 1e9;
const DAY: f64 = 86_400.0;
const KEYS: usize = 1_000_000;
/// As in the binding, on a build where threads run at the same time.
const SHARDS: usize = 64;

/// Something that lets one through, or does not.
trait Gate: Send + Sync + 'static {
    fn ask(&self) -> bool;
}

struct Ours {
    limiter: Limiter<Waker, Threads>,
    one: Units,
}

fn scale(largest: f64) -> Scale {
    Scale::for_largest(largest).expect("not too large")
}

fn rate_of(tokens: f64, scale: Scale) -> Rate {
    Rate::new(tokens, DAY, scale).expect("neither too fast nor too slow")
}

impl Ours {
    fn bucket(burst: f64) -> Self {
        let scale = scale(burst);
        let burst_units = scale.units(burst).expect("it fits");
        let policy = Policy::Bucket { rate: rate_of(burst, scale), burst: burst_units, debt: 0 };
        Self { limiter: Limiter::new(policy, scale, Clock::Monotonic), one: scale.per_token() }
    }

    /// A million in ten milliseconds: more than can be asked for, and few enough for its log to stay short.
    fn window() -> Self {
        let scale = scale(1e6);
        let policy = Policy::Window { limit: scale.units(1e6).expect("it fits"), period: 10_000_000 };
        Self { limiter: Limiter::new(policy, scale, Clock::Monotonic), one: scale.per_token() }
    }

    fn book_and_cancel(&self) -> Units {
        let (wakes, booking) = self.limiter.reserve((), self.one, None);
        wakes.fire();
        let (wakes, given_back) = self.limiter.cancel((), booking.expect("nothing limits it"));
        wakes.fire();
        given_back
    }
}

impl Gate for Ours {
    fn ask(&self) -> bool {
        let (wakes, admitted) = self.limiter.try_acquire((), self.one);
        wakes.fire();
        admitted.expect("it fits")
    }
}

/// The textbook's: a lock, a clock, two numbers.
struct Textbook {
    rate: f64,
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl Textbook {
    fn bucket(burst: f64) -> Self {
        Self { rate: burst / DAY, burst, state: Mutex::new((burst, Instant::now())) }
    }
}

impl Gate for Textbook {
    fn ask(&self) -> bool {
        let mut state = self.state.lock().expect("nothing panics");
        let now = Instant::now();
        let tokens = (state.0 + now.duration_since(state.1).as_secs_f64() * self.rate).min(self.burst);
        let admitted = tokens >= 1.0;
        *state = (if admitted { tokens - 1.0 } else { tokens }, now);
        admitted
    }
}

/// Uses up a limiter's only token.
fn emptied<G: Gate>(gate: G) -> G {
    assert!(gate.ask());
    gate
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn bench_gate(group: &mut Group<'_>, name: &str, gate: &impl Gate) {
    group.bench_function(name, |b| b.iter(|| gate.ask()));
}

/// One thread, nobody else about.
fn one_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("try_acquire, admitted");
    bench_gate(&mut group, "bucket", &Ours::bucket(AMPLE));
    bench_gate(&mut group, "window", &Ours::window());
    bench_gate(&mut group, "mutex", &Textbook::bucket(AMPLE));
    let clock = Clock::<Waker>::Monotonic;
    group.bench_function("the clock alone", |b| b.iter(|| black_box(&clock).now()));
    group.finish();

    let mut group = c.benchmark_group("try_acquire, denied");
    bench_gate(&mut group, "bucket", &emptied(Ours::bucket(1.0)));
    bench_gate(&mut group, "mutex", &emptied(Textbook::bucket(1.0)));
    group.finish();

    let bucket = Ours::bucket(AMPLE);
    c.bench_function("reserve + cancel", |b| b.iter(|| bucket.book_and_cancel()));

    let members: Vec<_> = (0..2).map(|_| Arc::new(Ours::bucket(AMPLE).limiter)).collect();
    let amounts: Vec<_> = members.iter().map(|member| member.scale().per_token()).collect();
    let both = LimitSet::new((), members, Clock::Monotonic).unwrap();
    c.bench_function("try_acquire of two limiters", |b| {
        b.iter(|| {
            let (wakes, admitted) = both.try_acquire((), &amounts, false);
            wakes.fire();
            admitted.expect("it fits")
        });
    });
}

/// A million keys, asked for in no order.
fn keyed(c: &mut Criterion) {
    let scale = scale(AMPLE);
    let burst = scale.units(AMPLE).expect("it fits");
    let law = BucketLaw::new(rate_of(AMPLE, scale), burst, Clock::<Waker>::Monotonic.now());
    let buckets = Keyed::<Waker, Threads, _>::new(&law, Terms::default(), scale, KEYS, SHARDS, Clock::Monotonic);
    let ask = |number: u64| {
        let (wakes, admitted) = buckets.try_acquire((), key(number), scale.per_token());
        wakes.fire();
        admitted.expect("there is room")
    };
    for number in 0..KEYS as u64 {
        assert!(ask(number));
    }
    let mut number = 0_u64;
    c.bench_function("try_acquire, one of a million keys", |b| {
        b.iter(|| {
            number = number.wrapping_add(618_034) % KEYS as u64; // all of them, far from each other
            ask(number)
        });
    });
}

/// What the binding makes of a key, as far as the table can tell.
fn key(number: u64) -> KeyHash {
    let mix = |seed: u64| {
        let mixed = (number ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    };
    KeyHash::new([mix(1), mix(2)])
}

/// Threads that share one limiter.
fn contended(c: &mut Criterion) {
    contend(c, "admitted", || Ours::bucket(AMPLE), || Textbook::bucket(AMPLE));
    contend(c, "denied", || emptied(Ours::bucket(1.0)), || emptied(Textbook::bucket(1.0)));
}

fn contend(c: &mut Criterion, name: &str, ours: impl Fn() -> Ours, textbook: impl Fn() -> Textbook) {
    let mut group = c.benchmark_group(format!("try_acquire, {name}, 4 threads"));
    // A measurement is a whole run of threads, and none of them is fast: few, of the same length.
    group.sample_size(10).sampling_mode(criterion::SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    bench_crew(&mut group, "bucket", ours);
    bench_crew(&mut group, "mutex", textbook);
    group.finish();
}

fn bench_crew<G: Gate>(group: &mut Group<'_>, name: &str, make: impl Fn() -> G) {
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        b.iter_custom(|calls| {
            let gate = make();
            crew(4, 4, calls, |_, each| {
                for _ in 0..each {
                    black_box(gate.ask());
                }
            })
        });
    });
}

criterion_group!(benches, one_thread, keyed, contended);
criterion_main!(benches);
