//! `Draw`: the random order in which a selection tries its operations, exactly one of which is to happen (Go's `select`).
//!
//! # Protocol
//! A *selection* waits at several objects at once. For each object it is an ordinary waiter: it has one place in a wait queue of each object,
//! with the same waker in all of them, and leaves a wait queue as any waiter does. No object knows about the others.
//!
//! | the selection            | at each object                                                                                   |
//! |--------------------------|--------------------------------------------------------------------------------------------------|
//! | arrives                  | one attempt as an arrival, in random order, until one succeeds; it joins no wait queue yet        |
//! | has to wait              | one attempt that joins the wait queue, in random order, until one succeeds                        |
//! | is woken, by any of them | one attempt from the place it has, in random order, until one succeeds                            |
//! | has succeeded at one     | leaves every wait queue; an object that had woken it meanwhile wakes its next waiter instead      |
//! | ends without success     | the same                                                                                         |
//!
//! A wake-up is a permission to try and never an item (see [`wait`](crate::wait)), so a selection that is woken by two objects holds nothing
//! that it would have to give back, only a claim, which ends when it leaves the wait queue. The waker is reset before each round of attempts:
//! an object that becomes ready after its attempt wakes the selection again, so no wake-up is lost.
//!
//! # Fairness
//! Each round uses a new random order, and every order is equally likely. So each operation that is ready is equally likely to be chosen,
//! wherever the others are in the list. A fixed order would starve the last operation, and so would an order that only rotates, when two
//! selections alternate.
//!
//! # What it does not do
//! It neither attempts nor waits: the caller does, with its own waiter and its own errors. Two operations of one selection on the same object
//! are two waiters in its wait queue; one that asks for a large amount may be before one that asks for a small amount.

use std::collections::TryReserveError;

/// A random order of a number of operations, drawn anew for each round.
///
/// ```
/// use sluicegate_core::select::Draw;
///
/// let ready = [false, true, false];
/// let mut draw = Draw::new(ready.len(), 1).unwrap();
/// assert_eq!(draw.first_ready(|index| ready[index].then_some("an item")), Some((1, "an item")));
/// assert_eq!(draw.first_ready(|_| None::<()>), None);
/// ```
#[derive(Debug)]
pub struct Draw {
    order: Vec<usize>,
    /// The state of a SplitMix64 generator (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    state: u64,
}

impl Draw {
    /// Orders of `len` operations, determined by the seed. Consecutive seeds give unrelated orders.
    ///
    /// # Errors
    /// There is no memory for so many.
    pub fn new(len: usize, seed: u64) -> Result<Self, TryReserveError> {
        let mut order = Vec::new();
        order.try_reserve_exact(len)?;
        order.extend(0..len);
        Ok(Self { order, state: seed.wrapping_mul(0xBF58_476D_1CE4_E5B9) })
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One round: attempts the operations in a new order until one returns a value. `None` if all have been attempted in vain.
    pub fn first_ready<R>(&mut self, mut attempt: impl FnMut(usize) -> Option<R>) -> Option<(usize, R)> {
        for place in 0..self.order.len() {
            // Fisher and Yates, only as far as it is needed. The bias of the remainder is below 2^-32 for any list that fits in memory.
            let left = self.order.len() - place;
            if left > 1 {
                #[expect(clippy::cast_possible_truncation, reason = "below `left`")]
                let other = place + (self.random() % left as u64) as usize;
                self.order.swap(place, other);
            }
            let index = self.order[place];
            if let Some(done) = attempt(index) {
                return Some((index, done));
            }
        }
        None
    }
}
