//! The core's queue, one thread at a time: what each operation does, who is woken, who keeps the door.
#![cfg(not(loom))]

use std::sync::Arc;

use sluicegate_core::buffer::{Buffer, Fifo};
use sluicegate_core::clock::Clock;
use sluicegate_core::queue::{
    Admission, Admitted, Attempt, BatchBounds, BatchError, BatonTaken, Composition, DropReason, Dropped, Due, GetError,
    LateItems, Linger, Locked, MutexTaken, NotLater, Overflow, PutError, Queue, Side, Terms, UNBOUNDED, Waiter,
};
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

fn wait_to_get(queue: &Fifos, waiter: &mut Waiter, waker: &Waker) -> Result<u32, GetError> {
    waker.reset();
    let (wakes, result) = queue.get_or_wait((), waiter, waker);
    wakes.fire();
    result
}

fn wait_to_put(queue: &Fifos, item: u32, waiter: &mut Waiter, waker: &Waker) -> Result<(), PutError<u32>> {
    waker.reset();
    let (wakes, result) = queue.put_or_wait((), item, waiter, waker);
    wakes.fire();
    result
}

const WORKER: u64 = 1;

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
    let (mut one, mut two) = (Waiter::default(), Waiter::default());
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
    let (mut one, mut two) = (Waiter::default(), Waiter::default());
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
    let mut waiter = Waiter::default();
    let _ = wait_to_get(&queue, &mut waiter, &waker);
    for _ in 0..2 {
        put(&queue, 1).unwrap();
        assert!(queue.try_get((), Admission::Queued).1.is_ok(), "an arrival passes a woken caller");
        assert_eq!(wait_to_get(&queue, &mut waiter, &waker), Err(GetError::Empty));
    }
    put(&queue, 2).unwrap();
    assert_eq!(queue.try_get((), Admission::Queued).1, Err(GetError::Empty), "the door is shut");
    put(&queue, 3).unwrap();
    assert_eq!(get(&queue), Ok(2), "one that cannot wait is told the truth");
    assert_eq!(wait_to_get(&queue, &mut waiter, &waker), Ok(3));
    put(&queue, 4).unwrap();
    assert_eq!(queue.try_get((), Admission::Queued).1, Ok(4), "the door is open again");
}

#[test]
fn behind_an_overtaken_thread_nobody_is_woken_before_it_has_come() {
    let queue = queue(UNBOUNDED);
    let (first, second) = (parker(), parker());
    let (mut one, mut two) = (Waiter::default(), Waiter::default());
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
    let (mut one, mut two) = (Waiter::default(), Waiter::default());
    let _ = wait_to_get(&queue, &mut one, &first);
    let _ = wait_to_get(&queue, &mut two, &second);
    put(&queue, 1).unwrap();
    assert!(first.is_notified());
    queue.step_aside((), one.position().unwrap()).fire();
    assert!(second.is_notified());
    assert_eq!(wait_to_get(&queue, &mut two, &second), Ok(1));
    let _ = wait_to_get(&queue, &mut two, &second);
    queue.step_back((), one.position().unwrap()).fire();
    first.reset();
    second.reset();
    put(&queue, 2).unwrap();
    assert!(first.is_notified() && !second.is_notified());
}

#[test]
fn what_is_done_at_once_wakes_nobody() {
    let queue = queue(2);
    let waker = parker();
    let mut waiter = Waiter::default();
    put(&queue, 1).unwrap(); // the ring has room for more from here on
    assert!(queue.put_uncontended((), Admission::Queued, || 2));
    assert!(!queue.put_uncontended((), Admission::Immediate, || unreachable!("no room")));
    assert_eq!(wait_to_put(&queue, 3, &mut waiter, &waker), Err(PutError::Full(3)));
    assert_eq!(queue.get_uncontended((), Admission::Immediate), None, "a putter waits to be woken");
    queue.leave((), &mut waiter).fire();
    assert_eq!(queue.get_uncontended((), Admission::Immediate), Some(1));
    assert_eq!(queue.get_uncontended((), Admission::Queued), Some(2));
    assert_eq!(wait_to_get(&queue, &mut waiter, &waker), Err(GetError::Empty));
    assert!(!queue.put_uncontended((), Admission::Immediate, || unreachable!("a getter waits to be woken")));
    queue.leave((), &mut waiter).fire();
    shut_down(&queue);
    assert!(!queue.put_uncontended((), Admission::Immediate, || unreachable!("shut down")));
    let seen = queue.statistics(());
    assert_eq!((seen.puts, seen.gets, seen.unfinished), (2, 2, 2));
}

