//! The credit channel, one thread at a time and on a clock that is set by hand: who may send what when, what comes back, how it ends.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};

use parking_lot::{RwLock, RwLockReadGuard};
use sluicegate_core::clock::{Clock, Manual, Nanos};
use sluicegate_core::credits::{
    Bale, Batch, Channel, Config, Copied, DeferralCycle, End, Handed, Nack, NoBale, Offer, Permit, Phase, Receipt, ReceiveError,
    Received, Removed, Rules, SendError, SenderEnd, Statistics, UNBOUNDED, Waiter,
};
use sluicegate_core::fork;
use sluicegate_core::leaving::Leaving;
use sluicegate_core::section::Threads;
use sluicegate_core::wait::{Parker, Wake, Wakes};

/// How waiters are told, and channels that hold their grants back.
#[derive(Clone, Debug)]
enum Tell {
    Parker(Arc<Parker>),
    Release(Weak<Inner>),
}

impl Wake for Tell {
    fn share(&self) -> Self {
        self.clone()
    }

    fn is_thread(&self) -> bool {
        matches!(self, Self::Parker(_))
    }

    fn wake(self) -> Wakes<Self> {
        match self {
            Self::Parker(parker) => parker.unpark(),
            Self::Release(channel) => return channel.upgrade().map_or(Wakes::none(), |channel| channel.release(())),
        }
        Wakes::none()
    }
}

/// A bale: numbers that are items when they are received, and what each weighs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wares(VecDeque<(u32, u64)>);

fn wares(numbers: Range<u32>) -> Wares {
    Wares(numbers.map(|number| (number, 1)).collect())
}

fn weighing(first: u32, weights: &[u64]) -> Wares {
    Wares((first..).zip(weights.iter().copied()).collect())
}

impl Bale for Wares {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn weighs_one_each(&self) -> bool {
        self.0.iter().all(|ware| ware.1 == 1)
    }

    fn weight(&self, index: usize) -> u64 {
        self.0[index].1
    }

    fn take(&mut self, count: usize) -> Self {
        Self(self.0.drain(..count).collect())
    }

    /// If the numbers go on.
    fn join(&mut self, mut next: Self) -> Result<(), Self> {
        if self.0.back().map(|ware| ware.0 + 1) != next.0.front().map(|ware| ware.0) {
            return Err(next);
        }
        self.0.append(&mut next.0);
        Ok(())
    }
}

/// The one item that was received.
fn unpack(received: Received<u32, Wares>) -> u32 {
    match received {
        Received::Item(item) => item,
        Received::Bale(bale) => {
            assert_eq!(bale.count(), 1);
            bale.0[0].0
        }
    }
}

fn unpack_all(batch: Batch<u32, Wares>) -> Vec<u32> {
    batch.into_items().map(unpack).collect()
}

/// What is to be reported, for whatever reason.
fn given_up(left: Removed<u32, Wares>) -> Vec<u32> {
    let mut items = left.poison;
    items.extend(left.rejected);
    items.extend(unpack_all(left.dropped));
    items
}

type Inner = Channel<u32, Tell, Threads, Wares>;
type Sent = Result<(), SendError<u32>>;
type Taken = Result<u32, ReceiveError>;

const SECOND: Nanos = 1_000_000_000;
const FULL: Result<(), SendError<()>> = Err(SendError::Full(()));

/// A place in a line, and where its owner sleeps.
struct Caller {
    parker: Arc<Parker>,
    waiter: Waiter,
}

impl Caller {
    fn new() -> Self {
        Self { parker: Arc::default(), waiter: Waiter::default() }
    }

    fn is_told(&self) -> bool {
        self.parker.is_notified()
    }

    fn tell(&self) -> Tell {
        self.parker.reset();
        Tell::Parker(Arc::clone(&self.parker))
    }
}

/// A channel whose wake-ups are delivered, and whose books are checked, with every operation.
struct Chan {
    inner: Arc<Inner>,
    clock: Arc<Manual<Tell>>,
    _unforked: Option<RwLockReadGuard<'static, ()>>,
}

/// A fork is the whole process's: the test that plays one has it alone.
static FORKS: RwLock<()> = RwLock::new(());

impl Chan {
    fn new(config: Config) -> Self {
        Self { _unforked: Some(FORKS.read_recursive()), ..Self::that_is_forked(config) }
    }

    fn that_is_forked(config: Config) -> Self {
        let clock = Arc::new(Manual::new(0));
        Self { inner: Arc::new(Channel::new(config, Clock::Manual(Arc::clone(&clock)))), clock, _unforked: None }
    }

    /// With a window that is given back by halves.
    fn window(window: u64) -> Self {
        Self::new(Config { window, step: window.div_ceil(2), bound: window, control_capacity: 2, rules: None })
    }

    fn manual(bound: u64) -> Self {
        Self::new(Config { window: 0, step: 0, bound, control_capacity: 2, rules: None })
    }

    fn acking(window: u64, ack_wait: Option<Nanos>, max_deliver: u32) -> Self {
        let rules = Some(Rules { ack_wait, max_deliver, reports: false });
        Self::new(Config { window, step: window.div_ceil(2), bound: window, control_capacity: 2, rules })
    }

    fn seen(&self) -> Statistics {
        let (leaving, seen) = self.inner.statistics(());
        let left = leaving.fire_and_keep();
        assert!(left.is_empty(), "{left:?}");
        check_books(&seen);
        seen
    }

    fn keep(&self, leaving: Leaving<Tell, Removed<u32, Wares>>) -> Removed<u32, Wares> {
        let removed = leaving.fire_and_keep();
        self.seen();
        removed
    }

    fn done<R>(&self, (wakes, result): (Wakes<Tell>, R)) -> R {
        wakes.fire();
        self.seen();
        result
    }

    fn fire(&self, wakes: Wakes<Tell>) {
        self.done((wakes, ()));
    }

    fn send(&self, item: u32) -> Sent {
        self.done(self.inner.try_send((), item, 1))
    }

    fn send_heavy(&self, item: u32, weight: u64) -> Sent {
        self.done(self.inner.try_send((), item, weight))
    }

    fn send_all(&self, items: Range<u32>) {
        items.for_each(|item| assert_eq!(self.send(item), Ok(())));
    }

    fn wait_to_send(&self, item: u32, weight: u64, caller: &mut Caller) -> Sent {
        let waker = caller.tell();
        self.done(self.inner.send_or_wait((), item, weight, &mut caller.waiter, &waker))
    }

    fn offer(&self, bale: Wares, caller: &mut Caller) -> Offer<Wares> {
        let waker = caller.tell();
        self.done(self.inner.offer((), bale, &mut caller.waiter, &waker))
    }

    fn send_bale(&self, bale: Wares) {
        let mut caller = Caller::new();
        assert_eq!(self.offer(bale, &mut caller), Offer::Sent);
        assert!(!caller.waiter.is_enqueued());
    }

    fn look_at_offer(&self, caller: &mut Caller) -> Offer<Wares> {
        caller.parker.reset();
        self.done(self.inner.look_at_offer((), &mut caller.waiter))
    }

    /// What is left of an offer that stands.
    fn offered(&self, caller: &Caller) -> Wares {
        self.inner.with_offer((), &caller.waiter, Wares::clone).unwrap()
    }

    fn take_back(&self, caller: &mut Caller) -> Option<Wares> {
        self.done(self.inner.take_back((), &mut caller.waiter))
    }

    fn leave(&self, caller: &mut Caller) {
        self.fire(self.inner.leave((), &mut caller.waiter));
    }

    fn receive(&self) -> Taken {
        self.done(self.inner.try_receive(())).map(unpack)
    }

    fn receive_batch(&self, max: usize) -> Result<Vec<u32>, ReceiveError> {
        self.done(self.inner.try_receive_batch((), max)).map(unpack_all)
    }

    fn receive_all(&self, items: Range<u32>) {
        items.for_each(|item| assert_eq!(self.receive(), Ok(item)));
    }

    fn wait_to_receive(&self, caller: &mut Caller) -> Taken {
        let waker = caller.tell();
        self.done(self.inner.receive_or_wait((), &mut caller.waiter, &waker)).map(unpack)
    }

    fn request(&self, n: u64) -> bool {
        self.done(self.inner.request((), n))
    }

    fn request_up_to(&self, sequence: u64) -> bool {
        self.done(self.inner.request_up_to((), sequence))
    }

    fn drain(&self) -> u64 {
        self.done(self.inner.drain(()))
    }

    fn lease(&self, n: u64, ttl: Nanos) -> bool {
        self.done(self.inner.lease((), n, ttl))
    }

    fn resume(&self) {
        self.fire(self.inner.resume(()));
    }

    fn try_permit(&self, n: u64) -> Result<Permit, SendError<()>> {
        self.done(self.inner.try_permit((), n))
    }

    fn permit(&self, n: u64) -> Permit {
        self.try_permit(n).unwrap()
    }

    fn send_permitted(&self, permit: &mut Permit, item: u32, weight: u64) -> Sent {
        self.done(self.inner.send_permitted((), permit, item, weight))
    }

    fn return_permit(&self, permit: Permit) {
        self.fire(self.inner.return_permit((), permit));
    }

    fn complete(&self) {
        self.fire(self.inner.complete((), &SenderEnd::default()));
    }

    fn fail(&self) -> bool {
        self.done(self.inner.fail((), &SenderEnd::default(), |()| ()))
    }

    /// What is to be reported, and what is only to be dropped.
    fn cancel(&self) -> (Vec<u32>, Vec<u32>) {
        let mut left = self.keep(self.inner.cancel((), |()| ()));
        let settled = std::mem::take(&mut left.settled);
        (given_up(left), settled)
    }

    fn credit(&self) -> u64 {
        self.done(self.inner.credit(()))
    }

    // With deliveries.

    fn take(&self, owner: u64) -> Result<Handed<u32>, ReceiveError> {
        let (leaving, result) = self.inner.try_receive_delivery((), owner, &Copied);
        assert!(given_up(self.keep(leaving)).is_empty());
        result
    }

    fn take_or_wait(&self, owner: u64, caller: &mut Caller) -> Result<Handed<u32>, ReceiveError> {
        let waker = caller.tell();
        let (leaving, result) = self.inner.receive_delivery_or_wait((), owner, &Copied, &mut caller.waiter, &waker);
        assert!(given_up(self.keep(leaving)).is_empty());
        result
    }

    fn ack(&self, receipt: Receipt) -> bool {
        let (leaving, settled) = self.inner.ack((), receipt);
        assert!(given_up(self.keep(leaving)).is_empty());
        settled
    }

    /// True if it was in time, and what was given up.
    fn nack(&self, receipt: Receipt, nack: Nack) -> (bool, Vec<u32>) {
        let (leaving, settled) = self.inner.nack((), receipt, nack);
        (settled, given_up(self.keep(leaving)))
    }

    fn at(&self, moment: Nanos) {
        self.clock.advance(moment - self.clock.now());
    }

    fn catch_up(&self) -> Vec<u32> {
        given_up(self.keep(self.inner.catch_up(())))
    }

    /// Holds this channel's grants while the sender of `other` is starved.
    fn defer_to(&self, other: &Self) {
        assert_eq!(self.try_defer_to(other), Ok(()));
    }

