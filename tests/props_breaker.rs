//! Random calls, results and moments against a plain model of a breaker, which keeps every result and counts them anew each time.
#![cfg(not(loom))]

mod cases;

use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::breaker::{Breaker, Grant, Kind, Outcome, Rules, Totals};
use sluicegate_core::clock::{Clock, Manual, Nanos};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

#[derive(Clone, Debug)]
enum Step {
    Begin,
    /// The result of one of the calls on their way, and whether the server asks for time.
    Succeed(usize),
    Fail(usize, Option<Nanos>),
    Ignore(usize),
    Pass(Nanos),
    Force(Option<Nanos>),
    Disable,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => Just(Step::Begin),
        10 => (0..8_usize).prop_map(Step::Succeed),
        10 => (0..8_usize, proptest::option::weighted(0.2, 1..200_u64)).prop_map(|(call, asked)| Step::Fail(call, asked)),
        3 => (0..8_usize).prop_map(Step::Ignore),
        10 => (1..60_u64).prop_map(Step::Pass),
        1 => (60..2_000_u64).prop_map(Step::Pass),
        1 => proptest::option::of(0..100_u64).prop_map(Step::Force),
        1 => Just(Step::Disable),
        2 => Just(Step::Reset),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let shares = (1..=10_u8, 1..=10_u8);
    let calls = proptest::option::of(1..8_usize);
    (shares, calls, 1..8_u64, proptest::option::of(1..5_u64), proptest::option::of(10..80_u64), 1..4_u64, any::<bool>()).prop_map(
        |((failures, slow), calls, min_calls, run, slow_after, probes, metrics_only)| Rules {
            failure_rate: f64::from(failures) / 10.0,
            window: 100,
            min_calls,
            run,
            slow_after,
            slow_rate: f64::from(slow) / 10.0,
            open_for: 50,
            open_for_max: 300,
            probes,
            probe_timeout: 120,
            calls,
            metrics_only,
        },
    )
}

/// A result that counted: when, whether it failed, whether it was slow.
type Seen = (Nanos, bool, bool);

/// A call on its way, as the model knows it.
#[derive(Clone, Copy, PartialEq)]
struct Call {
    /// In which state it began, counted from the first. `None`: it would have been refused.
    epoch: Option<usize>,
    began: Nanos,
    id: usize,
}

struct Model {
    rules: Rules,
    now: Nanos,
    kind: Kind,
    until: Option<Nanos>,
    since: Nanos,
    epoch: usize,
    seen: Vec<Seen>,
    /// Probes on their way, and how many have succeeded.
    probes: Vec<Call>,
    succeeded: u64,
    opened_lately: u64,
    totals: Totals,
    calls: usize,
}

impl Model {
    fn enter(&mut self, kind: Kind, until: Option<Nanos>) {
        self.kind = kind;
        self.until = until;
        self.since = self.now;
        self.epoch += 1;
        self.seen.clear();
        self.probes.clear();
        self.succeeded = 0;
    }

    fn begin(&mut self) -> Option<Call> {
        self.calls += 1;
        let mut call = Call { epoch: Some(self.epoch), began: self.now, id: self.calls };
        if self.until.is_some_and(|until| until <= self.now) {
            self.enter(Kind::HalfOpen, None);
            call.epoch = Some(self.epoch);
        }
        let goes = match self.kind {
            Kind::Closed | Kind::Disabled => true,
            Kind::Open | Kind::ForcedOpen => false,
            Kind::HalfOpen => {
                let (now, timeout) = (self.now, self.rules.probe_timeout);
                self.probes.retain(|probe| probe.began + timeout > now);
                let goes = (self.probes.len() as u64) + self.succeeded < self.rules.probes;
                if goes {
                    self.probes.push(call);
                }
                goes
            }
        };
        if !goes {
            self.totals.refused += 1;
            call.epoch = None;
        }
        let admitted = goes || self.rules.metrics_only;
        self.totals.calls += u64::from(admitted);
        admitted.then_some(call)
    }

    fn end(&mut self, call: Call, failed: Option<bool>, asked: Option<Nanos>) {
        let Some(failed) = failed else {
            self.totals.ignored += 1;
            self.probes.retain(|probe| *probe != call);
            return;
        };
        let slow = self.rules.slow_after.is_some_and(|least| self.now - call.began >= least);
        let is_probe = self.kind == Kind::HalfOpen;
        if is_probe {
            let (now, timeout) = (self.now, self.rules.probe_timeout);
            self.probes.retain(|probe| probe.began + timeout > now);
        }
        if let Some(epoch) = call.epoch {
            if epoch != self.epoch || is_probe && !self.probes.contains(&call) {
                self.totals.stale += 1;
                return;
            }
        }
        *if failed { &mut self.totals.failures } else { &mut self.totals.successes } += 1;
        self.totals.slow += u64::from(slow);
        if call.epoch.is_none() {
            return;
        }
        match self.kind {
            Kind::HalfOpen if failed || slow => self.open(asked),
            Kind::HalfOpen => {
                self.probes.retain(|probe| *probe != call);
                self.succeeded += 1;
                if self.succeeded >= self.rules.probes {
                    self.enter(Kind::Closed, None);
                }
            }
            Kind::Closed => {
                self.seen.push((self.now, failed, slow));
                if self.is_too_bad() {
                    self.open(asked);
                }
            }
            _ => {}
        }
    }

