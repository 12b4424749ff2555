//! Hashing of keys, for the objects that keep a value for each of very many keys; and the handles of their keys.
//!
//! A key is serialised in parts, each with its type and length, so that different keys have different serialisations (`1`, `"1"`, `b"1"`,
//! `(1,)`), and hashed by SipHash, with 128 bits and a random key that belongs to the object. The key itself is not stored, and an attacker
//! cannot choose a key with the hash of another.
//!
//! `UUID` and the IP addresses are looked up among the modules that have been imported; if their module has not been, no key can be of that
//! type. So hashing a key imports nothing, and runs no Python code that other threads would wait for.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyString, PyTuple, PyType};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::sip::{self, SipKey};

use crate::rt::arguments::{text, type_name};
use crate::rt::class::Common;
use crate::rt::imported::class_of;
use crate::rt::memory;

/// The number of sections that share the keys: on the build with a global lock more than one would be no use.
#[cfg(Py_GIL_DISABLED)]
pub(crate) const SHARDS: usize = 64;
#[cfg(not(Py_GIL_DISABLED))]
pub(crate) const SHARDS: usize = 1;

/// The largest depth to which the tuples of a key may be nested.
const DEPTH: u32 = 16;

/// The hash function of one object, with its own random key.
#[derive(Debug)]
pub(crate) struct KeyHasher(SipKey);

impl KeyHasher {
    pub(crate) fn new() -> Self {
        // What a map of the library would hash nothing to is a random number: its key comes from the system.
        Self(SipKey([(); 2].map(|()| RandomState::new().build_hasher().finish())))
    }

    /// The hash of a key whose hashing runs no Python and cannot fail; else `None`.
    #[inline]
    pub(crate) fn plain_hash(&self, key: &Bound<'_, PyAny>) -> Option<KeyHash> {
        let (kind, small);
        let bytes = if let Ok(string) = key.cast_exact::<PyString>() {
            kind = KeyKind::Str;
            string.to_str().ok()?.as_bytes()
        } else if let Ok(int) = key.cast_exact::<PyInt>() {
            kind = KeyKind::Int;
            small = int.extract::<i64>().ok()?.to_le_bytes();
            &small
        } else {
            kind = KeyKind::Bytes;
            key.cast_exact::<PyBytes>().ok()?.as_bytes()
        };
        Some(KeyHash::new(sip::hash(self.0, kind.head(bytes.len()), bytes)))
    }

    /// Raises `TypeError` for a key of an unsupported type.
    pub(crate) fn hash(&self, key: &Bound<'_, PyAny>) -> PyResult<KeyHash> {
        if let Some(hash) = self.plain_hash(key) {
            return Ok(hash);
        }
        let mut parts = Parts::default();
        parts.key(key, DEPTH)?;
        let Parts { head, rest } = parts;
        Ok(KeyHash::new(sip::hash(self.0, head.unwrap_or(0), &rest)))
    }
}

/// Where the state of an object is: its own, or that of one key of a keyed object.
#[derive(Debug)]
pub(crate) enum Home<O, K> {
    /// Boxed, so that the handle of a key is small.
    Own(Box<O>),
    Key(OfKey<K>),
}

#[derive(Debug)]
pub(crate) struct OfKey<K> {
    pub(crate) keys: Arc<K>,
    pub(crate) hash: KeyHash,
    pub(crate) key: Py<PyAny>,
    /// The keyed object, which shows what its keys share to the garbage collector.
    pub(crate) owner: Py<PyAny>,
}

impl<O, K> Home<O, K> {
    #[inline]
    pub(crate) fn of_key<C>(owner: &Bound<'_, C>, keys: &Arc<K>, key: &Bound<'_, PyAny>, hash: KeyHash) -> Self {
        let (keys, owner) = (Arc::clone(keys), owner.as_any().clone().unbind());
        Self::Key(OfKey { keys, hash, key: key.clone().unbind(), owner })
    }

    /// The key, if it is one's.
    #[inline]
    pub(crate) fn key(&self) -> Option<&OfKey<K>> {
        if let Self::Key(of) = self { Some(of) } else { None }
    }

    /// What follows the class in a `repr`: the name, and the key.
    pub(crate) fn label(&self, py: Python<'_>, common: &Common) -> String {
        let key = self.key().map_or_else(String::new, |of| format!(" key={}", text(of.key.bind(py))));
        common.label(py) + &key
    }

    /// Visits the objects that it holds, for the garbage collector.
    pub(crate) fn traverse(
        &self,
        visit: &PyVisit<'_>,
        own: impl FnOnce(&O) -> Result<(), PyTraverseError>,
    ) -> Result<(), PyTraverseError> {
        match self {
            Self::Own(state) => own(state),
            Self::Key(of) => visit.call(&of.owner).and_then(|()| visit.call(&of.key)),
        }
    }
}

/// Calls the same method of either kind; a key's takes the hash of the key as an additional argument.
macro_rules! at_home {
    ($home:expr, $method:ident, $py:ident $(, $argument:expr)*) => {
        match $home {
            $crate::rt::keys::Home::Own(own) => own.$method($py $(, $argument)*),
            $crate::rt::keys::Home::Key(of) => of.keys.$method($py, of.hash $(, $argument)*),
        }
    };
}
pub(crate) use at_home;

