//! The rate limiters, one thread at a time and on a clock that is set by hand: who goes when, what comes back, what is refused.
#![cfg(not(loom))]

use std::sync::Arc;

use sluicegate_core::clock::{Clock, Manual, Nanos};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{
    AcquireState, Booking, BucketLaw, Keyed, LimitSet, Limiter, Policy, Rate, Refusal, Scale, Terms, Units, Waiter,
};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Waker = Arc<Parker>;
type One = Limiter<Waker, Threads>;
type Set = LimitSet<Waker, Threads>;

const SECOND: Nanos = 1_000_000_000;
const TOKEN: Units = 1_000_000_000;
const TOKENS: i128 = 1_000_000_000;

fn nano() -> Scale {
    Scale::for_largest(1e9).unwrap()
}

fn rate_of(rate: f64) -> Rate {
    Rate::new(rate, 1.0, nano()).unwrap()
}

struct World {
    clock: Arc<Manual<Waker>>,
}

impl World {
    fn new() -> Self {
        Self { clock: Arc::new(Manual::new(0)) }
    }
    fn make(&self, policy: Policy) -> Arc<One> {
        Arc::new(Limiter::new(policy, nano(), Clock::Manual(Arc::clone(&self.clock))))
    }
    fn bucket(&self, rate: f64, burst: u64) -> Arc<One> {
        self.make(Policy::Bucket { rate: rate_of(rate), burst: burst * TOKEN, debt: 0 })
    }
    fn window(&self, limit: u64, period: u64) -> Arc<One> {
        self.make(Policy::Window { limit: limit * TOKEN, period: period * SECOND })
    }
    fn set(&self, members: &[&Arc<One>]) -> Arc<Set> {
        LimitSet::new((), members.iter().map(|m| Arc::clone(m)).collect(), Clock::Manual(Arc::clone(&self.clock))).unwrap()
    }
    fn at(&self, second: u64) {
        self.clock.advance(second * SECOND - self.clock.now());
    }
}

fn take(one: &One, n: u64) -> bool {
    let (wakes, went) = one.try_acquire((), n * TOKEN);
    wakes.fire();
    went.unwrap()
}

/// In units.
fn level(one: &One) -> i128 {
    let (wakes, level) = one.level(());
    wakes.fire();
    level
}

fn reserve(one: &One, n: u64) -> Booking {
    let (wakes, booking) = one.reserve((), n * TOKEN, None);
    wakes.fire();
    booking.unwrap()
}

/// In units.
fn cancel(one: &One, booking: Booking) -> i128 {
    let (wakes, units) = one.cancel((), booking);
    wakes.fire();
    units.into()
}

fn wait(one: &One, n: u64, waiter: &mut Waiter) -> AcquireState {
    let (wakes, standing) = one.acquire_or_wait((), n * TOKEN, waiter, &Waker::default(), None);
    wakes.fire();
    standing
}

fn wait_set(set: &Set, amounts: &[u64], waiter: &mut Waiter) -> AcquireState {
    let amounts: Vec<Units> = amounts.iter().map(|n| n * TOKEN).collect();
    let (wakes, standing) = set.acquire_or_wait((), &amounts, waiter, &Waker::default(), None);
    wakes.fire();
    standing
}

#[test]
fn granted_waiters_who_leave_return_no_more_than_is_still_owed() {
    let w = World::new();
    let b = w.bucket(1.0, 10);
    assert!(take(&b, 10));
    let (mut one, mut two) = (Waiter::default(), Waiter::default());
    wait(&b, 5, &mut one);
    wait(&b, 5, &mut two);
    w.at(18);
    assert!(take(&b, 1));
    b.leave((), &mut two).fire();
    b.leave((), &mut one).fire();
    assert!(level(&b) <= 9 * TOKENS, "{}", level(&b));
}

#[test]
fn a_waiter_of_a_set_leaves_nothing_behind() {
    let w = World::new();
    let (fast, slow) = (w.bucket(1.0, 10), w.bucket(0.01, 1));
    assert!(take(&slow, 1));
    let set = w.set(&[&fast, &slow]);
    let mut waiter = Waiter::default();
    let standing = wait_set(&set, &[1, 1], &mut waiter);
    assert!(matches!(standing, AcquireState::Waiting(Some(_))));
    set.leave((), &mut waiter).fire();
    assert_eq!(level(&fast), 10 * TOKENS);
}

