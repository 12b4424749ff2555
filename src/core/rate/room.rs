//! `Room`: where callers wait for their time, and who watches the clock for them.
//!
//! The line is the one of `wait`; what is added is *timekeeping*. Waiters are granted at times that the section works out, so somebody has
//! to come when it is time. Not everybody (a herd), and not one alone (it might be stuck): of each *group* of waiters, all threads being
//! one and the tasks of each event loop another, the first in line keeps time for all. It sleeps until the head's time, comes, and grants
//! whoever is due, itself or others, of its group or not. So a loop that is stuck holds up nobody as long as anybody else waits, and on one
//! that waits alone nobody could be served anyway.
//!
//! | event                                           | what the room does                                                       |
//! |-------------------------------------------------|---------------------------------------------------------------------------|
//! | one joins, first of its group                   | it is told when to come (`watch`)                                          |
//! | the head's time comes nearer                    | `ring` nudges each group's timekeeper that is set for a later time         |
//! | the head's time moves away                      | nothing: who comes too early looks and goes back to sleep                  |
//! | a timekeeper is granted, leaves, or steps aside | the next of its group takes over: `ring` nudges it                         |

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Nanos;
use crate::wait::{Blocked, Line, Ticket, Wake, Wakes};

/// Nobody has to come.
pub(super) const NEVER: Nanos = Nanos::MAX;

#[derive(Debug)]
struct Waiter {
    group: usize,
    since: Nanos,
    granted: bool,
}

/// One group: its waiters who can keep time, and the time that the first of them is set for.
#[derive(Debug)]
struct Watch {
    keepers: BTreeSet<Ticket>,
    set_for: Nanos,
}

#[derive(Debug)]
pub(super) struct Room<W> {
    line: Line<W>,
    waiters: BTreeMap<Ticket, Waiter>,
    watches: BTreeMap<usize, Watch>,
    pub(super) blocked: Blocked,
}

impl<W: Wake> Room<W> {
    pub(super) fn new() -> Self {
        Self { line: Line::default(), waiters: BTreeMap::new(), watches: BTreeMap::new(), blocked: Blocked::default() }
    }

    /// Nobody waits for a grant.
    pub(super) fn nobody_waits(&self) -> bool {
        self.line.nobody_waits()
    }

    /// Nobody waits, and nobody has been granted something that it has not fetched.
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Who is next, and what it wants.
    pub(super) fn head(&self) -> Option<(Ticket, u64)> {
        self.line.head()
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = (Ticket, u64)> {
        self.line.waiting()
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

    /// Takes the last place.
    pub(super) fn join(&mut self, waker: &W, want: u64, now: Nanos) -> Ticket {
        let ticket = self.line.join(waker.share(), want);
        let group = waker.group();
        self.waiters.insert(ticket, Waiter { group, since: now, granted: false });
        self.keep_time(ticket, group);
        self.blocked.begin(now);
        ticket
    }

    /// It has been served, as of `at`, when its wait ended: it may come and fetch.
    pub(super) fn grant(&mut self, ticket: Ticket, at: Nanos, wakes: &mut Wakes<W>) {
        self.no_longer_keeps_time(ticket);
        if let Some(waiter) = self.waiters.get_mut(&ticket) {
            waiter.granted = true;
            self.blocked.end(waiter.since, at);
        }
        self.line.wake(ticket, wakes);
    }

    /// Gives the place up, served or not.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Nanos, wakes: &mut Wakes<W>) {
        self.no_longer_keeps_time(ticket);
        if let Some(waiter) = self.waiters.remove(&ticket).filter(|waiter| !waiter.granted) {
            self.blocked.end(waiter.since, now);
        }
        if let Some(waker) = self.line.leave(ticket) {
            wakes.discard(waker);
        }
    }

    /// The waiter cannot come for a while: somebody else keeps time. It keeps its place, and may be granted.
    pub(super) fn step_aside(&mut self, ticket: Ticket) {
        self.no_longer_keeps_time(ticket);
    }

    pub(super) fn step_back(&mut self, ticket: Ticket) {
        if let Some(group) = self.waiters.get(&ticket).map(|waiter| waiter.group).filter(|_| self.line.is_waiting(ticket)) {
            self.keep_time(ticket, group);
        }
    }

    fn keep_time(&mut self, ticket: Ticket, group: usize) {
        let watch = self.watches.entry(group).or_insert_with(|| Watch { keepers: BTreeSet::new(), set_for: NEVER });
        watch.keepers.insert(ticket);
        if watch.keepers.first() == Some(&ticket) {
            watch.set_for = NEVER;
        }
    }

    fn no_longer_keeps_time(&mut self, ticket: Ticket) {
        let Some(group) = self.waiters.get(&ticket).map(|waiter| waiter.group) else { return };
        let Some(watch) = self.watches.get_mut(&group) else { return };
        let was_first = watch.keepers.first() == Some(&ticket);
        watch.keepers.remove(&ticket);
        if watch.keepers.is_empty() {
            self.watches.remove(&group);
        } else if was_first {
            watch.set_for = NEVER;
        }
    }

    /// When this waiter has to come by itself, the head's time being `due`: never, unless it keeps time for its group.
    pub(super) fn watch(&mut self, ticket: Ticket, due: Nanos) -> Nanos {
        let group = self.waiters.get(&ticket).map(|waiter| waiter.group);
        let watch = group.and_then(|group| self.watches.get_mut(&group));
        match watch.filter(|watch| watch.keepers.first() == Some(&ticket)) {
            Some(watch) => {
                watch.set_for = due;
                due
            }
            None => NEVER,
        }
    }

    /// The head's time is `due`: every timekeeper who would come later is nudged, so that it asks again.
    pub(super) fn ring(&mut self, due: Nanos, wakes: &mut Wakes<W>) {
        for watch in self.watches.values_mut() {
            if watch.set_for > due {
                if let Some(&first) = watch.keepers.first() {
                    self.line.nudge(first, wakes);
                }
                watch.set_for = due;
            }
        }
    }

    /// After a fork: they are the parent's.
    pub(super) fn forget(&mut self) {
        self.line.forget();
        self.waiters.clear();
        self.watches.clear();
        self.blocked.forget();
    }
}
