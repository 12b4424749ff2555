//! `Apart`: the future bookings of a bucket, and where another amount fits between them.
//!
//! A booking of `n` for the moment `at` moves the bucket's `tat` (see `gcra`) to `max(tat, start) + n`, where `start` is the position of
//! `at`. It fits only if `tat` is at most its `limit` before that. With thousands of bookings, the question "where does one more fit?" must
//! not look at each of them. Let `P` be the sum of the amounts of all bookings before a given booking. Measured relative to `P`, the values
//! of the bookings do not depend on each other: before a booking, `tat - P` is the maximum of the current `tat` and of all earlier
//! `start - P`; and an amount inserted before it may raise `tat - P` up to the minimum of its own and all later `limit - P`.
//!
//! # Algorithm
//! A [`Treap`], ordered by moment and number. Each subtree stores the sum of its amounts, its highest `start - P` and its lowest
//! `limit - P`. A new booking lowers both for all later bookings in one step, by an addition that is propagated lazily. Every operation
//! takes logarithmic time.
//!
//! Where bookings follow each other as fast as the rate allows, no gap between them has room, and there are as many gaps as bookings. `n` fits
//! into the gap before a booking if just before it (at `end`) `tat` has gone down far enough: if `end - P` is at least the highest
//! `start - P` so far, less what `n` leaves of the burst. So each subtree also stores its highest `end - P`, the one of its first booking, and
//! an upper bound for the `end - P` of the others less the highest `start - P` before them in the subtree (`room`). Gaps without room are
//! passed over by subtrees.

use std::collections::TryReserveError;

use super::gcra::{RateState, Rule};
use super::treap::{Treap, Value};
use super::units::Units;
use crate::clock::Nanos;

#[derive(Clone, Copy, Debug)]
pub(super) struct FutureBooking {
    pub(super) at: Nanos,
    pub(super) number: u64,
    pub(super) n: Units,
}

/// The sort key of a booking: its moment and number.
pub(super) type Key = (Nanos, u64);

impl FutureBooking {
    fn key(&self) -> Key {
        (self.at, self.number)
    }

    fn start(&self, rate_state: &RateState) -> u64 {
        rate_state.ceil(self.at)
    }

    /// The largest `tat` with which the booking still fits.
    fn limit(&self, rate_state: &RateState) -> i128 {
        let reached = i128::from(rate_state.floor(self.at));
        match rate_state.rule {
            Rule::Burst => reached + i128::from(rate_state.burst) - i128::from(self.n),
            Rule::Spaced => reached,
        }
    }
}

/// The highest position to which bookings move `tat`, relative to the sum of the earlier amounts.
#[derive(Clone, Copy, Debug)]
struct Peak {
    position: i128,
    /// The `start` of the booking that determines the position.
    start: u64,
}

impl Peak {
    /// Of equal positions, the earlier booking's.
    fn or(self, later: Self) -> Self {
        if later.position > self.position { later } else { self }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    booking: FutureBooking,
    peak: Peak,
    limit: i128,
    /// The position just before its moment.
    end: i128,
    /// The sum of the amounts in the subtree.
    sum: i128,
    highest: Peak,
    tightest: i128,
    first_end: i128,
    last_end: i128,
    room: i128,
    /// To be added to the positions in both subtrees.
    add: i128,
}

impl Value for Entry {
    type Addition = i128;

    fn add(&mut self, more: &i128) {
        self.peak.position += more;
        self.highest.position += more;
        self.limit += more;
        self.tightest += more;
        self.end += more;
        self.first_end += more;
        self.last_end += more;
        self.add += more;
    }

    fn take_pending(&mut self) -> Option<i128> {
        Some(std::mem::take(&mut self.add)).filter(|&add| add != 0)
    }

