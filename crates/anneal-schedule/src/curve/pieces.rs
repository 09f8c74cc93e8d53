//! Curves as monotone pieces whose sums are known in closed form, for the analysis of a schedule.

use super::half_cosine;
use std::f64::consts::PI;

/// With more pieces a list does not pay off: a sum over the run costs as much.
pub(crate) const MAX_PIECES: u64 = 10_000;

/// If the result is below this share of the cancelling terms, the closed form has lost too many digits.
const MIN_SHARE: f64 = 1e-3;

/// Consecutive updates over which the rate is monotone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    /// The number of updates, at least 1.
    pub(crate) length: u64,
    /// The rates, for i = 0 … length − 1.
    pub(crate) shape: Shape,
}

/// The rates of a [`Piece`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A constant rate.
    Constant(f64),
    /// first + slope · i.
    Linear { first: f64, slope: f64 },
    /// first · e^(log_ratio · i).
    Geometric { first: f64, log_ratio: f64 },
    /// to + (from − to) · ½(1 + cos πx) with x = start + step · i in [0, 1].
    HalfCosine { from: f64, to: f64, start: f64, step: f64 },
}

/// The first `steps` updates of consecutive shapes.
pub(crate) fn cut(parts: impl IntoIterator<Item = (u64, Shape)>, steps: u64) -> Vec<Piece> {
    let mut left = steps;
    let mut pieces = vec![];
    for (length, shape) in parts {
        let length = length.min(left);
        if length > 0 {
            pieces.push(Piece { length, shape });
            left -= length;
        }
    }
    pieces
}

/// Consecutive pieces without their first `skipped` updates.
pub(crate) fn without_first(pieces: Vec<Piece>, skipped: u64) -> impl Iterator<Item = Piece> {
    let mut left = skipped;
    pieces.into_iter().filter_map(move |Piece { length, shape }| {
        let skipped = left.min(length);
        left -= skipped;
        let shape = shape.without_first(skipped);
        (skipped < length).then_some(Piece { length: length - skipped, shape })
    })
}

impl Shape {
    /// From `from` at i = 0 to `to` at i = length, in a straight line.
    pub(crate) fn line(from: f64, to: f64, length: u64) -> Self {
        Self::Linear { first: from, slope: (to - from) / length as f64 }
    }

    /// From `from` at i = 0 to `to` at i = length, as half a cosine wave.
    pub(crate) fn half_cosine(from: f64, to: f64, length: u64) -> Self {
        Self::HalfCosine { from, to, start: 0.0, step: 1.0 / length as f64 }
    }

    /// From `from` at i = 0 to `to` at i = length, geometrically; both above 0.
    pub(crate) fn geometric(from: f64, to: f64, length: u64) -> Self {
        Self::Geometric { first: from, log_ratio: (to.ln() - from.ln()) / length as f64 }
    }

    /// This shape times `factor`.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        match self {
            Self::Constant(rate) => Self::Constant(factor * rate),
            Self::Linear { first, slope } => {
                Self::Linear { first: factor * first, slope: factor * slope }
            }
            Self::Geometric { first, log_ratio } => {
                Self::Geometric { first: factor * first, log_ratio }
            }
            Self::HalfCosine { from, to, start, step } => {
                Self::HalfCosine { from: factor * from, to: factor * to, start, step }
            }
        }
    }

    fn at(self, i: u64) -> f64 {
        let i = i as f64;
        match self {
            Self::Constant(rate) => rate,
            Self::Linear { first, slope } => (first + slope * i).max(0.0),
            Self::Geometric { first, log_ratio } => first * (log_ratio * i).exp(),
            Self::HalfCosine { from, to, start, step } => {
                let weight = half_cosine((start + step * i).clamp(0.0, 1.0));
                from * weight + to * (1.0 - weight)
            }
        }
    }

    fn without_first(self, skipped: u64) -> Self {
        match self {
            Self::Constant(rate) => Self::Constant(rate),
            Self::Linear { slope, .. } => Self::Linear { first: self.at(skipped), slope },
            Self::Geometric { log_ratio, .. } => {
                Self::Geometric { first: self.at(skipped), log_ratio }
            }
            Self::HalfCosine { from, to, start, step } => {
                Self::HalfCosine { from, to, start: start + step * skipped as f64, step }
            }
        }
    }
}

