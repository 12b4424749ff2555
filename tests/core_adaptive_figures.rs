//! The limit that finds itself, against simulated servers: virtual time, seeded, no sleep. The figures are those that the guide shows.
#![cfg(not(loom))]
#![allow(clippy::print_stdout, reason = "the figures themselves, with `--nocapture`")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use sluicegate_core::adaptive::aimdf::{Rules, Step};
use sluicegate_core::adaptive::{Grant, Limiter, Outcome, Settings};
use sluicegate_core::clock::{Clock, Manual, Nanos, nanos, seconds};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

const SEEDS: std::ops::Range<u64> = 1..6;

/// Xorshift64*: what a test needs of randomness.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// In (0, 1].
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = u32::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32).expect("32 bits");
        (f64::from(bits) + 1.0) / (f64::from(u32::MAX) + 1.0)
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }
}

/// How long the server works on a call, in seconds.
#[derive(Clone, Copy)]
enum Service {
    Exponential(f64),
    Uniform(f64, f64),
    /// So long; or, with this probability, so long.
    Either(f64, f64, f64),
}

impl Service {
    fn draw(self, random: &mut Random) -> f64 {
        match self {
            Self::Exponential(mean) => random.exponential(mean),
            Self::Uniform(least, most) => least + (most - least) * random.unit(),
            Self::Either(usual, share, slow) => {
                if random.unit() <= share {
                    slow
                } else {
                    usual
                }
            }
        }
    }
}

fn rules() -> Rules {
    Rules {
        target: Some(nanos(0.1)),
        min: 1,
        max: 200,
        decrease: 0.9,
        bad_fraction: 0.1,
        min_samples: 1,
        step: Step::One,
        near: 0.9,
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(usize),
    /// The calls that are being worked on are numbered.
    Done(u64),
}

struct Call {
    client: usize,
    grant: Grant,
    sent: Nanos,
}

/// Of one call that was served.
struct Served {
    client: usize,
    at: Nanos,
    took: Nanos,
}

/// A server with so many workers and one queue in front of them, and clients that each have a limiter and a Poisson stream of calls.
struct World {
    clock: Arc<Manual<Arc<Parker>>>,
    limiters: Vec<Limiter<Arc<Parker>, Threads>>,
    /// Calls a second, of each client.
    offered: f64,
    workers: usize,
    service: Service,
    random: Random,
    events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    number: u64,
    working: std::collections::HashMap<u64, Call>,
    queue: VecDeque<Call>,
    served: Vec<Served>,
    /// When, and the limit of each client.
    limits: Vec<(Nanos, Vec<u64>)>,
}

impl World {
    fn new(seed: u64, rules: Rules, starts: &[u64], workers: usize, service: Service, offered: f64) -> Self {
        let clock = Arc::new(Manual::new(0));
        let limiter = |&initial| {
            let settings = Settings { rules, initial, max_waiting: 0, shed: None };
            Limiter::new(&settings, Clock::Manual(Arc::clone(&clock)))
        };
        let mut world = Self {
            limiters: starts.iter().map(limiter).collect(),
            clock,
            offered,
            workers,
            service,
            random: Random::new(seed),
            events: BinaryHeap::new(),
            number: 0,
            working: std::collections::HashMap::new(),
            queue: VecDeque::new(),
            served: Vec::new(),
            limits: Vec::new(),
        };
        for client in 0..starts.len() {
            world.next_arrival(client);
        }
        world
    }

    fn after(&mut self, delay: f64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((self.clock.now() + nanos(delay), self.number, event)));
    }

    fn next_arrival(&mut self, client: usize) {
        let delay = self.random.exponential(1.0 / self.offered);
        self.after(delay, Event::Arrival(client));
    }

    fn start(&mut self) {
        while self.working.len() < self.workers {
            let Some(call) = self.queue.pop_front() else { return };
            let delay = self.service.draw(&mut self.random);
            self.after(delay, Event::Done(self.number + 1));
            self.working.insert(self.number, call);
        }
    }

    fn run_until(&mut self, end: f64) {
        while let Some(&Reverse((at, ..))) = self.events.peek().filter(|Reverse((at, ..))| *at < nanos(end)) {
            let Some(Reverse((.., event))) = self.events.pop() else { return };
            self.clock.advance(at - self.clock.now());
            match event {
                Event::Arrival(client) => {
                    self.next_arrival(client);
                    if let Ok(grant) = self.limiters[client].try_admit((), 0, false) {
                        self.queue.push_back(Call { client, grant, sent: at });
                        self.start();
                    }
                }
                Event::Done(number) => {
                    let Call { client, grant, sent } = self.working.remove(&number).expect("it is being worked on");
                    self.limiters[client].finish((), grant, Outcome::Success).0.fire();
                    self.served.push(Served { client, at, took: at - sent });
                    self.start();
                }
            }
            if self.limits.last().is_none_or(|(last, _)| at - last >= nanos(0.1)) {
                self.limits.push((at, self.limiters.iter().map(|limiter| limiter.limit(())).collect()));
            }
        }
        self.clock.advance(nanos(end) - self.clock.now());
    }

    /// Calls a second that were served from then to then, of all clients or of one.
    fn goodput(&self, from: f64, to: f64, client: Option<usize>) -> f64 {
        let is_meant = |served: &&Served| {
            (nanos(from)..nanos(to)).contains(&served.at) && client.is_none_or(|client| client == served.client)
        };
        let served = u32::try_from(self.served.iter().filter(is_meant).count()).expect("not so many");
        f64::from(served) / (to - from)
    }

    /// This percentile of the durations, in seconds.
    fn percentile(&self, percent: usize, from: f64, to: f64) -> f64 {
        let is_meant = |served: &&Served| (nanos(from)..nanos(to)).contains(&served.at);
        let mut durations: Vec<Nanos> = self.served.iter().filter(is_meant).map(|served| served.took).collect();
        durations.sort_unstable();
        seconds(durations[(durations.len() * percent / 100).min(durations.len() - 1)])
    }

    fn mean_limit(&self, client: usize, from: f64, to: f64) -> f64 {
        let meant = self.limits.iter().filter(|(at, _)| (nanos(from)..nanos(to)).contains(at));
        let limits: Vec<f64> = meant.map(|(_, limits)| f64::from(u32::try_from(limits[client]).expect("small"))).collect();
        limits.iter().sum::<f64>() / f64::from(u32::try_from(limits.len()).expect("small"))
    }
}

