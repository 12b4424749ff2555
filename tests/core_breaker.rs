//! The core's circuit breakers: when they open, for how long, what counts, and which keys are remembered.
#![cfg(not(loom))]

use std::sync::Arc;

use sluicegate_core::breaker::{Breaker, Change, Grant, Keyed, Kind, NoRoom, Outcome, Refusal, Rules, Totals, Why};
use sluicegate_core::clock::{Clock, Manual, Nanos, nanos};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

const FAILURE: Outcome = Outcome::Failure { retry_after: None };

fn rules() -> Rules {
    Rules {
        failure_rate: 0.5,
        window: nanos(10.0),
        min_calls: 20,
        run: Some(5),
        slow_after: None,
        slow_rate: 0.8,
        open_for: nanos(5.0),
        open_for_max: nanos(60.0),
        probes: 3,
        probe_timeout: nanos(30.0),
        calls: None,
        metrics_only: false,
    }
}

struct Service {
    breaker: Breaker<Arc<Parker>, Threads>,
    clock: Arc<Manual<Arc<Parker>>>,
}

impl Service {
    fn new(rules: Rules) -> Self {
        let clock = Arc::new(Manual::new(0));
        Self { breaker: Breaker::new(rules, Clock::Manual(Arc::clone(&clock))), clock }
    }

    fn at(&self, seconds: f64) {
        self.clock.advance(nanos(seconds).checked_sub(self.clock.now()).expect("time goes on"));
    }

    fn admit(&self) -> Result<Grant, Refusal> {
        self.breaker.admit(()).0
    }

    fn grant(&self) -> Grant {
        self.admit().expect("it lets calls through")
    }

    fn finish(&self, grant: Grant, outcome: Outcome) -> Option<Change> {
        self.breaker.finish((), grant, outcome)
    }

    fn call(&self, outcome: Outcome) -> Option<Change> {
        self.finish(self.grant(), outcome)
    }

    fn calls(&self, times: usize, outcome: Outcome) {
        for _ in 0..times {
            assert_eq!(self.call(outcome), None);
        }
    }

    fn state(&self) -> Kind {
        self.breaker.state(())
    }

    fn totals(&self) -> Totals {
        self.breaker.statistics(()).totals
    }

    fn retry_after(&self) -> Nanos {
        self.breaker.retry_after(())
    }

    /// Opens by the rate, at this moment.
    fn open(&self) {
        self.calls(19, FAILURE);
        assert_eq!(self.call(FAILURE).map(|change| change.to), Some(Kind::Open));
    }
}

/// B1
#[test]
fn a_window_of_results_opens_when_enough_of_them_are_bad() {
    let last_ten = Rules { calls: Some(10), min_calls: 10, ..rules() };
    let service = Service::new(last_ten.clone());
    for number in 1..=10 {
        let outcome = if number % 2 == 1 { Outcome::Success } else { FAILURE };
        let change = service.call(outcome);
        assert_eq!(change.map(|change| change.why), (number == 10).then_some(Why::Failures { failures: 5, calls: 10 }));
    }
    let service = Service::new(last_ten.clone());
    service.calls(9, FAILURE);
    assert_eq!(service.state(), Kind::Closed);

    // What leaves the ring counts no more: 6 bad of 20, never 5 of 10.
    let service = Service::new(last_ten);
    for number in 0..20 {
        assert_eq!(service.call(if number % 10 < 3 { FAILURE } else { Outcome::Success }), None);
    }
    let seen = service.breaker.statistics(());
    assert_eq!((seen.window_calls, seen.totals.failures), (10, 6));
    assert!((seen.failure_rate - 0.3).abs() < 1e-12);
}

