//! The items of one key in a fair queue: `Held`, the contents of a lane, and `NotedLane`, the same with a note for each item.
//!
//! # Algorithm
//! A lane is a plain queue, or sorted by rank. If notes are kept, it is in a box of its own, together with the other state of the
//! key: the time at which its first item expires, the total weight, and the state of the rule that sheds items. So a lane without notes
//! stays small, and nothing remains of a key without items.
//!
//! # What it does not do
//! It has no access to other lanes and does not know the order of turns.

use std::cell::RefCell;
use std::collections::{TryReserveError, VecDeque};

use super::sorted::Sorted;
use crate::clock::Nanos;
use crate::queue::{Deadlines, DropReason, Lost, NEVER, Note, weight_of_next};
use crate::room::Boxed;
use crate::shed::Codel;

/// One end of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The item that is to come out first.
    First,
    /// The item that is to come out last.
    Last,
}

/// Boxed, so that a lane of two items fits into a cache line, and made when it is first needed.
type Rest<T> = Option<Boxed<T>>;

/// The items of one key.
#[derive(Debug)]
pub(super) enum Held<T> {
    /// The first two items are stored separately, so that a lane that always has one, and sometimes another, allocates no memory. There is
    /// a second one only if there is a first one, and more only if there is a second one.
    Fifo {
        first: Option<T>,
        second: Option<T>,
        rest: Rest<VecDeque<T>>,
    },
    Ranked(Rest<Sorted<T>>),
    Noted(Boxed<NotedLane<T>>),
}

