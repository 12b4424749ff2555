//! Models of a fair queue that keeps notes of its items: every interleaving of two or three threads at the composed paths of keys, each
//! model with the promise it guards.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_fair_composed`. A waiter that nobody wakes is a deadlock, which loom
//! reports. Times to live are on a manual clock, which stands still while the threads run.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::buffer::{Fair, Keyed, Rule};
use sluicegate_core::clock::{Clock, Manual};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::queue::{
    Attempt, BatchError, Composition, DropReason, Due, GetError, Linger, Lost, Overflow, PutError, Queue, Terms, Waiter,
};
use sluicegate_core::section::Threads;
use sluicegate_core::shed::{Codel, Shed};
use sluicegate_core::wait::Parker;

type Item = Keyed<u32>;
type Fairs = Queue<Fair<Item>, Arc<Parker>, Threads>;
type Dropped = Vec<(u32, DropReason)>;

fn key(number: u32) -> KeyHash {
    KeyHash::new([u64::from(number) + 1, 0])
}

fn item(of: u32, item: u32) -> Item {
    Keyed { key: key(of), rank: 0.0, item }
}

fn weighing(weight: u64) -> Terms {
    Terms { weight, due: Due::Never }
}

fn lasting(ttl: u64) -> Terms {
    Terms { weight: 0, due: Due::In(ttl) }
}

fn told(lost: Lost<Item>) -> Dropped {
    lost.into_vec().into_iter().map(|dropped| (dropped.item.item, dropped.reason)).collect()
}

/// The clock, and a queue on it.
fn queue(limit: usize, per_key: usize, composition: Composition) -> (std::sync::Arc<Manual<Arc<Parker>>>, Arc<Fairs>) {
    let clock = std::sync::Arc::new(Manual::new(0));
    let queue = Queue::new(Fair::new(per_key, false), limit, Clock::Manual(std::sync::Arc::clone(&clock)));
    queue.compose((), &composition).unwrap();
    (clock, Arc::new(queue))
}

fn by_weight(max: u64) -> Composition {
    Composition { max_weight: Some(max), ..Composition::default() }
}

fn put_now(queue: &Fairs, item: Item, terms: Terms) {
    let (wakes, lost, result) = queue.put_composed((), item, terms, Attempt::Now);
    wakes.fire();
    assert_eq!((told(lost), result), (Vec::new(), Ok(())));
}

/// What the binding's blocking gate does, without time and signals. The second result is what was dropped for the item.
fn put(queue: &Fairs, item: Item, terms: Terms) -> (Result<(), PutError<Item>>, Dropped) {
    let parker = Arc::new(Parker::default());
    let (mut waiter, mut dropped) = (Waiter::default(), Vec::new());
    loop {
        parker.reset();
        let (wakes, lost, result) = queue.put_composed((), item, terms, Attempt::Wait(&mut waiter, &parker));
        wakes.fire();
        dropped.extend(told(lost));
        if !matches!(result, Err(PutError::Full(_) | PutError::Locked(_))) {
            return (result, dropped);
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

/// The same of a get.
fn get(queue: &Fairs) -> (Result<u32, GetError>, Dropped) {
    let parker = Arc::new(Parker::default());
    let (mut waiter, mut dropped) = (Waiter::default(), Vec::new());
    loop {
        parker.reset();
        let (wakes, lost, result) = queue.get_composed((), Attempt::Wait(&mut waiter, &parker));
        wakes.fire();
        dropped.extend(told(lost));
        if !matches!(result, Err(GetError::Empty | GetError::Locked)) {
            return (result.map(|item| item.item), dropped);
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

/// Room by weight that one heavy item leaves wakes as many light ones as fit, in the lines of all keys.
#[test]
fn weight_that_becomes_free_wakes_the_lines_of_all_keys() {
    loom::model(|| {
        let (_, queue) = queue(10, 10, by_weight(2));
        put_now(&queue, item(1, 0), weighing(2));
        let putters = [1, 2].map(|of| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(of, of), weighing(1)))
        });
        assert_eq!(get(&queue), (Ok(0), Vec::new()));
        for putter in putters {
            assert_eq!(putter.join().unwrap(), (Ok(()), Vec::new()));
        }
        let seen = queue.statistics(());
        assert_eq!((seen.waiting_putters, seen.weight), (0, Some((2, 2))));
    });
}

/// A heavy waiter that withdraws, woken already or not, passes its room on to a light one behind it.
#[test]
fn a_heavy_waiter_that_withdraws_passes_its_room_on() {
    loom::model(|| {
        let (_, queue) = queue(10, 10, by_weight(2));
        put_now(&queue, item(1, 0), weighing(1));
        let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
        let (wakes, _, result) = queue.put_composed((), item(2, 1), weighing(2), Attempt::Wait(&mut waiter, &parker));
        wakes.fire();
        assert!(matches!(result, Err(PutError::Full(_))));
        let light = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(3, 2), weighing(1)))
        };
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || get(&queue))
        };
        queue.leave((), &mut waiter).fire();
        assert!(getter.join().unwrap().0.is_ok());
        assert_eq!(light.join().unwrap(), (Ok(()), Vec::new()));
    });
}

