//! The waiting policy: what a thread does between "nothing there" and sleeping on its [`Parker`].
//!
//! On a busy object the other side is about to come anyway, and a sleep that is ended from another core costs tens of microseconds.
//! So a waiter tries the cheap ways first, in this order:
//!
//! | step  | at most                | wins when                                | left out                                          |
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
//! A spin that no wake-up ends is lost, and its time is wasted. [`SpinRule`] is one small state machine per thread:
//!
//! | state            | a wait begins                              | the spin is won | the spin is lost                           |
//! |------------------|--------------------------------------------|-----------------|--------------------------------------------|
//! | trusting, n lost | spins for 2 µs, doubled n times, at most 16 | -> trusting, 0  | -> trusting, n + 1; the 8th: -> wary, 0     |
//! | wary, n left out | does not spin: -> wary, n + 1; but the 32nd | -> trusting, 0  | -> wary, 0                                 |
//! |                  | wait spins for 16 µs                       |                 |                                            |
//!
//! A spin has to last until the other side has answered. While both are awake that takes 2 to 4 µs in Python; if the other one has to wake up
//! first it takes longer, and then the two would sleep in turns for ever, each too late for the other's short spin. Longer ones bring
//! them back together. They are not the rule because a consumer that spins for long meets each item as it comes, and gets in the way of a
//! producer that could go on.
//!
//! So a thread whose waits are long spends at most 16 µs on each 32nd of them, and a thread whose waits have become short notices after 32.
//!
//! # What it does not do
//! It knows no deadline but the limit of the sleep, and no signals; a caller that must see signals passes a short limit. It gives no
//! promise about order: who is woken is decided in the section ([`super::line`]).

use std::cell::Cell;
use std::time::Duration;

use super::Parker;
use crate::clock::{self, Nanos};
use crate::sync::{Count, Ordering};

/// The spin of a thread that won its last one.
const SHORT_SPIN: Nanos = 2_000;

/// A lost spin doubles the next one so often, at most.
const DOUBLINGS: u8 = 3;

/// The longest spin: half of what a sleep costs, at least, that is ended from another core.
const LONG_SPIN: Nanos = SHORT_SPIN << DOUBLINGS;

/// Pauses between two looks at the parker: the waker needs its cache line too.
const PAUSES: u32 = 4;

/// After so many lost spins in a row a thread becomes wary.
const LOST_SPINS_ALLOWED: u8 = 8;

/// A wary thread spins in every wait of this number.
const WARY_SPINS_EVERY: u8 = 32;

/// How often a waiter lets others run before it goes to sleep. A yield costs a tenth of a sleep and a wake-up.
const YIELDS: u32 = 3;

/// A yield that takes longer gave the core to somebody else's program: on a machine with more to do than cores a yield costs a whole time
/// slice, while a thread that sleeps is run soon after it has been woken.
const CROWDED: Nanos = 1_000_000;

/// For so long after one such yield nobody in this process yields.
const CROWDED_FOR: Nanos = 250_000_000;

/// Until when nobody yields. Relaxed: it guards nothing, and a thread that reads an old value yields once too often or too rarely.
static NO_YIELDS_BEFORE: Count = Count::new(0);

/// How many CPUs this process may use; 0 before anybody has asked. Relaxed: whoever finds 0 asks too, and gets the same answer. (A lock that
/// makes it once would never open again in the child of a fork in the middle of it.)
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
    /// A wait begins: for how long it spins, if it does. Then [`SpinRule::spun`] follows.
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

/// What a waiter sees and can do. The tests put a script in its place.
trait Surroundings {
    fn is_notified(&self) -> bool;
    fn now(&self) -> Nanos;
    fn pause(&self);
    fn give_way(&self);
}

impl Surroundings for &Parker {
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

/// Without a second CPU nothing can happen during a spin. A process whose CPUs are taken away later is left to [`SpinRule`].
fn has_second_cpu() -> bool {
    let mut cpus = CPUS.load(Ordering::Relaxed);
    if cpus == 0 {
        cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        CPUS.store(cpus, Ordering::Relaxed);
    }
    cpus > 1
}

/// Waits on the parker until it is notified, for at most `limit`; may return early for no reason, as [`Parker::park`] does. `spins`: waits
/// may begin with a spin, because the other side can run meanwhile.
pub fn wait(parker: &Parker, limit: Option<Duration>, spins: bool) {
    let mut rule = SPIN_RULE.get();
    let notified = wait_awake(&parker, (spins && has_second_cpu()).then_some(&mut rule), &NO_YIELDS_BEFORE);
    SPIN_RULE.set(rule);
    if !notified {
        parker.park(limit);
    }
}

/// Spins, then yields. True once the waiter has been notified.
fn wait_awake(around: &impl Surroundings, rule: Option<&mut SpinRule>, no_yields_before: &Count) -> bool {
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

/// True if the waiter was notified meanwhile. `now` moves on to when the spin ended.
fn spin(around: &impl Surroundings, now: &mut Nanos, length: Nanos) -> bool {
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

    /// Time that moves only by what the waiter does.
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

    impl Surroundings for Script {
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
    /// Pauses of a short spin that is lost.
    const ALL_PAUSES: u32 = 20;

    fn trusting() -> SpinRule {
        SpinRule::Trusting { lost: 0 }
    }

    /// A wait in which a spin, if there is one, ends so. Returns whether there was one.
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
