//! The core's queue, one thread at a time: what each operation does, who is woken, who keeps the door.
#![cfg(not(loom))]

use std::sync::Arc;

use sluicegate_core::buffer::{Buffer, Fifo};
use sluicegate_core::clock::Clock;
use sluicegate_core::queue::{Admission, Admitted, BatchError, GetError, Linger, PutError, Queue, Side, Spot, UNBOUNDED};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Waker = Arc<Parker>;
type Fifos = Queue<Fifo<u32>, Waker, Threads>;

fn queue(limit: usize) -> Fifos {
    Queue::new(Fifo::default(), limit, Clock::Monotonic)
}

fn parker() -> Waker {
    Arc::default()
}

fn put(queue: &Fifos, item: u32) -> Result<(), PutError<u32>> {
    let (wakes, result) = queue.try_put((), item, Admission::Immediate);
    wakes.fire();
    result
}

fn get(queue: &Fifos) -> Result<u32, GetError> {
    let (wakes, result) = queue.try_get((), Admission::Immediate);
    wakes.fire();
    result
}

fn wait_to_get(queue: &Fifos, spot: &mut Spot, waker: &Waker) -> Result<u32, GetError> {
    waker.reset();
    let (wakes, result) = queue.get_or_wait((), spot, waker);
    wakes.fire();
    result
}

fn wait_to_put(queue: &Fifos, item: u32, spot: &mut Spot, waker: &Waker) -> Result<(), PutError<u32>> {
    waker.reset();
    let (wakes, result) = queue.put_or_wait((), item, spot, waker);
    wakes.fire();
    result
}

#[test]
fn items_come_out_in_the_order_they_went_in() {
    let queue = queue(3);
    for n in 0..3 {
        assert_eq!(put(&queue, n), Ok(()));
    }
    assert_eq!(put(&queue, 3), Err(PutError::Full(3)));
    for n in 0..3 {
        assert_eq!(get(&queue), Ok(n));
    }
    assert_eq!(get(&queue), Err(GetError::Empty));
}

#[test]
fn waiters_are_woken_in_the_order_they_came_and_no_more_than_there_are_items() {
    let queue = queue(UNBOUNDED);
    let (first, second) = (parker(), parker());
    let (mut one, mut two) = (Spot::default(), Spot::default());
    assert_eq!(wait_to_get(&queue, &mut one, &first), Err(GetError::Empty));
    assert_eq!(wait_to_get(&queue, &mut two, &second), Err(GetError::Empty));
    put(&queue, 7).unwrap();
    assert!(first.is_notified());
    assert!(!second.is_notified());
    put(&queue, 8).unwrap();
    assert!(second.is_notified());
    assert_eq!(wait_to_get(&queue, &mut two, &second), Ok(7)); // items are not tied to waiters
    assert_eq!(wait_to_get(&queue, &mut one, &first), Ok(8));
}

#[test]
fn a_woken_waiter_that_leaves_hands_its_turn_on() {
    let queue = queue(UNBOUNDED);
    let (first, second) = (parker(), parker());
    let (mut one, mut two) = (Spot::default(), Spot::default());
    let _ = wait_to_get(&queue, &mut one, &first);
    let _ = wait_to_get(&queue, &mut two, &second);
    put(&queue, 7).unwrap();
    queue.leave((), &mut one).fire();
    assert!(second.is_notified());
    assert_eq!(wait_to_get(&queue, &mut two, &second), Ok(7));
    queue.leave((), &mut one).fire(); // any number of times
}

#[test]
fn after_two_misses_the_door_shuts_until_the_waiter_has_been_served() {
    let queue = queue(UNBOUNDED);
    let waker = parker();
    let mut spot = Spot::default();
    let _ = wait_to_get(&queue, &mut spot, &waker);
    for _ in 0..2 {
        put(&queue, 1).unwrap();
        assert!(queue.try_get((), Admission::Queued).1.is_ok(), "an arrival passes a woken waiter");
        assert_eq!(wait_to_get(&queue, &mut spot, &waker), Err(GetError::Empty));
    }
    put(&queue, 2).unwrap();
    assert_eq!(queue.try_get((), Admission::Queued).1, Err(GetError::Empty), "the door is shut");
    put(&queue, 3).unwrap();
    assert_eq!(get(&queue), Ok(2), "one that cannot wait is told the truth");
    assert_eq!(wait_to_get(&queue, &mut spot, &waker), Ok(3));
    put(&queue, 4).unwrap();
    assert_eq!(queue.try_get((), Admission::Queued).1, Ok(4), "the door is open again");
}

