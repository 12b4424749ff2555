//! Keys against plain models: what is kept of a key that is only tried, what its limiter knows, and the way from one to the other.

use std::sync::Arc;

use proptest::prelude::*;
use sluicegate_core::clock::Nanos;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{BucketLaw, Keyed, Law, Policy, Refusal, Terms, Units, Waiter, WindowLaw};
use sluicegate_core::section::Threads;

use super::{One, SECOND, TOKEN, Time, Waker, level, nano, rate_of, retry_after, try_acquire, try_book};

const KEYS: u64 = 3;

#[derive(Clone, Copy, Debug)]
enum Step {
    Try(u64, Units),
    /// The key's limiter is taken in hand, and let go again.
    Heavy(u64),
    LetGo(u64),
    /// A grant that came to less.
    Settle(u64, Units, Units),
    Debit(u64, Units),
    Advance(Nanos),
}

fn amount() -> impl Strategy<Value = Units> {
    prop_oneof![3 => (1..=4_u64).prop_map(|n| n * TOKEN), 1 => 1..=4 * TOKEN]
}

fn step(spans: Vec<Nanos>) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..KEYS, amount()).prop_map(|(key, n)| Step::Try(key, n)),
        1 => (0..KEYS).prop_map(Step::Heavy),
        2 => (0..KEYS).prop_map(Step::LetGo),
        2 => (0..KEYS, amount(), 0..=4 * TOKEN).prop_map(|(key, n, actual)| Step::Settle(key, n, actual.min(n))),
        1 => (0..KEYS, amount()).prop_map(|(key, n)| Step::Debit(key, n)),
        5 => proptest::sample::select(spans).prop_map(Step::Advance),
    ]
}

fn index(key: u64) -> usize {
    usize::try_from(key).unwrap()
}

fn hash(key: u64) -> KeyHash {
    KeyHash::new([key, key.wrapping_mul(0x9e37_79b9_7f4a_7c15)])
}

struct Scene<L: Law> {
    time: Time,
    keyed: Keyed<Waker, Threads, L>,
    held: Vec<Option<Arc<One>>>,
}

impl<L: Law> Scene<L> {
    fn new(law: &L) -> Self {
        let time = Time::new();
        let keyed = Keyed::new(law, Terms::default(), nano(), 16, 2, time.clock());
        Self { time, keyed, held: (0..KEYS).map(|_| None).collect() }
    }

    fn limiter(&self, key: u64) -> Arc<One> {
        let (wakes, limiter) = self.keyed.limiter((), hash(key));
        wakes.fire();
        limiter.unwrap()
    }

    fn let_go(&mut self, key: u64) {
        self.held[index(key)] = None;
        self.keyed.let_go((), hash(key)).fire();
    }

    fn try_key(&self, key: u64, n: Units) -> Result<bool, Refusal> {
        let (wakes, goes) = self.keyed.try_acquire((), hash(key), n);
        wakes.fire();
        goes
    }
}

/// A limiter of its own for each key, and the same done to both: no answer differs.
fn as_limiters_of_their_own<L: Law>(law: &L, policy: Policy, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut scene = Scene::new(law);
    let plain: Vec<_> = (0..KEYS).map(|_| scene.time.make(policy)).collect();
    for step in steps {
        match step {
            Step::Advance(by) => scene.time.reach(scene.time.now() + by),
            Step::Try(key, n) => prop_assert_eq!(scene.try_key(key, n), try_acquire(&plain[index(key)], n)),
            Step::Heavy(key) => scene.held[index(key)] = Some(scene.limiter(key)),
            Step::LetGo(key) => scene.let_go(key),
            Step::Settle(key, n, actual) => {
                let mut came_to = Vec::new();
                for one in [&scene.limiter(key), &plain[index(key)]] {
                    let settled = try_book(one, n).map(|booking| booking.map(|booking| one.adjust((), booking, actual).1));
                    came_to.push(settled);
                }
                prop_assert_eq!(&came_to[0], &came_to[1]);
            }
            Step::Debit(key, n) => {
                scene.limiter(key).debit((), n).1.unwrap();
                plain[index(key)].debit((), n).1.unwrap();
            }
        }
        for (key, one) in (0..KEYS).zip(&plain) {
            prop_assert_eq!(scene.keyed.level((), hash(key)).1, level(one));
            for n in [1, TOKEN, 3 * TOKEN] {
                prop_assert_eq!(scene.keyed.retry_after((), hash(key), n).1, retry_after(one, n));
            }
        }
    }
    scene.time.reach(scene.time.now() + 1_000 * SECOND);
    for key in 0..KEYS {
        scene.let_go(key);
    }
    prop_assert_eq!(scene.keyed.len(), 0, "nothing is owed, so nothing is remembered");
    Ok(())
}

fn spans() -> Vec<Nanos> {
    vec![0, 1, SECOND / 3, SECOND / 2, SECOND, 2 * SECOND]
}

