//! `Block`: bytes that have been read, and where the items in them end. No Python, and no waiting.
//!
//! Finding the ends, and whether all of it is ASCII, is done where the reading is done, without the GIL: whoever is attached afterwards
//! only has to cut. What is left of an item without an end begins the block that is read next ([`Block::follow`]).

use std::ops::Range;

/// What an item is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It ends with a line feed. Without `keep_ends` that, and a carriage return before it, is not part of it.
    Lines { keep_ends: bool },
    /// As much as there is, in pieces of at most so much.
    Chunks { size: usize },
}

#[derive(Debug, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    /// Where each item ends; the next one begins there.
    ends: Vec<usize>,
    /// How many items have been taken.
    taken: usize,
    /// Without an end from the last one up to here.
    searched: usize,
    is_ascii: bool,
}

impl Block {
    /// Where to read to, behind what is there.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many items are left.
    pub(crate) fn len(&self) -> usize {
        self.ends.len() - self.taken
    }

    /// All that is framed is ASCII.
    pub(crate) fn is_ascii(&self) -> bool {
        self.is_ascii
    }

    fn framed(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// How much has been read that belongs to an item without an end.
    pub(crate) fn unfinished(&self) -> usize {
        self.bytes.len() - self.framed()
    }

    /// Frames what has been read, and at the end of the stream what is left.
    pub(crate) fn frame(&mut self, kind: Kind, at_end: bool) {
        match kind {
            Kind::Lines { .. } => {
                let from = self.searched;
                self.ends.extend(memchr::memchr_iter(b'\n', &self.bytes[from..]).map(|at| from + at + 1));
            }
            Kind::Chunks { size } => {
                let mut end = self.framed();
                while end < self.bytes.len() {
                    end = self.bytes.len().min(end + size);
                    self.ends.push(end);
                }
            }
        }
        self.searched = self.bytes.len();
        if at_end && self.unfinished() > 0 {
            self.ends.push(self.bytes.len());
        }
        self.is_ascii = matches!(kind, Kind::Lines { .. }) && self.bytes[..self.framed()].is_ascii();
    }

    /// Makes `spent`, a block whose items have all been taken, the one to be read after this one: it begins with what has no end here. A
    /// block without any end gives all it has, and is read on instead of being copied.
    pub(crate) fn follow(&mut self, mut spent: Self) -> Self {
        spent.bytes.clear();
        spent.ends.clear();
        (spent.taken, spent.searched) = (0, 0);
        if self.ends.is_empty() {
            std::mem::swap(self, &mut spent);
        } else {
            spent.bytes.extend_from_slice(&self.bytes[self.framed()..]);
            spent.searched = spent.bytes.len();
            self.bytes.truncate(self.framed());
        }
        spent
    }

    /// Where the items begin and end that are left.
    pub(crate) fn items(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut begin = self.position();
        self.ends[self.taken..].iter().map(move |&end| std::mem::replace(&mut begin, end)..end)
    }

    /// What an item says, of these bytes.
    #[inline]
    pub(crate) fn content(&self, kind: Kind, item: Range<usize>) -> &[u8] {
        let content = &self.bytes[item];
        match (kind, content.strip_suffix(b"\n")) {
            (Kind::Lines { keep_ends: false }, Some(line)) => line.strip_suffix(b"\r").unwrap_or(line),
            _ => content,
        }
    }

    /// These many have been taken; how many bytes that is.
    pub(crate) fn advance(&mut self, count: usize) -> usize {
        let before = self.position();
        self.taken += count;
        self.position() - before
    }

    /// Where the next item begins.
    fn position(&self) -> usize {
        self.taken.checked_sub(1).map_or(0, |last| self.ends[last])
    }
}
