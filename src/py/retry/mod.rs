//! Retries: argument checks, and the first attempt of a call.
//!
//! | file     | what it is for                              |
//! |----------|---------------------------------------------|
//! | `budget` | `RetryBudget`                               |
//! | `first`  | the first attempt of a call of a `Retry`    |

pub(crate) mod budget;
pub(crate) mod first;

use pyo3::prelude::*;

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    budget::install(&py.get_type::<budget::PyRetryBudget>())?;
    first::install(&py.get_type::<first::PyFirstAttempts>())
}
