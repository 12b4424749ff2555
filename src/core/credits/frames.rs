//! Frames: the items of a byte stream (lines or chunks), before they are created as objects.
//!
//! A reader fills a [`Block`] and frames it: it determines where the items end, and whether they are ASCII or valid UTF-8. The framed bytes
//! are frozen into [`Frames`], which are immutable, and passed on as a [`FrameRange`]: a bale that a channel counts, weighs and cuts without
//! looking at the bytes. The receiver creates the items.
//!
//! | in a block          | event       | next                                                                                  |
//! |---------------------|-------------|---------------------------------------------------------------------------------------|
//! | bytes after the last framed item | `frame` | the items that end in them are framed; at the end of the stream the rest is the last item |
//! | items, not taken    | `advance`   | taken; `items` begins after them                                                      |
//! | items, not taken    | `freeze`    | they become a [`FrameRange`]; only the unfinished item stays in the block               |
//! | all items taken     | `follow`    | the next block begins with the unfinished item                                        |
//!
//! Nothing here waits or locks, or knows what an item becomes.

use std::ops::Range;

use super::Bale;
use crate::sync::Arc;

/// How a byte stream is divided into items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each item ends with a line feed. Without `keep_ends` the line feed, and a carriage return before it, are not part of the content.
    Lines { keep_ends: bool },
    /// Chunks of at most `size` bytes.
    Chunks { size: usize },
}

impl Framing {
    /// The content of an item, given its bytes with the line end.
    #[inline]
    pub fn content(self, bytes: &[u8]) -> &[u8] {
        match (self, bytes.strip_suffix(b"\n")) {
            (Self::Lines { keep_ends: false }, Some(line)) => line.strip_suffix(b"\r").unwrap_or(line),
            _ => bytes,
        }
    }
}

/// The type of the items, and what is known about their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Bytes,
    /// Text, in ASCII.
    Ascii,
    /// Text, in valid UTF-8.
    Utf8,
}

/// Bytes that consist of whole items, and where each item ends.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where each item ends; the next one begins there.
    ends: Vec<usize>,
    kind: Framing,
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

    /// The type of its items.
    #[inline]
    pub fn form(&self) -> Form {
        self.frames.form
    }

    /// The position in the frames at which its first item begins.
    pub fn position(&self) -> usize {
        self.frames.begin(self.next)
    }

    /// The position at which its last item ends.
    pub fn end_position(&self) -> usize {
        self.frames.begin(self.end)
    }

    /// Calls `each` with the content of each item, in order.
    ///
    /// # Errors
    /// The first error of `each`, which ends the iteration.
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
            // Each character has exactly one byte that is not a continuation byte.
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

/// Bytes that have been read, and where the items in them end.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    /// Where each item ends; the next one begins there.
    ends: Vec<usize>,
    /// The number of items that have been taken.
    taken: usize,
    /// The bytes up to here have been searched for ends.
    searched: usize,
    /// The length of the longest item.
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

    /// The vector to which bytes that are read are appended.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The number of bytes for which it has memory.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The number of items that are left.
    pub fn len(&self) -> usize {
        self.ends.len() - self.taken
    }

    /// True if no item is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The form of all items; `None` for text that is not valid UTF-8.
    pub fn form(&self) -> Option<Form> {
        self.form
    }

    /// The length of the longest item in bytes, its line end included.
    pub fn longest(&self) -> usize {
        self.longest
    }

    fn framed(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The number of bytes of the unfinished item, whose end has not been read.
    pub fn unfinished(&self) -> usize {
        self.bytes.len() - self.framed()
    }

    /// Drops the UTF-8 byte order mark at the beginning of the text, if there is one. Returns true once that is known. Call it before `frame`.
    pub fn skip_mark(&mut self, at_end: bool) -> bool {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        if self.bytes.starts_with(MARK) {
            self.bytes.drain(..MARK.len());
            self.searched = 0;
            return true;
        }
        at_end || !MARK.starts_with(&self.bytes)
    }

    /// Frames the bytes that have been read; at the end of the stream also the unfinished item. `is_text`: the items are text.
    pub fn frame(&mut self, kind: Framing, is_text: bool, at_end: bool) {
        match kind {
            Framing::Lines { .. } => {
                let from = self.searched;
                self.ends.extend(memchr::memchr_iter(b'\n', &self.bytes[from..]).map(|at| from + at + 1));
            }
            Framing::Chunks { size } => {
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

    /// Prepares `spent`, a block whose items have all been taken, to be filled after this one: it will begin with this block's unfinished item.
    /// If that item is long and the block contains nothing else, the two blocks are swapped instead of copying the item.
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

    /// Moves the items that are left into a range, to be created by a receiver. The block keeps the unfinished item.
    pub fn freeze(&mut self, kind: Framing, form: Form, by_length: bool) -> FrameRange {
        let rest = self.bytes.split_off(self.framed());
        let (mut bytes, mut ends) = (std::mem::replace(&mut self.bytes, rest), std::mem::take(&mut self.ends));
        if bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to_fit(); // the range may be buffered for long
        }
        ends.shrink_to_fit();
        self.searched = self.bytes.len();
        let (next, end) = (std::mem::take(&mut self.taken), ends.len());
        FrameRange { frames: Arc::new(Frames { bytes, ends, kind, form, by_length }), next, end }
    }

    /// The positions of the items that are left, with their line ends.
    pub fn items(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut begin = self.position();
        self.ends[self.taken..].iter().map(move |&end| std::mem::replace(&mut begin, end)..end)
    }

    /// The content of one of `items`.
    #[inline]
    pub fn content(&self, kind: Framing, item: Range<usize>) -> &[u8] {
        kind.content(&self.bytes[item])
    }

    /// Takes the first `count` items that are left; returns their length in bytes.
    pub fn advance(&mut self, count: usize) -> usize {
        let before = self.position();
        self.taken += count;
        self.position() - before
    }

    /// The position at which the next item begins.
    fn position(&self) -> usize {
        begin(&self.ends, self.taken)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LINES: Framing = Framing::Lines { keep_ends: false };

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
            assert_eq!(Framing::Lines { keep_ends: true }.content(line.as_bytes()), line.as_bytes());
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
