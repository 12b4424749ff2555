//! Models of the wait queues of a fair queue's keys: every interleaving of two or three threads, each model with the promise it guards.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_fair`. A waiter that nobody wakes is a deadlock, which loom reports.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::buffer::{Fair, Keyed, Rule};
use sluicegate_core::clock::Clock;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::queue::{Admission, Overflow, PutError, Queue, Waiter};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Item = Keyed<u32>;
type Fairs = Queue<Fair<Item>, Arc<Parker>, Threads>;

fn key(number: u32) -> KeyHash {
    KeyHash::new([u64::from(number) + 1, 0])
}

fn item(of: u32, item: u32) -> Item {
    Keyed { key: key(of), rank: 0.0, item }
}

/// With items of these keys in it.
fn queue(limit: usize, per_key: usize, keys: &[u32]) -> Arc<Fairs> {
    let queue = Queue::new(Fair::new(per_key, false), limit, Clock::Monotonic);
    for &key in keys {
        let (wakes, result) = queue.try_put((), item(key, 0), Admission::Immediate);
        wakes.fire();
        assert!(result.is_ok());
    }
    Arc::new(queue)
}

/// What the binding's blocking gate does, without time and signals.
fn put(queue: &Fairs, item: Item) -> Result<(), PutError<Item>> {
    let parker = Arc::new(Parker::default());
    let mut waiter = Waiter::default();
    loop {
        parker.reset();
        let (wakes, result) = queue.put_or_wait((), item, &mut waiter, &parker);
        wakes.fire();
        if !matches!(result, Err(PutError::Full(_) | PutError::Locked(_))) {
            return result;
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

fn get(queue: &Fairs) -> Option<u32> {
    let (wakes, result) = queue.try_get((), Admission::Immediate);
    wakes.fire();
    result.ok().map(|item| item.item)
}

/// An item that leaves wakes the line of its own key, where others wait in another line: here both keys are at their bound.
#[test]
fn the_line_of_the_key_that_has_room_is_woken() {
    loom::model(|| {
        let queue = queue(10, 1, &[1, 2]);
        let putters = [1, 2].map(|key| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(key, 9)))
        });
        assert_eq!((get(&queue), get(&queue)), (Some(0), Some(0)));
        for putter in putters {
            assert_eq!(putter.join().unwrap(), Ok(()));
        }
        assert_eq!(queue.statistics(()).waiting_putters, 0);
        assert_eq!(queue.size(()), 2);
    });
}

/// A waiter that withdraws, woken already or not, passes the room on to the line of another key.
#[test]
fn a_withdrawn_waiter_passes_its_room_on() {
    loom::model(|| {
        let queue = queue(1, 10, &[1]);
        let parker = Arc::new(Parker::default());
        let mut waiter = Waiter::default();
        let (wakes, result) = queue.put_or_wait((), item(2, 1), &mut waiter, &parker);
        wakes.fire();
        assert!(result.is_err());
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(3, 2)))
        };
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || get(&queue))
        };
        queue.leave((), &mut waiter).fire();
        assert!(getter.join().unwrap().is_some());
        assert_eq!(other.join().unwrap(), Ok(()));
    });
}

/// Two of one key, one place: whichever takes it, the other goes when it is free again.
#[test]
fn one_line_is_served_one_after_the_other() {
    loom::model(|| {
        let queue = queue(10, 1, &[1]);
        let putters = [5, 6].map(|number| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(1, number)))
        });
        let mut seen = 0;
        while seen < 2 {
            match get(&queue) {
                Some(_) => seen += 1,
                None => thread::yield_now(),
            }
        }
        for putter in putters {
            assert_eq!(putter.join().unwrap(), Ok(()));
        }
        assert_eq!(queue.size(()), 1);
    });
}

/// A shutdown wakes the lines of all keys.
#[test]
fn a_shutdown_ends_every_line() {
    loom::model(|| {
        let queue = queue(2, 1, &[1, 2]);
        let putters = [1, 2].map(|key| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(key, 9)))
        });
        queue.shut_down(()).0.fire();
        for putter in putters {
            assert!(matches!(putter.join().unwrap(), Err(PutError::ShutDown(_))));
        }
        assert_eq!(queue.size(()), 2);
    });
}

/// Another policy wakes the lines of all keys, and so does a larger bound, whatever else is going on.
#[test]
fn settings_that_change_are_seen_by_every_line() {
    loom::model(|| {
        let queue = queue(1, 1, &[1]);
        let putters = [1, 2].map(|key| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(key, 9)))
        });
        let (wakes, done) = queue.step((), None, |state, wakes| state.edit(|fair| fair.set_per_key(2), wakes));
        wakes.fire();
        assert!(done.is_ok());
        queue.set_overflow((), Overflow::Reject).fire();
        queue.set_limit((), 3).fire();
        for putter in putters {
            assert!(matches!(putter.join().unwrap(), Ok(()) | Err(PutError::Rejected(_))));
        }
        assert_eq!(queue.statistics(()).waiting_putters, 0);
    });
}

/// A reserved place is given to the line of its key, although the common ones are taken and another key waits for one.
#[test]
fn reserved_room_wakes_its_own_key() {
    loom::model(|| {
        let mut fair = Fair::new(10, false);
        fair.try_set_rule(key(1), Rule { weight: 1.0, reserved: 1 }).unwrap();
        let queue: Arc<Fairs> = Arc::new(Queue::new(fair, 2, Clock::Monotonic));
        for of in [2, 1] {
            assert!(queue.try_put((), item(of, of), Admission::Immediate).1.is_ok());
        }
        let putters = [3, 1].map(|of| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(of, of)))
        });
        // One of each kind goes, in the order in which they came.
        assert_eq!(get(&queue), Some(2));
        assert_eq!(get(&queue), Some(1));
        for putter in putters {
            assert_eq!(putter.join().unwrap(), Ok(()));
        }
    });
}
