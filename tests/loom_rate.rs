//! Models of the limiters' protocol paths: every interleaving of two or three threads, each model with the promise it guards.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_rate`. Time stands still unless a model moves it: whoever would sleep
//! until a moment sets the clock to that moment instead. A waiter that nobody wakes is a deadlock, which loom reports.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::clock::{Clock, Manual, Nanos};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{
    AcquireState, BucketLaw, Keyed, LimitSet, Limiter, Policy, Rate, Refusal, Scale, Terms, Units, Waiter, WindowLaw,
};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Waker = Arc<Parker>;
type One = Limiter<Waker, Threads>;
type Set = LimitSet<Waker, Threads>;

const SECOND: Nanos = 1_000_000_000;
const TOKEN: Units = 1_000_000_000;

/// Loom's threads take turns on one: an ordinary lock inside is no matter, and `Manual` is the same in every model.
#[derive(Clone)]
struct Time(std::sync::Arc<Manual<Waker>>);

impl Time {
    fn new() -> Self {
        Self(std::sync::Arc::new(Manual::new(0)))
    }

    fn clock(&self) -> Clock<Waker> {
        Clock::Manual(std::sync::Arc::clone(&self.0))
    }

    /// What a timekeeper does, without sleeping.
    fn reach(&self, moment: Nanos) {
        self.0.advance(moment.saturating_sub(self.0.now()));
    }
}

/// A model in which many stale values can be read: fewer preemptions find what there is to find, in seconds.
fn model_with(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.map_or(preemptions, |bound| bound.min(preemptions)));
    builder.check(model);
}

fn scale() -> Scale {
    Scale::for_largest(1e9).unwrap()
}

/// Tokens a second.
fn rate_of(rate: f64) -> Rate {
    Rate::new(rate, 1.0, scale()).unwrap()
}

/// With `tokens` in it, and its fast path open.
fn bucket(time: &Time, rate: f64, burst: u64, tokens: u64) -> Arc<One> {
    let policy = Policy::Bucket { rate: rate_of(rate), burst: burst * TOKEN, debt: (burst - tokens) * TOKEN };
    let bucket = Arc::new(Limiter::new(policy, scale(), time.clock()));
    assert_eq!(level(&bucket), i128::from(tokens));
    bucket
}

/// In whole tokens.
fn level(one: &One) -> i128 {
    let (wakes, level) = one.level(());
    wakes.fire();
    assert_eq!(level % i128::from(TOKEN), 0);
    level / i128::from(TOKEN)
}

fn take(one: &One, n: u64) -> bool {
    let (wakes, goes) = one.try_acquire((), n * TOKEN);
    wakes.fire();
    goes.unwrap()
}

fn refund(one: &One, n: u64) {
    one.refund((), n * TOKEN).fire();
}

fn look(one: &One, n: u64, waiter: &mut Waiter, parker: &Waker) -> AcquireState {
    let (wakes, standing) = one.acquire_or_wait((), n * TOKEN, waiter, parker, None);
    wakes.fire();
    standing
}

/// A place in the wait queue; the waiter itself is left to the model.
fn stand(one: &One, n: u64) -> (Waiter, Waker, Option<Nanos>) {
    let (mut waiter, parker) = (Waiter::default(), Waker::default());
    let AcquireState::Waiting(at) = look(one, n, &mut waiter, &parker) else { panic!("it has to wait") };
    (waiter, parker, at)
}

/// What the binding's blocking gate does, without signals: sleeps until it is woken or, if it keeps time, until the moment.
fn wait(time: &Time, mut look: impl FnMut(&mut Waiter, &Waker) -> AcquireState) -> AcquireState {
    let (mut waiter, parker) = (Waiter::default(), Waker::default());
    loop {
        parker.reset();
        match look(&mut waiter, &parker) {
            AcquireState::Waiting(Some(moment)) => time.reach(moment),
            AcquireState::Waiting(None) => {
                while !parker.is_notified() {
                    parker.park(None);
                }
            }
            standing => return standing,
        }
    }
}

/// As `wait`, where the moment is too far away to be slept for: nothing but a wake-up helps.
fn wait_to_be_woken(time: &Time, mut look: impl FnMut(&mut Waiter, &Waker) -> AcquireState) -> AcquireState {
    wait(time, |waiter, parker| match look(waiter, parker) {
        AcquireState::Waiting(Some(at)) if at > time.0.now() + 10 * SECOND => AcquireState::Waiting(None),
        standing => standing,
    })
}