#[test]
fn a_booking_behind_a_pause_is_given_back_whole() {
    let w = World::new();
    let b = w.bucket(1.0, 10);
    b.pause((), 100 * SECOND).fire();
    let one = reserve(&b, 1);
    assert_eq!(one.at, 100 * SECOND);
    assert_eq!(cancel(&b, one), TOKENS);
    assert_eq!(level(&b), 10 * TOKENS);
}

#[test]
fn cancelling_among_bookings_of_several_sets() {
    let w = World::new();
    let fast = w.bucket(1.0, 10);
    let gates: Vec<_> = (0..3).map(|_| w.bucket(1.0, 10)).collect();
    let mut bookings = Vec::new();
    let sets: Vec<_> = gates.iter().map(|g| w.set(&[&fast, g])).collect();
    let book = |i: usize, n: u64, at: u64| {
        let drain = at * TOKEN;
        gates[i].debit((), drain).0.fire();
        let (wakes, b) = sets[i].reserve((), &[n * TOKEN, 10 * TOKEN], None);
        wakes.fire();
        let b = b.unwrap();
        assert_eq!(b.at, at * SECOND);
        b
    };
    bookings.push(book(0, 5, 100));
    bookings.push(book(1, 3, 200));
    sets[0].cancel((), &bookings[0]).0.fire();
    let last = book(2, 2, 300);
    sets[1].cancel((), &bookings[1]).0.fire();
    assert_eq!(last.at, 300 * SECOND);
    w.at(300);
    assert!(level(&fast) <= 8 * TOKENS, "{}", level(&fast));
}

#[test]
fn a_refund_leaves_what_a_booking_needs() {
    let w = World::new();
    let b = w.bucket(1.0, 10);
    assert!(take(&b, 10));
    let r = reserve(&b, 5);
    assert_eq!(r.at, 5 * SECOND);
    b.refund((), 10 * TOKEN).fire();
    w.at(5);
    assert!(level(&b) <= 5 * TOKENS, "5 go by the booking and {} more at the same moment, with a burst of 10", level(&b));
}

#[test]
fn a_change_of_the_rate_keeps_promises_and_debts() {
    let w = World::new();
    let b = w.bucket(1.0, 10);
    assert!(take(&b, 10));
    let r = reserve(&b, 5);
    b.set_rate((), rate_of(10.0), Some(10 * TOKEN), None, |_| ()).fire();
    assert_eq!(level(&b), -5 * TOKENS);
    w.at(1);
    assert_eq!((r.at, level(&b)), (5 * SECOND, 5 * TOKENS), "the promise stays, and what is owed for it is worked off faster");
}

#[test]
fn a_booking_for_now_can_be_cancelled() {
    let w = World::new();
    let b = w.bucket(1.0, 10);
    let one = reserve(&b, 5);
    let _two = reserve(&b, 3);
    assert_eq!(cancel(&b, one), 5 * TOKENS);
    assert_eq!(level(&b), 7 * TOKENS);
}

#[test]
fn a_grant_of_a_set_that_nobody_fetches_goes_back() {
    let w = World::new();
    let (a, b) = (w.bucket(1.0, 10), w.bucket(1.0, 10));
    assert!(take(&a, 10));
    let set = w.set(&[&a, &b]);
    let mut waiter = Waiter::default();
    wait_set(&set, &[5, 5], &mut waiter);
    w.at(6);
    let mut other = Waiter::default();
    wait_set(&set, &[10, 10], &mut other); // somebody looks: the first is granted, as of 5
    set.leave((), &mut other).fire();
    set.leave((), &mut waiter).fire();
    assert_eq!((level(&a), level(&b)), (6 * TOKENS, 10 * TOKENS));
}