    fn try_defer_to(&self, other: &Self) -> Result<(), DeferralCycle> {
        let observer = Tell::Release(Arc::downgrade(&self.inner));
        self.done(self.inner.defer_to((), Some((&other.inner, observer))))
    }
}

/// What holds between the counters, whatever has been done.
fn check_books(seen: &Statistics) {
    if seen.phase == Phase::Cancelled {
        assert_eq!((seen.credit, seen.permits, seen.occupied, seen.owed), (0, 0, 0, 0), "{seen:?}");
        assert_eq!((seen.items_buffered, seen.items_unacked), (0, 0), "{seen:?}");
    }
    if seen.granted < UNBOUNDED {
        let available = seen.granted.checked_sub(seen.permits + seen.sent + seen.voided).expect("sent <= granted");
        assert!(seen.credit <= available, "{seen:?}");
        if seen.window > 0 && seen.phase != Phase::Cancelled {
            assert_eq!(available, seen.credit, "{seen:?}");
            assert_eq!(available + seen.permits + seen.occupied + seen.owed, seen.window, "{seen:?}");
        }
    }
}

const REQUEUE: Nack = Nack { requeue: true, delay: 0, counts: true };
const DROP: Nack = Nack { requeue: false, delay: 0, counts: true };

fn ended<T>(item: T, end: End) -> Result<(), SendError<T>> {
    Err(SendError::Ended(item, end))
}

fn items(batch: Range<u32>) -> std::vec::IntoIter<u32> {
    batch.collect::<Vec<_>>().into_iter()
}

// ------------------------------------------------------------------------------------------------------------------------ windows

#[test]
fn a_window_is_all_that_may_be_on_its_way() {
    let c = Chan::window(4);
    c.send_all(0..4);
    assert_eq!(c.send(9), Err(SendError::Full(9)));
    assert_eq!(c.receive(), Ok(0));
    assert_eq!((c.credit(), c.seen().owed), (0, 1));
    assert_eq!(c.send(9), Err(SendError::Full(9)), "half of it is given back at once");
    assert_eq!(c.receive(), Ok(1));
    assert_eq!(c.credit(), 2);
    c.send_all(4..6);
    c.receive_all(2..6);
    assert_eq!(c.receive(), Err(ReceiveError::Empty));
    assert_eq!((c.credit(), c.seen().peak), (4, 4));
}

/// Also row C1: it is granted exactly once for each half that has been received, though a sender stands there all the time.
#[test]
fn a_window_costs_two_wake_ups_though_a_sender_waits() {
    let c = Chan::window(256);
    c.send_all(0..256);
    let mut sender = Caller::new();
    let mut told = 0;
    let mut next = 256;
    assert_eq!(c.wait_to_send(next, 1, &mut sender), Err(SendError::Full(next)));
    for item in 0..1024 {
        assert_eq!(c.receive(), Ok(item));
        if sender.is_told() {
            assert_eq!((item + 1) % 128, 0);
            told += 1;
            while c.wait_to_send(next, 1, &mut sender).is_ok() {
                next += 1;
            }
            assert_eq!(c.seen().occupied, 256);
        }
    }
    assert_eq!(told, 8);
}

#[test]
fn a_sender_that_parks_gets_all_that_was_consumed() {
    let c = Chan::window(256);
    c.send_all(0..256);
    c.receive_all(0..40);
    assert_eq!((c.credit(), c.seen().owed), (0, 40));
    let mut sender = Caller::new();
    assert_eq!(c.wait_to_send(256, 1, &mut sender), Ok(()), "it does not even have to park");
    assert!(!sender.waiter.is_enqueued());
    assert_eq!((c.credit(), c.seen().owed), (39, 0));
    // A caller that asks for room parks.
    c.send_all(257..296);
    c.receive_all(40..45);
    let waker = sender.tell();
    assert_eq!(c.done(c.inner.ready_or_wait((), 6, &mut sender.waiter, &waker)), FULL);
    assert_eq!((c.seen().credit, c.credit(), c.seen().owed), (5, 0, 0), "what is there is for the one in line");
    c.leave(&mut sender);
    assert_eq!(c.credit(), 5);
    let permit = c.done(c.inner.permit_or_wait((), 5, &mut sender.waiter, &waker));
    assert_eq!(permit.unwrap().left(), 5);
    c.receive_all(45..47);
    let mut batch = items(296..300);
    assert_eq!(c.done(c.inner.send_batch_or_wait((), &mut batch, &[], &mut sender.waiter, &waker)), FULL);
    assert_eq!((batch.len(), sender.waiter.is_enqueued()), (2, true));
}

#[test]
fn everything_is_given_back_when_the_buffer_runs_empty() {
    let c = Chan::window(256);
    c.send_all(0..10);
    c.receive_all(0..9);
    assert_eq!(c.seen().owed, 9);
    assert_eq!(c.receive(), Ok(9));
    assert_eq!((c.seen().owed, c.credit()), (0, 256));
}

#[test]
fn a_heavy_item_in_line_moves() {
    let c = Chan::window(100);
    for item in 0..10 {
        assert_eq!(c.send_heavy(item, 10), Ok(()));
    }
    c.receive_all(0..4); // 40, under the step of 50
    let mut sender = Caller::new();
    assert_eq!(c.wait_to_send(77, 80, &mut sender), Err(SendError::Full(77)));
    assert_eq!((c.seen().credit, c.seen().owed), (40, 0));
    c.receive_all(4..10);
    assert!(sender.is_told());
    assert_eq!(c.wait_to_send(77, 80, &mut sender), Ok(()));
    assert_eq!(c.receive(), Ok(77));
    assert_eq!(c.credit(), 100);
}

#[test]
fn what_is_heavier_than_the_bound_is_refused() {
    let c = Chan::window(100);
    let mut sender = Caller::new();
    assert_eq!(c.send_heavy(1, 101), Err(SendError::TooHeavy(1)));
    assert_eq!(c.wait_to_send(1, 101, &mut sender), Err(SendError::TooHeavy(1)));
    assert_eq!(c.try_permit(101), Err(SendError::TooHeavy(())));
    let waker = sender.tell();
    assert_eq!(c.done(c.inner.ready_or_wait((), 101, &mut sender.waiter, &waker)), Err(SendError::TooHeavy(())));
    let mut batch = items(1..4);
    assert_eq!(c.done(c.inner.try_send_batch((), &mut batch, &[60, 101, 1])), Err(SendError::TooHeavy(())));
    assert_eq!(batch.as_slice(), [2, 3], "those before it have gone");
    assert!(!sender.waiter.is_enqueued());
    assert_eq!(Chan::manual(UNBOUNDED).send_heavy(1, UNBOUNDED), Err(SendError::Full(1)));
}

#[test]
fn an_item_without_weight_needs_a_slot() {
    let c = Chan::window(3);
    for item in 0..3 {
        assert_eq!(c.send_heavy(item, 0), Ok(()));
    }
    let mut sender = Caller::new();
    assert_eq!(c.send_heavy(3, 0), Err(SendError::Full(3)));
    assert_eq!(c.wait_to_send(3, 0, &mut sender), Err(SendError::Full(3)));
    assert_eq!(c.send_heavy(4, 1), Err(SendError::Full(4)), "somebody is before it");
    assert_eq!(c.receive(), Ok(0));
    assert!(sender.is_told());
    assert_eq!(c.wait_to_send(3, 0, &mut sender), Ok(()));
    assert_eq!((c.seen().sent, c.seen().items_buffered), (0, 3));
}

// -------------------------------------------------------------------------------------------------------------------------- lines

#[test]
fn a_heavy_item_at_the_head_holds_up_light_ones() {
    let c = Chan::manual(100);
    let (mut heavy, mut light) = (Caller::new(), Caller::new());
    assert_eq!(c.wait_to_send(1, 5, &mut heavy), Err(SendError::Full(1)));
    assert_eq!(c.wait_to_send(2, 1, &mut light), Err(SendError::Full(2)));
    assert!(c.request(4));
    assert!(!heavy.is_told() && !light.is_told());
    assert_eq!(c.wait_to_send(2, 1, &mut light), Err(SendError::Full(2)), "coming to look does not help");
    assert_eq!(c.send(3), Err(SendError::Full(3)));
    assert_eq!((c.credit(), c.seen().credit), (0, 4));
    c.request(1);
    assert!(heavy.is_told() && !light.is_told());
    c.request(2);
    assert!(light.is_told());
    assert_eq!(c.wait_to_send(2, 1, &mut light), Ok(()), "its credit is apart from the other's");
    assert_eq!(c.send_heavy(3, 2), Err(SendError::Full(3)));
    assert_eq!(c.send(3), Ok(()), "what is left");
    assert_eq!(c.wait_to_send(1, 5, &mut heavy), Ok(()));
    assert_eq!(c.seen().credit, 0);
}

#[test]
fn a_woken_sender_that_leaves_hands_its_credit_on() {
    let c = Chan::manual(100);
    let (mut one, mut two) = (Caller::new(), Caller::new());
    let _ = c.wait_to_send(1, 3, &mut one);
    let _ = c.wait_to_send(2, 2, &mut two);
    c.request(3);
    assert!(one.is_told() && !two.is_told());
    c.leave(&mut one);
    c.leave(&mut one); // any number of times
    assert!(two.is_told());
    assert_eq!(c.wait_to_send(2, 2, &mut two), Ok(()));
    assert_eq!((c.credit(), c.seen().waiting_senders), (1, 0));
}

#[test]
fn a_sender_that_steps_aside_lets_others_pass_and_keeps_its_place() {
    let c = Chan::manual(100);
    let (mut one, mut two) = (Caller::new(), Caller::new());
    let _ = c.wait_to_send(1, 1, &mut one);
    let _ = c.wait_to_send(2, 1, &mut two);
    c.request(1);
    let place = one.waiter.position().unwrap();
    c.fire(c.inner.step_aside((), place));
    assert!(two.is_told());
    assert_eq!(c.wait_to_send(2, 1, &mut two), Ok(()));
    let _ = c.wait_to_send(3, 1, &mut two);
    one.parker.reset();
    c.fire(c.inner.step_back((), place));
    c.request(1);
    assert!(one.is_told() && !two.is_told());
}

/// Credit that was taken back leaves those who had been woken for it in the order in which they came.
#[test]
fn what_is_drained_under_woken_senders_comes_back_in_order() {
    let c = Chan::manual(100);
    let (mut one, mut two) = (Caller::new(), Caller::new());
    let _ = c.wait_to_send(1, 5, &mut one);
    let _ = c.wait_to_send(2, 5, &mut two);
    c.request(10);
    assert!(one.is_told() && two.is_told());
    assert_eq!(c.drain(), 10);
    c.request(5);
    assert_eq!(c.wait_to_send(2, 5, &mut two), Err(SendError::Full(2)), "it is the other's");
    assert_eq!(c.wait_to_send(1, 5, &mut one), Ok(()));
    assert!(!two.is_told());
    c.request(5);
    assert_eq!(c.wait_to_send(2, 5, &mut two), Ok(()));
}

