//! Endpoints: the sources and targets of transfers, which are files, sockets and other descriptors.
//!
//! If the kernel reports the readiness of a descriptor, it is waited for (`Polled`): this takes no thread, and a wait can be ended at any moment
//! with nothing read. Files are read and written on threads for blocking calls (`threads`).
//!
//! The flags of a descriptor that the user passes are not changed, because other processes may share them. Instead `poll(2)` is called before
//! each read, to see whether the read would block. The amount that a write would accept is not known, so a blocking pipe or device is opened
//! again for writing (Linux: /proc/self/fd), and a socket is written to with a flag for a call that does not block. Where neither is possible,
//! the write uses a thread.
//!
//! A FIFO without a reader cannot be opened for writing without blocking, and there is no notification of a reader, so the open is repeated.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pyo3::exceptions::{PyMemoryError, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString, PyTuple};

use super::threads::start;
use crate::rt::arguments::{text, type_name};

#[cfg(unix)]
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
#[cfg(unix)]
use tokio::io::{Interest, unix::AsyncFd};

/// The memory taken at once for a read that may be longer: one block of a file.
const FIRST_RESERVE: usize = 1024 * 1024;

/// The first and the longest pause between two attempts to open a FIFO that has no reader.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// What the user passed.
#[derive(Clone, Debug)]
pub(in crate::io) enum Name {
    Path(PathBuf),
    Descriptor(i32),
    Host(String, u16),
    #[cfg(unix)]
    Unix(PathBuf),
}

/// An endpoint while no transfer is running.
#[derive(Debug)]
pub(in crate::io) enum Endpoint {
    Unopened(Name),
    Opened(Handle),
}

#[derive(Debug)]
pub(in crate::io) enum Handle {
    /// Always ready, or treated as such.
    File(File),
    #[cfg(unix)]
    Polled(File),
    #[cfg(not(unix))]
    Tcp(std::net::TcpStream),
}

/// An endpoint in use, on a runtime.
#[derive(Debug)]
pub(in crate::io) enum Stream {
    /// `None` while a thread for blocking calls has it.
    File(Option<File>),
    #[cfg(unix)]
    Polled(AsyncFd<File>, Writes),
    #[cfg(not(unix))]
    Tcp(tokio::net::TcpStream),
}

/// How to write to a descriptor whose readiness is waited for.
#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum Writes {
    /// By `write`: the descriptor does not block.
    Plainly,
    /// By a call that does not block, for a socket whose descriptor does.
    #[cfg(target_os = "linux")]
    ToSocket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum Way {
    Read,
    Write { append: bool },
}

impl Name {
    /// The argument `source` or `target`, and the endpoint it stands for. A descriptor is duplicated: closing it does no harm.
    pub(in crate::io) fn parse(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<(Self, Endpoint)> {
        let py = value.py();
        if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
            let number: i32 = value.extract()?;
            let endpoint =
                Endpoint::Opened(duplicate(number).map_err(|error| os_error(py, &error, Some(&Self::Descriptor(number))))?);
            return Ok((Self::Descriptor(number), endpoint));
        }
        let name = if let Ok(address) = value.cast::<PyTuple>() {
            let (host, port) = address.extract::<(String, u16)>().map_err(|_| {
                PyValueError::new_err(format!(
                    "'{argument}' must be a tuple (host, port) of a str and an int up to 65535 if it is an address, not {}",
                    text(value)
                ))
            })?;
            Self::Host(host, port)
        } else {
            let decoded = py.import("os")?.getattr("fsdecode")?;
            let path = decoded.call1((value,)).map_err(|error| {
                if !error.is_instance_of::<PyTypeError>(py) {
                    return error;
                }
                PyTypeError::new_err(format!(
                    "'{argument}' must be a path, a descriptor (int), an address (host, port) or 'unix:path', not {} ({})",
                    text(value),
                    type_name(value)
                ))
            })?;
            let is_text = value.is_instance_of::<PyString>();
            match path.cast::<PyString>()?.to_str().ok().and_then(|path| path.strip_prefix("unix:")) {
                #[cfg(unix)]
                Some(path) if is_text => Self::Unix(path.into()),
                _ => {
                    let _ = is_text;
                    Self::Path(path.extract()?)
                }
            }
        };
        Ok((name.clone(), Endpoint::Unopened(name)))
    }

