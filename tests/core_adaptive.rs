//! The core's adaptive limiter: what it admits, in which order, what it learns from results and from which not, and what it tells.
#![cfg(not(loom))]

use std::sync::Arc;

use sluicegate_core::adaptive::aimdf::{Rules, Step};
use sluicegate_core::adaptive::{Grant, LEAST_URGENT, Limiter, NotAdmitted, Outcome, Reason, Refusal, Settings, Unmet, Waiter};
use sluicegate_core::clock::{Clock, Manual, Nanos, nanos};
use sluicegate_core::section::Threads;
use sluicegate_core::shed::Codel;
use sluicegate_core::wait::Parker;

const DROPPED: Outcome = Outcome::Dropped { retry_after: None };

struct Gate {
    limiter: Limiter<Arc<Parker>, Threads>,
    clock: Arc<Manual<Arc<Parker>>>,
}

fn settings(initial: u64) -> Settings {
    let rules = Rules {
        target: Some(nanos(0.1)),
        min: 1,
        max: 200,
        decrease: 0.9,
        bad_fraction: 0.1,
        min_samples: 1,
        step: Step::One,
        near: 0.9,
    };
    Settings { rules, initial, max_waiting: 0, shed: None }
}

impl Gate {
    fn new(settings: &Settings) -> Self {
        let clock = Arc::new(Manual::new(0));
        Self { limiter: Limiter::new(settings, Clock::Manual(Arc::clone(&clock))), clock }
    }

    fn pass(&self, seconds: f64) {
        self.clock.advance(nanos(seconds));
    }

    fn admit(&self, n: usize) -> Vec<Grant> {
        (0..n).map(|_| self.limiter.try_admit((), 0, false).expect("there is a slot")).collect()
    }

    fn finish(&self, grant: Grant, outcome: Outcome) -> Option<Unmet> {
        let (wakes, unmet) = self.limiter.finish((), grant, outcome);
        wakes.fire();
        unmet
    }

    fn limit(&self) -> u64 {
        self.limiter.limit(())
    }

    fn is_full(&self, priority: u64) -> bool {
        match self.limiter.try_admit((), priority, false) {
            Ok(grant) => {
                self.finish(grant, Outcome::Ignored);
                false
            }
            Err(refusal) => {
                assert!(matches!(refusal, NotAdmitted::Refused(Refusal { reason: Reason::Full, .. })));
                true
            }
        }
    }
}

#[derive(Default)]
struct Caller {
    waiter: Waiter,
    parker: Arc<Parker>,
}

impl Caller {
    fn attempt(&mut self, gate: &Gate, priority: u64) -> Result<Grant, NotAdmitted> {
        self.parker.reset();
        let (wakes, result) = gate.limiter.admit_or_wait((), priority, &mut self.waiter, &self.parker);
        wakes.fire();
        result
    }

    fn leave(&mut self, gate: &Gate) {
        gate.limiter.leave((), &mut self.waiter).fire();
    }
}

#[test]
fn ten_good_calls_at_a_limit_of_twenty_make_it_grow_by_one() {
    let gate = Gate::new(&settings(20));
    let mut calls = gate.admit(20);
    gate.pass(0.05);
    for call in calls.drain(..10) {
        gate.finish(call, Outcome::Success);
    }
    assert_eq!(gate.limit(), 21);
    calls.extend(gate.admit(11));
    gate.pass(0.05);
    let later = calls.split_off(10);
    for call in calls {
        gate.finish(call, Outcome::Success);
    }
    assert_eq!(gate.limit(), 21, "those began before the decision");
    for (count, call) in later.into_iter().enumerate() {
        gate.finish(call, Outcome::Success);
        assert_eq!(gate.limit(), if count < 10 { 21 } else { 22 }, "half of 21 is 10.5: the eleventh decides");
    }
}

