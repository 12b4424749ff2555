//! Models of one parker: every interleaving of its owner, who looks for a while and then sleeps, with a waker.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use sluicegate_core::wait::Parker;

/// As `wait::spinning` does: a few looks at the word, then sleep.
fn wait(parker: &Parker, looks: u32) {
    for _ in 0..looks {
        if parker.is_notified() {
            return;
        }
        thread::yield_now();
    }
    while !parker.is_notified() {
        parker.park(None);
    }
}

/// Nothing lost: a wake-up reaches a waiter that spins, one that is falling asleep and one that sleeps, and with it what the waker wrote.
#[test]
fn a_wake_up_races_with_a_waiter_that_spins_and_falls_asleep() {
    loom::model(|| {
        let (parker, item) = (Arc::new(Parker::default()), Arc::new(AtomicU32::new(0)));
        let waker = {
            let (parker, item) = (Arc::clone(&parker), Arc::clone(&item));
            thread::spawn(move || {
                item.store(1, Ordering::Relaxed);
                parker.unpark();
            })
        };
        wait(&parker, 2);
        assert_eq!(item.load(Ordering::Relaxed), 1);
        waker.join().unwrap();
    });
}

/// A wake-up that falls between a spin that saw one and the next wait is not lost to the reset: the look after it sees what the waker did,
/// even without a section that would order the two.
#[test]
fn a_wake_up_races_with_the_reset_before_the_next_wait() {
    loom::model(|| {
        let (parker, items) = (Arc::new(Parker::default()), Arc::new(AtomicU32::new(0)));
        let waker = {
            let (parker, items) = (Arc::clone(&parker), Arc::clone(&items));
            thread::spawn(move || {
                for _ in 0..2 {
                    items.fetch_add(1, Ordering::Relaxed);
                    parker.unpark();
                }
            })
        };
        let mut seen = 0;
        while seen < 2 {
            parker.reset();
            let there = items.load(Ordering::Relaxed);
            if there == seen {
                wait(&parker, 1);
            }
            seen = there;
        }
        waker.join().unwrap();
    });
}
