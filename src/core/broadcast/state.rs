//! `State`: the ring, the subscribers, and the publishers that wait. Used inside the section only.

use super::Waiter;
use super::ring::{Displaced, Drained, Ring};
use super::subscriber::{GetError, Overflow, Subscriber};
use crate::clock::{Clock, Nanos};
use crate::monitor::{MonitorState, WaitQueues, wait_queues};
use crate::room::Boxed;
use crate::wait::{Wake, Wakes};

/// Why an item was not published. The item is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError<T> {
    /// A subscriber that blocks is full, or other publishers wait and this one can wait too.
    Full(T),
    ShutDown(T),
    NoMemory(T),
}

/// Why there is no new subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    ShutDown,
    NoMemory,
}

/// The result of publishing an item.
#[must_use = "items are dropped outside the section"]
#[derive(Debug)]
pub struct Published<T> {
    /// The number of subscribers that will get it.
    pub subscribers: usize,
    /// The items that no subscriber will take any more.
    pub displaced: Displaced<T>,
}

/// The statistics of a broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Items in the ring.
    pub size: usize,
    pub peak_size: usize,
    pub published: u64,
    /// The number of open subscribers.
    pub subscribers: usize,
    /// The number of subscribers that were disconnected because they were full.
    pub disconnected: u64,
    /// The sum over all subscribers, past ones included.
    pub dropped: u64,
    pub waiting_publishers: usize,
    /// The sum over all waits, including those that have not ended.
    pub publish_blocked: Nanos,
    pub shut: bool,
}

/// See the head of this file. `X` is data of the owner that are changed in one step with the state.
#[derive(Debug)]
pub struct State<T, W, X = ()> {
    ring: Ring<T>,
    /// By number. Numbers are used again.
    subscribers: Vec<Option<Boxed<Subscriber<W>>>>,
    /// The number of subscribers that publishers wait for now.
    blocking: usize,
    published: u64,
    peak: usize,
    disconnected: u64,
    /// The number dropped by past subscribers.
    dropped_before: u64,
    shut: bool,
    pub(super) extras: X,
    publishers: WaitQueues<W, 1>,
}

impl<T, W: Wake, X> State<T, W, X> {
    pub(super) fn new(extras: X, clock: Clock<W>) -> Self {
        Self {
            ring: Ring::default(),
            subscribers: Vec::new(),
            blocking: 0,
            published: 0,
            peak: 0,
            disconnected: 0,
            dropped_before: 0,
            shut: false,
            extras,
            publishers: WaitQueues::new(clock),
        }
    }

    /// Adds a subscriber and returns its number.
    pub(super) fn subscribe(&mut self, limit: usize, overflow: Overflow) -> Result<usize, SubscribeError> {
        if self.shut {
            return Err(SubscribeError::ShutDown);
        }
        let subscriber = Boxed::try_new(Subscriber::new(limit, overflow, self.publishers.clock.clone()));
        let subscriber = Some(subscriber.map_err(|_| SubscribeError::NoMemory)?);
        if let Some(free) = self.subscribers.iter().position(Option::is_none) {
            self.subscribers[free] = subscriber;
            return Ok(free);
        }
        self.subscribers.try_reserve(1).map_err(|_| SubscribeError::NoMemory)?;
        self.subscribers.push(subscriber);
        Ok(self.subscribers.len() - 1)
    }

