//! In which order a queue gives back what it holds.
//!
//! A [`Buffer`] is plain data inside a queue's section: it never blocks, never runs foreign code, and drops nothing that it was
//! given except when it is dropped itself. Orders that need foreign code (a heap of items with their own `<`) keep their storage
//! here and are worked on outside the section, see [`baton`](crate::baton).

mod fifo;
pub mod heap;

pub use fifo::Fifo;

/// What a queue stores its items in.
pub trait Buffer {
    type Item;

    fn len(&self) -> usize;
    fn push(&mut self, item: Self::Item);
    fn pop(&mut self) -> Option<Self::Item>;
    /// The item that `pop` would give.
    fn peek(&self) -> Option<&Self::Item>;
    /// Room for `more` items, if that can be had without harm.
    fn reserve(&mut self, more: usize) {
        let _ = more;
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Last in, first out.
impl<T> Buffer for Vec<T> {
    type Item = T;

    #[inline]
    fn len(&self) -> usize {
        Vec::len(self)
    }

    #[inline]
    fn push(&mut self, item: T) {
        Vec::push(self, item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        Vec::pop(self)
    }

    #[inline]
    fn peek(&self) -> Option<&T> {
        self.last()
    }

    fn reserve(&mut self, more: usize) {
        Vec::reserve(self, more);
    }
}
