//! `TimedWaitQueue`: callers wait here for their time, and a few of them watch the clock for all.
//!
//! It is the queue of `wait` with *leaders* added (the leader/follower pattern). Waiters are granted at times that the section works out,
//! so somebody has to come when such a time has been reached. If all waiters came they would be a herd; if one came alone it might be stuck.
//! Therefore the waiters form *groups*: all threads are one group, and the tasks of each event loop are another. The first waiter of each
//! group is its leader. A leader sleeps until the time of the queue's head, and then grants every waiter whose time has been reached,
//! whatever its group. A loop that is stuck thus delays nobody while any other group waits; and if its tasks wait alone, nobody else is
//! there to be served.
//!
//! | event                                           | what happens                                                             |
//! |-------------------------------------------------|---------------------------------------------------------------------------|
//! | the first waiter of a group joins               | it is told when to come (`watch`)                                          |
//! | the head's time moves nearer                    | `rearm` prods each leader that is set for a later time                     |
//! | the head's time moves away                      | nothing: a leader that comes too early looks and goes back to sleep        |
//! | a leader is granted, leaves, or steps aside     | the next waiter of its group becomes the leader: `rearm` prods it          |

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Nanos;
use crate::wait::{Blocked, Line, Ticket, Wake, Wakes};

/// A time that is never reached: no leader has to come.
pub(super) const NEVER: Nanos = Nanos::MAX;

#[derive(Debug)]
struct Waiter {
    group: usize,
    want: u64,
    since: Nanos,
    granted: bool,
}

/// One group: its waiters that can be its leader, and the time that the leader is set for.
#[derive(Debug)]
struct Watch {
    leaders: BTreeSet<Ticket>,
    set_for: Nanos,
}

#[derive(Debug)]
pub(super) struct TimedWaitQueue<W> {
    line: Line<W>,
    waiters: BTreeMap<Ticket, Waiter>,
    watches: BTreeMap<usize, Watch>,
    /// The sum of the amounts of those who wait for a grant.
    wanted: u128,
    pub(super) blocked: Blocked,
}

impl<W: Wake> TimedWaitQueue<W> {
    pub(super) fn new() -> Self {
        Self { line: Line::default(), waiters: BTreeMap::new(), watches: BTreeMap::new(), wanted: 0, blocked: Blocked::default() }
    }

    /// Nobody waits for a grant.
    pub(super) fn nobody_waits(&self) -> bool {
        self.line.nobody_waits()
    }

    /// The queue is empty: nobody waits, and nobody has a grant that it has not fetched.
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// The waiter that is next, and its amount.
    pub(super) fn head(&self) -> Option<(Ticket, u64)> {
        self.line.head()
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = (Ticket, u64)> {
        self.line.waiting()
    }

    /// Those after this waiter who have not been granted anything; `None`: all of them.
    pub(super) fn waiting_after(&self, ticket: Option<Ticket>) -> impl Iterator<Item = (Ticket, u64)> {
        self.line.waiting_after(ticket)
    }

    pub(super) fn waiting_len(&self) -> usize {
        self.line.waiting_len()
    }

    /// What those want together who have not been granted anything.
    pub(super) fn wanted(&self) -> u64 {
        u64::try_from(self.wanted).unwrap_or(u64::MAX)
    }

    pub(super) fn last(&self) -> Option<Ticket> {
        self.line.last()
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.line.contains(ticket)
    }

    pub(super) fn waiters(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn since(&self, ticket: Ticket) -> Nanos {
        self.waiters.get(&ticket).map_or(0, |waiter| waiter.since)
    }

    pub(super) fn wakers(&self) -> impl Iterator<Item = &W> {
        self.line.wakers()
    }

    /// Adds a waiter at the end.
    pub(super) fn join(&mut self, waker: &W, want: u64, now: Nanos) -> Ticket {
        let ticket = self.line.join(waker.share(), want);
        let group = waker.group();
        self.waiters.insert(ticket, Waiter { group, want, since: now, granted: false });
        self.may_lead(ticket, group);
        self.wanted += u128::from(want);
        self.blocked.begin(now);
        ticket
    }

    /// The waiter has been served at `at`, which ends its wait. It is woken to fetch its grant.
    pub(super) fn grant(&mut self, ticket: Ticket, at: Nanos, wakes: &mut Wakes<W>) {
        self.no_longer_leads(ticket);
        if let Some(waiter) = self.waiters.get_mut(&ticket) {
            waiter.granted = true;
            self.wanted -= u128::from(waiter.want);
            self.blocked.end(waiter.since, at);
        }
        self.line.wake(ticket, wakes);
    }

    /// Removes a waiter, served or not.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Nanos, wakes: &mut Wakes<W>) {
        self.no_longer_leads(ticket);
        if let Some(waiter) = self.waiters.remove(&ticket).filter(|waiter| !waiter.granted) {
            self.wanted -= u128::from(waiter.want);
            self.blocked.end(waiter.since, now);
        }
        if let Some(waker) = self.line.leave(ticket) {
            wakes.discard(waker);
        }
    }

    /// The waiter cannot come for a while, so that it cannot lead. It keeps its place, and can be granted.
    pub(super) fn step_aside(&mut self, ticket: Ticket) {
        self.no_longer_leads(ticket);
    }

    pub(super) fn step_back(&mut self, ticket: Ticket) {
        if let Some(group) = self.waiters.get(&ticket).map(|waiter| waiter.group).filter(|_| self.line.is_waiting(ticket)) {
            self.may_lead(ticket, group);
        }
    }

    fn may_lead(&mut self, ticket: Ticket, group: usize) {
        let watch = self.watches.entry(group).or_insert_with(|| Watch { leaders: BTreeSet::new(), set_for: NEVER });
        watch.leaders.insert(ticket);
        if watch.leaders.first() == Some(&ticket) {
            watch.set_for = NEVER;
        }
    }

    fn no_longer_leads(&mut self, ticket: Ticket) {
        let Some(group) = self.waiters.get(&ticket).map(|waiter| waiter.group) else { return };
        let Some(watch) = self.watches.get_mut(&group) else { return };
        let was_first = watch.leaders.first() == Some(&ticket);
        watch.leaders.remove(&ticket);
        if watch.leaders.is_empty() {
            self.watches.remove(&group);
        } else if was_first {
            watch.set_for = NEVER;
        }
    }

    /// The time at which this waiter has to come without being woken: `due`, the head's time, if it leads its group; else never.
    pub(super) fn watch(&mut self, ticket: Ticket, due: Nanos) -> Nanos {
        let group = self.waiters.get(&ticket).map(|waiter| waiter.group);
        let watch = group.and_then(|group| self.watches.get_mut(&group));
        match watch.filter(|watch| watch.leaders.first() == Some(&ticket)) {
            Some(watch) => {
                watch.set_for = due;
                due
            }
            None => NEVER,
        }
    }

    /// The head's time is `due`. Every leader that would come later is prodded, so that it asks again.
    pub(super) fn rearm(&mut self, due: Nanos, wakes: &mut Wakes<W>) {
        for watch in self.watches.values_mut() {
            if watch.set_for > due {
                if let Some(&first) = watch.leaders.first() {
                    self.line.nudge(first, wakes);
                }
                watch.set_for = due;
            }
        }
    }

    /// Forgets all waiters after a fork: they belong to the parent.
    pub(super) fn forget(&mut self) {
        self.line.forget();
        self.waiters.clear();
        self.watches.clear();
        self.wanted = 0;
        self.blocked.forget();
    }
}
