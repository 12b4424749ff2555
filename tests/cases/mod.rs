//! How many cases a property is tried with: `PROPTEST_CASES`, which proptest itself would not heed beside a number in the test.

use proptest::prelude::ProptestConfig;

/// A configuration with so many cases, unless `PROPTEST_CASES` is set.
pub(crate) fn cases(by_default: u32) -> ProptestConfig {
    let config = ProptestConfig::default(); // this has read PROPTEST_CASES
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { by_default };
    ProptestConfig { cases, ..config }
}