/// B2
#[test]
fn a_window_of_time_opens_by_rate_or_by_a_run_of_failures() {
    let service = Service::new(rules());
    for number in 0..19 {
        service.at(f64::from(number) * 0.5);
        assert_eq!(service.call(FAILURE), None);
    }
    service.at(9.5);
    let change = service.call(FAILURE).unwrap();
    let why = Why::Failures { failures: 20, calls: 20 };
    assert_eq!(change, Change { from: Kind::Closed, to: Kind::Open, why, open_for: Some(nanos(5.0)) });
    service.at(14.499);
    assert_eq!((service.state(), service.retry_after()), (Kind::Open, nanos(0.001)));
    service.at(14.5);
    assert_eq!((service.state(), service.retry_after()), (Kind::HalfOpen, 0));

    // Rare calls: the published times.
    for (every, opens_at) in [(0.6, 10.2), (2.0, 10.0), (4.0, 16.0), (30.0, 120.0)] {
        let service = Service::new(rules());
        let mut time = 0.0;
        let change = loop {
            service.at(time);
            if let Some(change) = service.call(FAILURE) {
                break change;
            }
            time += every;
        };
        assert!((time - opens_at).abs() < 1e-6, "every {every}: {time}");
        assert!(matches!(change.why, Why::Run { .. }));
    }

    // A success ends a run; five failures at once after a long silence are none.
    let service = Service::new(rules());
    service.calls(4, FAILURE);
    service.at(9.0);
    service.call(Outcome::Success);
    service.at(100.0);
    service.calls(19, FAILURE);
    assert_eq!(service.state(), Kind::Closed);
}

/// 30 % of 10 000 calls a second fail: the rate never reaches a half, and there is always a success.
#[test]
fn many_calls_of_which_some_fail_do_not_open_it() {
    let service = Service::new(rules());
    for number in 0..50_000_u32 {
        service.at(f64::from(number) * 1e-4);
        // Three failures in a row, then seven successes.
        assert_eq!(service.call(if number % 10 < 3 { FAILURE } else { Outcome::Success }), None);
    }
}

#[test]
fn results_leave_a_window_of_time() {
    let service = Service::new(rules());
    service.calls(19, FAILURE);
    service.at(9.999);
    assert_eq!(service.breaker.statistics(()).window_calls, 19);
    service.at(10.0);
    assert_eq!(service.breaker.statistics(()).window_calls, 0);
    service.calls(3, Outcome::Success);
    service.at(1e6);
    assert_eq!(service.breaker.statistics(()).window_calls, 0);
}

/// B3
#[test]
fn at_recovery_exactly_the_probes_are_let_through() {
    let service = Service::new(rules());
    service.open();
    service.at(4.999);
    assert_eq!(service.admit(), Err(Refusal { state: Kind::Open, retry_after: nanos(0.001) }));
    service.at(5.0);
    let (first, change) = service.breaker.admit(());
    assert_eq!(
        change.map(|change| (change.from, change.to, change.why)),
        Some((Kind::Open, Kind::HalfOpen, Why::TimeOver { open_for: nanos(5.0) }))
    );
    let mut probes = vec![first.unwrap()];
    let mut refused = 0;
    for _ in 1..70 {
        match service.admit() {
            Ok(grant) => probes.push(grant),
            Err(refusal) => {
                assert_eq!(refusal, Refusal { state: Kind::HalfOpen, retry_after: nanos(5.0) });
                refused += 1;
            }
        }
    }
    assert_eq!((probes.len(), refused), (3, 67));
    let last = probes.pop().unwrap();
    for probe in probes {
        assert_eq!(service.finish(probe, Outcome::Success), None);
        assert!(service.admit().is_err(), "a probe that has succeeded is not followed by another");
    }
    let change = service.finish(last, Outcome::Success).unwrap();
    assert_eq!((change.to, change.why), (Kind::Closed, Why::ProbesSucceeded { probes: 3 }));
    assert_eq!(service.breaker.statistics(()).window_calls, 0);
}

