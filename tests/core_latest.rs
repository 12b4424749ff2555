//! The core's latest value, one thread at a time: what each operation does, who is woken, in which order.
#![cfg(not(loom))]

mod forks;

use std::sync::Arc;

use forks::{Alone, Unforked, alone};
use sluicegate_core::clock::Clock;
use sluicegate_core::fork;
use sluicegate_core::latest::{Latest, ReadError, Ticks, Waiter, Want};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

const NOT_YET: Result<(u32, u64), ReadError> = Err(ReadError::NotYet);
const END: Result<(u32, u64), ReadError> = Err(ReadError::ShutDown);

struct Value(Latest<u32, Arc<Parker>, Threads>, #[expect(dead_code, reason = "held, not read")] Unforked);

impl Value {
    fn new(initial: Option<u32>) -> Self {
        Self(Latest::new(initial, (), Clock::Monotonic), Unforked::new())
    }

    fn that_is_forked(alone: &Alone) -> Self {
        Self(Latest::new(None, (), Clock::Monotonic), Unforked::forked(alone))
    }

    /// What it replaced; the value itself after the end.
    fn set(&self, value: u32) -> Result<Option<u32>, u32> {
        let (wakes, result) = self.0.set((), value);
        wakes.fire();
        result
    }

    fn read(&self, want: Want) -> Result<(u32, u64), ReadError> {
        self.0.try_read((), want, |value| *value)
    }

    fn shut_down(&self, at_once: bool) -> Option<u32> {
        let (wakes, (removed, ())) = self.0.shut_down((), at_once, |(), _| ());
        wakes.fire();
        removed
    }
}

/// One reader that waits.
struct Reader {
    want: Want,
    parker: Arc<Parker>,
    waiter: Waiter,
}

impl Reader {
    /// Joins the line: it finds nothing.
    fn joins(value: &Value, want: Want) -> Self {
        let mut reader = Self { want, parker: Arc::default(), waiter: Waiter::default() };
        assert_eq!(reader.comes(value), NOT_YET);
        reader
    }

    /// It looks (again).
    fn comes(&mut self, value: &Value) -> Result<(u32, u64), ReadError> {
        self.parker.reset();
        let (wakes, result) = value.0.read_or_wait((), self.want, &mut self.waiter, &self.parker, |value| *value);
        wakes.fire();
        assert_eq!(self.waiter.is_enqueued(), result == NOT_YET);
        result
    }

    fn leaves(&mut self, value: &Value) {
        value.0.leave((), &mut self.waiter).fire();
    }

    fn steps_aside(&self, value: &Value) {
        value.0.step_aside((), self.waiter.position().unwrap()).fire();
    }

    fn steps_back(&self, value: &Value) {
        value.0.step_back((), self.waiter.position().unwrap()).fire();
    }

    fn is_woken(&self) -> bool {
        self.parker.is_notified()
    }
}

#[test]
fn versions_begin_with_one_whether_the_value_is_initial_or_set() {
    let value = Value::new(Some(7));
    assert_eq!((value.0.version(()), value.read(Want::Newest)), (1, Ok((7, 1))));
    let value = Value::new(None);
    assert_eq!((value.0.version(()), value.read(Want::Newest)), (0, NOT_YET));
    assert_eq!(value.set(7), Ok(None));
    assert_eq!(value.read(Want::Newest), Ok((7, 1)));
}

#[test]
fn what_is_replaced_comes_back_and_counts_if_nobody_had_read_it() {
    let value = Value::new(Some(1));
    assert_eq!(value.set(2), Ok(Some(1)));
    assert_eq!(value.read(Want::After(0)), Ok((2, 2)));
    assert_eq!(value.set(3), Ok(Some(2)));
    assert_eq!(value.0.peek((), |value| *value), Some(3));
    assert_eq!(value.set(4), Ok(Some(3)));
    let seen = value.0.statistics(());
    assert_eq!((seen.version, seen.sets, seen.replaced), (4, 3, 2), "1 and 3 were read by nobody: a peek is no reading");
}

#[test]
fn a_reader_waits_for_a_version_above_its_own() {
    let value = Value::new(Some(1));
    assert_eq!(value.read(Want::After(0)), Ok((1, 1)));
    let mut reader = Reader::joins(&value, Want::After(1));
    let mut patient = Reader::joins(&value, Want::After(3));
    for number in [2, 3] {
        value.set(number).unwrap();
        assert!(reader.is_woken() && !patient.is_woken());
    }
    assert_eq!(reader.comes(&value), Ok((3, 3)));
    value.set(4).unwrap();
    assert_eq!(patient.comes(&value), Ok((4, 4)));
}

#[test]
fn one_value_wakes_all_readers() {
    let value = Value::new(None);
    let mut readers = [Want::Newest, Want::After(0), Want::Tick { due: false, given: 0 }].map(|want| Reader::joins(&value, want));
    assert_eq!(value.0.statistics(()).waiting_readers, 3);
    value.set(5).unwrap();
    assert!(readers.iter().all(Reader::is_woken));
    assert_eq!(readers[0].comes(&value), Ok((5, 1)));
    assert_eq!(readers[1].comes(&value), Ok((5, 1)));
    assert_eq!(readers[2].comes(&value), NOT_YET, "there is a value now, and the time has not come");
    assert_eq!(value.0.statistics(()).waiting_readers, 1);
}

#[test]
fn who_waits_for_a_time_is_not_woken_by_values() {
    let value = Value::new(Some(1));
    let mut reader = Reader::joins(&value, Want::Tick { due: false, given: 1 });
    value.set(2).unwrap();
    value.set(3).unwrap();
    assert!(!reader.is_woken());
    reader.want = Want::Tick { due: true, given: 1 };
    assert_eq!(reader.comes(&value), Ok((3, 3)));
    // The next time it is given the same once more.
    assert_eq!(value.read(Want::Tick { due: true, given: 3 }), Ok((3, 3)));
}

#[test]
fn ticks_are_multiples_of_the_period_from_the_first_request_on() {
    let mut ticks = Ticks::new(10);
    assert_eq!(ticks.want(103), (Want::Tick { due: true, given: 0 }, 103));
    ticks.give(4, 103);
    assert_eq!(ticks.want(104), (Want::Tick { due: false, given: 4 }, 113));
    assert_eq!(ticks.want(113), (Want::Tick { due: true, given: 4 }, 113));
    // It comes late, for two more too: one value, and the next in step again.
    ticks.give(5, 137);
    assert_eq!(ticks.want(137), (Want::Tick { due: false, given: 5 }, 143));
    // The last value, after the end, may come before its time.
    ticks.give(6, 138);
    assert_eq!(ticks.want(138), (Want::Tick { due: false, given: 6 }, 143));
}

#[test]
fn ticks_at_the_end_of_time_do_not_overflow() {
    let mut ticks = Ticks::new(u64::MAX);
    ticks.want(5);
    ticks.give(1, u64::MAX - 1);
    assert_eq!(ticks.want(6), (Want::Tick { due: false, given: 1 }, u64::MAX));
}

#[test]
fn after_the_end_the_last_value_is_given_to_whom_it_is_news() {
    let value = Value::new(Some(1));
    let mut change = Reader::joins(&value, Want::After(1));
    let mut tick = Reader::joins(&value, Want::Tick { due: false, given: 1 });
    assert_eq!(value.shut_down(false), None);
    assert!(change.is_woken() && tick.is_woken());
    assert_eq!((change.comes(&value), tick.comes(&value)), (END, END));
    for want in [Want::After(0), Want::Tick { due: false, given: 0 }] {
        assert_eq!(value.read(want), Ok((1, 1)));
    }
    assert_eq!(value.read(Want::Newest), END);
    assert_eq!(value.set(2), Err(2));
    assert_eq!((value.0.version(()), value.0.peek((), |value| *value)), (1, Some(1)));
    // And then everything is removed.
    assert_eq!(value.shut_down(true), Some(1));
    assert_eq!(value.read(Want::After(0)), END);
    assert_eq!(value.0.peek((), |value| *value), None);
}

#[test]
fn an_end_before_any_value_ends_those_who_wait_for_the_first() {
    let value = Value::new(None);
    let mut readers = [Want::Newest, Want::After(0), Want::Tick { due: true, given: 0 }].map(|want| Reader::joins(&value, want));
    value.shut_down(false);
    for reader in &mut readers {
        assert!(reader.is_woken());
        assert_eq!(reader.comes(&value), END);
    }
}

#[test]
fn a_reader_that_leaves_disturbs_nobody() {
    let value = Value::new(None);
    let mut readers = [0, 0, 0].map(|given| Reader::joins(&value, Want::After(given)));
    readers[1].leaves(&value);
    assert!(readers.iter().all(|reader| !reader.is_woken()));
    value.set(1).unwrap();
    assert_eq!(readers.each_ref().map(Reader::is_woken), [true, false, true]);
    readers[0].leaves(&value);
    assert_eq!(readers[2].comes(&value), Ok((1, 1)));
    assert_eq!(value.0.statistics(()).waiting_readers, 0);
}

#[test]
fn a_reader_that_was_aside_is_told_when_it_is_back() {
    for wants_end in [false, true] {
        let value = Value::new(Some(1));
        let want = if wants_end { Want::Tick { due: false, given: 1 } } else { Want::After(1) };
        let mut reader = Reader::joins(&value, want);
        let mut other = Reader::joins(&value, Want::After(1));
        reader.steps_aside(&value);
        other.leaves(&value); // it looks at nobody, and so must not make anybody look settled
        if wants_end {
            assert_eq!(value.shut_down(false), None);
        } else {
            assert_eq!(value.set(2), Ok(Some(1)));
        }
        assert!(!reader.is_woken());
        reader.steps_back(&value);
        assert!(reader.is_woken());
        assert_eq!(reader.comes(&value), if wants_end { END } else { Ok((2, 2)) });
    }
}

#[test]
fn the_owner_is_told_whether_it_is_the_first_end() {
    let value: Latest<u32, Arc<Parker>, Threads, Vec<&str>> = Latest::new(Some(1), Vec::new(), Clock::Monotonic);
    for (name, expected) in [("first", false), ("second", true)] {
        let (wakes, (_, again)) = value.shut_down((), false, |ends, again| {
            ends.push(name);
            again
        });
        wakes.fire();
        assert_eq!(again, expected);
    }
    assert_eq!(value.look((), |value, ends| (value.copied(), ends.clone())), (Some(1), vec!["first", "second"]));
    assert_eq!(value.empty(()), (Some(1), vec!["first", "second"]));
}

#[test]
fn after_a_fork_the_lines_are_forgotten_and_the_value_is_not() {
    let alone = alone();
    let value = Value::that_is_forked(&alone);
    let mut readers = [0, 5].map(|given| Reader::joins(&value, Want::After(given)));
    fork::after_fork_in_child();
    value.set(1).unwrap();
    assert!(readers.iter().all(|reader| !reader.is_woken()));
    assert_eq!(value.0.statistics(()).waiting_readers, 0);
    assert_eq!(readers[0].comes(&value), Ok((1, 1)));
    assert_eq!(readers[1].comes(&value), NOT_YET);
    assert_eq!(value.0.statistics(()).waiting_readers, 1);
}
