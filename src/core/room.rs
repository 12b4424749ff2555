//! Allocations that can fail: memory that is given back where there may be none to be had, and a box.
//!
//! A collection of the library's that is told to shrink asks the allocator for a smaller block, and aborts the process if it gets none. (Most
//! allocators cut the block in place, but not all of them, and not always.) Here the smaller block is asked for in a way that can fail. Without
//! it the collection keeps what it has: giving memory back must not fail for want of memory.
//!
//! Cost: it moves every element that is left, so it is called only after as many removals.

use std::collections::{TryReserveError, VecDeque};
use std::hint::black_box;
use std::ops::{Deref, DerefMut};

/// Leaves memory for `room` elements, or for those that are there if they are more. False if nothing has changed.
pub(crate) fn shrink_vec<T>(elements: &mut Vec<T>, room: usize) -> bool {
    let room = room.max(elements.len());
    let mut smaller = Vec::new();
    let shrinks = room < elements.capacity() && smaller.try_reserve_exact(room).is_ok();
    if shrinks {
        smaller.append(elements);
        *elements = smaller;
    }
    shrinks
}

/// The same for a ring.
pub(crate) fn shrink_ring<T>(elements: &mut VecDeque<T>, room: usize) -> bool {
    let room = room.max(elements.len());
    let mut smaller = VecDeque::new();
    let shrinks = room < elements.capacity() && smaller.try_reserve_exact(room).is_ok();
    if shrinks {
        smaller.append(elements);
        *elements = smaller;
    }
    shrinks
}

/// Memory for an `Arc` of a `T`, to be dropped just before it is made. `Arc::new` aborts the process without memory, and no library on the stable
/// compiler has one whose allocation can fail. (Another thread can still take the memory in between.)
#[must_use]
pub(crate) struct PlaceForArc<T> {
    _memory: Vec<([usize; 2], T)>, // the two counts, and the value
}

impl<T> PlaceForArc<T> {
    pub(crate) fn try_new() -> Result<Self, TryReserveError> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(1)?;
        black_box(&memory); // so that it is really asked for
        Ok(Self { _memory: memory })
    }
}

/// A box whose allocation can fail, where that of the library aborts the process.
#[derive(Debug)]
pub(crate) struct Boxed<T>(Box<[T; 1]>);

impl<T> Boxed<T> {
    pub(crate) fn try_new(value: T) -> Result<Self, TryReserveError> {
        let mut one = Vec::new();
        one.try_reserve_exact(1)?;
        one.push(value);
        Ok(Self(one.into_boxed_slice().try_into().unwrap_or_else(|_| unreachable!("it has one element"))))
    }

    pub(crate) fn into_inner(self) -> T {
        let [value] = *self.0;
        value
    }
}

impl<T> Deref for Boxed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0[0]
    }
}

impl<T> DerefMut for Boxed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0[0]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_box_has_one_value() {
        let mut boxed = Boxed::try_new(vec![1, 2]).unwrap();
        boxed.push(3);
        assert_eq!(boxed.len(), 3);
        assert_eq!(boxed.into_inner(), [1, 2, 3]);
        assert_eq!(size_of::<Option<Boxed<u64>>>(), size_of::<usize>());
    }

    #[test]
    fn what_is_left_stays_in_order() {
        let mut list: Vec<u32> = (0..1000).collect();
        list.truncate(10);
        assert!(shrink_vec(&mut list, 5));
        assert_eq!(list, (0..10).collect::<Vec<_>>());
        assert!(list.capacity() < 20);
        assert!(!shrink_vec(&mut list, 20));

        let mut ring: VecDeque<u32> = (0..1000).collect();
        ring.drain(..990);
        assert!(shrink_ring(&mut ring, 16));
        assert_eq!(ring, (990..1000).collect::<VecDeque<_>>());
        assert!(ring.capacity() < 32);
    }
}
