//! `drop_flat`: drops what an object held, with a stack that does not grow with the length of a chain.
//!
//! A queue that holds a queue that holds a queue is a chain that a program can make as long as it likes. Dropped plainly each link takes
//! some frames of the stack, and the interpreter's own remedy (the trashcan) is for its own types alone before 3.14. So whoever drops
//! items says `drop_flat`: beyond a few levels they are put aside, and dropped by the outermost call.

use std::any::Any;
use std::cell::{Cell, RefCell};

/// So many levels are dropped where they are, within one another: a channel's takes some two kilobytes of stack.
const LEVELS: u32 = 16;

struct Drops {
    level: Cell<u32>,
    put_aside: RefCell<Vec<Box<dyn Any>>>,
}

thread_local!(static DROPS: Drops = const { Drops { level: Cell::new(0), put_aside: RefCell::new(Vec::new()) } });

/// Counts a level, on every way out of it.
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

/// Drops it, if need be a little later: before the outermost call on this thread returns.
pub(crate) fn drop_flat(contents: impl Any) {
    let mut contents = Some(contents);
    // At the very end of a thread there is no list: what is dropped there (by another thread local) is dropped plainly.
    let _ = DROPS.try_with(|drops| {
        if drops.level.get() >= LEVELS {
            drops.put_aside.borrow_mut().push(Box::new(contents.take()));
            return;
        }
        let _level = Level::enter(&drops.level);
        drop(contents.take());
        if drops.level.get() == 1 {
            loop {
                // The list is not borrowed while something is dropped, which may put more aside.
                let next = drops.put_aside.borrow_mut().pop();
                if next.is_none() {
                    break;
                }
            }
        }
    });
}
