//! What the holder of the baton does with items that have keys. The protocol is at the head of `keyed`.

use pyo3::prelude::*;
use sluicegate_core::buffer::Coalescing;

use crate::queue::baton::BatonGuard;
use crate::queue::items::{Item, Order};
use crate::queue::keyed::KeyedItem;

impl BatonGuard<'_, '_, '_> {
    pub(in crate::queue) fn is_keyed(&self) -> bool {
        self.object.inner.order == Order::Keyed
    }

    /// Works on the items with keys. They stay in the section: only `merge` is foreign, and it is called between two visits.
    pub(in crate::queue) fn with_keyed<R>(&self, request: impl FnOnce(&mut Coalescing<Item>) -> R) -> Option<R> {
        self.object.inner.core.with_buffer(self.py(), |buffer| buffer.keyed.as_deref_mut().map(request))
    }

    /// Of an item from the inbox: whatever its `merge` does, it is in.
    pub(in crate::queue) fn push_keyed(&mut self, item: &Item) -> PyResult<()> {
        let py = self.py();
        let merged = self.coalesce(item);
        let Ok(new) = item.bind(py).cast::<KeyedItem>() else { return Ok(()) };
        let (key, new) = (new.get().key, new.get().item.clone_ref(py));
        match merged {
            Ok(false) => {
                self.with_keyed(|keyed| keyed.push(key, new));
                self.is_news = true;
                return Ok(());
            }
            Ok(true) => self.displaced.push(new),
            Err(_) => {
                let old = self.with_keyed(|keyed| keyed.replace(key, new));
                self.displaced.extend(old.map(|old| old.unwrap_or_else(|new| new)));
            }
        }
        self.object.inner.core.count_merged(py, 1, true).fire();
        merged.map(drop)
    }

    /// Merges the item into that with the same key. False if none waits.
    pub(in crate::queue) fn coalesce(&mut self, item: &Item) -> PyResult<bool> {
        let py = self.py();
        let (Some(keys), Ok(new)) = (&self.object.inner.keys, item.bind(py).cast::<KeyedItem>()) else { return Ok(false) };
        let KeyedItem { key, item: new } = new.get();
        self.reserve_displaced()?;
        let old = self.with_keyed(|keyed| keyed.get(*key).map(|old| old.clone_ref(py))).flatten();
        let Some(old) = old else { return Ok(false) };
        let merged = keys.merge(py, &old, new);
        self.displaced.push(old);
        // Nobody else can have taken it: they would have needed the baton.
        let merged = merged?;
        let replaced = self.with_keyed(|keyed| keyed.replace(*key, merged));
        let is_merged = matches!(replaced, Some(Ok(_)));
        self.displaced.extend(replaced.map(|replaced| replaced.unwrap_or_else(|unused| unused)));
        Ok(is_merged)
    }

    /// Merges as many of these, from the first, as have keys that wait.
    pub(in crate::queue) fn coalesce_first(
        &mut self,
        items: &mut std::vec::IntoIter<Item>,
        accepted: &mut usize,
    ) -> PyResult<()> {
        let mut merged = 0;
        let mut outcome = Ok(true);
        while let (Ok(true), Some(first)) = (&outcome, items.as_slice().first()) {
            outcome = self.coalesce(first);
            if matches!(outcome, Ok(true)) {
                merged += 1;
                self.displaced.extend(items.next());
            }
        }
        *accepted += merged;
        self.object.inner.core.count_merged(self.py(), merged, false).fire();
        self.check_in();
        outcome.map(drop)
    }
}
