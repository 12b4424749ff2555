//! A queue whose buffer finds no memory: whoever brought the item has it back, and nothing else has changed.
#![cfg(not(loom))]

use std::collections::TryReserveError;
use std::sync::Arc;

use sluicegate_core::buffer::{Bounds, Buffer, Displaced, End, Fair, Fifo, Keyed};
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::queue::{
    Admission, Attempt, BatchError, Composition, DropReason, Dropped, GetError, Linger, Lost, Note, Overflow, PutError, Queue,
    Terms, UNBOUNDED, Waiter,
};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

/// First in, first out, with memory for so many items, and for lists of as many.
struct Short {
    items: Fifo<u32>,
    most: usize,
}

/// What the allocator says to a request that no memory could meet.
fn no_memory() -> TryReserveError {
    Vec::<u8>::new().try_reserve(usize::MAX).unwrap_err()
}

impl Buffer for Short {
    type Item = u32;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn try_reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        if self.items.len() + more > self.most { Err(no_memory()) } else { self.items.try_reserve(more) }
    }

    fn push(&mut self, item: u32) {
        assert!(self.items.len() < self.most, "it was told that there is no memory");
        self.items.push(item);
    }

    fn pop(&mut self) -> Option<u32> {
        self.items.pop()
    }

    fn pop_oldest(&mut self) -> Option<u32> {
        self.items.pop()
    }

    fn peek(&self) -> Option<&u32> {
        self.items.peek()
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<u32>, TryReserveError> {
        if count.min(self.items.len()) > self.most / 2 { Err(no_memory()) } else { self.items.pop_many(count) }
    }
}

type Q = Queue<Short, Arc<Parker>, Threads>;

fn queue(most: usize, limit: usize) -> Q {
    Queue::new(Short { items: Fifo::default(), most }, limit, Clock::Monotonic)
}

fn put(queue: &Q, item: u32) -> Result<(), PutError<u32>> {
    let (wakes, result) = queue.try_put((), item, Admission::Immediate);
    wakes.fire();
    result
}

#[test]
fn an_item_comes_back() {
    let queue = queue(2, UNBOUNDED);
    assert_eq!([put(&queue, 1), put(&queue, 2)], [Ok(()), Ok(())]);
    assert_eq!(put(&queue, 3), Err(PutError::NoMemory(3)));
    assert_eq!(queue.put_or_drop((), 3).1, Err(PutError::NoMemory(3)));
    assert_eq!(queue.try_reserve((), Admission::Immediate), Err(PutError::NoMemory(())));
    let seen = queue.statistics(());
    assert_eq!((seen.size, seen.puts, seen.unfinished), (2, 2, 2));
    assert_eq!(queue.try_get((), Admission::Immediate).1, Ok(1));
    assert_eq!(put(&queue, 3), Ok(()));
}

#[test]
fn whoever_waited_waits_no_longer() {
    let queue = queue(2, 2);
    let (parkers, mut waiters) =
        ([Arc::new(Parker::default()), Arc::new(Parker::default())], [Waiter::default(), Waiter::default()]);
    put(&queue, 1).unwrap();
    put(&queue, 2).unwrap();
    for (waiter, parker) in waiters.iter_mut().zip(&parkers) {
        assert_eq!(queue.put_or_wait((), 3, waiter, parker).1, Err(PutError::Full(3)));
    }
    queue.set_limit((), 3).fire();
    assert!(parkers[0].is_notified() && !parkers[1].is_notified());
    let (wakes, result) = queue.put_or_wait((), 3, &mut waiters[0], &parkers[0]);
    wakes.fire();
    assert_eq!(result, Err(PutError::NoMemory(3)));
    assert!(!waiters[0].is_enqueued());
    assert!(parkers[1].is_notified(), "the turn goes to the next");
}

#[test]
fn a_batch_is_not_begun() {
    let queue = queue(3, UNBOUNDED);
    let mut items = vec![1, 2, 3, 4].into_iter();
    assert_eq!(queue.try_put_batch((), &mut items, Admission::Immediate).1, Err(PutError::NoMemory(())));
    assert_eq!((items.len(), queue.size(())), (4, 0));
    let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
    assert_eq!(queue.put_batch_or_wait((), &mut items, &mut waiter, &parker).1, Err(PutError::NoMemory(())));
    assert_eq!((items.len(), queue.size(()), waiter.is_enqueued()), (4, 0, false));
}

