//! Random operations on a queue that is full, against a plain model: each item is delivered, dropped with the right reason, refused, or still
//! inside; unfinished work is what was stored and neither done nor dropped; nobody sleeps beside a policy under which nobody waits.
#![cfg(not(loom))]

mod cases;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::buffer::{Buffer, Fifo, heap::Heap};
use sluicegate_core::clock::Clock;
use sluicegate_core::queue::{Admission, DropReason, Dropped, GetError, Overflow, PutError, Queue, Waiter};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Fifos = Queue<Fifo<u32>, Arc<Parker>, Threads>;

#[derive(Clone, Debug)]
enum Step {
    Put(Admission),
    Offer,
    WaitToPut,
    LeavePut,
    PutBatch(u32),
    Reserve,
    Fulfil,
    Get,
    Limit(usize),
    Policy(Overflow),
    Clear,
    ShutDown,
}

fn policy() -> impl Strategy<Value = Overflow> {
    prop_oneof![
        Just(Overflow::Block),
        Just(Overflow::Reject),
        Just(Overflow::DropOldest),
        Just(Overflow::DropNewest),
        (1u64..4).prop_map(|n| Overflow::Sample(NonZeroU64::new(n).unwrap())),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![Just(Admission::Immediate), Just(Admission::Queued)].prop_map(Step::Put),
        3 => Just(Step::Offer),
        3 => Just(Step::WaitToPut),
        1 => Just(Step::LeavePut),
        2 => (0u32..5).prop_map(Step::PutBatch),
        2 => Just(Step::Reserve),
        2 => Just(Step::Fulfil),
        4 => Just(Step::Get),
        1 => (1usize..4).prop_map(Step::Limit),
        1 => policy().prop_map(Step::Policy),
        1 => Just(Step::Clear),
        1 => Just(Step::ShutDown),
    ]
}

/// What a queue should do, in the plainest words.
#[derive(Default)]
struct Model {
    items: VecDeque<u32>,
    limit: usize,
    reserved: usize,
    policy: Overflow,
    skipped: u64,
    unfinished: i64,
    shut: bool,
    rejected: u64,
    dropped: [u64; DropReason::COUNT],
}

/// What becomes of one item.
#[derive(Debug, PartialEq)]
enum Fate {
    Stored,
    Displaces(u32, DropReason),
    Dropped(DropReason),
    Full,
    Rejected,
    ShutDown,
}

impl Model {
    fn has_room(&self) -> bool {
        self.items.len() + self.reserved < self.limit
    }

    fn store(&mut self, item: u32) {
        self.items.push_back(item);
        self.unfinished += 1;
    }

    fn arrive(&mut self, item: u32) -> Fate {
        if self.shut {
            return Fate::ShutDown;
        }
        if self.has_room() {
            self.store(item);
            return Fate::Stored;
        }
        let (displaces, otherwise) = match self.policy {
            Overflow::Block => return Fate::Full,
            Overflow::Reject => {
                self.rejected += 1;
                return Fate::Rejected;
            }
            Overflow::DropOldest => (Some(DropReason::Oldest), DropReason::Newest),
            Overflow::Sample(n) => {
                self.skipped += 1;
                let sampled = self.skipped == n.get() || self.skipped > n.get();
                if sampled {
                    self.skipped = 0;
                }
                (sampled.then_some(DropReason::Sampled), DropReason::Sampled)
            }
            _ => (None, DropReason::Newest),
        };
        if let Some((old, reason)) = displaces.and_then(|reason| Some((self.items.pop_front()?, reason))) {
            self.dropped[reason as usize] += 1;
            self.items.push_back(item); // one more, one less: as much unfinished work as before
            Fate::Displaces(old, reason)
        } else {
            self.dropped[otherwise as usize] += 1;
            Fate::Dropped(otherwise)
        }
    }
}

