//! What a Python queue keeps its items in: one of the core's orders, or the means to work outside the section.
//!
//! One struct with a kind, not an enum with a payload: the hot path then asks one byte, and the compiler makes a branch of it instead of a
//! jump table at each of the four places that ask (docs/decisions, 0001).

use pyo3::prelude::*;
use sluicegate_core::buffer::{Buffer, Fifo};

use crate::rt::drops::drop_flat;

pub(crate) type Item = Py<PyAny>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    Fifo,
    Stack,
    /// By the items' own `<`: worked on by the holder of the baton.
    Heap,
    /// A subclass with its own `_put` and the like keeps the items.
    Hooked,
}

#[derive(Debug)]
pub(crate) struct Store {
    order: Order,
    /// Fifo and stack.
    items: Fifo<Item>,
    /// The heap, unless the holder of the baton has taken it out.
    pub(crate) heap: Vec<Item>,
    /// How many items the heap, or the subclass, holds. (For the latter: what its `_qsize` said last, give or take the operations since.)
    pub(crate) size: usize,
    /// Accepted, and not yet in order: for the holder of the baton to merge.
    pub(crate) inbox: Vec<Item>,
}

impl Store {
    pub(crate) fn new(order: Order) -> Self {
        Self { order, items: Fifo::default(), heap: Vec::new(), size: 0, inbox: Vec::new() }
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// Items come and go only through the holder of the baton.
    #[inline]
    pub(crate) fn needs_baton(&self) -> bool {
        self.order >= Order::Heap
    }

    /// Every item that is here now (not those that a holder of the baton has taken out): in order, or as the heap lies.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().chain(&self.heap).chain(&self.inbox)
    }

    /// Moves everything out, to be dropped outside the section.
    pub(crate) fn take_all(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.order))
    }
}

/// The items may hold queues, and so on.
impl Drop for Store {
    fn drop(&mut self) {
        if self.items.len() + self.heap.len() + self.inbox.len() > 0 {
            drop_flat((std::mem::take(&mut self.items), std::mem::take(&mut self.heap), std::mem::take(&mut self.inbox)));
        }
    }
}

impl Buffer for Store {
    type Item = Item;

    #[inline]
    fn len(&self) -> usize {
        if self.needs_baton() { self.size + self.inbox.len() } else { self.items.len() }
    }

    #[inline]
    fn push(&mut self, item: Item) {
        if self.needs_baton() {
            self.inbox.push(item);
        } else {
            self.items.push(item);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Item> {
        match self.order {
            Order::Fifo => self.items.pop(),
            Order::Stack => self.items.pop_last(),
            Order::Heap | Order::Hooked => None,
        }
    }

    /// The ring of an order that needs the baton stays empty, so it has no slot.
    #[inline]
    fn has_slot(&self) -> bool {
        self.items.has_slot()
    }

    #[inline]
    fn pop_in_place(&mut self) -> Option<Item> {
        if self.order == Order::Stack { self.items.pop_last_in_place() } else { self.items.pop_in_place() }
    }

    fn peek(&self) -> Option<&Item> {
        match self.order {
            Order::Fifo => self.items.peek(),
            Order::Stack => self.items.last(),
            Order::Heap => self.heap.first(),
            Order::Hooked => None,
        }
    }

    fn push_many(&mut self, items: &mut std::vec::IntoIter<Item>, count: usize) {
        if self.needs_baton() {
            self.inbox.extend(items.take(count));
        } else {
            self.items.push_many(items, count);
        }
    }

    fn pop_many(&mut self, count: usize) -> Vec<Item> {
        match self.order {
            Order::Fifo => self.items.pop_many(count),
            Order::Stack => std::iter::from_fn(|| self.items.pop_last()).take(count).collect(),
            Order::Heap | Order::Hooked => Vec::new(),
        }
    }
}