    fn summarize(&mut self, left: Option<&Self>, right: Option<&Self>) {
        (self.sum, self.highest, self.tightest) = (i128::from(self.booking.n), self.peak, self.limit);
        (self.first_end, self.last_end, self.room) = (self.end, self.end, i128::MIN);
        if let Some(left) = left {
            (self.sum, self.highest) = (self.sum + left.sum, left.highest.or(self.highest));
            self.room = left.room.max(self.end - left.highest.position);
            (self.first_end, self.last_end) = (left.first_end, left.last_end.max(self.end));
        }
        if let Some(right) = right {
            let high = self.highest.position;
            self.room = self.room.max(right.first_end - high).max(right.room.min(right.last_end - high));
            self.last_end = self.last_end.max(right.last_end);
            (self.sum, self.highest) = (self.sum + right.sum, self.highest.or(right.highest));
        }
        self.tightest = left.into_iter().chain(right).map(|child| child.tightest).fold(self.tightest, i128::min);
    }
}

/// A summary of the bookings up to some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// The sum of the amounts.
    pub(super) sum: i128,
    /// The highest position to which they move `tat`, without the sum, and the `start` that determines it. `None` without bookings.
    pub(super) highest: Option<(i128, u64)>,
}

#[derive(Debug)]
pub(super) struct Apart(Treap<Entry>);

impl Apart {
    pub(super) fn new() -> Self {
        Self(Treap::new())
    }

    pub(super) fn try_clone(&self) -> Result<Self, TryReserveError> {
        self.0.try_clone().map(Self)
    }