/// What was booked for a moment that has come is no reason to remember the key longer than its period, although nobody asks for it again.
#[test]
fn a_window_with_bookings_that_are_past_can_be_forgotten() {
    let time = Time::new();
    let law = WindowLaw::new(TOKEN, SECOND);
    let keyed: Keyed<Waker, Threads, WindowLaw> = Keyed::new(&law, Terms::default(), nano(), 1, 1, time.clock());
    let limiter = keyed.limiter((), hash(1)).1.unwrap();
    for _ in 0..2 {
        limiter.reserve((), TOKEN, None).1.unwrap();
    }
    drop(limiter);
    time.reach(SECOND);
    assert!(matches!(keyed.try_acquire((), hash(2), TOKEN).1, Err(Refusal::AllKeysInUse(_))));
    time.reach(2 * SECOND);
    assert_eq!(keyed.try_acquire((), hash(2), TOKEN).1, Ok(true));
    assert_eq!(keyed.try_acquire((), hash(3), TOKEN).1, Err(Refusal::AllKeysInUse(SECOND)));
}

/// Whether one section guards the keys, or several.
const SHARDS: [usize; 2] = [1, 8];

fn full<L: Law>(law: &L, keys: u64, shards: usize, time: &Time) -> Keyed<Waker, Threads, L> {
    Keyed::new(law, Terms::default(), nano(), usize::try_from(keys).unwrap(), shards, time.clock())
}

fn told_to_newcomer<L: Law>(keyed: &Keyed<Waker, Threads, L>) -> Nanos {
    let (wakes, refused) = keyed.try_acquire((), hash(1_000_000), TOKEN);
    wakes.fire();
    let Err(Refusal::AllKeysInUse(after)) = refused else { panic!("{refused:?}") };
    after
}

/// While keys are booked, a newcomer is told when the first key owes nothing, as things stand; and then it is so.
#[test]
fn a_newcomer_is_told_when_a_key_is_free_although_keys_are_booked() {
    for shards in SHARDS {
        let time = Time::new();
        let keyed = full(&BucketLaw::new(rate_of(1), 4 * TOKEN, 0), 6, shards, &time);
        for key in 0..3 {
            assert_eq!(keyed.try_acquire((), hash(key), (1 + key) * TOKEN).1, Ok(true));
        }
        let booked: Vec<_> = (3..6).map(|key| keyed.limiter((), hash(key)).1.unwrap()).collect();
        for (index, limiter) in (0..).zip(&booked) {
            for _ in 0..2 + index {
                limiter.reserve((), 4 * TOKEN, None).1.unwrap(); // the last for the moments 4, 8 and 12
            }
        }
        // The light keys come first: 0 after a second, and the others after it.
        for (key, after) in [(0, SECOND), (1, 2 * SECOND), (2, 3 * SECOND)] {
            assert_eq!(told_to_newcomer(&keyed), after - time.now());
            time.reach(after);
            assert_eq!(keyed.try_acquire((), hash(100 + key), 4 * TOKEN).1, Ok(true), "there is room for one");
        }
        // Those are full at the seconds 5, 6 and 7, the booked ones at 8, 12 and 16, of which two are still held.
        for (key, after) in [(0, 5), (1, 6), (2, 7)] {
            assert_eq!(told_to_newcomer(&keyed), after * SECOND - time.now());
            time.reach(after * SECOND);
            assert_eq!(keyed.try_acquire((), hash(200 + key), 4 * TOKEN).1, Ok(true), "there is room for one");
            keyed.limiter((), hash(200 + key)).1.unwrap().debit((), 100 * TOKEN).1.unwrap();
        }
        let mut booked = booked.into_iter();
        drop(booked.next());
        assert_eq!(told_to_newcomer(&keyed), 8 * SECOND - time.now());
        time.reach(8 * SECOND);
        assert_eq!(keyed.try_acquire((), hash(300), 4 * TOKEN).1, Ok(true), "there is room for one");
        keyed.limiter((), hash(300)).1.unwrap().debit((), 100 * TOKEN).1.unwrap();
        assert_eq!(told_to_newcomer(&keyed), 4 * SECOND);
        time.reach(20 * SECOND);
        assert_eq!(told_to_newcomer(&keyed), SECOND, "nothing is owed, but the keys are held");
        drop(booked);
        assert_eq!(keyed.try_acquire((), hash(301), TOKEN).1, Ok(true));
    }
}

