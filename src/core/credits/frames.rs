//! Frames: the items of a stream of bytes, before anybody has made them.
//!
//! Whoever reads fills a [`Block`] and finds out where its items end, and whether they are ASCII or valid UTF-8. What is framed is frozen
//! into [`Frames`], which never change, and handed on as a [`FrameRange`]: the bale that a channel counts, weighs and cuts without looking
//! at a byte. Whoever receives makes the items.
//!
//! | of a block          | event       | next                                                                                  |
//! |---------------------|-------------|---------------------------------------------------------------------------------------|
//! | bytes behind the frames | `frame` | the items that end among them are framed; at the end of the stream the rest is one more  |
//! | items, not taken    | `advance`   | taken; `items` begins behind them                                                     |
//! | items, not taken    | `freeze`    | they are a [`FrameRange`], and the block has none; what has no end stays in the block   |
//! | all items taken     | `follow`    | the next block begins with what has no end                                            |
//!
//! No part of this waits, locks or knows what an item becomes.

use std::ops::Range;

use super::Bale;
use crate::sync::Arc;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It ends with a line feed. Without `keep_ends` that, and a carriage return before it, is not part of its content.
    Lines { keep_ends: bool },
    /// Chunks of at most `size` bytes.
    Chunks { size: usize },
}

impl Kind {
    /// The content of an item, of the bytes from the end of the one before it to its own.
    #[inline]
    pub fn content(self, bytes: &[u8]) -> &[u8] {
        match (self, bytes.strip_suffix(b"\n")) {
            (Self::Lines { keep_ends: false }, Some(line)) => line.strip_suffix(b"\r").unwrap_or(line),
            _ => bytes,
        }
    }
}

/// What the items become, and what is known about their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Bytes,
    /// Text of ASCII.
    Ascii,
    /// Text of valid UTF-8.
    Utf8,
}

/// Bytes that consist of whole items, and where each item ends.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where each item ends; the next one begins there.
    ends: Vec<usize>,
    kind: Kind,
    form: Form,
    /// True if an item weighs its length instead of one.
    by_length: bool,
}

impl Frames {
    fn begin(&self, index: usize) -> usize {
        begin(&self.ends, index)
    }
}

fn begin(ends: &[usize], index: usize) -> usize {
    index.checked_sub(1).map_or(0, |before| ends[before])
}

/// A range of consecutive items of [`Frames`].
#[derive(Debug)]
pub struct FrameRange {
    frames: Arc<Frames>,
    next: usize,
    end: usize,
}

impl FrameRange {
    /// The frames that this range is part of.
    pub fn frames(&self) -> &Arc<Frames> {
        &self.frames
    }

    /// What its items become.
    #[inline]
    pub fn form(&self) -> Form {
        self.frames.form
    }

    /// Where its first item begins in the frames.
    pub fn position(&self) -> usize {
        self.frames.begin(self.next)
    }

    /// Where its last item ends.
    pub fn end_position(&self) -> usize {
        self.frames.begin(self.end)
    }

    /// Calls `each` with the content of each item, in order.
    ///
    /// # Errors
    /// The first one of `each`, which ends it.
    #[inline]
    pub fn try_each<E>(&self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (bytes, kind) = (&*self.frames.bytes, self.frames.kind);
        let mut begin = self.position();
        for &end in &self.frames.ends[self.next..self.end] {
            each(kind.content(&bytes[begin..end]))?;
            begin = end;
        }
        Ok(())
    }
}

impl Bale for FrameRange {
    fn count(&self) -> usize {
        self.end - self.next
    }

    fn weighs_one_each(&self) -> bool {
        !self.frames.by_length
    }

    fn weight(&self, index: usize) -> u64 {
        if !self.frames.by_length {
            return 1;
        }
        let index = self.next + index;
        let content = self.frames.kind.content(&self.frames.bytes[self.frames.begin(index)..self.frames.ends[index]]);
        let length = match self.frames.form {
            Form::Bytes | Form::Ascii => content.len(),
            // Each character has one byte that is not a continuation.
            Form::Utf8 => content.iter().filter(|&&byte| byte & 0xc0 != 0x80).count(),
        };
        length as u64
    }