    /// The results that count for the rates.
    fn in_window(&self) -> Vec<Seen> {
        let bucket = |time: Nanos| (time - self.since) / (self.rules.window / 10);
        match self.rules.calls {
            Some(calls) => self.seen[self.seen.len().saturating_sub(calls)..].to_vec(),
            None => self.seen.iter().copied().filter(|&(time, ..)| bucket(time) + 10 > bucket(self.now)).collect(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few calls")]
    fn is_too_bad(&self) -> bool {
        let window = self.in_window();
        let share = |bad: usize| bad as f64 / window.len() as f64;
        let failures = window.iter().filter(|seen| seen.1).count();
        let slow = window.iter().filter(|seen| seen.2).count();
        let by_rate = window.len() as u64 >= self.rules.min_calls
            && (failures > 0 && share(failures) >= self.rules.failure_rate || slow > 0 && share(slow) >= self.rules.slow_rate);
        let run: Vec<_> = self.seen.iter().rev().take_while(|seen| seen.1).collect();
        let by_run = self.rules.run.is_some_and(|least| run.len() as u64 >= least)
            && run.last().is_some_and(|first| self.now - first.0 >= self.rules.window);
        by_rate || by_run
    }

    fn open(&mut self, asked: Option<Nanos>) {
        if self.kind == Kind::Closed {
            self.opened_lately = self.opened_lately.saturating_sub((self.now - self.since) / self.rules.window);
        }
        self.opened_lately += 1;
        let mut open_for = self.rules.open_for;
        for _ in 1..self.opened_lately {
            open_for = (open_for * 2).min(self.rules.open_for_max);
        }
        self.totals.opened += 1;
        self.enter(Kind::Open, Some(self.now + open_for.max(asked.unwrap_or(0))));
    }

    fn shown(&self) -> Kind {
        if self.until.is_some_and(|until| until <= self.now) { Kind::HalfOpen } else { self.kind }
    }
}

fn run(rules: Rules, steps: Vec<Step>) {
    let clock = Arc::new(Manual::new(0));
    let breaker: Breaker<Arc<Parker>, Threads> = Breaker::new(rules.clone(), Clock::Manual(Arc::clone(&clock)));
    let mut model = Model {
        rules,
        now: 0,
        kind: Kind::Closed,
        until: None,
        since: 0,
        epoch: 0,
        seen: Vec::new(),
        probes: Vec::new(),
        succeeded: 0,
        opened_lately: 0,
        totals: Totals::default(),
        calls: 0,
    };
    let mut on_their_way: Vec<(Grant, Call)> = Vec::new();
    for step in steps {
        let before = model.kind;
        let change = match step {
            Step::Begin => {
                let (grant, change) = breaker.admit(());
                let call = model.begin();
                assert_eq!(grant.is_ok(), call.is_some(), "{grant:?}");
                on_their_way.extend(grant.ok().zip(call));
                change
            }
            Step::Succeed(at) | Step::Fail(at, _) | Step::Ignore(at) => {
                if at >= on_their_way.len() {
                    continue;
                }
                let (grant, call) = on_their_way.remove(at);
                let (outcome, failed, asked) = match step {
                    Step::Succeed(_) => (Outcome::Success, Some(false), None),
                    Step::Fail(_, asked) => (Outcome::Failure { retry_after: asked }, Some(true), asked),
                    _ => (Outcome::Ignored, None, None),
                };
                model.end(call, failed, asked);
                breaker.finish((), grant, outcome)
            }
            Step::Pass(time) => {
                clock.advance(time);
                model.now += time;
                None
            }
            Step::Force(lasts) => {
                model.enter(Kind::ForcedOpen, lasts.map(|lasts| model.now + lasts));
                breaker.force_open((), lasts)
            }
            Step::Disable => {
                model.enter(Kind::Disabled, None);
                breaker.disable(())
            }
            Step::Reset => {
                model.enter(Kind::Closed, None);
                model.opened_lately = 0;
                breaker.reset(())
            }
        };
        assert_eq!(change.map(|change| (change.from, change.to)), (before != model.kind).then_some((before, model.kind)));
        assert_eq!(breaker.state(()), model.shown());
        let seen = breaker.statistics(());
        assert_eq!(seen.totals, model.totals);
        let counted = if model.kind == Kind::Closed { model.in_window().len() as u64 } else { 0 };
        assert_eq!((seen.state_for, seen.window_calls), (model.now - model.since, counted));
        // A call that waits as long as it says is let through, or has to wait again for a probe on its way.
        let open = matches!(model.shown(), Kind::Open | Kind::ForcedOpen);
        assert!(!open || breaker.retry_after(()) > 0);
        let ended = seen.totals.successes + seen.totals.failures + seen.totals.ignored + seen.totals.stale;
        assert_eq!(ended + on_their_way.len() as u64, seen.totals.calls, "each call has one outcome");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases(2_000) })]

    #[test]
    fn it_does_what_the_model_does(rules in rules(), steps in proptest::collection::vec(step(), 0..80)) {
        run(rules, steps);
    }
}
