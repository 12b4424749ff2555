//! The broadcast beside a plain model: a queue for each subscriber.
#![cfg(not(loom))]

mod cases;

use std::collections::VecDeque;
use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::broadcast::{Broadcast, Ended, GetError, Overflow, PublishError, Subscription};
use sluicegate_core::clock::Clock;
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

/// An item whose handles are counted.
type Item = Arc<u64>;
type Core = Broadcast<Item, Arc<Parker>, Threads>;
type Subscriber = Subscription<Item, Arc<Parker>, Threads>;

#[derive(Clone, Debug)]
enum Step {
    Subscribe(usize, Overflow),
    Unsubscribe(usize),
    Close(usize),
    Publish,
    Get(usize),
    GetMany(usize, usize),
    ShutDown(bool),
}

fn overflow() -> impl Strategy<Value = Overflow> {
    prop::sample::select(vec![Overflow::DropOldest, Overflow::DropNewest, Overflow::Block, Overflow::Disconnect])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (prop_oneof![9 => 1..6_usize, 1 => 60..140_usize], overflow()).prop_map(|(limit, overflow)| Step::Subscribe(limit, overflow)),
        1 => (0..8_usize).prop_map(Step::Unsubscribe),
        1 => (0..8_usize).prop_map(Step::Close),
        20 => Just(Step::Publish),
        12 => (0..8_usize).prop_map(Step::Get),
        4 => (0..8_usize, 1..5_usize).prop_map(|(which, max)| Step::GetMany(which, max)),
        1 => prop::bool::weighted(0.2).prop_map(Step::ShutDown),
    ]
}

struct Model {
    limit: usize,
    overflow: Overflow,
    items: VecDeque<u64>,
    /// What was published since it subscribed, as far as it was to get it.
    offered: Vec<u64>,
    missed: u64,
    ended: Option<Ended>,
}

impl Model {
    /// It has taken this item. What was offered before it, and has not been taken, it has missed.
    fn took(&mut self, item: u64) {
        let before = self.offered.iter().position(|&offered| offered == item).unwrap();
        self.missed += before as u64;
        self.offered.drain(..=before);
    }
}

struct Both {
    core: Arc<Core>,
    there: Vec<(Subscriber, Model)>,
    /// Every item ever published, to see that none stays behind.
    items: Vec<std::sync::Weak<u64>>,
    shut: bool,
}

impl Both {
    fn publish(&mut self) {
        let item = Arc::new(self.items.len() as u64);
        let number = *item;
        self.items.push(Arc::downgrade(&item));
        let (wakes, result) = self.core.try_publish((), item, false);
        assert!(wakes.is_empty());
        let blocked = self
            .there
            .iter()
            .any(|(_, model)| model.overflow == Overflow::Block && model.items.len() == model.limit && model.ended.is_none());
        if self.shut {
            assert!(matches!(result, Err(PublishError::ShutDown(item)) if *item == number));
            return;
        }
        if blocked {
            assert!(matches!(result, Err(PublishError::Full(item)) if *item == number));
            return;
        }
        let mut count = 0;
        for (_, model) in self.there.iter_mut().filter(|(_, model)| model.ended.is_none()) {
            model.offered.push(number);
            if model.items.len() == model.limit {
                match model.overflow {
                    Overflow::DropOldest => drop(model.items.pop_front()),
                    Overflow::DropNewest => continue,
                    Overflow::Disconnect => {
                        model.ended = Some(Ended::Disconnected);
                        continue;
                    }
                    Overflow::Block => unreachable!(),
                }
            }
            model.items.push_back(number);
            count += 1;
        }
        assert_eq!(result.unwrap().subscribers, count);
    }

    fn get(&mut self, which: usize, max: Option<usize>) {
        if self.there.is_empty() {
            return;
        }
        let which = which % self.there.len();
        let (subscription, model) = &mut self.there[which];
        let next = subscription.peek((), Arc::clone).ok().map(|item| *item);
        assert_eq!(next, model.items.front().copied());
        let result = match max {
            None => subscription.try_get((), false, Arc::clone).1.map(|item| vec![item]),
            Some(max) => subscription.try_get_many((), max, false, Arc::clone).1,
        };
        let expected: Vec<u64> = model.items.drain(..max.unwrap_or(1).min(model.items.len())).collect();
        match result {
            Ok(items) => {
                assert_eq!(items.iter().map(|item| **item).collect::<Vec<_>>(), expected);
                for item in expected {
                    model.took(item);
                }
                assert_eq!(subscription.missed(()), model.missed);
            }
            Err(error) => {
                assert!(expected.is_empty());
                let ended = model.ended.or(self.shut.then_some(Ended::ShutDown));
                assert_eq!(error, ended.map_or(GetError::Empty, GetError::Ended));
            }
        }
    }

    fn check(&self) {
        for (subscription, model) in &self.there {
            assert_eq!(subscription.len(()), model.items.len());
        }
        let mut held: Vec<u64> = self.there.iter().flat_map(|(_, model)| model.items.iter().copied()).collect();
        held.sort_unstable();
        held.dedup();
        let alive: Vec<u64> = self.items.iter().filter_map(|item| item.upgrade().map(|item| *item)).collect();
        assert_eq!(alive, held, "an item is there for as long as somebody has yet to take it");
        assert_eq!(self.core.statistics(()).size, held.len());
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn it_does_what_a_queue_for_each_subscriber_does(steps in prop::collection::vec(step(), 1..400)) {
        let core = Arc::new(Core::new((), Clock::Monotonic));
        let mut both = Both { core, there: Vec::new(), items: Vec::new(), shut: false };
        for step in steps {
            match step {
                Step::Subscribe(limit, overflow) => match Core::subscribe(&both.core, (), limit, overflow) {
                    Ok(subscription) => {
                        let (items, offered) = (VecDeque::new(), Vec::new());
                        both.there.push((subscription, Model { limit, overflow, items, offered, missed: 0, ended: None }));
                    }
                    Err(_) => prop_assert!(both.shut),
                },
                Step::Unsubscribe(which) if !both.there.is_empty() => {
                    let which = which % both.there.len();
                    both.there.swap_remove(which).0.unsubscribe(());
                }
                Step::Close(which) if !both.there.is_empty() => {
                    let which = which % both.there.len();
                    let (subscription, model) = &mut both.there[which];
                    subscription.close(());
                    model.items.clear();
                    model.ended = Some(Ended::Closed);
                }
                Step::Publish => both.publish(),
                Step::Get(which) => both.get(which, None),
                Step::GetMany(which, max) => both.get(which, Some(max)),
                // Seldom, or most of a run would be after the end.
                Step::ShutDown(at_once) if both.items.len() > 100 => {
                    let (wakes, (displaced, ())) = both.core.shut_down((), at_once, |(), _| ());
                    wakes.fire();
                    drop(displaced);
                    both.shut = true;
                    if at_once {
                        both.there.iter_mut().for_each(|(_, model)| model.items.clear());
                    }
                }
                Step::Unsubscribe(_) | Step::Close(_) | Step::ShutDown(_) => {}
            }
            both.check();
        }
    }
}
