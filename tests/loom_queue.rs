//! Models of the queue's protocol paths: every interleaving of two or three threads, each model with the promise it guards.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_queue`. A waiter that nobody wakes is a deadlock, which loom reports.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sluicegate_core::buffer::{Buffer, Fifo};
use sluicegate_core::clock::{Clock, Manual};
use sluicegate_core::queue::{
    Admission, Admitted, Attempt, BatchBounds, BatonTaken, Composition, Due, GetError, LateItems, Linger, MutexTaken, NotLater,
    Overflow, PutError, Queue, Side, State, Terms, UNBOUNDED, Waiter,
};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::{Parker, Wakes};

type Fifos = Queue<Fifo<u32>, Arc<Parker>, Threads>;

fn queue(limit: usize) -> Arc<Fifos> {
    Arc::new(Queue::new(Fifo::default(), limit, Clock::Monotonic))
}

/// What the binding's blocking gate does, without time and signals.
fn until<R>(mut attempt: impl FnMut(&mut Waiter, &Arc<Parker>) -> Option<R>) -> R {
    let parker = Arc::new(Parker::default());
    let mut waiter = Waiter::default();
    loop {
        parker.reset();
        if let Some(result) = attempt(&mut waiter, &parker) {
            return result;
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

fn get(queue: &Fifos) -> Result<u32, GetError> {
    until(|waiter, parker| {
        let (wakes, result) = queue.get_or_wait((), waiter, parker);
        wakes.fire();
        match result {
            Err(GetError::Empty | GetError::Locked) => None,
            result => Some(result),
        }
    })
}

fn put(queue: &Fifos, item: u32) -> Result<(), PutError<u32>> {
    until(|waiter, parker| {
        let (wakes, result) = queue.put_or_wait((), item, waiter, parker);
        wakes.fire();
        match result {
            Err(PutError::Full(_) | PutError::Locked(_)) => None,
            result => Some(result),
        }
    })
}

type Inside = State<Fifo<u32>, Arc<Parker>, ()>;

/// What the binding does with the mutex: waits for it, works, gives it back.
fn with_guard<R>(queue: &Fifos, owner: u64, work: impl FnOnce(&mut Inside, &mut Wakes<Arc<Parker>>) -> R) -> R {
    lock_mutex(queue, owner);
    let (wakes, result) = queue.step((), Some(owner), work);
    wakes.fire();
    give_back(queue, owner);
    result.unwrap()
}

fn lock_mutex(queue: &Fifos, owner: u64) {
    until(|waiter, parker| {
        let (wakes, taken) = queue.lock_mutex((), owner, Some(Fifo::default()), Some((waiter, parker)));
        wakes.fire();
        (taken == MutexTaken::Yes).then_some(())
    });
}

fn give_back(queue: &Fifos, owner: u64) {
    let (wakes, late) = queue.unlock_mutex((), owner);
    wakes.fire();
    assert_eq!(late, Ok(LateItems::default()));
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
        let mut quitter = Waiter::default();
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
        queue.shut_down(()).0.fire();
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
        let mut waiter = Waiter::default();
        let _ = queue.get_or_wait((), &mut waiter, &parker);
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                put_now(&queue, 1);
                put_now(&queue, 2);
            })
        };
        queue.step_aside((), waiter.position().unwrap()).fire();
        assert!(get(&queue).is_ok(), "the wait inside the handler");
        queue.step_back((), waiter.position().unwrap()).fire();
        loop {
            if parker.is_notified() {
                parker.reset();
                let (wakes, result) = queue.get_or_wait((), &mut waiter, &parker);
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
                until(|waiter, parker| {
                    let (wakes, done) = queue.join_or_wait((), waiter, parker);
                    wakes.fire();
                    done.then_some(())
                });
            })
        };
        let (wakes, done) = queue.task_done(());
        assert_eq!(done, Ok(true));
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
                assert_eq!(result, Ok(None));
            })
        };
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || (get(&queue), get(&queue)))
        };
        queue.shut_down(()).0.fire();
        assert_eq!(getter.join().unwrap(), (Ok(1), Err(GetError::ShutDown)));
        putter.join().unwrap();
    });
}

