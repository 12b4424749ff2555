//! Models of the queue's protocol paths: every interleaving of two or three threads, each model with the promise it guards.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_queue`. A waiter that nobody wakes is a deadlock, which loom reports.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sluicegate_core::buffer::Fifo;
use sluicegate_core::clock::Clock;
use sluicegate_core::queue::{Admission, GetError, PutError, Queue, Spot, Taken, UNBOUNDED};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Fifos = Queue<Fifo<u32>, Arc<Parker>, Threads>;

fn queue(limit: usize) -> Arc<Fifos> {
    Arc::new(Queue::new(Fifo::default(), limit, Clock::Monotonic))
}

/// What the binding's blocking gate does, without time and signals.
fn until<R>(mut attempt: impl FnMut(&mut Spot, &Arc<Parker>) -> Option<R>) -> R {
    let parker = Arc::new(Parker::default());
    let mut spot = Spot::default();
    loop {
        parker.reset();
        if let Some(result) = attempt(&mut spot, &parker) {
            return result;
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

fn get(queue: &Fifos) -> Result<u32, GetError> {
    until(|spot, parker| {
        let (wakes, result) = queue.get_or_wait((), spot, parker);
        wakes.fire();
        match result {
            Err(GetError::Empty) => None,
            result => Some(result),
        }
    })
}

fn put(queue: &Fifos, item: u32) -> Result<(), PutError<u32>> {
    until(|spot, parker| {
        let (wakes, result) = queue.put_or_wait((), item, spot, parker);
        wakes.fire();
        match result {
            Err(PutError::Full(_)) => None,
            result => Some(result),
        }
    })
}

fn put_now(queue: &Fifos, item: u32) {
    let (wakes, result) = queue.try_put((), item, Admission::Immediate);
    wakes.fire();
    assert_eq!(result, Ok(()));
}

/// Nothing lost: a put reaches a getter, however it races with the getter's falling asleep.
#[test]
fn a_put_races_with_a_getter_falling_asleep() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || get(&queue))
        };
        put_now(&queue, 7);
        assert_eq!(getter.join().unwrap(), Ok(7));
    });
}

/// Room made is noticed: a get reaches a putter, and both items go through a queue of one.
#[test]
fn a_get_races_with_a_putter_falling_asleep() {
    loom::model(|| {
        let queue = queue(1);
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                put(&queue, 1).unwrap();
                put(&queue, 2).unwrap();
            })
        };
        assert_eq!(get(&queue), Ok(1));
        assert_eq!(get(&queue), Ok(2));
        putter.join().unwrap();
    });
}

/// A wake-up given to a waiter that leaves goes to the next one: a getter that times out at any moment takes nothing with it.
#[test]
fn a_wake_up_races_with_its_waiter_leaving() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        let quitter_parker = Arc::new(Parker::default());
        let mut quitter = Spot::default();
        let (wakes, result) = queue.get_or_wait((), &mut quitter, &quitter_parker);
        wakes.fire();
        assert_eq!(result, Err(GetError::Empty));
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || get(&queue))
        };
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put_now(&queue, 7))
        };
        queue.leave((), &mut quitter).fire();
        assert_eq!(getter.join().unwrap(), Ok(7));
        putter.join().unwrap();
    });
}

/// Shutdown wakes everybody, whatever they are about to do, and what was put before it comes out.
#[test]
fn shutdown_races_with_a_put_and_a_get() {
    loom::model(|| {
        let queue = queue(1);
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, 1).is_ok())
        };
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || usize::from(get(&queue).is_ok()))
        };
        queue.shut_down(()).fire();
        let put = putter.join().unwrap();
        let got = getter.join().unwrap();
        assert_eq!(usize::from(put), got + queue.size(()));
    });
}

/// An arrival that passes a woken waiter cannot leave it asleep beside an item.
#[test]
fn an_arrival_overtakes_a_woken_waiter() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || get(&queue).unwrap())
        };
        put_now(&queue, 1);
        let (wakes, taken) = queue.try_get((), Admission::Queued);
        wakes.fire();
        if taken.is_ok() {
            put_now(&queue, 2);
        }
        let waited = getter.join().unwrap();
        assert_eq!(waited, if taken.is_ok() { 2 } else { 1 });
    });
}

