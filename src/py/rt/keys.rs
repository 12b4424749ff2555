//! How a key that a user gives becomes a hash: for the objects that keep something for each of very many keys.
//!
//! A key is written down in parts, each with its kind and length, so that no two keys look alike (`1`, `"1"`, `b"1"`, `(1,)`), and hashed by two
//! SipHashes with random keys of the object's own. Nothing of the key is kept, and nobody outside can aim at somebody else's hash.
//!
//! `UUID` and the IP addresses are looked up among the modules that have been imported: where theirs has not been, no key can be one. So
//! hashing a key imports nothing, and runs nothing while others wait for it.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString, PyTuple, PyType};
use sluicegate_core::keys::KeyHash;

use crate::rt::arguments::{text, type_name};
use crate::rt::imported::class_of;

/// A key's tuples may be nested so deep.
const DEPTH: u32 = 16;

/// The hash of an object's keys, and of no other's.
#[derive(Debug)]
pub(crate) struct KeyHasher([RandomState; 2]);

impl KeyHasher {
    pub(crate) fn new() -> Self {
        Self([RandomState::new(), RandomState::new()])
    }

    /// Is it of a kind whose hashing cannot run Python?
    pub(crate) fn is_plain(key: &Bound<'_, PyAny>) -> bool {
        key.is_exact_instance_of::<PyString>() || key.is_exact_instance_of::<PyInt>() || key.is_exact_instance_of::<PyBytes>()
    }

    /// Raises `TypeError` for a key of another kind.
    pub(crate) fn hash(&self, key: &Bound<'_, PyAny>) -> PyResult<KeyHash> {
        let mut both = Both(self.0.each_ref().map(BuildHasher::build_hasher));
        both.key(key, DEPTH)?;
        Ok(KeyHash::new(both.0.map(|hasher| hasher.finish())))
    }
}

/// What a part of a key begins with: its kind, then its length. So no part is the beginning of another, and different keys are different.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Str = 1,
    Bytes,
    Int,
    LongInt,
    Uuid,
    Address4,
    Address6,
    Tuple,
}

/// Two hashers at once.
struct Both([DefaultHasher; 2]);

impl Both {
    fn part(&mut self, kind: Kind, bytes: &[u8]) {
        for hasher in &mut self.0 {
            hasher.write_u8(kind as u8);
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
    }

    fn key(&mut self, key: &Bound<'_, PyAny>, depth: u32) -> PyResult<()> {
        if let Ok(string) = key.cast::<PyString>() {
            match string.to_str() {
                Ok(string) => self.part(Kind::Str, string.as_bytes()),
                Err(_) => self.part(Kind::Str, with_surrogates(string)?.as_bytes()),
            }
        } else if let Ok(bytes) = key.cast::<PyBytes>() {
            self.part(Kind::Bytes, bytes.as_bytes());
        } else if let Some(int) = key.cast::<PyInt>().ok().filter(|key| !key.is_instance_of::<PyBool>()) {
            if let Ok(small) = int.extract::<i64>() {
                self.part(Kind::Int, &small.to_le_bytes());
            } else {
                let digits = int.call_method1("__format__", ("x",))?;
                self.part(Kind::LongInt, digits.cast::<PyString>()?.to_str()?.as_bytes());
            }
        } else if let Ok(tuple) = key.cast::<PyTuple>() {
            if depth == 0 {
                return Err(PyTypeError::new_err(format!("'key' has tuples nested more than {DEPTH} deep")));
            }
            self.part(Kind::Tuple, &tuple.len().to_le_bytes());
            for part in tuple {
                self.key(&part, depth - 1)?;
            }
        } else {
            let (kind, bytes) = other_kind(key)?;
            // Of an IPv6 address with its zone, which tells two link-local ones apart, in the same part: so that nothing else begins as it does.
            self.part(kind, &bytes);
        }
        Ok(())
    }
}

/// A string that UTF-8 cannot hold.
fn with_surrogates<'py>(string: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(string.call_method1(interned!(string.py(), "encode"), ("utf-8", "surrogatepass"))?.cast_into()?)
}

/// UUIDs and IP addresses.
fn other_kind(key: &Bound<'_, PyAny>) -> PyResult<(Kind, Vec<u8>)> {
    static UUID: Kept<PyType> = Kept::new();
    static ADDRESS4: Kept<PyType> = Kept::new();
    static ADDRESS6: Kept<PyType> = Kept::new();
    let py = key.py();
    let is = |cell, module, name| class_of(py, cell, module, name)?.map_or(Ok(false), |class| key.is_instance(class));
    let bytes = |attribute: &str| -> PyResult<Vec<u8>> { Ok(key.getattr(attribute)?.cast::<PyBytes>()?.as_bytes().to_vec()) };
    if is(&UUID, "uuid", "UUID")? {
        Ok((Kind::Uuid, bytes("bytes")?))
    } else if is(&ADDRESS4, "ipaddress", "IPv4Address")? {
        Ok((Kind::Address4, bytes("packed")?))
    } else if is(&ADDRESS6, "ipaddress", "IPv6Address")? {
        let mut address = bytes("packed")?;
        if let Some(zone) = key.getattr_opt(interned!(py, "scope_id"))?.filter(|zone| !zone.is_none()) {
            address.extend_from_slice(with_surrogates(zone.cast::<PyString>()?)?.as_bytes());
        }
        Ok((Kind::Address6, address))
    } else {
        let (key, kind) = (text(key), type_name(key));
        Err(PyTypeError::new_err(format!(
            "'key' must be a str, bytes, int, UUID, IP address or a tuple of those, not {key} ({kind})"
        )))
    }
}
