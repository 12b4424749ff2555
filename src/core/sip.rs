//! SipHash with a result of 128 bits (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), for hashes of keys.
//!
//! # Algorithm
//! The message is taken in words of eight bytes, each of which is mixed in by `C` rounds; `D` rounds make each half of the result. [`hash`] is
//! SipHash-1-3, which is what the standard library hashes the keys of its maps with. The library's hasher has only 64 bits: two of
//! them with different keys cost twice as much, and it copies the message in pieces.
//!
//! # What it does not do
//! It keeps no state between calls: a message is there as a whole.

/// A secret key. Without it nobody can find two messages with the same hash, or a message with a given one.
#[derive(Clone, Copy, Debug)]
pub struct SipKey(pub [u64; 2]);

/// The hash of the eight bytes of `head` (little-endian), followed by `rest`.
#[inline]
#[must_use]
pub fn hash(key: SipKey, head: u64, rest: &[u8]) -> [u64; 2] {
    sip::<1, 3>(key, head, rest)
}

#[inline]
fn rounds<const N: usize>(v: &mut [u64; 4]) {
    for _ in 0..N {
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
        v[2] = v[2].wrapping_add(v[1]);
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[2] = v[2].rotate_left(32);
    }
}

#[inline]
fn sip<const C: usize, const D: usize>(SipKey([one, two]): SipKey, head: u64, rest: &[u8]) -> [u64; 2] {
    let mut v = [
        one ^ 0x736f_6d65_7073_6575,
        two ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        one ^ 0x6c79_6765_6e65_7261,
        two ^ 0x7465_6462_7974_6573,
    ];
    let mut mix = |word: u64| {
        v[3] ^= word;
        rounds::<C>(&mut v);
        v[0] ^= word;
    };
    mix(head);
    let mut words = rest.chunks_exact(8);
    for word in &mut words {
        mix(u64::from_le_bytes(word.try_into().expect("eight bytes")));
    }
    // The last word has the bytes that are left, and the length.
    let left = words.remainder().iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    mix((rest.len() as u64 + 8) << 56 | left);
    v[2] ^= 0xee;
    rounds::<D>(&mut v);
    let low = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    rounds::<D>(&mut v);
    [low, v[0] ^ v[1] ^ v[2] ^ v[3]]
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The authors' test vectors are of SipHash-2-4: of the bytes 0, 1, 2 and so on, with the key 0, 1, ... 15.
    #[test]
    fn as_the_authors_vectors() {
        let key = SipKey([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        let message: Vec<u8> = (0..64).collect();
        let head = u64::from_le_bytes(message[..8].try_into().unwrap());
        let of = |length: usize| {
            let halves = sip::<2, 4>(key, head, &message[8..length]);
            halves.map(|half| format!("{:016x}", half.swap_bytes())).concat()
        };
        for (length, vector) in [
            (8, "3b62a9ba6258f5610f83e264f31497b4"),
            (9, "264499060ad9baabc47f8b02bb6d71ed"),
            (15, "5493e99933b0a8117e08ec0f97cfc3d9"),
            (16, "6ee2a4ca67b054bbfd3315bf85230577"),
            (23, "c9d184ddd5a9f5e0cf8ce29a9abf691c"),
            (31, "2939b0183223fafc1723de4f52c43d35"),
            (63, "5150d1772f50834a503e069a973fbd7c"),
        ] {
            assert_eq!(of(length), vector, "of {length} bytes");
        }
    }
}