#[test]
fn a_light_sender_does_not_pass_one_that_waits_again() {
    let c = Chan::manual(100);
    let (mut heavy, mut light) = (Caller::new(), Caller::new());
    let _ = c.wait_to_send(1, 5, &mut heavy);
    let _ = c.wait_to_send(2, 2, &mut light);
    c.request(7);
    c.drain();
    c.request(3);
    assert_eq!(c.wait_to_send(1, 5, &mut heavy), Err(SendError::Full(1)));
    assert_eq!(c.wait_to_send(2, 2, &mut light), Err(SendError::Full(2)));
    c.request(2);
    assert!(heavy.is_told() && !light.is_told());
}

#[test]
fn receivers_are_served_in_the_order_they_came() {
    let c = Chan::window(10);
    let (mut one, mut two) = (Caller::new(), Caller::new());
    assert_eq!(c.wait_to_receive(&mut one), Err(ReceiveError::Empty));
    assert_eq!(c.wait_to_receive(&mut two), Err(ReceiveError::Empty));
    c.send_all(0..1);
    assert!(one.is_told() && !two.is_told());
    assert_eq!(c.receive(), Err(ReceiveError::Empty), "it is somebody's");
    assert_eq!(c.receive_batch(5), Err(ReceiveError::Empty));
    c.send_all(1..2);
    assert!(two.is_told());
    c.send_all(2..4);
    let waker = two.tell();
    let batch = c.done(c.inner.receive_batch_or_wait((), 9, &mut two.waiter, &waker));
    assert_eq!(batch.map(unpack_all), Ok(vec![0, 1, 2]), "all but what the one before it has been woken for");
    assert_eq!(c.wait_to_receive(&mut one), Ok(3));
    assert_eq!(c.seen().waiting_receivers, 0);
}

#[test]
fn batches_are_received_whole_and_sent_as_far_as_credit_goes() {
    let c = Chan::window(4);
    let mut batch = items(0..6);
    assert_eq!(c.done(c.inner.try_send_batch((), &mut batch, &[])), FULL);
    assert_eq!(batch.len(), 2);
    let mut sender = Caller::new();
    let waker = sender.tell();
    assert_eq!(c.done(c.inner.send_batch_or_wait((), &mut batch, &[], &mut sender.waiter, &waker)), FULL);
    assert_eq!(c.receive_batch(3), Ok(vec![0, 1, 2]));
    assert!(sender.is_told());
    assert_eq!(c.done(c.inner.send_batch_or_wait((), &mut batch, &[], &mut sender.waiter, &waker)), Ok(()));
    assert!(!sender.waiter.is_enqueued());
    assert_eq!(c.receive_batch(9), Ok(vec![3, 4, 5]));
    assert_eq!(c.receive_batch(9), Err(ReceiveError::Empty));
    c.complete();
    assert_eq!(c.done(c.inner.try_send_batch((), &mut items(0..0), &[])), Ok(()));
    assert_eq!(c.done(c.inner.try_send_batch((), &mut items(0..1), &[])), ended((), End::Completed));
}

#[test]
fn time_in_line_is_counted() {
    let c = Chan::manual(10);
    let (mut one, mut two) = (Caller::new(), Caller::new());
    let _ = c.wait_to_send(1, 1, &mut one);
    c.at(SECOND);
    let _ = c.wait_to_send(2, 1, &mut two);
    c.at(3 * SECOND);
    assert_eq!((c.seen().starved_for, c.seen().send_blocked), (3 * SECOND, 5 * SECOND));
    c.request(2);
    let _ = (c.wait_to_send(1, 1, &mut one), c.wait_to_send(2, 1, &mut two));
    c.at(9 * SECOND);
    assert_eq!((c.seen().starved_for, c.seen().send_blocked), (3 * SECOND, 5 * SECOND));
    assert_eq!(c.seen().receive_blocked, 0);
}

// -------------------------------------------------------------------------------------------------------------------------- bales

#[test]
fn a_channel_without_bales_gives_items() {
    let config = Config { window: 2, step: 1, bound: 2, control_capacity: 1, rules: None };
    let channel: Channel<u32, Tell, Threads> = Channel::new(config, Clock::Manual(Arc::new(Manual::new(0))));
    for item in [7, 8] {
        assert_eq!(channel.try_send((), item, 1).1, Ok(()));
    }
    assert_eq!(channel.try_receive(()).1.map(Received::<u32, NoBale>::into_item), Ok(7));
    assert_eq!(channel.try_receive_batch((), 9).1.map(|batch| batch.items), Ok(vec![8]));
}

/// Bales before, between and behind single items, some of them joined, received in batches of every size, and one by one between those.
#[test]
fn bales_and_single_items_come_in_the_order_in_which_they_were_sent() {
    for max in 1..14 {
        for one_by_one in 0..3 {
            let c = Chan::window(20);
            c.send_bale(wares(0..2));
            c.send_all(2..4);
            c.send_bale(wares(4..6));
            c.send_bale(wares(6..7));
            c.send_all(7..8);
            c.send_bale(wares(8..10));
            c.send_bale(wares(20..22));
            let mut received = Vec::new();
            while c.seen().items_buffered > 0 {
                let batch = c.receive_batch(max).unwrap();
                assert!(batch.len() == max || c.seen().items_buffered == 0);
                received.extend(batch);
                received.extend((0..one_by_one).map_while(|_| c.receive().ok()));
            }
            assert_eq!(received, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21], "{max} and {one_by_one}");
            c.send_all(30..31);
            c.send_bale(wares(31..32));
            assert_eq!(c.receive_batch(9), Ok(vec![30, 31]), "as if there had been nothing before");
        }
    }
}

#[test]
fn a_bale_takes_in_what_directly_follows_it() {
    let c = Chan::window(20);
    c.send_bale(wares(0..2));
    assert_eq!(c.receive(), Ok(0));
    c.send_bale(wares(2..5));
    c.send_bale(wares(7..9)); // its numbers do not go on
    c.send_all(50..51);
    c.send_bale(wares(9..11)); // there is an item between
    c.send_bale(wares(11..12));
    assert_eq!(c.seen().items_buffered, 10);
    let batch = c.done(c.inner.try_receive_batch((), 99)).unwrap();
    assert_eq!((batch.count(), batch.is_empty()), (10, false));
    assert_eq!(batch, Batch { items: vec![50], bales: vec![(0, wares(1..5)), (0, wares(7..9)), (1, wares(9..12))] });
    // After what has been received there is nothing to join.
    c.send_bale(wares(12..14));
    assert_eq!(c.receive_batch(9), Ok(vec![12, 13]));
}

#[test]
fn a_batch_may_end_inside_a_bale() {
    let c = Chan::window(9);
    c.send_all(0..2);
    c.send_bale(wares(2..6));
    c.send_all(6..8);
    let batch = c.done(c.inner.try_receive_batch((), 4));
    assert_eq!(batch, Ok(Batch { items: vec![0, 1], bales: vec![(2, wares(2..4))] }));
    assert_eq!((c.seen().items_buffered, c.seen().items_received), (4, 4));
    let batch = c.done(c.inner.try_receive_batch((), 1));
    assert_eq!(batch, Ok(Batch { items: vec![], bales: vec![(0, wares(4..5))] }));
    let waker = Caller::new().tell();
    let batch = c.done(c.inner.receive_batch_or_wait((), 9, &mut Waiter::default(), &waker));
    assert_eq!(batch, Ok(Batch { items: vec![6, 7], bales: vec![(0, wares(5..6))] }));
    assert_eq!(c.credit(), 9);
}

#[test]
fn a_batch_is_taken_apart_and_put_together() {
    let batch =
        || Batch { items: vec![1, 4], bales: vec![(0, wares(0..1)), (1, wares(2..4)), (1, wares(20..21)), (2, wares(5..7))] };
    assert_eq!(batch().count(), 8);
    assert_eq!(batch().into_parts().count(), 6);
    assert_eq!(batch().into_parts().collect::<Batch<_, _>>(), batch());
    assert_eq!(unpack_all(batch()), [0, 1, 2, 3, 20, 4, 5, 6]);
}

/// Its owner sleeps: it is told when nothing is left, not of every part.
#[test]
fn bales_are_sent_as_far_as_credit_goes_and_go_on_by_themselves() {
    let c = Chan::window(4);
    let (mut sender, mut other) = (Caller::new(), Caller::new());
    assert_eq!(c.offer(wares(0..9), &mut sender), Offer::Waiting);
    assert_eq!((c.offered(&sender), c.seen().items_sent, c.seen().waiting_senders), (wares(4..9), 4, 1));
    assert_eq!(c.receive_batch(3), Ok(vec![0, 1, 2]));
    assert!(!sender.is_told());
    assert_eq!((c.offered(&sender), c.seen().occupied), (wares(7..9), 4));
    assert_eq!(c.send(77), Err(SendError::Full(77)), "others stand behind it");
    assert_eq!(c.look_at_offer(&mut sender), Offer::Waiting, "coming to look does not help");
    assert_eq!(c.wait_to_send(77, 1, &mut other), Err(SendError::Full(77)));
    c.receive_all(3..5);
    assert!(sender.is_told() && !other.is_told());
    assert_eq!(c.look_at_offer(&mut sender), Offer::Sent);
    assert!(!sender.waiter.is_enqueued());
    assert_eq!(c.receive_batch(2), Ok(vec![5, 6]));
    assert!(other.is_told());
    assert_eq!(c.wait_to_send(77, 1, &mut other), Ok(()));
    assert_eq!(c.receive_batch(9), Ok(vec![7, 8, 77]));
    assert_eq!((c.credit(), c.seen().waiting_senders, c.seen().peak), (4, 0, 4));
}

/// As one that parks, see `a_sender_that_parks_gets_all_that_was_consumed`.
#[test]
fn a_bale_gets_all_that_was_consumed() {
    let c = Chan::window(256);
    c.send_bale(wares(0..256));
    c.receive_all(0..40);
    assert_eq!((c.credit(), c.seen().owed), (0, 40));
    let mut sender = Caller::new();
    assert_eq!(c.offer(wares(256..300), &mut sender), Offer::Waiting);
    assert_eq!((c.offered(&sender), c.seen().owed), (wares(296..300), 0));
    c.receive_all(40..44);
    assert_eq!((c.offered(&sender), c.seen().owed), (wares(296..300), 4), "one in line waits for the step");
    c.receive_all(44..168);
    assert!(sender.is_told());
    assert_eq!(c.look_at_offer(&mut sender), Offer::Sent);
    assert_eq!((c.credit(), c.receive_batch(999).unwrap().len()), (124, 132));
}

#[test]
fn bales_and_senders_of_items_are_served_in_the_order_they_came() {
    let c = Chan::manual(100);
    let [mut one, mut two, mut three, mut four] = [(); 4].map(|()| Caller::new());
    assert_eq!(c.wait_to_send(0, 2, &mut one), Err(SendError::Full(0)));
    assert_eq!(c.offer(wares(1..4), &mut two), Offer::Waiting);
    assert_eq!(c.wait_to_send(4, 1, &mut three), Err(SendError::Full(4)));
    assert_eq!(c.offer(wares(5..7), &mut four), Offer::Waiting);
    assert_eq!(c.seen().waiting_senders, 4);
    c.request(1);
    assert_eq!((c.seen().items_sent, c.seen().credit), (0, 1), "the first wants two");
    c.request(2);
    assert!(one.is_told());
    assert_eq!((c.offered(&two), c.seen().credit), (wares(2..4), 2), "what is left by the first, which has not come yet");
    c.request(4);
    assert!(two.is_told() && three.is_told() && !four.is_told());
    assert_eq!(c.offered(&four), wares(6..7));
    assert_eq!(c.wait_to_send(4, 1, &mut three), Ok(()));
    assert_eq!(c.wait_to_send(0, 2, &mut one), Ok(()));
    assert_eq!(c.look_at_offer(&mut two), Offer::Sent);
    assert_eq!(c.receive_batch(9), Ok(vec![1, 2, 3, 5, 4, 0]));
    assert_eq!(c.take_back(&mut four), Some(wares(6..7)));
}