    fn take(&mut self, count: usize) -> Self {
        let begin = self.next;
        self.next += count;
        Self { frames: Arc::clone(&self.frames), next: begin, end: self.next }
    }

    fn join(&mut self, next: Self) -> Result<(), Self> {
        if self.end != next.next || !Arc::ptr_eq(&self.frames, &next.frames) {
            return Err(next);
        }
        self.end = next.end;
        Ok(())
    }
}

/// Bytes as they are read, and where the items in them end.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    /// Where each item ends; the next one begins there.
    ends: Vec<usize>,
    /// The number of items that have been taken.
    taken: usize,
    /// The bytes up to here have been searched for ends.
    searched: usize,
    /// The longest item.
    longest: usize,
    /// The form of all framed items; `None` for text that is not valid UTF-8.
    form: Option<Form>,
}

impl Block {
    /// An empty block that reuses the memory of frames.
    pub fn reuse(Frames { mut bytes, mut ends, .. }: Frames) -> Self {
        bytes.clear();
        ends.clear();
        Self { bytes, ends, ..Self::default() }
    }

    /// The vector to append what is read to.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes it has memory for.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many items are left.
    pub fn len(&self) -> usize {
        self.ends.len() - self.taken
    }

    /// True if no item is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What all items are known to be; `None` is text that is not valid UTF-8.
    pub fn form(&self) -> Option<Form> {
        self.form
    }

    /// How many bytes the longest item has, its end included.
    pub fn longest(&self) -> usize {
        self.longest
    }