#[test]
fn behind_an_overtaken_thread_nobody_is_woken_before_it_has_come() {
    let queue = queue(UNBOUNDED);
    let (first, second) = (parker(), parker());
    let (mut one, mut two) = (Spot::default(), Spot::default());
    let _ = wait_to_get(&queue, &mut one, &first);
    for _ in 0..2 {
        put(&queue, 1).unwrap();
        let _ = get(&queue);
        let _ = wait_to_get(&queue, &mut one, &first);
    }
    let _ = wait_to_get(&queue, &mut two, &second);
    put(&queue, 2).unwrap();
    put(&queue, 3).unwrap();
    assert!(first.is_notified());
    assert!(!second.is_notified());
    assert_eq!(wait_to_get(&queue, &mut one, &first), Ok(2));
    assert!(second.is_notified());
}

#[test]
fn one_that_steps_aside_is_passed_over_and_keeps_its_place() {
    let queue = queue(UNBOUNDED);
    let (first, second) = (parker(), parker());
    let (mut one, mut two) = (Spot::default(), Spot::default());
    let _ = wait_to_get(&queue, &mut one, &first);
    let _ = wait_to_get(&queue, &mut two, &second);
    put(&queue, 1).unwrap();
    assert!(first.is_notified());
    queue.step_aside((), one.place().unwrap()).fire();
    assert!(second.is_notified());
    assert_eq!(wait_to_get(&queue, &mut two, &second), Ok(1));
    let _ = wait_to_get(&queue, &mut two, &second);
    queue.step_back((), one.place().unwrap()).fire();
    first.reset();
    second.reset();
    put(&queue, 2).unwrap();
    assert!(first.is_notified() && !second.is_notified());
}

#[test]
fn what_is_done_at_once_wakes_nobody() {
    let queue = queue(2);
    let waker = parker();
    let mut spot = Spot::default();
    put(&queue, 1).unwrap(); // the ring has room for more from here on
    assert!(queue.put_at_once((), Admission::Queued, || 2));
    assert!(!queue.put_at_once((), Admission::Immediate, || unreachable!("no room")));
    assert_eq!(wait_to_put(&queue, 3, &mut spot, &waker), Err(PutError::Full(3)));
    assert_eq!(queue.get_at_once((), Admission::Immediate), None, "a putter waits to be woken");
    queue.leave((), &mut spot).fire();
    assert_eq!(queue.get_at_once((), Admission::Immediate), Some(1));
    assert_eq!(queue.get_at_once((), Admission::Queued), Some(2));
    assert_eq!(wait_to_get(&queue, &mut spot, &waker), Err(GetError::Empty));
    assert!(!queue.put_at_once((), Admission::Immediate, || unreachable!("a getter waits to be woken")));
    queue.leave((), &mut spot).fire();
    queue.shut_down(()).fire();
    assert!(!queue.put_at_once((), Admission::Immediate, || unreachable!("shut down")));
    let seen = queue.statistics(());
    assert_eq!((seen.puts, seen.gets, seen.unfinished), (2, 2, 2));
}

#[test]
fn the_bound_and_what_its_owner_keeps_change_in_one_step() {
    let queue: Queue<Fifo<u32>, Waker, Threads, &str> = Queue::with_extras(Fifo::default(), "none", UNBOUNDED, Clock::Monotonic);
    let (wakes, old) = queue.set_limit_with((), 1, |extras| std::mem::replace(extras, "one"));
    wakes.fire();
    assert_eq!(old, "none");
    assert_eq!(queue.look((), |items, limit, extras| (items.len(), limit, *extras)), (0, 1, "one"));
    assert_eq!(queue.change_extras((), |extras| std::mem::replace(extras, "a")), "one");
    assert_eq!(queue.statistics_with((), |extras| *extras).1, "a");
}

#[test]
fn growth_wakes_putters() {
    let queue = queue(1);
    let waker = parker();
    let mut spot = Spot::default();
    put(&queue, 1).unwrap();
    assert_eq!(wait_to_put(&queue, 2, &mut spot, &waker), Err(PutError::Full(2)));
    queue.set_limit((), 2).fire();
    assert!(waker.is_notified());
    assert_eq!(wait_to_put(&queue, 2, &mut spot, &waker), Ok(()));
}

