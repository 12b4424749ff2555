//! A queue with watermarks: where crossings are seen, and what leaves the section with them.
//!
//! # Algorithm
//! After each visit to the section [`State::settle_pressure`] looks how full the queue is (see `watermarks`); a queue without marks asks one
//! pointer instead, and its everyday put and get, which are no visits, not even that. Those of a queue with marks compare the number of items
//! with two others, which the last visit left: between them nothing is crossed. What a step does in its middle is not looked at:
//! a policy that takes an item out for another crosses nothing. While an operation works outside the section, or the mutex is locked,
//! nothing is looked at either: what ends that makes a visit.
//!
//! A crossing is counted, and the *herald* goes out with the wake-ups, behind them (see `crossings`).

use super::gauge::{Gauge, Pressure};
use super::state::{State, UNBOUNDED};
use super::watermarks::Fill;
use super::weight::Weights;
use crate::buffer::Buffer;
use crate::monitor::Monitor;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    fn fills(&self) -> (Fill, Option<Fill>) {
        let (buffer, limit) = self.contents();
        let bound = if limit == UNBOUNDED { u64::MAX } else { limit as u64 };
        let weights = self.parts.as_ref().map(|parts| parts.weights).filter(Weights::is_bounded);
        let weight = weights.map(|weights| Fill { used: weights.sum(), bound: weights.max() });
        (Fill { used: buffer.len() as u64, bound }, weight)
    }

    /// True if nothing is crossed when there are this many items now. (Where weights count the fast paths do not ask.)
    #[inline]
    pub(super) fn is_quiet_at(&self, items: usize) -> bool {
        self.gauge.as_ref().is_none_or(|gauge| gauge.marks.is_quiet_at(items as u64))
    }

    /// Called at the end of a visit to the section.
    #[cold]
    #[inline(never)]
    pub(super) fn settle_pressure(&mut self, wakes: &mut Wakes<W>) {
        if self.held_mutex.is_some() || !self.baton.is_free() {
            return;
        }
        let (items, weight) = self.fills();
        let State { gauge, wait_queues, shut, .. } = self;
        let Some(gauge) = gauge else { return };
        let crosses = gauge.marks.observe(items, weight, || wait_queues.clock.now());
        if crosses || gauge.was_shut != *shut {
            gauge.was_shut = *shut;
            gauge.tell(wakes);
        }
    }

    /// Sets the marks, or removes them. Returns the previous gauge, whose state is low from now on.
    pub fn watch(&mut self, gauge: Option<Box<Gauge<W>>>, wakes: &mut Wakes<W>) -> Option<Box<Gauge<W>>> {
        let mut old = std::mem::replace(&mut self.gauge, gauge);
        if let Some(old) = &mut old {
            if old.marks.give_up(self.wait_queues.clock.now()) {
                old.tell(wakes);
            }
        }
        if self.gauge.is_some() {
            self.buffer.leave_the_fast_path();
        }
        self.set_shut(self.shut);
        old
    }

    pub(super) fn pressure(&self) -> Pressure {
        let (items, weight) = self.fills();
        let level = items.level().max(weight.map_or(0.0, Fill::level));
        let crossed = self.gauge.as_ref().map(|gauge| gauge.marks.crossed(self.wait_queues.clock.now()));
        Pressure { level, crossed }
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// The current level of the queue.
    pub fn pressure(&self, proof: D::Proof<'_>) -> Pressure {
        self.section.with(proof, |state| state.pressure())
    }

    /// The receiver of crossings, if the queue has marks.
    pub fn herald(&self, proof: D::Proof<'_>) -> Option<W> {
        self.section.with(proof, |state| state.gauge.as_ref().map(|gauge| gauge.herald.share()))
    }

    /// Visits the herald, for the garbage collector.
    pub fn visit_herald(&self, proof: D::Proof<'_>, see: impl FnOnce(&W)) {
        self.section.with(proof, |state| {
            if let Some(gauge) = &state.gauge {
                see(&gauge.herald);
            }
        });
    }

    /// Removes the marks without a notification, for the garbage collector.
    pub fn unwatch(&self, proof: D::Proof<'_>) -> Option<Box<Gauge<W>>> {
        self.section.with(proof, |state| state.gauge.take())
    }
}