#[test]
fn the_oldest_item_is_displaced_at_once_while_nobody_waits() {
    let queue = queue(1);
    let never = || unreachable!("nothing happens");
    assert_eq!(put(&queue, 1), Ok(()));
    assert_eq!(queue.displace_uncontended((), never), None, "the policy is to block");
    queue.set_overflow((), Overflow::DropOldest).fire();
    assert_eq!(queue.displace_uncontended((), never), None, "the time from which on it is full has to be noted");
    let displaced = |item| Dropped { item, reason: DropReason::Oldest, was_stored: true };
    assert_eq!(queue.put_or_drop((), 2).1, Ok(Some(displaced(1))));
    assert_eq!(queue.displace_uncontended((), || 3), Some(displaced(2)));
    let seen = queue.statistics(());
    assert_eq!((seen.size, seen.puts, seen.gets, seen.unfinished), (1, 3, 0, 1));
    assert_eq!(seen.dropped[DropReason::Oldest as usize], 2);
    lock(&queue);
    assert_eq!(queue.displace_uncontended((), never), None, "locked");
    assert_eq!(give_back(&queue), Ok(LateItems::default()));
    assert_eq!(get(&queue), Ok(3));
    assert_eq!(queue.displace_uncontended((), never), None, "there is room");
    assert_eq!(put(&queue, 4), Ok(()));
    shut_down(&queue);
    assert_eq!(queue.displace_uncontended((), never), None, "shut down");
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
    let mut waiter = Waiter::default();
    put(&queue, 1).unwrap();
    assert_eq!(wait_to_put(&queue, 2, &mut waiter, &waker), Err(PutError::Full(2)));
    queue.set_limit((), 2).fire();
    assert!(waker.is_notified());
    assert_eq!(wait_to_put(&queue, 2, &mut waiter, &waker), Ok(()));
}

#[test]
fn shutdown_wakes_everybody_and_drains() {
    let queue = queue(1);
    let (putter, getter) = (parker(), parker());
    let (mut one, mut two) = (Waiter::default(), Waiter::default());
    put(&queue, 1).unwrap();
    let _ = wait_to_put(&queue, 2, &mut one, &putter);
    shut_down(&queue);
    assert!(putter.is_notified());
    assert_eq!(wait_to_put(&queue, 2, &mut one, &putter), Err(PutError::ShutDown(2)));
    assert_eq!(wait_to_get(&queue, &mut two, &getter), Ok(1));
    assert_eq!(wait_to_get(&queue, &mut two, &getter), Err(GetError::ShutDown));
    assert!(!one.is_enqueued() && !two.is_enqueued());
}

#[test]
fn a_join_that_saw_zero_is_over_whatever_comes_next() {
    let queue = queue(UNBOUNDED);
    let waker = parker();
    let mut waiter = Waiter::default();
    put(&queue, 1).unwrap();
    let (_, joined) = queue.join_or_wait((), &mut waiter, &waker);
    assert!(!joined);
    queue.task_done(()).0.fire();
    put(&queue, 2).unwrap();
    assert!(waker.is_notified());
    assert!(queue.join_or_wait((), &mut waiter, &waker).1);
    assert!(!queue.join_or_wait((), &mut Waiter::default(), &waker).1);
}

