//! Frames beside a naive model: whatever the bytes, however they are read and cut, the items are those of a plain split.
#![cfg(not(loom))]

mod cases;

use cases::cases;
use proptest::prelude::*;
use sluicegate_core::credits::Bale;
use sluicegate_core::credits::frames::{Block, Form, FrameRange, Framing};

/// The items of the whole stream, each with its end.
fn items_of(kind: Framing, stream: &[u8]) -> Vec<Vec<u8>> {
    match kind {
        Framing::Lines { .. } => stream.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect(),
        Framing::Chunks { .. } => unreachable!("chunks are cut where a read ends, too"),
    }
}

fn contents(range: &FrameRange) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    range
        .try_each(|content| {
            contents.push(content.to_vec());
            Ok::<_, ()>(())
        })
        .unwrap();
    contents
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), Just(b'b'), any::<u8>()];
    prop_oneof![prop::collection::vec(byte, 0..200), "[a\u{fc}\u{20ac}\r\n]{0,60}".prop_map(String::into_bytes)]
}

/// What is done with the items of a block once they are framed: so many are taken one by one, the rest is frozen.
type Step = (usize, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((1..40usize, 0..5usize), 1..60)
}

/// Reads `stream` in pieces as long as `steps` say, and gives all contents in order.
fn run(kind: Framing, is_text: bool, by_length: bool, stream: &[u8], steps: &[Step]) -> Vec<Vec<u8>> {
    let (mut out, mut at, mut steps) = (Vec::new(), 0, steps.iter().cycle());
    let mut block = Block::default();
    let mut spent = Block::default();
    loop {
        let &(length, by_hand) = steps.next().unwrap();
        let mut next = block.follow(std::mem::take(&mut spent));
        let end = stream.len().min(at + length);
        next.bytes().extend_from_slice(&stream[at..end]);
        next.frame(kind, is_text, end == stream.len());
        at = end;
        spent = std::mem::replace(&mut block, next);

        let longest = block.items().map(|item| item.len()).max().unwrap_or(0);
        assert_eq!(block.longest(), longest);
        let by_hand = by_hand.min(block.len());
        let taken: Vec<_> = block.items().take(by_hand).collect();
        out.extend(taken.iter().map(|item| block.content(kind, item.clone()).to_vec()));
        let bytes = block.advance(by_hand);
        assert_eq!(bytes, taken.iter().map(ExactSizeIterator::len).sum::<usize>());
        if let Some(form) = block.form().filter(|_| !block.is_empty()) {
            let range = block.freeze(kind, form, by_length);
            let lengths: Vec<u64> = contents(&range).iter().map(|content| length_of(form, content)).collect();
            let weights: Vec<u64> = (0..range.count()).map(|index| range.weight(index)).collect();
            assert_eq!(weights, if by_length { lengths } else { vec![1; range.count()] });
            out.extend(cut_and_joined(range, length));
        } else {
            out.extend(block.items().map(|item| block.content(kind, item).to_vec()));
            block.advance(block.len());
        }
        if at == stream.len() {
            assert_eq!(block.unfinished(), 0);
            return out;
        }
    }
}

fn length_of(form: Form, content: &[u8]) -> u64 {
    let length = match form {
        Form::Bytes | Form::Ascii => content.len(),
        Form::Utf8 => std::str::from_utf8(content).unwrap().chars().count(),
    };
    length as u64
}

/// The contents of a range that is cut into pieces, of which every second one is joined to the one before it.
fn cut_and_joined(mut range: FrameRange, length: usize) -> Vec<Vec<u8>> {
    let (mut out, whole) = (Vec::new(), (range.position(), range.end_position()));
    let mut at = whole.0;
    while range.count() > 0 {
        let mut piece = range.take(range.count().min(length));
        let next = range.take(range.count().min(length / 2));
        piece.join(next).unwrap();
        assert_eq!((piece.position(), piece.end_position()), (at, range.position()));
        at = piece.end_position();
        out.extend(contents(&piece));
    }
    assert_eq!(at, whole.1);
    out
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn lines_are_those_of_a_split(stream in stream(), steps in steps(), keep_ends: bool, is_text: bool, by_length: bool) {
        let kind = Framing::Lines { keep_ends };
        let expected: Vec<Vec<u8>> = items_of(kind, &stream).iter().map(|item| kind.content(item).to_vec()).collect();
        prop_assert_eq!(run(kind, is_text, by_length, &stream, &steps), expected);
    }

    #[test]
    fn chunks_are_the_stream_and_none_is_too_long(stream in stream(), steps in steps(), size in 1..50usize, by_length: bool) {
        let chunks = run(Framing::Chunks { size }, false, by_length, &stream, &steps);
        prop_assert!(chunks.iter().all(|chunk| (1..=size).contains(&chunk.len())));
        prop_assert_eq!(chunks.concat(), stream);
    }
}
