//! What a call costs when many wait, or much is booked: counted in steps, not measured in time. (Tests only.)

use std::cell::Cell;

use super::{LimitSet, Limiter, Place, Policy, Rate, Refusal, Scale, Standing};
use crate::clock::{Clock, Manual};
use crate::section::Threads;
use crate::sync::Arc;
use crate::wait::Parker;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// One look at a schedule, or at an entry of one.
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
        LimitSet::new((), members, Clock::Manual(Arc::clone(clock)))
    })
}

/// Callers, each with `call`, the first of which find it free: the most steps that one of the last took.
fn dearest(count: usize, mut call: impl FnMut(&mut Place) -> Standing) -> u64 {
    let mut places: Vec<Place> = (0..count).map(|_| Place::default()).collect();
    let each: Vec<u64> = places.iter_mut().map(|place| steps(|| call(place)).0).collect();
    *each[count / 2..].iter().max().unwrap()
}

#[test]
fn an_arrival_does_not_cost_as_much_as_the_queue_is_long() {
    let clock = Arc::new(Manual::new(0));
    for policy in policies() {
        let one = make(policy, &clock);
        let dear = dearest(2_000, |place| one.acquire_or_wait((), TOKEN, place, &Waker::default(), FOREVER).1);
        assert!(dear < 20, "{policy:?}: {dear}");
    }
    for set in sets(&clock) {
        let dear = dearest(2_000, |place| set.acquire_or_wait((), &[TOKEN, TOKEN], place, &Waker::default(), FOREVER).1);
        assert!(dear < 40, "{dear}");
    }
}

#[test]
fn a_refusal_does_not_cost_as_much_as_the_queue_is_long() {
    let clock = Arc::new(Manual::new(0));
    for policy in policies() {
        let one = make(policy, &clock);
        dearest(2_000, |place| one.acquire_or_wait((), TOKEN, place, &Waker::default(), None).1);
        assert!(one.retry_after((), TOKEN).1.is_ok()); // looks at everybody, once
        let (dear, standing) = steps(|| one.acquire_or_wait((), TOKEN, &mut Place::default(), &Waker::default(), Some(1)).1);
        assert!(matches!(standing, Standing::Refused(Refusal::Until(_))) && dear < 20, "{policy:?}: {dear}");
        let (dear, _) = steps(|| one.retry_after((), TOKEN));
        assert!(dear < 20, "{policy:?}: {dear}");
    }
    for set in sets(&clock) {
        dearest(2_000, |place| set.acquire_or_wait((), &[TOKEN, TOKEN], place, &Waker::default(), None).1);
        assert!(set.retry_after((), &[TOKEN, TOKEN]).1.is_ok());
        let (dear, _) = steps(|| set.acquire_or_wait((), &[TOKEN, TOKEN], &mut Place::default(), &Waker::default(), Some(1)));
        assert!(dear < 40, "{dear}");
    }
}

/// Everybody gives up, one after the other, and is told when to come again.
#[test]
fn giving_up_does_not_cost_as_much_as_the_queue_is_long() {
    let clock = Arc::new(Manual::new(0));
    for policy in policies() {
        let one = make(policy, &clock);
        let mut places: Vec<Place> = (0..2_000).map(|_| Place::default()).collect();
        for place in &mut places {
            one.acquire_or_wait((), TOKEN, place, &Waker::default(), None).0.fire();
        }
        let (all, ()) = steps(|| {
            for place in &mut places {
                one.leave((), place).fire();
                assert!(one.retry_after_at_most((), TOKEN).1.is_ok());
            }
        });
        assert!(all < 2_000 * 20, "{policy:?}: {all}");
    }
    for set in sets(&clock) {
        let mut places: Vec<Place> = (0..2_000).map(|_| Place::default()).collect();
        for place in &mut places {
            set.acquire_or_wait((), &[TOKEN, TOKEN], place, &Waker::default(), None).0.fire();
        }
        let (all, ()) = steps(|| {
            for place in &mut places {
                set.leave((), place).fire();
                assert!(set.retry_after_at_most((), &[TOKEN, TOKEN]).1.is_ok());
            }
        });
        assert!(all < 2_000 * 100, "{all}");
    }
}

/// Bookings, in whatever order of amounts: the cost grows with the logarithm of their number.
#[test]
fn a_booking_does_not_cost_as_much_as_there_are_others() {
    let clock = Arc::new(Manual::new(0));
    for policy in policies() {
        let one = make(policy, &clock);
        let each: Vec<u64> = (0..10_000_u64).map(|n| steps(|| one.reserve((), TOKEN / (1 + n % 3), None).1.unwrap()).0).collect();
        let (first, last) = (each[10..100].iter().max().unwrap(), each[9_900..].iter().max().unwrap());
        assert!(*last < 3 * *first + 300, "{policy:?}: {first} -> {last}");
    }
}
