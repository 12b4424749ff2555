//! `WaitQueue`: the waiters of one kind on an object, in order of arrival. For states and rules see the head of `wait`.

use std::collections::BTreeMap;

use crate::leaving::{Wake, Wakes};

/// After this many fruitless tries a waiter may no longer be overtaken.
const FAILED_TRIES_ALLOWED: u8 = 2;

/// Tickets from here on are used for observers, see [`WaitQueue::join_as_observer`].
const OBSERVERS: u64 = 1 << 63;

/// A place in a wait queue. Tickets grow with every `join` and are never reused, so their order is the order of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Entry<W> {
    waker: W,
    /// How much the waiter needs before it can proceed (1 for an item, n for n tokens).
    want: u64,
    failed_tries: u8,
    /// The waiter claims what is available without having been woken (a batch that lingers), so no other may overtake it.
    claims_ahead: bool,
}

impl Ticket {
    fn is_an_observers(self) -> bool {
        self.0 >= OBSERVERS
    }
}

impl<W: Wake> Entry<W> {
    fn bars_arrivals(&self) -> bool {
        self.claims_ahead || self.failed_tries >= FAILED_TRIES_ALLOWED
    }

    /// True if the waiter, once woken, tries as soon as its thread is scheduled. (A task depends on its event loop.)
    fn is_coming(&self) -> bool {
        self.failed_tries >= FAILED_TRIES_ALLOWED && self.waker.is_thread()
    }
}

/// A FIFO queue of waiters, threads and tasks alike.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::wait::{Parker, WaitQueue, Wakes};
///
/// let parkers = [Arc::new(Parker::default()), Arc::new(Parker::default())];
/// let mut queue = WaitQueue::default();
/// let first = queue.join(Arc::clone(&parkers[0]), 1);
/// queue.join(Arc::clone(&parkers[1]), 1);
///
/// // One item is available: enough for the first waiter, not for both.
/// let mut wakes = Wakes::none();
/// queue.wake_while(&mut wakes, |want, claimed| claimed + want <= 1);
/// wakes.fire();
/// assert!(parkers[0].is_notified());
/// assert!(!parkers[1].is_notified());
///
/// // A waiter that leaves lowers the claim, whether it took anything or not.
/// queue.leave(first);
/// assert_eq!(queue.claimed(), 0);
/// ```
#[derive(Debug)]
pub struct WaitQueue<W> {
    waiting: BTreeMap<Ticket, Entry<W>>,
    woken: BTreeMap<Ticket, Entry<W>>,
    /// Waiters that are busy with something else (a signal handler in the middle of the wait) and are not woken.
    aside: BTreeMap<Ticket, Entry<W>>,
    /// The sum of `want` over `woken`. It wraps on overflow: primitives with amounts that large do not read it.
    claimed: u64,
    /// The number of waiters because of which arrivals must queue.
    barring: usize,
    /// The number of these that are woken threads. They are about to try, so no waiter behind them is woken before they have tried.
    coming: usize,
    /// The number of observers among the waiting.
    observers: usize,
    next: u64,
}

impl<W> Default for WaitQueue<W> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            woken: BTreeMap::new(),
            aside: BTreeMap::new(),
            claimed: 0,
            barring: 0,
            coming: 0,
            observers: 0,
            next: 0,
        }
    }
}

