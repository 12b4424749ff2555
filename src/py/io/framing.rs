//! `Framer`: items out of a stream of bytes. No Python, and no waiting.
//!
//! What has been read lies in one buffer. Each [`feed`](Framer::feed) looks for the ends of items in what is new, so that whoever is
//! attached to the interpreter afterwards only has to cut; what is left of an item without an end is moved to the front before more is
//! read. It does not decode: it only says whether all that is framed is ASCII, which is better found out without the GIL.

use std::ops::Range;

/// What an item is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It ends with a line feed. Without `keep_ends` that, and a carriage return before it, is not part of it.
    Lines { keep_ends: bool },
    /// As much as there is, in pieces of at most so much.
    Chunks { size: usize },
}

#[derive(Debug)]
pub(crate) struct Framer {
    kind: Kind,
    bytes: Vec<u8>,
    /// Where the first item begins that has not been taken.
    start: usize,
    /// Where items end, those that have not been taken last in reverse.
    ends: Vec<usize>,
    /// Without an end up to here.
    searched: usize,
    is_ascii: bool,
}

impl Framer {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, bytes: Vec::new(), start: 0, ends: Vec::new(), searched: 0, is_ascii: true }
    }

    /// Room for more, at the end. Only when everything that was framed has been taken.
    pub(crate) fn room(&mut self, wanted: usize) -> &mut Vec<u8> {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.reserve(wanted);
        &mut self.bytes
    }

    /// Frames what has been read, and at the end of the stream what is left.
    pub(crate) fn feed(&mut self, at_end: bool) {
        debug_assert!(self.ends.is_empty(), "all that was framed has been taken");
        match self.kind {
            Kind::Lines { .. } => {
                let from = self.searched;
                self.ends.extend(memchr::memchr_iter(b'\n', &self.bytes[from..]).map(|at| from + at + 1));
                self.searched = self.bytes.len();
            }
            Kind::Chunks { size } => {
                let mut end = self.start;
                while end < self.bytes.len() {
                    end = self.bytes.len().min(end + size);
                    self.ends.push(end);
                }
                self.searched = self.bytes.len();
            }
        }
        let framed = self.ends.last().copied().unwrap_or(self.start);
        if at_end && framed < self.bytes.len() {
            self.ends.push(self.bytes.len());
        }
        let framed = self.ends.last().copied().unwrap_or(self.start);
        self.is_ascii = self.bytes[self.start..framed].is_ascii();
        self.ends.reverse();
    }

    /// All that is framed is ASCII.
    pub(crate) fn is_ascii(&self) -> bool {
        self.is_ascii
    }

    /// How many items are framed.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The item that comes next: where its content is, and how many bytes it takes up.
    pub(crate) fn next(&mut self) -> Option<(Range<usize>, usize)> {
        let end = self.ends.pop()?;
        let begin = std::mem::replace(&mut self.start, end);
        let mut content = begin..end;
        if let Kind::Lines { keep_ends: false } = self.kind {
            if self.bytes[content.clone()].ends_with(b"\n") {
                content.end -= 1;
                if self.bytes[content.clone()].ends_with(b"\r") {
                    content.end -= 1;
                }
            }
        }
        Some((content, end - begin))
    }

    pub(crate) fn content(&self, at: Range<usize>) -> &[u8] {
        &self.bytes[at]
    }

    /// How much has been read that belongs to an item without an end.
    pub(crate) fn unfinished(&self) -> usize {
        if self.ends.is_empty() { self.bytes.len() - self.start } else { 0 }
    }
}
