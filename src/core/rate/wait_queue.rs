//! `TimedWaitQueue`: callers wait here for their time, and a few of them watch the clock for all.
//!
//! It is the queue of `wait` with *leaders* added (the leader/follower pattern). Waiters are granted at times that the section works out,
//! It is the queue of `wait` with *leaders* added (the leader/follower pattern). Waiters are granted at times that the section computes, so
//! a waiter has to wake up when such a time comes. If all of them did, that would be a thundering herd; if only one did, it might be stuck.
//! Therefore the waiters form *groups*: all threads are one group, and the tasks of each event loop are another. The first waiter of each
//! group is its leader. A leader sleeps until the time of the queue's head, and then grants every waiter whose time has come, whatever its
//! group. So an event loop that is stuck delays no waiter while another group waits; and if its tasks are the only waiters, there is nobody
//! else to be delayed.
//!
//! | event                                           | what happens                                                             |
//! |-------------------------------------------------|---------------------------------------------------------------------------|
//! | the first waiter of a group joins               | it is told when to come (`watch`)                                          |
//! | the head's time moves nearer                    | `rearm` prods each leader that is set for a later time                     |
//! | the head's time moves away                      | nothing: a leader that comes too early looks and goes back to sleep        |
//! | a leader is granted, leaves, or steps aside     | the next waiter of its group becomes the leader: `rearm` prods it          |

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Nanos;
use crate::wait::{Blocked, Ticket, WaitQueue, Wake, Wakes};

/// A time that is never reached: no leader has to come.
pub(super) const NEVER: Nanos = Nanos::MAX;

#[derive(Debug)]
struct Entry {
    group: usize,
    want: u64,
    since: Nanos,
    granted: bool,
}

/// One group: its waiters that can be its leader, and the time that the leader is set for.
#[derive(Debug)]
struct Group {
    leaders: BTreeSet<Ticket>,
    set_for: Nanos,
}

#[derive(Debug)]
pub(super) struct TimedWaitQueue<W> {
    queue: WaitQueue<W>,
    entries: BTreeMap<Ticket, Entry>,
    groups: BTreeMap<usize, Group>,
    /// The sum of the amounts of all waiters.
    wanted: u128,
    pub(super) blocked: Blocked,
}

impl<W: Wake> TimedWaitQueue<W> {
    pub(super) fn new() -> Self {
        Self {
            queue: WaitQueue::default(),
            entries: BTreeMap::new(),
            groups: BTreeMap::new(),
            wanted: 0,
            blocked: Blocked::default(),
        }
    }

    /// True if no waiter waits for a grant.
    pub(super) fn none_waiting(&self) -> bool {
        self.queue.none_waiting()
    }

    /// True if the queue is empty: no waiter, and no grant that has not been fetched.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next waiter and its amount.
    pub(super) fn head(&self) -> Option<(Ticket, u64)> {
        self.queue.head()
    }

    /// The waiters after this one that have not been granted; `None`: all of them.
    pub(super) fn waiting_after(&self, ticket: Option<Ticket>) -> impl Iterator<Item = (Ticket, u64)> {
        self.queue.waiting_after(ticket)
    }

    /// The first of them that is meant.
    pub(super) fn next_waiting(&self, after: Option<Ticket>, is_meant: impl Fn(Ticket, u64) -> bool) -> Option<Ticket> {
        self.queue.next_waiting(after, is_meant)
    }

    pub(super) fn waiting_len(&self) -> usize {
        self.queue.waiting_len()
    }

    /// The sum of the amounts of the waiters that have not been granted.
    pub(super) fn wanted(&self) -> u64 {
        u64::try_from(self.wanted).unwrap_or(u64::MAX)
    }

    pub(super) fn last(&self) -> Option<Ticket> {
        self.queue.last()
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.queue.contains(ticket)
    }