#[test]
fn a_place_is_promised_with_its_memory() {
    let queue = queue(2, UNBOUNDED);
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
    assert_eq!(queue.try_reserve((), Admission::Immediate), Err(PutError::NoMemory(())));
    let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
    assert_eq!(queue.reserve_or_wait((), &mut waiter, &parker).1, Err(PutError::NoMemory(())));
    assert!(!waiter.is_enqueued());
    assert_eq!(queue.fulfil((), 1).1, Ok(None));
    put(&queue, 2).unwrap(); // takes the memory that was meant for the other
    assert_eq!(queue.fulfil((), 3).1, Err(PutError::NoMemory(3)));
    queue.shut_down(()).1.unwrap();
    assert_eq!(queue.try_get((), Admission::Immediate).1, Ok(1));
    assert_eq!(queue.try_get((), Admission::Immediate).1, Ok(2));
    assert!(queue.is_drained(()), "no place is promised any more");
}

#[test]
fn a_late_item_that_finds_no_memory_is_reported_with_memory_of_its_own() {
    let queue = queue(1, 4);
    queue.compose((), &Composition { max_weight: Some(100), ..Composition::default() }).unwrap();
    queue.set_overflow((), Overflow::DropOldest).fire();
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
    let (wakes, lost, result) = queue.put_composed((), 1, Terms::NONE, Attempt::Now);
    wakes.fire();
    assert!(result.is_ok() && lost.is_empty(), "it takes the memory that was meant for the other");
    queue.lock_mutex((), 1, None, None).0.fire();
    assert_eq!(queue.fulfil_later((), 7, Terms::NONE), Ok(()));
    let (wakes, late) = queue.unlock_mutex((), 1);
    wakes.fire();
    let late = late.unwrap();
    assert_eq!(late.dropped, [Dropped { item: 7, reason: DropReason::Newest, was_stored: false }]);
    assert_eq!((late.lost, queue.size(())), (vec![], 1));
}

#[test]
fn an_item_in_the_place_of_another_needs_no_memory() {
    let queue = queue(2, 2);
    queue.set_overflow((), Overflow::DropOldest).fire();
    put(&queue, 1).unwrap();
    put(&queue, 2).unwrap();
    let dropped = queue.put_or_drop((), 3).1.unwrap().unwrap();
    assert_eq!((dropped.item, queue.size(())), (1, 2));
}

#[test]
fn a_list_for_which_there_is_no_memory_takes_nothing() {
    let queue = queue(4, UNBOUNDED);
    for item in 0..4 {
        put(&queue, item).unwrap();
    }
    assert_eq!(queue.try_get_batch((), 3, Admission::Immediate).1, Err(GetError::NoMemory));
    let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
    assert_eq!(queue.get_batch_or_wait((), 3, Linger::Over, &mut waiter, &parker).1, Err(BatchError::NoMemory));
    assert!(!waiter.is_enqueued());
    assert_eq!(queue.statistics(()).gets, 0);
    assert_eq!(queue.try_get_batch((), 2, Admission::Immediate).1, Ok(vec![0, 1]));
}

/// A fair order, with memory for so many items.
struct ShortFair {
    items: Fair<Keyed<u32>>,
    most: usize,
}

impl Buffer for ShortFair {
    type Item = Keyed<u32>;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn try_reserve(&mut self, _more: usize) -> Result<(), TryReserveError> {
        Ok(())
    }

    fn push(&mut self, item: Keyed<u32>) {
        self.items.push(item.key, item.rank, item).unwrap();
    }

    fn pop(&mut self) -> Option<Keyed<u32>> {
        self.items.pop()
    }

    fn peek(&self) -> Option<&Keyed<u32>> {
        self.items.peek()
    }

    fn is_keyed(&self) -> bool {
        true
    }

    fn key_of(&self, item: &Keyed<u32>) -> KeyHash {
        item.key
    }

    fn room_of(&self, key: KeyHash, limit: usize, here: usize, all: usize) -> usize {
        self.items.room_of(key, limit, here, all)
    }

    fn reserved_for(&self, key: KeyHash) -> usize {
        self.items.reserved_for(key)
    }

    fn weight_of(&self, key: KeyHash) -> f64 {
        self.items.weight_of(key)
    }

    fn try_reserve_keyed(&mut self, item: &Keyed<u32>, note: Option<&Note>) -> Result<(), TryReserveError> {
        if self.items.len() >= self.most { Err(no_memory()) } else { self.items.try_reserve_keyed(item, note) }
    }

    fn push_keyed(&mut self, item: Keyed<u32>) -> Result<(), Keyed<u32>> {
        if self.items.len() >= self.most { Err(item) } else { self.items.push_keyed(item) }
    }

    fn keeps_notes(&self) -> bool {
        true
    }

    fn keep_keyed_notes(
        &mut self,
        note: Note,
        shed: Option<sluicegate_core::shed::Codel>,
        is_weighed: bool,
    ) -> Result<(), TryReserveError> {
        self.items.keep_notes(note, shed, is_weighed)
    }

    fn push_keyed_noted(&mut self, item: Keyed<u32>, note: Note) -> Result<(), Keyed<u32>> {
        if self.items.len() >= self.most { Err(item) } else { self.items.push_keyed_noted(item, note) }
    }

