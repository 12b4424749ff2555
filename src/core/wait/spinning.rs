//! The waiting policy: what a thread does between "nothing there" and sleeping on its [`Parker`].
//!
//! On a busy object the other side often arrives within microseconds, while a sleep that is ended from another core costs tens of
//! microseconds. So a waiter tries the cheap ways first, in this order:
//!
//! | step  | at most                | useful if                                | left out                                          |
//! |-------|------------------------|------------------------------------------|---------------------------------------------------|
//! | spin  | 2 to 16 µs             | the other side runs on another CPU       | if the caller says so; if this process has one    |
//! |       |                        |                                          | CPU; by [`SpinRule`]                              |
//! | yield | 3 times                | the other side waits for this CPU        | for 250 ms after a yield that took over 1 ms      |
//! | park  | the caller's limit     | a waker ends it                          |                                                   |
//!
//! The spin comes before the yields because a yield that finds another thread ready gives the CPU away, and then the waiter notices its
//! wake-up only when it is scheduled again.
//!
//! # When a spin is worth trying, and for how long
//! A spin is won if a wake-up ends it, and lost otherwise: then its time was wasted. [`SpinRule`] is one small state machine per thread:
//!
//! | state            | a wait begins                              | the spin is won | the spin is lost                           |
//! |------------------|--------------------------------------------|-----------------|--------------------------------------------|
//! | trusting, n lost | spins for 2 µs, doubled n times, at most 16 | -> trusting, 0  | -> trusting, n + 1; the 8th: -> wary, 0     |
//! | wary, n left out | does not spin: -> wary, n + 1; but the 32nd | -> trusting, 0  | -> wary, 0                                 |
//! |                  | wait spins for 16 µs                       |                 |                                            |
//!
//! A spin has to last until the other side has answered. If both threads are awake, that takes 2 to 4 µs in Python. If the other thread has
//! to wake up first, it takes longer, and with short spins alone the two threads would sleep in alternation for ever, each too late for the
//! other's spin. The doubled spins break this pattern. Spins are not always that long, because a consumer with long spins takes each item as
//! soon as it is put, and so slows down a producer that could go on.
//!
//! So a thread whose waits are long spends at most 16 µs on each 32nd of them, and a thread whose waits have become short notices after 32.
//!
//! # What it does not do
//! It knows no deadline except the limit of the sleep, and no signals; a caller that must see signals passes a short limit. It promises
//! nothing about order: which waiter is woken is decided in the section ([`super::wait_queue`]).

use std::cell::Cell;
use std::time::Duration;

use super::Parker;
use crate::clock::{self, Nanos};
use crate::sync::{Count, Ordering};

/// The spin of a thread that won its last one.
const SHORT_SPIN: Nanos = 2_000;

/// The largest number of times that lost spins double the length of the next one.
const DOUBLINGS: u8 = 3;

/// The longest spin: at most half of the cost of a sleep that is ended from another core.
const LONG_SPIN: Nanos = SHORT_SPIN << DOUBLINGS;

/// The number of pauses between two looks at the parker: the waker needs its cache line too.
const PAUSES: u32 = 4;

/// The number of spins a thread may lose in a row before it becomes wary.
const LOST_SPINS_ALLOWED: u8 = 8;

/// A wary thread spins in one of this many waits.
const WARY_SPINS_EVERY: u8 = 32;

/// The number of times a waiter yields before it sleeps. A yield costs a tenth of a sleep and a wake-up.
const YIELDS: u32 = 3;

/// A yield that takes longer than this gave the CPU to another program: on an overloaded machine a yield costs a whole time slice, while a
/// thread that sleeps runs soon after it has been woken.
const CROWDED: Nanos = 1_000_000;

/// The time after such a yield during which no thread of this process yields.
const CROWDED_FOR: Nanos = 250_000_000;

/// The time before which no thread yields. Relaxed: it guards nothing, and a thread that reads an old value yields once too often or too rarely.
static NO_YIELDS_BEFORE: Count = Count::new(0);

/// The number of CPUs that this process may use; 0 before it has been determined. Relaxed: every thread that reads 0 determines it, with
/// the same result. (A lock around this would stay locked for ever in a child that is forked while it is held.)
static CPUS: Count = Count::new(0);

thread_local! {
    static SPIN_RULE: Cell<SpinRule> = const { Cell::new(SpinRule::Trusting { lost: 0 }) };
}

/// Whether the next wait of a thread begins with a spin. States: see the head of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpinRule {
    Trusting { lost: u8 },
    Wary { left_out: u8 },
}

impl SpinRule {
    /// Called when a wait begins: returns how long to spin, or `None` for no spin. After a spin [`SpinRule::spun`] has to be called.
    fn begin_wait(&mut self) -> Option<Nanos> {
        match self {
            Self::Trusting { lost } => Some(SHORT_SPIN << (*lost).min(DOUBLINGS)),
            Self::Wary { left_out } => {
                *left_out += 1;
                (*left_out == WARY_SPINS_EVERY).then_some(LONG_SPIN)
            }
        }
    }