fn acquire(time: &Time, one: &One, n: u64) {
    assert_eq!(wait(time, |waiter, parker| look(one, n, waiter, parker)), AcquireState::Granted);
}

/// No time is credited, and no token taken, twice: of three callers on the fast path one gets the last token.
#[test]
fn three_callers_race_for_one_token() {
    loom::model(|| {
        let bucket = bucket(&Time::new(), 1.0, 1, 1);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let bucket = Arc::clone(&bucket);
                thread::spawn(move || bucket.pass((), TOKEN))
            })
            .collect();
        let mut answers = vec![bucket.pass((), TOKEN)];
        answers.extend(others.into_iter().map(|other| other.join().unwrap()));
        answers.sort_unstable();
        assert_eq!(answers, [Some(false), Some(false), Some(true)]);
        assert_eq!(level(&bucket), 0);
    });
}

/// Nothing is taken by halves: callers on the fast path who want different amounts get them, or not, as if one after the other.
#[test]
fn large_and_small_race_at_the_gate() {
    loom::model(|| {
        let bucket = bucket(&Time::new(), 1.0, 3, 3);
        let other = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || take(&bucket, 2))
        };
        let (one, two) = (take(&bucket, 1), take(&bucket, 1));
        let three = other.join().unwrap();
        assert_eq!((one, two, three), (true, !three, three));
        assert_eq!(level(&bucket), i128::from(!three));
    });
}

/// Arrivals do not overtake: one that is admitted came before the waiter had its place, and the waiter's moment knows of it.
#[test]
fn an_arrival_races_with_a_waiter_joining() {
    loom::model(|| {
        let bucket = bucket(&Time::new(), 1.0, 2, 1);
        let arrival = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.pass((), TOKEN))
        };
        let (mut waiter, _, at) = stand(&bucket, 2);
        assert_ne!(bucket.pass((), TOKEN), Some(true), "it overtakes");
        let admitted = arrival.join().unwrap() == Some(true);
        assert_eq!(at, Some(if admitted { 2 * SECOND } else { SECOND }));
        bucket.leave((), &mut waiter).fire();
        assert_eq!(level(&bucket), i128::from(!admitted));
    });
}

/// Nobody sleeps beside a token: what is given back reaches a waiter, however that races with its falling asleep.
#[test]
fn a_refund_races_with_a_waiter_falling_asleep() {
    loom::model(|| {
        let time = Time::new();
        let bucket = bucket(&time, 1e-9, 1, 0);
        let waiter = {
            let (bucket, time) = (Arc::clone(&bucket), time.clone());
            thread::spawn(move || wait_to_be_woken(&time, |waiter, parker| look(&bucket, 1, waiter, parker)))
        };
        refund(&bucket, 1);
        assert_eq!(waiter.join().unwrap(), AcquireState::Granted);
        assert_eq!(level(&bucket), 0);
    });
}

/// Nothing torn is acted upon: with nothing in the bucket before a change of the law and nothing after it, nothing goes in between. The
/// caller may have read one law's burst and the other's origin; that the state has not been seen before is what gives it away.
#[test]
fn a_caller_races_with_a_change_that_leaves_nothing() {
    model_with(3, || {
        let bucket = bucket(&Time::new(), 1.0, 10, 10);
        assert!(take(&bucket, 10)); // on the fast path, behind the section's back
        let caller = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.pass((), 1))
        };
        // One unit less, so that the new debt plus one is the old debt.
        bucket.set_rate((), rate_of(1.0), Some(10 * TOKEN - 1), None, |_| ()).fire();
        assert_ne!(caller.join().unwrap(), Some(true));
        assert_eq!(level(&bucket), 0);
    });
}

/// The law of before or of after holds, never a mixture: two tokens go under neither, one goes under both.
#[test]
fn a_caller_races_with_a_change_of_rate_and_burst() {
    model_with(2, || {
        let time = Time::new();
        let bucket = bucket(&time, 1.0, 4, 0);
        time.reach(SECOND);
        assert_eq!(level(&bucket), 1);
        let callers = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || (bucket.pass((), 2 * TOKEN), bucket.pass((), TOKEN)))
        };
        bucket.set_rate((), rate_of(100.0), Some(2 * TOKEN), None, |_| ()).fire();
        let (two, one) = callers.join().unwrap();
        assert_ne!(two, Some(true));
        assert_ne!(one, Some(false));
        assert_eq!(level(&bucket), i128::from(one.is_none()));
    });
}

