//! Where the state of a `CircuitBreaker` is: its own, or that of one key of a `KeyedBreaker`.

use std::ops::Deref;

use pyo3::prelude::*;
use sluicegate_core::breaker::{Breaker, Change, Keyed, NoRoom};
use sluicegate_core::clock::{Nanos, seconds};

use super::judge::Judge;
use crate::rt::class::Common;
use crate::rt::domain::Attached;
use crate::rt::exceptions;
use crate::rt::kept::interned;
use crate::rt::keys::Home;
use crate::rt::waker::Waker;

/// A breaker, or the breakers of all keys, and who judges how calls end.
#[derive(Debug)]
pub(super) struct Judged<B> {
    pub(super) core: B,
    pub(super) judge: Judge,
}

impl<B> Deref for Judged<B> {
    type Target = B;

    #[inline]
    fn deref(&self) -> &B {
        &self.core
    }
}

pub(super) type Keys = Judged<Keyed<Waker, Attached>>;
pub(super) type Target = Home<Judged<Breaker<Waker, Attached>>, Keys>;

impl Target {
    pub(super) fn force_open(&self, py: Python<'_>, common: &Common, lasts: Option<Nanos>) -> PyResult<Option<Change>> {
        match self {
            Self::Own(own) => Ok(own.force_open(py, lasts)),
            Self::Key(of) => of.keys.force_open(py, of.hash, lasts).map_err(|NoRoom| of.keys.no_room(py, common)),
        }
    }

    pub(super) fn disable(&self, py: Python<'_>, common: &Common) -> PyResult<Option<Change>> {
        match self {
            Self::Own(own) => Ok(own.disable(py)),
            Self::Key(of) => of.keys.disable(py, of.hash).map_err(|NoRoom| of.keys.no_room(py, common)),
        }
    }

    pub(super) fn judge(&self) -> &Judge {
        match self {
            Self::Own(own) => &own.judge,
            Self::Key(of) => &of.keys.judge,
        }
    }
}

impl Keys {
    fn no_room(&self, py: Python<'_>, common: &Common) -> PyErr {
        let template = interned!(py, "all {3} keys of KeyedBreaker{0} are in use, and none can be forgotten for a new key");
        let retry_after = seconds(self.rules().window); // a hint: by then a key may have recovered
        exceptions::overloaded(py, (template, common.name(py), retry_after, "full", self.max_keys()))
    }
}
