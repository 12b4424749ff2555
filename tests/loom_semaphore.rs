//! Models of the semaphore, over every interleaving. Each says which promise it guards.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sluicegate_core::clock::Clock;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::section::Threads;
use sluicegate_core::semaphore::{AcquireError, Keyed, Overrelease, Semaphore, Waiter};
use sluicegate_core::wait::Parker;

type Permits = Semaphore<Arc<Parker>, Threads>;

fn permits(size: u64) -> Arc<Permits> {
    Arc::new(Semaphore::new(size, Overrelease::Growing, Clock::Monotonic))
}

/// What the binding's blocking gate does, without time and signals.
fn acquire_from(permits: &Permits, n: u64, waiter: &mut Waiter, parker: &Arc<Parker>) -> Result<(), AcquireError> {
    loop {
        parker.reset();
        let (wakes, result) = permits.acquire_or_wait((), n, waiter, parker);
        wakes.fire();
        if result != Err(AcquireError::Busy) {
            return result;
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

fn acquire(permits: &Permits, n: u64) -> Result<(), AcquireError> {
    acquire_from(permits, n, &mut Waiter::default(), &Arc::new(Parker::default()))
}

fn release(permits: &Permits, n: u64) {
    let (wakes, result) = permits.release((), n);
    wakes.fire();
    assert_eq!(result, Ok(()));
}

/// A place in the wait queue that has not been woken yet.
fn in_line(permits: &Permits, n: u64) -> (Waiter, Arc<Parker>) {
    let (mut waiter, parker) = (Waiter::default(), Arc::new(Parker::default()));
    let (wakes, result) = permits.acquire_or_wait((), n, &mut waiter, &parker);
    wakes.fire();
    assert_eq!(result, Err(AcquireError::Busy));
    (waiter, parker)
}

/// Never more than there are: two threads take turns with one permit, and both get it.
#[test]
fn two_threads_share_one_permit() {
    loom::model(|| {
        let permits = permits(1);
        let inside = Arc::new(AtomicUsize::new(0));
        let work = |permits: Arc<Permits>, inside: Arc<AtomicUsize>| {
            acquire(&permits, 1).unwrap();
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            inside.fetch_sub(1, Ordering::SeqCst);
            release(&permits, 1);
        };
        let other = {
            let (permits, inside) = (Arc::clone(&permits), Arc::clone(&inside));
            thread::spawn(move || work(permits, inside))
        };
        work(Arc::clone(&permits), inside);
        other.join().unwrap();
        assert_eq!(permits.statistics(()).value, 1);
    });
}

/// Nothing lost: a release reaches a waiter, however it races with the waiter's falling asleep.
#[test]
fn a_release_races_with_a_waiter_falling_asleep() {
    loom::model(|| {
        let permits = permits(0);
        let waiter = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || acquire(&permits, 1))
        };
        release(&permits, 1);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

/// A waiter that needs several permits gets them all, whichever threads release them.
#[test]
fn two_releases_race_for_a_waiter_that_needs_both() {
    loom::model(|| {
        let permits = permits(2);
        permits.try_acquire((), 2).unwrap();
        let waiter = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || acquire(&permits, 2))
        };
        let releaser = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || release(&permits, 1))
        };
        release(&permits, 1);
        releaser.join().unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(permits.statistics(()).value, 0);
    });
}

/// A wake-up given to a waiter that leaves (cancelled, timed out) goes to the next one.
#[test]
fn a_release_races_with_its_waiter_leaving() {
    loom::model(|| {
        let permits = permits(1);
        permits.try_acquire((), 1).unwrap();
        let (mut quitter, _parker) = in_line(&permits, 1);
        let waiter = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || acquire(&permits, 1))
        };
        let releaser = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || release(&permits, 1))
        };
        permits.leave((), &mut quitter).fire();
        assert_eq!(waiter.join().unwrap(), Ok(()));
        releaser.join().unwrap();
    });
}

/// Strict order: an arrival that tries while a waiter is woken and on its way gets nothing that the waiter needs.
#[test]
fn an_arrival_races_with_a_woken_waiter() {
    loom::model(|| {
        let permits = permits(1);
        permits.try_acquire((), 1).unwrap();
        let (mut waiter, parker) = in_line(&permits, 1);
        let arrival = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || permits.try_acquire((), 1))
        };
        release(&permits, 1);
        assert_eq!(acquire_from(&permits, 1, &mut waiter, &parker), Ok(()));
        assert_eq!(arrival.join().unwrap(), Err(AcquireError::Busy));
    });
}

/// A resize to fewer leaves no waiter asleep: the waiter goes before it, or is told that it has become too large.
#[test]
fn a_resize_to_fewer_races_with_a_waiter_that_will_not_fit() {
    loom::model(|| {
        let permits = permits(2);
        permits.try_acquire((), 1).unwrap();
        let waiter = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || acquire(&permits, 2))
        };
        let resizer = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || permits.resize((), 1).fire())
        };
        release(&permits, 1);
        resizer.join().unwrap();
        match waiter.join().unwrap() {
            Ok(()) => assert_eq!(permits.statistics(()).held, 2),
            Err(error) => assert_eq!(error, AcquireError::TooLarge { size: 1 }),
        }
    });
}

