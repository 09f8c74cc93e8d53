//! Labelled images in memory.

use std::ops::Range;

use super::{CLASSES, DataError};

/// Size of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// Color channels: 1 for gray, 3 for red, green and blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// A shape from its parts.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Pixels in one channel.
    pub const fn plane(self) -> usize {
        self.height * self.width
    }

    /// Bytes in one image.
    pub const fn bytes(self) -> usize {
        self.channels * self.plane()
    }
}

/// Mean and standard deviation of each channel, for pixels between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    /// Mean of each channel.
    pub mean: &'static [f32],
    /// Standard deviation of each channel.
    pub std: &'static [f32],
}

impl Normalization {
    /// The normalized value of each possible pixel byte of a channel.
    ///
    /// A table lookup normalizes faster than arithmetic on every pixel.
    pub fn table(&self, channel: usize) -> [f32; 256] {
        let (mean, std) = (self.mean[channel], self.std[channel]);
        std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
    }
}

/// Labelled images of one size, as bytes: image after image, channel after channel, row after row.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Images {
    pixels: Vec<u8>,
    labels: Vec<u8>,
    shape: ImageShape,
    normalization: Normalization,
}

impl Images {
    /// Makes images from pixels and labels.
    ///
    /// # Errors
    /// If the pixels do not fill one image per label, or a label is not a class.
    pub fn new(
        pixels: Vec<u8>,
        labels: Vec<u8>,
        shape: ImageShape,
        normalization: Normalization,
    ) -> Result<Self, DataError> {
        if shape.bytes() == 0 || pixels.len() != labels.len() * shape.bytes() {
            return Err(DataError::Mismatch {
                pixels: pixels.len(),
                labels: labels.len(),
                bytes_per_image: shape.bytes(),
            });
        }
        if let Some(index) = labels.iter().position(|&label| label as usize >= CLASSES) {
            return Err(DataError::UnknownClass { label: labels[index], index });
        }
        Ok(Self { pixels, labels, shape, normalization })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Size of every image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// The normalization of the pixels for a network.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// The same images with another normalization.
    pub fn with_normalization(self, normalization: Normalization) -> Self {
        Self { normalization, ..self }
    }

    /// The pixels of one image.
    pub fn image(&self, index: usize) -> &[u8] {
        let bytes = self.shape.bytes();
        &self.pixels[index * bytes..(index + 1) * bytes]
    }

    /// The class of one image.
    pub fn label(&self, index: usize) -> u8 {
        self.labels[index]
    }

    /// The first images of each class, `count` in total, in their original order.
    ///
    /// Class sizes differ by at most one if each class has enough images. This matters for files sorted by class, where
    /// a plain prefix would hold only one class.
    pub fn balanced_first(&self, count: usize) -> Self {
        self.split(count).0
    }

    /// The first images of each class, `count` in total, and the others, both in their original order.
    pub fn split(&self, count: usize) -> (Self, Self) {
        let mut first = self.round_robin();
        let mut others = first.split_off(count.min(self.len()));
        first.sort_unstable();
        others.sort_unstable();
        (self.select(&first), self.select(&others))
    }

    /// The images of some classes, renumbered from 0.
    pub fn of_classes(&self, classes: Range<u8>) -> Self {
        let indices: Vec<usize> =
            (0..self.len()).filter(|&index| classes.contains(&self.labels[index])).collect();
        let mut images = self.select(&indices);
        images.labels.iter_mut().for_each(|label| *label -= classes.start);
        images
    }

    /// All indices: the first image of each class, then the second of each, and so on.
    fn round_robin(&self) -> Vec<usize> {
        let mut seen = [0_usize; CLASSES];
        let mut order: Vec<(usize, u8, usize)> = (0..self.len())
            .map(|index| {
                let label = self.labels[index];
                let round = seen[label as usize];
                seen[label as usize] += 1;
                (round, label, index)
            })
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, index)| index).collect()
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The images at these indices, in this order.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            pixels: indices.iter().flat_map(|&index| self.image(index)).copied().collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            shape: self.shape,
            normalization: self.normalization,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(labels: &[u8]) -> Result<Images, DataError> {
        let pixels = (0..labels.len() as u8).collect();
        let normalization = Normalization { mean: &[0.5], std: &[0.25] };
        Images::new(pixels, labels.to_vec(), ImageShape::new(1, 1, 1), normalization)
    }

    #[test]
    fn a_limit_takes_the_first_images_of_each_class() {
        let sorted_by_class = images(&[0, 0, 0, 1, 1, 1, 2, 2, 2]).unwrap();

        let limited = sorted_by_class.balanced_first(5);

        assert_eq!(limited.labels, [0, 0, 1, 1, 2]);
        assert_eq!(limited.pixels, [0, 1, 3, 4, 6]);
    }

    #[test]
    fn a_limit_beyond_the_last_image_keeps_all_in_order() {
        let all = images(&[3, 1, 3, 2]).unwrap();

        assert_eq!(all.balanced_first(100), all);
    }

    #[test]
    fn a_split_leaves_no_image_out() {
        let (first, others) = images(&[0, 0, 0, 1, 1, 2]).unwrap().split(4);

        assert_eq!((first.labels, first.pixels), (vec![0, 0, 1, 2], vec![0, 1, 3, 5]));
        assert_eq!((others.labels, others.pixels), (vec![0, 1], vec![2, 4]));
    }

    #[test]
    fn some_classes_are_numbered_anew() {
        let some = images(&[9, 5, 0, 5, 7]).unwrap().of_classes(5..8);

        assert_eq!(some.labels, [0, 0, 2]);
        assert_eq!(some.pixels, [1, 3, 4]);
    }

    #[test]
    fn a_normalization_table_covers_black_and_white() {
        let table = images(&[0]).unwrap().normalization().table(0);

        assert_eq!(table[0], -2.0);
        assert_eq!(table[255], 2.0);
    }

    #[test]
    fn pixels_must_match_labels() {
        let error = Images::new(
            vec![0; 5],
            vec![0; 2],
            ImageShape::new(1, 2, 2),
            images(&[0]).unwrap().normalization(),
        )
        .unwrap_err();

        assert_eq!(error.to_string(), "5 pixel bytes do not make 2 images of 4 bytes");
    }

    #[test]
    fn a_label_must_be_a_class() {
        assert_eq!(
            images(&[9, 10]).unwrap_err().to_string(),
            "label 10 of image 1 is not a class: labels go from 0 to 9"
        );
    }
}