    fn is_socket(&self) -> bool {
        !matches!(self, Self::Path(_) | Self::Descriptor(_))
    }

    /// For messages, and an error's `filename`.
    pub(in crate::io) fn shown(&self) -> String {
        match self {
            Self::Path(path) => path.to_string_lossy().into_owned(),
            Self::Descriptor(number) => format!("descriptor {number}"),
            Self::Host(host, port) => format!("{host}:{port}"),
            #[cfg(unix)]
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Raises an error as the interpreter does: its class follows from the error number. A lack of memory is `MemoryError`.
pub(in crate::io) fn os_error(py: Python<'_>, error: &io::Error, name: Option<&Name>) -> PyErr {
    if error.kind() == io::ErrorKind::OutOfMemory {
        return PyMemoryError::new_err(());
    }
    let name = name.map(Name::shown);
    let Some(number) = error.raw_os_error() else {
        return PyOSError::new_err(name.map_or_else(|| error.to_string(), |name| format!("{name}: {error}")));
    };
    let told = || -> PyResult<PyErr> {
        let message: String = py.import("os")?.call_method1("strerror", (number,))?.extract()?;
        let error = py.get_type::<PyOSError>().call1((number, message, name))?;
        Ok(PyErr::from_value(error))
    };
    told().unwrap_or_else(|error| error)
}

#[cfg(unix)]
fn duplicate(number: i32) -> io::Result<Handle> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    let file = File::from(borrowed(&number).try_clone_to_owned()?);
    classify(file)
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn borrowed(number: &i32) -> BorrowedFd<'_> {
    // SAFETY: it is not -1; if it is not open, duplicating it fails, and it is used for nothing else.
    unsafe { BorrowedFd::borrow_raw(*number) }
}

#[cfg(not(unix))]
fn duplicate(_number: i32) -> io::Result<Handle> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "descriptors are not supported on this platform: pass a path"))
}

#[cfg(unix)]
fn classify(file: File) -> io::Result<Handle> {
    use std::os::unix::fs::FileTypeExt;
    let kind = file.metadata()?.file_type();
    Ok(if kind.is_fifo() || kind.is_socket() || kind.is_char_device() { Handle::Polled(file) } else { Handle::File(file) })
}

fn open_path(path: &Path, way: Way) -> io::Result<Handle> {
    let mut options = OpenOptions::new();
    match way {
        Way::Read => options.read(true),
        Way::Write { append } => options.write(true).create(true).append(append).truncate(!append),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe without a writer is waited for like any other pipe; regular files do not have this state.
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        classify(options.open(path)?)
    }
    #[cfg(not(unix))]
    Ok(Handle::File(options.open(path)?))
}

