//! Models of the circuit breaker, over every interleaving. Each says which promise it guards.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::breaker::{Breaker, Change, Grant, Keyed, Kind, Outcome, Rules};
use sluicegate_core::clock::Clock;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Guard = Breaker<Arc<Parker>, Threads>;

const FAILURE: Outcome = Outcome::Failure { retry_after: None };
const FOR_EVER: u64 = 1 << 60;

/// Times that never pass in a model, except those that are zero.
fn rules(probes: u64) -> Rules {
    Rules {
        failure_rate: 1.0,
        window: FOR_EVER,
        min_calls: 1,
        run: None,
        slow_after: None,
        slow_rate: 1.0,
        open_for: FOR_EVER,
        open_for_max: FOR_EVER,
        probes,
        probe_timeout: FOR_EVER,
        calls: Some(4),
        metrics_only: false,
    }
}

/// Open, and its open time is over.
fn due(probes: u64) -> Arc<Guard> {
    let breaker = Arc::new(Breaker::new(rules(probes), Clock::Monotonic));
    let _ = breaker.force_open((), Some(0));
    breaker
}

fn in_threads<R: 'static>(breaker: &Arc<Guard>, works: impl IntoIterator<Item = fn(&Guard) -> R>) -> Vec<R> {
    let threads: Vec<_> = works
        .into_iter()
        .map(|work| {
            let breaker = Arc::clone(breaker);
            thread::spawn(move || work(&breaker))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// At recovery exactly `probes` calls are let through, however many calls come at the same moment, and the change is reported once.
#[test]
fn exactly_the_probes_are_let_through() {
    for probes in [1, 2] {
        loom::model(move || {
            let breaker = due(probes);
            let admit: fn(&Guard) -> (bool, Option<Change>) = |breaker| {
                let (grant, change) = breaker.admit(());
                (grant.is_ok(), change)
            };
            let mut seen = in_threads(&breaker, [admit, admit]);
            seen.push(admit(&breaker));
            assert_eq!(seen.iter().filter(|(admitted, _)| *admitted).count() as u64, probes);
            assert_eq!(seen.iter().filter(|(_, change)| change.is_some()).count(), 1);
        });
    }
}

/// A call that began before a change of state changes nothing after it, whichever comes first.
#[test]
fn a_late_result_counts_for_nothing() {
    loom::model(|| {
        let breaker = Arc::new(Breaker::new(rules(1), Clock::Monotonic));
        let early: Grant = breaker.admit(()).0.unwrap();
        let other = {
            let breaker: Arc<Guard> = Arc::clone(&breaker);
            thread::spawn(move || breaker.finish((), early, FAILURE))
        };
        let _ = breaker.disable(());
        let change = other.join().unwrap();
        let seen = breaker.statistics(());
        assert_eq!(seen.state, Kind::Disabled);
        assert_eq!(change.is_some(), seen.totals.stale == 0);
        assert_eq!(seen.totals.failures + seen.totals.stale, 1);
    });
}

/// A probe that fails and one that succeeds at the same moment: the breaker is open, and the change is reported once.
#[test]
fn one_failed_probe_is_enough() {
    loom::model(|| {
        let breaker = due(2);
        let (first, second) = (breaker.admit(()).0.unwrap(), breaker.admit(()).0.unwrap());
        let other = {
            let breaker = Arc::clone(&breaker);
            thread::spawn(move || breaker.finish((), first, Outcome::Success))
        };
        let change = breaker.finish((), second, FAILURE);
        assert_eq!(other.join().unwrap(), None);
        assert_eq!(change.map(|change| change.to), Some(Kind::Open));
        assert_eq!(breaker.state(()), Kind::Open);
    });
}

/// No call is lost from the counts, and the breaker opens once.
#[test]
fn no_count_is_lost() {
    loom::model(|| {
        let breaker = Arc::new(Breaker::new(Rules { min_calls: 2, ..rules(1) }, Clock::Monotonic));
        let call: fn(&Guard) -> bool = |breaker| {
            let (grant, _) = breaker.admit(());
            grant.is_ok_and(|grant| breaker.finish((), grant, FAILURE).is_some())
        };
        let opened = in_threads(&breaker, [call, call]).into_iter().filter(|opened| *opened).count();
        let totals = breaker.statistics(()).totals;
        assert_eq!((opened, totals.opened, totals.failures), (1, 1, 2));
    });
}

/// Two new keys at once with room for one: both calls go through and both are counted, and no more keys are remembered than may be.
#[test]
fn keys_come_and_go() {
    loom::model(|| {
        let keyed: Arc<Keyed<Arc<Parker>, Threads>> = Arc::new(Keyed::new(rules(1), 1, 2, Clock::Monotonic));
        let call = |keyed: &Keyed<Arc<Parker>, Threads>, key: u64, outcome| {
            let hash = KeyHash::new([key, key]);
            let (grant, _) = keyed.admit((), hash);
            let _ = keyed.finish((), hash, grant.unwrap(), outcome);
        };
        let other = {
            let keyed = Arc::clone(&keyed);
            thread::spawn(move || call(&keyed, 2, Outcome::Success))
        };
        call(&keyed, 1, Outcome::Success);
        other.join().unwrap();
        let seen = keyed.statistics_of_all(());
        assert_eq!((seen.keys, seen.totals.calls, seen.totals.successes), (1, 2, 2));
    });
}
