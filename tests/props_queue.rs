//! Random operations against a plain model: no item lost or doubled, nobody asleep beside what it waits for.
#![cfg(not(loom))]

mod cases;

use std::collections::VecDeque;
use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::buffer::Fifo;
use sluicegate_core::clock::Clock;
use sluicegate_core::queue::{Admission, GetError, Locked, MutexTaken, PutError, Queue, Waiter};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

const WAITERS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Put(Admission),
    Get(Admission),
    /// A putter or getter comes, or comes back to look.
    WaitToPut(usize),
    WaitToGet(usize),
    LeavePut(usize),
    LeaveGet(usize),
    Limit(usize),
    ShutDown,
    /// Somebody takes the mutex, uses it, gives it back.
    Lend,
    OwnPut,
    OwnGet,
    GiveBack,
}

const OWNER: u64 = 7;

fn step() -> impl Strategy<Value = Step> {
    let admission = prop_oneof![Just(Admission::Immediate), Just(Admission::Queued)];
    prop_oneof![
        4 => admission.clone().prop_map(Step::Put),
        4 => admission.prop_map(Step::Get),
        4 => (0..WAITERS).prop_map(Step::WaitToPut),
        4 => (0..WAITERS).prop_map(Step::WaitToGet),
        1 => (0..WAITERS).prop_map(Step::LeavePut),
        1 => (0..WAITERS).prop_map(Step::LeaveGet),
        1 => (1usize..4).prop_map(Step::Limit),
        1 => Just(Step::ShutDown),
        1 => Just(Step::Lend),
        2 => Just(Step::OwnPut),
        2 => Just(Step::OwnGet),
        2 => Just(Step::GiveBack),
    ]
}