    /// Reserves memory for one more booking.
    pub(super) fn try_reserve(&mut self) -> Result<(), TryReserveError> {
        self.0.try_reserve()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of all amounts.
    pub(super) fn sum(&self) -> i128 {
        self.sum_of(self.0.root)
    }

    fn sum_of(&self, tree: u32) -> i128 {
        self.0.top(tree).map_or(0, |node| node.sum)
    }

    /// Splits a tree into the bookings before `key` and the others.
    fn split(&mut self, tree: u32, key: Key) -> (u32, u32) {
        self.0.split(tree, &|entry: &Entry| entry.booking.key() < key)
    }

    pub(super) fn insert(&mut self, booking: FutureBooking, rate_state: &RateState) {
        let (before, after) = self.split(self.0.root, booking.key());
        let earlier = self.sum_of(before);
        let start = booking.start(rate_state);
        let peak = Peak { position: i128::from(start) - earlier, start };
        let limit = booking.limit(rate_state) - earlier;
        let end = i128::from(rate_state.floor(booking.at.saturating_sub(1))) - earlier;
        let mut entry = Entry {
            booking,
            peak,
            limit,
            end,
            sum: 0,
            highest: peak,
            tightest: limit,
            first_end: end,
            last_end: end,
            room: i128::MIN,
            add: 0,
        };
        entry.summarize(None, None);
        self.0.add(after, &-i128::from(booking.n));
        let new = self.0.make(entry);
        let rest = self.0.merge(before, new);
        self.0.root = self.0.merge(rest, after);
    }

    /// Removes a booking, or reduces it to `keep`.
    pub(super) fn cut(&mut self, key: Key, keep: Units, rate_state: &RateState) {
        let (before, rest) = self.split(self.0.root, key);
        let (same, after) = self.split(rest, (key.0, key.1.saturating_add(1)));
        let found = self.0.top(same).map(|node| node.booking);
        if let Some(booking) = found {
            self.0.free(same);
            self.0.add(after, &i128::from(booking.n));
        }
        self.0.root = self.0.merge(before, after);
        if let Some(booking) = found.filter(|_| keep > 0) {
            self.insert(FutureBooking { n: keep, ..booking }, rate_state);
        }
    }

    pub(super) fn first(&self) -> Option<FutureBooking> {
        self.0.first().map(|entry| entry.booking)
    }

    /// The moment of the last booking.
    pub(super) fn last(&self) -> Option<Nanos> {
        self.0.around(|_| true).0.map(|entry| entry.booking.at)
    }

    /// Inserts all bookings again, because positions are counted from another origin. They take the memory that they had.
    pub(super) fn rebuild(&mut self, rate_state: &RateState) {
        let mut old = self.0.detach();
        while let Some((Entry { booking, .. }, rest)) = self.0.take_first(old) {
            self.insert(booking, rate_state);
            old = rest;
        }
    }

    /// The summary of the bookings up to and including `at`.
    pub(super) fn until(&self, at: Nanos) -> Before {
        let (mut sum, mut highest, mut tree, mut add) = (0, None::<Peak>, self.0.root, 0);
        while let Some(node) = self.0.top(tree) {
            if node.booking.at > at {
                (tree, add) = (node.left, add + node.add);
                continue;
            }
            let below = add + node.add;
            let left = self.0.top(node.left).map(|left| {
                sum += left.sum;
                Peak { position: left.highest.position + below, ..left.highest }
            });
            sum += i128::from(node.booking.n);
            let own = Peak { position: node.peak.position + add, ..node.peak };
            for peak in left.into_iter().chain([own]) {
                highest = Some(highest.map_or(peak, |highest| highest.or(peak)));
            }
            (tree, add) = (node.right, below);
        }
        Before { sum, highest: highest.map(|highest| (highest.position, highest.start)) }
    }

    /// The moment of the first booking after `at`.
    pub(super) fn next_after(&self, at: Nanos) -> Option<Nanos> {
        self.0.around(|entry| entry.booking.at <= at).1.map(|entry| entry.booking.at)
    }

    /// The moment of the last booking after `at` that would no longer fit if an amount were inserted right after `at` that moves `tat`,
    /// relative to the sum of the earlier bookings, to `position`. Two kinds of bookings are left out: those that do not fit anyway, after
    /// a change of the rate, and those before which `tat` is as far already.
    pub(super) fn last_spoilt(&self, at: Nanos, position: i128) -> Option<Nanos> {
        let until = self.first_high(self.0.root, at, position, 0).unwrap_or((Nanos::MAX, u64::MAX));
        self.find_tight(self.0.root, at, until, position, 0)
    }

    /// The moment of the booking before the first gap after `at` that may have room for an amount, or that of the last booking. `high` is the
    /// highest `start - P` so far, and `left` is what the amount leaves of the burst.
    pub(super) fn before_gap(&self, at: Nanos, mut high: i128, left: i128) -> Option<Nanos> {
        let gap = self.first_gap(self.0.root, at, &mut high, left, 0);
        self.0.around(|entry| gap.is_none_or(|gap| entry.booking.key() < gap)).0.map(|entry| entry.booking.at)
    }

    /// The key of the booking after that gap.
    fn first_gap(&self, tree: u32, at: Nanos, high: &mut i128, left: i128, add: i128) -> Option<Key> {
        let node = self.0.top(tree)?;
        let (least, below) = (*high - left, add + node.add);
        if node.booking.at <= at {
            return self.first_gap(node.right, at, high, left, below);
        }
        let has_room = node.last_end + add >= least && (node.first_end + add >= least || node.room >= -left);
        if !has_room {
            *high = (*high).max(node.highest.position + add);
            return None;
        }
        if let Some(found) = self.first_gap(node.left, at, high, left, below) {
            return Some(found);
        }
        if node.end + add >= *high - left {
            return Some(node.booking.key());
        }
        *high = (*high).max(node.peak.position + add);
        self.first_gap(node.right, at, high, left, below)
    }

    /// The key of the first booking after `at` that moves `tat` to at least `position`.
    fn first_high(&self, tree: u32, at: Nanos, position: i128, add: i128) -> Option<Key> {
        let node = self.0.top(tree).filter(|node| node.highest.position + add >= position)?;
        let below = add + node.add;
        if node.booking.at <= at {
            return self.first_high(node.right, at, position, below);
        }
        if let Some(found) = self.first_high(node.left, at, position, below) {
            return Some(found);
        }
        if node.peak.position + add >= position {
            return Some(node.booking.key());
        }
        self.first_high(node.right, at, position, below)
    }

    /// The moment of the last booking after `at` and up to `until` that requires `tat` to be less than `position`.
    fn find_tight(&self, tree: u32, at: Nanos, until: Key, position: i128, add: i128) -> Option<Nanos> {
        let node = self.0.top(tree).filter(|node| node.tightest + add < position)?;
        let below = add + node.add;
        if node.booking.key() > until {
            return self.find_tight(node.left, at, until, position, below);
        }
        if let Some(found) = self.find_tight(node.right, at, until, position, below) {
            return Some(found);
        }
        if node.booking.at <= at {
            return None;
        }
        if node.limit + add < position {
            return Some(node.booking.at);
        }
        self.find_tight(node.left, at, until, position, below)
    }
}
