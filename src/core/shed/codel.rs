//! `Codel`: Controlled Delay, the rule of K. Nichols, V. Jacobson, A. McGregor and J. Iyengar, RFC 8289, for queues of any items.
//!
//! # Algorithm
//! The rule considers how long items have waited, not how many there are. If every item taken out in the course of an `interval` had waited
//! for `target` or longer, the queue is standing rather than absorbing a burst, and items are dropped: the first at once, the second after
//! `interval`, the third `interval / sqrt(2)` later, then `interval / sqrt(3)` and so on, each counted from the time at which the last drop
//! was due (section 5.3, the control law), until an item has waited for less than `target`. A new episode that begins soon after the last
//! one continues with the rate at which that one ended (section 5.5). Drops at such times make senders that react to losses slow down in
//! proportion. They do not help against senders that do not react, because the rate of drops grows only with the square root of time.
//!
//! | state        | an item has waited                         | next state                                          |
//! |--------------|--------------------------------------------|------------------------------------------------------|
//! | not dropping | less than `target`, or it is the last one  | not dropping; the interval begins anew               |
//! | not dropping | `target` or longer, for a whole interval   | dropping: it is dropped, the next one is delivered   |
//! | dropping     | `target` or longer, the next drop is due   | dropping: it is dropped, and the next one is judged  |
//! | dropping     | less than `target`, or it is the last one  | not dropping                                         |
//!
//! # Differences from the RFC
//! The backlog is counted in items, not in bytes, and the largest packet is one item: an item with nothing behind it is never dropped. Time
//! is in nanoseconds, rounded down.
//!
//! # What it does not do
//! It stores no items and reads no clock. One value serves one queue; a fair queue has one for each key (RFC 8290).

use crate::clock::Nanos;

/// After this number of intervals, the rate of the last episode of drops is forgotten (RFC 8289, section 5.5).
const REMEMBERED_INTERVALS: Nanos = 16;

/// The state of the rule, for one queue.
///
/// ```
/// use sluicegate_core::shed::Codel;
///
/// // Ten items that have waited for a second: the rule waits for an interval, then drops one.
/// let mut codel = Codel::new(5_000_000, 100_000_000);
/// let mut items: Vec<u32> = (0..10).rev().collect();
/// let mut take = |now: u64| {
///     let mut dropped = Vec::new();
///     let mut next = || items.pop().map(|item| (item, 1_000_000_000, items.is_empty()));
///     let item = codel.next(now, &mut next, &mut |item| dropped.push(item));
///     (item, dropped)
/// };
/// assert_eq!(take(0), (Some(0), vec![]));
/// assert_eq!(take(100_000_000), (Some(2), vec![1]));
/// assert_eq!(take(150_000_000), (Some(3), vec![]));
/// assert_eq!(take(200_000_000), (Some(5), vec![4]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codel {
    target: Nanos,
    interval: Nanos,
    /// The end of the interval in which every item so far has waited too long.
    first_above: Option<Nanos>,
    /// When the next item is to be dropped; after an episode, when it would have been.
    drop_next: Nanos,
    /// The number of drops in this episode.
    count: u64,
    /// The number of drops with which this episode began.
    last_count: u64,
    dropping: bool,
}

impl Codel {
    /// `target`: at least one item in every `interval` should have waited for less than this.
    pub fn new(target: Nanos, interval: Nanos) -> Self {
        Self { target, interval, first_above: None, drop_next: 0, count: 0, last_count: 0, dropping: false }
    }

    pub fn target(&self) -> Nanos {
        self.target
    }

    pub fn interval(&self) -> Nanos {
        self.interval
    }

    /// True if items are being dropped.
    pub fn is_dropping(&self) -> bool {
        self.dropping
    }

    /// The next item to be delivered. `take` takes out an item and returns how long it has waited, and whether it was the last one; `drop`
    /// receives each item that is not to be delivered. This is `deque` of RFC 8289, section 5.5.
    pub fn next<T>(
        &mut self,
        now: Nanos,
        take: &mut impl FnMut() -> Option<(T, Nanos, bool)>,
        drop: &mut impl FnMut(T),
    ) -> Option<T> {
        let (mut item, mut may_drop) = self.judge(now, take());
        if self.dropping {
            self.dropping = may_drop;
            while self.dropping && now >= self.drop_next {
                item.take().into_iter().for_each(&mut *drop);
                self.count += 1;
                (item, may_drop) = self.judge(now, take());
                if may_drop {
                    self.drop_next = self.control_law(self.drop_next, self.count);
                } else {
                    self.dropping = false;
                }
            }
        } else if may_drop {
            item.take().into_iter().for_each(&mut *drop);
            (item, _) = self.judge(now, take());
            self.dropping = true;
            let recent = self.count - self.last_count;
            let is_soon = now.saturating_sub(self.drop_next) < REMEMBERED_INTERVALS.saturating_mul(self.interval);
            self.count = if recent > 1 && is_soon { recent } else { 1 };
            self.drop_next = self.control_law(now, self.count);
            self.last_count = self.count;
        }
        item
    }

    /// `dodeque`: returns the item, and whether it may be dropped.
    fn judge<T>(&mut self, now: Nanos, taken: Option<(T, Nanos, bool)>) -> (Option<T>, bool) {
        let Some((item, waited, is_last)) = taken else {
            self.first_above = None;
            return (None, false);
        };
        if waited < self.target || is_last {
            self.first_above = None;
            return (Some(item), false);
        }
        if let Some(first_above) = self.first_above {
            return (Some(item), now >= first_above);
        }
        self.first_above = Some(now.saturating_add(self.interval));
        (Some(item), false)
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time, rounded down"
    )]
    fn control_law(&self, since: Nanos, count: u64) -> Nanos {
        since.saturating_add((self.interval as f64 / (count as f64).sqrt()) as Nanos)
    }
}