#[test]
fn two_bad_calls_of_ten_make_it_fall_by_a_tenth() {
    for bad in [Outcome::Success, DROPPED] {
        let gate = Gate::new(&settings(20));
        let calls = gate.admit(20);
        gate.pass(0.05);
        let mut calls = calls.into_iter();
        for call in calls.by_ref().take(8) {
            gate.finish(call, Outcome::Success);
        }
        if bad == Outcome::Success {
            gate.pass(0.051); // it takes longer than the target
        }
        for call in calls.by_ref().take(2) {
            gate.finish(call, bad);
        }
        assert_eq!(gate.limit(), 18);
        let seen = gate.limiter.statistics(());
        assert_eq!((seen.totals.slow, seen.totals.dropped), if bad == DROPPED { (0, 2) } else { (2, 0) });
        assert_eq!((seen.increases, seen.decreases), (0, 1));
    }
}

#[test]
fn exactly_the_target_is_good() {
    let gate = Gate::new(&settings(2));
    let calls = gate.admit(2);
    gate.pass(0.1);
    for call in calls {
        gate.finish(call, Outcome::Success);
    }
    assert_eq!(gate.limit(), 3);
}

#[test]
fn what_is_ignored_gives_its_slot_back_and_says_nothing() {
    let gate = Gate::new(&settings(2));
    for _ in 0..100 {
        let calls = gate.admit(2);
        gate.pass(10.0);
        for call in calls {
            gate.finish(call, Outcome::Ignored);
        }
    }
    let seen = gate.limiter.statistics(());
    assert_eq!((seen.limit, seen.in_flight, seen.totals.ignored, seen.calls), (2, 0, 200, 200));
}

#[test]
fn without_a_target_only_drops_count() {
    let mut settings = settings(2);
    settings.rules.target = None;
    let gate = Gate::new(&settings);
    let calls = gate.admit(2);
    gate.pass(1000.0);
    for call in calls {
        gate.finish(call, Outcome::Success);
    }
    assert_eq!((gate.limit(), gate.limiter.statistics(()).totals.slow), (3, 0));
    gate.finish(gate.admit(1).remove(0), DROPPED);
    gate.finish(gate.admit(1).remove(0), DROPPED);
    assert_eq!(gate.limit(), 2, "2.7");
}

/// ace-concurrency 0.1.1 deadlocks here: it holds its lock while it waits for permits.
#[test]
fn the_limit_falls_with_200_calls_in_flight() {
    let mut settings = settings(200);
    settings.max_waiting = 1;
    let gate = Gate::new(&settings);
    let mut calls = gate.admit(200);
    let mut caller = Caller::default();
    assert_eq!(caller.attempt(&gate, 0), Err(NotAdmitted::Busy));
    gate.limiter.set_limits((), 1, 50).fire();
    assert_eq!((gate.limit(), gate.limiter.in_flight(())), (50, 200));
    while gate.limiter.in_flight(()) > 50 {
        gate.finish(calls.pop().expect("in flight"), Outcome::Ignored);
        assert!(!caller.parker.is_notified(), "{} in flight", gate.limiter.in_flight(()));
    }
    gate.finish(calls.pop().expect("in flight"), Outcome::Ignored);
    assert!(caller.parker.is_notified());
    assert!(caller.attempt(&gate, 0).is_ok());
    gate.limiter.set_limits((), 300, 400).fire();
    assert_eq!((gate.limit(), gate.limiter.statistics(()).peak_in_flight), (300, 200));
    let seen = gate.limiter.statistics(());
    assert_eq!((seen.min, seen.max), (300, 400));
}