/// The baton has one holder, and every waiter for it gets it.
#[test]
fn two_threads_take_the_baton() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        let inside = Arc::new(AtomicUsize::new(0));
        let work = |queue: Arc<Fifos>, inside: Arc<AtomicUsize>| {
            until(|waiter, parker| {
                let (wakes, taken) = queue.take_baton((), None, waiter, parker);
                wakes.fire();
                (taken == BatonTaken::Yes).then_some(())
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

/// A putter that waits for room is not left asleep beside an item that its own can be merged into: the put of that item lets it look again.
#[test]
fn an_item_that_another_can_be_merged_into_comes_while_that_waits_for_room() {
    loom::model(|| {
        let queue = queue(1);
        put_now(&queue, 0);
        let is_there = Arc::new(AtomicUsize::new(0)); // changed by the holder of the baton only
        let waiter = {
            let (queue, is_there) = (Arc::clone(&queue), Arc::clone(&is_there));
            thread::spawn(move || {
                until(|waiter, parker| {
                    until(|waiter, parker| {
                        let (wakes, taken) = queue.take_baton((), None, waiter, parker);
                        wakes.fire();
                        (taken == BatonTaken::Yes).then_some(())
                    });
                    if is_there.load(Ordering::SeqCst) == 1 {
                        let (wakes, _) = queue.finish((), 0, 0, 0, |_| true);
                        wakes.fire();
                        queue.leave((), waiter).fire();
                        return Some(());
                    }
                    let (wakes, admitted) = queue.admit_put((), (1, 0, 0), Some((waiter, parker)), |_| ());
                    wakes.fire();
                    assert_eq!(admitted, Admitted::Refused);
                    None
                });
            })
        };
        until(|waiter, parker| {
            let (wakes, taken) = queue.take_baton((), None, waiter, parker);
            wakes.fire();
            (taken == BatonTaken::Yes).then_some(())
        });
        is_there.store(1, Ordering::SeqCst);
        let (wakes, _) = queue.finish((), 0, 0, 0, |_| true);
        wakes.fire();
        queue.prod_putters(()).fire();
        waiter.join().unwrap();
        assert_eq!(queue.statistics(()).waiting_putters, 0);
    });
}

/// What a worker does: takes items until the end, puts one more for the first, and calls them done only then.
fn work(queue: &Fifos, worker: u64) -> usize {
    queue.start_work((), worker).0.fire();
    let mut found = 0;
    while let Ok(item) = get(queue) {
        found += 1;
        if item > 0 {
            put_now(queue, item - 1);
        }
        queue.task_done(()).0.fire();
    }
    queue.stop_work((), worker).fire();
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
            thread::spawn(move || work(&queue, 1))
        };
        let mine = work(&queue, 2);
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
            thread::spawn(move || work(&queue, 1))
        };
        if queue.close_end(()) {
            queue.shut_down(()).0.fire();
        }
        assert_eq!(worker.join().unwrap() + queue.size(()), 1);
        assert!(queue.is_shut(()));
    });
}

/// A block under the mutex is one step, and every waiter for the mutex gets it: two threads move what is in the queue by one each, in two steps.
#[test]
fn two_threads_take_the_guard() {
    loom::model(|| {
        let queue = queue(1);
        put_now(&queue, 0);
        let work = |queue: &Fifos, owner| {
            lock_mutex(queue, owner);
            let item = queue.step((), Some(owner), |state, wakes| state.get(Admission::Immediate, wakes)).1.unwrap().unwrap();
            let put = queue.step((), Some(owner), |state, wakes| state.put(item + 1, Admission::Immediate, wakes)).1;
            assert_eq!(put, Ok(Ok(())));
            give_back(queue, owner);
        };
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || work(&queue, 1))
        };
        work(&queue, 2);
        other.join().unwrap();
        assert_eq!(get(&queue), Ok(2));
    });
}

/// What is put under the mutex wakes waiters when the mutex is given back, however that races with a getter's falling asleep.
#[test]
fn the_guard_comes_back_while_a_getter_falls_asleep() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || get(&queue))
        };
        assert_eq!(with_guard(&queue, 1, |state, wakes| state.put(7, Admission::Immediate, wakes)), Ok(()));
        assert_eq!(getter.join().unwrap(), Ok(7));
    });
}