impl<T> Held<T> {
    pub(super) fn new(is_ranked: bool) -> Self {
        if is_ranked { Self::Ranked(None) } else { Self::Fifo { first: None, second: None, rest: None } }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Fifo { first, second, rest } => {
                let front = usize::from(first.is_some()) + usize::from(second.is_some());
                if front < 2 { front } else { front + rest.as_ref().map_or(0, |rest| rest.len()) }
            }
            Self::Ranked(items) => items.as_ref().map_or(0, |items| items.len()),
            Self::Noted(lane) => lane.items.len(),
        }
    }

    /// The part of the room that the items use: their weight, at least 1 for each.
    pub(super) fn load(&self) -> u64 {
        if let Self::Noted(lane) = self { lane.load } else { self.len() as u64 }
    }

    /// Adds an item. Call it only after `try_reserve` for this rank.
    pub(super) fn push(&mut self, rank: u64, item: T) {
        match self {
            Self::Fifo { first: place @ None, .. } | Self::Fifo { second: place @ None, .. } => *place = Some(item),
            Self::Fifo { rest: Some(rest), .. } => rest.push_back(item),
            Self::Ranked(Some(items)) => items.insert(rank, item),
            Self::Noted(lane) => lane.push(rank, item, Note::new(0, 0)),
            Self::Fifo { rest: None, .. } | Self::Ranked(None) => unreachable!("memory has been reserved"),
        }
    }

    /// Reserves memory for one more item of this rank.
    pub(super) fn try_reserve(&mut self, rank: u64) -> Result<(), TryReserveError> {
        match self {
            Self::Fifo { second: Some(_), rest, .. } => made(rest)?.try_reserve(1),
            Self::Fifo { .. } => Ok(()),
            Self::Noted(lane) => lane.items.try_reserve(rank),
            Self::Ranked(items) => made(items)?.try_reserve(rank),
        }
    }

    /// `weighed` is the total weight of all lanes.
    pub(super) fn pop(&mut self, end: End, weighed: &mut u64) -> Option<T> {
        match (self, end) {
            (Self::Fifo { first, second, rest }, End::First) => {
                let next = second.take();
                if next.is_some() {
                    *second = rest.as_mut().and_then(|rest| rest.pop_front());
                }
                std::mem::replace(first, next)
            }
            (Self::Fifo { first, second, rest }, End::Last) => {
                let last = rest.as_mut().and_then(|rest| rest.pop_back());
                last.or_else(|| second.take()).or_else(|| first.take())
            }
            (Self::Ranked(items), End::First) => items.as_mut()?.pop_first(),
            (Self::Ranked(items), End::Last) => items.as_mut()?.pop_last(),
            (Self::Noted(lane), end) => lane.pop(end, weighed).map(|(item, _)| item),
        }
    }

    /// Removes the first item for which `is_it` returns true.
    pub(super) fn remove(&mut self, mut is_it: impl FnMut(&T) -> bool, weighed: &mut u64) -> Option<T> {
        match self {
            Self::Fifo { first, .. } if first.as_ref().is_some_and(&mut is_it) => self.pop(End::First, weighed),
            Self::Fifo { second, rest, .. } => {
                if second.as_ref().is_some_and(&mut is_it) {
                    return std::mem::replace(second, rest.as_mut().and_then(|rest| rest.pop_front()));
                }
                let rest = rest.as_mut()?;
                rest.iter().position(is_it).and_then(|index| rest.remove(index))
            }
            Self::Ranked(items) => {
                let mut taken = None;
                items.as_mut()?.take_where(the_first(is_it), |item| taken = Some(item));
                taken
            }
            Self::Noted(lane) => lane.remove(is_it, weighed),
        }
    }

    pub(super) fn first(&self) -> Option<&T> {
        match self {
            Self::Fifo { first, .. } => first.as_ref(),
            Self::Ranked(items) => items.as_ref()?.first(),
            Self::Noted(lane) => lane.items.iter().next().map(|(item, _)| item),
        }
    }

    /// The rank of the item that would come out last.
    pub(super) fn last_rank(&self) -> Option<u64> {
        match self {
            Self::Ranked(items) => items.as_ref()?.last_rank(),
            Self::Noted(lane) => lane.items.last_rank(),
            Self::Fifo { .. } => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let (front, rest, ranked, noted) = match self {
            Self::Fifo { first, second, rest } => ([first.as_ref(), second.as_ref()], rest.as_deref(), None, None),
            Self::Ranked(items) => ([None; 2], None, items.as_deref(), None),
            Self::Noted(lane) => ([None; 2], None, None, Some(lane)),
        };
        let noted = noted.into_iter().flat_map(|lane| lane.items.iter().map(|(item, _)| item));
        front
            .into_iter()
            .flatten()
            .chain(rest.into_iter().flatten())
            .chain(ranked.into_iter().flat_map(Sorted::iter))
            .chain(noted)
    }

    /// See [`NotedLane::pay_for_next`].
    pub(super) fn pay_for_next(&mut self) -> f64 {
        self.noted_mut().map_or(0.0, NotedLane::pay_for_next)
    }

    /// Called when an item of this cost has been delivered.
    #[inline]
    pub(super) fn delivered(&mut self, cost: f64) {
        if let Self::Noted(lane) = self {
            lane.credit -= cost;
        }
    }

    pub(super) fn noted(&self) -> Option<&NotedLane<T>> {
        if let Self::Noted(lane) = self { Some(lane) } else { None }
    }

    pub(super) fn noted_mut(&mut self) -> Option<&mut NotedLane<T>> {
        if let Self::Noted(lane) = self { Some(lane) } else { None }
    }

    /// A lane with memory for the items of this one and their notes, which [`Held::keep_notes`] moves into it.
    pub(super) fn room_for_notes(&self, shed: Option<Codel>) -> Result<Boxed<NotedLane<T>>, TryReserveError> {
        let items = match self {
            Self::Ranked(Some(items)) => NotedItems::Ranked(Sorted::with_room_for(items)?),
            Self::Ranked(None) => NotedItems::Ranked(Sorted::default()),
            Self::Fifo { .. } | Self::Noted(_) => {
                let mut items = VecDeque::new();
                items.try_reserve(self.len())?;
                NotedItems::Fifo(items)
            }
        };
        Boxed::try_new(NotedLane::of(items, shed))
    }

    /// Keeps notes from now on, in a lane that was made for this one. Each item that is here gets this note, without an expiry.
    pub(super) fn keep_notes(&mut self, mut lane: Boxed<NotedLane<T>>, note: Note) {
        match (std::mem::replace(self, Self::new(false)), &mut lane.items) {
            (Self::Fifo { first, second, rest }, NotedItems::Fifo(items)) => {
                let old = first.into_iter().chain(second).chain(rest.into_iter().flat_map(Boxed::into_inner));
                items.extend(old.map(|item| (item, note)));
            }
            (Self::Ranked(Some(old)), NotedItems::Ranked(items)) => items.take_over(old.into_inner(), |item| (item, note)),
            (Self::Noted(old), _) => lane = old,
            _ => {}
        }
        lane.load = lane.items.len() as u64 * load_of(&note);
        lane.credit = 1.0; // so far each item costs 1
        (0..lane.items.len()).for_each(|_| lane.deadlines.add(note.end()));
        *self = Self::Noted(lane);
    }

    pub(super) fn allocated(&self) -> usize {
        match self {
            Self::Fifo { rest, .. } => rest.as_ref().map_or(0, |rest| rest.capacity()) * size_of::<T>(),
            Self::Ranked(items) => items.as_ref().map_or(0, |items| size_of::<Sorted<T>>() + items.allocated()),
            Self::Noted(lane) => size_of::<NotedLane<T>>() + lane.items.allocated(),
        }
    }
}

/// The part of the room that an item with this note uses.
pub(super) fn load_of(note: &Note) -> u64 {
    note.weight.max(1)
}

