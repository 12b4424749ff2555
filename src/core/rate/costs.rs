//! The cost of calls when many requests wait or much is booked, counted in steps instead of time. (Tests only.)

use std::cell::Cell;

use super::{AcquireState, BucketLaw, Keyed, Law, LimitSet, Limiter, Policy, Rate, Refusal, Scale, Terms, Waiter, WindowLaw};
use crate::clock::{Clock, Manual};
use crate::keys::KeyHash;
use crate::section::Threads;
use crate::sync::Arc;
use crate::wait::Parker;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Counts one access to a schedule, or to an entry of one.
pub(super) fn step() {
    STEPS.set(STEPS.get() + 1);
}

type Waker = Arc<Parker>;
type One = Limiter<Waker, Threads>;
type Set = LimitSet<Waker, Threads>;

const TOKEN: u64 = 1_000_000_000;
const FOREVER: Option<u64> = Some(u64::MAX / 2);

fn steps<R>(call: impl FnOnce() -> R) -> (u64, R) {
    let before = STEPS.get();
    let result = call();
    (STEPS.get() - before, result)
}

fn make(policy: Policy, clock: &Arc<Manual<Waker>>) -> Arc<One> {
    Arc::new(Limiter::new(policy, Scale::for_largest(1e9).unwrap(), Clock::Manual(Arc::clone(clock))))
}

fn per_second(rate: f64) -> Rate {
    Rate::new(rate, 1.0, Scale::for_largest(1e9).unwrap()).unwrap()
}

const WINDOW: Policy = Policy::Window { limit: 10 * TOKEN, period: 1_000 * TOKEN };

fn policies() -> [Policy; 3] {
    [
        Policy::Bucket { rate: per_second(3.0), burst: TOKEN, debt: 0 },
        Policy::Spaced { rate: per_second(3.0), capacity: usize::MAX },
        WINDOW,
    ]
}

fn sets(clock: &Arc<Manual<Waker>>) -> [Arc<Set>; 2] {
    [[WINDOW, policies()[0]], [policies()[0], policies()[1]]].map(|members| {
        let members = members.map(|policy| make(policy, clock)).into();
        LimitSet::new((), members, Clock::Manual(Arc::clone(clock))).unwrap()
    })
}

/// Makes `count` waiters, each with `call`, the first of which are admitted. Returns the most steps that one of the last took.
fn dearest(count: usize, mut call: impl FnMut(&mut Waiter) -> AcquireState) -> u64 {
    let mut waiters: Vec<Waiter> = (0..count).map(|_| Waiter::default()).collect();
    let each: Vec<u64> = waiters.iter_mut().map(|waiter| steps(|| call(waiter)).0).collect();
    *each[count / 2..].iter().max().unwrap()
}

#[test]
fn an_arrival_does_not_cost_as_much_as_the_queue_is_long() {
    let clock = Arc::new(Manual::new(0));
    for policy in policies() {
        let one = make(policy, &clock);
        let dear = dearest(2_000, |waiter| one.acquire_or_wait((), TOKEN, waiter, &Waker::default(), FOREVER).1);
        assert!(dear < 20, "{policy:?}: {dear}");
    }
    for set in sets(&clock) {
        let dear = dearest(2_000, |waiter| set.acquire_or_wait((), &[TOKEN, TOKEN], waiter, &Waker::default(), FOREVER).1);
        assert!(dear < 40, "{dear}");
    }
}

#[test]
fn a_refusal_does_not_cost_as_much_as_the_queue_is_long() {
    let clock = Arc::new(Manual::new(0));
    for policy in policies() {
        let one = make(policy, &clock);
        dearest(2_000, |waiter| one.acquire_or_wait((), TOKEN, waiter, &Waker::default(), None).1);
        assert!(one.retry_after((), TOKEN).1.is_ok()); // this call visits all waiters, once
        let (dear, standing) = steps(|| one.acquire_or_wait((), TOKEN, &mut Waiter::default(), &Waker::default(), Some(1)).1);
        assert!(matches!(standing, AcquireState::Refused(Refusal::Until(_))) && dear < 20, "{policy:?}: {dear}");
        let (dear, _) = steps(|| one.retry_after((), TOKEN));
        assert!(dear < 20, "{policy:?}: {dear}");
    }
    for set in sets(&clock) {
        dearest(2_000, |waiter| set.acquire_or_wait((), &[TOKEN, TOKEN], waiter, &Waker::default(), None).1);
        assert!(set.retry_after((), &[TOKEN, TOKEN]).1.is_ok());
        let (dear, _) = steps(|| set.acquire_or_wait((), &[TOKEN, TOKEN], &mut Waiter::default(), &Waker::default(), Some(1)));
        assert!(dear < 40, "{dear}");
        let (dear, _) = steps(|| set.last_to_admit((), &[TOKEN, TOKEN]));
        assert!(dear < 40, "{dear}");
    }
}