#[test]
fn a_pause_with_a_booking_behind_a_waiter() {
    for window in [true, false] {
        let w = World::new();
        let b = if window { w.window(5, 100) } else { w.bucket(0.05, 5) };
        assert!(take(&b, 5));
        let mut waiter = Waiter::default();
        wait(&b, 5, &mut waiter);
        let r = reserve(&b, 5);
        assert_eq!(r.at, 200 * SECOND);
        w.at(50);
        b.pause((), 100 * SECOND).fire();
        w.at(150);
        let granted = wait(&b, 5, &mut waiter);
        assert_ne!((window, granted), (window, AcquireState::Granted), "5 at 150 and 5 at 200");
    }
}

#[test]
fn grants_of_a_set_to_a_window_are_dated_when_they_were_due() {
    let w = World::new();
    let (a, b) = (w.window(10, 10), w.bucket(1000.0, 1000));
    assert!(take(&a, 10));
    let set = w.set(&[&a, &b]);
    let mut waiters: Vec<Waiter> = (0..5).map(|_| Waiter::default()).collect();
    for waiter in &mut waiters {
        wait_set(&set, &[5, 1], waiter);
    }
    w.at(25);
    assert!(level(&a) > 0);
    let went = waiters.iter_mut().map(|waiter| wait_set(&set, &[5, 1], waiter)).filter(|s| *s == AcquireState::Granted).count();
    assert!(went <= 4, "{went} times 5: two may go at 10, two at 20");
}

#[test]
fn a_line_longer_than_can_be_counted_from_here() {
    let w = World::new();
    let b = w.bucket(1e9, 1_000_000_000);
    assert!(take(&b, 1_000_000_000));
    let mut waiters: Vec<Waiter> = (0..20).map(|_| Waiter::default()).collect();
    for waiter in &mut waiters {
        wait(&b, 1_000_000_000, waiter);
    }
    let (wakes, after) = b.retry_after((), TOKEN);
    wakes.fire();
    assert!(after.unwrap() >= 20 * SECOND);
    let (wakes, outcome) = b.debit((), TOKEN);
    wakes.fire();
    assert_eq!(outcome, Err(Refusal::TooFar));
    let (wakes, outcome) = b.reserve((), TOKEN, None);
    wakes.fire();
    assert_eq!(outcome, Err(Refusal::TooFar));
}

#[test]
fn debts_up_to_what_can_be_counted_are_worked_off() {
    let w = World::new();
    let b = w.bucket(1e9, 1_000_000_000);
    loop {
        let (wakes, done) = b.debit((), 1_000_000_000 * TOKEN);
        wakes.fire();
        if done.is_err() {
            break;
        }
    }
    assert_eq!(level(&b), -5_000_000_000 * TOKENS);
    w.at(100);
    assert_eq!(level(&b), 1_000_000_000 * TOKENS);
}

#[test]
fn a_change_of_the_rate_forgives_no_debt() {
    let w = World::new();
    let b = w.bucket(1e9, 1_000_000_000);
    while b.debit((), 1_000_000_000 * TOKEN).1.is_ok() {}
    let before = level(&b);
    b.set_rate((), rate_of(1e9), Some(1_000_000_000 * TOKEN), None, |_| ()).fire();
    assert_eq!(level(&b), before);
}

#[test]
fn a_set_keeps_its_turn_in_the_line_of_a_member() {
    let w = World::new();
    let (a, b) = (w.bucket(1.0, 1), w.bucket(1.0, 1));
    assert!(take(&a, 1));
    let set = w.set(&[&a, &b]);
    let (mut one, mut two, mut three) = (Waiter::default(), Waiter::default(), Waiter::default());
    wait(&a, 1, &mut one);
    wait_set(&set, &[1, 1], &mut two);
    wait(&a, 1, &mut three);
    b.refund((), 1).fire();
    w.at(2);
    assert_eq!(wait(&a, 1, &mut one), AcquireState::Granted);
    assert_eq!(wait_set(&set, &[1, 1], &mut two), AcquireState::Granted, "it came before the third");
}

