//! The core's keyed semaphore: which keys exist, who gets a place, and a random run against a plain model.
#![cfg(not(loom))]

mod cases;
mod forks;

use std::collections::BTreeMap;
use std::sync::Arc;

use cases::cases;
use forks::{Alone, Unforked, alone};
use proptest::prelude::*;
use sluicegate_core::clock::Clock;
use sluicegate_core::fork;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::section::Threads;
use sluicegate_core::semaphore::{AcquireError, Keyed, Overreleased, Waiter};
use sluicegate_core::wait::Parker;

const BUSY: Result<(), AcquireError> = Err(AcquireError::Busy);

/// Keys that follow one another are in shards that do.
fn hash(key: char) -> KeyHash {
    KeyHash::new([u64::from(key), u64::from(key)])
}

struct Hosts(Keyed<Arc<Parker>, Threads>, #[expect(dead_code, reason = "held, not read")] Unforked);

impl Hosts {
    fn new(size: u64, max_keys: usize) -> Self {
        Self::in_shards(size, max_keys, 4)
    }

    fn in_shards(size: u64, max_keys: usize, shards: usize) -> Self {
        Self(Keyed::new(size, max_keys, shards, Clock::Monotonic), Unforked::new())
    }

    fn that_are_forked(size: u64, max_keys: usize, alone: &Alone) -> Self {
        Self(Keyed::new(size, max_keys, 4, Clock::Monotonic), Unforked::forked(alone))
    }

    fn take(&self, key: char, n: u64) -> Result<(), AcquireError> {
        self.0.try_acquire((), hash(key), n)
    }

    fn release(&self, key: char, n: u64) -> Result<(), Overreleased> {
        let (wakes, result) = self.0.release((), hash(key), n);
        wakes.fire();
        result
    }

    /// Keys with a place, and keys that wait for one.
    fn keys(&self) -> (usize, usize) {
        let seen = self.0.statistics_of_all(());
        (seen.keys, seen.waiting_keys)
    }
}

struct Caller {
    key: char,
    n: u64,
    parker: Arc<Parker>,
    waiter: Waiter,
}

impl Caller {
    fn new(key: char, n: u64) -> Self {
        Self { key, n, parker: Arc::default(), waiter: Waiter::default() }
    }

    fn joins(hosts: &Hosts, key: char, n: u64) -> Self {
        let mut caller = Self::new(key, n);
        assert_eq!(caller.comes(hosts), BUSY);
        caller
    }

    fn comes(&mut self, hosts: &Hosts) -> Result<(), AcquireError> {
        self.parker.reset();
        let (wakes, result) = hosts.0.acquire_or_wait((), hash(self.key), self.n, &mut self.waiter, &self.parker);
        wakes.fire();
        assert_eq!(self.waiter.is_enqueued(), result == BUSY);
        result
    }

    fn steps_aside(&self, hosts: &Hosts) {
        hosts.0.step_aside((), hash(self.key), self.waiter.position().unwrap()).fire();
    }

    fn steps_back(&self, hosts: &Hosts) {
        hosts.0.step_back((), hash(self.key), self.waiter.position().unwrap()).fire();
    }

    fn leaves(&mut self, hosts: &Hosts) {
        hosts.0.leave((), hash(self.key), &mut self.waiter).fire();
    }

    fn is_woken(&self) -> bool {
        self.parker.is_notified()
    }
}

#[test]
fn each_key_has_its_own_permits_and_an_idle_key_does_not_exist() {
    let hosts = Hosts::new(2, 10);
    assert_eq!((hosts.take('a', 2), hosts.take('a', 1), hosts.take('b', 1)), (Ok(()), BUSY, Ok(())));
    assert_eq!(hosts.take('c', 3), Err(AcquireError::TooLarge { size: 2 }));
    assert_eq!(hosts.keys(), (2, 0));
    hosts.release('a', 1).unwrap();
    assert_eq!(hosts.release('a', 2), Err(Overreleased { held: 1 }));
    hosts.release('a', 1).unwrap();
    assert_eq!(hosts.release('a', 1), Err(Overreleased { held: 0 }));
    hosts.release('b', 1).unwrap();
    assert_eq!(hosts.keys(), (0, 0));
    assert_eq!(hosts.0.statistics_of_all(()).acquired, 2);
}

#[test]
fn a_key_that_is_only_waited_for_is_not_forgotten() {
    let hosts = Hosts::new(1, 1);
    hosts.take('a', 1).unwrap();
    let mut caller = Caller::joins(&hosts, 'a', 1);
    hosts.release('a', 1).unwrap();
    assert!(caller.is_woken());
    assert_eq!((hosts.keys(), hosts.take('a', 1), hosts.take('b', 1)), ((1, 0), BUSY, BUSY));
    assert_eq!(caller.comes(&hosts), Ok(()));
    hosts.release('a', 1).unwrap();
    assert_eq!(hosts.take('b', 1), Ok(()));
}

#[test]
fn when_all_places_are_taken_new_keys_wait_in_line_for_one() {
    let hosts = Hosts::new(2, 1);
    hosts.take('a', 1).unwrap();
    let (mut b, mut b_too, mut c) = (Caller::joins(&hosts, 'b', 1), Caller::joins(&hosts, 'b', 2), Caller::joins(&hosts, 'c', 1));
    assert_eq!((hosts.keys(), hosts.take('b', 1), hosts.take('a', 1)), ((1, 2), BUSY, Ok(())));
    assert_eq!(hosts.release('b', 1), Err(Overreleased { held: 0 }), "nobody holds one of it");
    assert_eq!(hosts.0.statistics_of_all(()).held, 2);
    hosts.release('a', 2).unwrap();
    assert!(b.is_woken() && !b_too.is_woken() && !c.is_woken());
    assert_eq!(b.comes(&hosts), Ok(()));
    hosts.release('b', 1).unwrap();
    assert!(b_too.is_woken() && !c.is_woken(), "the key keeps its place while it is waited for");
    assert_eq!(b_too.comes(&hosts), Ok(()));
    assert_eq!(hosts.take('d', 1), BUSY);
    hosts.release('b', 2).unwrap();
    assert!(c.is_woken());
    assert_eq!((c.comes(&hosts), hosts.keys()), (Ok(()), (1, 0)));
}

#[test]
fn a_waiter_that_leaves_takes_its_key_out_of_the_line() {
    let hosts = Hosts::new(1, 1);
    hosts.take('a', 1).unwrap();
    let (mut b, mut c) = (Caller::joins(&hosts, 'b', 1), Caller::joins(&hosts, 'c', 1));
    b.leaves(&hosts);
    assert_eq!(hosts.keys(), (1, 1));
    hosts.release('a', 1).unwrap();
    assert!(c.is_woken());
    c.leaves(&hosts); // woken, with a place
    assert_eq!((hosts.keys(), hosts.take('d', 1)), ((0, 0), Ok(())));
    b.leaves(&hosts); // any number of times
}

/// A signal handler in the middle of a wait for one key waits for another: it must not wait for the one that it keeps from coming.
#[test]
fn a_key_whose_waiters_have_all_stepped_aside_keeps_no_place_from_others() {
    for waited_for in ['a', 'b'] {
        let hosts = Hosts::new(1, 1);
        hosts.take('a', 1).unwrap();
        let mut outer = Caller::joins(&hosts, waited_for, 1);
        let mut later = Caller::joins(&hosts, 'c', 1);
        outer.steps_aside(&hosts);
        let mut handler = Caller::joins(&hosts, 'd', 1);
        hosts.release('a', 1).unwrap();
        assert_eq!((later.is_woken(), handler.is_woken(), later.comes(&hosts)), (true, false, Ok(())), "{waited_for}");
        hosts.release('c', 1).unwrap();
        assert_eq!((handler.comes(&hosts), hosts.keys()), (Ok(()), (1, 0)), "{waited_for}");
        let last = Caller::joins(&hosts, 'e', 1);
        outer.steps_back(&hosts);
        assert_eq!(hosts.keys(), (1, 2));
        hosts.release('d', 1).unwrap();
        assert_eq!((last.is_woken(), outer.comes(&hosts)), (false, Ok(())), "back in its old place: {waited_for}");
        hosts.release(waited_for, 1).unwrap();
        assert!(last.is_woken());
    }
}

#[test]
fn a_key_whose_waiter_has_stepped_aside_can_be_had_by_others() {
    let hosts = Hosts::new(1, 1);
    hosts.take('a', 1).unwrap();
    let mut outer = Caller::joins(&hosts, 'b', 1);
    outer.steps_aside(&hosts);
    let mut handler = Caller::joins(&hosts, 'b', 1);
    hosts.release('a', 1).unwrap();
    assert_eq!(handler.comes(&hosts), Ok(()));
    hosts.release('b', 1).unwrap();
    assert_eq!((hosts.keys(), hosts.0.statistics((), hash('b')).value), ((0, 0), 1));
    assert_eq!(hosts.take('b', 1), Ok(()));
    outer.leaves(&hosts);
    hosts.release('b', 1).unwrap();
    assert_eq!(hosts.0.statistics_of_all(()).waiters, 0);
}

/// What keeps a key that waits from being let in is not counted as an acquisition.
#[test]
fn a_key_that_got_its_place_late_has_seen_only_what_was_acquired() {
    let hosts = Hosts::new(3, 1);
    hosts.take('a', 1).unwrap();
    let mut caller = Caller::joins(&hosts, 'b', 2);
    hosts.release('a', 1).unwrap();
    assert_eq!(caller.comes(&hosts), Ok(()));
    let seen = hosts.0.statistics((), hash('b'));
    assert_eq!((seen.acquired, seen.peak_held, seen.held), (1, 2, 2));
}

#[test]
fn after_a_fork_held_keys_stay_and_waits_are_forgotten() {
    let alone = alone();
    let hosts = Hosts::that_are_forked(1, 1, &alone);
    hosts.take('a', 1).unwrap();
    let (mut a, mut b) = (Caller::joins(&hosts, 'a', 1), Caller::joins(&hosts, 'b', 1));
    fork::after_fork_in_child();
    assert_eq!(hosts.keys(), (1, 0));
    let mut ours = Caller::joins(&hosts, 'b', 1);
    b.leaves(&hosts);
    assert_eq!(hosts.keys(), (1, 1), "the parent's place is not ours");
    hosts.release('a', 1).unwrap();
    assert_eq!(ours.comes(&hosts), Ok(()));
    a.leaves(&hosts);
    assert_eq!(hosts.0.statistics_of_all(()).waiters, 0);
}

/// The first ticket of the parent's line and that of the child's are the same number.
#[test]
fn whoever_steps_aside_after_a_fork_moves_nobody_else() {
    let alone = alone();
    let hosts = Hosts::that_are_forked(1, 1, &alone);
    hosts.take('a', 1).unwrap();
    let parents = Caller::joins(&hosts, 'b', 1);
    fork::after_fork_in_child();
    let ours = Caller::joins(&hosts, 'b', 1);
    parents.steps_aside(&hosts);
    hosts.release('a', 1).unwrap();
    assert!(ours.is_woken());
}

#[derive(Clone, Debug)]
enum Step {
    Try(char, u64),
    Wait(usize, char, u64),
    Leave(usize),
    /// Aside if it was not, and else back.
    Turn(usize),
    Release(char, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (key, n) = (|| prop_oneof![Just('a'), Just('b'), Just('c'), Just('d')], || 1u64..3);
    prop_oneof![
        2 => (key(), n()).prop_map(|(key, n)| Step::Try(key, n)),
        8 => (0usize..6, key(), n()).prop_map(|(caller, key, n)| Step::Wait(caller, key, n)),
        1 => (0usize..6).prop_map(Step::Leave),
        2 => (0usize..6).prop_map(Step::Turn),
        6 => (key(), n()).prop_map(|(key, n)| Step::Release(key, n)),
    ]
}

proptest! {
    #![proptest_config(cases(1000))]

    /// Against held permits by key: never more than `size` of a key, nor of more keys than `max_keys`, and nobody sleeps for nothing.
    #[test]
    fn the_keyed_semaphore_is_its_model(size in 1u64..3, max_keys in 1usize..4, depth in 0..3, steps in proptest::collection::vec(step(), 0..80)) {
        let hosts = Hosts::in_shards(size, max_keys, 1usize << depth);
        let mut held: BTreeMap<char, u64> = BTreeMap::new();
        let mut callers: Vec<Caller> = (0..6).map(|_| Caller::new('a', 1)).collect();
        let mut aside = [false; 6];
        for step in steps {
            match step {
                Step::Try(key, n) => match hosts.take(key, n) {
                    Ok(()) => *held.entry(key).or_default() += n,
                    Err(AcquireError::TooLarge { .. }) => prop_assert!(n > size),
                    Err(AcquireError::NoMemory) => prop_assert!(false, "there is memory"),
                    Err(AcquireError::Busy) => {
                        let waited_for = callers.iter().any(|caller| caller.waiter.is_enqueued());
                        let free = held.get(&key).map_or(size, |held| size - held);
                        let room = held.contains_key(&key) || held.len() < max_keys;
                        prop_assert!(waited_for || n > free || !room, "a false Busy");
                    }
                },
                Step::Wait(index, key, n) => {
                    let caller = &mut callers[index];
                    if aside[index] {
                        continue;
                    }
                    if !caller.waiter.is_enqueued() {
                        (caller.key, caller.n) = (key, n.min(size));
                    }
                    if caller.comes(&hosts) == Ok(()) {
                        *held.entry(caller.key).or_default() += caller.n;
                    }
                }
                Step::Leave(index) => {
                    callers[index].leaves(&hosts);
                    aside[index] = false;
                }
                Step::Turn(index) if callers[index].waiter.is_enqueued() => {
                    aside[index] ^= true;
                    if aside[index] { callers[index].steps_aside(&hosts) } else { callers[index].steps_back(&hosts) }
                }
                Step::Turn(_) => {}
                Step::Release(key, n) => match hosts.release(key, n) {
                    Ok(()) => {
                        let left = held[&key] - n;
                        held.insert(key, left);
                        held.retain(|_, held| *held > 0);
                    }
                    Err(error) => {
                        prop_assert_eq!(error.held, held.get(&key).copied().unwrap_or(0));
                        prop_assert!(n > error.held);
                    }
                },
            }
            prop_assert!(held.values().all(|held| *held <= size) && held.len() <= max_keys);
            let seen = hosts.0.statistics_of_all(());
            prop_assert_eq!(seen.held, held.values().sum::<u64>());
            prop_assert_eq!(seen.waiters, callers.iter().filter(|caller| caller.waiter.is_enqueued()).count());
            prop_assert!(seen.keys <= max_keys && (seen.waiting_keys == 0 || seen.keys == max_keys), "{seen:?}");
            // Of each key with a place: if nobody is on the way, what is free is too little for somebody in its line.
            for key in ['a', 'b', 'c', 'd'] {
                let here = callers.iter().zip(aside).filter(|(_, aside)| !aside).map(|(caller, _)| caller);
                let line: Vec<_> = here.filter(|caller| caller.waiter.is_enqueued() && caller.key == key).collect();
                let free = size - held.get(&key).copied().unwrap_or(0);
                if !line.is_empty() && hosts.0.statistics((), hash(key)).value > 0 && line.iter().all(|caller| !caller.is_woken()) {
                    prop_assert!(line.iter().any(|caller| caller.n > free), "{key} sleeps beside {free}");
                }
            }
        }
        for caller in &mut callers {
            caller.leaves(&hosts);
        }
        for (key, n) in held {
            hosts.release(key, n).unwrap();
        }
        let seen = hosts.0.statistics_of_all(());
        prop_assert_eq!((seen.keys, seen.waiting_keys, seen.held, seen.waiters), (0, 0, 0, 0));
    }
}