/// A place that is given up goes to the next, with what it would have been served.
#[test]
fn a_bale_that_is_taken_back_lets_the_next_one_go() {
    let c = Chan::window(4);
    let (mut heavy, mut light) = (Caller::new(), Caller::new());
    c.send_all(0..2);
    assert_eq!(c.offer(weighing(2, &[1, 3, 1]), &mut heavy), Offer::Waiting);
    assert_eq!(c.offer(wares(9..10), &mut light), Offer::Waiting);
    assert_eq!(c.seen().credit, 1, "not enough for the one at the head");
    assert_eq!(c.take_back(&mut heavy), Some(weighing(3, &[3, 1])));
    assert!(!heavy.waiter.is_enqueued() && light.is_told());
    assert_eq!(c.look_at_offer(&mut light), Offer::Sent);
    assert_eq!(c.take_back(&mut heavy), None);
    assert_eq!(c.look_at_offer(&mut heavy), Offer::Sent, "nothing is left of it here");
    // A waiter that leaves instead drops the rest.
    assert_eq!(c.offer(wares(20..30), &mut heavy), Offer::Waiting);
    c.leave(&mut heavy);
    assert_eq!(c.receive_batch(9), Ok(vec![0, 1, 2, 9]));
    assert_eq!((c.receive(), c.credit()), (Err(ReceiveError::Empty), 4));
    // One of which all has gone has nothing to take back.
    assert_eq!(c.offer(wares(30..35), &mut heavy), Offer::Waiting);
    c.receive_all(30..32);
    assert!(heavy.is_told());
    assert_eq!(c.take_back(&mut heavy).map(|bale| bale.count()), Some(0));
}

#[test]
fn a_bale_that_steps_aside_lets_others_pass_and_keeps_its_place() {
    let c = Chan::manual(9);
    let (mut one, mut two) = (Caller::new(), Caller::new());
    assert_eq!(c.offer(wares(0..3), &mut one), Offer::Waiting);
    assert_eq!(c.offer(wares(3..6), &mut two), Offer::Waiting);
    let place = one.waiter.position().unwrap();
    c.fire(c.inner.step_aside((), place));
    c.request(1);
    assert_eq!((c.offered(&one), c.offered(&two)), (wares(0..3), wares(4..6)));
    c.fire(c.inner.step_back((), place));
    c.request(4);
    assert!(one.is_told() && !two.is_told());
    assert_eq!((c.look_at_offer(&mut one), c.offered(&two)), (Offer::Sent, wares(5..6)));
    assert_eq!(c.receive_batch(9), Ok(vec![3, 0, 1, 2, 4]));
}

#[test]
fn what_a_bale_holds_weighs_what_it_says() {
    let c = Chan::window(10);
    c.send_bale(weighing(0, &[2, 3, 1]));
    assert_eq!((c.credit(), c.seen().occupied, c.seen().items_buffered, c.seen().sent), (4, 6, 3, 6));
    let mut sender = Caller::new();
    assert_eq!(c.offer(weighing(3, &[4, 5, 5]), &mut sender), Offer::Waiting);
    assert_eq!(c.offered(&sender), weighing(4, &[5, 5]));
    c.receive_all(0..1);
    assert_eq!((c.seen().occupied, c.seen().owed), (8, 2));
    assert_eq!(c.receive_batch(1), Ok(vec![1]));
    assert_eq!((c.offered(&sender), c.seen().occupied, c.seen().credit), (weighing(5, &[5]), 10, 0));
    assert_eq!(c.receive_batch(2), Ok(vec![2, 3]));
    assert!(sender.is_told());
    assert_eq!(c.receive_batch(2), Ok(vec![4, 5]));
    assert_eq!((c.credit(), c.seen().sent), (10, 20));
}

#[test]
fn an_item_without_weight_in_a_bale_needs_a_slot() {
    let c = Chan::window(4);
    c.send_bale(weighing(0, &[0, 0]));
    let mut sender = Caller::new();
    assert_eq!(c.offer(weighing(2, &[0, 0, 0, 3]), &mut sender), Offer::Waiting);
    assert_eq!((c.seen().items_buffered, c.credit(), c.seen().credit), (4, 0, 4));
    assert_eq!(c.send_heavy(9, 0), Err(SendError::Full(9)));
    assert_eq!(c.receive(), Ok(0));
    assert_eq!((c.offered(&sender), c.seen().occupied), (weighing(6, &[]), 3), "what has a weight needs none");
    assert!(sender.is_told());
    assert_eq!(c.look_at_offer(&mut sender), Offer::Sent);
    assert_eq!(c.receive_batch(9), Ok(vec![1, 2, 3, 4, 5]));
    assert_eq!((c.credit(), c.seen().sent), (4, 3));
}

#[test]
fn what_is_too_heavy_in_a_bale_comes_back_with_what_is_behind_it() {
    let c = Chan::window(10);
    let mut sender = Caller::new();
    assert_eq!(c.offer(weighing(0, &[4, 11, 1]), &mut sender), Offer::TooHeavy(weighing(1, &[11, 1])));
    assert!(!sender.waiter.is_enqueued());
    // One that had to wait for what is before it finds out then.
    assert_eq!(c.offer(weighing(3, &[6, 7, 11, 1]), &mut sender), Offer::Waiting);
    assert_eq!(c.offered(&sender), weighing(4, &[7, 11, 1]));
    let mut other = Caller::new();
    assert_eq!(c.offer(weighing(9, &[11]), &mut other), Offer::TooHeavy(weighing(9, &[11])), "at once, whoever is before it");
    assert_eq!(c.offer(weighing(9, &[3]), &mut other), Offer::Waiting);
    assert_eq!(c.receive_batch(9), Ok(vec![0, 3]));
    assert!(sender.is_told() && other.is_told(), "it holds nobody up");
    assert_eq!(c.look_at_offer(&mut sender), Offer::TooHeavy(weighing(5, &[11, 1])));
    assert!(!sender.waiter.is_enqueued());
    assert_eq!(c.look_at_offer(&mut other), Offer::Sent);
    assert_eq!(c.receive_batch(9), Ok(vec![4, 9]));
    assert_eq!(c.credit(), 10);
}

#[test]
fn a_bale_of_no_items_is_nothing() {
    let c = Chan::window(4);
    let mut receiver = Caller::new();
    assert_eq!(c.wait_to_receive(&mut receiver), Err(ReceiveError::Empty));
    c.send_bale(wares(0..0));
    assert!(!receiver.is_told());
    c.leave(&mut receiver);
    c.send_all(0..1);
    c.send_bale(wares(0..0));
    c.send_all(1..4);
    c.send_bale(wares(0..0)); // though there is no credit
    assert_eq!((c.seen().items_sent, c.seen().items_buffered), (4, 4));
    let batch = c.done(c.inner.try_receive_batch((), 9)).unwrap();
    assert_eq!(batch, Batch { items: vec![0, 1, 2, 3], bales: vec![] });
    c.complete();
    c.send_bale(wares(0..0));
    let nothing = Batch::<u32, Wares>::default();
    assert_eq!((nothing.is_empty(), nothing.count(), nothing.into_parts().count()), (true, 0, 0));
}

#[test]
fn a_bale_wakes_a_receiver_for_each_of_its_items() {
    let c = Chan::window(9);
    let mut receivers = [(); 3].map(|()| Caller::new());
    for receiver in &mut receivers {
        assert_eq!(c.wait_to_receive(receiver), Err(ReceiveError::Empty));
    }
    c.send_bale(wares(0..2));
    assert_eq!(receivers.each_ref().map(Caller::is_told), [true, true, false]);
    assert_eq!(c.receive(), Err(ReceiveError::Empty), "they are somebody's");
    c.send_bale(wares(2..5));
    assert!(receivers[2].is_told());
    assert_eq!(c.receive_batch(9), Ok(vec![0, 1]), "all but what others have been woken for");
    for (receiver, item) in receivers.iter_mut().zip(2..) {
        assert_eq!(c.wait_to_receive(receiver), Ok(item));
    }
    // What goes by itself wakes them as well.
    let mut sender = Caller::new();
    assert_eq!(c.offer(wares(5..15), &mut sender), Offer::Waiting);
    assert_eq!(c.receive_batch(9).map(|items| items.len()), Ok(9));
    assert_eq!(c.wait_to_receive(&mut receivers[0]), Ok(14));
    assert_eq!(c.wait_to_receive(&mut receivers[0]), Err(ReceiveError::Empty));
}

#[test]
fn what_bales_hold_is_counted() {
    let c = Chan::window(8);
    c.send_bale(wares(0..3));
    c.send_all(3..5);
    c.send_bale(weighing(5, &[2]));
    let seen = c.seen();
    assert_eq!((seen.items_sent, seen.items_received, seen.items_buffered, seen.items_discarded), (6, 0, 6, 0));
    assert_eq!((seen.sent, seen.occupied, seen.peak, seen.credit), (7, 7, 7, 1));
    assert_eq!(c.receive_batch(2), Ok(vec![0, 1]));
    c.receive_all(2..4);
    let seen = c.seen();
    assert_eq!((seen.items_sent, seen.items_received, seen.items_buffered), (6, 4, 2));
    assert_eq!((seen.occupied, seen.peak, seen.owed, seen.credit, seen.settled_through), (3, 7, 0, 5, 4));
    // What is left of an offer has not been sent.
    let mut sender = Caller::new();
    assert_eq!(c.offer(wares(6..16), &mut sender), Offer::Waiting);
    c.at(SECOND);
    let seen = c.seen();
    assert_eq!((seen.items_sent, seen.items_buffered, seen.sent, seen.waiting_senders), (11, 7, 12, 1));
    assert_eq!((seen.send_blocked, seen.starved_for, seen.peak), (SECOND, SECOND, 8));
}

#[test]
fn the_end_comes_after_the_last_item_of_a_bale() {
    for end in [End::Completed, End::Failed] {
        let c = Chan::window(4);
        let (mut sender, mut receiver) = (Caller::new(), Caller::new());
        assert_eq!(c.offer(wares(0..6), &mut sender), Offer::Waiting);
        match end {
            End::Completed => c.complete(),
            _ => assert!(c.fail()),
        }
        assert!(sender.is_told());
        assert_eq!(c.look_at_offer(&mut sender), Offer::Ended(wares(4..6), end));
        assert!(!sender.waiter.is_enqueued());
        assert_eq!(c.offer(wares(6..8), &mut sender), Offer::Ended(wares(6..8), end));
        for item in 0..4 {
            assert_eq!((c.inner.end(()), c.seen().ended), (None, false));
            assert_eq!(c.wait_to_receive(&mut receiver), Ok(item));
        }
        assert_eq!(c.inner.end(()), Some(end));
        assert_eq!(c.receive_batch(9), Err(ReceiveError::Ended(end)));
        assert_eq!(c.cancel(), (vec![], vec![]));
    }
}