#[test]
fn waiters_go_in_the_order_they_came_and_the_line_is_bounded() {
    let gate = Gate::new(&Settings { max_waiting: 3, ..settings(1) });
    let mut held = gate.admit(1);
    let mut callers: Vec<Caller> = (0..4).map(|_| Caller::default()).collect();
    for caller in &mut callers[..3] {
        assert_eq!(caller.attempt(&gate, 0), Err(NotAdmitted::Busy));
    }
    let refused = Err(NotAdmitted::Refused(Refusal { reason: Reason::Full, limit: 1, retry_after: 0 }));
    assert_eq!(callers[3].attempt(&gate, 0), refused);
    assert_eq!(gate.limiter.try_admit((), 0, true), refused);
    callers[1].leave(&gate);
    assert_eq!(gate.limiter.try_admit((), 0, true), Err(NotAdmitted::Busy), "there is a place");
    gate.finish(held.remove(0), Outcome::Ignored);
    assert!(callers[0].parker.is_notified() && !callers[2].parker.is_notified());
    assert!(gate.is_full(0), "the slot is the first waiter's");
    assert_eq!(callers[2].attempt(&gate, 0), Err(NotAdmitted::Busy));
    let grant = callers[0].attempt(&gate, 0).expect("its turn");
    gate.finish(grant, Outcome::Ignored);
    assert!(callers[2].attempt(&gate, 0).is_ok());
    assert_eq!(gate.limiter.statistics(()).totals.refused, 3);
}

#[test]
fn a_woken_waiter_that_leaves_passes_its_slot_on() {
    let gate = Gate::new(&Settings { max_waiting: 9, ..settings(1) });
    let held = gate.admit(1).remove(0);
    let mut callers: Vec<Caller> = (0..2).map(|_| Caller::default()).collect();
    for caller in &mut callers {
        assert_eq!(caller.attempt(&gate, 0), Err(NotAdmitted::Busy));
    }
    gate.finish(held, Outcome::Ignored);
    callers[0].leave(&gate);
    assert!(callers[1].parker.is_notified());
    let refusal = gate.limiter.expire(());
    assert_eq!((refusal.reason, gate.limiter.statistics(()).totals.expired), (Reason::Full, 1));
}

#[test]
fn less_urgent_calls_leave_slots_free_for_urgent_ones() {
    let gate = Gate::new(&settings(20));
    let mut free = 20;
    for (least, reserved) in [(LEAST_URGENT, 2), (3, 2), (2, 1), (1, 1), (0, 0)] {
        while free > reserved {
            assert!(!gate.is_full(least));
            gate.admit(1);
            free -= 1;
        }
        assert!(gate.is_full(least), "level {least} with {free} free");
    }
}

#[test]
fn less_urgent_calls_alone_can_make_the_limit_grow() {
    for initial in [1, 2, 5, 20, 33, 150] {
        let gate = Gate::new(&settings(initial));
        let mut calls = Vec::new();
        while let Ok(grant) = gate.limiter.try_admit((), LEAST_URGENT, false) {
            calls.push(grant);
        }
        for call in calls {
            gate.finish(call, Outcome::Success);
        }
        assert_eq!(gate.limit(), initial + 1);
    }
}

#[test]
fn less_urgent_calls_leave_places_in_line_free() {
    let gate = Gate::new(&Settings { max_waiting: 5, ..settings(1) });
    gate.admit(1);
    let mut callers = Vec::new();
    for (priority, places) in [(4, 1), (3, 2), (2, 3), (1, 4), (0, 5)] {
        while callers.len() < places {
            let mut caller = Caller::default();
            assert_eq!(caller.attempt(&gate, priority), Err(NotAdmitted::Busy));
            callers.push(caller);
        }
        assert!(matches!(Caller::default().attempt(&gate, priority), Err(NotAdmitted::Refused(_))));
    }
}

