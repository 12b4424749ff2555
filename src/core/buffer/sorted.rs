//! `Sorted`: elements in order of their ranks, where an insertion reports a lack of memory instead of aborting.
//!
//! # Algorithm
//! The elements are in *chunks* of at most 64, in order, and each chunk is a ring. An insertion finds its chunk by binary search and moves
//! at most half of that chunk. A full chunk is split in two, unless the element comes after all of it: then a new chunk is begun, so that ranks
//! that only grow leave full chunks. The ring of chunks moves its own entries only at a split, which is why two levels are enough for
//! millions of elements. (Python's `sortedcontainers` has the same two levels.)
//!
//! | operation                     | cost                                                   |
//! |-------------------------------|--------------------------------------------------------|
//! | insertion                     | logarithm of the number, and a move of up to 32 entries |
//! | removal of the first, the last | constant                                               |
//! | iteration, from either end    | constant for each element                              |
//!
//! A tree of the standard library would do, but it aborts the process when there is no memory for a node.
//!
//! # Order
//! Elements of equal rank stay in the order in which they were inserted.

use std::collections::{TryReserveError, VecDeque};

/// The largest number of elements in a chunk.
const CHUNK: usize = 64;

type Chunk<T> = VecDeque<(u64, T)>;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Sorted<T> {
    /// None of them is empty.
    chunks: VecDeque<Chunk<T>>,
    /// An empty chunk with memory for `CHUNK` elements, if the reserved insertion needs it.
    spare: Chunk<T>,
    len: usize,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), spare: VecDeque::new(), len: 0 }
    }
}