#[test]
fn a_cancel_hands_out_what_bales_hold_in_order() {
    let c = Chan::window(10);
    c.send_bale(wares(0..3));
    c.send_all(3..5);
    c.send_bale(wares(5..7));
    c.send_bale(wares(20..22));
    let mut sender = Caller::new();
    assert_eq!(c.receive(), Ok(0));
    assert_eq!(c.offer(wares(22..30), &mut sender), Offer::Waiting);
    let left = c.keep(c.inner.cancel((), |()| ()));
    assert_eq!(left.dropped.count(), 10);
    assert_eq!(unpack_all(left.dropped), [1, 2, 3, 4, 5, 6, 20, 21, 22, 23]);
    assert!(left.settled.is_empty());
    let seen = c.seen();
    assert_eq!((seen.items_sent, seen.items_received, seen.items_discarded, seen.items_buffered), (11, 1, 10, 0));
    assert!(sender.is_told());
    assert_eq!(c.look_at_offer(&mut sender), Offer::Ended(wares(24..30), End::Cancelled));
    assert_eq!((c.receive(), c.cancel()), (Err(ReceiveError::Ended(End::Cancelled)), (vec![], vec![])));
}

/// A bale has nothing in it yet that the garbage collector could see; taken it is, with the rest.
#[test]
fn bales_are_not_seen_and_taken() {
    let c = Chan::window(4);
    c.send_bale(wares(0..2));
    c.send_all(2..3);
    let mut sender = Caller::new();
    assert_eq!(c.offer(wares(3..9), &mut sender), Offer::Waiting);
    let (mut seen, mut wakers) = (Vec::new(), 0);
    c.inner.visit_contents((), |&item| seen.push(item), |_| wakers += 1);
    assert_eq!((seen, wakers), (vec![2], 1));
    let left = c.inner.take_contents(());
    assert_eq!((unpack_all(left.dropped), left.settled), (vec![0, 1, 2, 3], vec![]));
    assert_eq!(c.look_at_offer(&mut sender), Offer::Ended(wares(4..9), End::Cancelled));
}

/// Also what is held, leased and set aside: a bale has of it what its items would have.
#[test]
fn a_bale_is_sent_with_what_credit_there_is() {
    let c = Chan::manual(9);
    let mut sender = Caller::new();
    c.inner.pause(());
    c.request(2);
    assert_eq!(c.offer(wares(0..20), &mut sender), Offer::Waiting);
    assert_eq!((c.seen().items_sent, c.seen().owed), (0, 2));
    c.resume();
    assert_eq!(c.seen().items_sent, 2);
    c.lease(3, SECOND);
    assert_eq!((c.seen().items_sent, c.credit()), (5, 0));
    assert_eq!(c.take_back(&mut sender), Some(wares(5..20)));
    c.lease(2, SECOND);
    let permit = c.permit(1);
    c.request(1);
    assert_eq!(c.offer(wares(5..8), &mut sender), Offer::Waiting);
    assert_eq!(c.offered(&sender), wares(7..8));
    c.at(SECOND);
    c.return_permit(permit);
    assert_eq!((c.offered(&sender), c.seen().voided), (wares(7..8), 1), "its lease has run out");
    c.request(UNBOUNDED);
    assert_eq!(c.look_at_offer(&mut sender), Offer::Sent);
    assert_eq!(c.offer(wares(8..18), &mut sender), Offer::Waiting);
    assert_eq!((c.offered(&sender), c.seen().occupied), (wares(9..18), 9), "the bound is left");
    c.receive_all(0..9);
    assert_eq!(c.look_at_offer(&mut sender), Offer::Sent);
    assert_eq!(c.receive_batch(99), Ok((9..18).collect()));
}

/// See `after_a_fork_permits_and_waiters_are_not_ours`.
#[test]
fn after_a_fork_bales_in_line_are_not_ours() {
    let _alone = FORKS.write();
    let c = Chan::that_is_forked(Config { window: 4, step: 2, bound: 4, control_capacity: 2, rules: None });
    let mut sender = Caller::new();
    assert_eq!(c.offer(wares(0..6), &mut sender), Offer::Waiting);
    fork::after_fork_in_child();
    assert_eq!(c.receive_batch(9), Ok(vec![0, 1, 2, 3]), "what had been sent is there in both");
    assert_eq!((c.seen().items_sent, c.seen().waiting_senders), (4, 0));
    assert_eq!(c.take_back(&mut sender), Some(wares(4..6)), "and what had not is nobody's");
    assert_eq!(c.offer(wares(6..7), &mut sender), Offer::Sent);
    assert_eq!((c.receive(), sender.is_told()), (Ok(6), false));
}

#[test]
#[should_panic(expected = "deliveries are of items")]
fn a_channel_with_deliveries_takes_no_bales() {
    let c = Chan::acking(4, None, 5);
    let _ = c.offer(wares(0..2), &mut Caller::new());
}

// ------------------------------------------------------------------------------------------------------------------------ permits

#[test]
fn a_permit_is_credit_before_the_item_exists() {
    let c = Chan::window(4);
    let mut permit = c.permit(3);
    assert_eq!(c.try_permit(2), Err(SendError::Full(())));
    assert_eq!(c.credit(), 1);
    assert_eq!(c.send_permitted(&mut permit, 1, 2), Ok(()));
    assert_eq!(c.send_permitted(&mut permit, 2, 2), Err(SendError::Full(2)), "more than is left of it");
    let mut sender = Caller::new();
    assert_eq!(c.wait_to_send(3, 2, &mut sender), Err(SendError::Full(3)));
    c.return_permit(permit);
    assert!(sender.is_told());
    assert_eq!(c.wait_to_send(3, 2, &mut sender), Ok(()));
    assert_eq!((c.receive(), c.receive()), (Ok(1), Ok(3)));
    assert_eq!((c.seen().permits, c.credit()), (0, 4));
}

#[test]
fn a_permit_may_be_used_after_completion_and_keeps_the_end_away() {
    let c = Chan::window(4);
    let mut permit = c.permit(2);
    c.complete();
    let mut receiver = Caller::new();
    assert_eq!(c.wait_to_receive(&mut receiver), Err(ReceiveError::Empty), "something may still come");
    assert_eq!(c.send_permitted(&mut permit, 7, 1), Ok(()));
    assert!(receiver.is_told());
    assert_eq!(c.wait_to_receive(&mut receiver), Ok(7));
    assert_eq!(c.wait_to_receive(&mut receiver), Err(ReceiveError::Empty));
    c.return_permit(permit);
    assert!(receiver.is_told());
    assert_eq!(c.wait_to_receive(&mut receiver), Err(ReceiveError::Ended(End::Completed)));
}

#[test]
fn a_permit_is_worth_nothing_after_failure_or_cancel() {
    let c = Chan::window(4);
    let mut permit = c.permit(2);
    assert!(c.fail());
    assert_eq!(c.receive(), Err(ReceiveError::Ended(End::Failed)), "nobody waits for it");
    assert_eq!(c.send_permitted(&mut permit, 1, 1), ended(1, End::Failed));
    c.return_permit(permit);
    let c = Chan::window(4);
    let mut permit = c.permit(2);
    let granted = c.seen().granted;
    c.cancel();
    assert_eq!((c.seen().granted, c.seen().voided), (granted, 4), "it counts as taken back");
    assert_eq!(c.send_permitted(&mut permit, 1, 1), ended(1, End::Cancelled));
    c.return_permit(permit);
    assert_eq!(c.seen().granted, granted);
}

#[test]
fn after_a_fork_permits_and_waiters_are_not_ours() {
    let _alone = FORKS.write();
    let c = Chan::that_is_forked(Config { window: 4, step: 2, bound: 4, control_capacity: 2, rules: None });
    let (mut permit, other) = (c.permit(1), c.permit(2));
    let (mut sender, mut receiver) = (Caller::new(), Caller::new());
    let _ = c.wait_to_send(1, 2, &mut sender);
    let _ = c.wait_to_receive(&mut receiver);
    fork::after_fork_in_child();
    c.return_permit(other);
    assert_eq!((c.seen().permits, c.credit()), (0, 4));
    assert_eq!((c.seen().waiting_senders, c.seen().waiting_receivers), (0, 0));
    assert_eq!(c.send_permitted(&mut permit, 5, 1), Err(SendError::Full(5)));
    // The child's copies come as if they had never been there.
    assert_eq!(c.wait_to_send(1, 2, &mut sender), Ok(()));
    assert_eq!(c.wait_to_receive(&mut receiver), Ok(1));
    assert!(!sender.is_told() && !receiver.is_told());
    let _ = c.wait_to_receive(&mut receiver);
    fork::after_fork_in_child();
    c.return_permit(permit);
    assert_eq!(c.permit(4).left(), 4);
    c.leave(&mut receiver);
    fork::after_fork_in_child();
    assert_eq!(c.send_heavy(2, 4), Ok(()), "at the first look");
}

// ---------------------------------------------------------------------------------------------------------------- what is asked for

#[test]
fn nothing_flows_before_it_is_asked_for() {
    let c = Chan::manual(10);
    assert_eq!(c.send(0), Err(SendError::Full(0)));
    assert!(c.request(2));
    assert!(c.request(3));
    assert_eq!(c.credit(), 5, "it adds up");
    c.send_all(0..5);
    assert_eq!(c.send(5), Err(SendError::Full(5)));
    c.receive_all(0..5);
    assert_eq!((c.credit(), c.seen().granted), (0, 5), "receiving gives nothing back");
}

#[test]
fn demand_does_not_raise_the_bound() {
    let c = Chan::manual(3);
    c.request(100);
    assert_eq!(c.credit(), 3);
    c.send_all(0..3);
    let mut sender = Caller::new();
    assert_eq!(c.wait_to_send(3, 1, &mut sender), Err(SendError::Full(3)));
    assert_eq!(c.receive(), Ok(0));
    assert!(sender.is_told(), "there is room, and credit");
    assert_eq!(c.wait_to_send(3, 1, &mut sender), Ok(()));
}

#[test]
fn demand_saturates_and_is_not_counted_any_more() {
    let c = Chan::manual(2);
    for n in [UNBOUNDED / 2, UNBOUNDED / 2, 1] {
        assert!(c.request(n));
    }
    assert_eq!(c.seen().granted, UNBOUNDED);
    for item in 0..5 {
        assert_eq!(c.send(item), Ok(()));
        assert_eq!(c.receive(), Ok(item));
        assert!(c.request(UNBOUNDED - 1));
    }
    assert_eq!((c.seen().granted, c.credit()), (UNBOUNDED, 2));
    c.return_permit(c.permit(2));
    assert!(!c.request_up_to(u64::MAX), "there is no more");
    assert_eq!(c.drain(), UNBOUNDED);
    assert_eq!((c.credit(), c.seen().granted), (0, 5));
    let c = Chan::manual(UNBOUNDED);
    c.request(u64::MAX);
    assert_eq!(c.credit(), UNBOUNDED);
    assert_eq!(c.send_heavy(1, UNBOUNDED - 1), Ok(()));
    assert_eq!(c.send_heavy(2, 2), Err(SendError::Full(2)), "the bound still counts");
}