    fn expire_keyed(&mut self, now: Nanos, lost: &mut Lost<Keyed<u32>>) {
        self.items.expire(now, lost);
    }

    fn next_end(&self) -> Nanos {
        self.items.next_end()
    }

    fn displace_noted(
        &mut self,
        item: &Keyed<u32>,
        note: &Note,
        end: (End, DropReason),
        bounds: Bounds,
        lost: &mut Lost<Keyed<u32>>,
    ) -> Displaced<()> {
        if self.most == 0 {
            Displaced::NoMemory(())
        } else {
            Buffer::displace_noted(&mut self.items, item, note, end, bounds, lost)
        }
    }

    fn weighed(&self) -> u64 {
        self.items.weighed()
    }
}

fn fair(most: usize, limit: usize) -> Queue<ShortFair, Arc<Parker>, Threads> {
    Queue::new(ShortFair { items: Fair::default(), most }, limit, Clock::Monotonic)
}

fn of_two_keys(count: u32) -> std::vec::IntoIter<Keyed<u32>> {
    (0..count).map(|item| Keyed { key: KeyHash::new([u64::from(item % 2); 2]), rank: 0.0, item }).collect::<Vec<_>>().into_iter()
}

/// The rest of a batch for which there is no memory is not moved to other memory, which there may not be either.
#[track_caller]
fn stays_where_it_was(items: &std::vec::IntoIter<Keyed<u32>>, before: *const Keyed<u32>, put: usize) {
    assert_eq!(items.as_slice().as_ptr(), before.wrapping_add(put));
    assert_eq!(items.as_slice().first().map(|next| next.item as usize), Some(put));
}

#[test]
fn a_batch_with_keys_keeps_what_finds_no_memory() {
    let queue = fair(2, UNBOUNDED);
    let mut items = of_two_keys(5);
    let before = items.as_slice().as_ptr();
    assert_eq!(queue.try_put_batch((), &mut items, Admission::Immediate).1, Err(PutError::NoMemory(())));
    stays_where_it_was(&items, before, 2);
    let (parker, mut waiter) = (Arc::new(Parker::default()), Waiter::default());
    assert_eq!(queue.put_batch_or_wait((), &mut items, &mut waiter, &parker).1, Err(PutError::NoMemory(())));
    stays_where_it_was(&items, before, 2);
    assert_eq!((queue.size(()), waiter.is_enqueued()), (2, false));
}

#[test]
fn a_composed_batch_with_keys_keeps_what_finds_no_memory() {
    let queue = fair(2, UNBOUNDED);
    queue.compose((), &Composition { max_weight: Some(100), ..Composition::default() }).unwrap();
    let mut items = of_two_keys(5);
    let before = items.as_slice().as_ptr();
    let (wakes, _, result) = queue.put_many_composed((), &mut items, &mut |_, _| Terms::NONE, Attempt::Now);
    wakes.fire();
    assert_eq!(result, Err(PutError::NoMemory(())));
    stays_where_it_was(&items, before, 2);
    assert_eq!(queue.size(()), 2);
}

#[test]
fn so_does_one_whose_items_displace_others() {
    let queue = fair(0, 0);
    queue.compose((), &Composition { max_weight: Some(100), ..Composition::default() }).unwrap();
    queue.set_overflow((), Overflow::DropOldest).fire();
    let mut items = of_two_keys(3);
    let before = items.as_slice().as_ptr();
    let (wakes, _, result) = queue.put_many_composed((), &mut items, &mut |_, _| Terms::NONE, Attempt::Now);
    wakes.fire();
    assert_eq!(result, Err(PutError::NoMemory(())));
    stays_where_it_was(&items, before, 0);
}

#[test]
fn the_report_has_memory_for_what_was_above_the_bound_too() {
    let queue = Queue::<Fifo<u64>, Arc<Parker>, Threads>::new(Fifo::default(), 3, Clock::Monotonic);
    queue.compose((), &Composition { max_weight: Some(6), ..Composition::default() }).unwrap();
    queue.set_overflow((), Overflow::DropOldest).fire();
    let weighing = |weight| Terms { weight, ..Terms::NONE };
    for weight in [0, 1, 3] {
        queue.put_composed((), weight, weighing(weight), Attempt::Now).2.unwrap();
    }
    for weight in [0, 3] {
        let (wakes, pushed) = queue.step((), None, |state, wakes| state.push_by_hand(weight, weight, wakes).is_ok());
        wakes.fire();
        assert_eq!(pushed, Ok(true));
    }
    // They weigh 7, and only 2 may stay beside this one.
    let (wakes, lost, result) = queue.put_composed((), 4, weighing(4), Attempt::Now);
    wakes.fire();
    assert_eq!(result, Ok(()));
    assert_eq!(lost.into_vec().into_iter().map(|dropped| dropped.item).collect::<Vec<_>>(), [0, 1, 3, 0, 3]);
}
