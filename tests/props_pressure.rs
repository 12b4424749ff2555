//! Random operations on a queue with watermarks, against a plain model: after each of them the queue is high if the model is, each crossing
//! is counted once, and the herald leaves the section with each, and only then.
#![cfg(not(loom))]

mod cases;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::buffer::{Buffer, Fifo};
use sluicegate_core::clock::Clock;
use sluicegate_core::monitor::Monitor;
use sluicegate_core::queue::{
    Attempt, Composition, Crossings, Due, Gauge, Linger, Mark, Overflow, Queue, Relief, Relieved, Terms, Waiter, Watermarks,
};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::{self, Wake, Wakes};

/// Counts how often it is woken.
#[derive(Debug, Default)]
struct Bell(Arc<AtomicUsize>);

impl Wake for Bell {
    fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn is_thread(&self) -> bool {
        false
    }

    fn wake(self) -> Wakes<Self> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Wakes::none()
    }
}

type Watched = Queue<Fifo<u64>, Bell, Threads>;

#[derive(Clone, Debug)]
enum Step {
    Put(u64),
    Offer,
    PutMany(Vec<u64>),
    WaitToPut(u64),
    Reserve,
    Fulfil,
    Get,
    GetMany(usize),
    Clear,
    Limit(usize),
    MaxWeight(u64),
    Policy(Overflow),
    Lock,
    Unlock,
    /// By the owner of the mutex, if there is one.
    PushByHand(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let policy = prop_oneof![
        Just(Overflow::Block),
        Just(Overflow::Reject),
        Just(Overflow::DropOldest),
        Just(Overflow::DropNewest),
        Just(Overflow::Sample(NonZeroU64::MIN)),
    ];
    prop_oneof![
        8 => (0u64..5).prop_map(Step::Put),
        2 => Just(Step::Offer),
        2 => prop::collection::vec(0u64..5, 0..6).prop_map(Step::PutMany),
        2 => (0u64..5).prop_map(Step::WaitToPut),
        1 => Just(Step::Reserve),
        1 => Just(Step::Fulfil),
        8 => Just(Step::Get),
        2 => (1usize..6).prop_map(Step::GetMany),
        1 => Just(Step::Clear),
        1 => (1usize..20).prop_map(Step::Limit),
        1 => (5u64..40).prop_map(Step::MaxWeight),
        1 => policy.prop_map(Step::Policy),
        1 => Just(Step::Lock),
        2 => Just(Step::Unlock),
        1 => (0u64..5).prop_map(Step::PushByHand),
    ]
}

fn terms(weight: u64, weighs: bool) -> Terms {
    Terms { weight: if weighs { weight } else { 0 }, due: Due::Never }
}

const OWNER: u64 = 1;

#[allow(clippy::too_many_lines)] // a line or two for each step
fn take(queue: &Watched, step: Step, weighs: bool) {
    let locked = queue.is_locked(());
    match step {
        // The short way, every other time that it is open.
        Step::Put(weight)
            if weight % 2 == 0
                && queue.put_watched_or_noted((), None, sluicegate_core::queue::Admission::Immediate, || weight) =>
        {
            assert!(!weighs, "weights are not asked there");
        }
        Step::Put(weight) if weighs => {
            let (wakes, _lost, _) = queue.put_composed((), weight, terms(weight, true), Attempt::Now);
            wakes.fire();
        }
        Step::Put(weight) => {
            let (wakes, _) = queue.try_put((), weight, sluicegate_core::queue::Admission::Immediate);
            wakes.fire();
        }
        Step::Offer => {
            let (wakes, _) = queue.put_or_drop((), 1);
            wakes.fire();
        }
        Step::PutMany(items) if weighs => {
            let (wakes, _lost, _) =
                queue.put_many_composed((), &mut items.into_iter(), &mut |&item, _| terms(item, true), Attempt::Now);
            wakes.fire();
        }
        Step::PutMany(items) => {
            let (wakes, _) = queue.try_put_batch((), &mut items.into_iter(), sluicegate_core::queue::Admission::Immediate);
            wakes.fire();
        }
        Step::WaitToPut(weight) => {
            let (mut waiter, bell) = (Waiter::default(), Bell::default());
            let (wakes, _lost, _) = queue.put_composed((), weight, terms(weight, weighs), Attempt::Wait(&mut waiter, &bell));
            wakes.fire();
            queue.leave((), &mut waiter).fire();
        }
        Step::Reserve => {
            let _ = queue.try_reserve((), sluicegate_core::queue::Admission::Immediate);
        }
        Step::Fulfil => {
            let (wakes, _lost, _) = queue.fulfil_composed((), 1, terms(1, weighs));
            wakes.fire();
        }
        Step::Get
            if queue.size(()) % 2 == 0
                && queue.get_watched_or_noted((), sluicegate_core::queue::Admission::Immediate).is_some() =>
        {
            assert!(!weighs, "weights are not asked there");
        }
        Step::Get => {
            let (wakes, _lost, _) = queue.get_composed((), Attempt::Now);
            wakes.fire();
        }
        Step::GetMany(max) => {
            let (wakes, _lost, _) = queue.get_many_composed((), max, Linger::Over, Attempt::Now);
            wakes.fire();
        }
        Step::Clear => {
            let drain = |items: &mut Fifo<u64>| {
                let count = items.len();
                (items.take_all(), count)
            };
            let (wakes, _) = queue.step((), Some(OWNER), |state, wakes| state.clear(drain, wakes));
            wakes.fire();
        }
        Step::Limit(limit) => queue.set_limit((), limit).fire(),
        Step::MaxWeight(max) => queue.set_max_weight((), max).fire(),
        Step::Policy(policy) => queue.set_overflow((), policy).fire(),
        Step::Lock if !locked => {
            let (wakes, _) = queue.lock_mutex((), OWNER, Some(Fifo::default()), None);
            wakes.fire();
        }
        Step::Unlock if locked => {
            let (wakes, _late) = queue.unlock_mutex((), OWNER);
            wakes.fire();
        }
        Step::PushByHand(weight) => {
            let (wakes, _) = queue.step((), Some(OWNER), |state, wakes| state.push_by_hand(weight, weight, wakes).is_ok());
            wakes.fire();
        }
        Step::Lock | Step::Unlock => {}
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn crossings_are_those_of_a_model(
        steps in prop::collection::vec(step(), 1..120),
        weighs in any::<bool>(),
        shares in any::<bool>(),
        limit in 1usize..20,
    ) {
        let queue = Watched::new(Fifo::default(), limit, Clock::Monotonic);
        let max_weight = weighs.then_some(20);
        queue.compose((), &Composition { max_weight, ..Composition::default() }).unwrap();
        let marks = if shares {
            Watermarks::new(Mark::Share(0.75), Mark::Share(0.25), false)
        } else {
            Watermarks::new(Mark::Count(5), Mark::Count(2), weighs)
        };
        let (crossings, herald) = (Arc::<Crossings>::default(), Bell::default());
        let heard = Arc::clone(&herald.0);
        let mut gauge = Some(Box::new(Gauge::new(marks, Arc::clone(&crossings), herald)));
        let (wakes, _) = queue.step((), None, |state, wakes| state.watch(gauge.take(), wakes).is_none());
        wakes.fire();

        let relief: Monitor<Relief<Bell>, Bell, Threads, 1> = Monitor::<Relief<Bell>, Bell, Threads, 1>::new(Arc::clone(&crossings), Clock::Monotonic);
        let (mut is_high, mut count) = (false, 0);
        for step in steps {
            let before = heard.load(Ordering::Relaxed);
            // Somebody waits for the low mark all the time.
            let (mut waiter, bell) = (wait::Waiter::default(), Bell::default());
            let (wakes, answer) = relief.relieved_or_wait((), &mut waiter, Some(&bell));
            wakes.fire();
            prop_assert_eq!(answer, if is_high { Relieved::NotYet } else { Relieved::Yes });

            take(&queue, step, weighs);

            let seen = queue.statistics(());
            if !queue.is_locked(()) {
                let items = (seen.size as u64, seen.limit as u64);
                let measures: Vec<(u64, u64)> = match (shares, seen.weight) {
                    (true, Some(weight)) => vec![items, weight],
                    (false, Some(weight)) => vec![weight],
                    (_, None) => vec![items],
                };
                let (to_high, to_low) = if shares {
                    (measures.iter().any(|(used, bound)| used * 4 >= bound * 3), measures.iter().all(|(used, bound)| used * 4 <= *bound))
                } else {
                    // A bound below a mark stands in for it.
                    (measures.iter().any(|(used, bound)| *used >= 5.min(*bound)), measures.iter().all(|(used, bound)| *used <= 2.min(bound - 1)))
                };
                if if is_high { to_low } else { to_high } {
                    is_high = !is_high;
                    count += 1;
                }
                let level = measures_of(&seen).into_iter().fold(0.0, f64::max);
                prop_assert!((seen.pressure.level - level).abs() < 1e-12);
            }
            prop_assert_eq!(seen.pressure.crossed.map(|crossed| (crossed.crossings, crossed.is_high())), Some((count, is_high)));
            prop_assert_eq!(crossings.count(), count);
            prop_assert_eq!(heard.load(Ordering::Relaxed) as u64, count, "after {}", before);
            relief.look(()).fire();
            let was_released = waiter.is_enqueued() && bell.0.load(Ordering::Relaxed) > 0;
            prop_assert_eq!(was_released, waiter.is_enqueued() && !is_high);
            relief.leave((), &mut waiter).fire();
        }
    }
}

#[allow(clippy::cast_precision_loss)] // small numbers
fn measures_of(seen: &sluicegate_core::queue::Statistics) -> Vec<f64> {
    let items = (seen.size as f64 / seen.limit as f64).min(1.0);
    seen.weight.map_or(vec![items], |(used, max)| vec![items, (used as f64 / max as f64).min(1.0)])
}
