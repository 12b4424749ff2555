//! `Draw`: that each is attempted once a round, and that those that are ready are chosen equally often.
#![cfg(not(loom))]

use proptest::prelude::*;
use sluicegate_core::select::Draw;

proptest! {
    #[test]
    fn a_round_attempts_each_once_and_stops_at_the_first_that_is_ready(ready in prop::collection::vec(any::<bool>(), 0..12), seed: u64) {
        let mut draw = Draw::new(ready.len(), seed).unwrap();
        for _ in 0..4 {
            let mut attempted = Vec::new();
            let chosen = draw.first_ready(|index| {
                attempted.push(index);
                ready[index].then_some(index)
            });
            if let Some((index, same)) = chosen {
                prop_assert!(ready[index] && index == same);
                prop_assert_eq!(attempted.pop(), Some(index));
                prop_assert!(attempted.iter().all(|&index| !ready[index]));
            } else {
                prop_assert!(!ready.contains(&true));
                attempted.sort_unstable();
                prop_assert_eq!(attempted, (0..ready.len()).collect::<Vec<_>>());
            }
        }
    }
}

/// Chi-squared, over seeds in a row: as one selection after the other gets them.
fn is_uniform(len: usize, ready: &[usize], distance: u64) {
    let rounds = 3000_u32;
    let mut counts = vec![0_u32; len];
    for round in 0..rounds {
        let mut draw = Draw::new(len, u64::from(round) * distance).unwrap();
        counts[draw.first_ready(|index| ready.contains(&index).then_some(())).unwrap().0] += 1;
    }
    let expected = f64::from(rounds) / f64::from(u32::try_from(ready.len()).unwrap());
    let distances = ready.iter().map(|&index| (f64::from(counts[index]) - expected).powi(2) / expected);
    let chi_squared: f64 = distances.sum();
    // 99.99 % of fair choices among at most 5 stay below 23.5. The seeds are fixed, so this never fails by chance.
    assert!(chi_squared < 23.5, "{counts:?} among {ready:?} of {len}");
}

#[test]
fn those_that_are_ready_are_chosen_equally_often_wherever_they_stand() {
    for (len, ready) in [(2, vec![0, 1]), (3, vec![0, 1]), (4, vec![0, 1, 3]), (5, vec![0, 1, 2, 3, 4]), (100, vec![3, 4, 99])] {
        // Also if selections of another kind come in between.
        for distance in [1, 2, 3, 4] {
            is_uniform(len, &ready, distance);
        }
    }
}
