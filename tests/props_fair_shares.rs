//! The shares of the keys of a fair queue whose items have weights: of what comes out, and of what is admitted while putters wait.
#![cfg(not(loom))]

mod cases;

use std::sync::Arc;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::buffer::{Fair, Keyed};
use sluicegate_core::clock::Clock;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::queue::{Attempt, Composition, Due, PutError, Queue, Terms, UNBOUNDED, Waiter};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Item = Keyed<u32>;
type Fairs = Queue<Fair<Item>, Arc<Parker>, Threads>;

const HEAVIEST: u32 = 9;

/// An item of this key, which is its own weight.
fn item(key: usize, rank: u8, weight: u32) -> Item {
    Keyed { key: KeyHash::new([key as u64 + 1, key as u64]), rank: rank.into(), item: weight }
}

fn queue(is_ranked: bool, weights: &[f64], max_weight: u64) -> Fairs {
    let mut fair: Fair<Item> = Fair::new(usize::MAX, is_ranked);
    for (key, weight) in weights.iter().enumerate() {
        fair.try_set_weight(item(key, 0, 0).key, *weight).unwrap();
    }
    let queue = Queue::new(fair, UNBOUNDED, Clock::Monotonic);
    queue.compose((), &Composition { max_weight: Some(max_weight), ..Composition::default() }).unwrap();
    queue
}

fn put(queue: &Fairs, item: Item, attempt: Attempt<'_, Arc<Parker>>) -> Result<(), PutError<Item>> {
    let terms = Terms { weight: item.item.into(), due: Due::Never };
    let (wakes, lost, result) = queue.put_composed((), item, terms, attempt);
    assert!(lost.is_empty());
    wakes.fire();
    result
}

/// Takes an item. Returns its key and its weight.
fn get(queue: &Fairs) -> (usize, f64) {
    let (wakes, _, result) = queue.get_composed((), Attempt::Now);
    wakes.fire();
    let taken = result.unwrap();
    let key = (0..4).find(|&key| item(key, 0, 0).key == taken.key).unwrap();
    (key, taken.item.into())
}

/// The lanes move together meanwhile, and give memory back.
#[test]
fn new_keys_come_out_by_weight() {
    let queue = queue(false, &[], u64::MAX - 1);
    let mut expected: Vec<u32> = (0..5_000).map(|key| 1 + key * 7 % 10).collect();
    for (key, &weight) in expected.iter().enumerate() {
        put(&queue, item(key, 0, weight), Attempt::Now).unwrap();
    }
    let allocated = || queue.step((), None, |state, wakes| state.edit(|fair| fair.allocated(), wakes)).1.unwrap();
    let before = allocated();
    expected.sort_unstable();
    for (index, weight) in expected.into_iter().enumerate() {
        let (wakes, _, result) = queue.get_composed((), Attempt::Now);
        wakes.fire();
        assert_eq!(result.map(|item| item.item), Ok(weight));
        assert!(index != 4_900 || allocated() < before / 2);
    }
}

fn shares() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(prop_oneof![Just(0.5), Just(1.0), Just(2.0), Just(3.0)], 2..5)
}

proptest! {
    #![proptest_config(cases(200))]

    /// The bound of self-clocked fair queueing, in any interval: also if a put or the order of ranks changes which item of a key is next.
    #[test]
    fn what_comes_out_is_shared_by_weight(
        weights in shares(),
        is_ranked in any::<bool>(),
        heaviest in proptest::collection::vec(1..=HEAVIEST, 4),
        puts in proptest::collection::vec((any::<u8>(), 0..HEAVIEST), 400),
    ) {
        let queue = queue(is_ranked, &weights, u64::MAX - 1);
        let mut puts = puts.into_iter();
        let (mut held, mut served) = (vec![0; weights.len()], vec![0.0; weights.len()]);
        // The least and the largest lead of each key over each other one.
        let mut leads = vec![vec![(0.0_f64, 0.0_f64); weights.len()]; weights.len()];
        'all: loop {
            for key in 0..weights.len() {
                while held[key] < 3 {
                    let Some((rank, draw)) = puts.next() else { break 'all };
                    put(&queue, item(key, rank, 1 + draw % heaviest[key]), Attempt::Now).unwrap();
                    held[key] += 1;
                }
            }
            let (key, weight) = get(&queue);
            held[key] -= 1;
            served[key] += weight / weights[key];
            for one in 0..weights.len() {
                for other in 0..weights.len() {
                    let (least, largest) = &mut leads[one][other];
                    let lead = served[one] - served[other];
                    (*least, *largest) = (least.min(lead), largest.max(lead));
                    let bound = f64::from(HEAVIEST) / weights[one] + f64::from(HEAVIEST) / weights[other];
                    prop_assert!(*largest - *least <= bound + 1e-6, "{one} and {other}: {least} .. {largest}, not {bound}");
                }
            }
        }
    }

    /// Two putters of each key always wait. As much as fits into the queue may be there of one key, and nothing of the other.
    #[test]
    fn what_is_admitted_is_shared_by_weight(
        weights in shares(),
        heaviest in proptest::collection::vec(1..=HEAVIEST, 4),
        room in HEAVIEST..30,
        seed in any::<u32>(),
    ) {
        let queue = queue(false, &weights, room.into());
        let mut draws = (0..600).scan(seed, |random, _| {
            *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some(*random >> 8)
        });
        let callers = 2 * weights.len();
        let parkers: Vec<Arc<Parker>> = (0..callers).map(|_| Arc::default()).collect();
        let mut waiters: Vec<Waiter> = (0..callers).map(|_| Waiter::default()).collect();
        let mut pending = vec![None; callers];
        let mut served = vec![0.0; weights.len()];
        'all: loop {
            // A waiter that has been woken puts, and comes again before all others.
            while let Some(caller) = (0..callers).find(|&caller| !waiters[caller].is_enqueued() || parkers[caller].is_notified()) {
                let (key, mut is_done) = (caller / 2, true);
                while is_done {
                    if pending[caller].is_none() {
                        let Some(draw) = draws.next() else { break 'all };
                        pending[caller] = Some(item(key, 0, 1 + draw % heaviest[key]));
                    }
                    parkers[caller].reset();
                    match put(&queue, pending[caller].unwrap(), Attempt::Wait(&mut waiters[caller], &parkers[caller])) {
                        Ok(()) => pending[caller] = None,
                        Err(PutError::Full(_)) => is_done = false,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
            let (key, weight) = get(&queue);
            served[key] += weight / weights[key];
        }
        for one in 0..weights.len() {
            for other in 0..weights.len() {
                let bound = f64::from(HEAVIEST + room) * (1.0 / weights[one] + 1.0 / weights[other]);
                prop_assert!(served[one] - served[other] <= bound, "{served:?}, not within {bound}");
            }
        }
        for waiter in &mut waiters {
            queue.leave((), waiter).fire();
        }
    }
}
