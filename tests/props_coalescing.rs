//! Random operations against a plain model: at most one item a key, in the order of first arrival, and memory for what waits only.
#![cfg(not(loom))]

mod cases;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::buffer::Coalescing;
use sluicegate_core::keys::KeyHash;

/// Keys that agree in the half by which the table sorts them, too.
fn hash(key: u64) -> KeyHash {
    KeyHash::new([key, key % 5])
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64),
    Pop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => (0u64..20).prop_map(Step::Put), 2 => Just(Step::Pop)]
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn it_is_its_model(steps in proptest::collection::vec(step(), 0..200)) {
        let mut buffer = Coalescing::default();
        let mut model: Vec<(u64, u64)> = Vec::new();
        for (number, step) in (0u64..).zip(steps) {
            match step {
                Step::Put(key) => {
                    let there = model.iter_mut().find(|(each, _)| *each == key);
                    prop_assert_eq!(buffer.get(hash(key)), there.as_ref().map(|(_, item)| item));
                    let replaced = buffer.replace(hash(key), number);
                    if let Some((_, item)) = there {
                        prop_assert_eq!(replaced, Ok(std::mem::replace(item, number)));
                    } else {
                        prop_assert_eq!(replaced, Err(number));
                        buffer.push(hash(key), number);
                        model.push((key, number));
                    }
                }
                Step::Pop => {
                    let expected = (!model.is_empty()).then(|| model.remove(0).1);
                    prop_assert_eq!(buffer.pop(), expected);
                }
            }
            prop_assert_eq!((buffer.len(), buffer.is_empty()), (model.len(), model.is_empty()));
            prop_assert!(buffer.iter().eq(model.iter().map(|(_, item)| item)));
        }
    }
}

/// A million keys that were once seen cost nothing, whether they waited together or one after the other.
#[test]
fn keys_that_are_gone_cost_no_memory() {
    let key = |number: u64| KeyHash::new([number, number.wrapping_mul(0x9e37_79b9_7f4a_7c15)]);
    let mut buffer = Coalescing::default();
    for number in 0..1_000_000 {
        buffer.push(key(number), number);
        assert_eq!(buffer.pop(), Some(number));
    }
    let (ring, table) = buffer.capacity();
    assert!(ring.max(table) <= 1024, "{ring} {table}");
    for number in 0..200_000 {
        buffer.push(key(number), number);
    }
    for number in 0..200_000 {
        assert_eq!(buffer.pop(), Some(number));
        let (ring, table) = buffer.capacity();
        assert!(buffer.len() * 8 >= ring.max(table) || ring.max(table) <= 2048, "{} in {ring} {table}", buffer.len());
    }
    let (ring, table) = buffer.capacity();
    assert!(ring.max(table) <= 2048, "{ring} {table}");
}