/// A refused caller is told the moment under the law of before or of after, never one of a mixture.
#[test]
fn a_caller_that_is_told_races_with_a_change() {
    model_with(2, || {
        let bucket = bucket(&Time::new(), 1.0, 4, 0);
        let caller = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || {
                let (wakes, told) = bucket.try_or_tell((), 2 * TOKEN);
                wakes.fire();
                told
            })
        };
        bucket.set_rate((), rate_of(100.0), Some(2 * TOKEN), None, |_| ()).fire();
        let told = caller.join().unwrap();
        assert!(told == Ok(Some(2 * SECOND)) || told == Ok(Some(SECOND / 50)), "{told:?}");
        let (wakes, seen) = bucket.statistics(());
        wakes.fire();
        assert_eq!((seen.admitted, seen.refused), (0, 1));
    });
}

/// A caller is not told that it has to wait for what has been given back by then.
#[test]
fn a_caller_that_is_told_races_with_a_refund() {
    model_with(3, || {
        let bucket = bucket(&Time::new(), 1.0, 2, 0);
        let caller = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || {
                let (wakes, told) = bucket.try_or_tell((), TOKEN);
                wakes.fire();
                told
            })
        };
        refund(&bucket, 1);
        let told = caller.join().unwrap();
        assert!(told == Ok(Some(SECOND)) || told == Ok(None), "{told:?}");
        assert_eq!(level(&bucket), i128::from(told == Ok(Some(SECOND))));
    });
}

/// What was given back once is not taken for what it was before: a refund that would lead back to a state of the former law does not.
#[test]
fn a_caller_races_with_a_change_and_a_refund() {
    model_with(1, || {
        let bucket = bucket(&Time::new(), 1.0, 8, 6);
        let caller = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.pass((), 4 * TOKEN))
        };
        bucket.set_rate((), rate_of(1.0), Some(3 * TOKEN), None, |_| ()).fire(); // two or three are left
        bucket.refund((), 1).fire();
        let went = caller.join().unwrap() == Some(true);
        // Before the change there was room for it, afterwards never: it went before, or not at all.
        let (wakes, level) = bucket.level(());
        wakes.fire();
        assert_eq!(level, i128::from(if went { 2 * TOKEN + 1 } else { 3 * TOKEN }));
    });
}

/// What is taken without asking is counted, and so is the caller on the fast path.
#[test]
fn a_caller_races_with_a_debit() {
    model_with(3, || {
        let bucket = bucket(&Time::new(), 1.0, 2, 1);
        let caller = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.pass((), TOKEN))
        };
        let (wakes, done) = bucket.debit((), TOKEN);
        wakes.fire();
        assert_eq!(done, Ok(()));
        let went = caller.join().unwrap() == Some(true);
        assert_eq!(level(&bucket), -i128::from(went));
    });
}

/// What is given back is there for a caller on the fast path, once.
#[test]
fn a_caller_races_with_a_refund() {
    model_with(3, || {
        let bucket = bucket(&Time::new(), 1.0, 2, 0);
        let caller = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.pass((), TOKEN))
        };
        refund(&bucket, 1);
        let went = caller.join().unwrap() == Some(true);
        assert_eq!(level(&bucket), 1 - i128::from(went));
    });
}

/// After a pause has been declared no request is admitted, and those admitted before have been counted.
#[test]
fn a_caller_races_with_a_pause() {
    loom::model(|| {
        let time = Time::new();
        let bucket = bucket(&time, 1.0, 2, 2);
        let caller = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || take(&bucket, 1))
        };
        bucket.pause((), SECOND).fire();
        assert!(!take(&bucket, 1));
        let went = caller.join().unwrap();
        assert_eq!(level(&bucket), 2 - i128::from(went));
        time.reach(SECOND);
        assert!(take(&bucket, 2));
    });
}

/// A booking takes its place among the callers on the fast path: what went before it moves its moment, and given back it leaves no trace.
#[test]
fn a_booking_races_with_callers_at_the_gate() {
    loom::model(|| {
        let bucket = bucket(&Time::new(), 1.0, 2, 2);
        let caller = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || take(&bucket, 1))
        };
        let (wakes, booking) = bucket.reserve((), 2 * TOKEN, None);
        wakes.fire();
        let booking = booking.unwrap();
        let went = caller.join().unwrap();
        assert_eq!(booking.at, if went { SECOND } else { 0 });
        let (wakes, returned) = bucket.cancel((), booking);
        wakes.fire();
        assert_eq!(returned, 2 * TOKEN);
        assert_eq!(level(&bucket), 2 - i128::from(went));
    });
}

