//! A model of the retry budget, over every interleaving.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::clock::Clock;
use sluicegate_core::retry_budget::{RetryBudget, UNITS};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

/// No token is taken twice and none is lost, whatever is taken and added at the same moment.
#[test]
fn each_token_is_taken_once() {
    loom::model(|| {
        let budget: Arc<RetryBudget<Arc<Parker>, Threads>> = Arc::new(RetryBudget::new(UNITS, UNITS, 0, Clock::Monotonic));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let budget = Arc::clone(&budget);
                thread::spawn(move || budget.try_acquire(()))
            })
            .collect();
        budget.deposit(());
        let taken: u64 = threads.into_iter().map(|thread| u64::from(thread.join().unwrap())).sum();
        let seen = budget.statistics(());
        // One is there at first. The other is lost only where it comes before the first has been taken.
        assert!(
            (taken, seen.tokens) == (1, 0) || (taken, seen.tokens) == (1, UNITS) || (taken, seen.tokens) == (2, 0),
            "{seen:?}"
        );
        assert_eq!((seen.acquired, seen.refused), (taken, 2 - taken));
    });
}