#[test]
fn what_is_asked_for_up_to_a_number_can_be_said_again() {
    let c = Chan::manual(10);
    assert!(c.request_up_to(3));
    assert!(!c.request_up_to(3));
    assert!(!c.request_up_to(2));
    c.send_all(0..2);
    assert!(!c.request_up_to(3));
    assert!(c.request_up_to(5));
    assert_eq!(c.credit(), 3);
    c.inner.pause(());
    assert!(c.request_up_to(7));
    assert!(!c.request_up_to(7), "though it is held");
    assert_eq!((c.credit(), c.seen().owed), (3, 2));
    c.resume();
    assert_eq!((c.credit(), c.seen().granted), (5, 7));
}

#[test]
fn a_drain_takes_back_what_is_not_used() {
    let c = Chan::manual(10);
    c.request(5);
    c.send_all(0..2);
    assert_eq!(c.drain(), 3);
    assert_eq!(c.drain(), 0);
    assert_eq!(c.send(2), Err(SendError::Full(2)));
    assert_eq!((c.seen().voided, c.seen().granted), (3, 5));
    c.request(1);
    c.send_all(2..3);
    c.receive_all(0..3);
    c.complete();
    assert_eq!(c.drain(), 0);
}

#[test]
fn a_drained_window_comes_back_when_it_is_resumed() {
    let c = Chan::window(10);
    c.send_all(0..2);
    assert_eq!(c.drain(), 8);
    assert_eq!((c.credit(), c.seen().owed, c.seen().held), (0, 8, true));
    c.receive_all(0..2);
    assert_eq!((c.credit(), c.seen().owed), (0, 10), "not even when the buffer is empty");
    let mut sender = Caller::new();
    assert_eq!(c.wait_to_send(2, 1, &mut sender), Err(SendError::Full(2)), "nor to one that parks");
    c.resume();
    assert!(sender.is_told());
    assert_eq!(c.wait_to_send(2, 1, &mut sender), Ok(()));
    assert_eq!((c.credit(), c.seen().granted, c.seen().voided), (9, 20, 8));
}

#[test]
fn a_pause_holds_grants_and_keeps_what_is_buffered() {
    let c = Chan::window(4);
    c.send_all(0..4);
    c.inner.pause(());
    c.receive_all(0..4);
    assert_eq!((c.credit(), c.seen().owed), (0, 4));
    c.resume();
    assert_eq!(c.credit(), 4);
    c.resume();
    let c = Chan::manual(9);
    c.inner.pause(());
    assert!(c.request(2) && c.request(3));
    assert!(!c.lease(1, SECOND), "a lease would be running out unseen");
    assert_eq!(c.credit(), 0);
    c.resume();
    assert_eq!(c.credit(), 5);
}

#[test]
fn a_lease_replaces_the_one_before_and_runs_out() {
    let c = Chan::manual(100);
    assert!(c.lease(5, 10 * SECOND));
    c.send_all(0..2);
    assert!(c.lease(4, 10 * SECOND));
    assert_eq!((c.credit(), c.seen().voided), (4, 3));
    c.request(2);
    c.send_all(2..3); // the lease is used first
    c.at(10 * SECOND - 1);
    assert_eq!(c.credit(), 5);
    c.at(10 * SECOND);
    assert_eq!(c.credit(), 2, "what was asked for stays");
    c.send_all(3..5);
    assert_eq!(c.send(9), Err(SendError::Full(9)));
    assert_eq!((c.seen().granted, c.seen().voided), (11, 6));
    // It runs out under the sender's hands, too.
    c.lease(1, SECOND);
    c.at(20 * SECOND);
    assert_eq!(c.send(9), Err(SendError::Full(9)));
    let mut sender = Caller::new();
    assert_eq!(c.wait_to_send(9, 1, &mut sender), Err(SendError::Full(9)));
    c.lease(1, SECOND);
    assert!(sender.is_told());
    c.at(30 * SECOND);
    assert_eq!(c.wait_to_send(9, 1, &mut sender), Err(SendError::Full(9)));
    c.leave(&mut sender);
}

/// Whatever comes, or comes back, beside it.
#[test]
fn no_lease_makes_credit_endless() {
    let c = Chan::manual(9);
    for n in [UNBOUNDED, u64::MAX] {
        c.lease(n, SECOND);
        c.request(2);
        c.return_permit(c.permit(4));
        c.at(c.clock.now() + SECOND);
        assert_eq!((c.credit(), c.drain()), (2, 2));
    }
    c.request(3);
    let permit = c.permit(3);
    c.lease(u64::MAX, SECOND);
    c.return_permit(permit);
    c.at(c.clock.now() + SECOND);
    assert_eq!(c.drain(), 3);
    // It ends before what was held is given.
    c.lease(u64::MAX, SECOND);
    c.inner.pause(());
    c.request(UNBOUNDED - 1);
    c.at(c.clock.now() + SECOND);
    c.resume();
    assert_eq!(c.drain(), UNBOUNDED - 1);
    c.inner.resume(()).fire();
    c.request(UNBOUNDED - 1);
    c.lease(1, 0);
    assert_eq!(c.drain(), UNBOUNDED - 1);
    c.request(UNBOUNDED);
    c.lease(1, 0);
    assert_eq!(c.drain(), UNBOUNDED, "what is endless already stays so");
}

#[test]
fn a_permit_does_not_make_leased_credit_last() {
    let c = Chan::manual(100);
    c.lease(10, SECOND);
    let (mut permit, other) = (c.permit(4), c.permit(2));
    c.return_permit(other); // to the lease
    assert_eq!(c.credit(), 6);
    c.at(SECOND);
    assert_eq!((c.credit(), c.seen().permits), (0, 4));
    assert_eq!(c.send_permitted(&mut permit, 1, 1), Ok(()), "whoever has it may use it");
    c.return_permit(permit);
    assert_eq!((c.credit(), c.seen().voided), (0, 9));
    c.lease(3, SECOND);
    let permit = c.permit(3);
    c.lease(2, SECOND);
    c.return_permit(permit);
    assert_eq!(c.credit(), 2, "a new lease replaces the old, permits and all");
    c.drain();
    c.request(4);
    let permit = c.permit(4);
    c.lease(1, SECOND);
    c.return_permit(permit);
    c.at(9 * SECOND);
    assert_eq!(c.credit(), 4, "what was asked for lasts");
}

/// Each of several permits knows what it is made of, and uses first what does not last.
#[test]
fn a_permit_is_not_charged_for_another() {
    let c = Chan::manual(100);
    c.lease(1, SECOND);
    let mut leased = c.permit(1);
    c.at(SECOND);
    c.request(1);
    c.return_permit(c.permit(1));
    assert_eq!(c.send_permitted(&mut leased, 1, 1), Ok(()));
    assert_eq!((c.credit(), c.seen().voided), (1, 0));
    c.lease(2, SECOND);
    let mut both = c.permit(3);
    c.at(2 * SECOND);
    assert_eq!(c.send_permitted(&mut both, 2, 1), Ok(()));
    c.return_permit(both);
    assert_eq!((c.credit(), c.seen().voided), (1, 1));
}

// ----------------------------------------------------------------------------------------------------------------- deferred grants

/// Row C2: while the last of a chain is blocked no grant leaves those before it; all go out when it moves, each once.
#[test]
fn grants_collect_while_the_channel_after_is_starved() {
    let (first, second, third) = (Chan::window(4), Chan::window(4), Chan::window(2));
    first.defer_to(&second);
    second.defer_to(&third);
    third.send_all(0..2);
    second.send_all(0..4);
    first.send_all(0..4);
    first.receive_all(0..4);
    second.receive_all(0..4);
    let owes = |channel: &Chan| (channel.credit(), channel.seen().owed, channel.seen().held);
    assert_eq!(owes(&first), (0, 4, true));
    assert_eq!(owes(&second), (0, 4, true));
    let (mut one, mut two) = (Caller::new(), Caller::new());
    assert_eq!(first.wait_to_send(4, 1, &mut one), Err(SendError::Full(4)));
    assert_eq!(second.wait_to_send(4, 1, &mut two), Err(SendError::Full(4)));
    third.receive_all(0..1);
    assert_eq!(owes(&first), (3, 0, false), "four, and one of them for the sender in line");
    assert!(one.is_told() && two.is_told(), "it goes all the way up");
    assert_eq!((first.seen().granted, second.seen().granted), (8, 8));
    assert_eq!(first.wait_to_send(4, 1, &mut one), Ok(()));
    assert_eq!(second.wait_to_send(4, 1, &mut two), Ok(()));
    first.done(first.inner.defer_to((), None)).unwrap();
}

#[test]
fn a_channel_that_ends_holds_nobody() {
    for end in 0..3 {
        let (first, second) = (Chan::window(4), Chan::window(1));
        second.send_all(0..1);
        first.defer_to(&second);
        first.send_all(0..4);
        first.receive_all(0..4);
        assert_eq!(first.credit(), 0);
        match end {
            0 => second.complete(),
            1 => assert!(second.fail()),
            _ => assert_eq!(second.cancel(), (vec![0], vec![])),
        }
        assert_eq!((first.credit(), first.seen().held), (4, false));
    }
}

/// Neither directly nor around several; a deferral that has ended, in any way, is no part of a cycle.
#[test]
fn a_cycle_of_deferrals_is_refused() {
    let (first, second, third) = (Chan::window(4), Chan::window(4), Chan::window(4));
    assert_eq!(first.try_defer_to(&first), Err(DeferralCycle));
    first.defer_to(&second);
    second.defer_to(&third);
    for downstream in [&first, &second] {
        assert_eq!(third.try_defer_to(downstream), Err(DeferralCycle));
    }
    third.send_all(0..4);
    assert!(second.seen().held, "what was refused has changed nothing");
    assert!(!third.seen().held && !first.seen().held);
    second.done(second.inner.defer_to((), None)).unwrap();
    third.defer_to(&first);
    third.defer_to(&first); // once more is no change
    assert_eq!(second.try_defer_to(&third).and(first.try_defer_to(&third)), Err(DeferralCycle));
    let _ = third.cancel();
    first.defer_to(&third);
    assert_eq!(third.try_defer_to(&first), Ok(()), "a channel that has ended ignores it");
    drop(second);
    let ended = Chan::window(1);
    ended.complete();
    ended.defer_to(&first);
    first.defer_to(&ended);
}

/// Who defers to another is told by that one alone.
#[test]
fn a_deferral_replaces_the_one_before() {
    let (first, second, third) = (Chan::window(1), Chan::window(1), Chan::window(1));
    second.send_all(0..1);
    first.defer_to(&second);
    first.send_all(0..1);
    first.receive_all(0..1);
    assert_eq!((first.credit(), first.seen().held), (0, true));
    first.defer_to(&third);
    assert_eq!((first.credit(), first.seen().held), (1, false), "the other one's sender has credit");
    third.send_all(0..1);
    first.send_all(1..2);
    first.receive_all(1..2);
    second.receive_all(0..1);
    assert_eq!((first.credit(), first.seen().held), (0, true));
    drop(third);
    assert!(!first.seen().held, "a channel that is gone holds nobody");
}

#[test]
fn a_pause_and_a_starved_channel_hold_both() {
    let (first, second) = (Chan::manual(9), Chan::window(1));
    first.defer_to(&second);
    first.inner.pause(());
    second.send_all(0..1);
    first.request(3);
    first.resume();
    assert_eq!(first.credit(), 0);
    first.inner.pause(());
    second.receive_all(0..1);
    assert_eq!(first.credit(), 0);
    first.resume();
    assert_eq!(first.credit(), 3);
}

