//! A putter that waits until an item expires.
#![cfg(not(loom))]

use std::sync::Arc;

use sluicegate_core::buffer::Fifo;
use sluicegate_core::clock::{Clock, Manual};
use sluicegate_core::queue::{Attempt, Due, PutError, Queue, Terms, Waiter};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Fifos = Queue<Fifo<u32>, Arc<Parker>, Threads>;

struct Putter {
    waiter: Waiter,
    parker: Arc<Parker>,
}

impl Putter {
    fn new() -> Self {
        Self { waiter: Waiter::default(), parker: Arc::default() }
    }

    /// As a thread does it: asks, and then when to ask again.
    fn put(&mut self, queue: &Fifos, item: u32, due: Due) -> (bool, Option<u64>) {
        self.parker.reset();
        let now = queue.clock(()).now();
        let is_in = put(queue, item, due, Attempt::Wait(&mut self.waiter, &self.parker));
        (is_in, queue.next_end((), now))
    }

    fn is_woken(&self) -> bool {
        self.parker.is_notified()
    }
}

fn put(queue: &Fifos, item: u32, due: Due, attempt: Attempt<'_, Arc<Parker>>) -> bool {
    let (wakes, _lost, result) = queue.put_composed((), item, Terms { weight: 0, due }, attempt);
    wakes.fire();
    assert!(matches!(result, Ok(()) | Err(PutError::Full(_))));
    result.is_ok()
}

fn get(queue: &Fifos) -> u32 {
    let (wakes, _lost, result) = queue.get_composed((), Attempt::Now);
    wakes.fire();
    result.unwrap()
}

fn queue(limit: usize) -> (Fifos, Arc<Manual<Arc<Parker>>>) {
    let clock = Arc::new(Manual::new(0));
    (Queue::new(Fifo::default(), limit, Clock::Manual(Arc::clone(&clock))), clock)
}

fn advance(clock: &Manual<Arc<Parker>>, by: u64) {
    clock.advance(by);
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn it_looks_again_when_the_first_item_ends() {
    let (queue, clock) = queue(2);
    assert!(put(&queue, 0, Due::In(5 * SECOND), Attempt::Now));
    assert!(put(&queue, 1, Due::In(3 * SECOND), Attempt::Now));
    let mut putter = Putter::new();
    assert_eq!(putter.put(&queue, 2, Due::Never), (false, Some(3 * SECOND)));
    advance(&clock, 3 * SECOND);
    // The room is its own: it is woken for it, and then takes it.
    let (is_in, _) = putter.put(&queue, 2, Due::Never);
    assert!(is_in || putter.is_woken() && putter.put(&queue, 2, Due::Never).0);
    assert_eq!((get(&queue), get(&queue)), (0, 2));
}

#[test]
fn it_looks_again_at_once_if_an_item_has_ended_since_it_looked() {
    let (queue, clock) = queue(1);
    assert!(put(&queue, 0, Due::In(3 * SECOND), Attempt::Now));
    let mut putter = Putter::new();
    assert!(!putter.put(&queue, 1, Due::Never).0);
    advance(&clock, 3 * SECOND); // before it has asked when to look again
    assert_eq!(queue.next_end((), 0), Some(3 * SECOND));
    // What has not left although it had ended by then could not be dropped: soon it may be possible.
    assert_eq!(queue.next_end((), 3 * SECOND), Some(3 * SECOND + 10_000_000));
}

#[test]
fn without_an_item_that_ends_it_does_not_look() {
    let (queue, _) = queue(1);
    assert!(put(&queue, 0, Due::Never, Attempt::Now));
    assert_eq!(Putter::new().put(&queue, 1, Due::In(1)), (false, None));
}

#[test]
fn the_room_of_an_item_that_an_arrival_finds_expired_is_offered_to_the_waiter() {
    let (queue, clock) = queue(1);
    assert!(put(&queue, 0, Due::In(SECOND), Attempt::Now));
    let mut putter = Putter::new();
    assert!(!putter.put(&queue, 1, Due::Never).0);
    let mut overtaken = 0;
    while overtaken < 10 {
        advance(&clock, SECOND);
        // The arrival comes before the waiter has looked at its clock.
        if !put(&queue, 2, Due::In(SECOND), Attempt::Arrival) {
            break;
        }
        overtaken += 1;
        assert!(putter.is_woken());
        assert!(!putter.put(&queue, 1, Due::Never).0);
    }
    assert!(overtaken <= 2, "as in a queue whose items are taken by getters");
    assert!(putter.is_woken() && putter.put(&queue, 1, Due::Never).0);
}

#[test]
fn an_item_that_ends_earlier_makes_the_others_look_earlier() {
    let (queue, clock) = queue(1);
    assert!(put(&queue, 0, Due::In(100 * SECOND), Attempt::Now));
    let (mut first, mut second) = (Putter::new(), Putter::new());
    assert_eq!(first.put(&queue, 1, Due::In(SECOND)).1, Some(100 * SECOND));
    assert_eq!(second.put(&queue, 2, Due::Never).1, Some(100 * SECOND));
    assert_eq!(get(&queue), 0);
    assert!(first.is_woken() && !second.is_woken());
    assert!(first.put(&queue, 1, Due::In(SECOND)).0);
    assert!(second.is_woken());
    assert_eq!(second.put(&queue, 2, Due::Never), (false, Some(SECOND)));
    // Another one that ends later disturbs nobody.
    assert_eq!(get(&queue), 1);
    assert!(second.is_woken());
    advance(&clock, SECOND);
    assert!(second.put(&queue, 2, Due::In(SECOND)).0);
}
