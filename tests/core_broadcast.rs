//! The core's broadcast, one thread at a time: who is woken, who waits for whom, and how much memory a slow subscriber takes.
#![cfg(not(loom))]

mod forks;

use std::sync::Arc;

use forks::{Unforked, alone};
use sluicegate_core::broadcast::{Broadcast, Ended, GetError, Overflow, PublishError, SubscribeError, Subscription, Waiter};
use sluicegate_core::clock::Clock;
use sluicegate_core::fork;
use sluicegate_core::monitor::Waitable;
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Core = Broadcast<u64, Arc<Parker>, Threads>;
type Subscriber = Subscription<u64, Arc<Parker>, Threads>;

fn core() -> Arc<Core> {
    Arc::new(Core::new((), Clock::Monotonic))
}

fn publish(core: &Core, item: u64) -> Result<usize, PublishError<u64>> {
    let (wakes, result) = core.try_publish((), item, true);
    wakes.fire();
    result.map(|published| published.subscribers)
}

fn get(subscriber: &Subscriber) -> Result<u64, GetError> {
    let (wakes, result) = subscriber.try_get((), true, |item| *item);
    wakes.fire();
    result
}

/// Somebody who waits, and whether that one has been woken.
#[derive(Default)]
struct Waiting(Waiter, Arc<Parker>);

impl Waiting {
    fn get(&mut self, subscriber: &Subscriber) -> Result<u64, GetError> {
        self.1.reset();
        let (wakes, result) = subscriber.get_or_wait((), &mut self.0, &self.1, |item| *item);
        wakes.fire();
        result
    }

    fn publish(&mut self, core: &Core, item: u64) -> Result<usize, PublishError<u64>> {
        self.1.reset();
        let (wakes, result) = core.publish_or_wait((), item, &mut self.0, &self.1);
        wakes.fire();
        result.map(|published| published.subscribers)
    }

    fn is_woken(&self) -> bool {
        self.1.is_notified()
    }
}

#[test]
fn an_item_wakes_one_waiter_of_each_subscriber_in_order() {
    let _unforked = Unforked::new();
    let core = core();
    let subscribers = [(); 2].map(|()| Core::subscribe(&core, (), 4, Overflow::Block).unwrap());
    let mut waiting: Vec<Vec<Waiting>> = subscribers.iter().map(|_| (0..2).map(|_| Waiting::default()).collect()).collect();
    for (subscriber, waiting) in subscribers.iter().zip(&mut waiting) {
        for each in waiting {
            assert_eq!(each.get(subscriber), Err(GetError::Empty));
        }
    }
    assert_eq!(publish(&core, 1), Ok(2));
    for (subscriber, waiting) in subscribers.iter().zip(&mut waiting) {
        assert_eq!(waiting.iter().map(Waiting::is_woken).collect::<Vec<_>>(), [true, false]);
        // The first leaves with its turn, and the second has it.
        subscriber.leave((), &mut waiting[0].0).fire();
        assert!(waiting[1].is_woken());
        assert_eq!(waiting[1].get(subscriber), Ok(1));
        assert_eq!(subscriber.statistics(()).waiting_getters, 0);
    }
}