// --------------------------------------------------------------------------------------------------------------------- the control lane

#[test]
fn control_messages_need_no_credit() {
    let c = Chan::manual(1);
    let control = |message| c.done(c.inner.send_control((), message));
    let mut receiver = Caller::new();
    assert_eq!(c.wait_to_receive(&mut receiver), Err(ReceiveError::Empty));
    assert_eq!((control(1), control(2), control(3)), (Ok(()), Ok(()), Err(SendError::Full(3))));
    assert!(!receiver.is_told(), "it does not listen");
    assert_eq!(c.wait_to_receive(&mut receiver), Err(ReceiveError::Empty));
    c.fire(c.inner.listen((), true, |()| ()).0);
    assert!(receiver.is_told());
    c.request(1);
    c.send_all(0..1);
    assert_eq!(c.receive(), Err(ReceiveError::Control), "they come first");
    assert_eq!(c.receive_batch(1), Err(ReceiveError::Control));
    assert_eq!(c.wait_to_receive(&mut receiver), Err(ReceiveError::Control));
    assert!(receiver.waiter.is_enqueued());
    assert_eq!(c.inner.take_controls((), |()| ()).0, [1, 2]);
    assert_eq!(c.wait_to_receive(&mut receiver), Ok(0));
    c.complete();
    assert_eq!(control(4), ended(4, End::Completed));
}

// ----------------------------------------------------------------------------------------------------------------------------- ends

/// What each operation says, in each phase that is not open.
#[test]
fn what_can_be_done_in_which_phase() {
    for end in [End::Completed, End::Failed, End::Cancelled] {
        for buffered in [false, true] {
            let c = Chan::manual(9);
            let mut told = [Caller::new(), Caller::new()];
            if buffered {
                c.request(1);
                c.send_all(0..1);
            } else {
                assert_eq!(c.wait_to_receive(&mut told[1]), Err(ReceiveError::Empty));
            }
            assert_eq!(c.wait_to_send(7, 2, &mut told[0]), Err(SendError::Full(7)));
            match end {
                End::Completed => c.complete(),
                End::Failed => assert!(c.fail()),
                End::Cancelled => assert_eq!(c.cancel().0.len(), usize::from(buffered)),
            }
            let is_final = !buffered || end == End::Cancelled;
            assert_eq!(c.inner.end(()), is_final.then_some(end));
            assert_eq!(c.seen().ended, is_final);
            // Every waiter is woken, and finds out why.
            assert!(told[0].is_told());
            assert_eq!(c.wait_to_send(7, 2, &mut told[0]), ended(7, end));
            if !buffered {
                assert!(told[1].is_told());
                assert_eq!(c.wait_to_receive(&mut told[1]), Err(ReceiveError::Ended(end)));
            }
            assert_eq!((c.seen().waiting_senders, c.seen().waiting_receivers), (0, 0));
            // Senders.
            assert_eq!(c.send(1), ended(1, end));
            assert_eq!(c.try_permit(1), Err(SendError::Ended((), end)));
            assert_eq!(c.done(c.inner.is_ready((), 1)), ended((), end));
            assert_eq!(c.done(c.inner.send_control((), 1)), ended(1, end));
            assert_eq!(c.credit(), 0);
            // Credit: nothing happens, and nothing is raised.
            let granted = c.seen().granted;
            assert!(!c.request(3) && !c.request_up_to(9) && !c.lease(3, SECOND));
            assert_eq!((c.drain(), c.seen().granted), (0, granted));
            c.resume();
            // Ends: the first counts, but for a failure that comes before what is there has been received.
            c.complete();
            assert_eq!(c.fail(), buffered && end == End::Completed);
            let end = if buffered && end == End::Completed { End::Failed } else { end };
            // Receivers.
            if buffered && end != End::Cancelled {
                assert_eq!(c.receive(), Ok(0));
            }
            assert_eq!(c.receive(), Err(ReceiveError::Ended(end)));
            assert_eq!(c.wait_to_receive(&mut told[1]), Err(ReceiveError::Ended(end)));
            assert!(!told[1].waiter.is_enqueued());
            // Final is final.
            let phase = c.inner.phase(());
            assert!(!c.fail());
            assert_eq!(c.cancel(), (vec![], vec![]));
            assert_eq!((c.inner.phase(()), c.inner.end(())), (phase, Some(end)));
        }
    }
}

#[test]
fn the_last_clone_that_ends_completes() {
    let (c, first) = (Chan::window(2), SenderEnd::default());
    let second = c.inner.add_sender((), &first).unwrap();
    c.fire(c.inner.complete((), &first));
    c.fire(c.inner.complete((), &first)); // the same one, once too often
    assert!(first.has_ended() && !second.has_ended());
    assert_eq!(c.inner.add_sender((), &first).unwrap_err(), End::Completed, "it has ended, though the channel has not");
    assert_eq!((c.inner.phase(()), c.send(0)), (Phase::Open, Ok(())));
    c.fire(c.inner.complete((), &second));
    assert_eq!((c.inner.phase(()), c.send(1)), (Phase::Completing, ended(1, End::Completed)));
    assert_eq!((c.receive(), c.receive()), (Ok(0), Err(ReceiveError::Ended(End::Completed))));
    let (c, first) = (Chan::window(2), SenderEnd::default());
    let second = c.inner.add_sender((), &first).unwrap();
    c.fire(c.inner.complete((), &first));
    assert!(!c.done(c.inner.fail((), &first, |()| ())), "it has nothing more to say");
    assert!(c.done(c.inner.fail((), &second, |()| ())), "one failure is enough");
    c.complete();
    assert_eq!(c.inner.end(()), Some(End::Failed));
}

/// What the owner notes of an end is noted in the same step, and only if it is the end.
#[test]
fn an_end_and_its_note_are_one_step() {
    type Noted = Channel<u32, Tell, Threads, NoBale, Vec<&'static str>>;
    let config = Config { window: 1, step: 1, bound: 1, control_capacity: 1, rules: None };
    let channel = Noted::new(config, Clock::Monotonic);
    let (one, other) = (SenderEnd::default(), SenderEnd::default());
    for (sender, note, first) in [(&one, "failed", true), (&other, "failed again", false)] {
        let (wakes, ends) = channel.fail((), sender, |notes| notes.push(note));
        wakes.fire();
        assert_eq!(ends, first);
    }
    channel.cancel((), |notes| notes.push("cancelled")).fire();
    assert_eq!(channel.with_extras((), std::mem::take), ["failed"]);
    let channel = Noted::new(config, Clock::Monotonic);
    for _ in 0..2 {
        channel.cancel((), |notes| notes.push("cancelled")).fire();
    }
    assert!(!channel.fail((), &one, |notes| notes.push("failed")).1);
    assert_eq!(channel.with_extras((), std::mem::take), ["cancelled"]);
}

/// Without somebody who takes them they stay where they are.
#[test]
fn control_messages_stay_while_nobody_takes_them() {
    let c = Chan::window(1);
    c.done(c.inner.send_control((), 1)).unwrap();
    assert_eq!(c.inner.take_controls((), |()| "looked"), (VecDeque::new(), "looked"));
    c.fire(c.inner.listen((), true, |()| ()).0);
    assert_eq!(c.inner.take_controls((), |()| ()).0, [1]);
}

#[test]
fn the_last_item_tells_the_other_receivers() {
    let c = Chan::window(4);
    let (mut one, mut two) = (Caller::new(), Caller::new());
    let _ = (c.wait_to_receive(&mut one), c.wait_to_receive(&mut two));
    c.send_all(0..1);
    c.complete();
    assert!(one.is_told() && !two.is_told());
    assert_eq!(c.wait_to_receive(&mut one), Ok(0));
    assert!(two.is_told());
    assert_eq!(c.wait_to_receive(&mut two), Err(ReceiveError::Ended(End::Completed)));
}

#[test]
fn what_is_in_it_can_be_seen_and_taken_by_the_garbage_collector() {
    let c = Chan::acking(9, None, 5);
    c.send_all(0..4);
    let out = c.take(1).unwrap();
    assert!(c.nack(c.take(1).unwrap().receipt, Nack { delay: SECOND, ..REQUEUE }).0);
    assert!(c.nack(c.take(1).unwrap().receipt, REQUEUE).0);
    c.done(c.inner.send_control((), 99)).unwrap();
    let mut caller = Caller::new();
    let _ = c.wait_to_send(5, 9, &mut caller);
    c.defer_to(&Chan::window(1)); // observes another, and is not in it
    let (mut seen, mut wakers) = (Vec::new(), 0);
    c.inner.visit_contents((), |&item| seen.push(item), |_| wakers += 1);
    seen.sort_unstable();
    assert_eq!((seen, wakers), (vec![0, 1, 2, 3, 99], 1));
    let left = c.inner.take_contents(());
    let mut taken = [unpack_all(left.dropped), left.settled].concat();
    taken.sort_unstable();
    assert_eq!(taken, [0, 1, 2, 3, 99]);
    assert!(c.ack(out.receipt));
    // One that has ended may still have something in its lane.
    let c = Chan::window(1);
    c.done(c.inner.send_control((), 99)).unwrap();
    c.complete();
    assert_eq!(c.inner.take_contents(()).settled, [99]);
}

// ----------------------------------------------------------------------------------------------------------------------- deliveries

/// Row J1 too: five out, the sixth only after one ack, and exactly one.
#[test]
fn credit_is_given_back_when_deliveries_are_settled() {
    let c = Chan::acking(5, None, 5);
    c.send_all(0..5);
    let out: Vec<_> = (0..5).map(|_| c.take(1).unwrap()).collect();
    assert_eq!(c.take(1), Err(ReceiveError::Empty));
    assert_eq!(c.send(5), Err(SendError::Full(5)), "received is not settled");
    assert!(c.ack(out[2].receipt));
    assert_eq!(c.credit(), 1);
    assert!(!c.ack(out[2].receipt), "once");
    c.send_all(5..6);
    assert_eq!(c.send(6), Err(SendError::Full(6)));
    let seen = c.seen();
    assert_eq!((seen.items_unacked, seen.items_buffered, seen.stale, seen.settled_through), (4, 1, 1, 0));
}

#[test]
fn all_below_settled_through_is_settled() {
    let c = Chan::acking(9, None, 5);
    c.send_all(0..5);
    let out: Vec<_> = (0..4).map(|_| c.take(1).unwrap().receipt).collect();
    c.ack(out[1]);
    assert_eq!(c.seen().settled_through, 0);
    c.ack(out[0]);
    assert_eq!(c.seen().settled_through, 2);
    c.nack(out[2], REQUEUE);
    c.ack(out[3]);
    assert_eq!(c.seen().settled_through, 2, "what comes back is not settled");
    let again = c.take(1).unwrap();
    c.nack(again.receipt, Nack { delay: SECOND, ..REQUEUE });
    assert_eq!(c.seen().settled_through, 2);
    c.at(SECOND);
    c.nack(c.take(1).unwrap().receipt, DROP);
    assert_eq!(c.seen().settled_through, 4);
    c.take(1).unwrap();
    assert_eq!(c.cancel(), (vec![], vec![4]));
    assert_eq!(c.seen().settled_through, 4, "what was thrown away has not been settled");
}

