//! Models of the latest value, over every interleaving. Each says which promise it guards.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::clock::Clock;
use sluicegate_core::latest::{Latest, ReadError, Waiter, Want};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Value = Latest<u32, Arc<Parker>, Threads>;

fn value(initial: Option<u32>) -> Arc<Value> {
    Arc::new(Latest::new(initial, (), Clock::Monotonic))
}

fn set(value: &Value, number: u32) -> Result<Option<u32>, u32> {
    let (wakes, result) = value.set((), number);
    wakes.fire();
    result
}

fn shut_down(value: &Value) {
    let (wakes, _) = value.shut_down((), false, |(), _| ());
    wakes.fire();
}

/// What the binding's blocking gate does, without time and signals.
fn read_from(value: &Value, want: Want, waiter: &mut Waiter, parker: &Arc<Parker>) -> Result<(u32, u64), ReadError> {
    loop {
        parker.reset();
        let (wakes, result) = value.read_or_wait((), want, waiter, parker, |value| *value);
        wakes.fire();
        if result != Err(ReadError::NotYet) {
            return result;
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

fn read(value: &Value, want: Want) -> Result<(u32, u64), ReadError> {
    read_from(value, want, &mut Waiter::default(), &Arc::new(Parker::default()))
}

/// A place in the wait queue that has not been woken yet.
fn in_line(value: &Value, want: Want) -> (Waiter, Arc<Parker>) {
    let (mut waiter, parker) = (Waiter::default(), Arc::new(Parker::default()));
    let (wakes, result) = value.read_or_wait((), want, &mut waiter, &parker, |value| *value);
    wakes.fire();
    assert_eq!(result, Err(ReadError::NotYet));
    (waiter, parker)
}

/// No value is slept through: a set reaches a reader, however it races with the reader's falling asleep.
#[test]
fn a_set_races_with_a_reader_falling_asleep() {
    loom::model(|| {
        let value = value(Some(0));
        let reader = {
            let value = Arc::clone(&value);
            thread::spawn(move || read(&value, Want::After(1)))
        };
        set(&value, 1).unwrap();
        assert_eq!(reader.join().unwrap(), Ok((1, 2)));
    });
}

/// Versions count: two writers' values have versions 2 and 3, each once, and a reader who follows sees them grow up to the last.
#[test]
fn two_writers_race_for_a_reader_who_follows() {
    loom::model(|| {
        let value = value(Some(0));
        let writer = {
            let value = Arc::clone(&value);
            thread::spawn(move || set(&value, 1).unwrap())
        };
        let reader = {
            let value = Arc::clone(&value);
            thread::spawn(move || {
                let mut seen = Vec::new();
                let mut version = 1;
                while version < 3 {
                    let (number, newer) = read(&value, Want::After(version)).unwrap();
                    assert!(newer > version);
                    version = newer;
                    seen.push(number);
                }
                seen
            })
        };
        let one = set(&value, 2).unwrap();
        let other = writer.join().unwrap();
        let seen = reader.join().unwrap();
        let last = value.try_read((), Want::Newest, |value| *value).unwrap();
        assert_eq!(seen.last(), Some(&last.0));
        // Each value was displaced once, or is there.
        let mut all = vec![one.unwrap(), other.unwrap(), last.0];
        all.sort_unstable();
        assert_eq!((all, last.1), (vec![0, 1, 2], 3));
    });
}

/// One set wakes all: two readers sleep, or are about to, and both get the value.
#[test]
fn one_set_wakes_two_readers() {
    loom::model(|| {
        let value = value(None);
        let readers = [Want::Newest, Want::After(0)].map(|want| {
            let value = Arc::clone(&value);
            thread::spawn(move || read(&value, want))
        });
        set(&value, 7).unwrap();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Ok((7, 1)));
        }
    });
}

/// A reader that leaves (cancelled, timed out) takes nothing from another.
#[test]
fn a_set_races_with_a_reader_leaving() {
    loom::model(|| {
        let value = value(Some(0));
        let (mut quitter, _parker) = in_line(&value, Want::After(1));
        let reader = {
            let value = Arc::clone(&value);
            thread::spawn(move || read(&value, Want::After(1)))
        };
        let writer = {
            let value = Arc::clone(&value);
            thread::spawn(move || set(&value, 1).unwrap())
        };
        value.leave((), &mut quitter).fire();
        assert_eq!(reader.join().unwrap(), Ok((1, 2)));
        writer.join().unwrap();
        assert_eq!(value.statistics(()).waiting_readers, 0);
    });
}

/// The end reaches everybody, and the last value is not lost to it: a reader gets what was set before the end, then the end.
#[test]
fn the_end_races_with_a_set_and_a_reader() {
    loom::model(|| {
        let value = value(Some(0));
        let writer = {
            let value = Arc::clone(&value);
            thread::spawn(move || set(&value, 1).is_ok())
        };
        let reader = {
            let value = Arc::clone(&value);
            thread::spawn(move || {
                let mut version = 1;
                loop {
                    match read(&value, Want::After(version)) {
                        Ok((_, newer)) => version = newer,
                        Err(error) => return (version, error),
                    }
                }
            })
        };
        shut_down(&value);
        let was_set = writer.join().unwrap();
        assert_eq!(reader.join().unwrap(), (1 + u64::from(was_set), ReadError::ShutDown));
    });
}

/// Who waits for a time is woken by the end.
#[test]
fn the_end_races_with_a_reader_who_waits_for_a_time() {
    loom::model(|| {
        let value = value(Some(0));
        let reader = {
            let value = Arc::clone(&value);
            thread::spawn(move || read(&value, Want::Tick { due: false, given: 1 }))
        };
        let writer = {
            let value = Arc::clone(&value);
            thread::spawn(move || set(&value, 1).is_ok())
        };
        shut_down(&value);
        let was_set = writer.join().unwrap();
        let read = reader.join().unwrap();
        assert_eq!(read, if was_set { Ok((1, 2)) } else { Err(ReadError::ShutDown) });
    });
}

/// A reader that steps aside (its thread runs a signal handler) misses no value: it is told when it is back.
#[test]
fn a_set_races_with_a_reader_stepping_aside() {
    loom::model(|| {
        let value = value(Some(0));
        let (mut waiter, parker) = in_line(&value, Want::After(1));
        let writer = {
            let value = Arc::clone(&value);
            thread::spawn(move || set(&value, 1).unwrap())
        };
        let place = waiter.position().unwrap();
        value.step_aside((), place).fire();
        value.step_back((), place).fire();
        while !parker.is_notified() {
            parker.park(None);
        }
        assert_eq!(read_from(&value, Want::After(1), &mut waiter, &parker), Ok((1, 2)));
        writer.join().unwrap();
    });
}
