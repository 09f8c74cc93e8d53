//! Draws a sheet of gray images as PNG.

use std::io::{self, Write};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// The side of a digit, and of its cell in the sheet.
const SIDE: usize = 28;
const PITCH: usize = SIDE + 2;

/// The zoom in both directions.
const ZOOM: usize = 2;

/// Rows of digits; each digit is 28×28 numbers from -1, black, to 1, white, and is drawn in ink on paper.
///
/// # Errors
/// Never, because it writes to memory; but the compression API returns errors.
pub fn sheet(rows: &[Vec<Vec<f32>>]) -> io::Result<Vec<u8>> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let (width, height) = (columns * PITCH, rows.len() * PITCH);
    let mut pixels = vec![u8::MAX; width * height];
    for (row, digits) in rows.iter().enumerate() {
        for (column, digit) in digits.iter().enumerate() {
            for (y, line) in digit.chunks(SIDE).enumerate() {
                let start = (row * PITCH + y + 1) * width + column * PITCH + 1;
                for (pixel, value) in pixels[start..start + SIDE].iter_mut().zip(line) {
                    *pixel = (127.5 * (1.0 - value.clamp(-1.0, 1.0))).round() as u8;
                }
            }
        }
    }
    png(&pixels, width)
}

/// An image of 8 bits per pixel, zoomed.
fn png(pixels: &[u8], width: usize) -> io::Result<Vec<u8>> {
    let mut lines = ZlibEncoder::new(Vec::new(), Compression::best());
    for line in pixels.chunks(width.max(1)) {
        let zoomed: Vec<u8> = line.iter().flat_map(|pixel| [*pixel; ZOOM]).collect();
        for _ in 0..ZOOM {
            // Each line begins with its filter: none.
            lines.write_all(&[0])?;
            lines.write_all(&zoomed)?;
        }
    }
    let height = pixels.len() / width.max(1);
    let mut header = Vec::new();
    header.extend(((width * ZOOM) as u32).to_be_bytes());
    header.extend(((height * ZOOM) as u32).to_be_bytes());
    // 8 bits, gray, and the only compression, filters and order that there are.
    header.extend([8, 0, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", lines.finish()?), (b"IEND", vec![])] {
        let mut sum = Crc::new();
        sum.update(kind);
        sum.update(&data);
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(kind);
        file.extend(&data);
        file.extend(sum.sum().to_be_bytes());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::ZlibDecoder;
    use std::io::Read;

    #[test]
    fn a_sheet_is_a_png_of_its_rows() {
        let white = vec![1.0; SIDE * SIDE];
        let file = sheet(&[vec![white.clone(), white.clone()], vec![white]]).unwrap();

        assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"));
        let sizes =
            [&file[16..20], &file[20..24]].map(|size| u32::from_be_bytes(size.try_into().unwrap()));
        assert_eq!(sizes, [2 * 60, 2 * 60]);
        let mut lines = Vec::new();
        ZlibDecoder::new(&file[41..]).read_to_end(&mut lines).unwrap();
        let ink = lines.chunks(121).flat_map(|line| &line[1..]).filter(|pixel| **pixel == 0);
        assert_eq!(ink.count(), 3 * 4 * SIDE * SIDE, "three digits, two and two pixels each");
    }
}
