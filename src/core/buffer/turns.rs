//! The order of lanes in a fair queue: by tag, and of equal tags by the time of assignment.
//!
//! # Algorithm
//! A tag is virtual time + 1 / weight, and virtual time never goes back. So the tags of lanes of one weight are assigned in increasing
//! order: each weight has a plain queue, and only the first lanes of these queues are compared, in a heap. There are few weights, usually
//! one.
//!
//! If items have weights, the step from one tag to the next depends on the item too, and the tags of one weight are not in order. Then all
//! lanes are in one heap: [`Turns::any_order`].
//!
//! # What it does not do
//! It does not remove a lane from the middle: a lane that is no longer needed stays until it is the first.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap, TryReserveError, VecDeque};

use crate::room::{shrink_ring, shrink_vec};

/// The bits of a tag, whose order is that of the tags because these are not negative, and the number of the assignment.
type Tag = (u64, u64);

/// The number of weights without lanes that are remembered.
const KEEP: usize = 16;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// A queue for each weight. Some empty ones are kept.
    classes: Vec<VecDeque<(Tag, u32)>>,
    numbers: HashMap<u64, u32>,
    free: Vec<u32>,
    /// The first lane of each queue that is not empty, with its weight.
    firsts: BinaryHeap<Reverse<(Tag, u32, u64)>>,
    /// All lanes, if their tags may be assigned in any order. Otherwise `None`, and they are in `classes`.
    heap: Option<BinaryHeap<Reverse<(Tag, u32)>>>,
    /// The number of tags assigned so far.
    tagged: u64,
}

impl Turns {
    /// The first lane, with its tag.
    pub(super) fn first(&self) -> Option<(f64, u32)> {
        if let Some(heap) = &self.heap {
            return heap.peek().map(|&Reverse(((tag, _), slot))| (f64::from_bits(tag), slot));
        }
        let &Reverse((_, class, _)) = self.firsts.peek()?;
        self.classes[class as usize].front().map(|&((tag, _), slot)| (f64::from_bits(tag), slot))
    }

    /// Reserves memory for one more lane of this weight.
    pub(super) fn try_reserve(&mut self, weight: f64) -> Result<(), TryReserveError> {
        if let Some(heap) = &mut self.heap {
            return heap.try_reserve(1);
        }
        self.firsts.try_reserve(1)?;
        if let Some(class) = self.class_of(weight.to_bits()) {
            return self.classes[class as usize].try_reserve(1);
        }
        let mut queue = self.free.last().map_or_else(VecDeque::new, |&class| std::mem::take(&mut self.classes[class as usize]));
        queue.try_reserve(1)?;
        self.numbers.try_reserve(1)?;
        self.classes.try_reserve(1)?;
        self.free.try_reserve(self.classes.len() + 1 - self.free.len())?;
        let class = self.add_class(weight.to_bits());
        self.classes[class as usize] = queue;
        Ok(())
    }

    /// True if tags may be assigned in any order.
    #[inline]
    pub(super) fn in_any_order(&self) -> bool {
        self.heap.is_some()
    }

    /// From now on tags may be assigned in any order. On an error nothing has changed.
    pub(super) fn any_order(&mut self) -> Result<(), TryReserveError> {
        if self.heap.is_none() {
            let mut heap = BinaryHeap::new();
            heap.try_reserve(self.classes.iter().map(VecDeque::len).sum())?;
            heap.extend(self.classes.drain(..).flatten().map(Reverse));
            *self = Self { heap: Some(heap), tagged: self.tagged, ..Self::default() };
        }
        Ok(())
    }

    /// No lanes, in the same kind of order.
    pub(super) fn another(&self) -> Self {
        Self { heap: self.heap.as_ref().map(|_| BinaryHeap::new()), ..Self::default() }
    }

