//! `Buckets`: the buckets of all keys, which a `KeyedTokenBucket` shares with the handles of its keys; and what they refuse.

use std::sync::Arc;

use crate::rt::kept::interned;
use pyo3::prelude::*;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{Rate, Refusal, Terms, Units};

use super::ops::Request;
use super::refusal::{cannot_pass, rate_limited};
use super::{Keyed, Limiter};

#[derive(Debug)]
pub(super) struct Buckets {
    pub(super) core: Keyed,
    pub(super) max_keys: usize,
}

impl Buckets {
    /// The exception for a refusal of this key.
    pub(super) fn refusal(&self, this: &Bound<'_, PyAny>, hash: KeyHash, n: Units, refusal: Refusal) -> PyErr {
        let py = this.py();
        match refusal {
            Refusal::LineFull(at) => {
                let after = at.saturating_sub(self.core.clock().now());
                let most = self.max_keys;
                rate_limited(
                    this,
                    interned!(
                        py,
                        "all {3} keys of {2}{0} are in use, and none can be forgotten for a new key; retry after {1:.6f} seconds"
                    ),
                    after,
                    most,
                )
            }
            Refusal::NeverFits => cannot_pass("n", self.core.scale().tokens(n.into()), this),
            refusal => match self.limiter(this, hash) {
                Ok(limiter) => Request::One(limiter, n).error(this, refusal),
                Err(error) => error,
            },
        }
    }

    pub(super) fn limiter(&self, this: &Bound<'_, PyAny>, hash: KeyHash) -> PyResult<Arc<Limiter>> {
        let (wakes, limiter) = self.core.limiter(this.py(), hash);
        wakes.fire();
        limiter.map_err(|refusal| self.refusal(this, hash, 0, refusal))
    }

    pub(super) fn try_acquire(&self, this: &Bound<'_, PyAny>, hash: KeyHash, n: Units) -> PyResult<bool> {
        let (wakes, result) = self.core.try_acquire(this.py(), hash, n);
        wakes.fire();
        result.map_err(|refusal| self.refusal(this, hash, n, refusal))
    }

    /// A rate for this key alone.
    pub(super) fn set_rate_of(
        &self,
        this: &Bound<'_, PyAny>,
        hash: KeyHash,
        rate: (Rate, Option<Units>),
        told: impl FnOnce(&mut Terms),
    ) -> PyResult<()> {
        let (wakes, result) = self.core.set_rate_of(this.py(), hash, rate, told);
        wakes.fire();
        result.map_err(|refusal| self.refusal(this, hash, 0, refusal))
    }

    pub(super) fn never_fits(&self, py: Python<'_>, hash: KeyHash, n: Units) -> bool {
        self.core.never_fits(py, hash, n)
    }
}