/// B4
#[test]
fn what_is_ignored_changes_nothing() {
    let service = Service::new(Rules { calls: Some(3), min_calls: 3, ..rules() });
    service.calls(100, Outcome::Ignored);
    assert_eq!(service.state(), Kind::Closed);
    service.calls(2, FAILURE);
    service.calls(1, Outcome::Ignored);
    assert_eq!(service.call(FAILURE).map(|change| change.to), Some(Kind::Open));

    service.at(5.0);
    let mut probes: Vec<Grant> = (0..3).map(|_| service.grant()).collect();
    assert!(service.admit().is_err());
    assert_eq!(service.finish(probes.remove(1), Outcome::Ignored), None);
    probes.push(service.grant());
    assert!(service.admit().is_err(), "one more only");
    assert_eq!(service.totals().ignored, 102);
}

/// B5
#[test]
fn results_of_an_older_generation_count_for_nothing() {
    let service = Service::new(rules());
    let old: Vec<Grant> = (0..4).map(|_| service.grant()).collect();
    let mut old = old.into_iter();
    service.open();
    assert_eq!(service.finish(old.next().unwrap(), Outcome::Success), None);
    assert_eq!(service.finish(old.next().unwrap(), FAILURE), None);
    assert_eq!((service.state(), service.retry_after()), (Kind::Open, nanos(5.0)));
    service.at(5.0);
    let probe = service.grant();
    assert_eq!(service.finish(old.next().unwrap(), Outcome::Success), None);
    assert_eq!(service.finish(old.next().unwrap(), FAILURE), None);
    assert_eq!(service.state(), Kind::HalfOpen);
    let totals = service.totals();
    assert_eq!((totals.stale, totals.failures, totals.successes), (4, 20, 0));

    // Of a probe of an earlier half-open state too.
    let other = service.grant();
    assert_eq!(service.finish(other, FAILURE).map(|change| change.why), Some(Why::ProbeFailed));
    service.at(15.0);
    let _ = service.grant();
    assert_eq!(service.finish(probe, Outcome::Success), None);
    assert_eq!(service.totals().stale, 5);
}

/// B6
#[test]
fn a_probe_that_never_returns_does_not_hold_it_half_open() {
    let service = Service::new(rules());
    service.open();
    service.at(5.0);
    let mut hung: Vec<Grant> = (0..3).map(|_| service.grant()).collect();
    service.at(34.999);
    assert_eq!(service.admit(), Err(Refusal { state: Kind::HalfOpen, retry_after: nanos(0.001) }));
    service.at(35.0);
    let fresh: Vec<Grant> = (0..3).map(|_| service.grant()).collect();
    assert!(service.admit().is_err());
    service.at(36.0);
    assert_eq!(service.finish(hung.remove(0), Outcome::Success), None);
    assert_eq!(service.finish(hung.remove(0), FAILURE), None);
    assert_eq!(service.finish(hung.remove(0), Outcome::Ignored), None);
    assert!(service.admit().is_err(), "the places of the hung ones were given away once");
    assert_eq!((service.state(), service.totals().stale), (Kind::HalfOpen, 2));
    let closed = fresh.into_iter().filter_map(|probe| service.finish(probe, Outcome::Success)).count();
    assert_eq!((closed, service.state()), (1, Kind::Closed));
}