fn fate(item: u32, result: Result<Option<Dropped<u32>>, PutError<u32>>) -> Fate {
    match result {
        Ok(None) => Fate::Stored,
        Ok(Some(Dropped { item: old, reason, was_stored: true })) => Fate::Displaces(old, reason),
        Ok(Some(Dropped { item: new, reason, was_stored: false })) => {
            assert_eq!(new, item);
            Fate::Dropped(reason)
        }
        Err(PutError::Full(back)) => {
            assert_eq!(back, item);
            Fate::Full
        }
        Err(PutError::Rejected(back)) => {
            assert_eq!(back, item);
            Fate::Rejected
        }
        Err(PutError::ShutDown(back)) => {
            assert_eq!(back, item);
            Fate::ShutDown
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// As the binding does it: the fast path first, here of every other item, then the ordinary way, and then what becomes of it.
fn arrive(queue: &Fifos, item: u32, admission: Admission) -> Fate {
    let displaced = if item % 2 == 0 { queue.displace_uncontended((), || item) } else { None };
    if displaced.is_some() {
        return fate(item, Ok(displaced));
    }
    let (wakes, result) = queue.try_put((), item, admission);
    wakes.fire();
    match result {
        Err(PutError::Overflows(item)) => {
            let (wakes, result) = queue.put_or_drop((), item);
            wakes.fire();
            fate(item, result)
        }
        result => fate(item, result.map(|()| None)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the heap's interface")]
fn less(heap: &mut Heap<u32>, left: usize, right: usize) -> Result<bool, ()> {
    Ok(heap.items[left] < heap.items[right])
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn an_item_that_finds_no_room(
        limit in 1usize..4,
        first in policy(),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let queue: Fifos = Queue::new(Fifo::default(), limit, Clock::Monotonic);
        queue.set_overflow((), first).fire();
        let mut model = Model { limit, policy: first, ..Model::default() };
        let (mut next, mut waiter, parker) = (0, Waiter::default(), Arc::new(Parker::default()));
        for step in steps {
            next += 1;
            match step {
                Step::Put(admission) => {
                    let barred = admission == Admission::Queued && waiter.is_enqueued();
                    let found = if barred { Fate::Full } else { arrive(&queue, next, admission) };
                    if !barred {
                        prop_assert_eq!(found, model.arrive(next));
                    }
                }
                Step::Offer => {
                    let (wakes, result) = queue.put_or_drop((), next);
                    wakes.fire();
                    prop_assert_eq!(fate(next, result), model.arrive(next));
                }
                Step::WaitToPut => {
                    parker.reset();
                    let (wakes, result) = queue.put_or_wait((), next, &mut waiter, &parker);
                    wakes.fire();
                    let found = match result {
                        Err(PutError::Overflows(item)) => {
                            let (wakes, result) = queue.put_or_drop((), item);
                            wakes.fire();
                            fate(item, result)
                        }
                        result => fate(next, result.map(|()| None)),
                    };
                    prop_assert_eq!(waiter.is_enqueued(), found == Fate::Full);
                    prop_assert_eq!(found, model.arrive(next));
                }
                Step::LeavePut => queue.leave((), &mut waiter).fire(),
                Step::PutBatch(count) => {
                    let mut items = (next..next + count).collect::<Vec<_>>().into_iter();
                    next += count;
                    let (wakes, result) = queue.try_put_batch((), &mut items, Admission::Immediate);
                    wakes.fire();
                    let all = next - count..next;
                    let rest = items.len();
                    for item in all.take(count as usize - rest) {
                        prop_assert_eq!(model.arrive(item), Fate::Stored);
                    }
                    match result {
                        Ok(()) => prop_assert_eq!(rest, 0),
                        Err(PutError::Rejected(())) => prop_assert_eq!(model.arrive(0), Fate::Rejected),
                        Err(PutError::ShutDown(())) => prop_assert!(model.shut),
                        Err(PutError::Full(())) => prop_assert!(rest > 0 && model.policy == Overflow::Block),
                        Err(PutError::Overflows(())) => {
                            for item in items {
                                prop_assert_eq!(arrive(&queue, item, Admission::Immediate), model.arrive(item));
                            }
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                }
                Step::Reserve => {
                    let drops = !matches!(model.policy, Overflow::Block | Overflow::Reject);
                    match queue.try_reserve((), Admission::Immediate) {
                        Ok(()) => {
                            prop_assert!(!model.shut && (model.has_room() || drops));
                            model.reserved += 1;
                        }
                        Err(PutError::Rejected(())) => prop_assert_eq!(model.arrive(0), Fate::Rejected),
                        Err(PutError::ShutDown(())) => prop_assert!(model.shut),
                        Err(error) => {
                            prop_assert_eq!(error, PutError::Full(()));
                            prop_assert!(!model.has_room() && model.policy == Overflow::Block);
                        }
                    }
                }
                Step::Fulfil if model.reserved > 0 => {
                    let (wakes, result) = queue.fulfil((), next);
                    wakes.fire();
                    let found = fate(next, result);
                    model.reserved -= 1;
                    if model.has_room() || matches!(model.policy, Overflow::Block | Overflow::Reject) || model.shut {
                        // Its place was promised, whatever the bound is now.
                        let full = !model.has_room();
                        let drops = !matches!(model.policy, Overflow::Block | Overflow::Reject);
                        if model.shut && full && drops {
                            prop_assert_eq!(found, Fate::ShutDown);
                        } else {
                            prop_assert_eq!(found, Fate::Stored);
                            model.store(next);
                        }
                    } else {
                        prop_assert_eq!(found, model.arrive(next));
                    }
                }
                Step::Fulfil => {}
                Step::Get => {
                    let (wakes, result) = queue.try_get((), Admission::Immediate);
                    wakes.fire();
                    match result {
                        Ok(item) => {
                            prop_assert_eq!(Some(item), model.items.pop_front());
                            let (wakes, done) = queue.task_done(());
                            wakes.fire();
                            prop_assert_eq!(done, Ok(true));
                            model.unfinished -= 1;
                        }
                        Err(GetError::ShutDown | GetError::Empty) => prop_assert!(model.items.is_empty()),
                        Err(GetError::Locked | GetError::Composed | GetError::NoMemory) => prop_assert!(false),
                    }
                }
                Step::Limit(limit) => {
                    model.limit = limit;
                    queue.set_limit((), limit).fire();
                }
                Step::Policy(policy) => {
                    model.policy = policy;
                    queue.set_overflow((), policy).fire();
                }
                Step::Clear => {
                    let (wakes, cleared) = queue.step((), None, |state, wakes| {
                        state.clear(|buffer| {
                            let all = buffer.pop_many(usize::MAX).unwrap();
                            let count = all.len();
                            (all, count)
                        }, wakes)
                    });
                    wakes.fire();
                    let cleared = cleared.unwrap_or_default();
                    model.unfinished -= i64::try_from(cleared.len()).unwrap();
                    prop_assert_eq!(cleared, model.items.drain(..).collect::<Vec<_>>());
                }
                Step::ShutDown => {
                    model.shut = true;
                    queue.shut_down(()).0.fire();
                }
            }
            prop_assert_eq!(queue.size(()), model.items.len());
            prop_assert_eq!(queue.unfinished(()), model.unfinished);
            let seen = queue.statistics(());
            prop_assert_eq!((seen.rejected, seen.dropped), (model.rejected, model.dropped));
            if waiter.is_enqueued() && (model.shut || model.has_room() || model.policy != Overflow::Block) {
                prop_assert!(parker.is_notified(), "a putter sleeps although nothing keeps it");
            }
        }
        queue.leave((), &mut waiter).fire();
    }

    #[test]
    fn a_heap_drops_its_greatest_item(items in proptest::collection::vec(0u32..20, 1..20), new in 0u32..20) {
        let mut heap = Heap::default();
        for item in &items {
            heap.push(*item, None, less).unwrap();
        }
        let greatest = *items.iter().max().unwrap();
        let mut comparisons = 0;
        let (dropped, was_old, outcome) = heap.displace_greatest(new, None, |heap, left, right| {
            comparisons += 1;
            less(heap, left, right)
        });
        prop_assert_eq!(outcome, Ok(()));
        prop_assert_eq!(was_old, new < greatest);
        prop_assert_eq!(dropped.map(|(item, _)| item), Some(greatest.max(new)));
        prop_assert!(comparisons <= items.len().div_ceil(2) + 6, "{comparisons} comparisons of {}", items.len());
        let mut all = items;
        all.push(new);
        all.sort_unstable();
        all.pop();
        while let Some(outcome) = heap.pop(less) {
            prop_assert_eq!(outcome, Ok(()));
        }
        prop_assert_eq!(heap.taken, all);
    }

    /// A comparison that fails loses nothing but the item that was to come in.
    #[test]
    fn a_comparison_that_fails_while_the_greatest_is_sought(count in 1usize..20, new in 0u32..40, fails_at in 0usize..12) {
        let before: Vec<u32> = (0..u32::try_from(count).unwrap()).map(|n| 2 * n).collect();
        let mut heap = Heap::default();
        heap.items.clone_from(&before);
        let mut calls = 0;
        let (dropped, was_old, outcome) = heap.displace_greatest(new, None, |heap, left, right| {
            calls += 1;
            if calls > fails_at { Err(()) } else { less(heap, left, right) }
        });
        prop_assert!(heap.taken.is_empty());
        let mut after = heap.items;
        after.extend(dropped.map(|(item, _)| item));
        after.sort_unstable();
        let mut expected = before;
        expected.push(new);
        expected.sort_unstable();
        prop_assert_eq!(after, expected);
        prop_assert!(outcome.is_ok() || was_old || dropped == Some((new, None)));
    }
}
