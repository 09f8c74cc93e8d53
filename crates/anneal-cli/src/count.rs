//! Parses numbers of updates and epochs.

const ALLOWED: &str = "allowed: a whole number such as 20000, 20_000, 2e4 or 20k";

/// Reads a whole number: plain, with `_` between digits, with an exponent, or with one of the suffixes k, M,
/// G and T, as charts use them.
pub fn count(text: &str) -> Result<u64, String> {
    let why = |why: &str| format!("`{text}` {why}; {ALLOWED}");
    if text.contains(',') {
        return Err(why("has a comma, which could be a decimal point"));
    }
    let (number, zeros) = exponent(text.trim()).ok_or_else(|| why("is not a whole number"))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let are_digits = [whole, part].iter().all(|digits| is_digits(digits));
    if !are_digits || whole.is_empty() || number.ends_with('.') {
        return Err(why("is not a whole number"));
    }
    let part = part.trim_end_matches(['0', '_']).replace('_', "");
    let Some(zeros) = zeros.checked_sub(part.len() as u32) else {
        return Err(why("is not a whole number"));
    };
    let digits = whole.replace('_', "") + &part;
    let number = digits.parse::<u64>().ok();
    let number = match number {
        Some(0) => Some(0),
        number => number.zip(10u64.checked_pow(zeros)).and_then(|(a, b)| a.checked_mul(b)),
    };
    number.ok_or_else(|| why("is too large"))
}

/// The part before the exponent or the suffix, and the number of zeros that it adds.
fn exponent(text: &str) -> Option<(&str, u32)> {
    for (letter, zeros) in [('k', 3), ('M', 6), ('G', 9), ('T', 12)] {
        if let Some(number) = text.strip_suffix(letter) {
            return Some((number, zeros));
        }
    }
    let Some((number, exponent)) = text.split_once(['e', 'E']) else { return Some((text, 0)) };
    let digits = exponent.strip_prefix('+').unwrap_or(exponent);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| (number, digits.parse().unwrap_or(u32::MAX)))
}

/// Whether a text is digits, with `_` only between two of them.
fn is_digits(text: &str) -> bool {
    text.is_empty()
        || text
            .split('_')
            .all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn large_numbers_are_written_in_several_ways() {
        for (text, expected) in [
            ("0", 0),
            ("7", 7),
            ("20000", 20_000),
            ("20_000", 20_000),
            ("1_000_000", 1_000_000),
            ("1e6", 1_000_000),
            ("1E+6", 1_000_000),
            ("2.5e3", 2_500),
            ("1.50e1", 15),
            ("20k", 20_000),
            ("1.5M", 1_500_000),
            ("2G", 2_000_000_000),
            ("1T", 1_000_000_000_000),
            ("0e99", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(count(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_is_refused() {
        for text in [
            "",
            "-3",
            "1.5",
            "1.55e1",
            "1e-2",
            "1e",
            "e5",
            "1e5.0",
            "1_",
            "_1",
            "1__0",
            "5.",
            ".5",
            "10,000",
            "10.000,0",
            "0x10",
            "ten",
            "1m",
            "1 000",
            "nan",
            "inf",
            "1e99",
            "1e99999999999",
            "18446744073709551616",
            "1kk",
            "1._5e3",
        ] {
            let error = count(text).unwrap_err();
            assert!(error.contains("20_000, 2e4 or 20k"), "{text}: {error}");
        }
        assert!(count("10,000").unwrap_err().contains("comma"));
    }
}