/// B7
#[test]
fn the_open_time_grows_and_shrinks_again() {
    let service = Service::new(rules());
    service.open();
    let mut time = 0.0;
    for open_for in [5.0, 10.0, 20.0, 40.0, 60.0, 60.0] {
        assert_eq!(service.retry_after(), nanos(open_for));
        time += open_for;
        service.at(time);
        service.call(FAILURE);
    }
    service.at(time + 60.0);
    service.calls(2, Outcome::Success);
    assert_eq!(service.call(Outcome::Success).map(|change| change.to), Some(Kind::Closed));
    // Four doublings reach the longest time, and two windows take two of them away.
    service.at(time + 60.0 + 20.0);
    service.open();
    assert_eq!(service.retry_after(), nanos(20.0));

    // After an outage of an hour too: it is as new once it has been closed for as many windows as there are doublings, and not for sixty.
    for (windows, open_for) in [(3.0, 10.0), (4.0, 5.0), (6.0, 5.0)] {
        let service = Service::new(rules());
        service.open();
        for _ in 0..60 {
            service.clock.advance(service.retry_after());
            service.call(FAILURE);
        }
        assert_eq!(service.retry_after(), nanos(60.0));
        service.clock.advance(nanos(60.0));
        service.calls(2, Outcome::Success);
        assert_eq!(service.call(Outcome::Success).map(|change| change.to), Some(Kind::Closed));
        service.clock.advance(nanos(windows * 10.0));
        service.open();
        assert_eq!(service.retry_after(), nanos(open_for), "{windows}");
    }

    // What the server asks for, of the failure that opens it, and not for ever.
    for (asked, open_for) in [(30.0, 30.0), (1.0, 5.0), (9e9, 600.0)] {
        let service = Service::new(rules());
        let asking = Outcome::Failure { retry_after: Some(nanos(asked)) };
        service.calls(19, asking);
        service.call(asking);
        assert_eq!(service.retry_after(), nanos(open_for));
    }
    // Very often: nothing overflows.
    let service = Service::new(Rules { open_for_max: Nanos::MAX, ..rules() });
    service.open();
    for _ in 0..200 {
        service.clock.advance(service.retry_after());
        if service.admit().is_ok_and(|probe| service.finish(probe, FAILURE).is_none()) {
            break;
        }
    }
}

/// B8
#[test]
fn slow_calls_open_it() {
    let slow_rules = || Rules { slow_after: Some(nanos(0.5)), ..rules() };
    let run = |slow: usize| {
        let service = Service::new(Rules { window: nanos(100.0), ..slow_rules() });
        let mut change = None;
        for number in 0..20 {
            assert_eq!(change, None);
            let grant = service.grant();
            service.clock.advance(if number < slow { nanos(0.5) } else { nanos(0.5) - 1 });
            change = service.finish(grant, Outcome::Success);
        }
        (change.map(|change| change.why), service)
    };
    let (why, service) = run(15);
    assert_eq!((why, service.totals().slow), (None, 15));
    let (why, service) = run(16);
    assert_eq!(why, Some(Why::Slow { slow: 16, calls: 20 }));

    // A slow probe opens it again.
    service.clock.advance(nanos(5.0));
    let probe = service.grant();
    service.clock.advance(nanos(0.5));
    assert_eq!(service.finish(probe, Outcome::Success).map(|change| change.why), Some(Why::ProbeSlow));
}

#[test]
fn it_can_be_forced_disabled_and_reset() {
    let service = Service::new(rules());
    let change = service.breaker.force_open((), None).unwrap();
    assert_eq!((change.from, change.to, change.open_for), (Kind::Closed, Kind::ForcedOpen, None));
    assert_eq!(service.breaker.force_open((), None), None, "it is told once");
    service.at(1e6);
    assert_eq!(service.admit(), Err(Refusal { state: Kind::ForcedOpen, retry_after: nanos(5.0) }));
    assert_eq!(service.breaker.reset(()).map(|change| change.why), Some(Why::Reset));
    assert_eq!(service.breaker.reset(()), None);

    let _ = service.breaker.force_open((), Some(nanos(2.0)));
    assert_eq!(service.retry_after(), nanos(2.0));
    service.clock.advance(nanos(2.0));
    assert_eq!(service.state(), Kind::HalfOpen);
    assert_eq!(service.call(FAILURE).map(|change| change.open_for), Some(Some(nanos(5.0))));

    assert_eq!(service.breaker.disable(()).map(|change| change.to), Some(Kind::Disabled));
    service.calls(100, FAILURE);
    assert_eq!((service.state(), service.totals().failures), (Kind::Disabled, 101));
    let late = service.grant();
    assert_eq!(service.breaker.reset(()).map(|change| (change.from, change.to)), Some((Kind::Disabled, Kind::Closed)));
    service.finish(late, FAILURE);
    assert_eq!((service.totals().stale, service.breaker.statistics(()).window_calls), (1, 0));
}