#[derive(Default)]
struct Caller {
    parker: Arc<Parker>,
    waiter: Waiter,
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn the_queue_is_its_model(limit in 1usize..4, steps in proptest::collection::vec(step(), 0..80)) {
        let queue: Queue<Fifo<u32>, Arc<Parker>, Threads> = Queue::new(Fifo::default(), limit, Clock::Monotonic);
        let mut limit = limit;
        let mut model = VecDeque::new();
        let mut next = 0;
        let mut shut = false;
        let mut locked = 0;
        let mut putters: Vec<Caller> = (0..WAITERS).map(|_| Caller::default()).collect();
        let mut getters: Vec<Caller> = (0..WAITERS).map(|_| Caller::default()).collect();
        for step in steps {
            match step {
                Step::Put(admission) => {
                    next += 1;
                    // As the binding does it: the everyday case first, then the whole operation.
                    let result = if queue.put_uncontended((), admission, || next) {
                        Ok(())
                    } else {
                        let (wakes, result) = queue.try_put((), next, admission);
                        wakes.fire();
                        result
                    };
                    match result {
                        Ok(()) => {
                            prop_assert!(!shut && model.len() < limit && locked == 0);
                            model.push_back(next);
                        }
                        Err(PutError::ShutDown(item)) => prop_assert!(shut && item == next),
                        Err(PutError::Full(item)) => {
                            prop_assert!(item == next && !shut && locked == 0);
                            prop_assert!(model.len() >= limit || admission == Admission::Queued, "a false Full");
                        }
                        Err(PutError::Locked(item)) => prop_assert!(item == next && locked > 0),
                        Err(error) => prop_assert!(false, "{error:?}"),
                    }
                }
                Step::Get(admission) => {
                    let result = queue.get_uncontended((), admission).map_or_else(
                        || {
                            let (wakes, result) = queue.try_get((), admission);
                            wakes.fire();
                            result
                        },
                        Ok,
                    );
                    match result {
                        Ok(item) => {
                            prop_assert_eq!(locked, 0);
                            prop_assert_eq!(Some(item), model.pop_front());
                        }
                        Err(GetError::ShutDown) => prop_assert!(shut && model.is_empty() && locked == 0),
                        Err(GetError::Locked | GetError::Composed) => prop_assert!(locked > 0),
                        Err(GetError::NoMemory) => unreachable!("there is enough"),
                        Err(GetError::Empty) => prop_assert!(model.is_empty() || admission == Admission::Queued, "a false Empty"),
                    }
                }
                Step::WaitToPut(n) => {
                    let caller = &mut putters[n];
                    caller.parker.reset();
                    next += 1;
                    let (wakes, result) = queue.put_or_wait((), next, &mut caller.waiter, &caller.parker);
                    wakes.fire();
                    match result {
                        Ok(()) => {
                            prop_assert!(!shut && model.len() < limit && !caller.waiter.is_enqueued() && locked == 0);
                            model.push_back(next);
                        }
                        Err(PutError::ShutDown(_)) => prop_assert!(shut && !caller.waiter.is_enqueued()),
                        Err(PutError::Full(_)) => prop_assert!(caller.waiter.is_enqueued() && locked == 0),
                        Err(PutError::Locked(_) | PutError::Composed(_)) => prop_assert!(caller.waiter.is_enqueued() && locked > 0),
                        Err(error) => prop_assert!(false, "{error:?}"),
                    }
                }
                Step::WaitToGet(n) => {
                    let caller = &mut getters[n];
                    caller.parker.reset();
                    let (wakes, result) = queue.get_or_wait((), &mut caller.waiter, &caller.parker);
                    wakes.fire();
                    match result {
                        Ok(item) => {
                            prop_assert!(!caller.waiter.is_enqueued());
                            prop_assert_eq!(Some(item), model.pop_front());
                        }
                        Err(GetError::ShutDown) => prop_assert!(shut && model.is_empty() && locked == 0),
                        Err(GetError::Empty) => prop_assert!(caller.waiter.is_enqueued() && locked == 0),
                        Err(GetError::Locked | GetError::Composed) => prop_assert!(caller.waiter.is_enqueued() && locked > 0),
                        Err(GetError::NoMemory) => unreachable!("there is enough"),
                    }
                }
                Step::LeavePut(n) => queue.leave((), &mut putters[n].waiter).fire(),
                Step::LeaveGet(n) => queue.leave((), &mut getters[n].waiter).fire(),
                Step::Limit(new) => {
                    limit = new;
                    queue.set_limit((), limit).fire();
                }
                Step::ShutDown => {
                    let (wakes, done) = queue.shut_down(());
                    wakes.fire();
                    prop_assert_eq!(done.is_ok(), locked == 0);
                    shut |= locked == 0;
                }
                Step::Lend => {
                    let (wakes, taken) = queue.lock_mutex((), OWNER, Some(Fifo::default()), None);
                    wakes.fire();
                    prop_assert_eq!(taken, MutexTaken::Yes);
                    locked += 1;
                }
                Step::OwnPut => {
                    next += 1;
                    let (wakes, result) =
                        queue.step((), Some(OWNER), |state, wakes| state.put(next, Admission::Immediate, wakes));
                    wakes.fire();
                    match result {
                        Err(Locked) => unreachable!("it is the owner's"),
                        Ok(Ok(())) => {
                            prop_assert!(!shut && model.len() < limit);
                            model.push_back(next);
                        }
                        Ok(Err(PutError::ShutDown(_))) => prop_assert!(shut),
                        Ok(Err(error)) => prop_assert!(error == PutError::Full(next) && model.len() >= limit),
                    }
                }
                Step::OwnGet => {
                    let (wakes, result) = queue.step((), Some(OWNER), |state, wakes| state.get(Admission::Immediate, wakes));
                    wakes.fire();
                    match result {
                        Err(Locked) => unreachable!("it is the owner's"),
                        Ok(Ok(item)) => prop_assert_eq!(Some(item), model.pop_front()),
                        Ok(Err(GetError::ShutDown)) => prop_assert!(shut && model.is_empty()),
                        Ok(Err(error)) => prop_assert!(error == GetError::Empty && model.is_empty()),
                    }
                }
                Step::GiveBack => {
                    let (wakes, late) = queue.unlock_mutex((), OWNER);
                    wakes.fire();
                    prop_assert_eq!(late.is_ok(), locked > 0);
                    locked -= i32::from(locked > 0);
                }
            }
            prop_assert_eq!(queue.size(()), model.len());
            // Nobody sleeps beside what it waits for: while something is there for the line, one of it has been told.
            let waiting = |side: &[Caller]| side.iter().filter(|caller| caller.waiter.is_enqueued()).count();
            let told = |side: &[Caller]| side.iter().filter(|caller| caller.waiter.is_enqueued() && caller.parker.is_notified()).count();
            if locked > 0 {
                continue; // they are told when the mutex is back
            }
            if waiting(&getters) > 0 && (!model.is_empty() || shut) {
                prop_assert!(told(&getters) > 0, "getters sleep beside {} items", model.len());
            }
            if waiting(&putters) > 0 && (model.len() < limit || shut) {
                prop_assert!(told(&putters) > 0, "putters sleep beside room");
            }
        }
        for caller in putters.iter_mut().chain(&mut getters) {
            queue.leave((), &mut caller.waiter).fire();
        }
        let seen = queue.statistics(());
        prop_assert_eq!((seen.waiting_getters, seen.waiting_putters), (0, 0));
        prop_assert_eq!(seen.puts - seen.gets, model.len() as u64);
    }
}
