//! A rate adapted by gradient descent.

use crate::pid::check_limits;
use crate::{
    Answer, AnyController, Controller, Describe, Event, Needs, OutOfRange, Run, Seen, Stop,
};
use serde::{Deserialize, Serialize};

/// Raises the rate while consecutive gradients point the same way, and lowers it while they point against
/// each other.
///
/// The loss after the previous update is a function of that update's rate, with derivative −g_t·g_{t−1}, so
/// gradient descent on the rate itself is
///
/// ```text
/// additive:  f_t = f_{t−1} + α η_t g_t·g_{t−1}          f_{−1} = 1
/// on_log:    ln f_t = ln f_{t−1} + α η_t g_t·g_{t−1}
/// ```
///
/// with η_t the scheduled rate of update t, f_t its factor, and g the gradients after clipping: g_t before
/// the controllers change it, g_{t−1} as the optimizer received it; f stays within its limits. Update t
/// already uses the product of its own gradient. It needs the whole model, and cannot be limited to one
/// group.
///
/// The theory is for plain SGD. With a constant schedule η₀ the rate is η₀ f_t, and `additive` is the rule of
/// Baydin et al., η ← η + β g_t·g_{t−1}, with β = α η₀²: for a given β, use α = β/η₀². `on_log` instead
/// multiplies the rate by e^(α η₀ g_t·g_{t−1}), whatever its current value. α has the unit 1/loss, because η
/// g·g is a change of the loss: with α = 1, an update that lowers the loss by 0.01 to first order raises f by
/// 1 %.
///
/// | field | default | range |
/// | --- | --- | --- |
/// | α | given | finite, above 0 |
/// | `limits`: least, most | 1/100, 100 | finite, 0 < least < most |
///
/// The default limits are two decades each way, because the products of early gradients may be large. The
/// first update has no product; later products that are infinite, NaN or missing are counted, and a skipped
/// update changes nothing.
///
/// Source: Baydin et al. 2018, Online Learning Rate Adaptation with Hypergradient Descent, arXiv 1703.04782.
///
/// ```
/// use anneal_control::{Controllers, Describe, Due, Hypergradient, Observation, RunLength};
///
/// let mut controllers = Controllers::default();
/// let run = RunLength::updates(1_000).resolve()?;
/// controllers.add("hypergradient", Hypergradient::additive(0.5).build(&run)?);
/// let factors = [2.0, -1.0].map(|dot| {
///     let seen = Observation { gradient_dot: Some(dot), ..Observation::default() };
///     controllers.update(Due::at(0, 0.1), &seen).unwrap().answer.factor.unwrap()
/// });
/// assert_eq!(factors, [1.1, 1.05]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Hypergradient {
    on: Scale,
    alpha: f64,
    #[serde(default = "default_limits")]
    limits: (f64, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Scale {
    Factor,
    Log,
}

fn default_limits() -> (f64, f64) {
    (0.01, 100.0)
}

impl Hypergradient {
    /// Adds to the factor.
    pub fn additive(alpha: f64) -> Self {
        Self { on: Scale::Factor, alpha, limits: default_limits() }
    }

    /// Adds to the logarithm of the factor: steps are relative to the rate, whatever its current value.
    pub fn on_log(alpha: f64) -> Self {
        Self { on: Scale::Log, ..Self::additive(alpha) }
    }

    /// Sets the smallest and the largest factor.
    #[must_use]
    pub fn limits(self, least: f64, most: f64) -> Self {
        Self { limits: (least, most), ..self }
    }
}

impl Describe for Hypergradient {
    fn build(&self, _: &Run) -> Result<AnyController, OutOfRange> {
        let ok = self.alpha > 0.0 && self.alpha.is_finite();
        OutOfRange::require("alpha", self.alpha, ok, "finite, above 0")?;
        check_limits(self.limits)?;
        let (state, before) = (LearnedState::default(), LearnedState::default());
        Ok(Learned { rule: *self, state, before }.into())
    }
}

#[derive(Clone, Debug)]
struct Learned {
    rule: Hypergradient,
    state: LearnedState,
    /// The state before the current update.
    before: LearnedState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LearnedState {
    factor: f64,
    /// Number of products that changed it.
    products: u64,
    /// Number of products that were infinite, NaN, or missing after the first.
    not_finite: u64,
}

impl Default for LearnedState {
    fn default() -> Self {
        Self { factor: 1.0, products: 0, not_finite: 0 }
    }
}

impl Learned {
    fn learn(&mut self, seen: &Seen<'_>) {
        let dot = seen.observation.gradient_dot;
        if dot.is_none() && self.state.products == 0 {
            return;
        }
        let step = self.rule.alpha * seen.rate * dot.unwrap_or(f64::NAN);
        if !step.is_finite() {
            self.state.not_finite = self.state.not_finite.saturating_add(1);
            return;
        }
        let factor = match self.rule.on {
            Scale::Factor => self.state.factor + step,
            Scale::Log => self.state.factor * step.exp(),
        };
        let (least, most) = self.rule.limits;
        self.state.factor = factor.clamp(least, most);
        self.state.products = self.state.products.saturating_add(1);
    }
}

impl Controller for Learned {
    type State = LearnedState;

    fn needs(&self) -> Needs {
        Needs { gradient_dot: true, now: true, ..Needs::default() }
    }

    fn role(&self) -> Option<&'static str> {
        Some("a hypergradient")
    }

    fn is_of_update(&self) -> bool {
        true
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        match event {
            Event::Update(seen) => {
                self.before = self.state.clone();
                if seen.answered.skip.is_none() {
                    self.learn(seen);
                }
                Ok(Answer::factor(self.state.factor))
            }
            // A later controller skipped the update.
            Event::Outcome(seen, _) if seen.answered.skip.is_some() => {
                self.state = self.before.clone();
                Ok(Answer::default())
            }
            _ => Ok(Answer::default()),
        }
    }

    fn state(&self) -> LearnedState {
        self.state.clone()
    }

    /// A factor beyond the current limits is clamped.
    fn restore(&mut self, state: LearnedState) -> Result<(), OutOfRange> {
        let ok = state.factor > 0.0 && state.factor.is_finite();
        OutOfRange::require("factor", state.factor, ok, "finite, above 0")?;
        let (least, most) = self.rule.limits;
        let factor = if state.products > 0 { state.factor.clamp(least, most) } else { 1.0 };
        self.state = LearnedState { factor, ..state };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{Controllers, Due, FiniteGuard, Observation, RunLength};

    fn seen(dot: f64) -> Observation {
        Observation { gradient_dot: Some(dot), ..Observation::default() }
    }

    fn dot(a: [f64; 2], b: [f64; 2]) -> f64 {
        a[0] * b[0] + a[1] * b[1]
    }

    /// Gradient descent on ½ (c₀ x₀² + c₁ x₁²) from (1, 1): the rates, and the last loss.
    fn descend(
        rule: Hypergradient,
        rate: f64,
        curvature: [f64; 2],
        updates: usize,
    ) -> (Vec<f64>, f64) {
        let mut driver = Driver::new(rule);
        driver.rate = rate;
        let gradient = |x: [f64; 2]| [curvature[0] * x[0], curvature[1] * x[1]];
        let (mut x, mut before) = ([1.0, 1.0], None);
        let mut rates = vec![];
        for _ in 0..updates {
            let g = gradient(x);
            let gradient_dot = before.map(|before| dot(g, before));
            let rate = driver.update(&Observation { gradient_dot, ..Observation::default() });
            x = [x[0] - rate * g[0], x[1] - rate * g[1]];
            before = Some(g);
            rates.push(rate);
        }
        (rates, 0.5 * dot(gradient(x), x))
    }

    /// Baydin's SGD-HD, and the same on ln η, with β = α η₀², or α η₀.
    fn published(beta: f64, on_log: bool, rate: f64, c: [f64; 2], updates: usize) -> Vec<f64> {
        let (mut eta, mut x, mut before, mut rates) = (rate, [1.0, 1.0], [0.0, 0.0], vec![]);
        for _ in 0..updates {
            let g = [c[0] * x[0], c[1] * x[1]];
            let h = dot(g, before);
            eta = if on_log { (eta.ln() + beta * h).exp() } else { eta + beta * h };
            x = [x[0] - eta * g[0], x[1] - eta * g[1]];
            before = g;
            rates.push(eta);
        }
        rates
    }

    #[test]
    fn it_is_the_published_rule() {
        let rate = 0.02;
        for (c, alpha) in [([1.0, 0.0], 20.0), ([1.0, 10.0], 1.0)] {
            for on_log in [false, true] {
                let rule = if on_log { Hypergradient::on_log } else { Hypergradient::additive };
                let beta = if on_log { alpha * rate } else { alpha * rate * rate };
                let (rates, _) = descend(rule(alpha), rate, c, 200);
                let expected = published(beta, on_log, rate, c, 200);
                let close = |(a, b): (&f64, &f64)| (a / b - 1.0).abs() < 1e-10;
                assert!(rates.iter().zip(&expected).all(close), "{rates:?}, not {expected:?}");
                assert!(rates[199] > 2.0 * rate, "{rates:?}");
            }
        }
    }

    /// In one dimension g_t·g_{t−1} is positive exactly if the rate is below 1/c, which reaches the minimum
    /// at once.
    #[test]
    fn in_one_dimension_the_rate_goes_to_the_best_one() {
        let c = 4.0;
        for rule in [Hypergradient::additive, Hypergradient::on_log] {
            for (rate, alpha) in [(0.01, 2.0), (0.45, 0.1), (0.49, 0.02)] {
                let (rates, loss) = descend(rule(alpha), rate, [c, 0.0], 300);
                let last = rates[299];
                let best = 1.0 / c;
                assert!((last - best).abs() < (rate - best).abs(), "{rate} to {last}");
                let fixed = 0.5 * c * (1.0 - c * rate).powi(600);
                assert!(loss < 1e-3 * fixed, "{loss}, of a fixed rate {fixed}");
            }
        }
    }

    /// Above 2/10 the steep direction grows and soon dominates the product, which is then negative; below
    /// 1/10 no direction changes sign.
    #[test]
    fn in_two_dimensions_the_rate_comes_into_the_stable_range_of_the_steep_one() {
        for rule in [Hypergradient::additive(5.0), Hypergradient::on_log(1.0)] {
            let (rates, loss) = descend(rule, 0.02, [1.0, 10.0], 400);
            assert!((0.1..0.2).contains(&rates[399]), "{}", rates[399]);
            let fixed = 0.5 * 0.98f64.powi(800);
            assert!(loss < 1e-3 * fixed, "{loss}, of a fixed rate {fixed}");
        }
    }

    #[test]
    fn the_factor_stays_within_its_limits() {
        for rule in [Hypergradient::additive(1.0), Hypergradient::on_log(1.0)] {
            let mut driver = Driver::new(rule.limits(0.5, 2.0));
            let factors = [1e300, -1e300, 1e3].map(|dot| driver.update(&seen(dot)));
            assert_eq!(factors, [2.0, 0.5, 2.0]);
        }
        let mut driver = Driver::new(Hypergradient::additive(1.0));
        assert_eq!(driver.update(&seen(-5.0)), 0.01);
    }

    #[test]
    fn what_is_not_finite_is_counted() {
        let mut driver = Driver::new(Hypergradient::on_log(1.0));
        assert_eq!(driver.update(&Observation::default()), 1.0);
        assert_eq!(driver.state()["not_finite"], 0, "a first gradient has none before it");
        let known = driver.update(&seen(0.25));
        for dot in [Some(f64::NAN), Some(f64::INFINITY), None] {
            let seen = Observation { gradient_dot: dot, ..Observation::default() };
            assert_eq!(driver.update(&seen), known);
        }
        assert_eq!(driver.state()["not_finite"], 3);
        assert_eq!(known, f64::exp(0.25));
    }

    /// Even if a later controller skips it.
    #[test]
    fn an_update_that_is_skipped_later_changes_nothing() {
        let run = RunLength::updates(100).resolve().unwrap();
        let mut controllers = Controllers::default();
        controllers.add("it", Hypergradient::additive(1.0).build(&run).unwrap());
        controllers.add("guard", FiniteGuard::skip(5).unwrap());
        let mut factor = |overflow| {
            let seen = Observation { gradient_dot: Some(0.5), overflow, ..Observation::default() };
            let decision = controllers.update(Due::at(0, 1.0), &seen).unwrap();
            controllers.outcome(Due::at(0, 1.0), &seen, &decision, None).unwrap();
            decision.answer.factor.unwrap()
        };
        assert_eq!([false, true, false].map(&mut factor), [1.5, 2.0, 2.0]);
    }

    #[test]
    fn a_skipped_update_changes_nothing() {
        let run = RunLength::updates(10).resolve().unwrap();
        let mut controllers = Controllers::default();
        controllers.add("guard", FiniteGuard::skip(9).unwrap());
        controllers.add("it", Hypergradient::additive(0.25).build(&run).unwrap());
        let mut factor = |overflow| {
            let seen = Observation { overflow, ..seen(1.0) };
            controllers.update(Due::at(0, 1.0), &seen).unwrap().answer.factor.unwrap()
        };
        assert_eq!([false, true, false].map(&mut factor), [1.25, 1.25, 1.5]);
    }

    #[test]
    fn it_goes_on_where_it_was() {
        for rule in [Hypergradient::additive(0.3), Hypergradient::on_log(0.3).limits(0.2, 3.0)] {
            let mut whole = Driver::new(rule);
            let product = |i: i32| f64::from(i * i % 17) / 7.0 - 0.8;
            for i in 0..10 {
                whole.update(&seen(product(i)));
            }
            let mut resumed = Driver::new(rule).resume(&whole);
            let rates = |driver: &mut Driver| {
                (10..30).map(|i| driver.update(&seen(product(i)))).collect::<Vec<_>>()
            };
            assert_eq!(rates(&mut resumed), rates(&mut whole));
            assert_eq!(resumed.state(), whole.state());
            let text = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<Hypergradient>(&text).unwrap(), rule);
        }
        let mut learned = Learned {
            rule: Hypergradient::additive(1.0),
            state: LearnedState::default(),
            before: LearnedState::default(),
        };
        let state = LearnedState { factor: 0.0, ..LearnedState::default() };
        assert_eq!(learned.restore(state).unwrap_err().field, "factor");
    }

    #[test]
    fn refuses_each_field() {
        let run = RunLength::updates(10).resolve().unwrap();
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Hypergradient::additive(alpha).build(&run).unwrap_err().field, "alpha");
        }
        for (least, most) in
            [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, f64::INFINITY), (f64::NAN, 1.0)]
        {
            let rule = Hypergradient::on_log(1.0).limits(least, most);
            assert_eq!(rule.build(&run).unwrap_err().field, "limits");
        }
    }
}
