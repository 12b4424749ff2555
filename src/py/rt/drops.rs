//! `drop_flat`: drops the contents of an object with bounded use of the stack.
//!
//! A program can build a chain of any length from queues that contain queues. With an ordinary drop each link uses some stack frames, and
//! before 3.14 the interpreter's own remedy (the trashcan) works for its own types only. So code that drops items calls `drop_flat`: beyond a
//! few nested levels the items are put aside, and dropped by the outermost call.

use std::any::Any;
use std::cell::{Cell, RefCell};

use pyo3::prelude::*;

use crate::rt::Item;

/// The number of nested levels that are dropped in place: a channel's takes some two kilobytes of stack.
const LEVELS: u32 = 16;

struct Drops {
    level: Cell<u32>,
    put_aside: RefCell<Vec<Box<dyn Any>>>,
}

thread_local!(static DROPS: Drops = const { Drops { level: Cell::new(0), put_aside: RefCell::new(Vec::new()) } });

/// Counts a level of nesting, until it is dropped.
struct Level<'a>(&'a Cell<u32>);

impl<'a> Level<'a> {
    fn enter(level: &'a Cell<u32>) -> Self {
        level.set(level.get() + 1);
        Self(level)
    }
}

impl Drop for Level<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Drops a value now, or at the latest before the outermost call on this thread returns.
pub(crate) fn drop_flat(contents: impl Any) {
    let mut contents = Some(contents);
    // At the end of a thread the list has been destroyed: values that other thread locals drop then are dropped in the ordinary way.
    let _ = DROPS.try_with(|drops| {
        if drops.level.get() >= LEVELS {
            drops.put_aside.borrow_mut().push(Box::new(contents.take()));
            return;
        }
        let _level = Level::enter(&drops.level);
        drop(contents.take());
        if drops.level.get() == 1 {
            loop {
                // The list is not borrowed during a drop, which may put more values aside.
                let next = drops.put_aside.borrow_mut().pop();
                if next.is_none() {
                    break;
                }
            }
        }
    });
}

/// An item that is dropped flat, for an object that lets its items go one by one.
#[derive(Debug)]
pub(crate) struct FlatItem(Option<Item>);

impl FlatItem {
    #[inline]
    pub(crate) fn new(item: &Bound<'_, PyAny>) -> Self {
        Self(Some(item.clone().unbind()))
    }

    /// A reference of its own.
    #[inline]
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Item {
        self.0.as_ref().map_or_else(|| py.None(), |item| item.clone_ref(py))
    }

    /// Another one of it.
    #[inline]
    pub(crate) fn share(&self, py: Python<'_>) -> Self {
        Self(self.0.as_ref().map(|item| item.clone_ref(py)))
    }

    pub(crate) fn object(&self) -> Option<&Item> {
        self.0.as_ref()
    }

    #[inline]
    pub(crate) fn into_item(mut self) -> Option<Item> {
        self.0.take()
    }
}

impl Drop for FlatItem {
    #[inline]
    fn drop(&mut self) {
        if let Some(item) = self.0.take() {
            drop_flat(item);
        }
    }
}
