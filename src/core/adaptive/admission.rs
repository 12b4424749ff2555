//! Which calls are refused first: the less urgent ones, so that there is room for those that are more urgent. Pure.
//!
//! # Algorithm
//! Without a wait queue, a call of a less urgent level is admitted only if some slots stay free behind it: *trunk reservation*, as telephone
//! networks have it (B. L. Miller, "A queueing reward system with several customer classes", Management Science 16, 1969; P. Key, "Optimal
//! control and trunk reservation in loss networks", Probability in the Engineering and Informational Sciences 4, 1990). A few slots
//! suffice: at a tenth of the limit the most urgent calls are hardly ever refused, while nearly all slots stay in use. The reserve is never
//! more than what still counts as nearly full, or a limiter with less urgent calls alone could not grow.
//!
//! With a wait queue nobody overtakes, so slots cannot be reserved: there the *places* are shared out (partial buffer sharing; H. Kroner
//! and others, "Priority management in ATM switching nodes", IEEE JSAC 9, 1991). The least urgent calls may use a fifth of the queue, the
//! next level two fifths, and the most urgent all of it.
//!
//! # What it does not do
//! It reserves nothing at a limit of 1, and no level is ever shut out altogether.

/// Levels go from zero, the most urgent, to this one.
pub const LEAST_URGENT: u64 = 4;

/// How many slots have to stay free when a call of this level is admitted at once. `nearly` are nearly all of the limit.
#[inline]
pub(super) fn reserve(limit: u64, nearly: u64, priority: u64) -> u64 {
    let most = limit.saturating_sub(nearly);
    (priority * most).div_ceil(LEAST_URGENT).min(limit.saturating_sub(1))
}

/// How many places of the wait queue a call of this level may find taken at most, less one.
#[inline]
pub(super) fn places(max_waiting: u64, priority: u64) -> u64 {
    // In this order, because the largest queue times the level would not fit.
    let fifth = LEAST_URGENT + 1;
    max_waiting - (max_waiting / fifth * priority + max_waiting % fifth * priority / fifth)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn of_each_level(of: impl Fn(u64) -> u64) -> Vec<u64> {
        (0..=LEAST_URGENT).map(of).collect()
    }

    #[test]
    fn a_tenth_of_the_slots_is_reserved_at_most() {
        assert_eq!(of_each_level(|priority| reserve(1, 0, priority)), [0, 0, 0, 0, 0]);
        assert_eq!(of_each_level(|priority| reserve(2, 1, priority)), [0, 1, 1, 1, 1]);
        assert_eq!(of_each_level(|priority| reserve(20, 18, priority)), [0, 1, 1, 2, 2]);
        assert_eq!(of_each_level(|priority| reserve(40, 36, priority)), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn places_are_shared_in_fifths_and_everybody_has_one() {
        assert_eq!(of_each_level(|priority| places(0, priority)), [0, 0, 0, 0, 0]);
        assert_eq!(of_each_level(|priority| places(1, priority)), [1, 1, 1, 1, 1]);
        assert_eq!(of_each_level(|priority| places(10, priority)), [10, 8, 6, 4, 2]);
        assert_eq!(of_each_level(|priority| places(7, priority)), [7, 6, 5, 3, 2]);
        assert_eq!(places(u64::MAX, LEAST_URGENT), u64::MAX / 5);
    }
}
