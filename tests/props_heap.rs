//! The heap against a plain sort, and after comparisons that fail.
#![cfg(not(loom))]

use proptest::prelude::*;
use sluicegate_core::buffer::heap;

#[expect(clippy::trivially_copy_pass_by_ref, clippy::unnecessary_wraps, reason = "the heap's interface")]
fn less(left: &i32, right: &i32) -> Result<bool, ()> {
    Ok(left < right)
}

proptest! {
    #[test]
    fn everything_comes_out_in_order(items: Vec<i32>) {
        let mut heap = Vec::new();
        for &item in &items {
            heap::push(&mut heap, item, less).unwrap();
        }
        let mut out = Vec::new();
        while let Some((item, outcome)) = heap::pop(&mut heap, less) {
            outcome.unwrap();
            out.push(item);
        }
        let mut sorted = items;
        sorted.sort_unstable();
        prop_assert_eq!(out, sorted);
    }

    /// A push that fails keeps the item, a pop that fails hands over the one it removed: nothing is lost in either.
    #[test]
    fn failures_lose_nothing(items: Vec<i32>, allowed in 0usize..64) {
        let mut left = allowed;
        let mut fragile = |a: &i32, b: &i32| {
            left = left.checked_sub(1).ok_or(())?;
            Ok(a < b)
        };
        let mut heap = Vec::new();
        for &item in &items {
            let _: Result<(), ()> = heap::push(&mut heap, item, &mut fragile);
        }
        let mut all = Vec::new();
        for _ in 0..items.len() / 2 {
            let (item, _) = heap::pop(&mut heap, &mut fragile).unwrap();
            all.push(item);
        }
        all.extend(heap);
        all.sort_unstable();
        let mut sorted = items;
        sorted.sort_unstable();
        prop_assert_eq!(all, sorted);
    }
}