/// Calls a method of the handle of a key of `this`, with the arguments that are given: the general form of a method with the key first.
pub(crate) fn of_handle<'py>(
    this: &Bound<'py, PyAny>,
    key: &Bound<'py, PyAny>,
    method: &Bound<'py, PyString>,
    arguments: &[(&str, Option<Borrowed<'_, 'py, PyAny>>)],
) -> PyResult<Py<PyAny>> {
    let named = PyDict::new(this.py());
    for (name, argument) in arguments {
        argument.map_or(Ok(()), |argument| named.set_item(name, argument))?;
    }
    let handle = this.call_method1(interned!(this.py(), "key"), (key,))?;
    handle.call_method(method, (), Some(&named)).map(Bound::unbind)
}

/// The representation of the handle of a key, for a message.
pub(crate) fn text_of_handle(keyed: &Bound<'_, PyAny>, key: &Bound<'_, PyAny>) -> String {
    match keyed.call_method1(interned!(keyed.py(), "key"), (key,)) {
        Ok(handle) => text(&handle),
        Err(_) => text(keyed),
    }
}

/// The prefix of a part of a key: its type, followed by its length. So no part is a prefix of another, and different keys stay different.
#[derive(Clone, Copy)]
#[repr(u8)]
enum KeyKind {
    Str = 1,
    Bytes,
    Int,
    LongInt,
    Uuid,
    Address4,
    Address6,
    Tuple,
}

impl KeyKind {
    /// No length is near the limit of seven bytes.
    #[inline]
    fn head(self, length: usize) -> u64 {
        (length as u64) << 8 | self as u64
    }
}

/// The serialisation of a key.
#[derive(Default)]
struct Parts {
    /// The prefix of the first part.
    head: Option<u64>,
    /// All that follows.
    rest: Vec<u8>,
}

impl Parts {
    fn part(&mut self, py: Python<'_>, kind: KeyKind, bytes: &[u8]) -> PyResult<()> {
        let head = kind.head(bytes.len());
        let room = self.rest.try_reserve(size_of_val(&head) + bytes.len());
        room.map_err(|_| memory::none(py, c"there is no memory for the key"))?;
        if self.head.is_none() {
            self.head = Some(head);
        } else {
            self.rest.extend_from_slice(&head.to_le_bytes());
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    fn key(&mut self, key: &Bound<'_, PyAny>, depth: u32) -> PyResult<()> {
        let py = key.py();
        if let Ok(string) = key.cast::<PyString>() {
            match string.to_str() {
                Ok(string) => self.part(py, KeyKind::Str, string.as_bytes())?,
                Err(_) => self.part(py, KeyKind::Str, with_surrogates(string)?.as_bytes())?,
            }
        } else if let Ok(bytes) = key.cast::<PyBytes>() {
            self.part(py, KeyKind::Bytes, bytes.as_bytes())?;
        } else if let Some(int) = key.cast::<PyInt>().ok().filter(|key| !key.is_instance_of::<PyBool>()) {
            if let Ok(small) = int.extract::<i64>() {
                self.part(py, KeyKind::Int, &small.to_le_bytes())?;
            } else {
                let digits = int.call_method1("__format__", ("x",))?;
                self.part(py, KeyKind::LongInt, digits.cast::<PyString>()?.to_str()?.as_bytes())?;
            }
        } else if let Ok(tuple) = key.cast::<PyTuple>() {
            if depth == 0 {
                return Err(PyTypeError::new_err(format!("'key' has tuples nested more than {DEPTH} deep")));
            }
            self.part(py, KeyKind::Tuple, &tuple.len().to_le_bytes())?;
            for part in tuple {
                self.key(&part, depth - 1)?;
            }
        } else {
            let (kind, bytes) = other_kind(key)?;
            // An IPv6 address and its zone, which distinguishes link-local addresses, are one part, so that it is not a prefix of another key.
            self.part(py, kind, &bytes)?;
        }
        Ok(())
    }
}

/// A string that cannot be encoded in UTF-8.
fn with_surrogates<'py>(string: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(string.call_method1(interned!(string.py(), "encode"), ("utf-8", "surrogatepass"))?.cast_into()?)
}

/// UUIDs and IP addresses.
fn other_kind(key: &Bound<'_, PyAny>) -> PyResult<(KeyKind, Vec<u8>)> {
    static UUID: Kept<PyType> = Kept::new();
    static ADDRESS4: Kept<PyType> = Kept::new();
    static ADDRESS6: Kept<PyType> = Kept::new();
    let py = key.py();
    let is = |cell, module, name| class_of(py, cell, module, name)?.map_or(Ok(false), |class| key.is_instance(class));
    let bytes = |attribute: &str| -> PyResult<Vec<u8>> { Ok(key.getattr(attribute)?.cast::<PyBytes>()?.as_bytes().to_vec()) };
    if is(&UUID, "uuid", "UUID")? {
        Ok((KeyKind::Uuid, bytes("bytes")?))
    } else if is(&ADDRESS4, "ipaddress", "IPv4Address")? {
        Ok((KeyKind::Address4, bytes("packed")?))
    } else if is(&ADDRESS6, "ipaddress", "IPv6Address")? {
        let mut address = bytes("packed")?;
        if let Some(zone) = key.getattr_opt(interned!(py, "scope_id"))?.filter(|zone| !zone.is_none()) {
            address.extend_from_slice(with_surrogates(zone.cast::<PyString>()?)?.as_bytes());
        }
        Ok((KeyKind::Address6, address))
    } else {
        let (key, kind) = (text(key), type_name(key));
        Err(PyTypeError::new_err(format!(
            "'key' must be a str, bytes, int, UUID, IP address or a tuple of those, not {key} ({kind})"
        )))
    }
}
