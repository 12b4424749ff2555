//! How many cases a property is tried with, and which.
//!
//! A plain run tries the same cases each time, as the suite in Python does: it says whether a change broke something. To look for what nobody knows
//! yet, `PROPTEST_CASES` asks for so many cases from a new seed each time (`make test-long` does). proptest itself would not heed that variable
//! beside a number in the test.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// A configuration with so many cases, unless `PROPTEST_CASES` is set.
pub(crate) fn cases(by_default: u32) -> ProptestConfig {
    let config = ProptestConfig::default(); // this has read the variables
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return config;
    }
    ProptestConfig { cases: by_default, rng_seed: RngSeed::Fixed(0), ..config }
}