#[test]
fn one_that_only_measures_refuses_nothing() {
    let service = Service::new(Rules { metrics_only: true, ..rules() });
    service.open();
    service.calls(10, FAILURE);
    assert_eq!((service.state(), service.totals().refused), (Kind::Open, 10));
    service.at(5.0);
    let probes: Vec<Grant> = (0..5).map(|_| service.grant()).collect();
    let changes: Vec<_> = probes.into_iter().filter_map(|probe| service.finish(probe, Outcome::Success)).collect();
    assert_eq!(changes.iter().map(|change| change.to).collect::<Vec<_>>(), [Kind::Closed]);
    let totals = service.totals();
    assert_eq!((totals.calls, totals.successes + totals.failures, totals.refused), (35, 35, 12));
}

struct Hosts {
    keyed: Keyed<Arc<Parker>, Threads>,
    clock: Arc<Manual<Arc<Parker>>>,
}

impl Hosts {
    fn new(max_keys: usize) -> Self {
        let clock = Arc::new(Manual::new(0));
        let rules = Rules { min_calls: 2, ..rules() };
        Self { keyed: Keyed::new(rules, max_keys, 4, Clock::Manual(Arc::clone(&clock))), clock }
    }

    fn call(&self, key: u64, outcome: Outcome) -> Option<Change> {
        let grant = self.keyed.admit((), hash(key)).0.expect("it lets calls through");
        self.keyed.finish((), hash(key), grant, outcome)
    }

    fn untracked(&self) -> u64 {
        self.keyed.statistics_of_all(()).untracked
    }
}

fn hash(key: u64) -> KeyHash {
    KeyHash::new([key, key.wrapping_mul(0x9e37_79b9_7f4a_7c15)])
}

#[test]
fn keys_have_breakers_of_their_own() {
    let hosts = Hosts::new(10);
    hosts.call(1, FAILURE);
    assert_eq!(hosts.call(1, FAILURE).map(|change| change.to), Some(Kind::Open));
    assert!(hosts.keyed.admit((), hash(1)).0.is_err());
    assert_eq!(hosts.call(2, Outcome::Success), None);
    assert_eq!((hosts.keyed.state((), hash(1)), hosts.keyed.state((), hash(2))), (Kind::Open, Kind::Closed));
    assert_eq!(hosts.keyed.retry_after((), hash(1)), nanos(5.0));
    let all = hosts.keyed.statistics_of_all(());
    assert_eq!((all.keys, all.open, all.totals.calls, all.totals.failures, all.totals.refused), (2, 1, 3, 2, 1));
    assert_eq!(hosts.keyed.statistics((), hash(3)).totals, Totals::default());
}

#[test]
fn healthy_keys_make_room_and_failing_ones_are_kept() {
    let hosts = Hosts::new(4);
    hosts.call(1, FAILURE);
    hosts.call(1, FAILURE);
    hosts.call(2, FAILURE);
    for key in 10..1_000 {
        hosts.call(key, Outcome::Success);
    }
    assert_eq!(hosts.untracked(), 0);
    assert!(hosts.keyed.len() <= 4);
    assert_eq!(hosts.keyed.state((), hash(1)), Kind::Open);
    assert_eq!(hosts.keyed.statistics((), hash(2)).window_calls, 1);
    let all = hosts.keyed.statistics_of_all(());
    assert_eq!((all.totals.calls, all.totals.successes), (993, 990));
    assert!(all.forgotten >= 986);

    // A key that was forgotten while its call was on its way is remembered when that fails.
    let grant = hosts.keyed.admit((), hash(3)).0.unwrap();
    for key in 10..100 {
        hosts.call(key, Outcome::Success);
    }
    let _ = hosts.keyed.finish((), hash(3), grant, FAILURE);
    assert_eq!(hosts.keyed.statistics((), hash(3)).window_calls, 1);
}

