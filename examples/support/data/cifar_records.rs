//! The binary format of CIFAR-10: records of one label byte and 3,072 pixel bytes.

use super::Dataset;

const RECORD: usize = 1 + Dataset::Cifar10.shape().bytes();

/// Splits records into pixels and labels; an error describes the actual bytes.
pub(super) fn parse(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        return Err(format!(
            "{} bytes, which is not a whole number of {RECORD}-byte records",
            bytes.len()
        ));
    }
    let records = bytes.chunks_exact(RECORD);
    let labels = records.clone().map(|record| record[0]).collect();
    let pixels = records.flat_map(|record| &record[1..]).copied().collect();
    Ok((pixels, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_split_into_pixels_and_labels() {
        let mut bytes = vec![7; RECORD];
        bytes.extend(vec![3; RECORD]);

        let (pixels, labels) = parse(&bytes).unwrap();

        assert_eq!(labels, [7, 3]);
        assert_eq!(pixels.len(), 2 * 3072);
        assert_eq!((pixels[3071], pixels[3072]), (7, 3));
    }

    #[test]
    fn a_torn_record_is_refused() {
        assert!(parse(&[0; RECORD + 1]).unwrap_err().contains("3074 bytes"));
        assert!(parse(&[]).is_err());
    }
}