/// A token granted to a waiter that leaves goes to the next waiter, and not to an arrival.
#[test]
fn a_granted_waiter_leaves_while_another_arrives() {
    loom::model(|| {
        let bucket = bucket(&Time::new(), 1e-9, 1, 0);
        let (mut quitter, _, _) = stand(&bucket, 1);
        let (mut next, parker, _) = stand(&bucket, 1);
        refund(&bucket, 1); // the quitter's
        parker.reset();
        let arrival = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || take(&bucket, 1))
        };
        bucket.leave((), &mut quitter).fire();
        assert!(parker.is_notified());
        assert!(!arrival.join().unwrap());
        assert_eq!(look(&bucket, 1, &mut next, &parker), AcquireState::Granted);
        assert_eq!(level(&bucket), 0);
    });
}

/// The same with the next one just coming: it or the arrival gets the token, and one that was too late is served by the next token.
#[test]
fn a_granted_waiter_leaves_while_two_arrive() {
    model_with(3, || {
        let time = Time::new();
        let bucket = bucket(&time, 1e-9, 1, 0);
        let (mut quitter, _, _) = stand(&bucket, 1);
        refund(&bucket, 1); // the quitter's
        let waiter = {
            let (bucket, time) = (Arc::clone(&bucket), time.clone());
            thread::spawn(move || wait_to_be_woken(&time, |waiter, parker| look(&bucket, 1, waiter, parker)))
        };
        bucket.leave((), &mut quitter).fire(); // the waiter's, if it is there, or anybody's
        if take(&bucket, 1) {
            refund(&bucket, 1);
        }
        assert_eq!(waiter.join().unwrap(), AcquireState::Granted);
        assert_eq!(level(&bucket), 0);
    });
}

/// Somebody always watches the clock: a timekeeper that leaves hands over to one that waits, or is just falling asleep.
#[test]
fn a_timekeeper_leaves_while_another_falls_asleep() {
    loom::model(|| {
        let time = Time::new();
        let bucket = bucket(&time, 1.0, 1, 0);
        let (mut keeper, _, at) = stand(&bucket, 1);
        assert_eq!(at, Some(SECOND));
        let waiter = {
            let (bucket, time) = (Arc::clone(&bucket), time.clone());
            thread::spawn(move || acquire(&time, &bucket, 1))
        };
        bucket.leave((), &mut keeper).fire();
        waiter.join().unwrap();
        assert_eq!(time.0.now(), SECOND);
        assert_eq!(level(&bucket), 0);
    });
}

/// A timekeeper that steps aside (its thread runs a signal handler) hands over too; when the handler waits itself, it is served behind it.
#[test]
fn a_timekeeper_steps_aside_while_another_falls_asleep() {
    loom::model(|| {
        let time = Time::new();
        let bucket = bucket(&time, 1.0, 2, 0);
        let (mut keeper, parker, _) = stand(&bucket, 1);
        let waiter = {
            let (bucket, time) = (Arc::clone(&bucket), time.clone());
            thread::spawn(move || acquire(&time, &bucket, 1))
        };
        bucket.step_aside((), keeper.ticket().unwrap()).fire();
        waiter.join().unwrap();
        bucket.step_back((), keeper.ticket().unwrap()).fire();
        assert_eq!(look(&bucket, 1, &mut keeper, &parker), AcquireState::Granted);
        assert_eq!((time.0.now(), level(&bucket)), (2 * SECOND, 0));
    });
}

/// A timekeeper that comes at its moment and the one it grants meet: both are served, each at its own moment.
#[test]
fn two_waiters_are_served_by_whoever_keeps_time() {
    loom::model(|| {
        let time = Time::new();
        let bucket = bucket(&time, 1.0, 1, 0);
        let other = {
            let (bucket, time) = (Arc::clone(&bucket), time.clone());
            thread::spawn(move || acquire(&time, &bucket, 1))
        };
        acquire(&time, &bucket, 1);
        other.join().unwrap();
        assert_eq!((time.0.now(), level(&bucket)), (2 * SECOND, 0));
    });
}