#[test]
fn what_was_not_processed_comes_back_first_and_in_order() {
    let c = Chan::acking(9, None, 5);
    c.send_all(0..5);
    let out: Vec<_> = (0..3).map(|_| c.take(1).unwrap().receipt).collect();
    for receipt in [out[2], out[0], out[1]] {
        assert_eq!(c.nack(receipt, REQUEUE), (true, vec![]));
    }
    assert_eq!(c.nack(out[0], REQUEUE), (false, vec![]), "it is stale");
    let order: Vec<_> = (0..5).map(|_| c.take(1).unwrap()).map(|handed| (handed.item, handed.attempt)).collect();
    assert_eq!(order, [(0, 2), (1, 2), (2, 2), (3, 1), (4, 1)]);
    let seen = c.seen();
    assert_eq!((seen.items_received, seen.redelivered, seen.items_unacked), (8, 3, 5));
}

#[test]
fn after_so_many_deliveries_it_is_given_up() {
    let c = Chan::acking(2, None, 2);
    c.send_all(0..2);
    let stopped = Nack { counts: false, ..REQUEUE };
    for _ in 0..3 {
        let handed = c.take(1).unwrap();
        assert_eq!((handed.item, handed.attempt), (0, 1));
        c.nack(handed.receipt, stopped);
    }
    c.nack(c.take(1).unwrap().receipt, REQUEUE);
    let last = c.take(1).unwrap();
    assert_eq!(last.attempt, 2);
    assert_eq!(c.nack(last.receipt, REQUEUE), (true, vec![0]));
    assert_eq!(c.nack(c.take(1).unwrap().receipt, DROP), (true, vec![1]));
    let seen = c.seen();
    assert_eq!((seen.items_discarded, seen.settled_through, seen.credit), (2, 2, 2));
}

#[test]
fn what_comes_back_later_wakes_a_receiver_then() {
    let c = Chan::acking(9, None, 5);
    c.send_all(0..1);
    let receipt = c.take(1).unwrap().receipt;
    let mut receiver = Caller::new();
    assert_eq!(c.take_or_wait(2, &mut receiver), Err(ReceiveError::Empty));
    assert_eq!(c.inner.next_due(()), None);
    c.nack(receipt, Nack { delay: SECOND, ..REQUEUE });
    assert!(receiver.is_told(), "there is a moment to wait for now");
    assert_eq!(c.take_or_wait(2, &mut receiver), Err(ReceiveError::Empty));
    assert!(!receiver.is_told());
    assert_eq!(c.inner.next_due(()), Some(SECOND));
    c.complete();
    assert_eq!(c.inner.end(()), None);
    c.at(SECOND);
    assert_eq!(c.catch_up(), []);
    assert!(receiver.is_told());
    let handed = c.take_or_wait(2, &mut receiver).unwrap();
    assert_eq!((handed.item, handed.attempt), (0, 2));
    c.ack(handed.receipt);
    assert_eq!(c.inner.end(()), Some(End::Completed));
}

#[test]
fn what_is_not_settled_in_time_comes_back_and_is_given_up_in_the_end() {
    let c = Chan::acking(2, Some(SECOND), 2);
    c.send_all(0..2);
    let first = c.take(1).unwrap();
    assert_eq!(c.inner.next_due(()), Some(SECOND));
    c.at(SECOND);
    assert!(!c.ack(first.receipt), "too late");
    let again = c.take(2).unwrap();
    assert_eq!((again.item, again.attempt), (0, 2));
    assert!(!c.ack(first.receipt), "it is another's");
    let other = c.take(1).unwrap();
    assert!(c.ack(other.receipt));
    assert_eq!(c.inner.next_due(()), Some(2 * SECOND));
    let mut sender = Caller::new();
    assert_eq!(c.wait_to_send(2, 2, &mut sender), Err(SendError::Full(2)));
    c.at(2 * SECOND);
    assert_eq!(c.catch_up(), [0]);
    assert!(sender.is_told(), "its credit is free");
    assert_eq!((c.seen().stale, c.seen().items_discarded, c.seen().settled_through), (2, 1, 2));
    assert_eq!(c.nack(again.receipt, REQUEUE), (false, vec![]));
    assert_eq!(c.inner.next_due(()), None);
}

/// A waiter may have begun when nothing was due. It is woken once, and so is the first one after it, when it has gone.
#[test]
fn the_first_receiver_in_line_looks_after_what_is_due() {
    let c = Chan::acking(9, Some(SECOND), 5);
    let (mut one, mut two) = (Caller::new(), Caller::new());
    c.send_all(0..1);
    let first = c.take(1).unwrap();
    assert_eq!(c.take_or_wait(2, &mut one), Err(ReceiveError::Empty));
    assert!(!one.is_told(), "it can see for itself");
    assert_eq!(c.take_or_wait(3, &mut two), Err(ReceiveError::Empty));
    c.ack(first.receipt);
    assert!(!one.is_told() && !two.is_told());
    c.send_all(1..2);
    assert!(one.is_told());
    assert_eq!(c.take_or_wait(2, &mut one).unwrap().item, 1);
    assert!(two.is_told(), "it is the first now, and something is due");
    assert_eq!(c.take_or_wait(3, &mut two), Err(ReceiveError::Empty));
    assert_eq!(c.take_or_wait(2, &mut one), Err(ReceiveError::Empty));
    c.at(SECOND);
    assert_eq!(c.take_or_wait(3, &mut two), Err(ReceiveError::Empty));
    assert!(two.is_told(), "it has done what was due, and is the first");
    assert_eq!(c.take_or_wait(3, &mut two).unwrap().attempt, 2);
    assert!(one.is_told());
    c.leave(&mut one);
}

#[test]
fn whoever_waits_for_itself_is_told() {
    let c = Chan::acking(9, None, 5);
    c.send_all(0..3);
    let mine = c.take(1).unwrap();
    let also_mine = c.take(1).unwrap();
    let others = c.take(2).unwrap();
    let (mut me, mut other) = (Caller::new(), Caller::new());
    assert_eq!(c.take(1), Err(ReceiveError::Empty), "something may be sent");
    assert_eq!(c.take_or_wait(1, &mut me), Err(ReceiveError::Empty));
    c.complete();
    assert_eq!(c.take(1), Err(ReceiveError::Empty), "it may be nacked");
    assert_eq!(c.take_or_wait(1, &mut me), Err(ReceiveError::Empty));
    assert_eq!(c.take_or_wait(3, &mut other), Err(ReceiveError::Empty));
    assert!(c.ack(others.receipt));
    assert!(me.is_told(), "it had gone to sleep before");
    assert_eq!(c.take_or_wait(1, &mut me), Err(ReceiveError::SelfWait));
    assert!(!me.waiter.is_enqueued());
    assert_eq!(c.take(1), Err(ReceiveError::SelfWait));
    assert_eq!(c.take_or_wait(3, &mut other), Err(ReceiveError::Empty), "somebody else may wait");
    assert!(!other.is_told());
    c.nack(mine.receipt, REQUEUE);
    assert_eq!(c.take_or_wait(3, &mut other).unwrap().item, 0);
    assert_eq!(c.take(1), Err(ReceiveError::Empty));
    c.ack(also_mine.receipt);
    assert_eq!(c.take(3), Err(ReceiveError::SelfWait));
    assert_eq!(c.take(1), Err(ReceiveError::Empty));
}

#[test]
fn completion_tells_whoever_waits_for_itself() {
    for end in 0..3 {
        let c = Chan::acking(9, None, 5);
        let permit = c.permit(1);
        c.send_all(0..1);
        c.take(1).unwrap();
        let mut me = Caller::new();
        assert_eq!(c.take_or_wait(1, &mut me), Err(ReceiveError::Empty));
        match end {
            0 => {
                c.complete();
                assert!(!me.is_told(), "there is a permit");
                c.return_permit(permit);
            }
            1 => {
                c.return_permit(permit);
                c.complete();
            }
            _ => assert!(c.fail()),
        }
        assert!(me.is_told());
        assert_eq!(c.take_or_wait(1, &mut me), Err(ReceiveError::SelfWait));
    }
}

/// What has come back is as good as what was never received: nothing is given back below the step while it is there.
#[test]
fn what_has_come_back_is_left_to_receive() {
    let c = Chan::acking(4, None, 5);
    c.send_all(0..2);
    let (one, two) = (c.take(1).unwrap(), c.take(1).unwrap());
    c.nack(one.receipt, REQUEUE);
    c.ack(two.receipt);
    assert_eq!((c.credit(), c.seen().owed), (2, 1));
    let one = c.take(1).unwrap();
    assert_eq!((c.credit(), c.seen().owed), (3, 0), "it is out, and nothing else is there");
    c.nack(one.receipt, Nack { delay: SECOND, ..REQUEUE });
    c.send_all(2..3);
    let three = c.take(1).unwrap();
    c.ack(three.receipt);
    assert_eq!((c.credit(), c.seen().owed), (3, 0), "what is delayed is not there");
}

#[test]
fn a_cancel_with_deliveries_out() {
    let c = Chan::acking(9, Some(SECOND), 5);
    c.send_all(0..5);
    let out: Vec<_> = (0..4).map(|_| c.take(1).unwrap().receipt).collect();
    c.ack(out[0]);
    c.nack(out[3], Nack { delay: SECOND, ..REQUEUE });
    c.nack(out[1], REQUEUE);
    let mut sender = Caller::new();
    let _ = c.wait_to_send(9, 9, &mut sender);
    assert_eq!(c.cancel(), (vec![1, 3, 4], vec![2]), "to report what nobody has, in order");
    assert!(sender.is_told());
    assert_eq!(c.wait_to_send(9, 9, &mut sender), ended(9, End::Cancelled));
    assert!(c.ack(out[2]), "nobody minds");
    assert_eq!(c.nack(out[2], DROP), (true, vec![]));
    let seen = c.seen();
    assert_eq!((seen.items_discarded, seen.stale, seen.settled_through), (3, 0, 1));
    assert_eq!(c.inner.next_due(()), None);
    // One whose time is over at that very moment is counted once.
    let c = Chan::acking(9, Some(SECOND), 1);
    c.send_all(0..2);
    c.take(1).unwrap();
    c.at(SECOND);
    assert_eq!(c.cancel(), (vec![0, 1], vec![]));
    assert_eq!(c.seen().items_discarded, 2);
}

#[test]
fn a_failed_channel_still_has_its_deliveries_settled() {
    let c = Chan::acking(9, None, 5);
    c.send_all(0..2);
    let out = c.take(1).unwrap();
    assert!(c.fail());
    c.nack(out.receipt, REQUEUE);
    let again = [c.take(1).unwrap(), c.take(1).unwrap()];
    assert_eq!(again.map(|handed| (handed.item, handed.attempt)), [(0, 2), (1, 1)]);
    assert_eq!(c.take(2), Err(ReceiveError::Empty));
    let mut other = Caller::new();
    let _ = c.take_or_wait(2, &mut other);
    assert!(again.iter().all(|handed| c.ack(handed.receipt)));
    assert!(other.is_told());
    assert_eq!(c.take_or_wait(2, &mut other), Err(ReceiveError::Ended(End::Failed)));
}