/// All waiters give up, one after the other, and each asks when to retry.
#[test]
fn giving_up_does_not_cost_as_much_as_the_queue_is_long() {
    let clock = Arc::new(Manual::new(0));
    for policy in policies() {
        let one = make(policy, &clock);
        let mut waiters: Vec<Waiter> = (0..2_000).map(|_| Waiter::default()).collect();
        for waiter in &mut waiters {
            one.acquire_or_wait((), TOKEN, waiter, &Waker::default(), None).0.fire();
        }
        let (all, ()) = steps(|| {
            for waiter in &mut waiters {
                one.leave((), waiter).fire();
                assert!(one.retry_after_at_most((), TOKEN).1.is_ok());
            }
        });
        assert!(all < 2_000 * 20, "{policy:?}: {all}");
    }
    for set in sets(&clock) {
        let mut waiters: Vec<Waiter> = (0..2_000).map(|_| Waiter::default()).collect();
        for waiter in &mut waiters {
            set.acquire_or_wait((), &[TOKEN, TOKEN], waiter, &Waker::default(), None).0.fire();
        }
        let (all, ()) = steps(|| {
            for waiter in &mut waiters {
                set.leave((), waiter).fire();
                assert!(set.retry_after_at_most((), &[TOKEN, TOKEN]).1.is_ok());
            }
        });
        assert!(all < 2_000 * 100, "{all}");
    }
}

/// For bookings with amounts in any order, the cost grows with the logarithm of their number.
#[test]
fn a_booking_does_not_cost_as_much_as_there_are_others() {
    let clock = Arc::new(Manual::new(0));
    for policy in policies() {
        let one = make(policy, &clock);
        let each: Vec<u64> = (0..10_000_u64).map(|n| steps(|| one.reserve((), TOKEN / (1 + n % 3), None).1.unwrap()).0).collect();
        let (first, last) = (each[10..100].iter().max().unwrap(), each[9_900..].iter().max().unwrap());
        assert!(*last < 3 * *first + 300, "{policy:?}: {first} -> {last}");
    }
    for set in sets(&clock) {
        let each: Vec<u64> = (0..10_000_u64)
            .map(|n| steps(|| set.reserve((), &[TOKEN / (1 + n % 3), TOKEN / (1 + n % 5)], None).1.unwrap()).0)
            .collect();
        let (first, last) = (each[10..100].iter().max().unwrap(), each[9_900..].iter().max().unwrap());
        assert!(*last < 3 * *first + 600, "{first} -> {last}");
    }
}

/// Those of a bucket that is paused are kept apart, one after the other without a gap, which are as many gaps without room. Neither a booking
/// nor a visit while somebody waits for the room behind them looks at all of them.
#[test]
fn a_booking_behind_a_pause_does_not_cost_as_much_as_there_are_others() {
    let clock = Arc::new(Manual::new(0));
    let pause = 1_000_000 * TOKEN;
    for (rate, burst) in
        [(1.0, 0), (1.0, 1), (1.0, 2), (3.0, 0), (3.0, 1), (3.0, 3), (0.3, 1), (0.3, 2), (1e-4, 0), (1e6, 2), (0.7, 5)]
    {
        for sizes in [1, 3] {
            let rate = per_second(rate);
            let one = make(
                if burst == 0 {
                    Policy::Spaced { rate, capacity: usize::MAX }
                } else {
                    Policy::Bucket { rate, burst: burst * TOKEN, debt: 0 }
                },
                &clock,
            );
            one.pause((), pause).fire();
            let each: Vec<u64> =
                (0..2_000_u64).map(|n| steps(|| one.reserve((), TOKEN / (1 + n % sizes), None).1.unwrap()).0).collect();
            let (first, last) = (each[10..100].iter().max().unwrap(), each[1_900..].iter().max().unwrap());
            assert!(*last < 3 * *first + 300, "{rate:?} {burst} {sizes}: {first} -> {last}");
            let dear = dearest(4, |waiter| one.acquire_or_wait((), TOKEN, waiter, &Waker::default(), FOREVER).1);
            assert!(dear < 600, "{rate:?} {burst} {sizes}: {dear}");
        }
    }
}

