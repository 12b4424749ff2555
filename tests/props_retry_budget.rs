//! Random retries, successes and pauses against a plain model of a retry budget, which counts in one exact number.
#![cfg(not(loom))]

mod cases;

use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::clock::{Clock, Manual};
use sluicegate_core::retry_budget::{RetryBudget, UNITS};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

#[derive(Clone, Copy, Debug)]
enum Step {
    Retry,
    Success,
    Pass(u64),
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Retry),
        4 => Just(Step::Success),
        2 => (1..2_000_000_000_u64).prop_map(Step::Pass),
        1 => (1..100_u64).prop_map(Step::Pass),
        1 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases(1_000) })]

    #[test]
    fn it_counts_as_the_model_does(
        ratio in 0..2 * UNITS,
        reserve in UNITS..5 * UNITS,
        per_second in 0..2 * UNITS,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        // The model's unit is what a nanosecond adds at the lowest rate.
        const FINE: u128 = 1_000_000_000;
        let clock = Arc::new(Manual::new(5));
        let budget: RetryBudget<Arc<Parker>, Threads> = RetryBudget::new(ratio, reserve, per_second, Clock::Manual(Arc::clone(&clock)));
        let full = u128::from(reserve) * FINE;
        let (mut tokens, mut deposits, mut acquired, mut refused) = (full, 0, 0, 0);
        for step in steps {
            match step {
                Step::Retry => {
                    let goes = tokens >= u128::from(UNITS) * FINE;
                    prop_assert_eq!(budget.try_acquire(()), goes);
                    if goes {
                        tokens -= u128::from(UNITS) * FINE;
                        acquired += 1;
                    } else {
                        refused += 1;
                    }
                }
                Step::Success => {
                    budget.deposit(());
                    tokens = full.min(tokens + u128::from(ratio) * FINE);
                    deposits += 1;
                }
                Step::Pass(time) => {
                    clock.advance(time);
                    tokens = full.min(tokens + u128::from(time) * u128::from(per_second));
                }
                Step::Look => {}
            }
            if !matches!(step, Step::Pass(_)) {
                let seen = budget.statistics(());
                prop_assert_eq!((u128::from(seen.tokens), seen.deposits, seen.acquired, seen.refused), (tokens / FINE, deposits, acquired, refused));
            }
        }
    }
}
