//! What a Python queue keeps its items in: one of the core's orders, or the means to work outside the section.

use penstock_core::buffer::{Buffer, Fifo};
use pyo3::prelude::*;

pub(crate) type Item = Py<PyAny>;

#[derive(Debug)]
pub(crate) enum Store {
    Fifo(Fifo<Item>),
    Stack(Vec<Item>),
    /// Ordered by the items' own `<`. Worked on by the holder of the baton, who takes `heap` out and leaves `size` behind.
    Heap {
        heap: Vec<Item>,
        size: usize,
        inbox: Vec<Item>,
    },
    /// A subclass with its own `_put` and the like keeps the items. `size` is what its `_qsize` said last, give or take the
    /// operations since.
    Hooked {
        size: usize,
        inbox: Vec<Item>,
    },
}

impl Store {
    /// Items come and go only through the holder of the baton.
    pub(crate) fn needs_baton(&self) -> bool {
        matches!(self, Self::Heap { .. } | Self::Hooked { .. })
    }

    /// Every item that is here now (not those that a holder of the baton has taken out), in no particular order.
    pub(crate) fn items(&self) -> Box<dyn Iterator<Item = &Item> + '_> {
        match self {
            Self::Fifo(fifo) => Box::new(fifo.iter()),
            Self::Stack(stack) => Box::new(stack.iter()),
            Self::Heap { heap, inbox, .. } => Box::new(heap.iter().chain(inbox)),
            Self::Hooked { inbox, .. } => Box::new(inbox.iter()),
        }
    }

    /// Moves everything out, to be dropped outside the section.
    pub(crate) fn take_all(&mut self) -> Self {
        let empty = match self {
            Self::Fifo(_) => Self::Fifo(Fifo::default()),
            Self::Stack(_) => Self::Stack(Vec::new()),
            Self::Heap { .. } => Self::Heap { heap: Vec::new(), size: 0, inbox: Vec::new() },
            Self::Hooked { .. } => Self::Hooked { size: 0, inbox: Vec::new() },
        };
        std::mem::replace(self, empty)
    }
}

impl Buffer for Store {
    type Item = Item;

    #[inline]
    fn len(&self) -> usize {
        match self {
            Self::Fifo(fifo) => fifo.len(),
            Self::Stack(stack) => stack.len(),
            Self::Heap { size, inbox, .. } | Self::Hooked { size, inbox } => size + inbox.len(),
        }
    }

    #[inline]
    fn push(&mut self, item: Item) {
        match self {
            Self::Fifo(fifo) => fifo.push(item),
            Self::Stack(stack) => stack.push(item),
            Self::Heap { inbox, .. } | Self::Hooked { inbox, .. } => inbox.push(item),
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Item> {
        match self {
            Self::Fifo(fifo) => fifo.pop(),
            Self::Stack(stack) => stack.pop(),
            Self::Heap { .. } | Self::Hooked { .. } => None,
        }
    }

    fn peek(&self) -> Option<&Item> {
        match self {
            Self::Fifo(fifo) => fifo.peek(),
            Self::Stack(stack) => stack.last(),
            Self::Heap { heap, .. } => heap.first(),
            Self::Hooked { .. } => None,
        }
    }

    fn reserve(&mut self, more: usize) {
        match self {
            Self::Fifo(fifo) => fifo.reserve(more),
            Self::Stack(stack) => stack.reserve(more),
            Self::Heap { .. } | Self::Hooked { .. } => {}
        }
    }
}