#[test]
fn a_publisher_waits_for_every_subscriber_that_blocks_and_for_no_other() {
    let _unforked = Unforked::new();
    let core = core();
    let [one, two] = [1, 2].map(|limit| Core::subscribe(&core, (), limit, Overflow::Block).unwrap());
    let lossy = Core::subscribe(&core, (), 1, Overflow::DropNewest).unwrap();
    assert_eq!(publish(&core, 1), Ok(3));
    assert_eq!(publish(&core, 2), Err(PublishError::Full(2)));
    assert_eq!((one.len(()), two.len(()), lossy.len(())), (1, 1, 1), "nothing is published to anybody");
    let mut waiting = [Waiting::default(), Waiting::default()];
    for (each, item) in waiting.iter_mut().zip([2, 3]) {
        assert_eq!(each.publish(&core, item), Err(PublishError::Full(item)));
    }
    assert_eq!(get(&two), Ok(1));
    assert!(!waiting[0].is_woken(), "the other one is still full");
    assert_eq!(get(&one), Ok(1));
    assert!(waiting[0].is_woken() && !waiting[1].is_woken());
    assert_eq!(waiting[0].publish(&core, 2), Ok(2));
    assert!(!waiting[1].is_woken());
    // A subscriber that goes is not waited for.
    one.unsubscribe(());
    assert!(waiting[1].is_woken());
    assert_eq!(waiting[1].publish(&core, 3), Ok(1));
    assert_eq!((get(&two), get(&two), get(&two)), (Ok(2), Ok(3), Err(GetError::Empty)));
    assert_eq!((lossy.missed(()), get(&lossy), lossy.statistics(()).dropped), (0, Ok(1), 2));
}

#[test]
fn who_is_disconnected_takes_what_it_has_and_is_told() {
    let _unforked = Unforked::new();
    let core = core();
    let subscriber = Core::subscribe(&core, (), 2, Overflow::Disconnect).unwrap();
    for item in 0..4 {
        assert_eq!(publish(&core, item), Ok(usize::from(item < 2)));
    }
    assert_eq!((get(&subscriber), get(&subscriber)), (Ok(0), Ok(1)));
    assert_eq!(get(&subscriber), Err(GetError::Ended(Ended::Disconnected)));
    let seen = core.statistics(());
    assert_eq!((seen.published, seen.disconnected, seen.subscribers, seen.dropped, seen.size), (4, 1, 0, 1, 0));
}

#[test]
fn the_end_wakes_everybody() {
    let _unforked = Unforked::new();
    let core = core();
    let [full, empty] = [1, 2].map(|limit| Core::subscribe(&core, (), limit, Overflow::Block).unwrap());
    assert_eq!(publish(&core, 1), Ok(2));
    assert_eq!(get(&empty), Ok(1));
    let [mut publisher, mut getter] = [Waiting::default(), Waiting::default()];
    assert_eq!(publisher.publish(&core, 2), Err(PublishError::Full(2)));
    assert_eq!(getter.get(&empty), Err(GetError::Empty));
    let (wakes, (displaced, again)) = core.shut_down((), false, |(), again| again);
    wakes.fire();
    assert!(displaced.is_none() && !again && publisher.is_woken() && getter.is_woken());
    assert_eq!(publisher.publish(&core, 2), Err(PublishError::ShutDown(2)));
    assert_eq!(getter.get(&empty), Err(GetError::Ended(Ended::ShutDown)));
    assert_eq!((get(&full), get(&full)), (Ok(1), Err(GetError::Ended(Ended::ShutDown))));
    assert_eq!(Core::subscribe(&core, (), 1, Overflow::Block).err(), Some(SubscribeError::ShutDown));
}

#[test]
fn a_child_of_a_fork_has_no_waiters() {
    let alone = alone();
    let core = core();
    let _forked = Unforked::forked(&alone);
    let subscriber = Core::subscribe(&core, (), 1, Overflow::Block).unwrap();
    let [mut publisher, mut getter] = [Waiting::default(), Waiting::default()];
    assert_eq!(getter.get(&subscriber), Err(GetError::Empty));
    fork::after_fork_in_child();
    assert_eq!(publish(&core, 1), Ok(1));
    assert!(!getter.is_woken());
    assert_eq!(publisher.publish(&core, 2), Err(PublishError::Full(2)));
    fork::after_fork_in_child();
    assert_eq!((get(&subscriber), publish(&core, 3)), (Ok(1), Ok(1)));
    assert!(!publisher.is_woken());
    let seen = (core.statistics(()).waiting_publishers, subscriber.statistics(()).waiting_getters);
    assert_eq!(seen, (0, 0));
    assert_eq!(getter.get(&subscriber), Ok(3), "one that goes on in the child comes again");
}