/// What the item with this note costs its lane, if items have weights.
#[expect(clippy::cast_precision_loss, reason = "the rounding is relative")]
pub(super) fn cost_of(note: &Note) -> f64 {
    load_of(note) as f64
}

/// What is in the box, which is made now if there was none.
fn made<T: Default>(boxed: &mut Rest<T>) -> Result<&mut T, TryReserveError> {
    if boxed.is_none() {
        *boxed = Some(Boxed::try_new(T::default())?);
    }
    Ok(boxed.as_mut().expect("made a line ago"))
}

/// True for the first element only for which `is_it` returns true. The elements after it are not looked at.
fn the_first<T>(mut is_it: impl FnMut(&T) -> bool) -> impl FnMut(&T) -> bool {
    let mut found = false;
    move |element| {
        !found && {
            found = is_it(element);
            found
        }
    }
}

/// Items with their notes.
#[derive(Debug)]
enum NotedItems<T> {
    Fifo(VecDeque<(T, Note)>),
    Ranked(Sorted<(T, Note)>),
}

impl<T> NotedItems<T> {
    fn len(&self) -> usize {
        match self {
            Self::Fifo(items) => items.len(),
            Self::Ranked(items) => items.len(),
        }
    }

    fn try_reserve(&mut self, rank: u64) -> Result<(), TryReserveError> {
        match self {
            Self::Fifo(items) => items.try_reserve(1),
            Self::Ranked(items) => items.try_reserve(rank),
        }
    }

    fn last_rank(&self) -> Option<u64> {
        if let Self::Ranked(items) = self { items.last_rank() } else { None }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &(T, Note)> {
        let (fifo, ranked) = match self {
            Self::Fifo(items) => (Some(items), None),
            Self::Ranked(items) => (None, Some(items)),
        };
        fifo.into_iter().flatten().chain(ranked.into_iter().flat_map(Sorted::iter))
    }

    fn pop(&mut self, end: End) -> Option<(T, Note)> {
        match (self, end) {
            (Self::Fifo(items), End::First) => items.pop_front(),
            (Self::Fifo(items), End::Last) => items.pop_back(),
            (Self::Ranked(items), End::First) => items.pop_first(),
            (Self::Ranked(items), End::Last) => items.pop_last(),
        }
    }

    /// Takes out the items for which `leaves` returns true, in order, and gives them to `taken`.
    fn take_where(&mut self, mut leaves: impl FnMut(&(T, Note)) -> bool, mut taken: impl FnMut((T, Note))) {
        match self {
            Self::Fifo(items) => {
                for _ in 0..items.len() {
                    let Some(item) = items.pop_front() else { break };
                    if leaves(&item) { taken(item) } else { items.push_back(item) }
                }
            }
            Self::Ranked(items) => items.take_where(leaves, taken),
        }
    }

    fn allocated(&self) -> usize {
        match self {
            Self::Fifo(items) => items.capacity() * size_of::<(T, Note)>(),
            Self::Ranked(items) => items.allocated(),
        }
    }
}

/// The items of one key, with a note for each.
#[derive(Debug)]
pub(super) struct NotedLane<T> {
    items: NotedItems<T>,
    /// See [`Held::load`].
    load: u64,
    deadlines: Deadlines,
    /// The part of the cost of the next items that the lane's tag includes, if items have weights. Below zero, what it still has to pay for
    /// the last item.
    credit: f64,
    /// The time under which the lane is in the heap of lanes. None of its items expires earlier.
    pub(super) due: Nanos,
    /// The rule by which this key's items are shed (RFC 8290: each queue has a state of its own).
    codel: Option<Codel>,
}

impl<T> NotedLane<T> {
    pub(super) fn new(is_ranked: bool, codel: Option<Codel>) -> Self {
        Self::of(if is_ranked { NotedItems::Ranked(Sorted::default()) } else { NotedItems::Fifo(VecDeque::new()) }, codel)
    }

    fn of(items: NotedItems<T>, codel: Option<Codel>) -> Self {
        Self { items, load: 0, deadlines: Deadlines::default(), credit: 0.0, due: NEVER, codel }
    }

    /// Adds the cost of the next item to the credit, as far as it is not included yet. Returns what has been added.
    pub(super) fn pay_for_next(&mut self) -> f64 {
        let cost = self.first().map_or(0.0, cost_of);
        let unpaid = (cost - self.credit).max(0.0);
        self.credit = self.credit.max(cost);
        unpaid
    }

    pub(super) fn push(&mut self, rank: u64, item: T, note: Note) {
        self.load += load_of(&note);
        self.deadlines.add(note.end());
        match &mut self.items {
            NotedItems::Fifo(items) => items.push_back((item, note)),
            NotedItems::Ranked(items) => items.insert(rank, (item, note)),
        }
    }