#[test]
fn shutdown_wakes_everybody_and_drains() {
    let queue = queue(1);
    let (putter, getter) = (parker(), parker());
    let (mut one, mut two) = (Spot::default(), Spot::default());
    put(&queue, 1).unwrap();
    let _ = wait_to_put(&queue, 2, &mut one, &putter);
    queue.shut_down(()).fire();
    assert!(putter.is_notified());
    assert_eq!(wait_to_put(&queue, 2, &mut one, &putter), Err(PutError::ShutDown(2)));
    assert_eq!(wait_to_get(&queue, &mut two, &getter), Ok(1));
    assert_eq!(wait_to_get(&queue, &mut two, &getter), Err(GetError::ShutDown));
    assert!(!one.is_held() && !two.is_held());
}

#[test]
fn a_join_that_saw_zero_is_over_whatever_comes_next() {
    let queue = queue(UNBOUNDED);
    let waker = parker();
    let mut spot = Spot::default();
    put(&queue, 1).unwrap();
    let (_, joined) = queue.join_or_wait((), &mut spot, &waker);
    assert!(!joined);
    queue.task_done(()).0.fire();
    put(&queue, 2).unwrap();
    assert!(waker.is_notified());
    assert!(queue.join_or_wait((), &mut spot, &waker).1);
    assert!(!queue.join_or_wait((), &mut Spot::default(), &waker).1);
}

#[test]
fn a_batch_that_fits_enters_at_once_and_one_that_does_not_keeps_its_place() {
    let queue = queue(3);
    let (batch, other) = (parker(), parker());
    let (mut one, mut two) = (Spot::default(), Spot::default());
    let mut items = vec![1, 2, 3, 4, 5].into_iter();
    let (_, result) = queue.put_batch_or_wait((), &mut items, &mut one, &batch);
    assert_eq!(result, Err(PutError::Full(())));
    assert_eq!(items.as_slice(), [4, 5]);
    let _ = wait_to_put(&queue, 9, &mut two, &other);
    assert_eq!(get(&queue), Ok(1));
    assert!(batch.is_notified() && !other.is_notified());
    queue.put_batch_or_wait((), &mut items, &mut one, &batch).0.fire();
    assert_eq!(items.as_slice(), [5]);
    let rest: Vec<_> = std::iter::from_fn(|| get(&queue).ok()).collect();
    assert_eq!(rest, [2, 3, 4]);
    let (wakes, result) = queue.put_batch_or_wait((), &mut items, &mut one, &batch);
    wakes.fire();
    assert_eq!(result, Ok(()));
    assert!(other.is_notified());
}

#[test]
fn a_lingering_batch_claims_what_is_there_and_takes_it_under_pressure() {
    let queue = queue(4);
    let (batch, putter) = (parker(), parker());
    let (mut one, mut two) = (Spot::default(), Spot::default());
    let linger = |spot: &mut Spot, linger| {
        let (wakes, result) = queue.get_batch_or_wait((), 10, linger, spot, &batch);
        wakes.fire();
        result
    };
    assert_eq!(linger(&mut one, Linger::On), Err(BatchError::Empty));
    put(&queue, 1).unwrap();
    assert_eq!(linger(&mut one, Linger::On), Err(BatchError::Lingering));
    assert_eq!(queue.try_get((), Admission::Queued).1, Err(GetError::Empty), "its place in line is kept");
    for n in 2..=4 {
        put(&queue, n).unwrap();
    }
    let _ = wait_to_put(&queue, 5, &mut two, &putter);
    assert!(batch.is_notified());
    assert_eq!(linger(&mut one, Linger::On), Ok(vec![1, 2, 3, 4]));
    assert!(putter.is_notified());
    assert_eq!(wait_to_put(&queue, 5, &mut two, &putter), Ok(()));
    assert_eq!(linger(&mut one, Linger::On), Err(BatchError::Lingering));
    assert_eq!(linger(&mut one, Linger::Over), Ok(vec![5]));
}

#[test]
fn a_reserved_place_holds_off_the_end_until_it_is_filled() {
    let queue = queue(1);
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
    assert_eq!(put(&queue, 9), Err(PutError::Full(9)));
    queue.shut_down(()).fire();
    assert_eq!(get(&queue), Err(GetError::Empty));
    queue.fulfil((), 1).0.fire();
    assert_eq!(get(&queue), Ok(1));
    assert_eq!(get(&queue), Err(GetError::ShutDown));
}

#[test]
fn readiness_is_told_and_nothing_is_taken() {
    let queue = queue(UNBOUNDED);
    let (looker, getter) = (parker(), parker());
    let (mut one, mut two) = (Spot::default(), Spot::default());
    assert!(!queue.ready_or_wait((), Side::Get, &mut one, &looker).1);
    let _ = wait_to_get(&queue, &mut two, &getter);
    put(&queue, 1).unwrap();
    let (wakes, ready) = queue.ready_or_wait((), Side::Get, &mut one, &looker);
    wakes.fire();
    assert!(ready);
    assert!(getter.is_notified(), "its turn goes to one that takes");
}