fn between<T: Copy + PartialOrd + std::fmt::Debug>(value: T, least: T, most: T, what: &str) {
    assert!(least <= value && value <= most, "{what}: {value:?} is not between {least:?} and {most:?}");
}

#[test]
fn twice_the_load_that_ten_workers_can_bear() {
    for seed in SEEDS {
        let mut world = World::new(seed, rules(), &[20], 10, Service::Exponential(0.05), 400.0);
        world.run_until(60.0);
        let (goodput, median) = (world.goodput(0.0, 60.0, None), world.percentile(50, 0.0, 60.0));
        println!("A, seed {seed}: limit {:.1}, {goodput:.1}/s, p50 {median:.3}", world.mean_limit(0, 0.0, 60.0));
        between(goodput, 190.0, 210.0, "served a second");
        between(median, 0.03, 0.095, "median");
    }
}

#[test]
fn half_of_the_workers_are_lost() {
    for seed in SEEDS {
        let mut world = World::new(seed, rules(), &[20], 10, Service::Uniform(0.045, 0.055), 400.0);
        world.run_until(20.0);
        between(world.goodput(5.0, 20.0, None), 195.0, 205.0, "served a second before");
        world.workers = 5;
        world.run_until(60.0);
        let (goodput, median) = (world.goodput(25.0, 60.0, None), world.percentile(50, 25.0, 60.0));
        println!("C, seed {seed}: limit {:.1}, {goodput:.1}/s, p50 {median:.3}", world.mean_limit(0, 25.0, 60.0));
        between(goodput, 97.0, 103.0, "served a second");
        between(median, 0.04, 0.105, "median");
    }
}

#[test]
fn two_workers() {
    for seed in SEEDS {
        let mut world = World::new(seed, rules(), &[20], 2, Service::Uniform(0.045, 0.055), 80.0);
        world.run_until(60.0);
        let (goodput, median) = (world.goodput(5.0, 60.0, None), world.percentile(50, 5.0, 60.0));
        println!("D, seed {seed}: limit {:.1}, {goodput:.1}/s, p50 {median:.3}", world.mean_limit(0, 5.0, 60.0));
        assert!(world.limits.iter().filter(|(at, _)| *at > nanos(5.0)).all(|(_, limits)| limits[0] <= 8));
        between(goodput, 39.0, 41.0, "served a second");
        between(median, 0.04, 0.11, "median");
    }
}

#[test]
fn a_hundred_workers() {
    for seed in SEEDS {
        let mut world = World::new(seed, rules(), &[20], 100, Service::Exponential(0.05), 4000.0);
        world.run_until(25.0);
        let goodput = world.goodput(15.0, 25.0, None);
        println!("E, seed {seed}: limit {:.1}, {goodput:.1}/s", world.mean_limit(0, 15.0, 25.0));
        between(goodput, 1960.0, 2040.0, "served a second");
    }
}

