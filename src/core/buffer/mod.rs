//! In which order a queue gives back what it holds.
//!
//! A [`Buffer`] is plain data inside a queue's section: it never blocks, never runs foreign code, and drops nothing that it was
//! given except when it is dropped itself. Orders that need foreign code (a heap of items with their own `<`) keep their storage
//! here and are worked on outside the section, see [`Baton`](crate::queue::Baton).

mod fifo;
pub mod heap;

pub use fifo::Fifo;

/// What a queue stores its items in.
pub trait Buffer {
    type Item;

    fn len(&self) -> usize;
    fn push(&mut self, item: Self::Item);
    fn pop(&mut self) -> Option<Self::Item>;

    /// May [`Buffer::push_in_place`] be called? That is: the next push needs no memory.
    #[inline]
    fn has_slot(&self) -> bool {
        false
    }

    /// As `push`, in a few instructions. Only after `has_slot` has said yes.
    #[inline]
    fn push_in_place(&mut self, item: Self::Item) {
        self.push(item);
    }

    /// As `pop`, if that is a matter of a few instructions. `None` says nothing about whether there is an item.
    #[inline]
    fn pop_in_place(&mut self) -> Option<Self::Item> {
        None
    }

    /// The item that `pop` would give.
    fn peek(&self) -> Option<&Self::Item>;
    /// Pushes the first `count` of `items`.
    fn push_many(&mut self, items: &mut std::vec::IntoIter<Self::Item>, count: usize) {
        for item in items.take(count) {
            self.push(item);
        }
    }

    /// Pops `count` items, or all there are.
    fn pop_many(&mut self, count: usize) -> Vec<Self::Item> {
        let mut popped = Vec::with_capacity(count.min(self.len()));
        while popped.len() < count {
            match self.pop() {
                Some(item) => popped.push(item),
                None => break,
            }
        }
        popped
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
