//! `Lazy<T>`: a process-wide value that is initialised on first use.
//!
//! A thread that uses a `LazyLock` while another thread initialises it waits for that thread, which does not exist in the child of a
//! fork. Here no thread waits: each thread that finds no value makes one, and the first value to be stored is kept.
#![allow(unsafe_code)] // a box is kept as a pointer

use crate::sync::{AtomicPtr, Ordering};
use std::ops::Deref;
use std::ptr;

/// A value that `make` initialises on first use. `make` may run on several threads at the same time; only one result is kept.
///
/// ```
/// use sluicegate_core::lazy::Lazy;
///
/// static WORDS: Lazy<Vec<&str>> = Lazy::new(|| vec!["one", "two"]);
/// assert_eq!(WORDS.len(), 2);
/// ```
#[derive(Debug)]
pub struct Lazy<T: 'static> {
    value: AtomicPtr<T>,
    make: fn() -> T,
}

impl<T> Lazy<T> {
    pub const fn new(make: fn() -> T) -> Self {
        Self { value: AtomicPtr::new(ptr::null_mut()), make }
    }

    #[cold]
    fn make(&self) -> *mut T {
        let made = Box::into_raw(Box::new((self.make)()));
        // AcqRel: a thread that reads the pointer sees the value. Acquire on failure: this thread sees the value of the winner.
        match self.value.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => made,
            Err(first) => {
                // SAFETY: the pointer comes from the box above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(made) });
                first
            }
        }
    }
}

impl<T> Deref for Lazy<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // Acquire: pairs with the exchange in `make`.
        let mut value = self.value.load(Ordering::Acquire);
        if value.is_null() {
            value = self.make();
        }
        // SAFETY: the pointer comes from a box that is never freed or replaced: the value lives as long as the process.
        unsafe { &*value }
    }
}

/// A value that is initialised on first use: one for the whole process or, in a loom model, one for each execution.
#[cfg(not(loom))]
macro_rules! process_wide {
    ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
        $(#[$meta])*
        static $name: $crate::lazy::Lazy<$type> = $crate::lazy::Lazy::new(|| $value);
    };
}
#[cfg(loom)]
macro_rules! process_wide {
    ($(#[$meta:meta])* static $name:ident: $type:ty = $value:expr;) => {
        loom::lazy_static! {
            $(#[$meta])*
            static ref $name: $type = $value;
        }
    };
}
pub(crate) use process_wide;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn all_threads_see_one_value() {
        static NUMBERS: Lazy<Mutex<Vec<usize>>> = Lazy::new(|| Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || NUMBERS.lock().expect("no thread panics").push(number));
            }
        });
        let mut numbers = NUMBERS.lock().expect("no thread panics").clone();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    }
}