    fn framed(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// How many bytes belong to an item whose end has not been read.
    pub fn unfinished(&self) -> usize {
        self.bytes.len() - self.framed()
    }

    /// Frames what has been read, and at the end of the stream what is left. `is_text`: the items are to become text.
    pub fn frame(&mut self, kind: Kind, is_text: bool, at_end: bool) {
        match kind {
            Kind::Lines { .. } => {
                let from = self.searched;
                self.ends.extend(memchr::memchr_iter(b'\n', &self.bytes[from..]).map(|at| from + at + 1));
            }
            Kind::Chunks { size } => {
                let mut end = self.framed();
                while end < self.bytes.len() {
                    end = self.bytes.len().min(end.saturating_add(size));
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

    /// Prepares `spent`, a block whose items have all been taken, to be filled after this one: it begins with the unfinished item. If that
    /// item is long and there is nothing else, the two blocks change places instead of copying.
    #[must_use = "it holds the unfinished item"]
    pub fn follow(&mut self, mut spent: Self) -> Self {
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

    /// The items that are left, for others to make. The block keeps the unfinished item.
    pub fn freeze(&mut self, kind: Kind, form: Form, by_length: bool) -> FrameRange {
        let rest = self.bytes.split_off(self.framed());
        let (mut bytes, mut ends) = (std::mem::replace(&mut self.bytes, rest), std::mem::take(&mut self.ends));
        if bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to_fit(); // it may lie there for long
        }
        ends.shrink_to_fit();
        self.searched = self.bytes.len();
        let (next, end) = (std::mem::take(&mut self.taken), ends.len());
        FrameRange { frames: Arc::new(Frames { bytes, ends, kind, form, by_length }), next, end }
    }

    /// Where the items begin and end that are left.
    pub fn items(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut begin = self.position();
        self.ends[self.taken..].iter().map(move |&end| std::mem::replace(&mut begin, end)..end)
    }

    /// The content of one of `items`.
    #[inline]
    pub fn content(&self, kind: Kind, item: Range<usize>) -> &[u8] {
        kind.content(&self.bytes[item])
    }

    /// Takes the first `count` items that are left; returns how many bytes they have.
    pub fn advance(&mut self, count: usize) -> usize {
        let before = self.position();
        self.taken += count;
        self.position() - before
    }

    /// Where the next item begins.
    fn position(&self) -> usize {
        begin(&self.ends, self.taken)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LINES: Kind = Kind::Lines { keep_ends: false };

    fn block(bytes: &[u8]) -> Block {
        let mut block = Block::default();
        block.bytes().extend_from_slice(bytes);
        block
    }

    fn contents(range: &FrameRange) -> Vec<String> {
        let mut contents = Vec::new();
        range
            .try_each(|content| {
                contents.push(String::from_utf8_lossy(content).into_owned());
                Ok::<_, ()>(())
            })
            .unwrap();
        contents
    }

    #[test]
    fn lines_end_with_a_line_feed_and_perhaps_a_carriage_return() {
        for (line, content) in [("a\n", "a"), ("a\r\n", "a"), ("a\r\r\n", "a\r"), ("\n", ""), ("a", "a"), ("a\r", "a\r")] {
            assert_eq!(LINES.content(line.as_bytes()), content.as_bytes());
            assert_eq!(Kind::Lines { keep_ends: true }.content(line.as_bytes()), line.as_bytes());
        }
    }

    #[test]
    fn an_item_without_an_end_waits_for_it_in_the_next_block() {
        let mut first = block(b"one\ntw");
        first.frame(LINES, true, false);
        assert_eq!((first.len(), first.unfinished()), (1, 2));
        let mut second = first.follow(Block::default());
        second.bytes().extend_from_slice(b"o\nthree");
        second.frame(LINES, true, true);
        assert_eq!(contents(&first.freeze(LINES, Form::Ascii, false)), ["one"]);
        assert_eq!(contents(&second.freeze(LINES, Form::Ascii, false)), ["two", "three"]);
    }

    #[test]
    fn a_long_unfinished_item_changes_places_and_is_not_searched_again() {
        let mut first = block(&[b'x'; 100]);
        first.frame(LINES, false, false);
        let next = first.follow(Block::default());
        assert_eq!((next.unfinished(), next.searched), (100, 100));
        assert_eq!((first.unfinished(), first.len()), (0, 0));
    }

    #[test]
    fn text_is_ascii_or_utf8_or_of_no_known_form() {
        for (bytes, form) in [(&b"a\n"[..], Some(Form::Ascii)), ("\u{fc}\n".as_bytes(), Some(Form::Utf8)), (b"\xff\n", None)] {
            let mut block = block(bytes);
            block.frame(LINES, true, false);
            assert_eq!(block.form(), form);
            block.frame(LINES, false, false);
            assert_eq!(block.form(), Some(Form::Bytes));
        }
    }

    #[test]
    fn items_weigh_one_or_their_characters() {
        let mut text = block("\u{fc}ber\nab\n".as_bytes());
        text.frame(LINES, true, false);
        let range = text.freeze(LINES, Form::Utf8, true);
        assert_eq!((range.weighs_one_each(), range.weight(0), range.weight(1)), (false, 4, 2));
        let mut text = block(b"abc\n");
        text.frame(LINES, true, false);
        assert_eq!(text.freeze(LINES, Form::Ascii, false).weight(0), 1);
    }

    #[test]
    fn only_what_follows_in_the_same_frames_joins() {
        let mut text = block(b"1\n2\n3\n");
        text.frame(LINES, true, false);
        let mut rest = text.freeze(LINES, Form::Ascii, false);
        let (mut first, second) = (rest.take(1), rest.take(1));
        let rest = first.join(rest).unwrap_err();
        first.join(second).unwrap();
        first.join(rest).unwrap();
        assert_eq!(contents(&first), ["1", "2", "3"]);
        let mut other = block(b"4\n");
        other.frame(LINES, true, false);
        assert!(first.join(other.freeze(LINES, Form::Ascii, false)).is_err());
    }

    #[test]
    fn spent_memory_is_used_again() {
        let mut text = block(&[b'\n'; 64]);
        text.frame(LINES, true, false);
        let range = text.freeze(LINES, Form::Ascii, false);
        let frames = Arc::try_unwrap(range.frames).unwrap();
        let block = Block::reuse(frames);
        assert!(block.capacity() >= 64 && block.is_empty() && block.unfinished() == 0);
    }
}
