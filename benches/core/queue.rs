//! The bounded queue without Python: one thread, batches, and threads that wait as the binding lets them.
//!
//! Beside it stand `crossbeam_channel::bounded`, `std::sync::mpsc::sync_channel` and a plain `Mutex<VecDeque>` with two condition
//! variables. They move the same boxed items through the same bound. What they leave out (a line in order of arrival, unfinished work,
//! shutdown, counters) is in our figures and not in theirs; what they are for is the scale.
//!
//! How to read the figures: `benches/README.md`. The contended groups are the noisy ones.
#![allow(unsafe_code)] // one promise, for the section without a lock

use std::collections::VecDeque;
use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluicegate_bench::crew;
use sluicegate_core::buffer::Fifo;
use sluicegate_core::clock::Clock;
use sluicegate_core::queue::{Admission, GetError, Linger, PutError, Queue, Waiter};
use sluicegate_core::section::{Domain, Flag, Threads};
use sluicegate_core::wait::Parker;

const BOUND: usize = 1024;
const BATCH: usize = 100;
/// Yields before a waiter parks, as in the binding.
const YIELDS: u32 = 3;

/// As large as what the binding stores: a pointer.
type Item = usize;
type Fair<D> = Queue<Fifo<Item>, Arc<Parker>, D>;

/// One thread alone: what the section costs where attachment to the interpreter takes the place of the lock.
struct Alone;

/// Shown by the thread that runs the benchmark; cannot be sent to another.
#[derive(Clone, Copy)]
struct Here<'a>(PhantomData<(&'a (), *const ())>);

// SAFETY: a `Here` is not `Send`, and only `one_thread` makes one, on the only thread that touches those queues.
unsafe impl Domain for Alone {
    type Proof<'a> = Here<'a>;
    type Gate = Flag;
}

fn fair<D: Domain>() -> Fair<D> {
    Queue::new(Fifo::default(), BOUND, Clock::Monotonic)
}

/// A bounded queue for threads.
trait Channel: Send + Sync + 'static {
    fn put(&self, item: Item);
    fn get(&self) -> Item;
}

fn rest(parker: &Parker) {
    for _ in 0..YIELDS {
        if parker.is_notified() {
            return;
        }
        thread::yield_now();
    }
    while !parker.is_notified() {
        parker.park(None);
    }
}

impl Channel for Fair<Threads> {
    fn put(&self, item: Item) {
        let (wakes, result) = self.try_put((), item, Admission::Queued);
        wakes.fire();
        let Err(PutError::Full(mut item)) = result else { return };
        let parker = Arc::new(Parker::default());
        let mut waiter = Waiter::default();
        loop {
            parker.reset();
            let (wakes, result) = self.put_or_wait((), item, &mut waiter, &parker);
            wakes.fire();
            match result {
                Err(PutError::Full(back) | PutError::Locked(back)) => item = back,
                _ => return,
            }
            rest(&parker);
        }
    }

    fn get(&self) -> Item {
        let (wakes, result) = self.try_get((), Admission::Queued);
        wakes.fire();
        if let Ok(item) = result {
            return item;
        }
        let parker = Arc::new(Parker::default());
        let mut waiter = Waiter::default();
        loop {
            parker.reset();
            let (wakes, result) = self.get_or_wait((), &mut waiter, &parker);
            wakes.fire();
            match result {
                Ok(item) => return item,
                Err(GetError::Empty | GetError::Locked) => rest(&parker),
                Err(GetError::ShutDown | GetError::NoMemory | GetError::Composed) => {
                    unreachable!("nobody shuts it down, and there is memory")
                }
            }
        }
    }
}

/// `crossbeam_channel::bounded`
struct Crossbeam(crossbeam_channel::Sender<Item>, crossbeam_channel::Receiver<Item>);

impl Crossbeam {
    fn new() -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(BOUND);
        Self(sender, receiver)
    }
}

impl Channel for Crossbeam {
    fn put(&self, item: Item) {
        self.0.send(item).expect("its receiver is beside it");
    }

    fn get(&self) -> Item {
        self.1.recv().expect("its sender is beside it")
    }
}

/// `std::sync::mpsc::sync_channel`; it has one consumer, so several take turns behind a lock.
struct Std(mpsc::SyncSender<Item>, Mutex<mpsc::Receiver<Item>>);

impl Std {
    fn new() -> Self {
        let (sender, receiver) = mpsc::sync_channel(BOUND);
        Self(sender, Mutex::new(receiver))
    }
}

impl Channel for Std {
    fn put(&self, item: Item) {
        self.0.send(item).expect("its receiver is beside it");
    }

