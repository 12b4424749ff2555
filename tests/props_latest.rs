//! Random operations against a plain model: nobody is given what it has, nobody sleeps beside what it waits for, nobody is woken for nothing.
#![cfg(not(loom))]

mod cases;

use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::clock::Clock;
use sluicegate_core::latest::{Latest, ReadError, Waiter, Want};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

const READERS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Set,
    Try(Kind, u64),
    /// A reader comes; if it is not in the wait queue yet, wanting this.
    Wait(usize, Kind, u64),
    /// The time has come for which a reader waits, if it waits for one.
    Due(usize),
    Leave(usize),
    Aside(usize),
    Back(usize),
    End(bool),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Newest,
    After,
    Tick,
    DueTick,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Newest), Just(Kind::After), Just(Kind::Tick), Just(Kind::DueTick)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => Just(Step::Set),
        12 => (kind(), 0u64..3).prop_map(|(kind, behind)| Step::Try(kind, behind)),
        40 => (0..READERS, kind(), 0u64..3).prop_map(|(reader, kind, behind)| Step::Wait(reader, kind, behind)),
        8 => (0..READERS).prop_map(Step::Due),
        4 => (0..READERS).prop_map(Step::Leave),
        4 => (0..READERS).prop_map(Step::Aside),
        8 => (0..READERS).prop_map(Step::Back),
        1 => any::<bool>().prop_map(Step::End),
    ]
}

struct Reader {
    want: Want,
    parker: Arc<Parker>,
    waiter: Waiter,
    aside: bool,
}

/// What it is: all values ever, and how it ended.
#[derive(Default)]
struct Model {
    values: Vec<u64>,
    initial: bool,
    /// Which of them were read.
    read: Vec<bool>,
    shut: bool,
    killed: bool,
}

impl Model {
    fn version(&self) -> u64 {
        self.values.len() as u64
    }

    fn expected(&self, want: Want) -> Result<(u64, u64), ReadError> {
        let newest = self.values.last().map(|value| (*value, self.version())).filter(|_| !self.killed);
        let news = |given| newest.filter(|(_, version)| *version > given);
        let (now, when_shut) = match want {
            Want::Newest => (newest, None),
            Want::After(given) => (news(given), news(given)),
            Want::Tick { due, given } => (newest.filter(|_| due), news(given)),
        };
        if self.shut { when_shut.ok_or(ReadError::ShutDown) } else { now.ok_or(ReadError::NotYet) }
    }

    fn set(&mut self, value: u64) -> Option<u64> {
        let old = self.values.last().copied();
        self.values.push(value);
        self.read.push(false);
        old
    }

    fn note(&mut self, result: Result<(u64, u64), ReadError>) {
        if result.is_ok() {
            *self.read.last_mut().unwrap() = true;
        }
    }

    fn want(&self, kind: Kind, behind: u64) -> Want {
        // Also versions that have not been reached.
        let given = (self.version() + 1).saturating_sub(behind);
        match kind {
            Kind::Newest => Want::Newest,
            Kind::After => Want::After(given),
            Kind::Tick => Want::Tick { due: false, given },
            Kind::DueTick => Want::Tick { due: true, given },
        }
    }
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn the_latest_value_is_its_model(initial: bool, steps in proptest::collection::vec(step(), 0..80)) {
        let latest: Latest<u64, Arc<Parker>, Threads> = Latest::new(initial.then_some(0), (), Clock::Monotonic);
        let mut model = Model { initial, ..Model::default() };
        if initial {
            model.set(0);
        }
        let mut readers: Vec<Reader> = (0..READERS)
            .map(|_| Reader { want: Want::Newest, parker: Arc::default(), waiter: Waiter::default(), aside: false })
            .collect();
        for (number, step) in (1u64..).zip(steps) {
            match step {
                Step::Set => {
                    let (wakes, result) = latest.set((), number);
                    wakes.fire();
                    if model.shut {
                        prop_assert_eq!(result, Err(number));
                    } else {
                        prop_assert_eq!(result, Ok(model.set(number)));
                    }
                }
                Step::Try(kind, behind) => {
                    let want = model.want(kind, behind);
                    let result = latest.try_read((), want, |value| *value);
                    prop_assert_eq!(result, model.expected(want));
                    model.note(result);
                }
                Step::Wait(reader, kind, behind) => {
                    let reader = &mut readers[reader];
                    if reader.aside {
                        continue;
                    }
                    if !reader.waiter.is_enqueued() {
                        reader.want = model.want(kind, behind);
                    }
                    reader.parker.reset();
                    let (wakes, result) = latest.read_or_wait((), reader.want, &mut reader.waiter, &reader.parker, |value| *value);
                    wakes.fire();
                    prop_assert_eq!(result, model.expected(reader.want));
                    prop_assert_eq!(reader.waiter.is_enqueued(), result == Err(ReadError::NotYet));
                    model.note(result);
                }
                Step::Due(reader) => {
                    let reader = &mut readers[reader];
                    if let (Want::Tick { due, .. }, false) = (&mut reader.want, reader.aside) {
                        *due = true;
                        if reader.waiter.is_enqueued() && model.version() > 0 {
                            reader.parker.unpark(); // its own clock
                        }
                    }
                }
                Step::Leave(reader) => {
                    let reader = &mut readers[reader];
                    reader.aside = false;
                    latest.leave((), &mut reader.waiter).fire();
                    prop_assert!(!reader.waiter.is_enqueued());
                }
                Step::Aside(reader) => {
                    let reader = &mut readers[reader];
                    if let Some(place) = reader.waiter.position() {
                        reader.aside = true;
                        latest.step_aside((), place).fire();
                    }
                }
                Step::Back(reader) => {
                    let reader = &mut readers[reader];
                    if let (Some(place), true) = (reader.waiter.position(), reader.aside) {
                        reader.aside = false;
                        latest.step_back((), place).fire();
                    }
                }
                Step::End(at_once) => {
                    let (wakes, (removed, again)) = latest.shut_down((), at_once, |(), again| again);
                    wakes.fire();
                    prop_assert_eq!(again, model.shut);
                    let there = model.values.last().copied().filter(|_| !model.killed);
                    prop_assert_eq!(removed, there.filter(|_| at_once));
                    model.shut = true;
                    model.killed |= at_once;
                }
            }
            for reader in readers.iter().filter(|reader| reader.waiter.is_enqueued() && !reader.aside) {
                let has_something = model.expected(reader.want) != Err(ReadError::NotYet);
                // The first value wakes the readers that wait for a time too: they go on waiting for the time.
                let first_value = matches!(reader.want, Want::Tick { due: false, .. }) && model.version() > 0;
                if has_something {
                    prop_assert!(reader.parker.is_notified(), "{:?} sleeps", reader.want);
                } else if !first_value {
                    prop_assert!(!reader.parker.is_notified(), "{:?} was woken for nothing", reader.want);
                }
            }
            let seen = latest.statistics(());
            prop_assert_eq!(seen.waiting_readers, readers.iter().filter(|reader| reader.waiter.is_enqueued()).count());
            prop_assert_eq!((seen.version, latest.version(())), (model.version(), model.version()));
            prop_assert_eq!(seen.sets, model.version() - u64::from(model.initial));
            let unread = model.read.iter().rev().skip(1).filter(|read| !**read).count();
            prop_assert_eq!(seen.replaced, unread as u64);
            prop_assert_eq!(latest.peek((), |value| *value), model.values.last().copied().filter(|_| !model.killed));
        }
    }
}
