//! Random crops and flips of training images.

use rand::{Rng, RngExt};

use super::ImageShape;

/// The random changes that a training image goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Augmentation {
    /// Crop at a random place, after extending the edges by this many pixels.
    pub padding: i8,
    /// Mirror half of the images, at random.
    pub flip: bool,
}

impl Augmentation {
    /// No changes.
    pub const NONE: Self = Self { padding: 0, flip: false };

    /// For photographs: a 2-pixel random crop, and flips.
    pub const CROP_AND_FLIP: Self = Self { padding: 2, flip: true };

    /// For digits, whose mirror images are not digits: a 1-pixel random crop.
    pub const SHIFT: Self = Self { padding: 1, flip: false };

    /// Draws how one image is placed.
    pub fn draw(self, random: &mut impl Rng) -> Placement {
        let mut shift = || match self.padding {
            0 => 0,
            padding => random.random_range(-padding..=padding),
        };
        let (down, right) = (shift(), shift());
        Placement { down, right, flipped: self.flip && random.random() }
    }
}

/// How one image is placed into its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Placement {
    /// Rows that the image moves down; its first row fills the gap.
    pub down: i8,
    /// Columns that the image moves to the right; its first column fills the gap.
    pub right: i8,
    /// Whether the moved image is mirrored, left to right.
    pub flipped: bool,
}

/// Writes one image into its place in a batch: moved, mirrored and normalized in a single pass.
///
/// `tables` holds the normalized value of each pixel byte for each channel, `image` and `output` one
/// image of the given shape.
pub fn place_image(
    image: &[u8],
    shape: ImageShape,
    placement: Placement,
    tables: &[[f32; 256]],
    output: &mut [f32],
) {
    let planes = image.chunks_exact(shape.plane());
    let outputs = output.chunks_exact_mut(shape.plane());
    for ((plane, table), output) in planes.zip(tables).zip(outputs) {
        for (y, output) in output.chunks_exact_mut(shape.width).enumerate() {
            let y = y.saturating_add_signed(-isize::from(placement.down)).min(shape.height - 1);
            let row = &plane[y * shape.width..(y + 1) * shape.width];
            place_row(row, placement, table, output);
        }
    }
}

fn place_row(row: &[u8], placement: Placement, table: &[f32; 256], output: &mut [f32]) {
    let value = |pixel: u8| table[usize::from(pixel)];
    let moved = usize::from(placement.right.unsigned_abs()).min(row.len() - 1);
    let kept = row.len() - moved;
    let (from, to) = if placement.right < 0 { (moved, 0) } else { (0, moved) };
    output[..to].fill(value(row[0]));
    for (output, &pixel) in output[to..].iter_mut().zip(&row[from..from + kept]) {
        *output = value(pixel);
    }
    output[to + kept..].fill(value(row[row.len() - 1]));
    if placement.flipped {
        output.reverse();
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SHAPE: ImageShape = ImageShape::new(1, 2, 3);
    const IMAGE: [u8; 6] = [1, 2, 3, 4, 5, 6];

    fn place(down: i8, right: i8, flipped: bool) -> [f32; 6] {
        let identity = std::array::from_fn(|byte| byte as f32);
        let mut output = [-1.0; 6];
        let placement = Placement { down, right, flipped };
        place_image(&IMAGE, SHAPE, placement, &[identity], &mut output);
        output
    }

    #[test]
    fn an_image_that_stays_is_only_normalized() {
        assert_eq!(place(0, 0, false), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn a_moved_image_continues_its_edges() {
        assert_eq!(place(1, 0, false), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        assert_eq!(place(-1, 0, false), [4.0, 5.0, 6.0, 4.0, 5.0, 6.0]);
        assert_eq!(place(0, 1, false), [1.0, 1.0, 2.0, 4.0, 4.0, 5.0]);
        assert_eq!(place(0, -2, false), [3.0, 3.0, 3.0, 6.0, 6.0, 6.0]);
        assert_eq!(place(9, 9, false), [1.0; 6]);
        assert_eq!(place(-9, -9, false), [6.0; 6]);
    }

    #[test]
    fn a_flip_mirrors_the_moved_image() {
        assert_eq!(place(0, 0, true), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(place(0, 1, true), [2.0, 1.0, 1.0, 5.0, 4.0, 4.0]);
    }

    #[test]
    fn each_channel_has_its_own_table() {
        let tables = [[0.25; 256], [0.5; 256]];
        let mut output = [0.0; 2];

        place_image(&[0, 0], ImageShape::new(2, 1, 1), Placement::default(), &tables, &mut output);

        assert_eq!(output, [0.25, 0.5]);
    }

    #[test]
    fn draws_reach_every_placement_and_no_other() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let placement = Augmentation::CROP_AND_FLIP.draw(&mut random);
            seen.insert((placement.down, placement.right, placement.flipped));
        }

        assert_eq!(seen.len(), 5 * 5 * 2);
        assert!(seen.iter().all(|&(down, right, _)| down.abs() <= 2 && right.abs() <= 2));
        assert_eq!(Augmentation::NONE.draw(&mut random), Placement::default());
    }
}