/// Rates at which a unit takes long, and moments in the middle of one: what was given back whole is there whole, in any parts.
#[test]
fn what_was_given_back_whole_is_there_whole() {
    let mut random = 1_u64;
    let mut dice = |sides: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % sides
    };
    for (rate, period) in [(1.0, 86_400.0), (7.0, 86_400.0), (1.0, 3600.0), (0.1, 0.3), (1.0 / 3.0, 60.0), (100.0, 60.0)] {
        for _ in 0..200 {
            let w = World::new();
            w.clock.advance(dice(1 << 40));
            let (burst, rate) = (1 + dice(3), Rate::new(rate, period, nano()).unwrap());
            let all = burst * TOKEN;
            let clock = || Clock::Manual(Arc::clone(&w.clock));
            let bucket = w.make(Policy::Bucket { rate, burst: all, debt: 0 });
            let law = BucketLaw::new(rate, all, w.clock.now());
            let keyed: Keyed<Waker, Threads, BucketLaw> = Keyed::new(&law, Terms::default(), nano(), 4, 1, clock());
            let shaper = w.make(Policy::Spaced { rate, capacity: 0 });
            w.clock.advance(dice(1 << 40));
            let key = KeyHash::new([1, dice(9)]);
            let try_key = |n: Units| keyed.try_acquire((), key, n).1.unwrap();
            let try_one = |one: &One, n: Units| one.try_acquire((), n).1.unwrap();
            for _ in 0..3 {
                let part = 1 + dice(all - 1);
                for n in [part, all - part] {
                    assert!(try_one(&bucket, n) && try_key(n), "in parts of {part}");
                }
                assert!(!try_one(&bucket, 1) && !try_key(1));
                assert_eq!((level(&bucket), keyed.level((), key).1), (0, 0));
                let back = 1 + dice(all - 1);
                for n in [back, all - back] {
                    bucket.refund((), n).fire();
                    keyed.limiter((), key).1.unwrap().refund((), n).fire();
                }
                assert_eq!(level(&bucket), i128::from(all));
                assert_eq!(bucket.retry_after((), all).1, Ok(0));
                assert_eq!(keyed.retry_after((), key, all).1, Ok(0));
                assert!(try_one(&bucket, all) && try_key(all), "{burst} {rate:?}");
                bucket.refund((), all).fire();
                keyed.limiter((), key).1.unwrap().refund((), all).fire();
                let booking = bucket.reserve((), all, Some(0)).1.unwrap();
                bucket.adjust((), booking, 0).1.unwrap();
                assert!(try_one(&shaper, all));
                assert!(!try_one(&shaper, 1));
                shaper.refund((), all).fire();
            }
            // A change of the rate in the same moment counts what was taken, and not the rounding.
            assert!(try_one(&bucket, all));
            bucket.set_rate((), rate_of(1.0), None, None, |_| ()).fire();
            bucket.refund((), all).fire();
            assert!(try_one(&bucket, all));
        }
    }
}

/// The same, of several keys at once: each begins in the same unit of time as the others.
#[test]
fn what_was_given_back_whole_is_there_whole_of_each_key() {
    let w = World::new();
    w.clock.advance(123_456_789);
    let (rate, all) = (Rate::new(1.0, 86_400.0, nano()).unwrap(), 2 * TOKEN);
    let law = BucketLaw::new(rate, all, 0);
    let keyed: Keyed<Waker, Threads, BucketLaw> =
        Keyed::new(&law, Terms::default(), nano(), 100, 1, Clock::Manual(Arc::clone(&w.clock)));
    let keys: Vec<_> = (1..=20).map(|key| KeyHash::new([key, key])).collect();
    for round in 0..3 {
        for key in &keys {
            assert_eq!(keyed.try_acquire((), *key, TOKEN / 3).1, Ok(true), "round {round}");
        }
        for key in &keys {
            assert_eq!(keyed.try_acquire((), *key, all - TOKEN / 3).1, Ok(true));
            assert_eq!(keyed.try_acquire((), *key, 1).1, Ok(false));
        }
        for key in &keys {
            let limiter = keyed.limiter((), *key).1.unwrap();
            limiter.refund((), TOKEN / 3).fire();
            limiter.refund((), all - TOKEN / 3).fire();
        }
        for key in keys.iter().rev() {
            assert_eq!((keyed.level((), *key).1, keyed.retry_after((), *key, all).1), (i128::from(all), Ok(0)));
        }
    }
}

