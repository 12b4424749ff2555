//! The law itself: what has been let go, when, and whether that was too much for any window.

use sluicegate_core::clock::Nanos;
use sluicegate_core::rate::Units;

use super::model::Rule;

#[derive(Clone, Copy, Debug)]
struct Grant {
    at: Nanos,
    n: Units,
}

/// Amounts that went, and when, and what the law was by then.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    rules: Vec<(Nanos, Rule)>,
    grants: Vec<Option<Grant>>,
    refunds: Vec<Grant>,
}

impl Ledger {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rules: vec![(0, rule)], grants: Vec::new(), refunds: Vec::new() }
    }

    pub(crate) fn grant(&mut self, n: Units, at: Nanos) -> usize {
        self.grants.push(Some(Grant { at, n }));
        self.grants.len() - 1
    }

    /// It did not go after all.
    pub(crate) fn strike(&mut self, index: usize) {
        self.grants[index] = None;
    }

    /// It was that much, which is no more. Of nothing, nothing was let go.
    pub(crate) fn lessen(&mut self, index: usize, n: Units) {
        self.grants[index] = self.grants[index].map(|grant| Grant { n, ..grant }).filter(|_| n > 0);
    }

    pub(crate) fn refund(&mut self, n: Units, at: Nanos) {
        self.refunds.push(Grant { at, n });
    }

    pub(crate) fn rule(&self) -> Rule {
        self.rules.last().expect("one at first").1
    }

    /// Another law. What had been promised under the old one for later is nobody's business any more.
    pub(crate) fn change(&mut self, rule: Rule, now: Nanos) {
        self.rules.push((now, rule));
        for grant in &mut self.grants {
            *grant = grant.filter(|grant| grant.at <= now);
        }
    }

    /// The rules in force between two moments, each with its part of the time.
    fn in_force(&self, start: Nanos, end: Nanos) -> impl Iterator<Item = (Rule, Nanos)> {
        self.rules.iter().enumerate().filter_map(move |(index, (since, rule))| {
            let until = self.rules.get(index + 1).map_or(Nanos::MAX, |(next, _)| *next);
            let (from, to) = (start.max(*since), end.min(until));
            (from <= to).then(|| (*rule, to - from))
        })
    }

    /// The most that may go between two moments, without what comes back.
    fn most(&self, start: Nanos, end: Nanos) -> u128 {
        let mut in_force = self.in_force(start, end);
        let per_nano = |rule| match rule {
            Rule::Bucket { per_nano, .. } | Rule::Shaper { per_nano, .. } => u128::from(per_nano),
            Rule::Window { .. } => 0,
        };
        let burst = |rule| match rule {
            Rule::Bucket { burst, .. } => u128::from(burst),
            Rule::Window { limit, .. } => u128::from(limit),
            Rule::Shaper { .. } => 0,
        };
        // Changed at the very start, the larger one: either may have let go what went then.
        let at_once = self.in_force(start, start).map(|(rule, _)| burst(rule)).max().unwrap_or(0);
        at_once + in_force.by_ref().map(|(rule, time)| per_nano(rule) * u128::from(time)).sum::<u128>()
    }

    /// In no window was more let go than the law allows, what was refunded meanwhile counted back.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut grants: Vec<Grant> = self.grants.iter().flatten().copied().collect();
        grants.sort_by_key(|grant| grant.at);
        for (index, first) in grants.iter().enumerate() {
            let mut sum = 0_u128;
            for last in &grants[index..] {
                // A window's law is looked at where it did not change.
                let mut rules = self.in_force(first.at, last.at).map(|(rule, _)| rule);
                match (rules.next(), rules.next()) {
                    (Some(Rule::Window { .. }), Some(_)) => break,
                    (Some(Rule::Window { period, .. }), _) if last.at - first.at >= period => break,
                    _ => {}
                }
                let before = sum;
                sum += u128::from(last.n);
                // In a shaper what went before has been paid for.
                let counts = if matches!(self.rule(), Rule::Shaper { .. }) { before } else { sum };
                let refunds = self.refunds.iter().filter(|refund| (first.at..=last.at).contains(&refund.at));
                let back: u128 = refunds.map(|refund| u128::from(refund.n)).sum();
                let most = self.most(first.at, last.at);
                if counts > most + back {
                    return Err(format!("{counts} of at most {most} + {back} from {} to {}: {grants:?}", first.at, last.at));
                }
            }
        }
        Ok(())
    }
}