/// Room made under the mutex is noticed by a putter, which may come at any moment of the block.
#[test]
fn the_guard_comes_back_while_a_putter_falls_asleep() {
    loom::model(|| {
        let queue = queue(1);
        put_now(&queue, 1);
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, 2))
        };
        let got = with_guard(&queue, 1, |state, wakes| state.get(Admission::Immediate, wakes));
        assert_eq!(got, Ok(1));
        assert_eq!(putter.join().unwrap(), Ok(()));
        assert_eq!(get(&queue), Ok(2));
    });
}

/// One that gives up its place while the mutex is locked, or as it comes back, takes no wake-up with it.
#[test]
fn the_guard_comes_back_while_a_waiter_leaves() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        let quitter_parker = Arc::new(Parker::default());
        let mut quitter = Waiter::default();
        queue.get_or_wait((), &mut quitter, &quitter_parker).0.fire();
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || get(&queue))
        };
        let owner = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || with_guard(&queue, 1, |state, wakes| state.put(7, Admission::Immediate, wakes)).unwrap())
        };
        queue.leave((), &mut quitter).fire();
        assert_eq!(getter.join().unwrap(), Ok(7));
        owner.join().unwrap();
    });
}

/// A shutdown under the mutex reaches a getter that waits, and nobody sees the end while the mutex is locked.
#[test]
fn a_shutdown_under_the_guard_races_with_a_getter() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || (get(&queue), get(&queue)))
        };
        lock_mutex(&queue, 1);
        let (wakes, done) = queue.step((), Some(1), |state, wakes| state.shut_down_with(|(), _| (), wakes));
        wakes.fire();
        assert!(done.is_ok());
        // By hand, which no shutdown forbids: it is still before the end for everybody else.
        let (wakes, done) = queue.step((), Some(1), |state, wakes| state.edit(|buffer| buffer.push(7), wakes));
        wakes.fire();
        assert!(done.is_ok());
        give_back(&queue, 1);
        assert_eq!(getter.join().unwrap(), (Ok(7), Err(GetError::ShutDown)));
    });
}

/// Who watches and then waits for the mutex misses no put that came after it began.
#[test]
fn a_put_races_with_a_watcher_falling_asleep() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        lock_mutex(&queue, 1);
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || put(&queue, 7))
        };
        let parker = Arc::new(Parker::default());
        let (wakes, watched) = queue.begin_condition_wait((), 1, Side::Get, &parker);
        wakes.fire();
        let (watch, _, _) = watched.unwrap();
        while !queue.is_notified((), &watch) {
            while !parker.is_notified() {
                parker.park(None);
            }
            parker.reset();
        }
        let (wakes, notified) = queue.end_condition_wait((), &watch, false);
        wakes.fire();
        assert!(notified);
        lock_mutex(&queue, 1);
        assert_eq!(queue.size(()), 1);
        give_back(&queue, 1);
        assert_eq!(putter.join().unwrap(), Ok(()));
    });
}

/// An item whose place was promised comes in, whether its putter finds the mutex locked or not.
#[test]
fn a_promised_place_is_filled_while_the_guard_comes_back() {
    loom::model(|| {
        let queue = queue(1);
        assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
        lock_mutex(&queue, 1);
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut item = 7;
                loop {
                    let (wakes, result) = queue.fulfil((), item);
                    wakes.fire();
                    let Err(PutError::Locked(back)) = result else { return assert_eq!(result, Ok(None)) };
                    match queue.fulfil_later((), back, Terms::NONE) {
                        Ok(()) => return,
                        Err(NotLater::Unlocked(back) | NotLater::NoMemory(back)) => item = back,
                    }
                }
            })
        };
        give_back(&queue, 1);
        assert_eq!(get(&queue), Ok(7));
        putter.join().unwrap();
    });
}

/// What a put under a policy that drops comes to.
/// As the binding does it: the fast path first.
fn put_or_drop(queue: &Fifos, item: u32) -> Option<u32> {
    if let Some(dropped) = queue.displace_uncontended((), || item) {
        return Some(dropped.item);
    }
    let (wakes, result) = queue.put_or_drop((), item);
    wakes.fire();
    result.expect("the queue drops rather than refuse").map(|dropped| dropped.item)
}