    fn get(&self) -> Item {
        self.1.lock().expect("nothing panics").recv().expect("its sender is beside it")
    }
}

/// The textbook's: a lock and two condition variables.
#[derive(Default)]
struct Textbook {
    items: Mutex<VecDeque<Item>>,
    not_empty: Condvar,
    not_full: Condvar,
}

impl Channel for Textbook {
    fn put(&self, item: Item) {
        let mut items = self.items.lock().expect("nothing panics");
        while items.len() >= BOUND {
            items = self.not_full.wait(items).expect("nothing panics");
        }
        items.push_back(item);
        drop(items);
        self.not_empty.notify_one();
    }

    fn get(&self) -> Item {
        let mut items = self.items.lock().expect("nothing panics");
        let item = loop {
            match items.pop_front() {
                Some(item) => break item,
                None => items = self.not_empty.wait(items).expect("nothing panics"),
            }
        };
        drop(items);
        self.not_full.notify_one();
        item
    }
}

/// A put and a get, nobody else about.
fn one_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("put+get");
    let here = Here(PhantomData);
    let queue = fair::<Alone>();
    group.bench_function("sluicegate, attached", |b| {
        b.iter(|| {
            let (wakes, accepted) = queue.try_put(here, black_box(1), Admission::Queued);
            wakes.fire();
            let (wakes, item) = queue.try_get(here, Admission::Queued);
            wakes.fire();
            (accepted, item)
        });
    });
    bench_pair(&mut group, "sluicegate, locked", &fair::<Threads>());
    bench_pair(&mut group, "crossbeam", &Crossbeam::new());
    bench_pair(&mut group, "sync_channel", &Std::new());
    bench_pair(&mut group, "mutex+condvar", &Textbook::default());
    group.finish();
}

fn bench_pair(group: &mut Group<'_>, name: &str, channel: &impl Channel) {
    group.bench_function(name, |b| {
        b.iter(|| {
            channel.put(black_box(1));
            channel.get()
        });
    });
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// A hundred in, a hundred out. The figure to compare is elements per second.
fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("batches of 100");
    group.throughput(Throughput::Elements(BATCH as u64));
    bench_batch(&mut group, "sluicegate, attached", &fair::<Alone>(), Here(PhantomData));
    bench_batch(&mut group, "sluicegate, locked", &fair::<Threads>(), ());
    let crossbeam = Crossbeam::new();
    group.bench_function("crossbeam, one by one", |b| {
        b.iter(|| {
            for item in vec![1; BATCH] {
                crossbeam.put(item);
            }
            crossbeam.1.try_iter().take(BATCH).collect::<Vec<_>>()
        });
    });
    group.finish();
}

fn bench_batch<D: Domain>(group: &mut Group<'_>, name: &str, queue: &Fair<D>, proof: D::Proof<'_>) {
    let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
    group.bench_function(name, |b| {
        b.iter(|| {
            let mut items = vec![1; BATCH].into_iter();
            let (wakes, accepted) = queue.try_put_batch(proof, &mut items, Admission::Queued);
            wakes.fire();
            let (wakes, batch) = queue.get_batch_or_wait(proof, BATCH, Linger::Over, &mut waiter, &parker);
            wakes.fire();
            (accepted, batch)
        });
    });
}

/// Threads that put and threads that get, item by item, through a bound of 1024.
fn contended(c: &mut Criterion) {
    for crew in [1, 4] {
        let mut group = c.benchmark_group(format!("{crew} -> {crew} threads"));
        group.throughput(Throughput::Elements(1));
        // A measurement is a whole run of threads, and none of them is fast: few, of the same length.
        group.sample_size(10).sampling_mode(criterion::SamplingMode::Flat);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
        bench_crew(&mut group, "sluicegate", crew, fair::<Threads>);
        bench_crew(&mut group, "crossbeam", crew, Crossbeam::new);
        bench_crew(&mut group, "sync_channel", crew, Std::new);
        bench_crew(&mut group, "mutex+condvar", crew, Textbook::default);
        group.finish();
    }
}

/// `size` threads on each side.
fn bench_crew<C: Channel>(group: &mut Group<'_>, name: &str, size: usize, make: impl Fn() -> C) {
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        b.iter_custom(|items| {
            let channel = make();
            crew(2 * size, size, items, |number, each| {
                for item in 0..each {
                    if number % 2 == 0 {
                        channel.put(black_box(usize::try_from(item).unwrap_or(0)));
                    } else {
                        black_box(channel.get());
                    }
                }
            })
        });
    });
}

criterion_group!(benches, one_thread, batches, contended);
criterion_main!(benches);