/// A well-mixed hash of a number.
fn key(number: u64) -> KeyHash {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    KeyHash::new([number, mixed ^ (mixed >> 27)])
}

/// The slots of a part of a table of keys.
const PART: u64 = 1024;
/// The keys of a full table, in very many parts.
const FULL: u64 = 200_000;

/// What newcomers cost that find all keys in use, and that find one, or many, that can be forgotten.
fn newcomers<L: Law>(law: &L) {
    let clock = Arc::new(Manual::new(0));
    let scale = Scale::for_largest(1e9).unwrap();
    let time = Clock::Manual(Arc::clone(&clock));
    let keyed: Keyed<Waker, Threads, L> = Keyed::new(law, Terms::default(), scale, usize::try_from(FULL).unwrap(), 1, time);
    let take = |number| steps(|| keyed.try_acquire((), key(number), TOKEN).1);
    // One key each millisecond, each of which is in use for a thousand seconds.
    for number in 0..FULL {
        let (dear, goes) = take(number);
        assert!(dear <= 2 * PART && goes == Ok(true), "{dear}, {goes:?}");
        clock.advance(TOKEN / 1000);
    }
    for newcomer in FULL..FULL + 100 {
        let (dear, refused) = take(newcomer);
        let Err(Refusal::AllKeysInUse(after)) = refused else { panic!("{refused:?}") };
        assert!(dear == 0 && after > 700 * TOKEN, "{dear}, {after}");
    }
    // When the time has come that they were told, there is one place, for one of them.
    let Err(Refusal::AllKeysInUse(after)) = take(FULL).1 else { panic!() };
    clock.advance(after);
    let (dear, goes) = take(FULL);
    assert!(dear <= PART && goes == Ok(true), "{dear}, {goes:?}");
    let (dear, refused) = take(FULL + 1);
    assert!(dear <= PART && refused == Err(Refusal::AllKeysInUse(TOKEN / 1000)), "{dear}, {refused:?}");
    // One key after the other can be forgotten.
    for newcomer in FULL + 1..FULL + 2_000 {
        clock.advance(TOKEN / 1000);
        let (dear, goes) = take(newcomer);
        assert!(dear <= 2 * PART && goes == Ok(true), "{dear}, {goes:?}");
    }
    // All of the old ones can.
    clock.advance(300 * TOKEN);
    let (all, ()) = steps(|| {
        for newcomer in FULL + 2_000..2 * FULL - 2_000 {
            assert_eq!(keyed.try_acquire((), key(newcomer), TOKEN).1, Ok(true));
        }
    });
    assert!(all < 6 * FULL, "{all}");
}

#[test]
fn a_new_key_does_not_cost_as_much_as_there_are_keys() {
    newcomers(&BucketLaw::new(per_second(0.001), TOKEN, 0));
    newcomers(&BucketLaw::spaced(per_second(0.001), usize::MAX, 0));
    newcomers(&WindowLaw::new(TOKEN, 1_000 * TOKEN));
}

/// The keys were used again after they had been counted: what is known of them is of no use, and a search ends all the same.
#[test]
fn a_new_key_does_not_cost_as_much_as_there_are_keys_in_use() {
    let clock = Arc::new(Manual::new(0));
    let law = BucketLaw::new(per_second(1.0), 2 * TOKEN, 0);
    let (scale, time) = (Scale::for_largest(1e9).unwrap(), Clock::Manual(Arc::clone(&clock)));
    let keyed: Keyed<Waker, Threads, BucketLaw> =
        Keyed::new(&law, Terms::default(), scale, usize::try_from(FULL).unwrap(), 1, time);
    for _ in 0..2 {
        for number in 0..FULL {
            assert_eq!(keyed.try_acquire((), key(number), TOKEN).1, Ok(true));
        }
    }
    clock.advance(TOKEN);
    let mut calls = 0;
    loop {
        let (dear, refused) = steps(|| keyed.try_acquire((), key(FULL), TOKEN).1);
        assert!(dear <= 2 * 32 * PART, "{dear}"); // for a key that can be forgotten, and for the first that will be
        assert_eq!(refused, Err(Refusal::AllKeysInUse(TOKEN)), "as told by the keys that have been looked at");
        if dear == 0 {
            break; // all have been
        }
        calls += 1;
    }
    assert!(calls > 1 && calls < 20, "{calls}");
    clock.advance(TOKEN);
    assert_eq!(keyed.try_acquire((), key(FULL), TOKEN).1, Ok(true));
}