    fn spun(&mut self, won: bool) {
        *self = match *self {
            _ if won => Self::Trusting { lost: 0 },
            Self::Trusting { lost } if lost + 1 < LOST_SPINS_ALLOWED => Self::Trusting { lost: lost + 1 },
            _ => Self::Wary { left_out: 0 },
        }
    }
}

/// What a waiter can observe and do. The tests replace it by a script.
trait Environment {
    fn is_notified(&self) -> bool;
    fn now(&self) -> Nanos;
    fn pause(&self);
    fn give_way(&self);
}

impl Environment for &Parker {
    fn is_notified(&self) -> bool {
        Parker::is_notified(self)
    }

    fn now(&self) -> Nanos {
        clock::monotonic()
    }

    fn pause(&self) {
        for _ in 0..PAUSES {
            std::hint::spin_loop();
        }
    }

    fn give_way(&self) {
        std::thread::yield_now();
    }
}

/// Without a second CPU no other thread can make progress during a spin. If CPUs are taken away later, [`SpinRule`] adapts.
fn has_second_cpu() -> bool {
    let mut cpus = CPUS.load(Ordering::Relaxed);
    if cpus == 0 {
        cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        CPUS.store(cpus, Ordering::Relaxed);
    }
    cpus > 1
}

/// Waits on the parker until it is notified, for at most `limit`; may return early for no reason, as [`Parker::park`] does. If `spins` is
/// true, the wait may begin with a spin, because the other side can run meanwhile.
pub fn wait(parker: &Parker, limit: Option<Duration>, spins: bool) {
    let mut rule = SPIN_RULE.get();
    let notified = wait_awake(&parker, (spins && has_second_cpu()).then_some(&mut rule), &NO_YIELDS_BEFORE);
    SPIN_RULE.set(rule);
    if !notified {
        parker.park(limit);
    }
}

/// Spins, then yields. True once the waiter has been notified.
fn wait_awake(around: &impl Environment, rule: Option<&mut SpinRule>, no_yields_before: &Count) -> bool {
    let mut now = around.now();
    if let Some(rule) = rule {
        if let Some(length) = rule.begin_wait() {
            let won = spin(around, &mut now, length);
            rule.spun(won);
            if won {
                return true;
            }
        }
    }
    if now < no_yields_before.load(Ordering::Relaxed) {
        return around.is_notified();
    }
    for _ in 0..YIELDS {
        if around.is_notified() {
            return true;
        }
        around.give_way();
        let before = std::mem::replace(&mut now, around.now());
        if now - before > CROWDED {
            no_yields_before.store(now + CROWDED_FOR, Ordering::Relaxed);
            break;
        }
    }
    around.is_notified()
}