impl<W: Wake> WaitQueue<W> {
    /// Adds a waiter at the end. `want` is the amount it needs.
    pub fn join(&mut self, waker: W, want: u64) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, Entry { waker, want, failed_tries: 0, claims_ahead: false });
        ticket
    }

    /// Adds an observer. It is behind all waiters, later ones included, takes nothing, and is not woken by [`WaitQueue::wake_while`].
    pub fn join_as_observer(&mut self, waker: W) -> Ticket {
        let ticket = Ticket(OBSERVERS | self.next);
        self.next += 1;
        self.observers += 1;
        self.waiting.insert(ticket, Entry { waker, want: 0, failed_tries: 0, claims_ahead: false });
        ticket
    }

    /// Wakes up to `count` observers in FIFO order, and removes them.
    pub fn release_observers(&mut self, count: u64, wakes: &mut Wakes<W>) {
        for _ in 0..count {
            let Some((&first, _)) = self.waiting.range(Ticket(OBSERVERS)..).next() else { break };
            if let Some(waker) = self.leave(first) {
                wakes.push(waker);
            }
        }
    }

    /// The ticket that the next waiter will get.
    pub fn next_ticket(&self) -> Ticket {
        Ticket(self.next)
    }

    /// Ensures that no ticket before this one is given out.
    pub fn skip_tickets_before(&mut self, next_ticket: Ticket) {
        self.next = self.next.max(next_ticket.0);
    }

    /// Removes an entry, whatever its state.
    fn remove(&mut self, ticket: Ticket) -> Option<Entry<W>> {
        if let Some(entry) = self.woken.remove(&ticket) {
            self.claimed = self.claimed.wrapping_sub(entry.want);
            self.coming -= usize::from(entry.is_coming());
            self.barring -= usize::from(entry.bars_arrivals());
            return Some(entry);
        }
        if let Some(entry) = self.waiting.remove(&ticket) {
            self.barring -= usize::from(entry.bars_arrivals());
            self.observers -= usize::from(ticket.is_an_observers());
            return Some(entry);
        }
        self.aside.remove(&ticket)
    }

    fn wait(&mut self, ticket: Ticket, entry: Entry<W>) {
        self.barring += usize::from(entry.bars_arrivals());
        self.waiting.insert(ticket, entry);
    }

    /// Removes a waiter, served or not; returns `None` if it has been removed already. The waker is returned, to be dropped outside the section.
    #[must_use = "the waker may run foreign code when dropped: carry it out of the section"]
    pub fn leave(&mut self, ticket: Ticket) -> Option<W> {
        self.remove(ticket).map(|entry| entry.waker)
    }

    /// Called when a woken waiter tried and found nothing: it waits again, in the same place. No effect on a waiter that was not woken.
    pub fn requeue(&mut self, ticket: Ticket) {
        if self.woken.contains_key(&ticket) {
            if let Some(mut entry) = self.remove(ticket) {
                entry.failed_tries = entry.failed_tries.saturating_add(1);
                self.wait(ticket, entry);
            }
        }
    }

    /// Changes the amount a waiter needs, and whether it claims what is available. A woken waiter waits again.
    pub fn set_want(&mut self, ticket: Ticket, want: u64, claims_ahead: bool) {
        if let Some(entry) = self.remove(ticket) {
            self.wait(ticket, Entry { want, claims_ahead, ..entry });
        }
    }

    /// Sets a waiter aside that cannot try for a while: it is not woken, no waiter behind it is held up, and it keeps its place.
    pub fn step_aside(&mut self, ticket: Ticket) {
        if let Some(entry) = self.remove(ticket) {
            self.aside.insert(ticket, entry);
        }
    }

    /// Puts a waiter that was set aside back into its place.
    pub fn step_back(&mut self, ticket: Ticket) {
        if let Some(entry) = self.aside.remove(&ticket) {
            self.wait(ticket, entry);
        }
    }

    /// Wakes waiters in order while `may_go(want, claimed)` is true of the first that is not yet woken. `claimed` is the amount that the waiters
    /// already woken may take.
    pub fn wake_while(&mut self, wakes: &mut Wakes<W>, mut may_go: impl FnMut(u64, u64) -> bool) {
        while let Some(first) = self.waiting.first_entry() {
            let held_back = self.coming > 0 && !first.get().bars_arrivals();
            if first.key().is_an_observers() || held_back || !may_go(first.get().want, self.claimed) {
                break;
            }
            let (ticket, entry) = first.remove_entry();
            self.claimed = self.claimed.wrapping_add(entry.want);
            self.coming += usize::from(entry.is_coming());
            wakes.push(entry.waker.share());
            self.woken.insert(ticket, entry);
        }
    }

    /// The amount that the woken waiters may take.
    #[inline]
    pub fn claimed(&self) -> u64 {
        self.claimed
    }

    /// The waiter to be woken next, and the amount it needs.
    pub fn head(&self) -> Option<(Ticket, u64)> {
        self.waiting.first_key_value().map(|(&ticket, entry)| (ticket, entry.want))
    }

    /// The waiters that have not been woken, in order, and the amount each needs.
    pub fn waiting(&self) -> impl Iterator<Item = (Ticket, u64)> {
        self.waiting.iter().map(|(&ticket, entry)| (ticket, entry.want))
    }

    /// The waiters after this one that have not been woken; with `None`, all of them.
    pub fn waiting_after(&self, ticket: Option<Ticket>) -> impl Iterator<Item = (Ticket, u64)> {
        let after = ticket.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.waiting.range((after, std::ops::Bound::Unbounded)).map(|(&ticket, entry)| (ticket, entry.want))
    }

    /// The first waiter after this one that has not been woken and for which `is_meant` returns true; with `None`, the first of all. A caller
    /// that wakes some of the waiters goes from one to the next, and so needs no list of them.
    pub fn next_waiting(&self, after: Option<Ticket>, is_meant: impl Fn(Ticket, u64) -> bool) -> Option<Ticket> {
        self.waiting_after(after).find(|&(ticket, want)| is_meant(ticket, want)).map(|(ticket, _)| ticket)
    }

    /// The number of waiters that have not been woken.
    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// The last waiter.
    pub fn last(&self) -> Option<Ticket> {
        self.waiting.last_key_value().map(|(&ticket, _)| ticket)
    }

    pub fn is_waiting(&self, ticket: Ticket) -> bool {
        self.waiting.contains_key(&ticket)
    }

    /// Wakes this waiter, even if there are waiters before it.
    pub fn wake(&mut self, ticket: Ticket, wakes: &mut Wakes<W>) {
        if let Some(entry) = self.waiting.remove(&ticket) {
            self.claimed = self.claimed.wrapping_add(entry.want);
            self.coming += usize::from(entry.is_coming());
            wakes.push(entry.waker.share());
            self.woken.insert(ticket, entry);
        }
    }

    /// Makes a waiter try again without marking it as woken: it claims nothing.
    pub fn prod(&self, ticket: Ticket, wakes: &mut Wakes<W>) {
        if let Some(entry) = self.waiting.get(&ticket) {
            wakes.push(entry.waker.share());
        }
    }

    /// Makes all waiters try again.
    pub fn prod_all(&self, wakes: &mut Wakes<W>) {
        self.waiting.values().for_each(|entry| wakes.push(entry.waker.share()));
    }

    /// Wakes and removes all waiters: all have been served.
    pub fn release_all(&mut self, wakes: &mut Wakes<W>) {
        for entry in std::mem::take(&mut self.woken).into_values().chain(std::mem::take(&mut self.aside).into_values()) {
            wakes.discard(entry.waker);
        }
        for entry in std::mem::take(&mut self.waiting).into_values() {
            wakes.push(entry.waker);
        }
        self.claimed = 0;
        self.barring = 0;
        self.coming = 0;
        self.observers = 0;
    }

    /// Forgets all waiters without touching them: after a fork they are the parent's threads, and their wakers the parent's memory.
    pub fn forget(&mut self) {
        std::mem::forget(std::mem::take(&mut self.waiting));
        std::mem::forget(std::mem::take(&mut self.woken));
        std::mem::forget(std::mem::take(&mut self.aside));
        self.claimed = 0;
        self.barring = 0;
        self.coming = 0;
        self.observers = 0;
    }

    /// True if the waiter has been woken, or claims what is available without that.
    #[inline]
    pub fn may_try(&self, ticket: Ticket) -> bool {
        self.woken.contains_key(&ticket) || self.claims_ahead(ticket)
    }

    pub fn claims_ahead(&self, ticket: Ticket) -> bool {
        self.waiting.get(&ticket).is_some_and(|entry| entry.claims_ahead)
    }

    pub fn contains(&self, ticket: Ticket) -> bool {
        [&self.woken, &self.waiting, &self.aside].iter().any(|entries| entries.contains_key(&ticket))
    }

    /// True if no waiter is waiting to be woken. (Some may have been woken and not tried yet.)
    #[inline]
    pub fn none_waiting(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True if the queue has no waiters (waiting, woken or set aside), observers apart.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == self.observers
    }

    /// True if all waiters are set aside.
    pub fn all_are_aside(&self) -> bool {
        self.waiting.is_empty() && self.woken.is_empty()
    }

    pub fn any_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    pub fn len(&self) -> usize {
        self.waiting.len() + self.woken.len() + self.aside.len()
    }

    /// True if an arrival that can wait must go to the end of the queue, whatever is available.
    #[inline]
    pub fn arrivals_must_queue(&self) -> bool {
        self.barring != 0
    }

    /// The amount claimed by the waiters before this one that have been woken, or claim what is available.
    pub fn claimed_before(&self, ticket: Ticket) -> u64 {
        let ahead = self.woken.range(..ticket).map(|(_, entry)| entry.want);
        let lingering = self.waiting.range(..ticket).filter(|(_, entry)| entry.claims_ahead).map(|(_, entry)| entry.want);
        ahead.chain(lingering).sum()
    }

    /// All wakers, each once.
    pub fn wakers(&self) -> impl Iterator<Item = &W> {
        self.woken.values().chain(self.waiting.values()).chain(self.aside.values()).map(|entry| &entry.waker)
    }
}