    pub(super) fn subscriber(&mut self, number: usize) -> &mut Subscriber<W> {
        self.subscribers[number].as_mut().expect("a number is given back once, by its owner")
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Subscriber<W>> {
        self.subscribers.iter_mut().flatten().map(|subscriber| &mut **subscriber)
    }

    #[inline]
    pub(super) fn publish(&mut self, item: T, wakes: &mut Wakes<W>) -> Result<Published<T>, PublishError<T>> {
        if self.shut {
            return Err(PublishError::ShutDown(item));
        }
        if self.blocking > 0 {
            return Err(PublishError::Full(item));
        }
        let Self { ring, subscribers, blocking, disconnected, .. } = self;
        if !(ring.reserve() && subscribers.iter_mut().flatten().all(|subscriber| subscriber.reserve())) {
            return Err(PublishError::NoMemory(item));
        }
        let position = ring.next();
        let mut published = Published { subscribers: 0, displaced: Displaced::default() };
        for subscriber in subscribers.iter_mut().flatten() {
            let was_open = subscriber.is_open();
            if subscriber.accept(position, ring, &mut published.displaced, wakes) {
                published.subscribers += 1;
                *blocking += usize::from(subscriber.blocks());
            } else if was_open && !subscriber.is_open() {
                *disconnected += 1;
            }
        }
        self.published += 1;
        if published.subscribers == 0 {
            published.displaced.add(Some(item));
        } else {
            self.ring.push(item, published.subscribers);
            self.peak = self.peak.max(self.ring.len());
            if self.ring.is_sparse() {
                self.close_up();
            }
        }
        Ok(published)
    }

    #[cold]
    fn close_up(&mut self) {
        if let Some(moved) = self.ring.close_up() {
            self.each().for_each(|subscriber| subscriber.move_to(&moved));
        }
    }

    /// Publishes as an arrival that can wait.
    pub(super) fn publish_fairly(&mut self, item: T, wakes: &mut Wakes<W>) -> Result<Published<T>, PublishError<T>> {
        if !self.shut && self.publishers.queue(()).arrivals_must_queue() && !self.forget_after_fork() {
            return Err(PublishError::Full(item));
        }
        self.publish(item, wakes)
    }

    pub(super) fn publish_or_wait(
        &mut self,
        item: T,
        waiter: &mut Waiter,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<Published<T>, PublishError<T>> {
        self.forget_after_fork();
        let has_turn = self.shut || self.publishers.has_turn((), waiter);
        let result = if has_turn { self.publish(item, wakes) } else { Err(PublishError::Full(item)) };
        if matches!(result, Err(PublishError::Full(_))) {
            self.publishers.enqueue_or_requeue((), 1, waiter, waker, wakes);
        } else {
            self.publishers.remove_waiter(waiter, wakes);
        }
        self.wake_publishers(wakes);
        result
    }

    pub(super) fn wake_publishers(&mut self, wakes: &mut Wakes<W>) {
        if self.publishers.queue(()).none_waiting() || self.forget_after_fork() {
            return;
        }
        let shut = self.shut;
        let room = self.each().map(|subscriber| subscriber.room()).min().unwrap_or(usize::MAX) as u64;
        self.publishers.queue_mut(()).wake_while(wakes, |want, claimed| shut || claimed.saturating_add(want) <= room);
    }

    /// Runs a change of one subscriber's items, after which publishers may or may not wait for it.
    #[inline]
    fn change<R>(
        &mut self,
        number: usize,
        wakes: &mut Wakes<W>,
        change: impl FnOnce(&mut Subscriber<W>, &mut Ring<T>, &mut Wakes<W>) -> R,
    ) -> R {
        let subscriber = self.subscribers[number].as_mut().expect("a number is given back once, by its owner");
        let blocked = subscriber.blocks();
        let result = change(subscriber, &mut self.ring, wakes);
        if blocked && !subscriber.blocks() {
            self.blocking -= 1;
            self.wake_publishers(wakes);
        }
        result
    }

    #[inline]
    fn take(&mut self, number: usize, share: impl FnOnce(&T) -> T, wakes: &mut Wakes<W>) -> Result<T, GetError> {
        self.change(number, wakes, |subscriber, ring, _| subscriber.take(ring, share))
    }

    /// Takes a subscriber's first item without waiting. A caller that can wait (`fair`) is refused if waiters are before it.
    #[inline]
    pub(super) fn get(
        &mut self,
        number: usize,
        fair: bool,
        share: impl FnOnce(&T) -> T,
        wakes: &mut Wakes<W>,
    ) -> Result<T, GetError> {
        let subscriber = self.subscriber(number);
        if fair && subscriber.wait_queues.queue(()).arrivals_must_queue() && !subscriber.forget_after_fork() {
            return Err(GetError::Empty);
        }
        self.take(number, share, wakes)
    }

    /// The subscriber's next item, which stays. `share` makes a second handle on it.
    pub(super) fn peek(&mut self, number: usize, share: impl FnOnce(&T) -> T) -> Result<T, GetError> {
        let Self { subscribers, ring, .. } = self;
        let subscriber = subscribers[number].as_ref().expect("a number is given back once, by its owner");
        subscriber.peek(ring).map(share)
    }

    /// Takes an item, or joins (or stays in) the subscriber's wait queue.
    pub(super) fn get_or_wait(
        &mut self,
        number: usize,
        waiter: &mut Waiter,
        waker: &W,
        share: impl FnOnce(&T) -> T,
        wakes: &mut Wakes<W>,
    ) -> Result<T, GetError> {
        let subscriber = self.subscriber(number);
        subscriber.forget_after_fork();
        let has_turn = subscriber.wait_queues.has_turn((), waiter);
        let result = if has_turn { self.take(number, share, wakes) } else { Err(GetError::Empty) };
        let queues = &mut self.subscriber(number).wait_queues;
        if matches!(result, Err(GetError::Empty)) {
            queues.enqueue_or_requeue((), 1, waiter, waker, wakes);
        } else {
            queues.remove_waiter(waiter, wakes);
        }
        result
    }

    /// Adds further items to one that has been taken, as long as the batch has room.
    pub(super) fn and_more(
        &mut self,
        number: usize,
        first: T,
        mut batch: Vec<T>,
        share: impl Fn(&T) -> T,
        wakes: &mut Wakes<W>,
    ) -> Vec<T> {
        self.change(number, wakes, |subscriber, ring, _| {
            batch.push(first);
            while batch.len() < batch.capacity() {
                let Ok(item) = subscriber.take(ring, &share) else { break };
                batch.push(item);
            }
            batch
        })
    }

    /// A batch with room for all items, but for at most `max`, and for at least one.
    pub(super) fn batch(&mut self, number: usize, max: usize) -> Result<Vec<T>, GetError> {
        let mut batch = Vec::new();
        let len = self.subscriber(number).len().clamp(1, max.max(1));
        batch.try_reserve_exact(len).map_err(|_| GetError::NoMemory)?;
        Ok(batch)
    }

    /// Ends the subscriber and drops a part of its items. `None`: that was all.
    pub(super) fn close(&mut self, number: usize, wakes: &mut Wakes<W>) -> (Displaced<T>, Option<()>) {
        self.change(number, wakes, |subscriber, ring, wakes| {
            let mut displaced = Displaced::default();
            subscriber.close(wakes);
            let is_all = subscriber.give_up(ring, &mut displaced);
            (displaced, (!is_all).then_some(()))
        })
    }

    /// Frees the number of a closed subscriber. It has no waiters; its remains are dropped outside the section.
    pub(super) fn remove(&mut self, number: usize) -> Option<Removed<W>> {
        let mut subscriber = self.subscribers[number].take()?;
        subscriber.forget_after_fork();
        self.dropped_before += subscriber.statistics().dropped;
        Some(Removed(subscriber))
    }

    pub(super) fn shut_down<R>(
        &mut self,
        at_once: bool,
        end: impl FnOnce(&mut X, bool) -> R,
        wakes: &mut Wakes<W>,
    ) -> (Option<Drained<T>>, R) {
        let ended = end(&mut self.extras, self.shut);
        self.shut = true;
        let displaced = at_once.then(|| self.empty());
        self.each().for_each(|subscriber| subscriber.shut_down(wakes));
        self.wake_publishers(wakes);
        (displaced, ended)
    }

    /// Drops all items.
    pub(super) fn empty(&mut self) -> Drained<T> {
        self.each().for_each(Subscriber::forget_items);
        self.blocking = 0;
        self.ring.clear()
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &T> {
        self.ring.iter()
    }

    pub(super) fn visit_wakers(&self, mut waker: impl FnMut(&W)) {
        self.publishers.visit_wakers(&mut waker);
        self.subscribers.iter().flatten().for_each(|subscriber| subscriber.wait_queues.visit_wakers(&mut waker));
    }

    pub(super) fn statistics(&mut self) -> Statistics {
        self.forget_after_fork();
        let now = self.publishers.clock.now();
        let there = || self.subscribers.iter().flatten();
        Statistics {
            size: self.ring.len(),
            peak_size: self.peak,
            published: self.published,
            subscribers: there().filter(|subscriber| subscriber.is_open()).count(),
            disconnected: self.disconnected,
            dropped: self.dropped_before + there().map(|subscriber| subscriber.statistics().dropped).sum::<u64>(),
            waiting_publishers: self.publishers.queue(()).len(),
            publish_blocked: self.publishers.blocked((), now),
            shut: self.shut,
        }
    }
}

/// The remains of a subscriber.
#[must_use = "it is dropped outside the section"]
#[derive(Debug)]
pub(super) struct Removed<W>(#[expect(dead_code, reason = "held, to be dropped")] Boxed<Subscriber<W>>);

impl<T, W: Wake, X> MonitorState<W, 1> for State<T, W, X> {
    type Side = ();

    wait_queues!(publishers, 1);

    /// Wakes publishers. The waiters for a subscriber's items are woken where these change.
    fn wake_all_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.wake_publishers(wakes);
    }
}
