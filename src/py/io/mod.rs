//! Native I/O, behind `sluicegate.io`: transfers between files or sockets and credit channels, which need the GIL only to hand over items.
//!
//! | file        | contents                                                                   |
//! |-------------|----------------------------------------------------------------------------|
//! | `runtime`   | the tokio runtime: its lifetime, forks, the interpreter's exit              |
//! | `threads`   | threads for calls that block                                               |
//! | `endpoint`  | files, sockets and descriptors, as they are opened, read and written        |
//! | `reading`   | from a source into a channel                                                |
//! | `writing`   | from a channel to a target                                                  |
//! | `alarm`     | timed events of a channel                                                  |
//! | `transfer`  | the Python object of a transfer: stopped, resumed, waited for               |
//!
//! # Ownership
//! A transfer is one tokio task. It owns the Python objects that it uses (the end of the channel, items that wait for credit), and accesses them
//! only while it is attached; while it is detached it holds no section. The channel's wait queue and others wake it by a `Notify`, which holds
//! no Python objects. `await` only yields the completion: an item never passes through a future, so none can be lost with a future.

mod alarm;
mod endpoint;
mod reading;
mod runtime;
mod threads;
mod transfer;
mod writing;

use transfer::Counted;
pub(crate) use transfer::PyTransfer;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sluicegate_core::credits::frames::Framing;

use self::endpoint::Name;
use self::reading::{Decoding, Options, Reading};
use self::writing::Writing;
use crate::credits::receiver::PyReceiver;
use crate::credits::sender::PySender;
use crate::rt::arguments::{self, Truth};

/// The type of the lines. Raises for an encoding in which a line feed is not one byte of that value.
fn decoding(py: Python<'_>, encoding: Option<String>, errors: String) -> PyResult<Decoding> {
    let Some(encoding) = encoding else { return Ok(Decoding::Bytes) };
    let codecs = py.import("codecs")?;
    let canonical: String = codecs.call_method1("lookup", (&encoding,))?.getattr("name")?.extract()?;
    codecs.call_method1("lookup_error", (&errors,))?;
    if canonical == "utf-8" || canonical == "utf-8-sig" {
        return Ok(Decoding::Utf8 { errors, skips_mark: canonical == "utf-8-sig" });
    }
    let ends: Vec<u8> = codecs.call_method1("encode", ("\n", &encoding))?.extract()?;
    if ends != b"\n" {
        return Err(PyValueError::new_err(format!(
            "'encoding' must be one in which a line feed is the byte 10, not {encoding:?}; encoding=None gives bytes"
        )));
    }
    Ok(Decoding::Other { encoding, errors })
}

/// The transfer behind `read_lines`.
#[pyfunction]
pub(crate) fn _read_lines(
    source: &Bound<'_, PyAny>,
    sender: &Bound<'_, PySender>,
    encoding: Option<String>,
    errors: String,
    keep_ends: Truth,
    limit: &Bound<'_, PyAny>,
    complete: Truth,
) -> PyResult<PyTransfer> {
    let py = source.py();
    let decoding = decoding(py, encoding, errors)?;
    let limit = arguments::positive("limit", limit)?;
    read(source, sender, "read_lines", Counted::Items, |name, endpoint| Options {
        name,
        endpoint,
        kind: Framing::Lines { keep_ends: keep_ends.0 },
        decoding,
        limit,
        completes: complete.0,
    })
}

/// The transfer behind `read_chunks`.
#[pyfunction]
pub(crate) fn _read_chunks(
    source: &Bound<'_, PyAny>,
    sender: &Bound<'_, PySender>,
    chunk_size: &Bound<'_, PyAny>,
    complete: Truth,
) -> PyResult<PyTransfer> {
    let size = arguments::positive("chunk_size", chunk_size)?;
    if size > isize::MAX as usize / 2 {
        return Err(PyValueError::new_err(format!("'chunk_size' is {size}: more than memory can hold")));
    }
    read(source, sender, "read_chunks", Counted::Bytes, |name, endpoint| Options {
        name,
        endpoint,
        kind: Framing::Chunks { size },
        decoding: Decoding::Bytes,
        limit: usize::MAX,
        completes: complete.0,
    })
}

fn read(
    source: &Bound<'_, PyAny>,
    sender: &Bound<'_, PySender>,
    what: &str,
    counts: Counted,
    options: impl FnOnce(Name, endpoint::Endpoint) -> Options,
) -> PyResult<PyTransfer> {
    let py = source.py();
    sender.get().check_open(py, what)?;
    let (name, endpoint) = Name::parse("source", source)?;
    let told = format!("{what} from {}", name.shown());
    PyTransfer::start(py, told, counts, |signal| Box::new(Reading::new(py, sender, options(name, endpoint), signal)))
}

/// The transfer behind `write_from`.
#[pyfunction]
pub(crate) fn _write_from(receiver: &Bound<'_, PyReceiver>, target: &Bound<'_, PyAny>, append: Truth) -> PyResult<PyTransfer> {
    let py = target.py();
    let parsed = Name::parse("target", target)?;
    let told = format!("write_from to {}", parsed.0.shown());
    PyTransfer::start(py, told, Counted::Written, |signal| Box::new(Writing::new(receiver, parsed, append.0, signal)))
}

/// Ends all transfers before the interpreter exits.
#[pyfunction]
pub(crate) fn _io_close(py: Python<'_>) {
    runtime::close(py);
}
