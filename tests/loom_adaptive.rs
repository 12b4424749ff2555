//! Models of the adaptive limiter, over every interleaving. Each says which promise it guards.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::adaptive::aimdf::{Rules, Step};
use sluicegate_core::adaptive::{Grant, Limiter, NotAdmitted, Outcome, Settings, Waiter};
use sluicegate_core::clock::Clock;
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Gate = Limiter<Arc<Parker>, Threads>;

fn gate(initial: u64) -> Arc<Gate> {
    let rules =
        Rules { target: None, min: 1, max: 4, decrease: 0.5, bad_fraction: 0.1, min_samples: 1, step: Step::One, near: 0.9 };
    Arc::new(Limiter::new(&Settings { rules, initial, max_waiting: 4, shed: None }, Clock::Monotonic))
}

fn finish(gate: &Gate, grant: Grant, outcome: Outcome) {
    gate.finish((), grant, outcome).0.fire();
}

/// What the binding's blocking gate does, without time and signals.
fn admit(gate: &Gate, waiter: &mut Waiter, parker: &Arc<Parker>) -> Grant {
    loop {
        parker.reset();
        let (wakes, result) = gate.admit_or_wait((), 0, waiter, parker);
        wakes.fire();
        match result {
            Ok(grant) => return grant,
            Err(refusal) => assert_eq!(refusal, NotAdmitted::Busy),
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

fn call(gate: &Gate, outcome: Outcome) {
    let grant = admit(gate, &mut Waiter::default(), &Arc::new(Parker::default()));
    finish(gate, grant, outcome);
}

/// Nothing lost: two callers take turns with one slot, and both get it, whatever the first one's result makes of the limit.
#[test]
fn two_callers_share_one_slot_and_their_results_move_the_limit() {
    loom::model(|| {
        let gate = gate(1);
        let other = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || call(&gate, Outcome::Dropped { retry_after: None }))
        };
        call(&gate, Outcome::Success);
        other.join().unwrap();
        let seen = gate.statistics(());
        assert_eq!((seen.in_flight, seen.waiters, seen.calls), (0, 0, 2));
        assert_eq!((seen.totals.successes, seen.totals.dropped), (1, 1));
    });
}

/// A wake-up given to a waiter that leaves (cancelled, timed out) goes to the next one, also while the limit changes.
#[test]
fn a_cancelled_waiter_races_with_a_result_and_a_change_of_the_limit() {
    loom::model(|| {
        let gate = gate(1);
        let held = gate.try_admit((), 0, false).unwrap();
        let (mut quitter, parker) = (Waiter::default(), Arc::new(Parker::default()));
        assert_eq!(gate.admit_or_wait((), 0, &mut quitter, &parker).1, Err(NotAdmitted::Busy));
        let waiter = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || call(&gate, Outcome::Ignored))
        };
        let setter = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.set_limits((), 1, 1).fire())
        };
        finish(&gate, held, Outcome::Success);
        gate.leave((), &mut quitter).fire();
        waiter.join().unwrap();
        setter.join().unwrap();
        assert_eq!(gate.in_flight(()), 0);
        assert!(gate.limit(()) <= 2);
    });
}

/// Never more than the limit: a limit that falls while a slot is on its way to a waiter leaves nobody asleep and admits nobody too many.
#[test]
fn the_limit_falls_while_a_waiter_is_woken() {
    loom::model(|| {
        let gate = gate(2);
        let held = [gate.try_admit((), 0, false).unwrap(), gate.try_admit((), 0, false).unwrap()];
        let waiter = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                let grant = admit(&gate, &mut Waiter::default(), &Arc::new(Parker::default()));
                let many = gate.in_flight(());
                finish(&gate, grant, Outcome::Ignored);
                many
            })
        };
        let [one, other] = held;
        gate.set_limits((), 1, 1).fire();
        finish(&gate, one, Outcome::Ignored);
        finish(&gate, other, Outcome::Ignored);
        assert_eq!(waiter.join().unwrap(), 1);
    });
}