impl<T> Sorted<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The index of the chunk into which an element of this rank is inserted.
    fn chunk_for(&self, rank: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.front().is_some_and(|&(first, _)| first <= rank)).saturating_sub(1)
    }

    /// Reserves memory for the insertion of one element of this rank.
    ///
    /// # Errors
    /// There is no memory; nothing has changed.
    pub(super) fn try_reserve(&mut self, rank: u64) -> Result<(), TryReserveError> {
        let index = self.chunk_for(rank);
        if let Some(chunk) = self.chunks.get_mut(index).filter(|chunk| chunk.len() < CHUNK) {
            return chunk.try_reserve(1);
        }
        self.chunks.try_reserve(1)?;
        // The first chunk grows with its elements: most keys have few.
        let room = if self.chunks.is_empty() { 1 } else { CHUNK };
        self.spare.try_reserve(room)
    }

    /// Inserts an element after all others of its rank. Call it only after `try_reserve` for this rank.
    pub(super) fn insert(&mut self, rank: u64, element: T) {
        let mut index = self.chunk_for(rank);
        if self.chunks.get(index).is_none_or(|chunk| chunk.len() >= CHUNK) {
            index = self.add_chunk(index, rank);
        }
        let chunk = &mut self.chunks[index];
        let at = chunk.partition_point(|&(other, _)| other <= rank);
        chunk.insert(at, (rank, element));
        self.len += 1;
    }

    /// Makes room beside the full chunk at `index`. Returns the index of the chunk that is to have the element.
    fn add_chunk(&mut self, index: usize, rank: u64) -> usize {
        let mut added = std::mem::take(&mut self.spare);
        let Some(full) = self.chunks.get_mut(index) else {
            self.chunks.push_back(added);
            return index;
        };
        let comes_last = full.back().is_none_or(|&(last, _)| last <= rank);
        if !comes_last {
            added.extend(full.drain(CHUNK / 2..));
        }
        let goes_behind = added.front().is_none_or(|&(first, _)| first <= rank);
        self.chunks.insert(index + 1, added);
        index + usize::from(goes_behind)
    }

    pub(super) fn pop_first(&mut self) -> Option<T> {
        let chunk = self.chunks.front_mut()?;
        let (_, element) = chunk.pop_front()?;
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        self.len -= 1;
        Some(element)
    }

    pub(super) fn pop_last(&mut self) -> Option<T> {
        let chunk = self.chunks.back_mut()?;
        let (_, element) = chunk.pop_back()?;
        if chunk.is_empty() {
            self.chunks.pop_back();
        }
        self.len -= 1;
        Some(element)
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.chunks.front()?.front().map(|(_, element)| element)
    }

    pub(super) fn last_rank(&self) -> Option<u64> {
        self.chunks.back()?.back().map(|&(rank, _)| rank)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks.iter().flatten().map(|(_, element)| element)
    }

    /// Removes the elements for which `leaves` returns true, in order, and gives them to `taken`.
    pub(super) fn take_where(&mut self, mut leaves: impl FnMut(&T) -> bool, mut taken: impl FnMut(T)) {
        for chunk in &mut self.chunks {
            // Each element is taken out once, and those that stay are pushed again behind the others: this needs no memory.
            for _ in 0..chunk.len() {
                let Some((rank, element)) = chunk.pop_front() else { break };
                if leaves(&element) {
                    self.len -= 1;
                    taken(element);
                } else {
                    chunk.push_back((rank, element));
                }
            }
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
    }

    /// An empty sequence with memory for the elements of `other`, which [`Sorted::take_over`] moves into it.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn with_room_for<U>(other: &Sorted<U>) -> Result<Self, TryReserveError> {
        let mut new = Self::default();
        new.chunks.try_reserve(other.chunks.len())?;
        for chunk in &other.chunks {
            let mut room = VecDeque::new();
            room.try_reserve(chunk.len())?;
            new.chunks.push_back(room);
        }
        Ok(new)
    }

    /// Moves the elements of `other` into this sequence, which was made for them. They keep their ranks.
    pub(super) fn take_over<U>(&mut self, other: Sorted<U>, mut change: impl FnMut(U) -> T) {
        self.len = other.len;
        for (from, to) in other.chunks.into_iter().zip(&mut self.chunks) {
            to.extend(from.into_iter().map(|(rank, element)| (rank, change(element))));
        }
    }

    /// The size of the allocated memory, in bytes.
    pub(super) fn allocated(&self) -> usize {
        let elements = self.chunks.iter().map(VecDeque::capacity).sum::<usize>() + self.spare.capacity();
        elements * size_of::<(u64, T)>() + self.chunks.capacity() * size_of::<Chunk<T>>()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        PopFirst,
        PopLast,
        TakeMultiplesOf(u32),
        Convert,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            12 => (0..40_u64).prop_map(Step::Insert),
            2 => Just(Step::PopFirst),
            2 => Just(Step::PopLast),
            1 => (2..9_u32).prop_map(Step::TakeMultiplesOf),
            1 => Just(Step::Convert),
        ];
        prop::collection::vec(step, 0..1500)
    }

    fn insert(sorted: &mut Sorted<u32>, rank: u64, element: u32) {
        sorted.try_reserve(rank).unwrap();
        sorted.insert(rank, element);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, rng_seed: RngSeed::Fixed(0), ..ProptestConfig::default() })]

        /// Against a list that is sorted, stably, after each insertion.
        #[test]
        fn is_a_sorted_list(steps in steps()) {
            let (mut sorted, mut model): (_, Vec<(u64, u32)>) = (Sorted::default(), Vec::new());
            for (step, element) in steps.into_iter().zip(0..) {
                match step {
                    Step::Insert(rank) => {
                        insert(&mut sorted, rank, element);
                        model.push((rank, element));
                        model.sort_by_key(|&(rank, _)| rank);
                    }
                    Step::PopFirst => {
                        let first = (!model.is_empty()).then(|| model.remove(0).1);
                        prop_assert_eq!(sorted.pop_first(), first);
                    }
                    Step::PopLast => prop_assert_eq!(sorted.pop_last(), model.pop().map(|(_, element)| element)),
                    Step::TakeMultiplesOf(n) => {
                        let mut taken = Vec::new();
                        sorted.take_where(|element| element % n == 0, |element| taken.push(element));
                        let leaving = model.iter().filter(|(_, element)| element % n == 0).map(|&(_, element)| element);
                        prop_assert_eq!(taken, leaving.collect::<Vec<_>>());
                        model.retain(|(_, element)| element % n != 0);
                    }
                    Step::Convert => {
                        let mut new = Sorted::with_room_for(&sorted).unwrap();
                        new.take_over(sorted, |element| element);
                        sorted = new;
                    }
                }
                prop_assert_eq!(sorted.len(), model.len());
                prop_assert_eq!(sorted.first(), model.first().map(|(_, element)| element));
                prop_assert_eq!(sorted.last_rank(), model.last().map(|&(rank, _)| rank));
                prop_assert!(sorted.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
            }
            prop_assert!(sorted.iter().eq(model.iter().map(|(_, element)| element)));
            prop_assert!(sorted.iter().rev().eq(model.iter().rev().map(|(_, element)| element)));
        }
    }

    /// What was reserved is enough: an insertion itself allocates nothing.
    #[test]
    fn an_insertion_needs_no_memory() {
        let mut sorted = Sorted::default();
        for element in 0..5000_u32 {
            let rank = u64::from(element.wrapping_mul(2_654_435_761) % 1000);
            sorted.try_reserve(rank).unwrap();
            let before = sorted.allocated();
            sorted.insert(rank, element);
            assert_eq!(sorted.allocated(), before);
        }
    }

    #[test]
    fn growing_ranks_leave_full_chunks() {
        let mut sorted = Sorted::default();
        (0..1000).for_each(|element| insert(&mut sorted, u64::from(element), element));
        assert_eq!(sorted.chunks.len(), 1000_usize.div_ceil(CHUNK));
    }
}