/// Growth is noticed by a waiter, however it races with the waiter's falling asleep and with a release.
#[test]
fn growth_races_with_a_release_and_a_waiter() {
    loom::model(|| {
        let permits = permits(2);
        permits.try_acquire((), 2).unwrap();
        let waiter = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || acquire(&permits, 2))
        };
        let resizer = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || permits.resize((), 3).fire())
        };
        release(&permits, 1);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        resizer.join().unwrap();
        assert_eq!(permits.statistics(()).value, 0);
    });
}

/// A waiter that steps aside (its thread runs a signal handler) holds up nobody, and is served once it is back.
#[test]
fn a_release_races_with_a_waiter_stepping_aside() {
    loom::model(|| {
        let permits = permits(1);
        permits.try_acquire((), 1).unwrap();
        let (mut waiter, parker) = in_line(&permits, 1);
        let releaser = {
            let permits = Arc::clone(&permits);
            thread::spawn(move || release(&permits, 1))
        };
        let place = waiter.position().unwrap();
        permits.step_aside((), place).fire();
        acquire(&permits, 1).unwrap(); // the wait inside the handler
        release(&permits, 1);
        permits.step_back((), place).fire();
        while !parker.is_notified() {
            parker.park(None);
        }
        assert_eq!(acquire_from(&permits, 1, &mut waiter, &parker), Ok(()));
        releaser.join().unwrap();
    });
}

/// Odd ones are in one of two shards, even ones in the other.
fn key(number: u64) -> KeyHash {
    KeyHash::new([number, number])
}

/// The last permit of a key gives its place to a key that waits for one, however that races with the waiter's coming and leaving.
#[test]
fn a_place_races_with_a_key_in_line() {
    loom::model(|| {
        let hosts: Arc<Keyed<Arc<Parker>, Threads>> = Arc::new(Keyed::new(1, 1, 2, Clock::Monotonic));
        hosts.try_acquire((), key(1), 1).unwrap();
        let waiter = {
            let hosts = Arc::clone(&hosts);
            thread::spawn(move || {
                let (mut waiter, parker) = (Waiter::default(), Arc::new(Parker::default()));
                loop {
                    parker.reset();
                    let (wakes, result) = hosts.acquire_or_wait((), key(2), 1, &mut waiter, &parker);
                    wakes.fire();
                    if result == Ok(()) {
                        break;
                    }
                    while !parker.is_notified() {
                        parker.park(None);
                    }
                }
            })
        };
        let (mut quitter, parker) = (Waiter::default(), Arc::new(Parker::default()));
        let (wakes, result) = hosts.acquire_or_wait((), key(3), 1, &mut quitter, &parker);
        wakes.fire();
        assert_eq!(result, Err(AcquireError::Busy));
        let (wakes, result) = hosts.release((), key(1), 1);
        wakes.fire();
        assert_eq!(result, Ok(()));
        hosts.leave((), key(3), &mut quitter).fire();
        waiter.join().unwrap();
        let seen = hosts.statistics_of_all(());
        assert_eq!((seen.keys, seen.waiting_keys, seen.held), (1, 0, 1));
    });
}

/// A place that is free for a moment goes to the key that waits or to an arrival, and is never lost.
#[test]
fn an_arrival_races_with_a_place_handed_on() {
    loom::model(|| {
        let hosts: Arc<Keyed<Arc<Parker>, Threads>> = Arc::new(Keyed::new(1, 1, 2, Clock::Monotonic));
        hosts.try_acquire((), key(1), 1).unwrap();
        let arrival = {
            let hosts = Arc::clone(&hosts);
            thread::spawn(move || {
                if hosts.try_acquire((), key(3), 1) == Ok(()) {
                    let (wakes, result) = hosts.release((), key(3), 1);
                    wakes.fire();
                    assert_eq!(result, Ok(()));
                }
            })
        };
        let releaser = {
            let hosts = Arc::clone(&hosts);
            thread::spawn(move || hosts.release((), key(1), 1).0.fire())
        };
        let (mut waiter, parker) = (Waiter::default(), Arc::new(Parker::default()));
        loop {
            parker.reset();
            let (wakes, result) = hosts.acquire_or_wait((), key(2), 1, &mut waiter, &parker);
            wakes.fire();
            if result == Ok(()) {
                break;
            }
            while !parker.is_notified() {
                parker.park(None);
            }
        }
        arrival.join().unwrap();
        releaser.join().unwrap();
        let seen = hosts.statistics_of_all(());
        assert_eq!((seen.keys, seen.waiting_keys, seen.held), (1, 0, 1));
    });
}
