//! Models of selections, over every interleaving. Each says which promise it guards.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::clock::Clock;
use sluicegate_core::section::Threads;
use sluicegate_core::select::Draw;
use sluicegate_core::semaphore::{Overrelease, Semaphore, Waiter};
use sluicegate_core::wait::Parker;

type Permits = Semaphore<Arc<Parker>, Threads>;

fn empty() -> Arc<Permits> {
    Arc::new(Semaphore::new(0, Overrelease::Growing, Clock::Monotonic))
}

fn release(permits: &Permits) {
    let (wakes, result) = permits.release((), 1);
    wakes.fire();
    assert_eq!(result, Ok(()));
}

/// What the binding's `Select` does at its objects, without time and signals. Where the permit came from.
fn select(members: &[Arc<Permits>], seed: u64) -> usize {
    let parker = Arc::new(Parker::default());
    let mut waiters: Vec<Waiter> = members.iter().map(|_| Waiter::default()).collect();
    let mut draw = Draw::new(members.len(), seed).unwrap();
    loop {
        parker.reset();
        let chosen = draw.first_ready(|index| {
            let (wakes, result) = members[index].acquire_or_wait((), 1, &mut waiters[index], &parker);
            wakes.fire();
            result.ok()
        });
        if let Some((index, ())) = chosen {
            for (member, waiter) in members.iter().zip(&mut waiters) {
                member.leave((), waiter).fire();
            }
            return index;
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

/// Nothing lost: two selections over the same two objects get a permit each, from wherever it comes, and leave nothing behind.
#[test]
fn two_selections_over_two_lines_get_one_each() {
    loom::model(|| {
        let members = [empty(), empty()];
        let other = {
            let members = members.clone();
            thread::spawn(move || select(&members, 1))
        };
        let releaser = {
            let members = members.clone();
            thread::spawn(move || {
                release(&members[0]);
                release(&members[1]);
            })
        };
        let here = select(&members, 2);
        let there = other.join().unwrap();
        releaser.join().unwrap();
        assert_ne!(here, there);
        for permits in &members {
            let seen = permits.statistics(());
            assert_eq!((seen.acquired, seen.value, seen.waiters), (1, 0, 0));
        }
    });
}

/// Nothing twice, and a turn that is not used goes to the next: a selection that both objects let go takes one permit, and whoever waits behind
/// it for the other gets that one.
#[test]
fn a_turn_that_a_selection_does_not_use_goes_to_the_next() {
    loom::model(|| {
        let members = [empty(), empty()];
        let selection = {
            let members = members.clone();
            thread::spawn(move || select(&members, 1))
        };
        let releaser = {
            let members = members.clone();
            thread::spawn(move || {
                release(&members[0]);
                release(&members[1]);
                release(&members[1]); // the selection may have the first of these
            })
        };
        assert_eq!(select(&members[1..], 0), 0);
        let chosen = selection.join().unwrap();
        releaser.join().unwrap();
        assert_eq!(members[1 - chosen].statistics(()).value, 1);
        assert_eq!(members[chosen].statistics(()).value, 0);
        assert!(members.iter().all(|permits| permits.statistics(()).waiters == 0));
    });
}