/// Spins for at most `length`. Returns true if the waiter was notified meanwhile. Sets `now` to the time at which the spin ended.
fn spin(around: &impl Environment, now: &mut Nanos, length: Nanos) -> bool {
    let end = *now + length;
    while *now < end {
        if around.is_notified() {
            return true;
        }
        around.pause();
        *now = around.now();
    }
    around.is_notified()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// An environment in which time passes only when the waiter spins or yields.
    struct Script {
        now: Cell<Nanos>,
        notified_at: Nanos,
        yield_takes: Nanos,
        pauses: Cell<u32>,
        yields: Cell<u32>,
    }

    impl Script {
        fn notified_at(notified_at: Nanos) -> Self {
            Self { now: Cell::new(0), notified_at, yield_takes: 500, pauses: Cell::new(0), yields: Cell::new(0) }
        }

        fn counts(&self) -> (u32, u32) {
            (self.pauses.get(), self.yields.get())
        }
    }

    impl Environment for Script {
        fn is_notified(&self) -> bool {
            self.now.get() >= self.notified_at
        }

        fn now(&self) -> Nanos {
            self.now.get()
        }

        fn pause(&self) {
            self.pauses.set(self.pauses.get() + 1);
            self.now.set(self.now.get() + PAUSE_TAKES);
        }

        fn give_way(&self) {
            self.yields.set(self.yields.get() + 1);
            self.now.set(self.now.get() + self.yield_takes);
        }
    }

    const NEVER: Nanos = Nanos::MAX;
    const PAUSE_TAKES: Nanos = 100;
    /// The number of pauses in a short spin that is lost.
    const ALL_PAUSES: u32 = 20;

    fn trusting() -> SpinRule {
        SpinRule::Trusting { lost: 0 }
    }

    /// Simulates a wait whose spin, if there is one, is won or lost as given. Returns whether there was a spin.
    fn one_wait(rule: &mut SpinRule, won: bool) -> bool {
        let spins = rule.begin_wait().is_some();
        if spins {
            rule.spun(won);
        }
        spins
    }

    #[test]
    fn won_spins_go_on_for_ever() {
        let mut rule = trusting();
        assert!((0..1000).all(|_| one_wait(&mut rule, true)));
        assert_eq!(rule, trusting());
    }

    #[test]
    fn a_win_forgives_the_losses_before_it() {
        let mut rule = trusting();
        for _ in 0..100 {
            assert!((0..LOST_SPINS_ALLOWED - 1).all(|_| one_wait(&mut rule, false)));
            assert!(one_wait(&mut rule, true));
        }
    }

    #[test]
    fn after_eight_losses_only_every_32nd_wait_spins() {
        let mut rule = trusting();
        let spins: Vec<u32> = (0..1000).filter(|_| one_wait(&mut rule, false)).collect();
        let expected: Vec<u32> = (0..8).chain((1..32).map(|n| 7 + 32 * n)).collect();
        assert_eq!(spins, expected);
    }

    #[test]
    fn each_loss_doubles_the_next_spin_up_to_a_limit() {
        let mut rule = trusting();
        let lengths: Vec<Option<Nanos>> = (0..LOST_SPINS_ALLOWED)
            .map(|_| {
                let length = rule.begin_wait();
                rule.spun(false);
                length
            })
            .collect();
        assert_eq!(lengths, [2_000, 4_000, 8_000, 16_000, 16_000, 16_000, 16_000, 16_000].map(Some));
        rule.spun(true);
        assert_eq!(rule.begin_wait(), Some(SHORT_SPIN));
    }

    #[test]
    fn one_win_of_a_wary_thread_restores_its_trust() {
        let mut rule = trusting();
        for _ in 0..LOST_SPINS_ALLOWED {
            one_wait(&mut rule, false);
        }
        let waits = (1..=1000).find(|_| one_wait(&mut rule, true));
        assert_eq!(waits, Some(u32::from(WARY_SPINS_EVERY)));
        assert_eq!(rule, trusting());
    }

    #[test]
    fn who_is_notified_already_neither_spins_nor_yields() {
        for rule in [None, Some(&mut trusting())] {
            let script = Script::notified_at(0);
            assert!(wait_awake(&script, rule, &Count::new(0)));
            assert_eq!(script.counts(), (0, 0));
        }
    }

    #[test]
    fn a_wake_up_within_the_spin_ends_it() {
        let (script, mut rule) = (Script::notified_at(7_500), SpinRule::Trusting { lost: 5 });
        assert!(wait_awake(&script, Some(&mut rule), &Count::new(0)));
        assert_eq!(script.counts(), (75, 0));
        assert_eq!(rule, trusting());
    }

    #[test]
    fn a_lost_spin_has_its_length_and_three_yields_follow() {
        let (script, mut rule) = (Script::notified_at(NEVER), trusting());
        assert!(!wait_awake(&script, Some(&mut rule), &Count::new(0)));
        assert_eq!(script.counts(), (ALL_PAUSES, 3));
        assert_eq!(rule, SpinRule::Trusting { lost: 1 });
    }

    #[test]
    fn a_wake_up_during_the_yields_ends_them_and_the_spin_counts_as_lost() {
        let (script, mut rule) = (Script::notified_at(SHORT_SPIN + 700), trusting());
        assert!(wait_awake(&script, Some(&mut rule), &Count::new(0)));
        assert_eq!(script.counts(), (ALL_PAUSES, 2));
        assert_eq!(rule, SpinRule::Trusting { lost: 1 });
    }

    #[test]
    fn without_leave_to_spin_only_the_yields_are_left() {
        let script = Script::notified_at(NEVER);
        assert!(!wait_awake(&script, None, &Count::new(0)));
        assert_eq!(script.counts(), (0, 3));
    }

    #[test]
    fn a_yield_that_takes_a_time_slice_stops_all_yields_for_a_while() {
        let crowd = Count::new(0);
        let slow = Script { yield_takes: CROWDED + 1, ..Script::notified_at(NEVER) };
        assert!(!wait_awake(&slow, None, &crowd));
        assert_eq!(slow.counts(), (0, 1), "it does not yield again");
        let until = crowd.load(Ordering::Relaxed);
        assert_eq!(until, CROWDED + 1 + CROWDED_FOR);

        let meanwhile = Script { now: Cell::new(until - 1), ..Script::notified_at(NEVER) };
        assert!(!wait_awake(&meanwhile, None, &crowd));
        assert_eq!(meanwhile.counts(), (0, 0));

        let afterwards = Script { now: Cell::new(until), ..Script::notified_at(NEVER) };
        assert!(!wait_awake(&afterwards, None, &crowd));
        assert_eq!(afterwards.counts(), (0, 3));
    }

    #[test]
    fn a_crowd_stops_no_spin() {
        let (script, mut rule) = (Script::notified_at(1_000), trusting());
        assert!(wait_awake(&script, Some(&mut rule), &Count::new(NEVER)));
        assert_eq!(script.counts(), (10, 0));
    }

    #[test]
    fn a_wait_ends_when_its_parker_is_notified() {
        let parker = Parker::default();
        parker.unpark();
        wait(&parker, None, true);
        assert!(parker.is_notified());
    }
}
