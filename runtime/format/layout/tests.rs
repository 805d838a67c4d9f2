//! Layouts: text, verifier messages, and places against the mixed-radix formula.

use ndarray::{ArrayD, Dimension, IxDyn};
use proptest::prelude::*;

use super::{Layout, LayoutError, Piece};
use crate::format::text::TextParam;

fn layout(text: &str) -> Layout {
    Layout::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn message(text: &str) -> String {
    Layout::parse(text).err().map_or_else(|| panic!("{text} is accepted"), |e| e.to_string())
}

#[test]
fn text_round_trips() {
    for text in ["[R:2, 0:4:1, G:2]", "[0:3:2, 1:2:4 | R:4:2, 0:2:1, 1:4:1]", "[R:8]", "[]"] {
        assert_eq!(layout(text).to_string(), text);
        assert_eq!(Layout::from_words(&layout(text).to_words()), Ok(layout(text)));
        let json = serde_json::to_string(&layout(text)).unwrap();
        assert_eq!(serde_json::from_str::<Layout>(&json).unwrap(), layout(text));
    }
    assert_eq!(layout("0:4:1 , G:2"), layout("[0:4:1, G:2]"));
}

#[test]
fn verifier_says_what_is_wrong() {
    for (text, part) in [
        ("[0:3:1]", "extent 3, which is not a power of two"),
        ("[0:4:2]", "the stride has to be 1"),
        ("[0:2:1, 0:2:1]", "the stride has to be 2"),
        ("[0:2:8, 0:4:1]", "the stride has to be 4"),
        ("[R:2 | 0:4:1]", "only `dim:extent:stride` pieces may number ciphertexts"),
        ("[0:1:1]", "leave out a piece of extent 1"),
        ("[R:2:4, 0:4:1]", "a roll is between 1 and 3"),
        ("[0:4]", "write `dim:extent:stride`"),
        ("[0:x:1]", "`x` in piece `0:x:1` is not a number"),
        ("[0:4:1", "unbalanced"),
        ("[0:2:4 | 0:2:2 | 0:2:1]", "at most one `|`"),
        ("[0:65536:1, 1:65536:1, 2:2:1]", "more than any ciphertext has"),
    ] {
        let message = message(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn verifier_knows_shapes_and_slots() {
    let l = layout("[R:2, 0:4:1, 1:8:1]");
    assert_eq!(l.verify_shape(&[3, 8]), Ok(()));
    assert_eq!(
        l.verify_shape(&[5, 8]).unwrap_err().to_string(),
        "dimension 0 of the tensor 5x8 has 5 coordinates, but the layout covers 4"
    );
    assert_eq!(
        l.verify_shape(&[4]).unwrap_err().to_string(),
        "the layout has pieces of dimension 1, but the tensor 4 has 1 dimensions"
    );
    assert_eq!(l.verify_slots(128), Err(LayoutError::Slots { found: 64, expected: 128 }));
}

#[test]
fn words_that_are_malformed_are_refused() {
    for words in [&[][..], &[2, 0, 4, 1], &[0, 0, 4], &[0, -3, 4, 1], &[-1], &[0, 0, 1 << 40, 1]] {
        assert!(Layout::from_words(words).is_err(), "{words:?}");
    }
}

#[test]
fn pieces_place_elements() {
    // Rows 0 and 1 in one ciphertext, 2 in the next; columns reversed in significance, with a gap below.
    let l = layout("[0:2:2 | 1:2:1, 0:2:1, G:2]");
    let packed = l.pack(&ArrayD::from_shape_fn(IxDyn(&[3, 2]), |i| (10 * i[0] + i[1] + 1) as f64).view());
    assert_eq!(
        packed,
        Ok(vec![vec![1., 0., 11., 0., 2., 0., 12., 0.], vec![21., 0., 0., 0., 22., 0., 0., 0.]])
    );
    assert_eq!(l.element_at(&[3, 2], 1, 4), Some(5));
    assert_eq!(l.element_at(&[3, 2], 1, 2), None);
    assert_eq!(l.element_at(&[3, 2], 0, 1), None);
}

#[test]
fn rolled_copies_are_rotated_left() {
    let l = layout("[R:2, R:2:3, 0:4:1]");
    let packed = l.pack(&ArrayD::from_shape_fn(IxDyn(&[4]), |i| i[0] as f64).view()).unwrap();
    assert_eq!(packed[0], [0., 1., 2., 3., 3., 0., 1., 2., 0., 1., 2., 3., 3., 0., 1., 2.]);
    assert_eq!(l.period(), 8);
    assert_eq!(l.copies(), 4);
}

#[test]
fn row_major_pads_replicates_and_splits() {
    assert_eq!(Layout::row_major(&[1, 784], 4096).unwrap(), layout("[R:4, 1:1024:1]"));
    assert_eq!(Layout::row_major(&[6, 5, 5], 1024).unwrap(), layout("[R:2, 0:8:1, 1:8:1, 2:8:1]"));
    assert_eq!(Layout::row_major(&[6, 28, 28], 2048).unwrap(), layout("[0:3:2 | 0:2:1, 1:32:1, 2:32:1]"));
    assert_eq!(Layout::row_major(&[3, 100], 64).unwrap(), layout("[0:3:1, 1:2:64 | 1:64:1]"));
    assert_eq!(Layout::row_major(&[], 8).unwrap(), layout("[R:8]"));
    assert_eq!(Layout::ordered(&[3, 4], &[1, 0], 16).unwrap(), layout("[1:4:1, 0:4:1]"));
}

#[test]
fn neighbours_merge() {
    let pieces =
        vec![Piece::gap(2), Piece::gap(2), Piece::dim(0, 2, 4), Piece::dim(0, 4, 1), Piece::replicate(1)];
    assert_eq!(Layout::simplified(Vec::new(), pieces), Ok(layout("[G:4, 0:8:1]")));
}

/// A shape and a layout for it with all kinds of pieces.
pub(crate) fn shape_and_layout(slots_log: u32) -> impl Strategy<Value = (Vec<usize>, Layout)> {
    let shape = prop::collection::vec(1usize..6, 1..4);
    (shape, any::<u64>()).prop_map(move |(shape, seed)| {
        let layout = random_layout(&shape, slots_log, seed);
        (shape, layout)
    })
}

/// A random layout of a shape: dimensions cut into pieces, shuffled, filled up with copies and gaps.
pub(crate) fn random_layout(shape: &[usize], slots_log: u32, seed: u64) -> Layout {
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let mut slots = Vec::new();
    let mut ciphertexts = Vec::new();
    let mut room = slots_log;
    for (dim, &size) in shape.iter().enumerate() {
        let mut stride = 1u32;
        while (stride as usize) < size {
            let rest = (size as u32).div_ceil(stride);
            let bits = (1 + random(2) as u32).min(room);
            if room == 0 || random(8) == 0 {
                ciphertexts.push(Piece::dim(dim as u32, rest, stride));
                break;
            }
            slots.push(Piece::dim(dim as u32, 1 << bits, stride));
            stride <<= bits;
            room -= bits;
        }
    }
    let mut fill = Vec::new();
    while room > 0 {
        let bits = 1 + random(u64::from(room)) as u32;
        room -= bits;
        fill.push(if random(3) == 0 { Piece::gap(1 << bits) } else { Piece::replicate(1 << bits) });
    }
    for piece in fill {
        let at = if random(2) == 0 { 0 } else { random(slots.len() as u64 + 1) as usize };
        slots.insert(at, piece);
    }
    for i in (1..slots.len()).rev() {
        if random(2) == 0 {
            slots.swap(i, random(i as u64 + 1) as usize);
        }
    }
    let mut block = 1u32;
    for piece in slots.iter_mut().rev() {
        if let Piece::Replicate { roll, .. } = piece
            && block > 1
            && random(3) == 0
        {
            *roll = random(u64::from(block)) as u32;
        }
        block *= piece.extent();
    }
    Layout::new(ciphertexts, slots).unwrap_or_else(|e| panic!("{e}"))
}

proptest! {
    #[test]
    fn unpack_inverts_pack((shape, layout) in shape_and_layout(8)) {
        let tensor = ArrayD::from_shape_fn(IxDyn(&shape), |i| {
            1.0 + i.slice().iter().fold(0, |n, c| n * 7 + c) as f64
        });
        let packed = layout.pack(&tensor.view()).unwrap();
        prop_assert_eq!(layout.unpack(&shape, &packed).unwrap(), tensor.clone());
        // Every slot holds what `element_at` says, unused ones zero, and the contents have the stated period.
        let flat: Vec<f64> = tensor.iter().copied().collect();
        for (c, slots) in packed.iter().enumerate() {
            for (s, value) in slots.iter().enumerate() {
                let expected = layout.element_at(&shape, c, s).map_or(0.0, |e| flat[e]);
                prop_assert_eq!(*value, expected);
                prop_assert_eq!(*value, slots[(s + layout.period()) % slots.len()]);
            }
        }
        prop_assert_eq!(Layout::parse(&layout.to_string()).unwrap(), layout.clone());
        prop_assert_eq!(Layout::from_words(&layout.to_words()).unwrap(), layout);
    }
}