/// Bookings far ahead count, although the full amount could be taken before them; so do pauses and waiters.
#[test]
fn what_is_booked_far_ahead_keeps_a_key() {
    fn of_law<L: Law>(law: &L, period: Nanos) {
        let time = Time::new();
        let keyed = full(law, 1, 1, &time);
        let limiter = keyed.limiter((), hash(1)).1.unwrap();
        for _ in 0..4 {
            limiter.reserve((), TOKEN, None).1.unwrap(); // for the moments 0, 1, 2 and 3 periods
        }
        assert_eq!(told_to_newcomer(&keyed), 4 * period);
        drop(limiter);
        assert_eq!(told_to_newcomer(&keyed), 4 * period);
        let mut waiter = Waiter::default();
        let limiter = keyed.limiter((), hash(1)).1.unwrap();
        limiter.acquire_or_wait((), TOKEN, &mut waiter, &Waker::default(), None).0.fire();
        assert_eq!(told_to_newcomer(&keyed), 5 * period);
        limiter.leave((), &mut waiter).fire();
        assert_eq!(told_to_newcomer(&keyed), 4 * period);
        limiter.pause((), 100 * period).fire();
        drop(limiter);
        assert_eq!(told_to_newcomer(&keyed), 100 * period);
        time.reach(100 * period);
        assert_eq!(keyed.try_acquire((), hash(2), TOKEN).1, Ok(true));
    }
    of_law(&BucketLaw::new(rate_of(1), TOKEN, 0), SECOND);
    of_law(&BucketLaw::spaced(rate_of(1), 10, 0), SECOND);
    of_law(&WindowLaw::new(TOKEN, 7 * SECOND), 7 * SECOND);
}

/// With more booked keys than one search looks at, what is told comes true for one of those it has looked at.
#[test]
fn with_very_many_booked_keys_what_is_told_comes_true() {
    for shards in SHARDS {
        let time = Time::new();
        let keyed = full(&BucketLaw::new(rate_of(1), TOKEN, 0), 1_000, shards, &time);
        for key in 0..1_000 {
            keyed.limiter((), hash(key)).1.unwrap().debit((), (1 + key % 50) * TOKEN).1.unwrap();
            let limiter = keyed.limiter((), hash(key)).1.unwrap();
            limiter.reserve((), TOKEN, None).1.unwrap();
        }
        let after = told_to_newcomer(&keyed);
        assert!((2 * SECOND..=51 * SECOND).contains(&after), "{after}");
        time.reach(after + 1);
        let goes = (0..100).any(|_| keyed.try_acquire((), hash(1_000_000), TOKEN).1 == Ok(true));
        assert!(goes, "after some searches at most");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_key_is_a_bucket(burst in 1..=6_u64, per_nano in 1..=3_u32, steps in proptest::collection::vec(step(spans()), 0..60)) {
        let (rate, burst) = (rate_of(per_nano), burst * TOKEN);
        as_limiters_of_their_own(&BucketLaw::new(rate, burst, 0), Policy::Bucket { rate, burst, debt: 0 }, steps)?;
    }

    #[test]
    fn a_key_is_a_shaper(per_nano in 1..=3_u32, steps in proptest::collection::vec(step(spans()), 0..60)) {
        let (rate, capacity) = (rate_of(per_nano), 2);
        as_limiters_of_their_own(&BucketLaw::spaced(rate, capacity, 0), Policy::Spaced { rate, capacity }, steps)?;
    }

    /// With moments enough for all of a period a key's window is exact.
    #[test]
    fn a_key_is_a_window(limit in 1..=6_u64, steps in proptest::collection::vec(step(vec![0, SECOND / 2, SECOND, 2 * SECOND]), 0..60)) {
        let (limit, period) = (limit * TOKEN, 5 * SECOND);
        as_limiters_of_their_own(&WindowLaw::new(limit, period), Policy::Window { limit, period }, steps)?;
    }

    /// With more moments than are remembered: never more than the limit in any window, and no amount counts for longer than a fifteenth of the
    /// period more.
    #[test]
    fn a_window_of_many_moments_keeps_the_law(
        limit in 10..=60_u64,
        gaps in proptest::collection::vec((1..SECOND, 1..=3_u64, 0..20_u32), 100..300),
    ) {
        let (limit, period) = (limit * TOKEN, 10 * SECOND);
        let mut scene = Scene::new(&WindowLaw::new(limit, period));
        let mut taken: Vec<(Nanos, Units)> = Vec::new();
        for (gap, n, what) in gaps {
            scene.time.reach(scene.time.now() + gap);
            let (now, n) = (scene.time.now(), n * TOKEN);
            let in_the_last = |time: Nanos| -> Units {
                taken.iter().filter(|(at, _)| at + time > now).map(|(_, n)| n).sum()
            };
            let goes = match what {
                0 => {
                    scene.held[0] = Some(scene.limiter(0));
                    scene.try_key(0, n).unwrap()
                }
                1 => {
                    scene.let_go(0);
                    scene.try_key(0, n).unwrap()
                }
                _ => scene.try_key(0, n).unwrap(),
            };
            prop_assert!(!goes || in_the_last(period) + n <= limit, "too much");
            prop_assert!(goes || in_the_last(period + period / 15 + 1) + n > limit, "too strict");
            if goes {
                taken.push((now, n));
            }
        }
    }
}
