//! `Keys`: the keys of a keyed limiter, which the limiter shares with their handles, and the exceptions for their refusals.

use std::fmt::Debug;
use std::sync::Arc;

use pyo3::prelude::*;
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{BucketLaw, KeyedStatistics, NewLimit, NewRate, Refusal, Scale, Terms, Told, Units, WindowLaw};
use sluicegate_core::wait::Wakes;

use super::ops::Request;
use super::refusal::{all_in_use, cannot_pass, rate_limited};
use super::{Keyed, Limiter};
use crate::rt::waker::Waker;

/// The result of a visit, and its wake-ups.
type Answer<T> = (Wakes<Waker>, T);

/// A new limit for all keys or for one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Rate(NewRate),
    Limit(NewLimit),
}

/// The keys of a keyed limiter, whatever its kind.
pub(super) trait Keys: Debug + Send + Sync {
    fn scale(&self) -> Scale;
    fn clock(&self) -> &Clock<Waker>;
    /// The number of keys that are remembered.
    fn len(&self) -> usize;
    fn try_acquire(&self, py: Python<'_>, hash: KeyHash, n: Units) -> Answer<Result<bool, Refusal>>;
    fn try_or_tell(&self, py: Python<'_>, hash: KeyHash, n: Units, limit: Option<Nanos>)
    -> Answer<Result<Option<Told>, Refusal>>;
    fn refuse_beyond(&self, py: Python<'_>, hash: KeyHash, n: Units, limit: Nanos) -> Answer<Result<Option<Nanos>, Refusal>>;
    fn limiter(&self, py: Python<'_>, hash: KeyHash) -> Answer<Result<Arc<Limiter>, Refusal>>;
    fn let_go(&self, py: Python<'_>, hash: KeyHash) -> Wakes<Waker>;
    fn forget(&self, py: Python<'_>, hash: KeyHash) -> Answer<bool>;
    fn is_remembered(&self, py: Python<'_>, hash: KeyHash) -> bool;
    fn never_fits(&self, py: Python<'_>, hash: KeyHash, n: Units) -> bool;
    fn level(&self, py: Python<'_>, hash: KeyHash) -> Answer<i128>;
    fn retry_after(&self, py: Python<'_>, hash: KeyHash, n: Units) -> Answer<Result<Nanos, Refusal>>;
    fn terms(&self, py: Python<'_>) -> Terms;
    fn terms_of(&self, py: Python<'_>, hash: KeyHash) -> Terms;
    fn statistics(&self, py: Python<'_>) -> Answer<KeyedStatistics>;
    fn visit_wakers(&self, py: Python<'_>, each: &mut dyn FnMut(&Waker));
    fn change(&self, py: Python<'_>, change: Change, told: &dyn Fn(&mut Terms)) -> Wakes<Waker>;
    fn change_of(&self, py: Python<'_>, hash: KeyHash, change: Change, told: &dyn Fn(&mut Terms)) -> Answer<Result<(), Refusal>>;
}

macro_rules! keys {
    ($law:ty, $change:path) => {
        impl Keys for Keyed<$law> {
            fn scale(&self) -> Scale {
                Self::scale(self)
            }
            fn clock(&self) -> &Clock<Waker> {
                Self::clock(self)
            }
            fn len(&self) -> usize {
                Self::len(self)
            }
            fn try_acquire(&self, py: Python<'_>, hash: KeyHash, n: Units) -> Answer<Result<bool, Refusal>> {
                Self::try_acquire(self, py, hash, n)
            }
            fn try_or_tell(
                &self,
                py: Python<'_>,
                hash: KeyHash,
                n: Units,
                limit: Option<Nanos>,
            ) -> Answer<Result<Option<Told>, Refusal>> {
                Self::try_or_tell(self, py, hash, n, limit)
            }
            fn refuse_beyond(
                &self,
                py: Python<'_>,
                hash: KeyHash,
                n: Units,
                limit: Nanos,
            ) -> Answer<Result<Option<Nanos>, Refusal>> {
                Self::refuse_beyond(self, py, hash, n, limit)
            }
            fn limiter(&self, py: Python<'_>, hash: KeyHash) -> Answer<Result<Arc<Limiter>, Refusal>> {
                Self::limiter(self, py, hash)
            }
            fn let_go(&self, py: Python<'_>, hash: KeyHash) -> Wakes<Waker> {
                Self::let_go(self, py, hash)
            }
            fn forget(&self, py: Python<'_>, hash: KeyHash) -> Answer<bool> {
                Self::forget(self, py, hash)
            }
            fn is_remembered(&self, py: Python<'_>, hash: KeyHash) -> bool {
                Self::is_remembered(self, py, hash)
            }
            fn never_fits(&self, py: Python<'_>, hash: KeyHash, n: Units) -> bool {
                Self::never_fits(self, py, hash, n)
            }
            fn level(&self, py: Python<'_>, hash: KeyHash) -> Answer<i128> {
                Self::level(self, py, hash)
            }
            fn retry_after(&self, py: Python<'_>, hash: KeyHash, n: Units) -> Answer<Result<Nanos, Refusal>> {
                Self::retry_after(self, py, hash, n)
            }
            fn terms(&self, py: Python<'_>) -> Terms {
                Self::terms(self, py)
            }
            fn terms_of(&self, py: Python<'_>, hash: KeyHash) -> Terms {
                Self::terms_of(self, py, hash)
            }
            fn statistics(&self, py: Python<'_>) -> Answer<KeyedStatistics> {
                Self::statistics(self, py)
            }
            fn visit_wakers(&self, py: Python<'_>, each: &mut dyn FnMut(&Waker)) {
                Self::visit_wakers(self, py, each);
            }
            fn change(&self, py: Python<'_>, change: Change, told: &dyn Fn(&mut Terms)) -> Wakes<Waker> {
                let $change(change) = change else { unreachable!("each class changes what it has") };
                Self::change(self, py, change, told)
            }
            fn change_of(
                &self,
                py: Python<'_>,
                hash: KeyHash,
                change: Change,
                told: &dyn Fn(&mut Terms),
            ) -> Answer<Result<(), Refusal>> {
                let $change(change) = change else { unreachable!("each class changes what it has") };
                Self::change_of(self, py, hash, change, told)
            }
        }
    };
}
keys!(BucketLaw, Change::Rate);
keys!(WindowLaw, Change::Limit);

impl dyn Keys {
    /// The exception for a refusal of this key. `this` is what is named: the keyed limiter, of which all keys may be in use, or a handle.
    pub(super) fn refusal(&self, this: &Bound<'_, PyAny>, hash: KeyHash, n: Units, refusal: Refusal) -> PyErr {
        let py = this.py();
        match refusal {
            Refusal::AllKeysInUse(after) => rate_limited(this, all_in_use(py), after, self.len()),
            Refusal::NeverFits => cannot_pass("n", self.scale().tokens(n.into()), this),
            Refusal::NoMemory => super::refusal::no_memory(this),
            refusal => match self.limiter_of(this, hash) {
                Ok(limiter) => Request::One(limiter, n).error(this, refusal),
                Err(error) => error,
            },
        }
    }

    pub(super) fn limiter_of(&self, this: &Bound<'_, PyAny>, hash: KeyHash) -> PyResult<Arc<Limiter>> {
        let (wakes, limiter) = self.limiter(this.py(), hash);
        wakes.fire();
        limiter.map_err(|refusal| self.refusal(this, hash, 0, refusal))
    }

    pub(super) fn try_key(&self, this: &Bound<'_, PyAny>, hash: KeyHash, n: Units) -> PyResult<bool> {
        let (wakes, result) = self.try_acquire(this.py(), hash, n);
        wakes.fire();
        result.map_err(|refusal| self.refusal(this, hash, n, refusal))
    }

    /// Sets a limit for this key alone.
    pub(super) fn change_key(
        &self,
        this: &Bound<'_, PyAny>,
        hash: KeyHash,
        change: Change,
        told: &dyn Fn(&mut Terms),
    ) -> PyResult<()> {
        let (wakes, result) = self.change_of(this.py(), hash, change, told);
        wakes.fire();
        result.map_err(|refusal| self.refusal(this, hash, 0, refusal))
    }
}
