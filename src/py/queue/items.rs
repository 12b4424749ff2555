//! What a Python queue keeps its items in: one of the core's orders, or the means to work outside the section.
//!
//! One struct with a kind, not an enum with a payload: the hot path then asks one byte, and the compiler makes a branch of it instead of a
//! jump table at each of the four places that ask (docs/decisions, 0001).

use sluicegate_core::buffer::{Buffer, Fifo};

pub(in crate::queue) use crate::rt::Item;
use crate::rt::drops::drop_flat;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::queue) enum Order {
    Fifo,
    Stack,
    /// By the items' own `<`: worked on by the holder of the baton.
    Heap,
    /// A subclass with its own `_put` and the like keeps the items.
    Hooked,
}

#[derive(Debug)]
pub(in crate::queue) struct Items {
    order: Order,
    /// Fifo and stack. Of the other orders it stays empty.
    ring: Fifo<Item>,
    /// The heap, unless the holder of the baton has taken it out.
    pub(in crate::queue) heap: Vec<Item>,
    /// How many items the heap, or the subclass, holds. (For the latter: what its `_qsize` said last, give or take the operations since.)
    pub(in crate::queue) size: usize,
    /// Accepted, and not yet in order: for the holder of the baton to merge.
    pub(in crate::queue) inbox: Vec<Item>,
}

impl Items {
    pub(in crate::queue) fn new(order: Order) -> Self {
        Self { order, ring: Fifo::default(), heap: Vec::new(), size: 0, inbox: Vec::new() }
    }

    pub(in crate::queue) fn order(&self) -> Order {
        self.order
    }

    /// Items come and go only through the holder of the baton.
    #[inline]
    pub(in crate::queue) fn needs_baton(&self) -> bool {
        self.order >= Order::Heap
    }

    /// How much memory it has asked for, in bytes.
    pub(in crate::queue) fn allocated(&self) -> usize {
        (self.ring.capacity() + self.heap.capacity() + self.inbox.capacity()) * size_of::<Item>()
    }

    /// Every item that is here now (not those that a holder of the baton has taken out): in order, or as the heap lies.
    pub(in crate::queue) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.ring.iter().chain(&self.heap).chain(&self.inbox)
    }

    /// Puts these in the place of everything that is here, in the same arrangement as `iter` shows them. What was here comes back.
    pub(in crate::queue) fn replace(&mut self, mut items: Vec<Item>) -> Self {
        let mut new = Self::new(self.order);
        if self.order == Order::Heap {
            new.size = items.len();
            new.heap = items;
        } else {
            let count = items.len();
            let mut items = std::mem::take(&mut items).into_iter();
            new.ring.push_many(&mut items, count);
        }
        std::mem::replace(self, new)
    }

    /// Moves everything out, to be dropped outside the section.
    pub(in crate::queue) fn take_all(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.order))
    }
}

/// The items may hold queues, and so on.
impl Drop for Items {
    fn drop(&mut self) {
        if self.ring.len() + self.heap.len() + self.inbox.len() > 0 {
            drop_flat((std::mem::take(&mut self.ring), std::mem::take(&mut self.heap), std::mem::take(&mut self.inbox)));
        }
    }
}

impl Buffer for Items {
    type Item = Item;

    #[inline]
    fn len(&self) -> usize {
        if self.needs_baton() { self.size + self.inbox.len() } else { self.ring.len() }
    }

    #[inline]
    fn push(&mut self, item: Item) {
        if self.needs_baton() {
            self.inbox.push(item);
        } else {
            self.ring.push(item);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Item> {
        match self.order {
            Order::Fifo => self.ring.pop(),
            Order::Stack => self.ring.pop_last(),
            Order::Heap | Order::Hooked => None,
        }
    }

    /// None, where the order needs the baton: the ring stays empty there.
    #[inline]
    fn has_slot(&self) -> bool {
        self.ring.has_slot()
    }

    #[inline]
    fn push_in_place(&mut self, item: Item) {
        self.ring.push(item);
    }

    #[inline]
    fn pop_in_place(&mut self) -> Option<Item> {
        if self.order == Order::Stack { self.ring.pop_last_in_place() } else { self.ring.pop_in_place() }
    }

    fn peek(&self) -> Option<&Item> {
        match self.order {
            Order::Fifo => self.ring.peek(),
            Order::Stack => self.ring.last(),
            Order::Heap => self.heap.first(),
            Order::Hooked => None,
        }
    }

    fn push_many(&mut self, items: &mut std::vec::IntoIter<Item>, count: usize) {
        if self.needs_baton() {
            self.inbox.extend(items.take(count));
        } else {
            self.ring.push_many(items, count);
        }
    }

    fn pop_many(&mut self, count: usize) -> Vec<Item> {
        match self.order {
            Order::Fifo => self.ring.pop_many(count),
            Order::Stack => std::iter::from_fn(|| self.ring.pop_last()).take(count).collect(),
            Order::Heap | Order::Hooked => Vec::new(),
        }
    }
}
