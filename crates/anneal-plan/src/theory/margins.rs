//! The direction of a logistic regression on separable data.

use super::check::finite;
use crate::OutOfRange;
use anneal_schedule::analysis::{AnalysisError, Window};

/// A logistic regression without a bias, trained by gradient descent from 0 on all examples.
///
/// ```text
/// loss = Σ ln(1 + e^(−y_i wᵀx_i))        w ← w − η_t ∇loss
/// ```
///
/// On separable data w grows without bound, and its direction goes to that of the hard-margin support vector
/// machine, ŵ = argmin ‖w‖² with y_i wᵀx_i ≥ 1:
///
/// ```text
/// w = ŵ ln S + O(1)        S = Σ_t η_t        angle to ŵ = O(1/ln S)
/// ```
///
/// So a schedule reaches the direction iff S is infinite: at η ∝ t^(−p) iff p ≤ 1, which ½ < p ≤ 1 (the
/// range of Robbins and Monro, where noise would vanish too) allows. At p = 1, S grows as ln t, and the
/// angle falls with ln ln t.
///
/// Assumes rates below 2 over the largest curvature, at most ¼ of the largest eigenvalue of Σ x xᵀ. Source:
/// Soudry et al. 2018, "The implicit bias of gradient descent on separable data", for a constant rate; with
/// a falling one, S takes the place of ηt.
///
/// ```
/// use anneal_plan::theory::LogisticRegression;
/// use anneal_schedule::{analysis::Window, prelude::*};
///
/// // Symmetric examples, whose largest margin is along the first axis.
/// let model = LogisticRegression::new(&[(vec![1.0, 2.0], true), (vec![1.0, -2.0], true)])?;
/// let schedule = power_law(0.5, Span::steps(10), 0.75).resolve(RunLength::updates(1_000))?;
/// let weights = model.train(&Window::run(&schedule)?)?;
/// assert!(weights[0] > 1.0 && weights[1] == 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticRegression {
    /// y_i x_i.
    signed: Vec<Vec<f64>>,
}

impl LogisticRegression {
    /// A regression on examples: features, and whether they are of the positive class.
    ///
    /// # Errors
    /// No example, examples of different lengths or of none, or a feature that is not finite.
    pub fn new(examples: &[(Vec<f64>, bool)]) -> Result<Self, OutOfRange> {
        let count = examples.len();
        OutOfRange::require("examples", count, count > 0, "at least 1")?;
        let width = examples[0].0.len();
        for (features, _) in examples {
            let length = features.len();
            let ok = length == width && length > 0;
            OutOfRange::require("features", length, ok, "as many in each example, at least 1")?;
            features.iter().try_for_each(|feature| finite("feature", *feature).map(drop))?;
        }
        let sign = |positive: bool| if positive { 1.0 } else { -1.0 };
        let signed = |(features, positive): &(Vec<f64>, bool)| {
            features.iter().map(|feature| sign(*positive) * feature).collect()
        };
        Ok(Self { signed: examples.iter().map(signed).collect() })
    }

    /// The weights after the updates of a schedule.
    ///
    /// # Errors
    /// [`AnalysisError::TooManySteps`]; [`AnalysisError::Overflow`] if a weight leaves the range of an f64.
    pub fn train(&self, window: &Window<'_>) -> Result<Vec<f64>, AnalysisError> {
        let mut weights = vec![0.0; self.signed[0].len()];
        let mut descent = weights.clone();
        for rate in window.rates("weights")? {
            descent.fill(0.0);
            for features in &self.signed {
                let margin = dot(features, &weights);
                // 1/(1 + e^margin), the probability of the wrong class.
                let wrong = 1.0 / (1.0 + margin.exp());
                descent.iter_mut().zip(features).for_each(|(sum, feature)| *sum += wrong * feature);
            }
            weights.iter_mut().zip(&descent).for_each(|(weight, sum)| *weight += rate * sum);
        }
        let finite = weights.iter().all(|weight| weight.is_finite());
        if finite { Ok(weights) } else { Err(AnalysisError::Overflow { what: "weights" }) }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, run};
    use super::*;
    use anneal_schedule::prelude::*;
    use nalgebra::{DMatrix, DVector};

    fn examples() -> Vec<(Vec<f64>, bool)> {
        vec![
            (vec![2.0, 0.3], true),
            (vec![0.8, 1.5], true),
            (vec![3.0, 3.5], true),
            (vec![-0.4, -1.4], false),
            (vec![-2.0, 1.2], false),
            (vec![-3.0, -1.0], false),
        ]
    }

