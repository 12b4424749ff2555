//! Batches of gets from a queue that keeps notes of its items, see the head of `composed`.
//!
//! # Weight
//! A batch may have a bound on the weight of its items. It ends before the item that would exceed the bound, which stays in the queue: what
//! the next item weighs is known before it is taken. An item that is heavier alone makes a batch of its own. Such a batch lingers until all
//! items of the queue weigh that much together, because then it can only end.
//!
//! An item that would be dropped instead of being delivered is dropped, or left for the next getter to drop, and does not count.

use super::batch::{BatchBounds, BatchError, Linger};
use super::composed::Attempt;
use super::deadline::weight_of_next;
use super::policy::Lost;
use super::state::{GetError, Side, State};
use crate::buffer::Buffer;
use crate::clock::Nanos;
use crate::monitor::MonitorState;
use crate::shed::Shed;
use crate::wait::{Wake, Wakes};

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// Gets a batch of items that have not expired, as [`Queue::get_batch_or_wait`](super::Queue::get_batch_or_wait) does.
    pub fn get_many_composed(
        &mut self,
        bounds: BatchBounds,
        linger: Linger,
        mut attempt: Attempt<'_, W>,
        lost: &mut Lost<B::Item>,
        wakes: &mut Wakes<W>,
    ) -> Result<Vec<B::Item>, BatchError> {
        self.forget_after_fork();
        let now = self.wait_queues.clock.now();
        if !self.buffer_is_stashed() && (self.parts(now).is_err() || !self.lose_end(now, false, lost)) {
            self.let_go(&mut attempt, wakes);
            self.wake_all_eligible(wakes);
            return Err(BatchError::NoMemory);
        }
        let allowed = match &mut attempt {
            Attempt::Wait(waiter, waker) => self.batch_turn(bounds, linger, waiter, waker, wakes),
            _ if self.buffer_is_stashed() => Err(BatchError::Locked),
            attempt => {
                if self.may_get(attempt) {
                    Ok(bounds.max)
                } else {
                    Err(BatchError::Empty)
                }
            }
        };
        let batch = allowed.and_then(|allowed| {
            let mut batch = Vec::new();
            if batch.try_reserve_exact(allowed.min(self.buffer.len())).is_err() {
                return Err(BatchError::NoMemory);
            }
            let (any_weight, mut weighed) = (bounds.max_weight == u64::MAX, None);
            while batch.len() < allowed && (any_weight || self.next_fits(&mut weighed, bounds.max_weight, now, lost)) {
                match self.take(now, lost) {
                    Some(item) => batch.push(item),
                    None => break,
                }
            }
            if batch.is_empty() && lost.lacks_memory() { Err(BatchError::NoMemory) } else { Ok(batch) }
        });
        let result = match batch {
            Ok(batch) if batch.is_empty() => {
                let nothing = self.empty_error();
                if nothing != GetError::ShutDown {
                    self.enqueue_if_allowed(&mut attempt, Side::Get, 1, wakes);
                }
                Err(BatchError::from(nothing))
            }
            batch => batch,
        };
        self.wake_all_eligible(wakes);
        result
    }

    /// True if a batch may take the next item, whose weight is added to that of the batch. Also true if no item would be delivered.
    fn next_fits(&mut self, weighed: &mut Option<u64>, max_weight: u64, now: Nanos, lost: &mut Lost<B::Item>) -> bool {
        let weight = if self.buffer.is_keyed() { self.next_weight_keyed(now, lost) } else { self.next_weight(now) };
        weight.is_none_or(|weight| BatchBounds::weigh(weighed, weight, max_weight))
    }

    /// The weight of the item that [`take`](Self::take) would return now.
    fn next_weight(&self, now: Nanos) -> Option<u64> {
        let parts = self.parts.as_ref()?;
        let (newest, codel) = match parts.shed {
            Some(Shed::AdaptiveLifo(rule)) => (rule.is_standing(now), None),
            Some(Shed::Codel(rule)) => (false, Some(rule)),
            None => (self.buffer.is_stack(), None),
        };
        let mut notes = parts.notes.iter();
        let notes = std::iter::from_fn(|| if newest { notes.next_back() } else { notes.next() });
        weight_of_next(notes, parts.notes.len(), codel, now)
    }

    /// True if the items weigh so much together.
    pub(super) fn weighs_at_least(&self, weight: u64) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.weights.sum() >= weight)
    }

    /// Called for a batch that lingers until the items weigh so much together.
    pub(super) fn await_weight(&mut self, weight: u64) {
        if let Some(parts) = self.parts.as_mut().filter(|_| weight != u64::MAX) {
            parts.awaited_weight = Some(parts.awaited_weight.map_or(weight, |awaited| awaited.min(weight)));
        }
    }
}
