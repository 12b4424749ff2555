//! Random operations against a plain model: permits are counted right, waiters go strictly in order, nobody sleeps beside what it waits for.
#![cfg(not(loom))]

mod cases;

use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::clock::Clock;
use sluicegate_core::section::Threads;
use sluicegate_core::semaphore::{AcquireError, Overrelease, Overreleased, Semaphore, Waiter};
use sluicegate_core::wait::Parker;

const WAITERS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Try(u64),
    /// A waiter comes, with this weight if it is not in the wait queue yet.
    Wait(usize, u64),
    Leave(usize),
    Aside(usize),
    Back(usize),
    Release(u64),
    Resize(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..4).prop_map(Step::Try),
        8 => (0..WAITERS, 1u64..4).prop_map(|(caller, n)| Step::Wait(caller, n)),
        1 => (0..WAITERS).prop_map(Step::Leave),
        1 => (0..WAITERS).prop_map(Step::Aside),
        1 => (0..WAITERS).prop_map(Step::Back),
        6 => (1u64..4).prop_map(Step::Release),
        1 => (0u64..5).prop_map(Step::Resize),
    ]
}

#[derive(Default)]
struct Caller {
    n: u64,
    parker: Arc<Parker>,
    waiter: Waiter,
    aside: bool,
}

/// What a semaphore is: two numbers and a list of waiters, in order.
struct Model {
    kind: Overrelease,
    size: u64,
    held: u64,
    line: Vec<usize>,
}

impl Model {
    fn free(&self) -> u64 {
        self.size.saturating_sub(self.held)
    }

    fn is_too_large(&self, n: u64) -> bool {
        n > 1 && n > self.size
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn the_semaphore_is_its_model(size in 0u64..5, bounded: bool, steps in proptest::collection::vec(step(), 0..80)) {
        let kind = if bounded { Overrelease::Bounded } else { Overrelease::Growing };
        let semaphore: Semaphore<Arc<Parker>, Threads> = Semaphore::new(size, kind, Clock::Monotonic);
        let mut model = Model { kind, size, held: 0, line: Vec::new() };
        let mut callers: Vec<Caller> = (0..WAITERS).map(|_| Caller::default()).collect();
        let mut granted = 0;
        for step in steps {
            match step {
                Step::Try(n) => match semaphore.try_acquire((), n) {
                    Ok(()) => {
                        prop_assert!(n <= model.free() && model.line.iter().all(|&each| callers[each].aside));
                        model.held += n;
                        granted += 1;
                    }
                    Err(AcquireError::TooLarge { size }) => prop_assert!(model.is_too_large(n) && size == model.size),
                    Err(AcquireError::NoMemory) => prop_assert!(false, "a semaphore takes none"),
                    Err(AcquireError::Busy) => {
                        prop_assert!(n > model.free() || model.line.iter().any(|&each| !callers[each].aside), "a false Busy");
                    }
                },
                Step::Wait(index, n) => {
                    let caller = &mut callers[index];
                    if caller.aside {
                        continue;
                    }
                    if !caller.waiter.is_enqueued() {
                        caller.n = n;
                    }
                    let was_in_line = caller.waiter.is_enqueued();
                    caller.parker.reset();
                    let n = caller.n;
                    let (wakes, result) = semaphore.acquire_or_wait((), n, &mut caller.waiter, &caller.parker);
                    wakes.fire();
                    prop_assert_eq!(callers[index].waiter.is_enqueued(), result == Err(AcquireError::Busy));
                    match result {
                        Ok(()) => {
                            // What those before it need is there as well, whether they have come or not.
                            let before: Vec<usize> = model.line.iter().copied().take_while(|&each| each != index).collect();
                            let theirs: u64 = before.iter().filter(|&&each| !callers[each].aside).map(|&each| callers[each].n).sum();
                            prop_assert!(theirs + n <= model.free(), "passed {before:?}, who need {theirs} of {}", model.free());
                            model.held += n;
                            granted += 1;
                            model.line.retain(|&each| each != index);
                        }
                        Err(AcquireError::TooLarge { size }) => {
                            prop_assert!(model.is_too_large(n) && size == model.size);
                            model.line.retain(|&each| each != index);
                        }
                        Err(AcquireError::Busy) if !was_in_line => model.line.push(index),
                        Err(AcquireError::Busy) => {}
                        Err(AcquireError::NoMemory) => prop_assert!(false, "a semaphore takes none"),
                    }
                }
                Step::Leave(index) => {
                    semaphore.leave((), &mut callers[index].waiter).fire();
                    callers[index].aside = false;
                    model.line.retain(|&each| each != index);
                }
                Step::Aside(index) => if let Some(place) = callers[index].waiter.position() {
                    semaphore.step_aside((), place).fire();
                    callers[index].aside = true;
                },
                Step::Back(index) => if let Some(place) = callers[index].waiter.position() {
                    semaphore.step_back((), place).fire();
                    callers[index].aside = false;
                },
                Step::Release(n) => {
                    let (wakes, result) = semaphore.release((), n);
                    wakes.fire();
                    if n > model.held && model.kind == Overrelease::Bounded {
                        prop_assert_eq!(result, Err(Overreleased { held: model.held }));
                    } else {
                        prop_assert_eq!(result, Ok(()));
                        model.size += n.saturating_sub(model.held);
                        model.held = model.held.saturating_sub(n);
                    }
                }
                Step::Resize(size) => {
                    semaphore.resize((), size).fire();
                    model.size = size;
                }
            }
            let seen = semaphore.statistics(());
            prop_assert_eq!((seen.size, seen.held, seen.waiters), (model.size, model.held, model.line.len()));
            prop_assert_eq!(seen.acquired, granted);
            // Nobody sleeps beside what it waits for: while the first that can come fits, or never will, somebody is on the way.
            let coming = || model.line.iter().map(|&each| &callers[each]).filter(|caller| !caller.aside);
            if let Some(first) = coming().next() {
                let stands_still = coming().all(|caller| !caller.parker.is_notified());
                prop_assert!(!stands_still || first.n > model.free(), "the first sleeps beside {} permits", model.free());
                prop_assert!(!stands_still || !model.is_too_large(first.n), "waits for {} of {}", first.n, model.size);
            }
        }
        for caller in &mut callers {
            semaphore.leave((), &mut caller.waiter).fire();
        }
        let seen = semaphore.statistics(());
        prop_assert_eq!((seen.waiters, seen.value), (0, model.free()));
    }
}