    /// The hard-margin machine, and the limit of w − ŵ ln S.
    struct Machine {
        direction: DVector<f64>,
        offset: DVector<f64>,
    }

    /// The shortest w with margins of at least 1: for each pair of examples, the w with margins of 1 there;
    /// the shortest of those that leave no margin below 1 is the solution (a single support vector is none
    /// here).
    ///
    /// With ŵ = Σ α_i x_i over the support vectors, dw/dS = Σ x_i e^(−x_iᵀw) has the solution w = ŵ ln S +
    /// offset with e^(−x_iᵀ offset) = α_i.
    fn machine() -> Machine {
        let signed = LogisticRegression::new(&examples()).unwrap().signed;
        let on = |i: usize, j: usize| -> Option<Machine> {
            let rows = DMatrix::from_fn(2, 2, |row, k| signed[[i, j][row]][k]);
            let inverse = rows.clone().try_inverse()?;
            let direction = &inverse * DVector::repeat(2, 1.0);
            let dual = inverse.transpose() * &direction;
            let offset = &inverse * dual.map(|alpha| -alpha.ln());
            let ok = |features: &Vec<f64>| dot(features, direction.as_slice()) >= 1.0 - 1e-12;
            (dual.min() > 0.0 && signed.iter().all(ok)).then_some(Machine { direction, offset })
        };
        let pairs = (0..signed.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let solutions = pairs.filter_map(|(i, j)| on(i, j));
        solutions.min_by(|a, b| a.direction.norm().total_cmp(&b.direction.norm())).unwrap()
    }

    fn angle(a: &[f64], b: &[f64]) -> f64 {
        (a[0] * b[1] - a[1] * b[0]).atan2(dot(a, b)).abs()
    }

    /// ½ < p ≤ 1, 10², 10³, … 10⁶ updates: the angle shrinks, and w − ŵ ln S goes to its limit.
    #[test]
    fn the_direction_goes_to_the_largest_margin() {
        let model = LogisticRegression::new(&examples()).unwrap();
        let Machine { direction, offset } = machine();
        for power in [0.51, 0.75, 1.0] {
            let schedule = run(power_law(0.1, Span::steps(100), power), 1_000_000);
            let (mut angles, mut distances) = (vec![], vec![]);
            for steps in [100, 1_000, 10_000, 100_000, 1_000_000] {
                let window = Window::first(&schedule, steps).unwrap();
                let weights = DVector::from(model.train(&window).unwrap());
                let travel = window.travel().unwrap().travel;
                angles.push(angle(weights.as_slice(), direction.as_slice()));
                distances.push((weights - &direction * travel.ln() - &offset).norm());
            }
            let shrinks = |values: &[f64]| values.windows(2).all(|pair| pair[1] < pair[0]);
            assert!(shrinks(&angles) && shrinks(&distances), "{power}: {angles:?} {distances:?}");
        }
    }

    #[test]
    fn one_update_is_that_of_its_gradient() {
        let model = LogisticRegression::new(&[(vec![2.0, -1.0], false)]).unwrap();
        let schedule = run(constant(0.5), 2);
        let weights = model.train(&Window::run(&schedule).unwrap()).unwrap();
        // −½ · 0.5 · (2, −1), and then with a margin of 1.25.
        let second = 0.5 / (1.0 + 1.25f64.exp());
        assert_close(weights[0], -0.5 - 2.0 * second, 1e-15);
        assert_close(weights[1], 0.25 + second, 1e-15);
    }

    #[test]
    fn arguments_are_checked() {
        let field =
            |examples: &[(Vec<f64>, bool)]| LogisticRegression::new(examples).unwrap_err().field;
        assert_eq!(field(&[]), "examples");
        assert_eq!(field(&[(vec![], true)]), "features");
        assert_eq!(field(&[(vec![1.0], true), (vec![1.0, 2.0], true)]), "features");
        assert_eq!(field(&[(vec![f64::NAN], true)]), "feature");
        let model = LogisticRegression::new(&[(vec![1e300], true)]).unwrap();
        let schedule = run(constant(1e300), 2);
        let error = model.train(&Window::run(&schedule).unwrap()).unwrap_err();
        assert_eq!(error, AnalysisError::Overflow { what: "weights" });
    }
}
