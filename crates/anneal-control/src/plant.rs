//! Stability of a closed loop: the roots of its characteristic polynomial.

use crate::OutOfRange;
use num_complex::Complex64;
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::fmt;

/// How a signal responds to the output of a controller: a linear model around its operating point.
///
/// ```text
/// y_{t+1} = a y_t + b u_{t−d}
/// ```
///
/// with y_t the t-th value of the signal that the controller gets (a mean, if it takes means), u_t its
/// output, and d the `delay` (default 0, at most 32).
///
/// Estimate `a` and `b` from a run with varied rates: by a least-squares fit of y_{t+1} on y_t and u_t.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Plant {
    a: f64,
    b: f64,
    #[serde(default)]
    delay: u64,
}

impl Plant {
    /// A signal that keeps the share `a` of itself, and moves by `b` per unit of output.
    pub fn new(a: f64, b: f64) -> Self {
        Self { a, b, delay: 0 }
    }

    /// Delays the effect of the output by this many values.
    #[must_use]
    pub fn delay(self, values: u64) -> Self {
        Self { delay: values, ..self }
    }

    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        OutOfRange::require("a", self.a, self.a.is_finite(), "finite")?;
        OutOfRange::require("b", self.b, self.b.is_finite(), "finite")?;
        OutOfRange::require("delay", self.delay, self.delay <= 32, "0 to 32")
    }

    /// The characteristic polynomial of the loop of this plant and the controller u = −n(q)/m(q) y, q = z⁻¹:
    ///
    /// ```text
    /// (1 − a q) m(q) + b q^(d+1) n(q)
    /// ```
    ///
    /// Coefficients of the controller and the result start with q⁰, which is the highest power of z.
    pub(crate) fn closed_loop(&self, n: &[f64], m: &[f64]) -> Vec<f64> {
        let shift = self.delay as usize + 1;
        let mut sum = vec![0.0; (shift + n.len()).max(m.len() + 1)];
        for (i, m) in m.iter().enumerate() {
            sum[i] += m;
            sum[i + 1] -= self.a * m;
        }
        for (i, n) in n.iter().enumerate() {
            sum[i + shift] += self.b * n;
        }
        // Absent powers of q are not states of the loop.
        while sum.last() == Some(&0.0) {
            sum.pop();
        }
        sum
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { a, b, delay } = self;
        let u = if *delay == 0 { "u_t".to_string() } else { format!("u_{{t−{delay}}}") };
        let sign = if *b < 0.0 { '−' } else { '+' };
        write!(f, "y_{{t+1}} = {a:?} y_t {sign} {:?} {u}", b.abs())
    }
}

/// The roots of a polynomial whose coefficients start with that of the highest power, which is 1; the root
/// with the largest modulus comes first.
///
/// Uses Aberth's iteration: Newton's method with mutual repulsion of the roots.
pub(crate) fn roots(coefficients: &[f64]) -> Vec<Complex64> {
    let degree = coefficients.len() - 1;
    // No root exceeds twice this unit, and in it no coefficient exceeds 1.
    let size = |(k, c): (usize, &f64)| c.abs().powf(1.0 / k as f64);
    let unit = coefficients.iter().enumerate().skip(1).map(size).fold(0.0, f64::max);
    let scaled = |(k, c): (usize, &f64)| (0..k).fold(*c, |c, _| c / unit);
    let scaled: Vec<f64> = coefficients.iter().enumerate().map(scaled).collect();
    let on_circle = |i: usize| (TAU * i as f64 / degree as f64 + 0.4).sin_cos();
    let start = (0..degree).map(on_circle).map(|(im, re)| Complex64 { re, im });
    let mut all: Vec<Complex64> = start.collect();
    for _ in 0..500 {
        let mut moved = 0.0f64;
        for i in 0..degree {
            let step = step(&scaled, &all, i);
            if step.norm().is_finite() {
                all[i] -= step;
                moved = moved.max(step.norm());
            }
        }
        if moved < 1e-16 {
            break;
        }
    }
    let real = |z: Complex64| if z.im.abs() < 1e-12 * z.norm() { 0.0 } else { z.im };
    let unscaled = |z: &Complex64| Complex64 { re: z.re * unit, im: real(*z) * unit };
    let mut all: Vec<Complex64> = all.iter().map(unscaled).collect();
    all.sort_by(|a, b| b.norm().total_cmp(&a.norm()));
    all
}