#[test]
fn four_of_ten_calls_are_slow_by_nature() {
    for seed in SEEDS {
        let mut world = World::new(seed, rules(), &[20], 80, Service::Either(0.05, 0.4, 1.0), 400.0);
        world.run_until(60.0);
        // A round lasts 0.4 seconds here, so the way from 20 to the 80 workers takes 24 seconds. From then on the limit stays near them.
        let reached = world.limits.iter().find(|(_, limits)| limits[0] >= 80).map(|(at, _)| seconds(*at)).expect("80 is reached");
        let goodput = world.goodput(30.0, 60.0, None);
        println!("40 %, seed {seed}: 80 after {reached:.1} s, then {:.1}, {goodput:.1}/s", world.mean_limit(0, 30.0, 60.0));
        between(reached, 20.0, 30.0, "seconds until there are as many calls as workers");
        between(world.mean_limit(0, 30.0, 60.0), 80.0, 89.0, "mean limit");
        between(goodput, 180.0, 192.0, "served a second, of the 186 that the workers can do");
    }
}

#[test]
fn an_idle_limiter_does_not_drift() {
    for seed in SEEDS {
        let mut world = World::new(seed, rules(), &[20], 10, Service::Uniform(0.045, 0.055), 20.0);
        world.run_until(60.0);
        assert!(world.limits.iter().all(|(_, limits)| limits[0] == 20));
        world.offered = 400.0;
        world.run_until(65.0);
        let (goodput, p99) = (world.goodput(60.0, 65.0, None), world.percentile(99, 60.0, 65.0));
        println!("idle, seed {seed}: {goodput:.1}/s, p99 {p99:.3}");
        between(goodput, 190.0, 205.0, "served a second at once");
        between(p99, 0.05, 0.15, "p99");
    }
}

#[test]
fn the_ramp_to_ninety() {
    for (step, within) in [(Step::One, 8.0), (Step::SquareRoot, 4.0)] {
        for seed in SEEDS {
            let mut world = World::new(seed, Rules { step, ..rules() }, &[1], 100, Service::Uniform(0.045, 0.055), 4000.0);
            world.run_until(within);
            let reached = world.limits.iter().find(|(_, limits)| limits[0] >= 90).map(|(at, _)| seconds(*at));
            println!("ramp {step:?}, seed {seed}: {reached:?}");
            assert!(reached.is_some());
        }
    }
}

#[test]
fn clients_of_one_server_share_it() {
    for (starts, service) in [
        (&[1, 100][..], Service::Uniform(0.045, 0.055)),
        (&[1, 100], Service::Exponential(0.05)),
        (&[1, 100, 20, 50], Service::Uniform(0.045, 0.055)),
    ] {
        // Each offers more than its share; the server has five workers for each client.
        let (workers, capacity) = (5 * starts.len(), 100.0 * f64::from(u32::try_from(starts.len()).expect("small")));
        for seed in SEEDS {
            let mut world = World::new(seed, rules(), starts, workers, service, 200.0);
            world.run_until(80.0);
            let limits: Vec<f64> = (0..starts.len()).map(|client| world.mean_limit(client, 60.0, 80.0)).collect();
            let shares: Vec<f64> = (0..starts.len()).map(|client| world.goodput(60.0, 80.0, Some(client))).collect();
            println!("{starts:?}, seed {seed}: limits {limits:.1?}, {shares:.1?}/s");
            let (least, most) = (limits.iter().copied().fold(f64::MAX, f64::min), limits.iter().copied().fold(0.0, f64::max));
            assert!(most <= least * 1.25, "{limits:?}");
            assert!(world.goodput(10.0, 80.0, None) >= 0.95 * capacity);
        }
    }
}

/// Vector's tests of its adaptive concurrency, with the bands of its test data (`tests/data/adaptive-concurrency`): 500 requests that are
/// all there at the start, for a service that takes 0.1 s.
#[test]
fn vectors_constant_link() {
    let seen = Vector::new(1, Rules { target: Some(nanos(0.3)), ..rules() }, usize::MAX).run();
    println!("constant link: {seen:?}");
    between(seen.most_in_flight, 30, 31, "most in flight");
    between(seen.mean_in_flight, 15.0, 16.0, "mean in flight");
    between(seen.highest_limit, 22, 32, "highest limit");
    between(seen.mean_limit, 16.0, 18.0, "mean limit");
}

