//! The heap against a plain sort, and after comparisons that fail.
#![cfg(not(loom))]

use proptest::prelude::*;
use sluicegate_core::buffer::heap::Heap;
use sluicegate_core::queue::Note;

#[expect(clippy::unnecessary_wraps, reason = "the heap's interface")]
fn less(heap: &mut Heap<i32>, left: usize, right: usize) -> Result<bool, ()> {
    Ok(heap.items[left] < heap.items[right])
}

proptest! {
    #[test]
    fn everything_comes_out_in_order(items: Vec<i32>) {
        let mut heap = Heap::default();
        for &item in &items {
            heap.push(item, None, less).unwrap();
        }
        while let Some(outcome) = heap.pop(less) {
            outcome.unwrap();
        }
        let mut sorted = items;
        sorted.sort_unstable();
        prop_assert_eq!(heap.taken, sorted);
    }

    /// The forms for comparisons that cannot fail make the same moves, and change nothing where an item cannot be compared.
    #[test]
    fn comparable_items_are_arranged_in_the_same_way(steps in prop::collection::vec(prop::option::weighted(0.6, 0..20_i32), 0..200)) {
        let (mut heap, mut model) = (Heap::default(), Heap::default());
        // Equal items differ in their second part; 13 compares with nothing.
        let plain = |&(left, _): &(i32, usize), &(right, _): &(i32, usize)| (left != 13 && right != 13).then_some(left < right);
        let less = |heap: &mut Heap<(i32, usize)>, a: usize, b: usize| Ok::<_, ()>(heap.items[a].0 < heap.items[b].0);
        for (number, step) in steps.into_iter().enumerate() {
            let before = heap.items.clone();
            if let Some(item) = step {
                if let Err(item) = heap.push_if_comparable((item, number), plain) {
                    prop_assert_eq!(&heap.items, &before);
                    heap.push(item, None, less).unwrap();
                }
                model.push((item, number), None, less).unwrap();
            } else {
                let popped = heap.pop_if_comparable(plain).or_else(|| {
                    assert_eq!(heap.items, before);
                    heap.pop(less)?.unwrap();
                    heap.taken.pop()
                });
                let expected = model.pop(less).and_then(|outcome| {
                    outcome.unwrap();
                    model.taken.pop()
                });
                prop_assert_eq!(popped, expected);
            }
            prop_assert_eq!(&heap.items, &model.items);
        }
    }

    /// A push that fails keeps the item, a pop that fails hands over the one it removed: nothing is lost in either.
    #[test]
    fn failures_lose_nothing(items: Vec<i32>, allowed in 0usize..64) {
        let mut left = allowed;
        let mut fragile = |heap: &mut Heap<i32>, a: usize, b: usize| {
            // At every comparison everything is there.
            let mut all = [heap.items.as_slice(), &heap.taken].concat();
            all.sort_unstable();
            let mut known = items[..all.len()].to_vec();
            known.sort_unstable();
            assert_eq!(all, known);
            left = left.checked_sub(1).ok_or(())?;
            Ok(heap.items[a] < heap.items[b])
        };
        let mut heap = Heap::default();
        for &item in &items {
            let _: Result<(), ()> = heap.push(item, None, &mut fragile);
        }
        for _ in 0..items.len() / 2 {
            let _ = heap.pop(&mut fragile).unwrap();
        }
        let mut all = heap.taken;
        all.extend(heap.items);
        all.sort_unstable();
        let mut sorted = items;
        sorted.sort_unstable();
        prop_assert_eq!(all, sorted);
    }

    /// Pops that are undone, the last one first, leave the heap as it was, with its notes.
    #[test]
    fn several_pops_can_be_undone(items in prop::collection::vec(0i32..20, 0..40), pops in 0usize..40, has_notes: bool) {
        let mut heap = Heap::default();
        for &item in &items {
            heap.push(item, has_notes.then(|| Note::new(1, u64::from(item.unsigned_abs()))), less).unwrap();
        }
        let seen = |heap: &Heap<i32>| (heap.items.clone(), heap.notes().to_vec(), heap.taken.clone());
        let before = seen(&heap);
        let moves: Vec<usize> = (0..pops).map_while(|_| heap.pop_unless(less, |()| true)).map(Result::unwrap).collect();
        prop_assert_eq!(heap.taken.len(), pops.min(items.len()));
        for moved in moves.into_iter().rev() {
            heap.undo_pop(moved);
        }
        prop_assert_eq!(seen(&heap), before);
    }

    /// An operation that is undone has changed nothing, at whichever comparison it failed: the arrangement, the notes and the item that came.
    #[test]
    fn what_is_undone_has_changed_nothing(items in prop::collection::vec(0i32..20, 0..40), new in 0i32..20, has_notes: bool) {
        let mut heap = Heap::default();
        for (place, &item) in items.iter().enumerate() {
            let note = has_notes.then(|| Note::new(place as u64, u64::from(item.unsigned_abs())));
            heap.push(item, note, less).unwrap();
        }
        let seen = |heap: &Heap<i32>| (heap.items.clone(), heap.notes().to_vec(), heap.taken.clone());
        let before = seen(&heap);
        let note = has_notes.then(|| Note::new(99, 1));
        // Each operation fails at its first comparison, at its second, and so on, until it has failed at all of them.
        for operation in 0..3 {
            for allowed in 0.. {
                let mut left = allowed;
                let fragile = |heap: &mut Heap<i32>, a: usize, b: usize| {
                    left -= 1;
                    if left < 0 { Err(()) } else { Ok(heap.items[a] < heap.items[b]) }
                };
                let mut trial = Heap::default();
                trial.items.clone_from(&before.0);
                if has_notes {
                    trial.set_notes(before.1.clone(), Note::new(0, 0));
                }
                let failed = match operation {
                    0 => trial.pop_unless(fragile, |()| true).is_some_and(|outcome| outcome.is_err()),
                    1 => {
                        let outcome = trial.push_unless(new, note, fragile, |()| true);
                        if let Err(((), back)) = outcome {
                            prop_assert_eq!(back, Some(new));
                        }
                        outcome.is_err()
                    }
                    _ => {
                        let (dropped, is_old, outcome) = trial.displace_greatest(new, note, fragile);
                        if outcome.is_err() {
                            prop_assert_eq!((dropped, is_old), (Some((new, note)), false));
                        }
                        outcome.is_err()
                    }
                };
                if !failed {
                    break;
                }
                prop_assert_eq!(seen(&trial), before.clone(), "operation {} failed at comparison {}", operation, allowed);
                prop_assert_eq!(trial.taken_note(), None);
            }
        }
    }
}