impl Piece {
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { shape: self.shape.scaled(factor), ..self }
    }

    pub(crate) fn at(&self, i: u64) -> f64 {
        self.shape.at(i)
    }

    pub(crate) fn first(&self) -> f64 {
        self.at(0)
    }

    pub(crate) fn last(&self) -> f64 {
        self.at(self.length - 1)
    }

    /// This piece where `outside` is false, and `limit` elsewhere: a floor or a cap.
    pub(crate) fn clipped(self, limit: f64, outside: impl Fn(f64) -> bool) -> Vec<Piece> {
        let out_first = outside(self.first());
        let border = leading(self.length, |i| outside(self.at(i)) == out_first);
        let (head, rest) = (self.shape, self.shape.without_first(border));
        let limit = Shape::Constant(limit);
        let (head, rest) = if out_first { (limit, rest) } else { (head, limit) };
        cut([(border, head), (self.length - border, rest)], self.length)
    }

    /// The sum of its rates; `None` if the closed form would lose digits.
    pub(crate) fn sum(&self) -> Option<f64> {
        let n = self.length as f64;
        match self.shape {
            Shape::Constant(rate) => Some(n * rate),
            Shape::Linear { .. } => Some(n * (0.5 * self.first() + 0.5 * self.last())),
            Shape::Geometric { log_ratio, .. } => Some(self.geometric_sum(1.0, log_ratio, n)),
            Shape::HalfCosine { .. } => {
                let wave = self.wave()?;
                Some(n * wave.low + wave.height * wave.sum)
            }
        }
    }

    /// The sum of its squared rates.
    pub(crate) fn sum_of_squares(&self) -> Option<f64> {
        let n = self.length as f64;
        match self.shape {
            Shape::Constant(rate) => Some(n * rate * rate),
            Shape::Linear { .. } => {
                let (a, b) = (self.first(), self.last());
                let spread = if n > 1.0 { (b - a).powi(2) / (6.0 * (n - 1.0)) } else { 0.0 };
                Some(n * ((a * a + a * b + b * b) / 3.0 + spread))
            }
            Shape::Geometric { log_ratio, .. } => Some(self.geometric_sum(2.0, log_ratio, n)),
            Shape::HalfCosine { .. } => {
                let Wave { low, height, sum, squares } = self.wave()?;
                Some(n * low * low + 2.0 * low * height * sum + height * height * squares)
            }
        }
    }

    /// The sum of the first n rates to the `power`, computed from the end where it is largest, to avoid
    /// overflow.
    fn geometric_sum(&self, power: f64, log_ratio: f64, n: f64) -> f64 {
        let falling = -power * log_ratio.abs();
        let largest = if log_ratio > 0.0 { self.shape.at(n as u64 - 1) } else { self.first() };
        let terms = if falling == 0.0 { n } else { (falling * n).exp_m1() / falling.exp_m1() };
        largest.powf(power) * terms
    }

    /// The sums over its half wave, with s = ½(1 ± cos πx) measured from its lower end.
    fn wave(&self) -> Option<Wave> {
        let Shape::HalfCosine { from, to, start, step } = self.shape else { return None };
        let n = self.length as f64;
        let sign = if from >= to { 1.0 } else { -1.0 };
        let once = sign * sum_of_cosines(PI * start, PI * step, n);
        let twice = sum_of_cosines(2.0 * PI * start, 2.0 * PI * step, n);
        let (sum, squares) = (0.5 * (n + once), 0.375 * n + 0.5 * once + 0.125 * twice);
        let exact = squares >= MIN_SHARE * n;
        exact.then_some(Wave { low: from.min(to), height: (from - to).abs(), sum, squares })
    }

    /// The largest |Δη| inside it: the index i it follows, and its size.
    pub(crate) fn largest_jump(&self) -> Option<(u64, f64)> {
        let last = self.length.checked_sub(2)?;
        match self.shape {
            Shape::Constant(_) => Some((0, 0.0)),
            Shape::Linear { slope, .. } => Some((0, slope.abs())),
            Shape::Geometric { log_ratio, .. } => {
                let (i, largest) = if log_ratio > 0.0 { (last, last + 1) } else { (0, 0) };
                Some((i, self.at(largest) * -(-log_ratio.abs()).exp_m1()))
            }
            Shape::HalfCosine { from, to, start, step } => {
                let height = (from - to).abs() * (0.5 * PI * step).sin();
                let jump = |i: u64| height * (PI * (start + step * (i as f64 + 0.5))).sin();
                self.best_near((0.5 - start) / step - 0.5, jump)
            }
        }
    }

    /// The largest |Δ ln η| inside it: the index i it follows, and its size; infinite if a rate is 0.
    pub(crate) fn largest_log_jump(&self) -> Option<(u64, f64)> {
        let last = self.length.checked_sub(2)?;
        let jump = |i: u64| log_jump(self.at(i), self.at(i + 1));
        match self.shape {
            Shape::Constant(_) => Some((0, 0.0)),
            Shape::Geometric { log_ratio, .. } => Some((0, log_ratio.abs())),
            Shape::Linear { slope, .. } => {
                let i = if slope > 0.0 { 0 } else { last };
                Some((i, jump(i)))
            }
            Shape::HalfCosine { from, to, start, step } => {
                // |d ln η/dx| is largest where the cosine, seen from the higher end, is −1/c with
                // c = (high + low)/(high − low).
                let (high, low) = (from.max(to), from.min(to));
                let steepest = ((low - high) / (high + low)).acos() / PI;
                let x = if from >= to { steepest } else { 1.0 - steepest };
                self.best_near((x - start) / step - 0.5, jump)
            }
        }
    }

    /// The sum of (Δη)² inside it.
    pub(crate) fn sum_of_squared_jumps(&self) -> Option<f64> {
        let Some(jumps) = self.length.checked_sub(1).filter(|&jumps| jumps > 0) else {
            return Some(0.0);
        };
        let n = jumps as f64;
        match self.shape {
            Shape::Constant(_) => Some(0.0),
            Shape::Linear { slope, .. } => Some(n * slope * slope),
            Shape::Geometric { log_ratio, .. } => {
                // When falling, a jump is (1 − r) of the rate before it; when rising, of the rate after it.
                let largest = if log_ratio > 0.0 { self.last() } else { self.first() };
                let falling = -log_ratio.abs();
                let first = Shape::Geometric { first: largest, log_ratio: falling };
                let falling_sum = Piece { length: jumps, shape: first };
                Some(falling.exp_m1().powi(2) * falling_sum.sum_of_squares()?)
            }
            Shape::HalfCosine { from, to, start, step } => {
                let height = (from - to) * (0.5 * PI * step).sin();
                let cosines = sum_of_cosines(PI * (2.0 * start + step), 2.0 * PI * step, n);
                let sines = 0.5 * (n - cosines);
                (sines >= MIN_SHARE * n).then_some(height * height * sines)
            }
        }
    }

    /// Σ ln(1 − ηω), if its rate is constant.
    pub(crate) fn log_product(&self, omega: f64) -> Option<f64> {
        match self.shape {
            Shape::Constant(rate) => Some(self.length as f64 * (-rate * omega).ln_1p()),
            _ => None,
        }
    }

    /// The better of the whole positions next to `position`, for a function with a single peak there.
    fn best_near(&self, position: f64, value: impl Fn(u64) -> f64) -> Option<(u64, f64)> {
        let last = self.length.checked_sub(2)?;
        let below = position.floor().max(0.0) as u64;
        let candidates = [below.saturating_sub(1), below, below.saturating_add(1)];
        let found = candidates.map(|i| i.min(last)).map(|i| (i, value(i)));
        found.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best })
    }
}

