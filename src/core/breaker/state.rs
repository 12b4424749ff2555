//! The state machine of one breaker. It is pure: the time is an argument.
//!
//! # States (changed only inside the section of the breaker)
//!
//! | state       | event                                                     | next       | also                                          |
//! |-------------|-----------------------------------------------------------|------------|-----------------------------------------------|
//! | closed      | a call begins                                             | closed     | let through                                    |
//! | closed      | a result, and the rules say that it is too bad            | open       | the open time is worked out                    |
//! | closed      | an ignored call ends                                       | closed     | counted as ignored, and no result               |
//! | open        | a call begins, the open time is not over                   | open       | refused                                        |
//! | open        | a call begins, the open time is over                       | half-open  | let through as the first probe                 |
//! | half-open   | a call begins, fewer than `probes` are out or have succeeded | half-open | let through as a probe                         |
//! | half-open   | a call begins otherwise                                    | half-open  | refused                                        |
//! | half-open   | a probe succeeds, the last of `probes`                     | closed     | with an empty window                           |
//! | half-open   | a probe fails, or was slow                                 | open       | for twice as long as before                    |
//! | half-open   | a probe is ignored, or has not ended after its time         | half-open  | another call may take its place                |
//! | any         | a result of an earlier generation, or of a probe that was given up | same | counted as stale, and nothing else              |
//! | any         | `refuse`                                                   | same       | refused if a call that began now would be; no call begins |
//! | any, with `metrics_only` | a call begins that would be refused           | same       | counted as refused, and let through; its result changes nothing |
//! | forced open | a call begins, its time is not over                        | forced open | refused                                       |
//! | forced open | a call begins, its time is over                            | half-open  | let through as the first probe                 |
//! | disabled    | a call begins or ends                                      | disabled   | let through and counted                        |
//! | any         | `force_open`                                               | forced open | refuses until `reset`, or until its time is over, as open |
//! | any         | `disable`                                                  | disabled   | lets everything through, and only counts       |
//! | any         | `reset`                                                    | closed     | nothing of the past counts                      |
//!
//! Each change of state begins a new *generation*. A call belongs to the generation that admitted it, and its result counts only during
//! that generation. So a call that began before the breaker opened neither closes it nor opens it again, whenever it ends. Probes are
//! numbered, so that one that was given up no longer counts.
//!
//! There is no timer: due transitions happen at the next call.

use std::collections::VecDeque;

use super::rules::{Change, Grant, Kind, Outcome, Refusal, Rules, Statistics, Totals, UNCOUNTED, Why};
use super::window::{Counts, Window};
use crate::clock::{LONGEST_RETRY_AFTER, Nanos};

/// The probes of one half-open generation.
#[derive(Debug, Default)]
struct Probes {
    /// The probes that have not ended, in the order in which they began.
    out: VecDeque<(u64, Nanos)>,
    succeeded: u64,
    /// The number of probes that have begun.
    begun: u64,
}

impl Probes {
    fn expire(&mut self, rules: &Rules, now: Nanos) {
        while self.out.front().is_some_and(|&(_, began)| began.saturating_add(rules.probe_timeout) <= now) {
            self.out.pop_front();
        }
    }

    fn are_all_out(&self, rules: &Rules) -> bool {
        self.out.len() as u64 + self.succeeded >= rules.probes
    }

    fn begin(&mut self, now: Nanos) -> u64 {
        self.begun += 1;
        self.out.push_back((self.begun, now));
        self.begun
    }

    /// Ends a probe. Returns false if it had been given up.
    fn end(&mut self, probe: u64) -> bool {
        let found = self.out.binary_search_by_key(&probe, |&(number, _)| number);
        found.map(|at| self.out.remove(at)).is_ok()
    }

    /// The time until a retry is useful, when all probes are in flight.
    fn retry_after(&self, rules: &Rules, now: Nanos) -> Nanos {
        let oldest = self.out.front().map_or(0, |&(_, began)| began.saturating_add(rules.probe_timeout).saturating_sub(now));
        oldest.min(rules.open_for)
    }
}

#[derive(Debug)]
enum Phase {
    Closed(Window),
    Open { until: Nanos },
    HalfOpen(Probes),
    Forced { until: Option<Nanos> },
    Disabled,
}

