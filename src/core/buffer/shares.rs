//! The heap of the lanes of a fair queue by what they hold, the largest share first: which of them has to give up an item.
//!
//! # Algorithm
//! A binary heap of slots. Each lane knows its position in it, so that it is moved when its share has changed. It is built when it is first
//! needed, and dropped with the last item: a queue that drops nothing pays nothing for it.

use super::fair::{Fair, Lane};

impl<T> Fair<T> {
    pub(super) fn share(&self, slot: u32) -> f64 {
        Self::share_of(&self.lanes, slot)
    }

    fn share_of(lanes: &[Lane<T>], slot: u32) -> f64 {
        let lane = &lanes[slot as usize];
        lane.rule().share(lane.items.len(), lane.items.load())
    }

    /// The lane that uses most of the common places for its weight, if any does. `None` if there is no memory for the heap.
    pub(super) fn largest(&mut self) -> Option<u32> {
        if self.largest.is_none() {
            let mut heap = Vec::new();
            heap.try_reserve(self.lanes.len()).ok()?;
            for (lane, slot) in self.lanes.iter_mut().zip(0..).filter(|(lane, _)| lane.has_turn()) {
                lane.set_at(heap.len());
                heap.push(slot);
            }
            for index in (0..heap.len() / 2).rev() {
                Self::sink(&mut self.lanes, &mut heap, index);
            }
            self.largest = Some(heap);
        }
        let first = *self.largest.as_ref()?.first()?;
        (self.share(first) > 0.0).then_some(first)
    }

    /// Moves a lane to its position in the heap after its share has changed.
    #[inline]
    pub(super) fn sift(&mut self, slot: u32) {
        if self.largest.is_some() {
            self.sift_in_heap(slot);
        }
    }

    fn sift_in_heap(&mut self, slot: u32) {
        let Some(heap) = &mut self.largest else { return };
        let index = self.lanes[slot as usize].at();
        if index < heap.len() {
            let index = Self::rise(&mut self.lanes, heap, index);
            Self::sink(&mut self.lanes, heap, index);
        }
    }

    pub(super) fn leave_heap(&mut self, slot: u32) {
        let Some(heap) = &mut self.largest else { return };
        let index = self.lanes[slot as usize].at();
        heap.swap_remove(index);
        if let Some(&moved) = heap.get(index) {
            self.lanes[moved as usize].set_at(index);
            self.sift(moved);
        }
    }

    fn swap(lanes: &mut [Lane<T>], heap: &mut [u32], one: usize, other: usize) {
        heap.swap(one, other);
        for index in [one, other] {
            lanes[heap[index] as usize].set_at(index);
        }
    }

    fn rise(lanes: &mut [Lane<T>], heap: &mut [u32], mut index: usize) -> usize {
        while index > 0 {
            let parent = (index - 1) / 2;
            if Self::share_of(lanes, heap[index]) <= Self::share_of(lanes, heap[parent]) {
                break;
            }
            Self::swap(lanes, heap, index, parent);
            index = parent;
        }
        index
    }

    fn sink(lanes: &mut [Lane<T>], heap: &mut [u32], mut index: usize) {
        loop {
            let share = |index: usize| heap.get(index).map_or(-1.0, |&slot| Self::share_of(lanes, slot));
            let (left, right) = (2 * index + 1, 2 * index + 2);
            let child = if share(right) > share(left) { right } else { left };
            if share(child) <= share(index) {
                return;
            }
            Self::swap(lanes, heap, index, child);
            index = child;
        }
    }
}