#[test]
fn codel_refuses_who_has_waited_too_long() {
    let codel = Codel::new(nanos(0.01), nanos(0.1));
    let gate = Gate::new(&Settings { max_waiting: 100, shed: Some(codel), ..settings(1) });
    let mut held = gate.admit(1).remove(0);
    let mut callers: Vec<Caller> = (0..20).map(|_| Caller::default()).collect();
    for caller in &mut callers {
        assert_eq!(caller.attempt(&gate, 0), Err(NotAdmitted::Busy));
    }
    let (mut served, mut shed) = (0, 0);
    let mut left = callers.into_iter();
    // Each call takes 50 ms: all of them wait longer than the target, so from 100 ms on some are shed.
    'calls: for _ in 0..20 {
        gate.pass(0.05);
        gate.finish(held, Outcome::Ignored);
        loop {
            let Some(mut caller) = left.next() else { break 'calls };
            assert!(caller.parker.is_notified());
            match caller.attempt(&gate, 0) {
                Ok(grant) => {
                    served += 1;
                    held = grant;
                    break;
                }
                Err(refusal) => {
                    assert_eq!(refusal, NotAdmitted::Refused(Refusal { reason: Reason::Shed, limit: 1, retry_after: 0 }));
                    shed += 1;
                }
            }
        }
    }
    assert_eq!(served + shed, 20);
    assert!((4..10).contains(&shed), "{shed} were shed");
    let seen = gate.limiter.statistics(());
    assert_eq!((seen.totals.shed, seen.totals.refused, seen.waiters), (shed, 0, 0));
}

#[test]
fn a_shed_waiter_that_leaves_before_it_was_told_is_forgotten() {
    let codel = Codel::new(1, 1);
    let gate = Gate::new(&Settings { max_waiting: 100, shed: Some(codel), ..settings(1) });
    let mut held = gate.admit(1).remove(0);
    let mut callers: Vec<Caller> = (0..4).map(|_| Caller::default()).collect();
    for caller in &mut callers {
        assert_eq!(caller.attempt(&gate, 0), Err(NotAdmitted::Busy));
    }
    gate.pass(1.0);
    gate.finish(held, Outcome::Ignored);
    held = callers[0].attempt(&gate, 0).expect("the first sets the interval going");
    gate.pass(1.0);
    gate.finish(held, Outcome::Ignored);
    assert!(callers[1].parker.is_notified(), "shed");
    callers[1].leave(&gate);
    assert!(callers[1].attempt(&gate, 0).is_err(), "an arrival like others");
    assert!(callers[2].attempt(&gate, 0).is_ok());
    assert_eq!(gate.limiter.statistics(()).totals.shed, 0);
}

#[test]
fn a_retry_after_is_passed_on_to_who_is_refused() {
    let gate = Gate::new(&settings(1));
    gate.finish(gate.admit(1).remove(0), Outcome::Dropped { retry_after: Some(nanos(7.0)) });
    gate.pass(2.0);
    let _held = gate.admit(1);
    let refused = |retry_after: Nanos| Err(NotAdmitted::Refused(Refusal { reason: Reason::Full, limit: 1, retry_after }));
    assert_eq!(gate.limiter.try_admit((), 0, false), refused(nanos(5.0)));
    gate.pass(6.0);
    assert_eq!(gate.limiter.try_admit((), 0, false), refused(0));

    // A server that asks for more than ten minutes is mistaken, or lies.
    let gate = Gate::new(&settings(1));
    gate.finish(gate.admit(1).remove(0), Outcome::Dropped { retry_after: Some(nanos(1e9)) });
    let _held = gate.admit(1);
    assert_eq!(gate.limiter.try_admit((), 0, false), refused(nanos(600.0)));
}

#[test]
fn a_target_below_the_services_own_time_is_told_once_a_minute() {
    let gate = Gate::new(&settings(1));
    let mut told = Vec::new();
    for call in 0..1000 {
        let grant = gate.admit(1).remove(0);
        gate.pass(0.25);
        if let Some(unmet) = gate.finish(grant, Outcome::Success) {
            assert_eq!(unmet, Unmet { target: nanos(0.1), median: nanos(0.25), limit: 1 });
            told.push(call);
        }
    }
    assert_eq!(told, [19, 259, 499, 739, 979]);
}

#[test]
fn drops_alone_are_no_unmet_target() {
    let gate = Gate::new(&settings(1));
    for _ in 0..100 {
        let grant = gate.admit(1).remove(0);
        gate.pass(0.01);
        assert_eq!(gate.finish(grant, DROPPED), None);
    }
    assert_eq!(gate.limit(), 1);
}