async fn open_patiently(path: &Path, way: Way) -> io::Result<Handle> {
    let mut pause = FIRST_PAUSE;
    loop {
        let (path, again) = (path.to_owned(), path.to_owned());
        let opened = start(move || open_path(&path, way)).answer().await?;
        match opened {
            Err(error) if way != Way::Read && has_no_reader(&again, &error) => {}
            opened => return opened,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

#[cfg(unix)]
fn has_no_reader(path: &Path, error: &io::Error) -> bool {
    use std::os::unix::fs::FileTypeExt;
    error.raw_os_error() == Some(libc::ENXIO) && path.metadata().is_ok_and(|found| found.file_type().is_fifo())
}

#[cfg(not(unix))]
fn has_no_reader(_path: &Path, _error: &io::Error) -> bool {
    false
}

#[cfg(unix)]
async fn connect(name: Name) -> io::Result<Handle> {
    let descriptor: OwnedFd = match name {
        Name::Unix(path) => tokio::net::UnixStream::connect(path).await?.into_std()?.into(),
        Name::Host(host, port) => tokio::net::TcpStream::connect((host.as_str(), port)).await?.into_std()?.into(),
        Name::Path(_) | Name::Descriptor(_) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    Ok(Handle::Polled(File::from(descriptor)))
}

#[cfg(not(unix))]
async fn connect(name: Name) -> io::Result<Handle> {
    match name {
        Name::Host(host, port) => Ok(Handle::Tcp(tokio::net::TcpStream::connect((host.as_str(), port)).await?.into_std()?)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl Endpoint {
    /// Opens it if it has not been opened. If this is cancelled, it has not been opened.
    pub(in crate::io) async fn open(&mut self, way: Way) -> io::Result<()> {
        if let Self::Unopened(name) = self {
            let handle = match name.clone() {
                Name::Path(path) => open_patiently(&path, way).await?,
                name => {
                    debug_assert!(name.is_socket());
                    connect(name).await?
                }
            };
            *self = Self::Opened(handle);
        }
        Ok(())
    }
}

impl Handle {
    /// Prepares it for use, on the current runtime.
    pub(in crate::io) fn start(self, way: Way) -> io::Result<Stream> {
        match self {
            Self::File(file) => Ok(Stream::File(Some(file))),
            #[cfg(unix)]
            Self::Polled(file) => {
                let interest = if way == Way::Read { Interest::READABLE } else { Interest::WRITABLE };
                let (file, writes) = if way == Way::Read || is_nonblocking(&file)? {
                    (file, Writes::Plainly)
                } else {
                    match without_blocking(file) {
                        Ok(both) => both,
                        Err(file) => return Ok(Stream::File(Some(file))),
                    }
                };
                match register(file, interest) {
                    Ok(polled) => Ok(Stream::Polled(polled, writes)),
                    Err(error) => {
                        let (file, error) = error.into_parts();
                        // A device that is always ready and cannot be polled.
                        if error.raw_os_error() == Some(libc::EPERM) { Ok(Stream::File(Some(file))) } else { Err(error) }
                    }
                }
            }
            #[cfg(not(unix))]
            Self::Tcp(socket) => {
                let _ = way;
                Ok(Stream::Tcp(tokio::net::TcpStream::from_std(socket)?))
            }
        }
    }
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn register(file: File, interest: Interest) -> Result<AsyncFd<File>, tokio::io::unix::AsyncFdRegisterError<File>> {
    // SAFETY: a `File` owns its descriptor, and keeps the same one for as long as it lives.
    unsafe { AsyncFd::register_with_interest(file, interest) }
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn is_nonblocking(file: &File) -> io::Result<bool> {
    // SAFETY: an open descriptor, and a command without an argument.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) } {
        -1 => Err(io::Error::last_os_error()),
        flags => Ok(flags & libc::O_NONBLOCK != 0),
    }
}

/// Finds a way to write without blocking to a descriptor that blocks. `Err` if there is none.
#[cfg(target_os = "linux")]
fn without_blocking(file: File) -> Result<(File, Writes), File> {
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    if file.metadata().is_ok_and(|found| found.file_type().is_socket()) {
        return Ok((file, Writes::ToSocket));
    }
    // Opened again, it is the same pipe or device, with flags of its own.
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    match options.open(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        Ok(opened) => Ok((opened, Writes::Plainly)),
        Err(_) => Err(file),
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
fn without_blocking(file: File) -> Result<(File, Writes), File> {
    Err(file)
}

#[cfg(unix)]
#[cfg_attr(target_os = "linux", allow(unsafe_code))]
fn write_now(mut file: &File, bytes: &[u8], writes: Writes) -> io::Result<usize> {
    match writes {
        Writes::Plainly => file.write(bytes),
        #[cfg(target_os = "linux")]
        Writes::ToSocket => {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: an open descriptor, and as many bytes as it says.
            let sent = unsafe { libc::send(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
            usize::try_from(sent).map_err(|_| io::Error::last_os_error())
        }
    }
}

/// True if a read would return at once.
#[cfg(unix)]
#[allow(unsafe_code)]
fn is_readable(file: &File) -> io::Result<bool> {
    let mut asked = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, of an open descriptor; it does not wait.
    match unsafe { libc::poll(&raw mut asked, 1, 0) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready > 0),
    }
}

#[cfg(unix)]
fn read_now(file: &File, into: &mut Vec<u8>, at_most: usize) -> io::Result<usize> {
    if !is_readable(file)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    read_some(file, into, at_most)
}

/// Makes one read, and appends the bytes.
fn read_some(mut file: &File, into: &mut Vec<u8>, at_most: usize) -> io::Result<usize> {
    let before = into.len();
    into.resize(before + at_most, 0);
    let outcome = file.read(&mut into[before..]);
    into.truncate(before + outcome.as_ref().map_or(0, |n| *n));
    outcome
}

/// Reads until the requested amount or the end has been reached; returns whether it was the end. Memory is allocated as bytes are read, because
/// the requested amount may be larger than the file and the memory.
pub(in crate::io) fn read_full(file: &File, into: &mut Vec<u8>, at_most: usize) -> io::Result<bool> {
    let before = into.len();
    into.try_reserve(at_most.min(FIRST_RESERVE))?;
    match file.take(at_most as u64).read_to_end(into) {
        Ok(n) => Ok(n < at_most),
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(error),
        // The bytes read before the error are delivered first; the next read fails again.
        Err(_) if into.len() > before => Ok(false),
        Err(error) => Err(error),
    }
}

impl Stream {
    /// True if a read can be cancelled while it waits.
    pub(in crate::io) fn waits(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// Ends the use, on a runtime.
    pub(in crate::io) fn stop(self) -> io::Result<Handle> {
        match self {
            Self::File(file) => Ok(Handle::File(file.ok_or(io::ErrorKind::BrokenPipe)?)),
            #[cfg(unix)]
            Self::Polled(polled, _) => Ok(Handle::Polled(polled.into_inner())),
            #[cfg(not(unix))]
            Self::Tcp(socket) => Ok(Handle::Tcp(socket.into_std()?)),
        }
    }

    /// Appends up to `at_most` available bytes to `into`; 0 means end of file.
    pub(in crate::io) async fn read(&mut self, into: &mut Vec<u8>, at_most: usize) -> io::Result<usize> {
        match self {
            Self::File(_) => Err(io::ErrorKind::Unsupported.into()),
            #[cfg(unix)]
            Self::Polled(polled, _) => loop {
                let mut ready = polled.readable().await?;
                match ready.try_io(|polled| read_now(polled.get_ref(), into, at_most)) {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(outcome) => return outcome,
                    Err(_would_block) => {}
                }
            },
            #[cfg(not(unix))]
            Self::Tcp(socket) => loop {
                socket.readable().await?;
                let before = into.len();
                into.resize(before + at_most, 0);
                let outcome = socket.try_read(&mut into[before..]);
                into.truncate(before + outcome.as_ref().map_or(0, |n| *n));
                match outcome {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    outcome => return outcome,
                }
            },
        }
    }

    /// Writes a part of `bytes`, beginning at `from`, and returns its length.
    pub(in crate::io) async fn write(&mut self, bytes: &mut Vec<u8>, from: usize) -> io::Result<usize> {
        match self {
            Self::File(slot) => {
                let mut file = slot.take().ok_or(io::ErrorKind::BrokenPipe)?;
                let lent = std::mem::take(bytes);
                let (file, lent, outcome) = start(move || {
                    let outcome = loop {
                        match file.write(&lent[from..]) {
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                            outcome => break outcome,
                        }
                    };
                    (file, lent, outcome)
                })
                .answer()
                .await?;
                (*slot, *bytes) = (Some(file), lent);
                outcome
            }
            #[cfg(unix)]
            Self::Polled(polled, writes) => loop {
                let mut ready = polled.writable().await?;
                match ready.try_io(|polled| write_now(polled.get_ref(), &bytes[from..], *writes)) {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(outcome) => return outcome,
                    Err(_would_block) => {}
                }
            },
            #[cfg(not(unix))]
            Self::Tcp(socket) => loop {
                socket.writable().await?;
                match socket.try_write(&bytes[from..]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    outcome => return outcome,
                }
            },
        }
    }
}