    /// Called when an item with this note has left.
    fn left(&mut self, note: &Note, weighed: &mut u64) {
        self.load -= load_of(note);
        *weighed -= note.weight;
    }

    fn pop(&mut self, end: End, weighed: &mut u64) -> Option<(T, Note)> {
        let (item, note) = self.items.pop(end)?;
        self.left(&note, weighed);
        Some((item, note))
    }

    fn remove(&mut self, is_it: impl FnMut(&T) -> bool, weighed: &mut u64) -> Option<T> {
        let (mut is_it, mut taken) = (the_first(is_it), None);
        self.items.take_where(|(item, _)| is_it(item), |item| taken = Some(item));
        let (item, note) = taken?;
        self.left(&note, weighed);
        Some(item)
    }

    /// The note of the item that is to come out first.
    pub(super) fn first(&self) -> Option<&Note> {
        self.items.iter().next().map(|(_, note)| note)
    }

    /// Drops the first items as long as they have expired. False if `lost` lacks memory for one.
    fn expire_first(&mut self, now: Nanos, weighed: &mut u64, lost: &mut Lost<T>) -> bool {
        while let Some(reason) = self.first().and_then(|note| note.lapse(now)) {
            if !lost.try_reserve(1) {
                return false;
            }
            let Some((item, _)) = self.pop(End::First, weighed) else { break };
            lost.push(item, reason, true);
        }
        true
    }

    /// Takes out the next item that has not expired. `None` if there is none, or `lost` lacks memory for one that has.
    fn pop_live(&mut self, now: Nanos, weighed: &mut u64, lost: &mut Lost<T>) -> Option<(T, Note)> {
        if self.expire_first(now, weighed, lost) { self.pop(End::First, weighed) } else { None }
    }

    /// Takes out the item that is to be delivered now. `None` if all items have been dropped, or `lost` lacks memory for one of them.
    pub(super) fn next(&mut self, now: Nanos, weighed: &mut u64, lost: &mut Lost<T>) -> Option<(T, Note)> {
        let Some(mut rule) = self.codel else { return self.pop_live(now, weighed, lost) };
        let (target, lost) = (rule.target(), RefCell::new(lost));
        let mut take = || {
            let lost = &mut **lost.borrow_mut();
            let may_be_shed = self.expire_first(now, weighed, lost) && self.first()?.waited(now) >= target;
            if may_be_shed && !lost.try_reserve(1) || lost.lacks_memory() {
                return None;
            }
            let (item, note) = self.pop(End::First, weighed)?;
            Some(((item, note), note.waited(now), self.items.len() == 0))
        };
        let taken = rule.next(now, &mut take, &mut |(item, _)| lost.borrow_mut().push(item, DropReason::Shed, true));
        self.codel = Some(rule);
        taken
    }

    /// The weight of the item that `next` would return now.
    pub(super) fn next_weight(&self, now: Nanos) -> Option<u64> {
        weight_of_next(self.items.iter().map(|(_, note)| note), self.items.len(), self.codel, now)
    }

    /// Drops every expired item. Returns the time at which the first of the others expires.
    pub(super) fn expire(&mut self, now: Nanos, weighed: &mut u64, lost: &mut Lost<T>) -> Nanos {
        let is_fifo = matches!(self.items, NotedItems::Fifo(_));
        if !self.expire_first(now, weighed, lost) {
            return self.due;
        }
        let first = self.first().map(Note::end);
        if !is_fifo || !self.deadlines.oldest_is(first) {
            let has_expired = |(_, note): &(T, Note)| note.lapse(now).is_some();
            if !lost.try_reserve(self.items.iter().filter(|&item| has_expired(item)).count()) {
                return self.due;
            }
            let Self { items, load, .. } = self;
            items.take_where(has_expired, |(item, note)| {
                *load -= load_of(&note);
                *weighed -= note.weight;
                lost.push(item, note.lapse(now).unwrap_or(DropReason::Expired), true);
            });
            self.deadlines.begin_again(self.items.iter().map(|(_, note)| note.end()));
        }
        self.deadlines.earliest()
    }

    /// The total weight of the `count` items at this end.
    pub(super) fn weight_of(&self, count: usize, end: End) -> u64 {
        let weights = self.items.iter().map(|(_, note)| note.weight);
        if end == End::First { weights.take(count).sum() } else { weights.rev().take(count).sum() }
    }

    /// The arrival time of the item that has waited longest.
    pub(super) fn oldest(&self) -> Option<Nanos> {
        let mut arrivals = self.items.iter().map(|(_, note)| note.arrived);
        if let NotedItems::Fifo(_) = self.items { arrivals.next() } else { arrivals.min() }
    }
}