/// The distance of the i-th root from its true position.
fn step(coefficients: &[f64], all: &[Complex64], i: usize) -> Complex64 {
    let z = all[i];
    let (mut value, mut slope) = (Complex64::default(), Complex64::default());
    for &c in coefficients {
        slope = slope * z + value;
        value = value * z + Complex64 { re: c, im: 0.0 };
    }
    if value == Complex64::default() {
        return value;
    }
    let one = Complex64 { re: 1.0, im: 0.0 };
    let others = all.iter().enumerate().filter(|(j, other)| *j != i && **other != z);
    let push = others.fold(Complex64::default(), |sum, (_, other)| sum + one / (z - *other));
    value / (slope - value * push)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Controllers, Describe, Pid, RunLength, Signal};
    use proptest::prelude::*;

    fn of_y(set_point: f64, gains: [f64; 3]) -> Pid {
        Pid::set_point(Signal::Announced("y".into()), set_point, gains)
    }

    /// (x − r₁)(x − r₂)…
    fn polynomial(roots: &[Complex64]) -> Vec<f64> {
        let mut all = vec![Complex64 { re: 1.0, im: 0.0 }];
        for root in roots {
            all.push(Complex64::default());
            for i in (1..all.len()).rev() {
                all[i] = all[i] - all[i - 1] * *root;
            }
        }
        all.iter().map(|c| c.re).collect()
    }

    fn real(re: f64) -> Complex64 {
        Complex64 { re, im: 0.0 }
    }

    fn close(found: &[Complex64], expected: &[Complex64], within: f64) {
        assert_eq!(found.len(), expected.len());
        for root in expected {
            let nearest = found.iter().map(|z| (*z - *root).norm()).fold(f64::INFINITY, f64::min);
            assert!(nearest <= within * root.norm().max(1e-9), "{root} in {found:?}");
        }
    }

    #[test]
    fn roots_are_those_calculated_by_hand() {
        close(&roots(&[1.0, -3.0, 2.0]), &[real(2.0), real(1.0)], 1e-14);
        let i = |im| Complex64 { re: 0.0, im };
        close(&roots(&[1.0, 0.0, 4.0]), &[i(2.0), i(-2.0)], 1e-14);
        close(&roots(&[1.0, -1e9, 1.0]), &[real(1e9), real(1e-9)], 1e-9);
        close(&roots(&[1.0, 0.0, 0.0]), &[real(0.0), real(0.0)], 0.0);
        assert_eq!(roots(&[1.0]), []);
        // (x − 1)³: a triple root is accurate to the cube root of the precision.
        close(&roots(&[1.0, -3.0, 3.0, -1.0]), &[real(1.0); 3], 1e-4);
        // The fifth roots of 1.
        assert!(
            roots(&[1.0, 0.0, 0.0, 0.0, 0.0, -1.0]).iter().all(|z| (z.norm() - 1.0).abs() < 1e-14)
        );
    }

    proptest! {
        #[test]
        fn roots_of_a_product_are_those_of_its_factors(
            reals in prop::collection::vec(-3.0f64..3.0, 0..4),
            pairs in prop::collection::vec((-2.0f64..2.0, 0.1f64..2.0), 1..4),
        ) {
            let mut all: Vec<Complex64> = reals.into_iter().map(real).collect();
            for (re, im) in pairs {
                all.extend([Complex64 { re, im }, Complex64 { re, im: -im }]);
            }
            let apart = (0..all.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
            let apart = apart.map(|(i, j)| (all[i] - all[j]).norm()).fold(f64::INFINITY, f64::min);
            prop_assume!(apart > 0.1);
            close(&roots(&polynomial(&all)), &all, 1e-6 / apart.min(0.1));
        }

        /// Up to the longest delay, the polynomial vanishes at its roots.
        #[test]
        fn roots_of_long_loops_are_found(
            a in -1.5f64..1.5,
            b in prop_oneof![-3.0f64..3.0, -1e6f64..1e6],
            delay in 0u64..33,
            n in prop::array::uniform3(-2.0f64..2.0),
        ) {
            let polynomial = Plant::new(a, b).delay(delay).closed_loop(&n, &[1.0, -1.0]);
            for z in roots(&polynomial) {
                let (mut value, mut size) = (Complex64::default(), 0.0);
                for &c in &polynomial {
                    value = value * z + real(c);
                    size = size * z.norm() + c.abs();
                }
                prop_assert!(value.norm() <= 1e-9 * size, "{} of {}", value, size);
            }
        }
    }

    /// The size of y some values later, as a root: from the loop itself, not its polynomial.
    fn growth(rule: Pid, a: f64, b: f64, delay: usize) -> f64 {
        let mut driver = Driver::new(rule.limits(1e-300, 1e300));
        let (mut y, mut u) = (vec![1e-12], vec![0.0; delay]);
        for t in 0..700 {
            driver.announce("y", Some(y[t]));
            u.push(driver.state()["terms"]["output"].as_f64().unwrap_or(0.0));
            y.push(a * y[t] + b * u[t]);
        }
        let changes: Vec<f64> = y.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let size =
            |from: usize| changes[from..from + 100].iter().map(|x| x * x).sum::<f64>().sqrt();
        (size(600) / size(100)).powf(1.0 / 500.0)
    }

    #[test]
    fn the_largest_root_is_how_the_loop_grows() {
        let mut loops = [0, 0];
        let change = |gains| Pid::change_of(Signal::Announced("y".into()), gains);
        for (rule, a, b, delay) in [
            (of_y(0.0, [0.3, 0.0, 0.0]), 0.9, 0.5, 0),
            (of_y(0.0, [0.1, 0.02, 0.0]), 0.95, 0.5, 0),
            (of_y(0.0, [0.2, 0.15, 0.1]).dt(0.5), 0.98, 0.4, 0),
            (of_y(0.0, [0.2, 0.15, 0.1]).derivative_of_error(), 0.98, 0.4, 2),
            (of_y(0.0, [0.2, 0.15, 0.1]).proportional_on_measurement(), 0.98, 0.4, 3),
            (of_y(0.0, [3.9, 0.0, 0.0]), 0.9, 0.5, 0),
            (of_y(0.0, [-0.3, 0.0, 0.0]), 0.9, 0.5, 1),
            (change([0.4, 0.02, 0.1]), 0.98, 0.5, 1),
            (change([0.0, -0.05, 0.0]), 0.99, 0.5, 0),
        ] {
            let plant = Plant::new(a, b).delay(delay as u64);
            let largest = rule.roots(&plant).unwrap()[0].norm();
            let grows = growth(rule.clone(), a, b, delay);
            assert!((grows - largest).abs() < 2e-3, "{rule:?}: {grows}, not {largest}");
            let stable = grows < 1.0;
            loops[usize::from(stable)] += 1;
            let run = RunLength::updates(10).resolve().unwrap();
            let mut controllers = Controllers::default();
            controllers.add("pid", rule.for_plant(plant).build(&run).unwrap());
            assert_eq!(controllers.warnings().is_empty(), stable, "{:?}", controllers.warnings());
        }
        assert_eq!(loops, [5, 4], "loops that grow, and that do not");
    }

    #[test]
    fn a_loop_that_is_not_stable_is_told_with_its_root() {
        let run = RunLength::updates(10).resolve().unwrap();
        let mut controllers = Controllers::default();
        let rule = of_y(0.0, [4.0, 0.0, 0.0]).for_plant(Plant::new(0.5, 0.5).delay(1));
        controllers.add("pid", rule.build(&run).unwrap());
        // z² − z/2 + 2 has the roots ¼ ± i √31/4, of modulus √2.
        let expected = "pid: with these gains the closed loop with y_{t+1} = 0.5 y_t + 0.5 u_{t−1} is unstable: \
                        its largest root is 0.2500+1.3919i (modulus 1.4142, which must be below 1); lower the \
                        gains, or check their signs";
        let warnings = controllers.warnings();
        assert_eq!(warnings[0].replace("-1.3919i", "+1.3919i"), expected);
    }
}
