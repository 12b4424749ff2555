//! Random operations against a plain model: slots are counted right, waiters go strictly in order, nobody sleeps beside a free slot, and
//! the limit is what the law makes of the results.
#![cfg(not(loom))]

mod cases;

use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::adaptive::aimdf::{Round, Rules, Step as Growth, next_limit};
use sluicegate_core::adaptive::{Grant, Limiter, NotAdmitted, Outcome, Settings, Waiter};
use sluicegate_core::clock::{Clock, Manual, Nanos};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

const WAITERS: usize = 5;
const PLACES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Try,
    Wait(usize),
    Leave(usize),
    Aside(usize),
    Back(usize),
    /// The call that began so many before the last one ends.
    End(usize, Outcome),
    Limits(u64, u64),
    Pass(Nanos),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Success),
        1 => Just(Outcome::Dropped { retry_after: None }),
        1 => Just(Outcome::Ignored),
    ];
    prop_oneof![
        4 => Just(Step::Try),
        8 => (0..WAITERS).prop_map(Step::Wait),
        1 => (0..WAITERS).prop_map(Step::Leave),
        1 => (0..WAITERS).prop_map(Step::Aside),
        1 => (0..WAITERS).prop_map(Step::Back),
        8 => (0..4usize, outcome).prop_map(|(nth, outcome)| Step::End(nth, outcome)),
        1 => (1u64..4, 0u64..4).prop_map(|(min, more)| Step::Limits(min, min + more)),
        3 => (0u64..20).prop_map(Step::Pass),
    ]
}

#[derive(Default)]
struct Caller {
    parker: Arc<Parker>,
    waiter: Waiter,
    aside: bool,
}

struct Model {
    rules: Rules,
    limit: f64,
    round: Round,
    decided_at: Nanos,
    /// The calls in flight, and when each began.
    calls: Vec<(Grant, Nanos)>,
    line: Vec<usize>,
}

impl Model {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number, rounded down")]
    fn slots(&self) -> usize {
        self.limit as usize
    }

    fn is_free(&self) -> bool {
        self.calls.len() < self.slots()
    }

    fn begin(&mut self, grant: Grant, now: Nanos) {
        self.calls.push((grant, now));
        self.round.peak = self.round.peak.max(self.calls.len() as u64);
    }

    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn end(&mut self, began: Nanos, outcome: Outcome, now: Nanos) {
        if outcome == Outcome::Ignored || began < self.decided_at {
            return;
        }
        self.round.samples += 1;
        self.round.bad += u64::from(outcome != Outcome::Success || Some(now - began) > self.rules.target);
        if self.round.samples as f64 >= (self.limit / 2.0).max(1.0) {
            self.limit = next_limit(&self.rules, self.limit, &self.round);
            self.round = Round::default();
            self.decided_at = now;
        }
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn the_limiter_is_its_model(initial in 1u64..5, steps in proptest::collection::vec(step(), 0..80)) {
        let clock: Arc<Manual<Arc<Parker>>> = Arc::new(Manual::new(0));
        let rules = Rules {
            target: Some(10), min: 1, max: 6, decrease: 0.6, bad_fraction: 0.3, min_samples: 1, step: Growth::One, near: 0.9,
        };
        let settings = Settings { rules, initial, max_waiting: PLACES as u64, shed: None };
        let limiter: Limiter<Arc<Parker>, Threads> = Limiter::new(&settings, Clock::Manual(Arc::clone(&clock)));
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let limit = initial as f64;
        let mut model = Model { rules, limit, round: Round::default(), decided_at: 0, calls: Vec::new(), line: Vec::new() };
        let mut callers: Vec<Caller> = (0..WAITERS).map(|_| Caller::default()).collect();
        for step in steps {
            match step {
                Step::Try => match limiter.try_admit((), 0, false) {
                    Ok(grant) => {
                        prop_assert!(model.is_free() && model.line.iter().all(|&each| callers[each].aside));
                        model.begin(grant, clock.now());
                    }
                    Err(refusal) => {
                        prop_assert!(matches!(refusal, NotAdmitted::Refused(_)));
                        let somebody_waits = model.line.iter().any(|&each| !callers[each].aside);
                        prop_assert!(!model.is_free() || somebody_waits, "refused beside a free slot");
                    }
                },
                Step::Wait(index) => {
                    let caller = &mut callers[index];
                    if caller.aside {
                        continue;
                    }
                    let was_in_line = caller.waiter.is_enqueued();
                    caller.parker.reset();
                    let (wakes, result) = limiter.admit_or_wait((), 0, &mut caller.waiter, &caller.parker);
                    wakes.fire();
                    prop_assert_eq!(callers[index].waiter.is_enqueued(), result == Err(NotAdmitted::Busy));
                    match result {
                        Ok(grant) => {
                            let before = model.line.iter().take_while(|&&each| each != index);
                            let theirs = before.filter(|&&each| !callers[each].aside).count();
                            prop_assert!(model.calls.len() + theirs < model.slots(), "passed {theirs} others");
                            model.begin(grant, clock.now());
                            model.line.retain(|&each| each != index);
                        }
                        Err(NotAdmitted::Busy) if !was_in_line => {
                            prop_assert!(model.line.len() < PLACES);
                            model.line.push(index);
                        }
                        Err(NotAdmitted::Busy) => {}
                        Err(NotAdmitted::Refused(_)) => prop_assert!(!was_in_line && model.line.len() >= PLACES),
                    }
                }
                Step::Leave(index) => {
                    limiter.leave((), &mut callers[index].waiter).fire();
                    callers[index].aside = false;
                    model.line.retain(|&each| each != index);
                }
                Step::Aside(index) => if let Some(place) = callers[index].waiter.position() {
                    limiter.step_aside((), place).fire();
                    callers[index].aside = true;
                },
                Step::Back(index) => if let Some(place) = callers[index].waiter.position() {
                    limiter.step_back((), place).fire();
                    callers[index].aside = false;
                },
                Step::End(nth, outcome) => if nth < model.calls.len() {
                    let (grant, began) = model.calls.remove(model.calls.len() - 1 - nth);
                    limiter.finish((), grant, outcome).0.fire();
                    model.end(began, outcome, clock.now());
                },
                Step::Limits(min, max) => {
                    limiter.set_limits((), min, max).fire();
                    model.rules = Rules { min, max, ..model.rules };
                    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                    let bounds = (min as f64, max as f64);
                    model.limit = model.limit.clamp(bounds.0, bounds.1);
                }
                Step::Pass(time) => clock.advance(time),
            }
            let seen = limiter.statistics(());
            prop_assert_eq!(seen.limit, model.slots() as u64);
            prop_assert_eq!((seen.in_flight, seen.waiters), (model.calls.len() as u64, model.line.len()));
            let results = seen.totals.successes + seen.totals.dropped + seen.totals.ignored;
            prop_assert_eq!(seen.calls, results + seen.in_flight);
            // Nobody sleeps beside a free slot: while there is one, somebody is on the way.
            let mut coming = model.line.iter().map(|&each| &callers[each]).filter(|caller| !caller.aside).peekable();
            if coming.peek().is_some() {
                prop_assert!(!model.is_free() || coming.any(|caller| caller.parker.is_notified()));
            }
        }
    }
}