/// However many shards there are, and whatever has changed since the last newcomer asked: it is told when the first key owes nothing.
#[test]
fn a_newcomer_is_told_when_the_first_key_owes_nothing() {
    let mut random = 7_u64;
    let mut dice = |sides: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % sides
    };
    for shards in [1, 2, 64] {
        let w = World::new();
        let law = BucketLaw::new(rate_of(1.0), 100 * TOKEN, 0);
        let keyed: Keyed<Waker, Threads, BucketLaw> =
            Keyed::new(&law, Terms::default(), nano(), 6, shards, Clock::Manual(Arc::clone(&w.clock)));
        let mut full_at: Vec<(KeyHash, Nanos)> = Vec::new();
        let (mut told, mut admitted) = (0, 0);
        for step in 0..5_000 {
            w.clock.advance(dice(SECOND / 4));
            let now = w.clock.now();
            let known = usize::try_from(dice(6)).unwrap();
            match (dice(8), full_at.get_mut(known)) {
                (0..3, Some((key, at))) => {
                    let n = dice(3 * TOKEN) + 1;
                    if keyed.try_acquire((), *key, n).1 == Ok(true) {
                        *at = now.max(*at) + n;
                    }
                }
                (3, Some((key, at))) if *at > now => {
                    keyed.limiter((), *key).1.unwrap().refund((), *at - now).fire();
                    keyed.let_go((), *key).fire();
                    full_at.remove(known);
                }
                _ => {
                    let (key, n) = (KeyHash::new([step, dice(1 << 20)]), dice(5 * TOKEN) + 1);
                    let least = full_at.iter().map(|(_, at)| *at).min();
                    match keyed.try_acquire((), key, n).1 {
                        Ok(true) => {
                            assert!(full_at.len() < 6 || least.is_some_and(|at| at <= now), "step {step}");
                            full_at.retain(|(key, _)| keyed.is_remembered((), *key));
                            full_at.push((key, now + n));
                            admitted += 1;
                        }
                        refused => {
                            let least = least.filter(|&at| at > now).expect("none owes nothing");
                            assert_eq!(refused, Err(Refusal::AllKeysInUse(least - now)), "step {step}, {shards} shards");
                            told += 1;
                        }
                    }
                }
            }
        }
        assert!(told > 300 && admitted > 300, "{told} {admitted}");
    }
}

/// Asking in between changes no answer: those who have gone meanwhile are not forgotten.
#[test]
fn a_forecast_knows_who_has_gone_meanwhile() {
    let w = World::new();
    let one = w.window(1, 1);
    assert!(take(&one, 1));
    let (mut first, mut second, mut third) = (Waiter::default(), Waiter::default(), Waiter::default());
    wait(&one, 1, &mut first);
    assert_eq!(one.retry_after((), TOKEN).1, Ok(2 * SECOND));
    wait(&one, 1, &mut second);
    w.at(2);
    assert!(!take(&one, 1)); // both have gone
    wait(&one, 1, &mut third);
    assert_eq!(one.retry_after((), TOKEN).1, Ok(2 * SECOND));

    let set = w.set(&[&w.window(1, 1), &w.bucket(1.0, 1)]);
    let ask = || set.retry_after((), &[TOKEN, TOKEN]).1;
    assert_eq!(set.try_acquire((), &[TOKEN, TOKEN], false).1, Ok(true));
    let mut waiters: [Waiter; 4] = Default::default();
    wait_set(&set, &[1, 1], &mut waiters[0]);
    wait_set(&set, &[1, 1], &mut waiters[1]);
    assert_eq!(ask(), Ok(3 * SECOND));
    wait_set(&set, &[1, 1], &mut waiters[2]);
    w.at(6);
    assert_eq!(ask(), Ok(0));
    assert_eq!(set.try_acquire((), &[TOKEN, TOKEN], false).1, Ok(true));
    wait_set(&set, &[1, 1], &mut waiters[3]);
    assert_eq!(ask(), Ok(2 * SECOND));
}
