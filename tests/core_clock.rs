//! The manual clock: what a test sees of it while others wait on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sluicegate_core::clock::{Manual, nanos, seconds};
use sluicegate_core::wait::Parker;

#[test]
fn a_wait_that_is_rescheduled_is_seen_once_at_every_moment() {
    let clock = Manual::new(0);
    let done = AtomicBool::new(false);
    let mut wait = clock.enroll(None, Arc::new(Parker::default()));
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(clock.waits(), 1);
            }
        });
        for turn in 0..50_000 {
            wait = clock.reschedule(wait, (turn % 2 == 0).then_some(1_000));
        }
        done.store(true, Ordering::Relaxed);
        watching.join().expect("it saw one wait each time");
    });
    drop(clock.withdraw(wait));
    assert_eq!(clock.waits(), 0);
}

#[test]
fn a_rescheduled_wait_is_due_at_its_new_deadline_alone() {
    let clock = Manual::new(0);
    let parker = Arc::new(Parker::default());
    let wait = clock.enroll(Some(10), Arc::clone(&parker));
    let wait = clock.reschedule(wait, Some(20));
    clock.advance(19);
    assert!(!parker.is_notified());
    clock.advance(1);
    assert!(parker.is_notified());

    parker.reset();
    let wait = clock.reschedule(wait, None); // it has been due already
    clock.advance(100);
    assert!(!parker.is_notified());
    let wait = clock.reschedule(wait, Some(5)); // and this has been long ago
    assert!(parker.is_notified());
    drop(clock.withdraw(wait));
}

/// Also where the short way of `nanos` ends, at a million seconds.
#[test]
fn seconds_come_back_as_the_same_nanoseconds() {
    let mut random = 1_u64;
    for step in 0..200_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let time = match step % 4 {
            0 => random >> 44,
            1 => (random >> 34) % 1_000_000_000,
            2 => (random >> 12) % 4_000_000_000_000_000, // 46 days
            _ => 999_999_999_900_000 + (random >> 46) % 200_000,
        };
        assert_eq!(nanos(seconds(time)), time);
    }
    assert!((0..4_000_000).step_by(997).all(|whole| nanos(f64::from(whole)) == u64::try_from(whole).unwrap() * 1_000_000_000));
}