#[test]
fn a_full_table_lets_newcomers_through_untracked() {
    let hosts = Hosts::new(2);
    for key in [1, 2] {
        hosts.call(key, FAILURE);
        hosts.call(key, FAILURE);
    }
    for _ in 0..50 {
        assert_eq!(hosts.call(3, FAILURE), None);
        assert_eq!(hosts.call(4, Outcome::Success), None);
    }
    assert_eq!(hosts.untracked(), 100);
    assert_eq!(hosts.keyed.force_open((), hash(3), None), Err(NoRoom));
    assert_eq!(hosts.keyed.disable((), hash(3)), Err(NoRoom));
    let all = hosts.keyed.statistics_of_all(());
    assert_eq!((all.totals.calls, all.totals.failures, all.totals.successes), (104, 54, 50));

    // Reset, a key may be forgotten. An open one that nobody asks for any more may be some time after its open time.
    let grant = hosts.keyed.admit((), hash(3)).0.unwrap();
    assert_eq!(hosts.keyed.reset((), hash(1)).map(|change| change.to), Some(Kind::Closed));
    let _ = hosts.keyed.finish((), hash(3), grant, FAILURE);
    assert_eq!(hosts.call(3, FAILURE).map(|change| change.to), Some(Kind::Open), "both failures count");
    hosts.clock.advance(nanos(64.9));
    hosts.call(5, Outcome::Success);
    assert_eq!(hosts.untracked(), 102);
    hosts.clock.advance(nanos(2.0));
    hosts.call(5, Outcome::Success);
    assert_eq!(hosts.untracked(), 102);
}

#[test]
fn forced_keys_are_kept() {
    let hosts = Hosts::new(2);
    assert!(hosts.keyed.force_open((), hash(1), None).is_ok());
    assert!(hosts.keyed.disable((), hash(2)).is_ok());
    hosts.clock.advance(nanos(1e9));
    hosts.call(3, FAILURE);
    assert_eq!((hosts.untracked(), hosts.keyed.len()), (1, 2));
    assert!(hosts.keyed.admit((), hash(1)).0.is_err());
}

/// A result of a generation that was forgotten, with its key, does not fit the key's next breaker.
#[test]
fn generations_are_not_given_twice() {
    let hosts = Hosts::new(1);
    let old = hosts.keyed.admit((), hash(1)).0.unwrap();
    hosts.call(2, Outcome::Success); // 1 is forgotten for it
    hosts.call(1, Outcome::Success); // and 2 for 1
    assert_eq!(hosts.keyed.finish((), hash(1), old, FAILURE), None);
    let seen = hosts.keyed.statistics((), hash(1));
    assert_eq!((seen.totals.stale, seen.totals.failures), (1, 0));
}

/// A question before a call counts only refusals: it takes no probe, changes no state, and says what `admit` would.
#[test]
fn a_refusal_without_a_call() {
    let service = Service::new(Rules { probes: 1, calls: Some(1), min_calls: 1, ..rules() });
    let refuse = || service.breaker.refuse(());
    let totals = || service.breaker.statistics(()).totals;
    assert!(refuse().is_none());
    service.call(FAILURE);
    assert_eq!(refuse(), Some(Refusal { state: Kind::Open, retry_after: nanos(5.0) }));
    assert_eq!((totals().calls, totals().refused, totals().ignored), (1, 1, 0));
    service.at(5.0);
    assert!(refuse().is_none());
    let probe = service.grant();
    assert_eq!(refuse(), service.admit().err());
    assert_eq!(totals().refused, 3);
    service.at(35.0);
    assert!(refuse().is_none(), "the probe has been given up");
    service.finish(probe, Outcome::Ignored);
    let _ = service.breaker.force_open((), None);
    assert_eq!(refuse().map(|refusal| refusal.state), Some(Kind::ForcedOpen));
    let _ = service.breaker.disable(());
    assert!(refuse().is_none());
}

#[test]
fn a_breaker_that_only_measures_refuses_nothing() {
    let service = Service::new(Rules { metrics_only: true, calls: Some(1), min_calls: 1, ..rules() });
    service.call(FAILURE);
    assert!(service.breaker.refuse(()).is_none());
    assert_eq!(service.breaker.statistics(()).totals.refused, 0);
}
