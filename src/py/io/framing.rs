//! `Block`: bytes that have been read, and where the items in them end. No Python, and no waiting.
//!
//! Finding the ends, and whether all of it is ASCII, is done where the reading is done, without the GIL: whoever is attached afterwards
//! only has to cut, or leaves even that to those who receive ([`Block::freeze`]). What is left of an item without an end begins the block
//! that is read next ([`Block::follow`]).

use std::ops::Range;

use crate::credits::objects::{Form, Kind, Lines, Text};

#[derive(Debug, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    /// Where each item ends; the next one begins there.
    ends: Vec<usize>,
    /// How many items have been taken.
    taken: usize,
    /// Without an end from the last one up to here.
    searched: usize,
    /// The longest item.
    longest: usize,
    /// What all that is framed is known to be.
    form: Option<Form>,
}

impl Block {
    /// Nothing yet, in the memory of a text that nobody needs any more.
    pub(crate) fn reuse(Text { mut bytes, mut ends, .. }: Text) -> Self {
        bytes.clear();
        ends.clear();
        Self { bytes, ends, ..Self::default() }
    }

    /// Where to read to, behind what is there.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many items are left.
    pub(crate) fn len(&self) -> usize {
        self.ends.len() - self.taken
    }

    /// What all items are known to be: None is text that is not valid UTF-8.
    pub(crate) fn form(&self) -> Option<Form> {
        self.form
    }

    /// How many bytes the longest item has, end and all.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    fn framed(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// How much has been read that belongs to an item without an end.
    pub(crate) fn unfinished(&self) -> usize {
        self.bytes.len() - self.framed()
    }

    /// Frames what has been read, and at the end of the stream what is left. `is_text`: it is to become a str each.
    pub(crate) fn frame(&mut self, kind: Kind, is_text: bool, at_end: bool) {
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
        let framed = &self.bytes[..self.framed()];
        self.form = match is_text {
            false => Some(Form::Bytes),
            true if framed.is_ascii() => Some(Form::Ascii),
            true => std::str::from_utf8(framed).is_ok().then_some(Form::Utf8),
        };
        self.longest = self.items().map(|item| item.len()).max().unwrap_or(0);
    }

    /// Makes `spent`, a block whose items have all been taken, the one to be read after this one: it begins with what has no end here. If
    /// that is much, and all there is, it is not copied but read on.
    pub(crate) fn follow(&mut self, mut spent: Self) -> Self {
        spent.bytes.clear();
        spent.ends.clear();
        (spent.taken, spent.searched) = (0, 0);
        if self.ends.is_empty() && self.bytes.len() > spent.bytes.capacity() / 2 {
            std::mem::swap(self, &mut spent);
        } else {
            spent.bytes.extend_from_slice(&self.bytes[self.framed()..]);
            spent.searched = spent.bytes.len();
            self.bytes.truncate(self.framed());
        }
        spent
    }

    /// What is left, for others to make the items of. The block keeps what has no end.
    pub(crate) fn freeze(&mut self, kind: Kind, form: Form, by_length: bool) -> Lines {
        let rest = self.bytes.split_off(self.framed());
        let (mut bytes, mut ends) = (std::mem::replace(&mut self.bytes, rest), std::mem::take(&mut self.ends));
        if bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to_fit(); // it may lie there for long
        }
        ends.shrink_to_fit();
        self.searched = self.bytes.len();
        Lines::new(Text { bytes, ends, kind, form, by_length }, std::mem::take(&mut self.taken))
    }

    /// Where the items begin and end that are left.
    pub(crate) fn items(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut begin = self.position();
        self.ends[self.taken..].iter().map(move |&end| std::mem::replace(&mut begin, end)..end)
    }

    /// What an item says, of these bytes.
    #[inline]
    pub(crate) fn content(&self, kind: Kind, item: Range<usize>) -> &[u8] {
        kind.content(&self.bytes[item])
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
