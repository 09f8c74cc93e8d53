//! IDX, the format of MNIST: a big-endian header (magic number, one length per dimension), then bytes.

/// Magic number of a file of bytes with three dimensions: images.
const IMAGES: u32 = 0x0803;
/// Magic number of a file of bytes with one dimension: labels.
const LABELS: u32 = 0x0801;

/// The pixels of an IDX image file; an error describes the actual bytes.
pub(super) fn parse_images(bytes: &[u8], height: usize, width: usize) -> Result<Vec<u8>, String> {
    let ([count, rows, columns], pixels) = header::<3>(bytes, IMAGES)?;
    if (rows, columns) != (height, width) {
        return Err(format!("images of {rows}×{columns} pixels"));
    }
    exactly(pixels, count.saturating_mul(height * width))
}

/// The labels of an IDX label file; an error describes the actual bytes.
pub(super) fn parse_labels(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let ([count], labels) = header::<1>(bytes, LABELS)?;
    exactly(labels, count)
}

/// The lengths of the dimensions, and the bytes after the header.
fn header<const DIMENSIONS: usize>(
    bytes: &[u8],
    magic: u32,
) -> Result<([usize; DIMENSIONS], &[u8]), String> {
    let length = 4 * (1 + DIMENSIONS);
    if bytes.len() < length {
        return Err(format!("{} bytes, fewer than its header of {length}", bytes.len()));
    }
    let (header, rest) = bytes.split_at(length);
    let word = |index: usize| {
        let at = 4 * index;
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if word(0) != magic {
        return Err(format!("magic number {} instead of {magic}", word(0)));
    }
    Ok((std::array::from_fn(|index| word(index + 1) as usize), rest))
}

fn exactly(bytes: &[u8], expected: usize) -> Result<Vec<u8>, String> {
    if bytes.len() == expected {
        Ok(bytes.to_vec())
    } else {
        Err(format!("{} bytes where its header announces {expected}", bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(words: &[u32], payload: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn images_and_labels_are_read() {
        let images = file(&[0x803, 2, 1, 2], &[1, 2, 3, 4]);
        let labels = file(&[0x801, 2], &[5, 6]);

        assert_eq!(parse_images(&images, 1, 2).unwrap(), [1, 2, 3, 4]);
        assert_eq!(parse_labels(&labels).unwrap(), [5, 6]);
    }

    #[test]
    fn damaged_files_are_refused() {
        let truncated = file(&[0x803, 2, 1, 2], &[1, 2, 3]);
        assert!(parse_images(&truncated, 1, 2).unwrap_err().contains("announces 4"));

        let other_size = file(&[0x803, 1, 2, 2], &[0; 4]);
        assert!(parse_images(&other_size, 1, 2).unwrap_err().contains("2×2"));

        let labels = file(&[0x801, 1], &[0]);
        assert!(parse_images(&labels, 1, 2).is_err());

        assert!(parse_labels(&[0, 0, 8]).unwrap_err().contains("3 bytes"));
    }
}