/// An expired item is reported once, by the operation that finds it, and its room goes to a key that waits for it.
#[test]
fn an_expired_item_is_reported_once_and_its_room_is_passed_on() {
    loom::model(|| {
        let (clock, queue) = queue(1, 1, Composition::default());
        put_now(&queue, item(1, 0), lasting(5));
        // This one waits since before that time has passed.
        let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
        let (wakes, lost, result) = queue.put_composed((), item(2, 1), Terms::NONE, Attempt::Wait(&mut waiter, &parker));
        wakes.fire();
        assert!(lost.is_empty() && matches!(result, Err(PutError::Full(_))));
        clock.advance(5);
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || get(&queue))
        };
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(3, 2), Terms::NONE))
        };
        let mut dropped = Vec::new();
        loop {
            while !parker.is_notified() {
                parker.park(None);
            }
            parker.reset();
            let (wakes, lost, result) = queue.put_composed((), item(2, 1), Terms::NONE, Attempt::Wait(&mut waiter, &parker));
            wakes.fire();
            dropped.extend(told(lost));
            if result.is_ok() {
                break;
            }
        }
        let (got, by_getter) = getter.join().unwrap();
        // Two have come for one place: the second goes in when the getter, or this thread, has taken the first.
        let (other, by_other) = get(&queue);
        let (put, by_putter) = putter.join().unwrap();
        assert_eq!(put, Ok(()));
        let mut out = [got.unwrap(), other.unwrap()];
        out.sort_unstable();
        assert_eq!(out, [1, 2]);
        dropped.extend(by_getter.into_iter().chain(by_other).chain(by_putter));
        assert_eq!(dropped, [(0, DropReason::Expired)]);
    });
}

/// Under a policy that drops, of the items of two putters and what was there each is delivered, reported once, or inside.
#[test]
fn each_item_is_delivered_or_reported_or_inside() {
    for policy in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Sample(std::num::NonZeroU64::MIN)] {
        loom::model(move || {
            let (_, queue) = queue(2, 2, by_weight(3));
            queue.set_overflow((), policy).fire();
            put_now(&queue, item(1, 0), weighing(2));
            put_now(&queue, item(2, 1), weighing(1));
            let putters = [(1, 2, 1), (2, 3, 2)].map(|(of, number, weight)| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || put(&queue, item(of, number), weighing(weight)))
            });
            let (wakes, lost, got) = queue.get_composed((), Attempt::Now);
            wakes.fire();
            assert!(lost.is_empty());
            let mut seen: Vec<u32> = got.into_iter().map(|item| item.item).collect();
            for putter in putters {
                let (result, dropped) = putter.join().unwrap();
                assert_eq!(result, Ok(()));
                seen.extend(dropped.into_iter().map(|(item, _)| item));
            }
            let counts = queue.statistics(());
            assert_eq!(counts.dropped.iter().sum::<u64>() + 1 + counts.size as u64, 4);
            while counts.size > 0 && seen.len() < 4 {
                seen.extend(get(&queue).0.ok());
            }
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3]);
            assert_eq!(queue.statistics(()).weight, Some((0, 3)));
        });
    }
}

/// What CoDel sheds of one key makes room in the line of that key; a batch is never empty for it.
#[test]
fn what_is_shed_makes_room_for_its_key() {
    loom::model(|| {
        let shed = Some(Shed::Codel(Codel::new(1, 1)));
        let (clock, queue) = queue(10, 3, Composition { shed, ..Composition::default() });
        for number in 0..3 {
            put_now(&queue, item(1, number), Terms::NONE);
        }
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(1, 3), Terms::NONE))
        };
        clock.advance(10);
        assert_eq!(get(&queue), (Ok(0), Vec::new()), "it is late, but not for a whole interval");
        clock.advance(10);
        let (wakes, lost, batch) = queue.get_many_composed((), 10, Linger::Over, Attempt::Now);
        wakes.fire();
        let mut seen = told(lost);
        assert_eq!(seen.pop(), Some((1, DropReason::Shed)));
        assert!(seen.is_empty() && !matches!(batch, Err(BatchError::Empty)));
        assert_eq!(putter.join().unwrap(), (Ok(()), Vec::new()));
    });
}

/// A shutdown ends the lines of all keys, however much their items weigh; and a smaller bound is told to all who wait.
#[test]
fn a_shutdown_ends_every_line() {
    loom::model(|| {
        let (_, queue) = queue(10, 10, by_weight(2));
        put_now(&queue, item(1, 0), weighing(2));
        let putters = [1, 2].map(|of| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(of, of), weighing(2)))
        });
        queue.set_max_weight((), 1).fire();
        queue.shut_down(()).0.fire();
        for putter in putters {
            assert!(matches!(putter.join().unwrap().0, Err(PutError::ShutDown(_))));
        }
        assert_eq!(queue.statistics(()).waiting_putters, 0);
    });
}

/// A reserved place goes to its key although the weight is bounded and another key waits for more of it.
#[test]
fn reserved_room_wakes_its_own_key() {
    loom::model(|| {
        let mut fair = Fair::new(10, false);
        fair.try_set_rule(key(1), Rule { weight: 1.0, reserved: 1 }).unwrap();
        let queue: Arc<Fairs> = Arc::new(Queue::new(fair, 2, Clock::Monotonic));
        queue.compose((), &by_weight(4)).unwrap();
        put_now(&queue, item(2, 2), weighing(1));
        put_now(&queue, item(1, 1), weighing(1));
        let putters = [3, 1].map(|of| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, item(of, of), weighing(2)))
        });
        assert_eq!(get(&queue).0, Ok(2));
        assert_eq!(get(&queue).0, Ok(1));
        for putter in putters {
            assert_eq!(putter.join().unwrap().0, Ok(()));
        }
    });
}
