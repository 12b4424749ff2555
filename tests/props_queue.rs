//! Random operations against a plain model: no item lost or doubled, nobody asleep beside what it waits for.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;
use sluicegate_core::buffer::Fifo;
use sluicegate_core::clock::Clock;
use sluicegate_core::queue::{Admission, GetError, PutError, Queue, Spot};
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
}

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
    ]
}

#[derive(Default)]
struct Waiter {
    parker: Arc<Parker>,
    spot: Spot,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_queue_is_its_model(limit in 1usize..4, steps in proptest::collection::vec(step(), 0..80)) {
        let queue: Queue<Fifo<u32>, Arc<Parker>, Threads> = Queue::new(Fifo::default(), limit, Clock::Monotonic);
        let mut limit = limit;
        let mut model = VecDeque::new();
        let mut next = 0;
        let mut shut = false;
        let mut putters: Vec<Waiter> = (0..WAITERS).map(|_| Waiter::default()).collect();
        let mut getters: Vec<Waiter> = (0..WAITERS).map(|_| Waiter::default()).collect();
        for step in steps {
            match step {
                Step::Put(admission) => {
                    next += 1;
                    // As the binding does it: the everyday case first, then the whole operation.
                    let result = if queue.put_at_once((), admission, || next) {
                        Ok(())
                    } else {
                        let (wakes, result) = queue.try_put((), next, admission);
                        wakes.fire();
                        result
                    };
                    match result {
                        Ok(()) => {
                            prop_assert!(!shut && model.len() < limit);
                            model.push_back(next);
                        }
                        Err(PutError::ShutDown(item)) => prop_assert!(shut && item == next),
                        Err(PutError::Full(item)) => {
                            prop_assert!(item == next && !shut);
                            prop_assert!(model.len() >= limit || admission == Admission::Queued, "a false Full");
                        }
                    }
                }
                Step::Get(admission) => {
                    let result = queue.get_at_once((), admission).map_or_else(
                        || {
                            let (wakes, result) = queue.try_get((), admission);
                            wakes.fire();
                            result
                        },
                        Ok,
                    );
                    match result {
                        Ok(item) => prop_assert_eq!(Some(item), model.pop_front()),
                        Err(GetError::ShutDown) => prop_assert!(shut && model.is_empty()),
                        Err(GetError::Empty) => prop_assert!(model.is_empty() || admission == Admission::Queued, "a false Empty"),
                    }
                }
                Step::WaitToPut(n) => {
                    let waiter = &mut putters[n];
                    waiter.parker.reset();
                    next += 1;
                    let (wakes, result) = queue.put_or_wait((), next, &mut waiter.spot, &waiter.parker);
                    wakes.fire();
                    match result {
                        Ok(()) => {
                            prop_assert!(!shut && model.len() < limit && !waiter.spot.is_held());
                            model.push_back(next);
                        }
                        Err(PutError::ShutDown(_)) => prop_assert!(shut && !waiter.spot.is_held()),
                        Err(PutError::Full(_)) => prop_assert!(waiter.spot.is_held()),
                    }
                }
                Step::WaitToGet(n) => {
                    let waiter = &mut getters[n];
                    waiter.parker.reset();
                    let (wakes, result) = queue.get_or_wait((), &mut waiter.spot, &waiter.parker);
                    wakes.fire();
                    match result {
                        Ok(item) => {
                            prop_assert!(!waiter.spot.is_held());
                            prop_assert_eq!(Some(item), model.pop_front());
                        }
                        Err(GetError::ShutDown) => prop_assert!(shut && model.is_empty()),
                        Err(GetError::Empty) => prop_assert!(waiter.spot.is_held()),
                    }
                }
                Step::LeavePut(n) => queue.leave((), &mut putters[n].spot).fire(),
                Step::LeaveGet(n) => queue.leave((), &mut getters[n].spot).fire(),
                Step::Limit(new) => {
                    limit = new;
                    queue.set_limit((), limit).fire();
                }
                Step::ShutDown => {
                    shut = true;
                    queue.shut_down(()).fire();
                }
            }
            prop_assert_eq!(queue.size(()), model.len());
            // Nobody sleeps beside what it waits for: while something is there for the line, one of it has been told.
            let waiting = |side: &[Waiter]| side.iter().filter(|waiter| waiter.spot.is_held()).count();
            let told = |side: &[Waiter]| side.iter().filter(|waiter| waiter.spot.is_held() && waiter.parker.is_notified()).count();
            if waiting(&getters) > 0 && (!model.is_empty() || shut) {
                prop_assert!(told(&getters) > 0, "getters sleep beside {} items", model.len());
            }
            if waiting(&putters) > 0 && (model.len() < limit || shut) {
                prop_assert!(told(&putters) > 0, "putters sleep beside room");
            }
        }
        for waiter in putters.iter_mut().chain(&mut getters) {
            queue.leave((), &mut waiter.spot).fire();
        }
        let seen = queue.statistics(());
        prop_assert_eq!((seen.waiting_getters, seen.waiting_putters), (0, 0));
        prop_assert_eq!(seen.puts - seen.gets, model.len() as u64);
    }
}
