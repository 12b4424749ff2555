//! Random operations on a queue whose items have a time to live and a weight, against a plain model: each item is delivered in time, dropped
//! with the right reason, refused, or still inside; the sum of the weights is that of the items inside and never above the bound; a put
//! displaces no more than it needs.
#![cfg(not(loom))]

mod cases;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::buffer::{Buffer, Fifo};
use sluicegate_core::clock::{Clock, Manual};
use sluicegate_core::queue::{
    Admission, Attempt, BatchBounds, BatchError, Composition, DropReason, Due, GetError, Linger, Lost, Overflow, PutError, Queue,
    Terms, Waiter,
};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Fifos = Queue<Fifo<u32>, Arc<Parker>, Threads>;

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(Terms),
    WaitToPut(Terms),
    LeavePut,
    PutMany(usize, Terms),
    Get,
    GetMany(usize, Option<u64>),
    Advance(u64),
    Policy(Overflow),
    Limit(usize),
    Clear,
}

fn terms() -> impl Strategy<Value = Terms> {
    let due = prop_oneof![2 => Just(Due::Never), 3 => (1u64..6).prop_map(Due::In)];
    (0u64..5, due).prop_map(|(weight, due)| Terms { weight, due })
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
        8 => terms().prop_map(Step::Put),
        3 => terms().prop_map(Step::WaitToPut),
        1 => Just(Step::LeavePut),
        2 => (0usize..4, terms()).prop_map(|(n, terms)| Step::PutMany(n, terms)),
        4 => Just(Step::Get),
        2 => (1usize..4, prop::option::of(1u64..8)).prop_map(|(max, weight)| Step::GetMany(max, weight)),
        4 => (1u64..4).prop_map(Step::Advance),
        1 => policy().prop_map(Step::Policy),
        1 => (1usize..5).prop_map(Step::Limit),
        1 => Just(Step::Clear),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Inside {
    item: u32,
    weight: u64,
    deadline: u64,
    arrived: u64,
}

/// What a queue should do, in the plainest words.
#[derive(Default)]
struct Model {
    items: VecDeque<Inside>,
    limit: usize,
    max_weight: u64,
    policy: Overflow,
    skipped: u64,
    now: u64,
    unfinished: i64,
    dropped: [u64; DropReason::COUNT],
}

#[derive(Debug, PartialEq)]
enum Fate {
    Stored,
    Full,
    Rejected,
}

impl Model {
    fn weight(&self) -> u64 {
        self.items.iter().map(|inside| inside.weight).sum()
    }

    fn fits(&self, weight: u64) -> bool {
        self.items.len() < self.limit && self.weight() + weight <= self.max_weight
    }

    fn lose(&mut self, inside: Inside, reason: DropReason, lost: &mut Vec<(u32, DropReason)>) {
        self.dropped[reason as usize] += 1;
        self.unfinished -= 1;
        lost.push((inside.item, reason));
    }

    /// With what is lost for it, itself perhaps.
    fn arrive(&mut self, item: u32, terms: Terms, lost: &mut Vec<(u32, DropReason)>) -> Fate {
        let deadline = match terms.due {
            Due::In(ttl) => self.now + ttl,
            _ => u64::MAX,
        };
        if !self.fits(terms.weight) {
            let (gone, left): (Vec<_>, Vec<_>) = self.items.drain(..).partition(|inside| inside.deadline <= self.now);
            self.items = left.into();
            for inside in gone {
                self.lose(inside, DropReason::Expired, lost);
            }
        }
        let mut displaces = None;
        if !self.fits(terms.weight) {
            let (reason, otherwise) = match self.policy {
                Overflow::Block => return Fate::Full,
                Overflow::Reject => return Fate::Rejected,
                Overflow::DropOldest => (Some(DropReason::Oldest), DropReason::Newest),
                Overflow::Sample(n) => {
                    self.skipped += 1;
                    let sampled = self.skipped >= n.get();
                    if sampled {
                        self.skipped = 0;
                    }
                    (sampled.then_some(DropReason::Sampled), DropReason::Sampled)
                }
                _ => (None, DropReason::Newest),
            };
            displaces = reason;
            if displaces.is_none() {
                self.dropped[otherwise as usize] += 1;
                lost.push((item, otherwise));
                return Fate::Stored;
            }
        }
        while !self.fits(terms.weight) {
            let oldest = self.items.pop_front().expect("an item alone always fits");
            self.lose(oldest, displaces.unwrap(), lost);
        }
        self.items.push_back(Inside { item, weight: terms.weight, deadline, arrived: self.now });
        self.unfinished += 1;
        Fate::Stored
    }

    fn lose_first(&mut self, lost: &mut Vec<(u32, DropReason)>) {
        while self.items.front().is_some_and(|inside| inside.deadline <= self.now) {
            let inside = self.items.pop_front().expect("seen a line ago");
            self.lose(inside, DropReason::Expired, lost);
        }
    }

    fn take(&mut self, lost: &mut Vec<(u32, DropReason)>) -> Option<u32> {
        self.lose_first(lost);
        self.items.pop_front().map(|inside| inside.item)
    }
}

fn told(lost: Lost<u32>) -> Vec<(u32, DropReason)> {
    lost.into_vec().into_iter().map(|dropped| (dropped.item, dropped.reason)).collect()
}

fn fate(item: u32, result: Result<(), PutError<u32>>) -> Fate {
    match result {
        Ok(()) => Fate::Stored,
        Err(PutError::Full(back)) => {
            assert_eq!(back, item);
            Fate::Full
        }
        Err(PutError::Rejected(back)) => {
            assert_eq!(back, item);
            Fate::Rejected
        }
        Err(other) => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn items_with_a_time_to_live_and_a_weight(
        limit in 1usize..5,
        before in 0usize..3,
        max_weight in prop_oneof![Just(None), (4u64..9).prop_map(Some)],
        latency in any::<bool>(),
        first in policy(),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let clock = Arc::new(Manual::new(0));
        let queue: Fifos = Queue::new(Fifo::default(), limit, Clock::Manual(Arc::clone(&clock)));
        queue.set_overflow((), first).fire();
        let mut model = Model { limit, max_weight: max_weight.unwrap_or(u64::MAX), policy: first, ..Model::default() };
        // Some may be there already when it is composed.
        for item in 1000..1000 + before.min(limit) {
            let (wakes, result) = queue.try_put((), u32::try_from(item).unwrap(), Admission::Immediate);
            wakes.fire();
            prop_assert_eq!(result, Ok(()));
            model.arrive(u32::try_from(item).unwrap(), Terms::NONE, &mut Vec::new());
        }
        // With neither the queue keeps notes from its first `ttl` on, and has a shorter way still.
        queue.compose((), &Composition { max_weight, latency, ..Composition::default() }).unwrap();
        let (mut next, mut waiter, parker) = (0, Waiter::default(), Arc::new(Parker::default()));
        let (mut delivered, mut shortcuts) = (0, 0);
        for step in steps {
            next += 1;
            match step {
                // The short way, where it is open.
                Step::Put(terms) if next % 2 == 0 && terms.weight == 0 && {
                    let ttl = if let Due::In(ttl) = terms.due { Some(ttl) } else { None };
                    ttl.is_some_and(|ttl| queue.put_in_time((), ttl, || next))
                        || queue.put_watched_or_noted((), ttl, Admission::Immediate, || next)
                } => {
                    let mut expected = Vec::new();
                    prop_assert_eq!(model.arrive(next, terms, &mut expected), Fate::Stored);
                    prop_assert!(expected.is_empty());
                    shortcuts += 1;
                }
                Step::Put(terms) => {
                    let (wakes, lost, result) = queue.put_composed((), next, terms, Attempt::Now);
                    wakes.fire();
                    let mut expected = Vec::new();
                    prop_assert_eq!(fate(next, result), model.arrive(next, terms, &mut expected));
                    prop_assert_eq!(told(lost), expected);
                }
                Step::WaitToPut(terms) => {
                    queue.leave((), &mut waiter).fire();
                    parker.reset();
                    let (wakes, lost, result) = queue.put_composed((), next, terms, Attempt::Wait(&mut waiter, &parker));
                    wakes.fire();
                    let mut expected = Vec::new();
                    let found = fate(next, result);
                    prop_assert_eq!(waiter.is_enqueued(), found == Fate::Full);
                    prop_assert_eq!(found, model.arrive(next, terms, &mut expected));
                    prop_assert_eq!(told(lost), expected);
                }
                Step::LeavePut => queue.leave((), &mut waiter).fire(),
                Step::PutMany(count, terms) => {
                    let all: Vec<u32> = (0..u32::try_from(count).unwrap()).map(|n| next + n).collect();
                    next += u32::try_from(count).unwrap();
                    let mut items = all.clone().into_iter();
                    let (wakes, lost, result) = queue.put_many_composed((), &mut items, &mut |_, _| terms, Attempt::Now);
                    wakes.fire();
                    let (mut expected, mut left) = (Vec::new(), all.len());
                    let mut outcome = Fate::Stored;
                    for item in all {
                        outcome = model.arrive(item, terms, &mut expected);
                        if outcome != Fate::Stored {
                            break;
                        }
                        left -= 1;
                    }
                    prop_assert_eq!(items.len(), left);
                    prop_assert_eq!(told(lost), expected);
                    prop_assert_eq!(result, match outcome {
                        Fate::Stored => Ok(()),
                        Fate::Full => Err(PutError::Full(())),
                        Fate::Rejected => Err(PutError::Rejected(())),
                    });
                }
                Step::Get => {
                    let short = if next % 2 == 0 { queue.get_watched_or_noted((), Admission::Immediate) } else { None };
                    let mut expected = Vec::new();
                    if short.is_some() {
                        prop_assert_eq!(short, model.take(&mut expected));
                        prop_assert!(expected.is_empty());
                        delivered += 1;
                        shortcuts += 1;
                    } else {
                    let (wakes, lost, result) = queue.get_composed((), Attempt::Now);
                    wakes.fire();
                    let found = model.take(&mut expected);
                    delivered += u64::from(found.is_some());
                    prop_assert_eq!(result, found.ok_or(GetError::Empty));
                    prop_assert_eq!(told(lost), expected);
                    }
                }
                Step::GetMany(max, max_weight) => {
                    let bounds = BatchBounds { max, max_weight: max_weight.unwrap_or(u64::MAX) };
                    let (wakes, lost, result) = queue.get_many_composed((), bounds, Linger::Over, Attempt::Now);
                    wakes.fire();
                    let (mut expected, mut batch, mut weighed) = (Vec::new(), Vec::new(), 0);
                    model.lose_first(&mut expected);
                    while batch.len() < max {
                        let next = model.items.iter().find(|inside| inside.deadline > model.now).map(|inside| inside.weight);
                        let is_too_heavy = max_weight.zip(next).is_some_and(|(max, weight)| weighed + weight > max);
                        if !batch.is_empty() && is_too_heavy {
                            break;
                        }
                        let Some(item) = model.take(&mut expected) else { break };
                        batch.push(item);
                        weighed += next.unwrap();
                    }
                    delivered += batch.len() as u64;
                    prop_assert_eq!(result, if batch.is_empty() { Err(BatchError::Empty) } else { Ok(batch) });
                    prop_assert_eq!(told(lost), expected);
                }
                Step::Advance(by) => {
                    clock.advance(by);
                    model.now += by;
                }
                Step::Policy(policy) => {
                    model.policy = policy;
                    queue.set_overflow((), policy).fire();
                }
                Step::Limit(limit) => {
                    model.limit = limit;
                    queue.set_limit((), limit).fire();
                }
                Step::Clear => {
                    let (wakes, _) = queue.step((), None, |state, wakes| {
                        state.clear(|buffer| {
                            let all = buffer.pop_many(usize::MAX).unwrap();
                            let count = all.len();
                            (all, count)
                        }, wakes)
                    });
                    wakes.fire();
                    model.unfinished -= i64::try_from(model.items.len()).unwrap();
                    model.items.clear();
                }
            }
            prop_assert_eq!(queue.size(()), model.items.len());
            prop_assert_eq!(queue.unfinished(()), model.unfinished);
            let seen = queue.statistics(());
            prop_assert_eq!(seen.dropped, model.dropped);
            prop_assert_eq!(seen.weight, max_weight.map(|max| (model.weight(), max)));
            if max_weight.is_some() || latency {
                prop_assert_eq!(seen.oldest, model.items.front().map(|inside| model.now - inside.arrived));
            }
            prop_assert_eq!(seen.latency.map(|latency| latency.count), latency.then_some(delivered));
            if waiter.is_enqueued() && model.policy != Overflow::Block {
                prop_assert!(parker.is_notified(), "a putter sleeps although nobody waits for room");
            }
        }
        queue.leave((), &mut waiter).fire();
        prop_assert!(max_weight.is_none() || shortcuts == 0, "weights are not asked there");
    }
}