/// A rate that rises wakes the timekeeper, wherever it stands between looking and sleeping: the wait that has begun becomes shorter.
#[test]
fn a_rising_rate_races_with_a_waiter_falling_asleep() {
    loom::model(|| {
        let time = Time::new();
        let bucket = bucket(&time, 1e-3, 2, 0);
        let waiter = {
            let (bucket, time) = (Arc::clone(&bucket), time.clone());
            thread::spawn(move || wait_to_be_woken(&time, |waiter, parker| look(&bucket, 1, waiter, parker)))
        };
        bucket.set_rate((), rate_of(1.0), Some(2 * TOKEN), None, |_| ()).fire();
        assert_eq!(waiter.join().unwrap(), AcquireState::Granted);
        assert!(time.0.now() <= SECOND);
    });
}

/// A burst that falls below a waiter's amount tells it so, and lets the next one go.
#[test]
fn a_falling_burst_races_with_a_waiter_falling_asleep() {
    loom::model(|| {
        let time = Time::new();
        let bucket = bucket(&time, 1.0, 2, 1);
        let waiter = {
            let (bucket, time) = (Arc::clone(&bucket), time.clone());
            thread::spawn(move || wait(&time, |waiter, parker| look(&bucket, 2, waiter, parker)))
        };
        bucket.set_rate((), rate_of(1e-9), Some(TOKEN), None, |_| ()).fire();
        let standing = waiter.join().unwrap();
        assert!(matches!(standing, AcquireState::Granted | AcquireState::Refused(Refusal::NeverFits)), "{standing:?}");
        assert_eq!(take(&bucket, 1), standing != AcquireState::Granted);
    });
}

fn set(time: &Time, members: [&Arc<One>; 2]) -> std::sync::Arc<Set> {
    LimitSet::new((), members.map(Arc::clone).to_vec(), time.clock()).unwrap()
}

fn take_each(set: &Set) -> bool {
    let (wakes, goes) = set.try_acquire((), &[TOKEN, TOKEN], false);
    wakes.fire();
    goes.unwrap()
}

fn look_each(set: &Set, waiter: &mut Waiter, parker: &Waker) -> AcquireState {
    let (wakes, standing) = set.acquire_or_wait((), &[TOKEN, TOKEN], waiter, parker, None);
    wakes.fire();
    standing
}

/// All or none, and no deadlock: two sets that share two members, in opposite orders.
#[test]
fn two_sets_race_for_the_same_members() {
    loom::model(|| {
        let time = Time::new();
        let (one, two) = (bucket(&time, 1.0, 1, 1), bucket(&time, 1.0, 1, 1));
        let other = {
            let set = set(&time, [&two, &one]);
            thread::spawn(move || take_each(&set))
        };
        let mine = take_each(&set(&time, [&one, &two]));
        assert_ne!(mine, other.join().unwrap());
        assert_eq!((level(&one), level(&two)), (0, 0));
    });
}

/// All or none against a caller on a member's fast path: one of them is refused, and has taken nothing.
#[test]
fn a_set_races_with_a_caller_at_a_members_gate() {
    model_with(3, || {
        let time = Time::new();
        let (one, two) = (bucket(&time, 1.0, 1, 1), bucket(&time, 1.0, 1, 1));
        let caller = {
            let two = Arc::clone(&two);
            thread::spawn(move || take(&two, 1))
        };
        let mine = take_each(&set(&time, [&one, &two]));
        assert_ne!(mine, caller.join().unwrap());
        assert_eq!((level(&one), level(&two)), (i128::from(!mine), 0));
    });
}

/// A set's waiter and a member's are both served, whichever of them keeps the time.
#[test]
fn a_set_waits_beside_a_waiter_of_its_member() {
    loom::model(|| {
        let time = Time::new();
        let (one, two) = (bucket(&time, 1.0, 1, 0), bucket(&time, 1.0, 1, 1));
        let waiter = {
            let (one, time) = (Arc::clone(&one), time.clone());
            thread::spawn(move || acquire(&time, &one, 1))
        };
        let set = set(&time, [&one, &two]);
        assert_eq!(wait(&time, |waiter, parker| look_each(&set, waiter, parker)), AcquireState::Granted);
        waiter.join().unwrap();
        assert_eq!((time.0.now(), level(&one)), (2 * SECOND, 0));
    });
}

