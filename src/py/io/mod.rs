//! Native I/O, behind `sluicegate.io`: files and sockets on one side, credit channels on the other, and the GIL only to hand items over.
//!
//! | file        | what it is for                                                             |
//! |-------------|----------------------------------------------------------------------------|
//! | `runtime`   | the tokio runtime: when it is there, forks, the interpreter's exit          |
//! | `endpoint`  | files, sockets and descriptors, as they are opened, read and written        |
//! | `reading`   | from a source into a channel                                                |
//! | `writing`   | from a channel to a target                                                  |
//! | `alarm`     | what becomes due by itself in a channel                                    |
//! | `transfer`  | what runs, from Python's side: stopped, resumed, waited for                 |
//!
//! # Who touches what
//! A transfer is one task of tokio's. It owns what it holds of Python's (the channel's end, items that wait for credit) and touches that only
//! attached; between two attachments it holds no section. Whoever wakes it, the channel's line for one, does so by a `Notify` that knows
//! nothing of Python. `await` yields its completion alone: an item never passes through a future, so none is lost with one.

mod alarm;
mod endpoint;
mod reading;
mod runtime;
mod transfer;
mod writing;

use transfer::Counted;
pub(crate) use transfer::PyTransfer;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sluicegate_core::credits::frames::Kind;

use self::endpoint::Name;
use self::reading::{Decoding, Options, Reading};
use self::writing::Writing;
use crate::credits::receiver::PyReceiver;
use crate::credits::sender::PySender;
use crate::rt::arguments::{self, Truth};

/// What lines become. Raises for an encoding in which they do not end with the byte of a line feed.
fn decoding(py: Python<'_>, encoding: Option<String>, errors: String) -> PyResult<Decoding> {
    let Some(encoding) = encoding else { return Ok(Decoding::Bytes) };
    let codecs = py.import("codecs")?;
    let canonical: String = codecs.call_method1("lookup", (&encoding,))?.getattr("name")?.extract()?;
    codecs.call_method1("lookup_error", (&errors,))?;
    if canonical == "utf-8" {
        return Ok(Decoding::Utf8 { errors });
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
        kind: Kind::Lines { keep_ends: keep_ends.0 },
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
        kind: Kind::Chunks { size },
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

/// Ends what runs, before the interpreter does.
#[pyfunction]
pub(crate) fn _io_close(py: Python<'_>) {
    runtime::close(py);
}