/// Consecutive failures.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    failures: u64,
    /// When the first of them ended.
    first: Nanos,
}

#[derive(Debug)]
pub(crate) struct State {
    generation: u64,
    /// The generation in which the state was created.
    first: u64,
    phase: Phase,
    since: Nanos,
    /// When the last result came.
    heard: Nanos,
    run: Run,
    /// How often the open time is doubled when it opens next: decreases by one for each window that it has been closed since.
    level: u32,
    totals: Totals,
}

/// `some` divided by `all`. The comparison with a rate is exact where the rate is, because the division is rounded once.
#[expect(clippy::cast_precision_loss, reason = "counts of calls")]
fn share(some: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

impl State {
    /// `generation` is at least one.
    pub(crate) fn new(rules: &Rules, generation: u64, now: Nanos) -> Self {
        Self {
            generation,
            first: generation,
            phase: Phase::Closed(Window::new(rules, now)),
            since: now,
            heard: now,
            run: Run::default(),
            level: 0,
            totals: Totals::default(),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// True if it has always been closed.
    pub(crate) fn is_in_its_first_generation(&self) -> bool {
        self.generation == self.first
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The state that the next call meets.
    pub(crate) fn kind(&self, now: Nanos) -> Kind {
        if self.open_until().is_some_and(|until| until <= now) { Kind::HalfOpen } else { self.reported() }
    }

    /// The state that was reported last.
    fn reported(&self) -> Kind {
        match self.phase {
            Phase::Closed(_) => Kind::Closed,
            Phase::Open { .. } => Kind::Open,
            Phase::HalfOpen(_) => Kind::HalfOpen,
            Phase::Forced { .. } => Kind::ForcedOpen,
            Phase::Disabled => Kind::Disabled,
        }
    }

    /// When the open time ends.
    fn open_until(&self) -> Option<Nanos> {
        match self.phase {
            Phase::Open { until } => Some(until),
            Phase::Forced { until } => until,
            _ => None,
        }
    }

    fn enter(&mut self, phase: Phase, now: Nanos, why: Why) -> Change {
        let from = self.reported();
        self.phase = phase;
        self.generation += 1;
        self.since = now;
        Change { from, to: self.reported(), why, open_for: self.open_until().map(|until| until - now) }
    }

    /// Begins a call. `clock` is read only if the time matters.
    #[inline]
    pub(crate) fn admit(&mut self, rules: &Rules, clock: impl Fn() -> Nanos) -> (Result<Grant, Refusal>, Option<Change>) {
        if matches!(self.phase, Phase::Closed(_) | Phase::Disabled) {
            self.totals.calls += 1;
            let began = if rules.slow_after.is_some() { clock() } else { 0 };
            return (Ok(Grant { generation: self.generation, probe: 0, began }), None);
        }
        self.admit_probe(rules, clock())
    }

    fn admit_probe(&mut self, rules: &Rules, now: Nanos) -> (Result<Grant, Refusal>, Option<Change>) {
        let mut change = None;
        if let Some(until) = self.open_until().filter(|&until| until <= now) {
            let open_for = until - self.since;
            change = Some(self.enter(Phase::HalfOpen(Probes::default()), now, Why::TimeOver { open_for }));
        }
        let generation = self.generation;
        if let Phase::HalfOpen(probes) = &mut self.phase {
            probes.expire(rules, now);
            if !probes.are_all_out(rules) {
                self.totals.calls += 1;
                self.heard = now;
                return (Ok(Grant { generation, probe: probes.begin(now), began: now }), change);
            }
        }
        self.totals.refused += 1;
        if rules.metrics_only {
            self.totals.calls += 1;
            return (Ok(Grant { generation: UNCOUNTED, probe: 0, began: now }), change);
        }
        (Err(Refusal { state: self.reported(), retry_after: self.retry_after(rules, now) }), change)
    }

    /// The time until the next call may be admitted; zero if it may be now.
    pub(crate) fn retry_after(&self, rules: &Rules, now: Nanos) -> Nanos {
        match &self.phase {
            Phase::Open { until } | Phase::Forced { until: Some(until) } => until.saturating_sub(now),
            Phase::HalfOpen(probes) if probes.are_all_out(rules) => probes.retry_after(rules, now),
            Phase::Closed(_) | Phase::HalfOpen(_) | Phase::Disabled => 0,
            Phase::Forced { until: None } => rules.open_for,
        }
    }

    /// Refuses a call that [`admit`](Self::admit) would refuse now, and counts that. Otherwise nothing happens: no call begins, and the state
    /// does not change.
    #[inline]
    pub(crate) fn refuse(&mut self, rules: &Rules, clock: impl Fn() -> Nanos) -> Option<Refusal> {
        if matches!(self.phase, Phase::Closed(_) | Phase::Disabled) {
            return None;
        }
        self.refuse_unless_admitted(rules, clock())
    }

    fn refuse_unless_admitted(&mut self, rules: &Rules, now: Nanos) -> Option<Refusal> {
        if let Phase::HalfOpen(probes) = &mut self.phase {
            probes.expire(rules, now);
        }
        let admits = match &self.phase {
            Phase::Closed(_) | Phase::Disabled => true,
            Phase::Open { until } | Phase::Forced { until: Some(until) } => *until <= now,
            Phase::HalfOpen(probes) => !probes.are_all_out(rules),
            Phase::Forced { until: None } => false,
        };
        if admits || rules.metrics_only {
            return None;
        }
        self.totals.refused += 1;
        Some(Refusal { state: self.reported(), retry_after: self.retry_after(rules, now) })
    }

    /// Ends a call.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a result is reported once")]
    pub(crate) fn finish(&mut self, rules: &Rules, grant: Grant, outcome: Outcome, clock: impl Fn() -> Nanos) -> Option<Change> {
        let Grant { generation, probe, began } = grant;
        let failed = match outcome {
            Outcome::Success => false,
            Outcome::Failure { .. } => true,
            Outcome::Ignored => {
                self.totals.ignored += 1;
                match &mut self.phase {
                    Phase::HalfOpen(probes) if generation == self.generation => {
                        probes.end(probe);
                    }
                    _ => {}
                }
                return None;
            }
        };
        if generation != self.generation && generation != UNCOUNTED {
            self.totals.stale += 1;
            return None;
        }
        let now = clock();
        let slow = rules.slow_after.is_some_and(|slow_after| now.saturating_sub(began) >= slow_after);
        if generation == UNCOUNTED {
            self.count(failed, slow);
            return None;
        }
        if let Phase::HalfOpen(probes) = &mut self.phase {
            probes.expire(rules, now);
            if !probes.end(probe) {
                self.totals.stale += 1;
                return None;
            }
        }
        self.count(failed, slow);
        self.heard = now;
        self.judge(rules, outcome, slow, now)
    }

    #[inline]
    fn count(&mut self, failed: bool, slow: bool) {
        *if failed { &mut self.totals.failures } else { &mut self.totals.successes } += 1;
        self.totals.slow += u64::from(slow);
    }

    /// Handles a result that counts.
    #[inline]
    fn judge(&mut self, rules: &Rules, outcome: Outcome, slow: bool, now: Nanos) -> Option<Change> {
        let (failed, retry_after) = match outcome {
            Outcome::Failure { retry_after } => (true, retry_after),
            _ => (false, None),
        };
        match &mut self.phase {
            Phase::Closed(window) => {
                let counts = window.record(now, failed, slow);
                if failed {
                    if self.run.failures == 0 {
                        self.run.first = now;
                    }
                    self.run.failures += 1;
                } else {
                    self.run = Run::default();
                }
                let why = if counts.is_spotless() && !failed { None } else { self.is_too_bad(rules, counts, now) };
                why.map(|why| self.open(rules, why, retry_after, now))
            }
            Phase::HalfOpen(_) if failed => Some(self.open(rules, Why::ProbeFailed, retry_after, now)),
            Phase::HalfOpen(_) if slow => Some(self.open(rules, Why::ProbeSlow, None, now)),
            Phase::HalfOpen(probes) => {
                probes.succeeded += 1;
                let succeeded = probes.succeeded;
                (succeeded >= rules.probes).then(|| self.close(rules, now, Why::ProbesSucceeded { probes: succeeded }))
            }
            _ => None,
        }
    }

    fn is_too_bad(&self, rules: &Rules, counts: Counts, now: Nanos) -> Option<Why> {
        let Counts { calls, failures, slow } = counts;
        if calls >= rules.min_calls {
            if failures > 0 && share(failures, calls) >= rules.failure_rate {
                return Some(Why::Failures { failures, calls });
            }
            if slow > 0 && share(slow, calls) >= rules.slow_rate {
                return Some(Why::Slow { slow, calls });
            }
        }
        let Run { failures, first } = self.run;
        let over = now.saturating_sub(first);
        (rules.run.is_some_and(|run| failures >= run) && over >= rules.window).then_some(Why::Run { failures, over })
    }

    /// How often the open time would be doubled now.
    fn level_at(&self, rules: &Rules, now: Nanos) -> u32 {
        let closed_for = if matches!(self.phase, Phase::Closed(_)) { now.saturating_sub(self.since) } else { 0 };
        self.level.saturating_sub(u32::try_from(closed_for / rules.window.max(1)).unwrap_or(u32::MAX))
    }

    fn open(&mut self, rules: &Rules, why: Why, retry_after: Option<Nanos>, now: Nanos) -> Change {
        let level = self.level_at(rules, now);
        let grown = 1_u64.checked_shl(level).map_or(Nanos::MAX, |times| rules.open_for.saturating_mul(times));
        // Doublings that make it no longer are not counted: after a long outage they would take as long to be forgotten.
        self.level = level.saturating_add(u32::from(grown < rules.open_for_max));
        let open_for = grown.min(rules.open_for_max).max(retry_after.unwrap_or(0).min(LONGEST_RETRY_AFTER));
        self.totals.opened += 1;
        self.run = Run::default();
        self.enter(Phase::Open { until: now.saturating_add(open_for) }, now, why)
    }

    fn close(&mut self, rules: &Rules, now: Nanos, why: Why) -> Change {
        self.run = Run::default();
        self.enter(Phase::Closed(Window::new(rules, now)), now, why)
    }

    /// Refuses every call from now on, for the given time or until it is reset.
    pub(crate) fn force_open(&mut self, lasts: Option<Nanos>, now: Nanos) -> Option<Change> {
        let until = lasts.map(|lasts| now.saturating_add(lasts));
        self.report_if_new(|state| state.enter(Phase::Forced { until }, now, Why::Forced))
    }

    /// Admits every call from now on.
    pub(crate) fn disable(&mut self, now: Nanos) -> Option<Change> {
        self.report_if_new(|state| state.enter(Phase::Disabled, now, Why::Disabled))
    }

    /// Closes it as if it were new, except for its totals.
    pub(crate) fn reset(&mut self, rules: &Rules, now: Nanos) -> Option<Change> {
        self.level = 0;
        self.heard = now;
        self.report_if_new(|state| state.close(rules, now, Why::Reset))
    }

    fn report_if_new(&mut self, change: impl FnOnce(&mut Self) -> Change) -> Option<Change> {
        let change = change(self);
        (change.from != change.to).then_some(change)
    }

    pub(crate) fn statistics(&mut self, now: Nanos) -> Statistics {
        let state = self.kind(now);
        let counts = if let Phase::Closed(window) = &mut self.phase { window.counts(now) } else { Counts::default() };
        Statistics {
            state,
            state_for: now.saturating_sub(self.since),
            totals: self.totals,
            window_calls: counts.calls,
            failure_rate: share(counts.failures, counts.calls),
            slow_rate: share(counts.slow, counts.calls),
        }
    }

    /// True if a new breaker would be equivalent: no failure of the last window would be lost, nor an open state.
    pub(crate) fn is_forgettable(&mut self, rules: &Rules, now: Nanos) -> bool {
        let level = self.level_at(rules, now);
        let is_quiet = self.heard.saturating_add(rules.window) <= now;
        // It has not been called for so long that its open time has lost its meaning.
        let is_over = |until: Nanos| until.saturating_add(rules.open_for_max.max(rules.window)) <= now;
        match &mut self.phase {
            Phase::Closed(window) => level == 0 && (is_quiet || self.run.failures == 0 && window.counts(now).is_spotless()),
            Phase::Open { until } | Phase::Forced { until: Some(until) } => is_over(*until),
            Phase::HalfOpen(_) => is_over(self.heard.saturating_add(rules.probe_timeout)),
            Phase::Forced { until: None } | Phase::Disabled => false,
        }
    }
}