/// A waiter that steps aside (its thread runs a signal handler) holds up nobody, and is woken again once it is back.
#[test]
fn a_put_races_with_a_waiter_stepping_aside() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        let parker = Arc::new(Parker::default());
        let mut spot = Spot::default();
        let _ = queue.get_or_wait((), &mut spot, &parker);
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                put_now(&queue, 1);
                put_now(&queue, 2);
            })
        };
        queue.step_aside((), spot.place().unwrap()).fire();
        assert!(get(&queue).is_ok(), "the wait inside the handler");
        queue.step_back((), spot.place().unwrap()).fire();
        loop {
            if parker.is_notified() {
                parker.reset();
                let (wakes, result) = queue.get_or_wait((), &mut spot, &parker);
                wakes.fire();
                if result.is_ok() {
                    break;
                }
            }
            parker.park(None);
        }
        putter.join().unwrap();
    });
}

/// A join returns when the count reaches zero, even if the next item is put at once.
#[test]
fn the_last_task_done_races_with_a_join() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        put_now(&queue, 1);
        let joiner = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                until(|spot, parker| {
                    let (wakes, done) = queue.join_or_wait((), spot, parker);
                    wakes.fire();
                    done.then_some(())
                });
            })
        };
        let (wakes, done) = queue.task_done(());
        assert!(done);
        wakes.fire();
        joiner.join().unwrap();
    });
}

/// An item on its way out of an iterator holds off the end: it comes out, or its place is given up, before getters are told.
#[test]
fn a_reserved_place_races_with_shutdown() {
    loom::model(|| {
        let queue = queue(1);
        assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let (wakes, result) = queue.fulfil((), 1);
                wakes.fire();
                assert_eq!(result, Ok(()));
            })
        };
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || (get(&queue), get(&queue)))
        };
        queue.shut_down(()).fire();
        assert_eq!(getter.join().unwrap(), (Ok(1), Err(GetError::ShutDown)));
        putter.join().unwrap();
    });
}

/// The baton has one holder, and whoever waits for it gets it.
#[test]
fn two_threads_take_the_baton() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        let inside = Arc::new(AtomicUsize::new(0));
        let work = |queue: Arc<Fifos>, inside: Arc<AtomicUsize>| {
            until(|spot, parker| {
                let (wakes, taken) = queue.take_baton((), spot, parker);
                wakes.fire();
                (taken == Taken::Yes).then_some(())
            });
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            inside.fetch_sub(1, Ordering::SeqCst);
            let (wakes, done) = queue.finish((), 0, 1, 0, |_| true);
            wakes.fire();
            assert!(done);
        };
        let other = {
            let (queue, inside) = (Arc::clone(&queue), Arc::clone(&inside));
            thread::spawn(move || work(queue, inside))
        };
        work(Arc::clone(&queue), inside);
        other.join().unwrap();
        assert_eq!(queue.statistics(()).puts, 2);
    });
}

/// What a worker does: takes items until the end, puts one more for the first, and calls them done only then.
fn work(queue: &Fifos) -> usize {
    queue.start_work(()).fire();
    let mut found = 0;
    while let Ok(item) = get(queue) {
        found += 1;
        if item > 0 {
            put_now(queue, item - 1);
        }
        queue.task_done(()).0.fire();
    }
    queue.stop_work(()).fire();
    found
}

/// Workers that feed themselves all see the end, and not before everything that one of them puts has been worked on.
#[test]
fn workers_end_together_when_the_work_is_done() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        put_now(&queue, 1);
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || work(&queue))
        };
        let mine = work(&queue);
        assert_eq!(mine + other.join().unwrap(), 2);
        assert!(queue.is_shut(()));
    });
}

/// The last producer's leaving, while a worker is finishing: somebody shuts the queue down.
#[test]
fn an_end_closes_while_a_worker_finishes() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        queue.open_end(());
        put_now(&queue, 0);
        let worker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || work(&queue))
        };
        if queue.close_end(()) {
            queue.shut_down(()).fire();
        }
        assert_eq!(worker.join().unwrap() + queue.size(()), 1);
        assert!(queue.is_shut(()));
    });
}
