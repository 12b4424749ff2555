//! `Line`: the places of those who wait, in the order they came. States and rules: see the head of `wait`.

use std::collections::BTreeMap;

use crate::leaving::{Wake, Wakes};

/// After this many fruitless tries a waiter may no longer be overtaken.
const MISSES_ALLOWED: u8 = 2;

/// A place in a line. Grows with every `join` and never comes again, so order of tickets is order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Place<W> {
    waker: W,
    /// How much this waiter needs before it can go (1 for an item, n for n tokens).
    want: u64,
    misses: u8,
    /// It claims what is there although it has not been woken (a batch that lingers), so nobody may pass.
    claims_ahead: bool,
}

impl<W: Wake> Place<W> {
    fn bars_the_door(&self) -> bool {
        self.claims_ahead || self.misses >= MISSES_ALLOWED
    }

    /// Once woken it will be here as soon as it is scheduled (a task depends on its loop).
    fn is_coming(&self) -> bool {
        self.misses >= MISSES_ALLOWED && self.waker.is_thread()
    }
}

/// Those who wait for one thing, first come first served.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_core::wait::{Line, Parker, Wakes};
///
/// let parkers = [Arc::new(Parker::default()), Arc::new(Parker::default())];
/// let mut line = Line::default();
/// let first = line.join(Arc::clone(&parkers[0]), 1);
/// line.join(Arc::clone(&parkers[1]), 1);
///
/// // One is there to be taken: it is enough for the first, less what those who have been woken already may take.
/// let mut wakes = Wakes::none();
/// line.wake_while(&mut wakes, |want, claimed| claimed + want <= 1);
/// wakes.fire();
/// assert!(parkers[0].is_notified());
/// assert!(!parkers[1].is_notified());
///
/// // Whoever leaves lowers the claim, whether it took anything or not.
/// line.leave(first);
/// assert_eq!(line.claimed(), 0);
/// ```
#[derive(Debug)]
pub struct Line<W> {
    waiting: BTreeMap<Ticket, Place<W>>,
    woken: BTreeMap<Ticket, Place<W>>,
    /// Places whose owner is busy with something else (a signal handler in the middle of its wait): not to be woken.
    aside: BTreeMap<Ticket, Place<W>>,
    /// Sum of `want` over `woken`. It wraps: amounts can be large, and then nobody asks for it.
    claimed: u64,
    /// Places that bar the door.
    barring: usize,
    /// Those among them that are woken threads: about to come, so nobody behind is woken before they have.
    coming: usize,
    next: u64,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            woken: BTreeMap::new(),
            aside: BTreeMap::new(),
            claimed: 0,
            barring: 0,
            coming: 0,
            next: 0,
        }
    }
}