/// Nobody sleeps beside a policy under which nobody waits: a putter that falls asleep while the policy changes meets the new one.
#[test]
fn a_change_of_policy_races_with_a_putter_falling_asleep() {
    loom::model(|| {
        let queue = queue(1);
        put_now(&queue, 1);
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || match put(&queue, 2) {
                Err(PutError::Overflows(item)) => put_or_drop(&queue, item),
                result => panic!("{result:?}"),
            })
        };
        queue.set_overflow((), Overflow::DropOldest).fire();
        assert_eq!(putter.join().unwrap(), Some(1));
        assert_eq!(get(&queue), Ok(2));
    });
}

/// Nothing lost, nothing twice: each item that two putters push through a full queue of one is taken, dropped, or still there.
#[test]
fn two_putters_displace_each_other_while_a_getter_takes() {
    loom::model(|| {
        let queue = queue(1);
        queue.set_overflow((), Overflow::DropOldest).fire();
        put_now(&queue, 1);
        let putters: Vec<_> = [2, 3]
            .into_iter()
            .map(|item| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || put_or_drop(&queue, item))
            })
            .collect();
        let mut seen = vec![get(&queue).unwrap()];
        seen.extend(putters.into_iter().filter_map(|putter| putter.join().unwrap()));
        while let (wakes, Ok(item)) = queue.try_get((), Admission::Immediate) {
            wakes.fire();
            seen.push(item);
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3]);
        assert_eq!(queue.unfinished(()), 3 - i64::try_from(queue.statistics(()).dropped.iter().sum::<u64>()).unwrap());
    });
}

/// Nothing lost, nothing twice: an item whose time has passed is given up once, whoever finds it, a getter or a putter that needs its place;
/// the putter gets the place, and the getter the item that follows.
#[test]
fn a_putter_and_a_getter_find_the_same_expired_item() {
    loom::model(|| {
        let clock = std::sync::Arc::new(Manual::new(0));
        let queue: Arc<Fifos> = Arc::new(Queue::new(Fifo::default(), 1, Clock::Manual(std::sync::Arc::clone(&clock))));
        let (wakes, _, result) = queue.put_composed((), 1, Terms { weight: 0, due: Due::In(1) }, Attempt::Now);
        wakes.fire();
        result.unwrap();
        clock.advance(1); // nobody else is here yet: from now on it is only read
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut lost = Vec::new();
                until(|waiter, parker| {
                    let (wakes, more, result) = queue.put_composed((), 2, Terms::NONE, Attempt::Wait(waiter, parker));
                    wakes.fire();
                    lost.extend(more.into_vec().into_iter().map(|dropped| dropped.item));
                    result.ok()
                });
                lost
            })
        };
        let mut lost = Vec::new();
        let got = until(|waiter, parker| {
            let (wakes, more, result) = queue.get_composed((), Attempt::Wait(waiter, parker));
            wakes.fire();
            lost.extend(more.into_vec().into_iter().map(|dropped| dropped.item));
            result.ok()
        });
        lost.extend(putter.join().unwrap());
        assert_eq!((got, lost), (2, vec![1]));
        assert_eq!((queue.size(()), queue.unfinished(())), (0, 1));
    });
}

/// A batch that lingers by weight is not left asleep beside the item that makes it heavy enough.
#[test]
fn a_heavy_item_races_with_a_batch_falling_asleep() {
    loom::model(|| {
        let queue = queue(UNBOUNDED);
        queue.compose((), &Composition { max_weight: Some(9), ..Composition::default() }).unwrap();
        let getter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                until(|waiter, parker| {
                    let bounds = BatchBounds { max: 9, max_weight: 3 };
                    let (wakes, _lost, result) = queue.get_many_composed((), bounds, Linger::On, Attempt::Wait(waiter, parker));
                    wakes.fire();
                    result.ok()
                })
            })
        };
        for (item, weight) in [(1, 1), (2, 2)] {
            let (wakes, _lost, result) = queue.put_composed((), item, Terms { weight, due: Due::Never }, Attempt::Now);
            wakes.fire();
            result.unwrap();
        }
        assert_eq!(getter.join().unwrap(), [1, 2]);
    });
}