    pub(super) fn waiters(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn since(&self, ticket: Ticket) -> Nanos {
        self.entries.get(&ticket).map_or(0, |entry| entry.since)
    }

    pub(super) fn wakers(&self) -> impl Iterator<Item = &W> {
        self.queue.wakers()
    }

    /// Adds a waiter at the end.
    pub(super) fn join(&mut self, waker: &W, want: u64, now: Nanos) -> Ticket {
        let ticket = self.queue.join(waker.share(), want);
        let group = waker.group();
        self.entries.insert(ticket, Entry { group, want, since: now, granted: false });
        self.may_lead(ticket, group);
        self.wanted += u128::from(want);
        self.blocked.begin(now);
        ticket
    }

    /// Records that the waiter has been granted at `at`, which ends its wait, and wakes it to fetch the grant.
    pub(super) fn grant(&mut self, ticket: Ticket, at: Nanos, wakes: &mut Wakes<W>) {
        self.no_longer_leads(ticket);
        if let Some(entry) = self.entries.get_mut(&ticket) {
            entry.granted = true;
            self.wanted -= u128::from(entry.want);
            self.blocked.end(entry.since, at);
        }
        self.queue.wake(ticket, wakes);
    }

    /// Removes a waiter, granted or not.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Nanos, wakes: &mut Wakes<W>) {
        self.no_longer_leads(ticket);
        if let Some(entry) = self.entries.remove(&ticket).filter(|entry| !entry.granted) {
            self.wanted -= u128::from(entry.want);
            self.blocked.end(entry.since, now);
        }
        if let Some(waker) = self.queue.leave(ticket) {
            wakes.discard(waker);
        }
    }

    /// Called when the waiter cannot try for a while, so that it cannot lead. It keeps its place, and can be granted.
    pub(super) fn step_aside(&mut self, ticket: Ticket) {
        self.no_longer_leads(ticket);
    }

    pub(super) fn step_back(&mut self, ticket: Ticket) {
        if let Some(group) = self.entries.get(&ticket).map(|entry| entry.group).filter(|_| self.queue.is_waiting(ticket)) {
            self.may_lead(ticket, group);
        }
    }

    fn may_lead(&mut self, ticket: Ticket, group: usize) {
        let watch = self.groups.entry(group).or_insert_with(|| Group { leaders: BTreeSet::new(), set_for: NEVER });
        watch.leaders.insert(ticket);
        if watch.leaders.first() == Some(&ticket) {
            watch.set_for = NEVER;
        }
    }

    fn no_longer_leads(&mut self, ticket: Ticket) {
        let Some(group) = self.entries.get(&ticket).map(|entry| entry.group) else { return };
        let Some(watch) = self.groups.get_mut(&group) else { return };
        let was_first = watch.leaders.first() == Some(&ticket);
        watch.leaders.remove(&ticket);
        if watch.leaders.is_empty() {
            self.groups.remove(&group);
        } else if was_first {
            watch.set_for = NEVER;
        }
    }

    /// The time at which this waiter has to try without being woken: `due`, the head's time, if it leads its group; otherwise never.
    pub(super) fn watch(&mut self, ticket: Ticket, due: Nanos) -> Nanos {
        let group = self.entries.get(&ticket).map(|entry| entry.group);
        let watch = group.and_then(|group| self.groups.get_mut(&group));
        match watch.filter(|watch| watch.leaders.first() == Some(&ticket)) {
            Some(watch) => {
                watch.set_for = due;
                due
            }
            None => NEVER,
        }
    }

    /// Prods every leader that is set for a later time than `due`, the head's time, so that it asks again.
    pub(super) fn rearm(&mut self, due: Nanos, wakes: &mut Wakes<W>) {
        for watch in self.groups.values_mut() {
            if watch.set_for > due {
                if let Some(&first) = watch.leaders.first() {
                    self.queue.prod(first, wakes);
                }
                watch.set_for = due;
            }
        }
    }

    /// Forgets all waiters after a fork: they belong to the parent.
    pub(super) fn forget(&mut self) {
        self.queue.forget();
        self.entries.clear();
        self.groups.clear();
        self.wanted = 0;
        self.blocked.forget();
    }
}
