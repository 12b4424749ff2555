//! `Lanes`: for each lane, the number below which every delivery has been settled.
//!
//! A lane is a part of the stream with its own count, such as a partition of a log. A channel without lanes has one lane. An item gets its
//! number in the lane when it is handed out for the first time, so the numbers follow the order of sending.
//!
//! | a lane is | event                                       | next     | also                                              |
//! |-----------|---------------------------------------------|----------|---------------------------------------------------|
//! | open      | the item numbered `through` is settled      | open     | `through` grows, past items that were settled ahead |
//! | open      | `stop`                                      | stopping | its buffered items are given up, unsettled          |
//! | stopping  | an item of it is sent, or requeued          | stopping | the item is given up, unsettled                   |
//! | stopping  | its last unacked delivery is settled, or `finish` | open | counts from 0 again; `through` is kept for the caller of `stop` |
//!
//! Whether an item above `through` has been settled is one bit. Memory for it is reserved when the item is handed out, and so is what a report of
//! the lane takes: settling an item needs none.
//!
//! An item that is given up unsettled keeps `through` at or below its number, so nothing else has to be recorded about it.

use std::collections::{TryReserveError, VecDeque};

/// The number of bits in a word.
const BITS: u64 = 64;

/// Below so many words memory is not worth giving back.
const KEEP: usize = 512;

/// The number of a lane. The owner of the channel numbers its lanes from 0.
pub type Lane = u32;

#[derive(Debug, Default)]
struct LaneCount {
    /// The number of items that have been numbered.
    next: u64,
    /// Everything below it is settled.
    through: u64,
    /// For each item from `through` on a bit, which is set if it is settled. The first bit of the first word is that of a number that `BITS` divides.
    ahead: VecDeque<u64>,
    /// The number of unacked deliveries.
    out: usize,
    stopping: bool,
    /// The number of times it has been stopped, and `through` at the end of the last stop.
    stops: u64,
    stopped_at: u64,
    /// True if `through` has not been reported yet.
    is_new: bool,
}