impl<W: Wake> Line<W> {
    /// Takes the last place. `want` is how much of the thing this waiter needs.
    pub fn join(&mut self, waker: W, want: u64) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, Place { waker, want, misses: 0, claims_ahead: false });
        ticket
    }

    /// Takes a place out of wherever it stands.
    fn remove(&mut self, ticket: Ticket) -> Option<Place<W>> {
        if let Some(place) = self.woken.remove(&ticket) {
            self.claimed = self.claimed.wrapping_sub(place.want);
            self.coming -= usize::from(place.is_coming());
            self.barring -= usize::from(place.bars_the_door());
            return Some(place);
        }
        if let Some(place) = self.waiting.remove(&ticket) {
            self.barring -= usize::from(place.bars_the_door());
            return Some(place);
        }
        self.aside.remove(&ticket)
    }

    fn wait(&mut self, ticket: Ticket, place: Place<W>) {
        self.barring += usize::from(place.bars_the_door());
        self.waiting.insert(ticket, place);
    }

    /// Gives the place up, served or not. `None` if it is gone already. The waker comes back to be dropped outside the section.
    #[must_use = "the waker may run foreign code when dropped: carry it out of the section"]
    pub fn leave(&mut self, ticket: Ticket) -> Option<W> {
        self.remove(ticket).map(|place| place.waker)
    }

    /// A woken waiter tried and found nothing: it waits again, in the same place. No effect on one that was not woken.
    pub fn miss(&mut self, ticket: Ticket) {
        if self.woken.contains_key(&ticket) {
            if let Some(mut place) = self.remove(ticket) {
                place.misses = place.misses.saturating_add(1);
                self.wait(ticket, place);
            }
        }
    }

    /// Changes how much a waiter needs, back to waiting if it was woken, and whether it claims what is there meanwhile.
    pub fn set_want(&mut self, ticket: Ticket, want: u64, claims_ahead: bool) {
        if let Some(place) = self.remove(ticket) {
            self.wait(ticket, Place { want, claims_ahead, ..place });
        }
    }

    /// The waiter cannot come for a while: nobody waits for it, and it is not woken. It keeps its place.
    pub fn step_aside(&mut self, ticket: Ticket) {
        if let Some(place) = self.remove(ticket) {
            self.aside.insert(ticket, place);
        }
    }

    /// Back in its place, if it had stepped aside.
    pub fn step_back(&mut self, ticket: Ticket) {
        if let Some(place) = self.aside.remove(&ticket) {
            self.wait(ticket, place);
        }
    }

    /// Wakes places in order while `may_go(want, claimed)` says so of the first that is not yet woken. `claimed` is what those
    /// already woken may take.
    pub fn wake_while(&mut self, wakes: &mut Wakes<W>, mut may_go: impl FnMut(u64, u64) -> bool) {
        while let Some(first) = self.waiting.first_entry() {
            let held_back = self.coming > 0 && !first.get().bars_the_door();
            if held_back || !may_go(first.get().want, self.claimed) {
                break;
            }
            let (ticket, place) = first.remove_entry();
            self.claimed = self.claimed.wrapping_add(place.want);
            self.coming += usize::from(place.is_coming());
            wakes.push(place.waker.share());
            self.woken.insert(ticket, place);
        }
    }

    /// How much those may take who have been woken.
    #[inline]
    pub fn claimed(&self) -> u64 {
        self.claimed
    }

    /// Who is to be woken next, and how much it needs.
    pub fn head(&self) -> Option<(Ticket, u64)> {
        self.waiting.first_key_value().map(|(&ticket, place)| (ticket, place.want))
    }

    /// Those who have not been woken, in order, and how much each needs.
    pub fn waiting(&self) -> impl Iterator<Item = (Ticket, u64)> {
        self.waiting.iter().map(|(&ticket, place)| (ticket, place.want))
    }

    /// Those after this one who have not been woken; `None`: all of them.
    pub fn waiting_after(&self, ticket: Option<Ticket>) -> impl Iterator<Item = (Ticket, u64)> {
        let after = ticket.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.waiting.range((after, std::ops::Bound::Unbounded)).map(|(&ticket, place)| (ticket, place.want))
    }

    /// How many have not been woken.
    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// Who would be served last.
    pub fn last(&self) -> Option<Ticket> {
        self.waiting.last_key_value().map(|(&ticket, _)| ticket)
    }

    pub fn is_waiting(&self, ticket: Ticket) -> bool {
        self.waiting.contains_key(&ticket)
    }

    /// Wakes this one, whoever stands before it.
    pub fn wake(&mut self, ticket: Ticket, wakes: &mut Wakes<W>) {
        if let Some(place) = self.waiting.remove(&ticket) {
            self.claimed = self.claimed.wrapping_add(place.want);
            self.coming += usize::from(place.is_coming());
            wakes.push(place.waker.share());
            self.woken.insert(ticket, place);
        }
    }

    /// Has this one look around, without having woken it in the line's sense: there is something new to wait for.
    pub fn nudge(&self, ticket: Ticket, wakes: &mut Wakes<W>) {
        if let Some(place) = self.waiting.get(&ticket) {
            wakes.push(place.waker.share());
        }
    }

    /// Wakes everybody and empties the line: whoever was in it has been served.
    pub fn release_all(&mut self, wakes: &mut Wakes<W>) {
        for place in std::mem::take(&mut self.woken).into_values().chain(std::mem::take(&mut self.aside).into_values()) {
            wakes.discard(place.waker);
        }
        for place in std::mem::take(&mut self.waiting).into_values() {
            wakes.push(place.waker);
        }
        self.claimed = 0;
        self.barring = 0;
        self.coming = 0;
    }

    /// Forgets everybody without touching them: after a fork they are the parent's threads, and their wakers its memory.
    pub fn forget(&mut self) {
        std::mem::forget(std::mem::take(&mut self.waiting));
        std::mem::forget(std::mem::take(&mut self.woken));
        std::mem::forget(std::mem::take(&mut self.aside));
        self.claimed = 0;
        self.barring = 0;
        self.coming = 0;
    }

    /// It has been woken, or claims what is there without that.
    #[inline]
    pub fn may_try(&self, ticket: Ticket) -> bool {
        self.woken.contains_key(&ticket) || self.claims_ahead(ticket)
    }

    pub fn claims_ahead(&self, ticket: Ticket) -> bool {
        self.waiting.get(&ticket).is_some_and(|place| place.claims_ahead)
    }

    pub fn contains(&self, ticket: Ticket) -> bool {
        [&self.woken, &self.waiting, &self.aside].iter().any(|places| places.contains_key(&ticket))
    }

    /// Nobody is waiting to be woken (some may be woken and on their way).
    #[inline]
    pub fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nobody is here at all.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All who are here have stepped aside.
    pub fn is_aside(&self) -> bool {
        self.waiting.is_empty() && self.woken.is_empty()
    }

    pub fn len(&self) -> usize {
        self.waiting.len() + self.woken.len() + self.aside.len()
    }

    /// Arrivals that can wait must join the end of the line, whatever is available.
    #[inline]
    pub fn door_is_shut(&self) -> bool {
        self.barring != 0
    }

    /// How much those may claim who came before this one and are awake, or claim what is there.
    pub fn claimed_before(&self, ticket: Ticket) -> u64 {
        let ahead = self.woken.range(..ticket).map(|(_, place)| place.want);
        let lingering = self.waiting.range(..ticket).filter(|(_, place)| place.claims_ahead).map(|(_, place)| place.want);
        ahead.chain(lingering).sum()
    }

    /// Every waker in the line, each once.
    pub fn wakers(&self) -> impl Iterator<Item = &W> {
        self.woken.values().chain(self.waiting.values()).chain(self.aside.values()).map(|place| &place.waker)
    }
}