#[test]
fn a_batch_is_done_in_one_step_or_not_at_all() {
    let queue = queue(UNBOUNDED);
    let waker = parker();
    let mut waiter = Waiter::default();
    for item in 0..3 {
        put(&queue, item).unwrap();
    }
    assert!(!queue.join_or_wait((), &mut waiter, &waker).1);
    for (count, expected, unfinished) in [(2, Ok(true), 1), (2, Ok(false), 1), (1, Ok(true), 0), (1, Ok(false), 0)] {
        let (wakes, done) = queue.tasks_done((), count);
        wakes.fire();
        assert_eq!((done, queue.unfinished(())), (expected, unfinished));
        assert_eq!(waker.is_notified(), unfinished == 0);
    }
    assert!(queue.join_or_wait((), &mut waiter, &waker).1);
}

#[test]
fn a_batch_that_fits_enters_at_once_and_one_that_does_not_keeps_its_place() {
    let queue = queue(3);
    let (batch, other) = (parker(), parker());
    let (mut one, mut two) = (Waiter::default(), Waiter::default());
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
    let (mut one, mut two) = (Waiter::default(), Waiter::default());
    let linger = |waiter: &mut Waiter, linger| {
        let (wakes, result) = queue.get_batch_or_wait((), 10, linger, waiter, &batch);
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

/// Two batches, of which the second waits behind the first.
#[test]
fn a_batch_lingers_until_the_items_weigh_enough() {
    let queue = queue(UNBOUNDED);
    queue.compose((), &Composition { max_weight: Some(100), ..Composition::default() }).unwrap();
    let put = |item, weight| {
        let (wakes, lost, result) = queue.put_composed((), item, Terms { weight, due: Due::Never }, Attempt::Now);
        wakes.fire();
        assert!(result.is_ok() && lost.is_empty());
    };
    let linger = |max_weight, waiter: &mut Waiter, waker: &Waker| {
        waker.reset();
        let bounds = BatchBounds { max: 10, max_weight };
        let (wakes, _lost, result) = queue.get_many_composed((), bounds, Linger::On, Attempt::Wait(waiter, waker));
        wakes.fire();
        result
    };
    let (one, other) = (parker(), parker());
    let (mut first, mut second) = (Waiter::default(), Waiter::default());
    put(1, 2);
    assert_eq!(linger(5, &mut first, &one), Err(BatchError::Lingering));
    assert_eq!(linger(3, &mut second, &other), Err(BatchError::Empty));
    put(2, 2);
    assert!(!one.is_notified() && !other.is_notified());
    put(3, 9);
    assert!(one.is_notified());
    assert_eq!(linger(5, &mut first, &one), Ok(vec![1, 2]));
    assert!(other.is_notified());
    assert_eq!(linger(3, &mut second, &other), Ok(vec![3]), "it is heavier alone");
}

#[test]
fn a_reserved_place_holds_off_the_end_until_it_is_filled() {
    let queue = queue(1);
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
    assert_eq!(put(&queue, 9), Err(PutError::Full(9)));
    shut_down(&queue);
    assert_eq!(get(&queue), Err(GetError::Empty));
    queue.fulfil((), 1).0.fire();
    assert_eq!(get(&queue), Ok(1));
    assert_eq!(get(&queue), Err(GetError::ShutDown));
}

#[test]
fn discarded_items_lower_the_unfinished_count_but_never_below_zero() {
    let queue = queue(UNBOUNDED);
    for n in 0..3 {
        put(&queue, n).unwrap();
    }
    queue.set_unfinished((), 1).fire();
    let drain = |buffer: &mut Fifo<u32>| {
        let count = std::iter::from_fn(|| buffer.pop()).count();
        (count, count)
    };
    let (wakes, count) = queue.step((), None, |state, wakes| state.clear(drain, wakes));
    wakes.fire();
    assert_eq!(count, Ok(3));
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
    done.unwrap()
}

fn shut_down(queue: &Fifos) {
    let (wakes, done) = queue.shut_down(());
    wakes.fire();
    done.unwrap();
}

#[test]
fn the_work_is_over_when_nothing_is_queued_and_nobody_works() {
    let queue = queue(UNBOUNDED);
    let (parker, mut waiter) = (parker(), Waiter::default());
    queue.start_work((), WORKER).0.fire();
    assert_eq!(wait_to_get(&queue, &mut waiter, &parker), Err(GetError::Empty), "nothing was ever put");
    put(&queue, 1).unwrap();
    assert_eq!(wait_to_get(&queue, &mut waiter, &parker), Ok(1));
    assert_eq!(wait_to_get(&queue, &mut waiter, &parker), Err(GetError::Empty), "the item is not done");
    put(&queue, 2).unwrap();
    assert!(done(&queue));
    assert_eq!(wait_to_get(&queue, &mut waiter, &parker), Ok(2));
    assert_eq!(wait_to_get(&queue, &mut waiter, &parker), Err(GetError::Empty));
    assert!(done(&queue));
    assert!(parker.is_notified(), "those who wait for more are told");
    assert_eq!(wait_to_get(&queue, &mut waiter, &parker), Err(GetError::ShutDown));
}

#[test]
fn an_open_end_keeps_the_work_going() {
    let queue = queue(UNBOUNDED);
    queue.open_end(());
    queue.open_end(());
    queue.start_work((), WORKER).0.fire();
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
    queue.start_work((), WORKER).0.fire();
    queue.start_work((), WORKER).0.fire();
    put(&queue, 1).unwrap();
    assert!(!queue.close_end(()));
    queue.stop_work((), WORKER).fire();
    assert!(!queue.is_shut(()));
    queue.stop_work((), WORKER).fire();
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
    let (mut place, mut waiter) = (Waiter::default(), Waiter::default());
    put(&queue, 1).unwrap();
    assert!(!queue.join_or_wait((), &mut place, &joiner).1);
    queue.take_baton((), None, &mut waiter, &holder).0.fire();
    let (wakes, admitted) = queue.admit_put((), (1, 0, 0), None, |_| ());
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

#[test]
fn merged_items_have_been_put_and_are_finished_with() {
    let queue = queue(UNBOUNDED);
    put(&queue, 1).unwrap();
    queue.count_merged((), 3, false).fire();
    let seen = queue.statistics(());
    assert_eq!((seen.puts, seen.merged, seen.unfinished, seen.size, seen.peak_size), (4, 3, 1, 1, 1));
}

#[test]
fn an_item_that_is_merged_after_it_was_counted_may_be_the_last_that_a_joiner_waits_for() {
    let queue = queue(UNBOUNDED);
    let (joiner, mut place) = (parker(), Waiter::default());
    put(&queue, 1).unwrap();
    assert!(!queue.join_or_wait((), &mut place, &joiner).1);
    queue.count_merged((), 1, true).fire();
    assert!(joiner.is_notified());
    assert!(queue.join_or_wait((), &mut place, &joiner).1);
    let seen = queue.statistics(());
    assert_eq!((seen.puts, seen.merged, seen.unfinished), (1, 1, 0));
}

#[test]
fn putters_that_are_told_to_look_again_keep_their_places_and_count_as_not_woken() {
    let queue = queue(1);
    put(&queue, 0).unwrap();
    let (first, second) = (parker(), parker());
    let (mut place, mut behind) = (Waiter::default(), Waiter::default());
    for (waiter, waker) in [(&mut place, &first), (&mut behind, &second)] {
        assert_eq!(queue.put_or_wait((), 1, waiter, waker).1, Err(PutError::Full(1)));
    }
    for _ in 0..5 {
        queue.prod_putters(()).fire();
        assert!(first.is_notified() && second.is_notified());
        for (waiter, waker) in [(&mut place, &first), (&mut behind, &second)] {
            waker.reset();
            assert_eq!(queue.put_or_wait((), 1, waiter, waker).1, Err(PutError::Full(1)));
        }
    }
    // However often that was: the next one goes by the order in which they came.
    assert_eq!(get(&queue), Ok(0));
    assert!(first.is_notified() && !second.is_notified());
    let (wakes, put) = queue.put_or_wait((), 2, &mut place, &first);
    wakes.fire();
    assert_eq!((put, queue.statistics(()).waiting_putters), (Ok(()), 1));
}

#[test]
fn the_last_worker_that_would_wait_for_room_is_told() {
    let queue = queue(1);
    let wakers = [parker(), parker()];
    let mut waiters = [Waiter::default(), Waiter::default()];
    put(&queue, 0).unwrap();
    for worker in [1, 2] {
        queue.start_work((), worker).0.fire();
    }
    assert!(!queue.mark_stuck((), 9), "no worker");
    assert!(!queue.mark_stuck((), 1) && !queue.mark_stuck((), 1), "the other one can still take items");
    assert!(queue.mark_stuck((), 2));
    queue.unmark_stuck((), 1);
    assert!(!queue.mark_stuck((), 2));
    for (waker, waiter) in wakers.iter().zip(&mut waiters) {
        let _ = wait_to_put(&queue, 1, waiter, waker);
    }
    // The other leaves: the one that is left is to ask again.
    queue.stop_work((), 1).fire();
    assert!(wakers.iter().all(|waker| waker.is_notified()));
    assert!(queue.mark_stuck((), 2));
    assert_eq!(get(&queue), Ok(0));
    assert!(!queue.mark_stuck((), 2), "there is room");
}

/// The `working()` of a worker may be left by another thread while its put waits.
#[test]
fn a_worker_that_leaves_while_it_waits_for_room_leaves_no_mark() {
    let queue = queue(1);
    put(&queue, 0).unwrap();
    for worker in [1, 2, 3] {
        queue.start_work((), worker).0.fire();
    }
    for worker in [1, 2] {
        assert!(!queue.mark_stuck((), worker));
    }
    for worker in [1, 2, 3] {
        queue.stop_work((), worker).fire();
    }
    let (wakes, started) = queue.start_work((), 4);
    wakes.fire();
    assert!(started.is_ok());
    assert!(queue.mark_stuck((), 4), "it is the only one");
}

// The mutex.

const ME: u64 = 1;
const OTHER: u64 = 2;

fn lock(queue: &Fifos) {
    let (wakes, taken) = queue.lock_mutex((), ME, Some(Fifo::default()), None);
    wakes.fire();
    assert_eq!(taken, MutexTaken::Yes);
}

fn give_back(queue: &Fifos) -> Result<LateItems<u32>, Locked> {
    let (wakes, late) = queue.unlock_mutex((), ME);
    wakes.fire();
    late
}

fn own_put(queue: &Fifos, item: u32) -> Result<Result<(), PutError<u32>>, Locked> {
    let (wakes, result) = queue.step((), Some(ME), |state, wakes| state.put(item, Admission::Immediate, wakes));
    wakes.fire();
    result
}

fn own_get(queue: &Fifos) -> Result<u32, GetError> {
    let (wakes, result) = queue.step((), Some(ME), |state, wakes| state.get(Admission::Immediate, wakes));
    wakes.fire();
    result.unwrap()
}

#[test]
fn a_lent_queue_refuses_others_and_shows_them_what_its_owner_makes_of_it() {
    let queue = queue(2);
    put(&queue, 1).unwrap();
    lock(&queue);
    assert!(!queue.put_uncontended((), Admission::Immediate, || unreachable!("locked")));
    assert_eq!(queue.get_uncontended((), Admission::Immediate), None);
    assert_eq!(put(&queue, 9), Err(PutError::Locked(9)));
    assert_eq!(get(&queue), Err(GetError::Locked));
    assert_eq!(queue.try_get_batch((), 5, Admission::Immediate).1, Err(GetError::Locked));
    assert_eq!(queue.try_put_batch((), &mut vec![9].into_iter(), Admission::Immediate).1, Err(PutError::Locked(())));
    assert_eq!(queue.try_reserve((), Admission::Immediate), Err(PutError::Locked(())));
    assert_eq!(queue.task_done(()).1, Err(Locked));
    assert_eq!(queue.shut_down(()).1, Err(Locked));
    assert_eq!(queue.step((), Some(OTHER), |_, _| ()).1, Err(Locked));
    assert_eq!(own_put(&queue, 2), Ok(Ok(())));
    assert_eq!(own_put(&queue, 3), Ok(Err(PutError::Full(3))));
    assert_eq!((queue.size(()), queue.limit(()), queue.peek((), |item| *item)), (2, 2, Ok(1)));
    queue.set_limit((), 3).fire();
    assert_eq!(own_put(&queue, 3), Ok(Ok(())));
    assert_eq!(give_back(&queue), Ok(LateItems::default()));
    assert_eq!([get(&queue), get(&queue), get(&queue), get(&queue)], [Ok(1), Ok(2), Ok(3), Err(GetError::Empty)]);
    let seen = queue.statistics(());
    assert_eq!((seen.puts, seen.gets, seen.limit, seen.full_for), (3, 3, 3, 0));
}

#[test]
fn what_the_owner_drops_comes_back_with_the_mutex() {
    let queue = queue(1);
    let dropped = |item| Dropped { item, reason: DropReason::Oldest, was_stored: true };
    assert_eq!(queue.report_later((), ME, dropped(1)), Err(dropped(1)), "nobody has it");
    lock(&queue);
    lock(&queue);
    assert_eq!(queue.report_later((), OTHER, dropped(1)), Err(dropped(1)));
    assert_eq!(queue.report_later((), ME, dropped(1)), Ok(()));
    assert_eq!(give_back(&queue), Ok(LateItems::default()), "it is still locked");
    assert_eq!(queue.report_later((), ME, dropped(2)), Ok(()));
    let mut seen = Vec::new();
    queue.visit_late((), |item| seen.push(*item));
    assert_eq!(seen, [1, 2]);
    assert_eq!(give_back(&queue).unwrap().dropped, [dropped(1), dropped(2)]);
}

#[test]
fn the_guard_is_given_back_as_often_as_it_was_taken_and_by_its_owner() {
    let queue = queue(1);
    assert_eq!(give_back(&queue), Err(Locked));
    lock(&queue);
    lock(&queue);
    assert_eq!(queue.unlock_mutex((), OTHER).1, Err(Locked));
    assert_eq!(queue.lock_mutex((), OTHER, Some(Fifo::default()), None).1, MutexTaken::Deadlock, "on the same thread");
    assert_eq!(give_back(&queue), Ok(LateItems::default()));
    assert!(queue.has_mutex((), ME) && !queue.has_mutex((), OTHER) && queue.is_locked(()));
    assert_eq!(give_back(&queue), Ok(LateItems::default()));
    assert_eq!(give_back(&queue), Err(Locked));
    assert!(!queue.is_locked(()));
    put(&queue, 1).unwrap();
}

#[test]
fn nobody_is_woken_before_the_guard_is_back() {
    let queue = queue(1);
    let (getter, joiner) = (parker(), parker());
    let (mut one, mut two) = (Waiter::default(), Waiter::default());
    put(&queue, 1).unwrap();
    assert!(!queue.join_or_wait((), &mut two, &joiner).1);
    lock(&queue);
    assert_eq!(wait_to_get(&queue, &mut one, &getter), Err(GetError::Locked));
    queue.set_unfinished((), 0).fire();
    assert_eq!(own_get(&queue), Ok(1));
    assert_eq!(own_put(&queue, 2), Ok(Ok(())));
    queue.set_unfinished((), 0).fire();
    assert!(!getter.is_notified() && !joiner.is_notified());
    assert!(!queue.join_or_wait((), &mut two, &joiner).1, "not before the block is over");
    assert_eq!(give_back(&queue), Ok(LateItems::default()));
    assert!(getter.is_notified() && joiner.is_notified());
    assert_eq!(wait_to_get(&queue, &mut one, &getter), Ok(2));
}

#[test]
fn a_place_promised_before_is_filled_after() {
    let queue = queue(2);
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
    lock(&queue);
    assert_eq!(queue.fulfil((), 7).1, Err(PutError::Locked(7)));
    assert_eq!(queue.fulfil_later((), 7, Terms::NONE), Ok(()));
    assert_eq!(own_put(&queue, 1), Ok(Ok(())));
    assert_eq!(own_put(&queue, 2), Ok(Err(PutError::Full(2))), "the place is promised");
    assert_eq!(give_back(&queue), Ok(LateItems::default()));
    assert_eq!([get(&queue), get(&queue)], [Ok(1), Ok(7)]);
    assert_eq!(queue.fulfil_later((), 8, Terms::NONE), Err(NotLater::Unlocked(8)), "nobody has the guard");
}

#[test]
fn what_comes_late_into_a_queue_that_drops_meets_its_policy() {
    let queue = queue(1);
    queue.set_overflow((), Overflow::DropOldest).fire();
    assert_eq!(put(&queue, 1), Ok(()));
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()), "such a queue reserves a place for every item");
    lock(&queue);
    assert_eq!(queue.fulfil_later((), 7, Terms::NONE), Ok(()));
    let late = give_back(&queue).unwrap();
    assert_eq!(late.dropped, [Dropped { item: 1, reason: DropReason::Oldest, was_stored: true }]);
    assert_eq!((queue.size(()), queue.unfinished(()), get(&queue)), (1, 1, Ok(7)));
}

#[test]
fn a_place_is_reserved_past_a_line_where_nobody_waits_for_room() {
    let queue = queue(1);
    let (first, second) = (parker(), parker());
    let (mut ahead, mut waiter) = (Waiter::default(), Waiter::default());
    assert_eq!(put(&queue, 0), Ok(()));
    for _ in 0..3 {
        assert_eq!(wait_to_put(&queue, 1, &mut ahead, &first), Err(PutError::Full(1)));
        assert_eq!(get(&queue), Ok(0)); // wakes it,
        assert_eq!(put(&queue, 0), Ok(())); // and takes the room away again: a miss, and at the second one the door shuts
    }
    queue.set_overflow((), Overflow::DropOldest).fire();
    let (wakes, reserved) = queue.reserve_or_wait((), &mut waiter, &second);
    wakes.fire();
    assert_eq!(reserved, Ok(()));
    assert!(!waiter.is_enqueued());
    queue.unreserve(()).fire();
    queue.leave((), &mut ahead).fire();
}

#[test]
fn what_a_shutdown_has_thrown_away_meanwhile_comes_back() {
    let queue = queue(2);
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
    lock(&queue);
    assert_eq!(queue.fulfil_later((), 7, Terms::NONE), Ok(()));
    let (wakes, done) = queue.step((), Some(ME), |state, wakes| state.shut_down_at_once(|_| ((), 0), |(), _| (), wakes));
    wakes.fire();
    assert!(done.is_ok());
    assert_eq!(give_back(&queue), Ok(LateItems { lost: vec![7], dropped: vec![] }));
    assert_eq!(get(&queue), Err(GetError::ShutDown));
}

#[test]
fn those_who_watch_are_told_of_events_and_stand_behind_everybody() {
    let queue = queue(UNBOUNDED);
    let (first, second, getter) = (parker(), parker(), parker());
    let mut waiter = Waiter::default();
    let watch = |waker: &Waker| {
        lock(&queue);
        let (wakes, watched) = queue.begin_condition_wait((), ME, Side::Get, waker);
        wakes.fire();
        let (watch, depth, late) = watched.unwrap();
        assert!(depth == 1 && late == LateItems::default() && !queue.is_locked(()));
        watch
    };
    put(&queue, 0).unwrap();
    let (one, two) = (watch(&first), watch(&second));
    assert!(!first.is_notified(), "that item was there before");
    assert_eq!(get(&queue), Ok(0));
    assert_eq!(wait_to_get(&queue, &mut waiter, &getter), Err(GetError::Empty));
    put(&queue, 1).unwrap();
    assert!(first.is_notified() && !second.is_notified() && getter.is_notified());
    assert!(queue.is_notified((), &one) && !queue.is_notified((), &two));
    assert_eq!(wait_to_get(&queue, &mut waiter, &getter), Ok(1));
    // Notified and gone: the next one has it.
    let (wakes, notified) = queue.end_condition_wait((), &one, true);
    wakes.fire();
    assert!(notified && second.is_notified());
    assert!(queue.end_condition_wait((), &two, false).1);
    let third = parker();
    let three = watch(&third);
    assert!(!queue.end_condition_wait((), &three, true).1);
    let four = watch(&third);
    shut_down(&queue);
    assert!(queue.is_notified((), &four));
}

#[test]
fn only_the_owner_notifies() {
    let queue = queue(1);
    let wakers = [parker(), parker(), parker()];
    for waker in &wakers {
        lock(&queue);
        queue.begin_condition_wait((), ME, Side::Put, waker).0.fire();
    }
    assert_eq!(queue.notify((), ME, Side::Put, 1).1, Err(Locked));
    lock(&queue);
    queue.notify((), ME, Side::Put, 2).0.fire();
    assert_eq!(wakers.each_ref().map(|waker| waker.is_notified()), [true, true, false]);
    assert_eq!(queue.begin_condition_wait((), OTHER, Side::Put, &wakers[0]).1.map(|_| ()), Err(Locked));
    assert_eq!(give_back(&queue), Ok(LateItems::default()));
}

#[test]
fn the_mutex_in_the_foreign_code_of_a_holder_leaves_the_baton_with_it() {
    let queue = queue(2);
    let others = |waiter: &mut Waiter, waker: &Arc<Parker>| {
        let ask = || queue.take_baton((), None, waiter, waker).1;
        std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
    };
    let (holder, other) = (parker(), parker());
    let mut waiter = Waiter::default();
    assert_eq!(queue.take_baton((), None, &mut Waiter::default(), &holder).1, BatonTaken::Yes);
    assert_eq!(queue.lock_mutex((), ME, None, None).1, MutexTaken::Yes);
    assert_eq!(others(&mut waiter, &other), BatonTaken::Busy, "in line, for the mutex will be back first");
    assert_eq!(give_back(&queue), Ok(LateItems::default()));
    assert_eq!(others(&mut waiter, &other), BatonTaken::Busy);
    assert!(queue.baton_is_mine(()));
    assert!(!other.is_notified());
    let (wakes, finished) = queue.finish((), 0, 0, 0, |_| true);
    wakes.fire();
    assert!(finished && other.is_notified());
    assert_eq!(others(&mut waiter, &other), BatonTaken::Yes);
}

#[test]
fn the_baton_is_for_the_owner_of_the_guard() {
    let queue = queue(2);
    let waker = parker();
    let mut waiter = Waiter::default();
    // Where operations need the baton, the buffer stays.
    assert_eq!(queue.lock_mutex((), ME, None, None).1, MutexTaken::Yes);
    assert_eq!(queue.take_baton((), None, &mut waiter, &waker).1, BatonTaken::Locked);
    assert_eq!(queue.take_baton((), Some(OTHER), &mut waiter, &waker).1, BatonTaken::Locked);
    assert!(!waiter.is_enqueued());
    assert!(queue.enqueue_while_locked((), Side::Get, &mut waiter, &waker).1);
    assert_eq!(queue.take_baton((), Some(ME), &mut Waiter::default(), &waker).1, BatonTaken::Yes);
    assert!(
        queue
            .finish((), 0, 1, 0, |buffer| {
                buffer.push(5);
                true
            })
            .1
    );
    assert!(!waker.is_notified());
    assert_eq!(give_back(&queue), Ok(LateItems::default()));
    assert!(waker.is_notified());
    assert!(!queue.enqueue_while_locked((), Side::Get, &mut waiter, &waker).1);
    assert_eq!(queue.take_baton((), None, &mut Waiter::default(), &waker).1, BatonTaken::Yes);
}