impl LaneCount {
    /// Which word has the bit of an item that is not below `through`.
    fn word(&self, number: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "there is memory for that many words")]
        let word = (number / BITS - self.through / BITS) as usize;
        word
    }

    /// Memory for the next item's bit.
    fn try_reserve(&mut self) -> Result<(), TryReserveError> {
        if self.word(self.next) >= self.ahead.len() {
            self.ahead.try_reserve(1)?;
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        // One at most: each number before it has its bit.
        if self.word(number) >= self.ahead.len() {
            debug_assert!(self.ahead.len() < self.ahead.capacity(), "it has been reserved");
            self.ahead.push_back(0);
        }
        self.next += 1;
        number
    }

    /// Records that an item is settled. True if `through` has grown.
    fn settle(&mut self, number: u64) -> bool {
        let word = self.word(number);
        self.ahead[word] |= 1 << (number % BITS);
        let before = self.through;
        while let Some(&word) = self.ahead.front() {
            let bit = self.through % BITS;
            let run = u64::from((word >> bit).trailing_ones());
            self.through += run;
            if bit + run < BITS {
                break;
            }
            self.ahead.pop_front();
        }
        if self.ahead.is_empty() && self.ahead.capacity() > KEEP {
            self.ahead = VecDeque::new();
        }
        self.through > before
    }
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
pub(super) struct Lanes {
    counts: Vec<LaneCount>,
    /// True if progress is to be reported.
    reports: bool,
    /// Lanes whose progress has not been reported; for a lane that has started again since, with the count that is still to be reported.
    news: VecDeque<(Lane, Option<u64>)>,
    /// True while a thread is reporting.
    is_reporting: bool,
    /// True if a stop may have ended.
    pub(super) has_stopped: bool,
    is_closed: bool,
}

impl Lanes {
    pub(super) fn new(reports: bool) -> Self {
        Self { counts: Vec::new(), reports, news: VecDeque::new(), is_reporting: false, has_stopped: false, is_closed: false }
    }

    fn count(&mut self, lane: Lane) -> &mut LaneCount {
        let index = lane as usize;
        if index >= self.counts.len() {
            self.counts.resize_with(index + 1, LaneCount::default); // for a stop: an item's lane is there
        }
        &mut self.counts[index]
    }

    /// Memory for an item of this lane that is handed out for the first time.
    ///
    /// # Errors
    /// There is none. Nothing has changed.
    #[inline]
    pub(super) fn try_reserve(&mut self, lane: Lane) -> Result<(), TryReserveError> {
        let index = lane as usize;
        if index >= self.counts.len() {
            self.counts.try_reserve(index + 1 - self.counts.len())?;
            self.counts.resize_with(index + 1, LaneCount::default);
        }
        if self.reports {
            // Each lane is new at most once until it gets a further item.
            self.news.try_reserve(self.counts.len())?;
        }
        self.counts[index].try_reserve()
    }

    /// Numbers an item that is handed out for the first time.
    pub(super) fn number(&mut self, lane: Lane) -> u64 {
        self.count(lane).number()
    }

    pub(super) fn is_stopping(&self, lane: Lane) -> bool {
        self.counts.get(lane as usize).is_some_and(|count| count.stopping)
    }

    pub(super) fn goes_out(&mut self, lane: Lane) {
        self.count(lane).out += 1;
    }

    /// Records that a delivery is no longer unacked. Has to be called after the item has been counted, because this may end a stop of its lane.
    pub(super) fn is_back(&mut self, lane: Lane) {
        let count = self.count(lane);
        count.out -= 1;
        if count.stopping && count.out == 0 {
            self.finish(lane);
        }
    }

    pub(super) fn settled(&mut self, lane: Lane, number: u64) {
        let reports = self.reports;
        let count = self.count(lane);
        if count.settle(number) && reports && !std::mem::replace(&mut count.is_new, true) {
            debug_assert!(self.news.len() < self.news.capacity(), "it has been reserved");
            self.news.push_back((lane, None));
        }
    }

    pub(super) fn through(&self, lane: Lane) -> u64 {
        self.counts.get(lane as usize).map_or(0, |count| count.through)
    }

    /// The sum of `through` over all lanes.
    pub(super) fn through_together(&self) -> u64 {
        self.counts.iter().map(|count| count.through).sum()
    }

    /// Begins a stop; returns the number of stops before it, for [`Lanes::stopped_at`].
    pub(super) fn stop(&mut self, lane: Lane) -> u64 {
        let count = self.count(lane);
        count.stopping = true;
        let stops = count.stops;
        if count.out == 0 {
            self.finish(lane);
        }
        stops
    }

    /// The `through` of a lane at the end of the stop for which `stop` returned `stops`; `None` if that has not ended.
    pub(super) fn stopped_at(&self, lane: Lane, stops: u64) -> Option<u64> {
        self.counts.get(lane as usize).filter(|count| count.stops != stops).map(|count| count.stopped_at)
    }

    /// Ends a stop, even if there are unacked deliveries.
    pub(super) fn finish(&mut self, lane: Lane) {
        let begins_anew = !self.is_closed;
        let count = self.count(lane);
        let (stops, through) = (count.stops + 1, count.through);
        if begins_anew {
            let is_new = std::mem::take(count).is_new;
            if is_new {
                self.news.iter_mut().filter(|news| **news == (lane, None)).for_each(|news| news.1 = Some(through));
            }
        }
        let count = self.count(lane);
        (count.stops, count.stopped_at, count.stopping, count.out) = (stops, through, false, 0);
        self.has_stopped = true;
    }

    /// Called when nothing more is sent: from then on no lane starts again from 0 when it is stopped.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Called when no lane has unacked deliveries any more: ends all stops.
    pub(super) fn end(&mut self) {
        for count in &mut self.counts {
            count.out = 0;
            if std::mem::take(&mut count.stopping) {
                (count.stops, count.stopped_at) = (count.stops + 1, count.through);
            }
        }
        self.has_stopped = true;
    }

    /// True if there is something to report.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// The next progress to be reported. At most one thread reports at a time: a thread that has got something calls this again, with `again`,
    /// until it gets `None`.
    pub(super) fn report(&mut self, again: bool) -> Option<(Lane, u64)> {
        if self.is_reporting && !again {
            return None;
        }
        let next = self.news.pop_front();
        self.is_reporting = next.is_some();
        let (lane, through) = next?;
        Some((
            lane,
            through.unwrap_or_else(|| {
                let count = self.count(lane);
                count.is_new = false;
                count.through
            }),
        ))
    }

    /// In the child of a fork: forgets the thread that was reporting, which is the parent's.
    pub(super) fn forget_reporter(&mut self) {
        self.is_reporting = false;
    }
}