#[test]
fn discarded_items_lower_the_unfinished_count_but_never_below_zero() {
    let queue = queue(UNBOUNDED);
    for n in 0..3 {
        put(&queue, n).unwrap();
    }
    queue.set_unfinished((), 1).fire();
    let (wakes, count) = queue.clear((), |buffer| {
        use sluicegate_core::buffer::Buffer;
        let count = std::iter::from_fn(|| buffer.pop()).count();
        (count, count)
    });
    wakes.fire();
    assert_eq!(count, 3);
    assert_eq!(queue.unfinished(()), 0);
}

#[test]
fn statistics_count_what_happened() {
    let queue = queue(2);
    put(&queue, 1).unwrap();
    put(&queue, 2).unwrap();
    let _ = put(&queue, 3);
    let _ = get(&queue);
    let seen = queue.statistics(());
    assert_eq!((seen.puts, seen.gets, seen.size, seen.peak_size, seen.full_for), (2, 1, 1, 2, 0));
}

fn done(queue: &Fifos) -> bool {
    let (wakes, done) = queue.task_done(());
    wakes.fire();
    done
}

#[test]
fn the_work_is_over_when_nothing_is_queued_and_nobody_works() {
    let queue = queue(UNBOUNDED);
    let (parker, mut spot) = (parker(), Spot::default());
    queue.start_work(()).fire();
    assert_eq!(wait_to_get(&queue, &mut spot, &parker), Err(GetError::Empty), "nothing was ever put");
    put(&queue, 1).unwrap();
    assert_eq!(wait_to_get(&queue, &mut spot, &parker), Ok(1));
    assert_eq!(wait_to_get(&queue, &mut spot, &parker), Err(GetError::Empty), "the item is not done");
    put(&queue, 2).unwrap();
    assert!(done(&queue));
    assert_eq!(wait_to_get(&queue, &mut spot, &parker), Ok(2));
    assert_eq!(wait_to_get(&queue, &mut spot, &parker), Err(GetError::Empty));
    assert!(done(&queue));
    assert!(parker.is_notified(), "those who wait for more are told");
    assert_eq!(wait_to_get(&queue, &mut spot, &parker), Err(GetError::ShutDown));
}

#[test]
fn an_open_end_keeps_the_work_going() {
    let queue = queue(UNBOUNDED);
    queue.open_end(());
    queue.open_end(());
    queue.start_work(()).fire();
    put(&queue, 1).unwrap();
    assert_eq!(get(&queue), Ok(1));
    assert!(!queue.close_end(()), "the other end is open");
    assert!(done(&queue));
    assert!(!queue.is_shut(()));
    assert!(queue.close_end(()), "nothing is unfinished");
}

#[test]
fn an_end_leaves_it_to_the_workers_to_shut_down() {
    let queue = queue(UNBOUNDED);
    queue.open_end(());
    queue.start_work(()).fire();
    queue.start_work(()).fire();
    put(&queue, 1).unwrap();
    assert!(!queue.close_end(()));
    queue.stop_work(()).fire();
    assert!(!queue.is_shut(()));
    queue.stop_work(()).fire();
    assert!(queue.is_shut(()), "the last worker is gone, and nobody else would do it");
}

#[test]
fn an_end_without_workers_shuts_down_by_itself() {
    let queue = queue(UNBOUNDED);
    queue.open_end(());
    put(&queue, 1).unwrap();
    assert!(queue.close_end(()));
    assert!(!queue.is_shut(()));
}

#[test]
fn joiners_see_the_count_when_the_baton_is_back() {
    let queue = queue(UNBOUNDED);
    let (joiner, holder) = (parker(), parker());
    let (mut place, mut spot) = (Spot::default(), Spot::default());
    put(&queue, 1).unwrap();
    assert!(!queue.join_or_wait((), &mut place, &joiner).1);
    queue.take_baton((), &mut spot, &holder).0.fire();
    let (wakes, admitted) = queue.admit_put((), 1, None, |_| ());
    wakes.fire();
    assert_eq!(admitted, Admitted::Room(1));
    assert!(done(&queue), "the item that is being replaced");
    assert!(!joiner.is_notified());
    let (wakes, finished) = queue.finish((), 1, 1, 0, |_| true);
    wakes.fire();
    assert!(finished);
    assert!(!joiner.is_notified());
    assert!(done(&queue));
    assert!(joiner.is_notified());
    assert!(queue.join_or_wait((), &mut place, &joiner).1);
}