/// The means are those of twenty runs: of one run they depend on when a request that was deferred several times comes back as the last.
#[test]
fn vectors_defers_at_high_concurrency() {
    let runs: Vec<Seen> = (1..21).map(|seed| Vector::new(seed, Rules { target: None, ..rules() }, 5).run()).collect();
    for seen in &runs {
        between(seen.most_in_flight, 5, 13, "most in flight");
        between(seen.highest_limit, 6, 18, "highest limit");
    }
    let mean = |of: fn(&Seen) -> f64| runs.iter().map(of).sum::<f64>() / count(runs.len());
    let in_flight = mean(|seen| seen.mean_in_flight);
    let (limit, rate) = (mean(|seen| seen.mean_limit), mean(|seen| seen.mean_rate));
    println!("defers at 5: {in_flight:.1} in flight, limit {limit:.1}, {rate:.1} requests a second; first run {:?}", runs[0]);
    between(in_flight, 2.4, 5.0, "mean in flight");
    between(limit, 4.0, 12.0, "mean limit");
    between(rate, 20.0, 44.0, "requests in the last second, on average");
}

/// A request of Vector's test: the seconds of its last two delays before a retry, which grow as Fibonacci's numbers do.
type Request = (f64, f64);

/// Vector's test: a limiter around each attempt of 500 requests, and a server that takes 0.1 s to answer. When more than `at_once` are in
/// it, those that it defers included, it defers what comes, which takes as long as an answer. Who is deferred comes again after a random
/// part of a delay that begins with one second.
struct Vector {
    clock: Arc<Manual<Arc<Parker>>>,
    limiter: Limiter<Arc<Parker>, Threads>,
    at_once: usize,
    random: Random,
    waiting: VecDeque<Request>,
    events: BinaryHeap<Reverse<(Nanos, u64)>>,
    in_server: std::collections::HashMap<u64, (Request, Grant, Outcome)>,
    deferred: std::collections::HashMap<u64, Request>,
    number: u64,
    began: VecDeque<Nanos>,
}

#[derive(Debug)]
struct Seen {
    most_in_flight: usize,
    mean_in_flight: f64,
    highest_limit: u64,
    mean_limit: f64,
    mean_rate: f64,
}

impl Vector {
    fn new(seed: u64, rules: Rules, at_once: usize) -> Self {
        let clock = Arc::new(Manual::new(0));
        let settings = Settings { rules, initial: 1, max_waiting: 0, shed: None };
        Self {
            limiter: Limiter::new(&settings, Clock::Manual(Arc::clone(&clock))),
            clock,
            at_once,
            random: Random::new(seed),
            waiting: VecDeque::from([(0.0, 1.0); 500]),
            events: BinaryHeap::new(),
            in_server: std::collections::HashMap::new(),
            deferred: std::collections::HashMap::new(),
            number: 0,
            began: VecDeque::new(),
        }
    }

    fn event(&mut self, delay: f64) -> u64 {
        self.number += 1;
        self.events.push(Reverse((self.clock.now() + nanos(delay), self.number)));
        self.number
    }

    fn send_what_may_be(&mut self) {
        while !self.waiting.is_empty() {
            let Ok(grant) = self.limiter.try_admit((), 0, false) else { return };
            let request = self.waiting.pop_front().expect("it is not empty");
            let is_served = self.in_server.len() < self.at_once;
            let outcome = if is_served { Outcome::Success } else { Outcome::Dropped { retry_after: None } };
            let number = self.event(0.1);
            self.in_server.insert(number, (request, grant, outcome));
            self.began.push_back(self.clock.now());
        }
    }

    fn run(mut self) -> Seen {
        let (mut served, mut most_in_flight, mut highest_limit) = (0, 0, 0);
        let (mut in_flight, mut limit, mut rate) = (0.0, 0.0, 0.0);
        self.send_what_may_be();
        while served < 500 {
            let Reverse((at, number)) = self.events.pop().expect("somebody is on the way");
            let passed = seconds(at - self.clock.now());
            in_flight += passed * count(self.in_server.len());
            limit += passed * count(usize::try_from(self.limiter.limit(())).expect("small"));
            self.began.retain(|began| at - began < nanos(1.0));
            rate += passed * count(self.began.len());
            self.clock.advance(at - self.clock.now());
            if let Some(request) = self.deferred.remove(&number) {
                self.waiting.push_front(request);
            } else {
                let (request, grant, outcome) = self.in_server.remove(&number).expect("it is in the server");
                self.limiter.finish((), grant, outcome).0.fire();
                if outcome == Outcome::Success {
                    served += 1;
                } else {
                    let (before, delay) = request;
                    let backoff = self.random.unit() * delay;
                    let number = self.event(backoff);
                    self.deferred.insert(number, (delay, before + delay));
                }
            }
            self.send_what_may_be();
            most_in_flight = most_in_flight.max(self.in_server.len());
            highest_limit = highest_limit.max(self.limiter.limit(()));
        }
        let all = seconds(self.clock.now());
        Seen { most_in_flight, mean_in_flight: in_flight / all, highest_limit, mean_limit: limit / all, mean_rate: rate / all }
    }
}

fn count(of: usize) -> f64 {
    f64::from(u32::try_from(of).expect("small"))
}