    /// Adds a lane. Call it only after `try_reserve`, or for a lane that has just been the first. The tag is the virtual time + 1 / weight,
    /// unless tags may be assigned in any order.
    pub(super) fn push(&mut self, tag: f64, weight: f64, slot: u32) {
        self.tagged += 1;
        let tag = (tag.to_bits(), self.tagged);
        if let Some(heap) = &mut self.heap {
            return heap.push(Reverse((tag, slot)));
        }
        let weight = weight.to_bits();
        let class = self.class_of(weight).unwrap_or_else(|| self.add_class(weight));
        let queue = &mut self.classes[class as usize];
        queue.push_back((tag, slot));
        if queue.len() == 1 {
            self.firsts.push(Reverse((tag, class, weight)));
        }
    }

    /// Removes the first lane, and adds it again with the tag of its next turn: as `pop` and `push`, in one step. Returns the tag that it had.
    /// `None`: nothing has changed, because its weight has, or tags may be assigned in any order.
    #[inline]
    pub(super) fn pass_on(&mut self, weight: f64) -> Option<f64> {
        let mut first = self.firsts.peek_mut().filter(|first| first.0.2 == weight.to_bits())?;
        let Reverse((tag, class, bits)) = *first;
        let queue = &mut self.classes[class as usize];
        let (_, slot) = queue.pop_front()?;
        let now = f64::from_bits(tag.0);
        self.tagged += 1;
        queue.push_back((((now + 1.0 / weight).to_bits(), self.tagged), slot));
        let &(next, _) = queue.front()?;
        *first = Reverse((next, class, bits));
        Some(now)
    }

    /// The queue of this weight. Usually it is that of the current first lane, and nothing has to be hashed.
    #[inline]
    fn class_of(&self, weight: u64) -> Option<u32> {
        let first = self.firsts.peek().filter(|Reverse((_, _, first))| *first == weight);
        first.map_or_else(|| self.numbers.get(&weight).copied(), |&Reverse((_, class, _))| Some(class))
    }

    fn add_class(&mut self, weight: u64) -> u32 {
        let class = self.free.pop().unwrap_or_else(|| {
            self.classes.push(VecDeque::new());
            u32::try_from(self.classes.len() - 1).expect("no more than lanes")
        });
        self.numbers.insert(weight, class);
        class
    }

    /// Removes the first lane, of which there must be one. Returns its tag.
    pub(super) fn pop(&mut self) -> f64 {
        if let Some(heap) = &mut self.heap {
            return heap.pop().map_or(0.0, |Reverse(((tag, _), _))| f64::from_bits(tag));
        }
        let Some(mut first) = self.firsts.peek_mut() else { return 0.0 };
        let Reverse((tag, class, weight)) = *first;
        let queue = &mut self.classes[class as usize];
        queue.pop_front();
        if let Some(&(next, _)) = queue.front() {
            *first = Reverse((next, class, weight));
        } else {
            PeekMut::pop(first);
            if self.numbers.len() > KEEP {
                self.numbers.remove(&weight);
                self.free.push(class);
            }
        }
        f64::from_bits(tag.0)
    }

    /// Renumbers the lanes: `new` maps old slots to new ones. Unused memory is given back.
    pub(super) fn rename(&mut self, new: &[u32]) {
        for queue in &mut self.classes {
            for (_, slot) in queue.iter_mut() {
                *slot = new[*slot as usize];
            }
            shrink_ring(queue, 0);
        }
        if let Some(heap) = &mut self.heap {
            let mut lanes = std::mem::take(heap).into_vec();
            for Reverse((_, slot)) in &mut lanes {
                *slot = new[*slot as usize];
            }
            shrink_vec(&mut lanes, 0);
            *heap = lanes.into(); // in order still: no two tags have the same number
        }
    }

    /// The size of the allocated memory, in bytes.
    pub(super) fn allocated(&self) -> usize {
        let queues: usize = self.classes.iter().map(VecDeque::capacity).sum();
        let heap = self.heap.as_ref().map_or(0, BinaryHeap::capacity);
        (queues + heap) * size_of::<(Tag, u32)>() + self.firsts.capacity() * size_of::<(Tag, u32, u64)>()
    }
}
