//! `Weights`: how much the items of a queue weigh together, and how much they may.
//!
//! A queue may bound the sum beside the number of its items, or instead of it. A putter then waits for as much room as its item weighs, and later
//! putters wait behind it, however light their items are: otherwise they would fill the room that it waits for.

/// The sum and its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    sum: u64,
    max: u64,
}

impl Default for Weights {
    /// No bound.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Weights {
    /// `u64::MAX` for no bound.
    pub fn new(max: u64) -> Self {
        Self { sum: 0, max }
    }

    #[inline]
    pub fn is_bounded(&self) -> bool {
        self.max != u64::MAX
    }

    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// Another bound. A sum above it stays as it is.
    pub(super) fn set_max(&mut self, max: u64) {
        self.max = max;
    }

    /// How much more there is room for. Of a sum above the bound (changes by hand ignore that) nothing.
    pub fn room(&self) -> u64 {
        self.max.saturating_sub(self.sum)
    }

    /// Is there room for so much? For nothing there is while the sum is within its bound.
    pub fn fits(&self, weight: u64) -> bool {
        self.sum <= self.max && weight <= self.max - self.sum
    }

    /// How much has to go before there is room for so much. All that is above the bound, too.
    pub(super) fn excess_with(&self, weight: u64) -> u64 {
        self.sum.saturating_add(weight).saturating_sub(self.max)
    }

    pub fn add(&mut self, weight: u64) {
        self.sum = self.sum.saturating_add(weight);
    }

    pub fn remove(&mut self, weight: u64) {
        self.sum = self.sum.saturating_sub(weight);
    }

    /// They weigh so much.
    pub fn set(&mut self, sum: u64) {
        self.sum = sum;
    }

    /// Nothing is left.
    pub fn clear(&mut self) {
        self.sum = 0;
    }
}