/// The number of leading positions among `length` for which `holds` is true, if it is true up to some
/// position and false afterwards.
pub(crate) fn leading(length: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Σs and Σs² of the half wave of a piece, above its lower end.
struct Wave {
    low: f64,
    height: f64,
    sum: f64,
    squares: f64,
}

/// |Δ ln η| between two consecutive rates: 0 if both are 0, infinite if only one is.
pub(crate) fn log_jump(before: f64, after: f64) -> f64 {
    if before == after { 0.0 } else { (after.ln() - before.ln()).abs() }
}

/// Σ cos(a + b·i) over i = 0 … n − 1, for b in (0, 2π].
fn sum_of_cosines(a: f64, b: f64, n: f64) -> f64 {
    (0.5 * n * b).sin() / (0.5 * b).sin() * (a + 0.5 * (n - 1.0) * b).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64, scale: f64) -> bool {
        (found - expected).abs() <= 1e-12 * scale.abs().max(expected.abs())
    }

    fn shapes() -> Vec<Shape> {
        let mut shapes = vec![
            Shape::Constant(0.3),
            Shape::line(1.0, 0.0, 50),
            Shape::line(0.2, 0.7, 50),
            Shape::Geometric { first: 2.0, log_ratio: -0.05 },
            Shape::Geometric { first: 0.01, log_ratio: 0.05 },
            Shape::geometric(1.0, 1e-4, 50),
        ];
        for (from, to) in [(1.0, 0.0), (1.0, 0.1), (0.04, 1.0), (0.0, 1.0)] {
            shapes.push(Shape::half_cosine(from, to, 50));
            shapes.push(Shape::HalfCosine { from, to, start: 0.3 / 50.5, step: 1.0 / 50.5 });
        }
        shapes
    }

    /// Compares every closed form with the sum it replaces.
    #[test]
    fn closed_forms_equal_sums() {
        for shape in shapes() {
            for length in [1, 2, 3, 10, 49, 50] {
                let piece = Piece { length, shape };
                let rates: Vec<f64> = (0..length).map(|i| piece.at(i)).collect();
                let jumps: Vec<f64> = rates.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
                let logs: Vec<f64> = rates.windows(2).map(|w| log_jump(w[0], w[1])).collect();
                let name = format!("{shape:?} of {length}");
                let sum: f64 = rates.iter().sum();
                assert!(piece.sum().is_none_or(|found| close(found, sum, 0.0)), "{name}");
                let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
                let found = piece.sum_of_squares();
                assert!(found.is_none_or(|found| close(found, squares, 0.0)), "{name}");
                let squares: f64 = jumps.iter().map(|jump| jump * jump).sum();
                let found = piece.sum_of_squared_jumps();
                assert!(found.is_none_or(|found| close(found, squares, 0.0)), "{name}: {found:?}");
                if length > 1 {
                    let largest = jumps.iter().copied().fold(0.0, f64::max);
                    let (i, found) = piece.largest_jump().unwrap();
                    assert!(close(found, largest, 1.0), "{name}: {found} is not {largest}");
                    assert!(close(jumps[i as usize], largest, 1.0), "{name}: after {i}");
                    let largest = logs.iter().copied().fold(0.0, f64::max);
                    let (i, found) = piece.largest_log_jump().unwrap();
                    assert!(found == largest || close(found, largest, 1.0), "{name}: {found}");
                    assert!(
                        logs[i as usize] == largest || close(logs[i as usize], largest, 1.0),
                        "{name}: after {i}"
                    );
                }
            }
            // Over a whole wave nothing cancels.
            let whole = Piece { length: 50, shape };
            assert!(whole.sum().is_some() && whole.sum_of_squared_jumps().is_some(), "{shape:?}");
        }
    }

    #[test]
    fn a_limit_cuts_where_the_rates_cross_it() {
        for shape in shapes() {
            let piece = Piece { length: 50, shape };
            for limit in [0.001, 0.25, 0.5, 3.0] {
                let floored = piece.clipped(limit, |rate| rate < limit);
                let rates: Vec<f64> =
                    floored.iter().flat_map(|part| (0..part.length).map(|i| part.at(i))).collect();
                assert_eq!(rates.len(), 50);
                for (i, rate) in rates.into_iter().enumerate() {
                    assert!(close(rate, piece.at(i as u64).max(limit), 1.0), "{shape:?} at {i}");
                }
            }
        }
    }
}
