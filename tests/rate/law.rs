//! The law itself: what has been let go, when, and whether that was too much for any window.

use penstock_core::clock::Nanos;
use penstock_core::rate::Units;

use super::model::Rule;

#[derive(Clone, Copy, Debug)]
struct Grant {
    at: Nanos,
    n: Units,
}

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    rule: Rule,
    grants: Vec<Option<Grant>>,
    refunds: Vec<Grant>,
}

impl Ledger {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, grants: Vec::new(), refunds: Vec::new() }
    }

    pub(crate) fn grant(&mut self, n: Units, at: Nanos) -> usize {
        self.grants.push(Some(Grant { at, n }));
        self.grants.len() - 1
    }

    /// It did not go after all.
    pub(crate) fn strike(&mut self, index: usize) {
        self.grants[index] = None;
    }

    pub(crate) fn refund(&mut self, n: Units, at: Nanos) {
        self.refunds.push(Grant { at, n });
    }

    /// In no window was more let go than the law allows, what was refunded meanwhile counted back.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut grants: Vec<Grant> = self.grants.iter().flatten().copied().collect();
        grants.sort_by_key(|grant| grant.at);
        for (index, first) in grants.iter().enumerate() {
            let mut sum = 0_u128;
            for last in &grants[index..] {
                let refunds = self.refunds.iter().filter(|refund| (first.at..=last.at).contains(&refund.at));
                let back: u128 = refunds.map(|refund| u128::from(refund.n)).sum();
                let time = u128::from(last.at - first.at);
                let (sum_then, most) = match self.rule {
                    Rule::Bucket { per_nano, burst } => {
                        (sum + u128::from(last.n), u128::from(burst) + u128::from(per_nano) * time)
                    }
                    // What went before has been paid for.
                    Rule::Shaper { per_nano, .. } => (sum, u128::from(per_nano) * time),
                    Rule::Window { period, .. } if time >= u128::from(period) => break,
                    Rule::Window { limit, .. } => (sum + u128::from(last.n), u128::from(limit)),
                };
                if sum_then > most + back {
                    return Err(format!("{sum_then} of at most {most} + {back} from {} to {}: {grants:?}", first.at, last.at));
                }
                sum += u128::from(last.n);
            }
        }
        Ok(())
    }
}