/// A key's number and its limiter are one bucket: while one thread takes the limiter in hand, another that tries is counted in it.
#[test]
fn a_key_becomes_heavy_while_somebody_tries_it() {
    loom::model(|| {
        let time = Time::new();
        let law = BucketLaw::new(rate_of(1.0), 2 * TOKEN, 0);
        let keyed: Keyed<Waker, Threads, _> = Keyed::new(&law, Terms::default(), scale(), 1, 1, time.clock());
        let (keyed, key) = (Arc::new(keyed), KeyHash::new([1, 2]));
        let other = {
            let keyed = Arc::clone(&keyed);
            thread::spawn(move || {
                let (wakes, goes) = keyed.try_acquire((), key, TOKEN);
                wakes.fire();
                assert_eq!(goes, Ok(true));
            })
        };
        let (wakes, limiter) = keyed.limiter((), key);
        wakes.fire();
        assert!(take(&limiter.unwrap(), 1));
        other.join().unwrap();
        let (wakes, level) = keyed.level((), key);
        wakes.fire();
        assert_eq!((level, keyed.len()), (0, 1));
    });
}

/// A key's log and its limiter are one window: the same, where a settled grant gives back what was not used.
#[test]
fn a_key_of_a_window_is_settled_while_somebody_tries_it() {
    loom::model(|| {
        let time = Time::new();
        let law = WindowLaw::new(2 * TOKEN, 10 * SECOND);
        let keyed: Keyed<Waker, Threads, _> = Keyed::new(&law, Terms::default(), scale(), 1, 1, time.clock());
        let (keyed, key) = (Arc::new(keyed), KeyHash::new([1, 2]));
        let other = {
            let keyed = Arc::clone(&keyed);
            thread::spawn(move || {
                let (wakes, goes) = keyed.try_acquire((), key, TOKEN);
                wakes.fire();
                goes.unwrap()
            })
        };
        let limiter = keyed.limiter((), key).1.unwrap();
        let (wakes, booking) = limiter.try_book((), 2 * TOKEN, false);
        wakes.fire();
        let booking = booking.unwrap();
        if let Some(booking) = booking {
            let (wakes, returned) = limiter.adjust((), booking, 0);
            wakes.fire();
            assert_eq!(returned, Ok(2 * TOKEN));
        }
        let went = other.join().unwrap();
        assert!(went || booking.is_some());
        drop(limiter);
        keyed.let_go((), key).fire();
        let taken = if went { TOKEN } else { 0 };
        assert_eq!((keyed.level((), key).1, keyed.len()), (i128::from(2 * TOKEN - taken), usize::from(went)));
    });
}

/// A grant is settled in the middle of another's arrival: the other is admitted at once, or is woken for what is given back.
#[test]
fn a_settled_grant_admits_who_comes_meanwhile() {
    loom::model(|| {
        let time = Time::new();
        let one = bucket(&time, 1.0, 2, 2);
        let (wakes, booking) = one.try_book((), 2 * TOKEN, false);
        wakes.fire();
        let booking = booking.unwrap().unwrap();
        let waiter = {
            let (one, time) = (Arc::clone(&one), time.clone());
            thread::spawn(move || acquire(&time, &one, 1))
        };
        let (wakes, returned) = one.adjust((), booking, TOKEN);
        wakes.fire();
        waiter.join().unwrap();
        assert!(returned.is_ok_and(|returned| returned <= TOKEN));
        assert!((0..=1).contains(&level(&one)));
    });
}

/// No more keys than there may be: of two new ones that race for the last place one is remembered, the other told when to come again.
#[test]
fn two_new_keys_race_for_the_last_place() {
    loom::model(|| {
        let time = Time::new();
        let law = BucketLaw::new(rate_of(1.0), TOKEN, 0);
        let keyed: Arc<Keyed<Waker, Threads, BucketLaw>> =
            Arc::new(Keyed::new(&law, Terms::default(), scale(), 1, 2, time.clock()));
        let attempt = |keyed: &Keyed<Waker, Threads, BucketLaw>, key| {
            let (wakes, goes) = keyed.try_acquire((), KeyHash::new([key, 7]), TOKEN);
            wakes.fire();
            goes
        };
        let other = {
            let keyed = Arc::clone(&keyed);
            thread::spawn(move || attempt(&keyed, 2))
        };
        let answers = [attempt(&keyed, 3), other.join().unwrap()];
        assert!(answers.contains(&Ok(true)) && answers.contains(&Err(Refusal::AllKeysInUse(SECOND))), "{answers:?}");
        assert_eq!(keyed.len(), 1);
    });
}
