//! Retries: argument checks, and nothing else.
//!
//! | file     | what it is for |
//! |----------|----------------|
//! | `budget` | `RetryBudget`  |

pub(crate) mod budget;
