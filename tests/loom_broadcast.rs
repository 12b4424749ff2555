//! Models of the broadcast, over every interleaving. Each says which promise it guards.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use sluicegate_core::broadcast::{Broadcast, Ended, GetError, Overflow, PublishError, Subscription, Waiter};
use sluicegate_core::clock::Clock;
use sluicegate_core::monitor::Waitable;
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Core = Broadcast<u32, Arc<Parker>, Threads>;
type Subscriber = Subscription<u32, Arc<Parker>, Threads>;

fn core() -> Arc<Core> {
    Arc::new(Core::new((), Clock::Monotonic))
}

fn subscribe(core: &Arc<Core>, limit: usize, overflow: Overflow) -> Arc<Subscriber> {
    Arc::new(Core::subscribe(core, (), limit, overflow).unwrap())
}

/// What the binding's blocking gate does, without time and signals.
fn wait_for<R>(mut attempt: impl FnMut(&mut Waiter, &Arc<Parker>) -> Option<R>) -> R {
    let (mut waiter, parker) = (Waiter::default(), Arc::new(Parker::default()));
    loop {
        parker.reset();
        if let Some(done) = attempt(&mut waiter, &parker) {
            return done;
        }
        while !parker.is_notified() {
            parker.park(None);
        }
    }
}

fn get(subscriber: &Subscriber) -> Result<u32, Ended> {
    wait_for(|waiter, parker| {
        let (wakes, result) = subscriber.get_or_wait((), waiter, parker, |item| *item);
        wakes.fire();
        match result {
            Ok(item) => Some(Ok(item)),
            Err(GetError::Ended(ended)) => Some(Err(ended)),
            Err(GetError::Empty) => None,
            Err(GetError::NoMemory) => panic!("no memory"),
        }
    })
}

/// To how many.
fn publish(core: &Core, item: u32) -> Option<usize> {
    wait_for(|waiter, parker| {
        let (wakes, result) = core.publish_or_wait((), item, waiter, parker);
        wakes.fire();
        match result {
            Ok(published) => Some(Some(published.subscribers)),
            Err(PublishError::ShutDown(_)) => Some(None),
            Err(PublishError::Full(_)) => None,
            Err(PublishError::NoMemory(_)) => panic!("no memory"),
        }
    })
}

/// Nothing lost, nothing twice: two subscribers that wait get every item, in order, though one of them makes the publisher wait.
#[test]
fn each_subscriber_gets_each_item() {
    loom::model(|| {
        let core = core();
        let subscribers = [subscribe(&core, 1, Overflow::Block), subscribe(&core, 2, Overflow::Block)];
        let threads = subscribers.map(|subscriber| thread::spawn(move || [get(&subscriber), get(&subscriber)]));
        assert_eq!([publish(&core, 1), publish(&core, 2)], [Some(2), Some(2)]);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), [Ok(1), Ok(2)]);
        }
        assert_eq!(core.statistics(()).size, 0);
    });
}

/// A publisher does not wait for a subscriber that has gone, however the two race.
#[test]
fn a_publisher_races_with_its_subscriber_leaving() {
    loom::model(|| {
        let core = core();
        let subscriber = subscribe(&core, 1, Overflow::Block);
        assert_eq!(publish(&core, 1), Some(1));
        let publisher = {
            let core = Arc::clone(&core);
            thread::spawn(move || publish(&core, 2))
        };
        subscriber.unsubscribe(());
        assert_eq!(publisher.join().unwrap(), Some(0));
        assert_eq!(core.statistics(()).waiting_publishers, 0);
    });
}

/// A wake-up given to a getter that leaves (cancelled, timed out) goes to the other getter of that subscriber.
#[test]
fn an_item_races_with_its_waiter_leaving() {
    loom::model(|| {
        let core = core();
        let subscriber = subscribe(&core, 1, Overflow::DropOldest);
        let (mut quitter, parker) = (Waiter::default(), Arc::new(Parker::default()));
        let (wakes, result) = subscriber.get_or_wait((), &mut quitter, &parker, |item| *item);
        wakes.fire();
        assert_eq!(result, Err(GetError::Empty));
        let other = {
            let subscriber = Arc::clone(&subscriber);
            thread::spawn(move || get(&subscriber))
        };
        let publisher = {
            let core = Arc::clone(&core);
            thread::spawn(move || publish(&core, 1))
        };
        subscriber.leave((), &mut quitter).fire();
        assert_eq!((other.join().unwrap(), publisher.join().unwrap()), (Ok(1), Some(1)));
    });
}

/// The end reaches a getter and a publisher, however it races with their falling asleep.
#[test]
fn the_end_races_with_those_who_wait() {
    loom::model(|| {
        let core = core();
        let [full, empty] = [subscribe(&core, 1, Overflow::Block), subscribe(&core, 2, Overflow::Block)];
        assert_eq!((publish(&core, 1), get(&empty)), (Some(2), Ok(1)));
        let getter = thread::spawn(move || get(&empty));
        let publisher = {
            let core = Arc::clone(&core);
            thread::spawn(move || publish(&core, 2))
        };
        let (wakes, _) = core.shut_down((), false, |(), _| ());
        wakes.fire();
        assert_eq!((getter.join().unwrap(), publisher.join().unwrap()), (Err(Ended::ShutDown), None));
        assert_eq!((get(&full), get(&full)), (Ok(1), Err(Ended::ShutDown)));
    });
}
