//! A PID controller for the rate.

use crate::plant::{Plant, roots};
use crate::signal::Heard;
use crate::{Answer, AnyController, Controller, Describe, Event, OutOfRange, Run, Signal, Stop};
use num_complex::Complex64;
use serde::{Deserialize, Serialize};

/// Adjusts the rate with a PID controller: by the distance of a signal from its target, its integral, and its
/// derivative.
///
/// ```text
/// e_t = target − y_t
/// u_t = kp e_t + I_t − kd (y_t − y_{t−1}) / dt         I_t = I_{t−1} + ki e_t dt
/// f_t = e^(u_t)                                        the factor on the rate
/// ```
///
/// The integral I and the output u are each clamped to ln `least` … ln `most`, so that the integral does not
/// wind up while the factor is at a limit. A PI controller has kd = 0. There is no answer before the first
/// value.
///
/// | target | y_t | positive gains |
/// | --- | --- | --- |
/// | [`set_point`](Self::set_point) v | the signal; target v | lower the rate while the signal is above v |
/// | [`change_of`](Self::change_of) | signal_t − signal_{t−1}; target 0 | lower the rate while the signal rises |
///
/// So a set point uses positive gains for a signal that grows with the rate, for example the movement of the
/// weights or the gradient norm, and negative gains for one that falls as the rate rises. (With the error
/// defined as loss_t − loss_{t−1}, as some do, all gains change sign.)
///
/// | field | default | range |
/// | --- | --- | --- |
/// | gains kp, ki, kd | given | finite; not all 0 |
/// | set point v | given | finite |
/// | `limits`: least, most | 1/16, 16 | finite, 0 < least < most |
/// | `dt` | 1: gains are per value | finite, above 0 |
/// | `mean_over` n | 1: each value; otherwise means of n | at least 1 |
/// | `derivative_of_error` | no: of the measurement | |
/// | `proportional_on_measurement` | no: kp e_t | |
/// | `for_plant` | none | |
///
/// The limits are four doublings each way: if more is needed, change the schedule instead. The derivatives of
/// error and measurement differ only if a run continues with a different set point. A value that is infinite,
/// NaN or missing is counted, and the output stays.
///
/// The arithmetic follows simple-pid 2.0.1.
///
/// ```
/// use anneal_control::{Announcement, Controllers, Describe, Due, Observation, Pid, RunLength, Signal};
///
/// // The rate falls while the weights move more than 0.02 per update, and rises while they move less.
/// let signal = Signal::Announced("movement".into());
/// let rule = Pid::set_point(signal, 0.02, [10.0, 0.0, 0.0]).limits(0.1, 1.0);
/// let mut controllers = Controllers::default();
/// controllers.add("movement", rule.build(&RunLength::updates(1_000).resolve()?)?);
/// controllers.announce(Announcement { name: "movement", value: Some(0.07) })?;
/// let answer = controllers.update(Due::at(0, 0.1), &Observation::default())?.answer;
/// // 10 (0.02 − 0.07) is −0.5.
/// assert!((answer.factor.unwrap() - f64::exp(-0.5)).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pid {
    signal: Signal,
    target: Target,
    gains: [f64; 3],
    #[serde(default = "default_limits")]
    limits: (f64, f64),
    #[serde(default = "default_dt")]
    dt: f64,
    #[serde(default = "default_mean_over")]
    mean_over: u64,
    #[serde(default)]
    derivative_of_error: bool,
    #[serde(default)]
    proportional_on_measurement: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plant: Option<Plant>,
}

/// The target of the signal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Target {
    SetPoint(f64),
    NoChange,
}

fn default_limits() -> (f64, f64) {
    (1.0 / 16.0, 16.0)
}

fn default_dt() -> f64 {
    1.0
}

fn default_mean_over() -> u64 {
    1
}

impl Pid {
    /// Holds a signal at a value, with gains kp, ki and kd.
    pub fn set_point(signal: impl Into<Signal>, value: f64, gains: [f64; 3]) -> Self {
        Self::new(signal.into(), Target::SetPoint(value), gains)
    }

    /// Reacts to the change of a signal, for example the loss, from one value to the next, with gains kp, ki
    /// and kd. With positive gains a rising loss lowers the rate, and a falling loss raises it.
    pub fn change_of(signal: impl Into<Signal>, gains: [f64; 3]) -> Self {
        Self::new(signal.into(), Target::NoChange, gains)
    }

    fn new(signal: Signal, target: Target, gains: [f64; 3]) -> Self {
        Self {
            signal,
            target,
            gains,
            limits: default_limits(),
            dt: default_dt(),
            mean_over: default_mean_over(),
            derivative_of_error: false,
            proportional_on_measurement: false,
            plant: None,
        }
    }

    /// Sets the smallest and the largest factor; output and integral stay within their logarithms.
    #[must_use]
    pub fn limits(self, least: f64, most: f64) -> Self {
        Self { limits: (least, most), ..self }
    }

    /// Sets the time between two values, in the unit of ki and kd.
    #[must_use]
    pub fn dt(self, dt: f64) -> Self {
        Self { dt, ..self }
    }

    /// Uses means of this many values of the signal; by default, each value.
    #[must_use]
    pub fn mean_over(self, values: u64) -> Self {
        Self { mean_over: values, ..self }
    }

    /// Uses the derivative of the error.
    #[must_use]
    pub fn derivative_of_error(self) -> Self {
        Self { derivative_of_error: true, ..self }
    }

    /// Uses the proportional term −kp (y_t − y_0), which overshoots less.
    #[must_use]
    pub fn proportional_on_measurement(self) -> Self {
        Self { proportional_on_measurement: true, ..self }
    }

    /// Warns if the closed loop with this plant is unstable.
    #[must_use]
    pub fn for_plant(self, plant: Plant) -> Self {
        Self { plant: Some(plant), ..self }
    }

    /// The roots of the closed loop with a plant, in z, sorted by decreasing modulus: within the limits,
    /// deviations die out if all are inside the unit circle, as the t-th power of the largest modulus.
    ///
    /// ```
    /// use anneal_control::{Pid, Plant, Signal};
    ///
    /// // y_{t+1} = 0.9 y_t − 0.5 · 0.6 y_t
    /// let roots = Pid::set_point(Signal::Loss, 0.0, [0.6, 0.0, 0.0]).roots(&Plant::new(0.9, 0.5))?;
    /// assert!(roots.len() == 1 && (roots[0].re - 0.6).abs() < 1e-12);
    /// # Ok::<(), anneal_control::OutOfRange>(())
    /// ```
    ///
    /// # Errors
    /// [`OutOfRange`] for an invalid description or plant.
    pub fn roots(&self, plant: &Plant) -> Result<Vec<Complex64>, OutOfRange> {
        self.check()?;
        plant.check()?;
        let (n, m) = self.transfer();
        let polynomial = plant.closed_loop(&n, m);
        let finite = polynomial.iter().all(|c| c.is_finite());
        OutOfRange::require(
            "gains",
            self.gains,
            finite,
            "finite, also when multiplied by `b` of the plant",
        )?;
        Ok(roots(&polynomial))
    }

    /// The controller as u = −n(q)/m(q) times the signal, q = z⁻¹.
    fn transfer(&self) -> (Vec<f64>, &'static [f64]) {
        let [p, i, d] = [self.gains[0], self.gains[1] * self.dt, self.gains[2] / self.dt];
        let times_1_minus_q = vec![p + i + d, -p - 2.0 * d, d];
        match self.target {
            Target::NoChange => (times_1_minus_q, &[1.0]),
            Target::SetPoint(_) if i == 0.0 => (vec![p + d, -d], &[1.0]),
            Target::SetPoint(_) => (times_1_minus_q, &[1.0, -1.0]),
        }
    }

    fn check(&self) -> Result<(), OutOfRange> {
        let finite = self.gains.iter().all(|gain| gain.is_finite());
        let ok = finite && self.gains != [0.0; 3];
        OutOfRange::require("gains", self.gains, ok, "finite, not all 0")?;
        if let Target::SetPoint(value) = self.target {
            OutOfRange::require("set_point", value, value.is_finite(), "finite")?;
        }
        check_limits(self.limits)?;
        let dt = self.dt > 0.0 && self.dt.is_finite();
        OutOfRange::require("dt", self.dt, dt, "finite, above 0")?;
        OutOfRange::require("mean_over", self.mean_over, self.mean_over >= 1, "at least 1")
    }

    fn warnings(&self) -> Result<Vec<String>, OutOfRange> {
        let Some(plant) = self.plant else { return Ok(vec![]) };
        let largest = self.roots(&plant)?.first().copied().unwrap_or_default();
        let modulus = largest.norm();
        // A multiple root at 1 is known only to about 1e-8.
        let unstable = modulus > 1.0 - 1e-6;
        let warning = || {
            let largest = match largest.im == 0.0 {
                true => format!("{:.4}", largest.re),
                false => format!("{largest:.4}"),
            };
            format!(
                "with these gains the closed loop with {plant} is unstable: its largest root is {largest} \
                 (modulus {modulus:.4}, which must be below 1); lower the gains, or check their signs"
            )
        };
        Ok(unstable.then(warning).into_iter().collect())
    }
}

/// Refuses invalid limits of a factor.
pub(crate) fn check_limits((least, most): (f64, f64)) -> Result<(), OutOfRange> {
    let ok = 0.0 < least && least < most && most.is_finite();
    OutOfRange::require("limits", (least, most), ok, "0 < least < most, both finite")
}

impl Describe for Pid {
    fn build(&self, _: &Run) -> Result<AnyController, OutOfRange> {
        self.check()?;
        let warnings = self.warnings()?;
        Ok(Loop { rule: self.clone(), warnings, state: LoopState::default() }.into())
    }
}

#[derive(Clone, Debug)]
struct Loop {
    rule: Pid,
    warnings: Vec<String>,
    state: LoopState,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LoopState {
    heard: Heard,
    /// The previous signal, if its change is used.
    signal: Option<f64>,
    terms: Terms,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Terms {
    proportional: f64,
    integral: f64,
    /// The last measurement; `None` before the first.
    measured: Option<f64>,
    error: Option<f64>,
    output: Option<f64>,
}

impl Terms {
    fn is_finite(&self) -> bool {
        let given = [self.measured, self.error, self.output];
        [self.proportional, self.integral]
            .iter()
            .chain(given.iter().flatten())
            .all(|x| x.is_finite())
    }
}

impl Loop {
    /// Handles a value of the signal; `false` if it gives no finite output.
    fn hear_value(&mut self, value: f64) -> bool {
        let measured = match self.rule.target {
            Target::SetPoint(_) => Some(value),
            Target::NoChange => self.state.signal.map(|before| value - before),
        };
        let terms = measured.map_or(self.state.terms, |measured| self.next(measured));
        let finite = value.is_finite() && terms.is_finite();
        if finite {
            self.state.terms = terms;
            self.state.signal = (self.rule.target == Target::NoChange).then_some(value);
        }
        finite
    }

    fn next(&self, measured: f64) -> Terms {
        let Pid { gains: [kp, ki, kd], limits, dt, .. } = self.rule;
        let within = |x: f64| x.clamp(limits.0.ln(), limits.1.ln());
        let before = self.state.terms;
        let set_point = match self.rule.target {
            Target::SetPoint(value) => value,
            Target::NoChange => 0.0,
        };
        let error = set_point - measured;
        let moved = measured - before.measured.unwrap_or(measured);
        let proportional = match self.rule.proportional_on_measurement {
            true => before.proportional - kp * moved,
            false => kp * error,
        };
        let integral = within(before.integral + ki * error * dt);
        let derivative = match self.rule.derivative_of_error {
            true => kd * (error - before.error.unwrap_or(error)) / dt,
            false => -kd * moved / dt,
        };
        let output = Some(within(proportional + integral + derivative));
        Terms { proportional, integral, measured: Some(measured), error: Some(error), output }
    }
}

impl Controller for Loop {
    type State = LoopState;

    fn signal(&self) -> Option<&Signal> {
        Some(&self.rule.signal)
    }

    fn role(&self) -> Option<&'static str> {
        Some("a PID controller")
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        let mean = self.state.heard.hear(&self.rule.signal, self.rule.mean_over, event);
        // A non-finite mean is of already counted values, or an overflow.
        if let Some(value) = mean
            && !self.hear_value(value)
            && !value.is_nan()
        {
            self.state.heard.not_finite += 1;
        }
        let factor = self.state.terms.output.map(f64::exp);
        Ok(Answer { factor, ..Answer::default() })
    }

    fn state(&self) -> LoopState {
        self.state.clone()
    }

    /// An output beyond the current limits is clamped.
    fn restore(&mut self, mut state: LoopState) -> Result<(), OutOfRange> {
        let (least, most) = self.rule.limits;
        state.terms.output = state.terms.output.map(|u| u.clamp(least.ln(), most.ln()));
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Driver;
    use crate::{MetricOf, RunLength};

    fn of_y(set_point: f64, gains: [f64; 3]) -> Pid {
        Pid::set_point(Signal::Announced("y".into()), set_point, gains)
    }

    fn output(driver: &Driver) -> f64 {
        driver.state()["terms"]["output"].as_f64().unwrap()
    }

    /// The output after each of these values.
    fn outputs(rule: Pid, values: &[f64]) -> Vec<f64> {
        let mut driver = Driver::new(rule);
        let next = |y: &f64| {
            driver.announce("y", Some(*y));
            output(&driver)
        };
        values.iter().map(next).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        let pairs = found.iter().zip(expected);
        assert!(
            found.len() == expected.len() && pairs.clone().all(|(a, b)| (a - b).abs() < 1e-12),
            "{found:?}, not {expected:?}"
        );
    }

    #[test]
    fn each_term_is_that_of_the_formula() {
        let y = [1.0, 3.0, 2.0];
        close(&outputs(of_y(1.5, [0.5, 0.0, 0.0]), &y), &[0.25, -0.75, -0.25]);
        close(&outputs(of_y(1.5, [0.0, 0.5, 0.0]).dt(0.5), &y), &[0.125, -0.25, -0.375]);
        close(&outputs(of_y(1.5, [0.0, 0.0, 0.5]).dt(0.5), &y), &[0.0, -2.0, 1.0]);
        close(
            &outputs(of_y(1.5, [0.0, 0.0, 0.5]).dt(0.5).derivative_of_error(), &y),
            &[0.0, -2.0, 1.0],
        );
        let on_measurement = of_y(1.5, [0.5, 0.0, 0.0]).proportional_on_measurement();
        close(&outputs(on_measurement, &y), &[0.0, -1.0, -0.5]);
    }

    #[test]
    fn an_integral_at_its_limit_comes_back_at_once() {
        let rule = of_y(0.0, [0.0, 1.0, 0.0]).limits(f64::exp(-1.0), f64::exp(1.0));
        let expected = [-1.0, -1.0, -0.75, -0.25, 1.0];
        close(&outputs(rule, &[5.0, 5.0, -0.25, -0.5, -9.0]), &expected);
    }

    #[test]
    fn a_loss_that_rises_lowers_the_rate() {
        let mut driver = Driver::new(Pid::change_of(Signal::Loss, [0.5, 0.25, 0.0]));
        assert_eq!(driver.loss(3.0), 1.0, "one value is no change");
        let rates = [4.0, 4.0, 2.0].map(|loss| driver.loss(loss).ln());
        // The sum of all changes, 1, 1 and −1, and the last one.
        close(&rates, &[-0.75, -0.25, 1.25]);
    }

    #[test]
    fn a_metric_is_heard_at_the_end_of_its_epoch() {
        let mut driver = Driver::new(Pid::set_point(MetricOf::valid("Loss"), 1.0, [0.5, 0.0, 0.0]));
        let mut rate_after = |loss| {
            driver.epoch(loss);
            driver.loss(9.0)
        };
        assert_eq!(
            [3.0, f64::NAN, 1.0].map(&mut rate_after),
            [f64::exp(-1.0), f64::exp(-1.0), 1.0]
        );
        assert_eq!(driver.state()["heard"]["not_finite"], 1);
    }

    #[test]
    fn means_are_heard_and_what_is_not_finite_is_counted() {
        let mut driver =
            Driver::new(Pid::set_point(Signal::Loss, 1.0, [0.5, 0.0, 0.0]).mean_over(2));
        assert_eq!([driver.loss(1.0), driver.loss(3.0)], [1.0, f64::exp(-0.5)]);
        for loss in [f64::NAN, 1.0, f64::INFINITY, f64::NAN] {
            driver.loss(loss);
        }
        // The means are 2, 1, and none.
        assert_eq!((driver.loss(9.0), output(&driver)), (1.0, 0.0));
        assert_eq!(driver.state()["heard"]["not_finite"], 3);

        let mut driver =
            Driver::new(Pid::change_of(Signal::Announced("y".into()), [1.0, 0.0, 0.0]));
        for y in [Some(1.0), None, Some(1.5), Some(f64::MAX), Some(f64::MIN), Some(f64::MAX)] {
            driver.announce("y", y);
        }
        // The change from the largest number to its negative is not finite, so it does not count.
        assert_eq!(driver.state()["heard"]["not_finite"], 2);
        assert_eq!(driver.state()["signal"], f64::MAX);
    }

    #[test]
    fn it_goes_on_where_it_was() {
        for rule in [
            Pid::set_point(Signal::Loss, 0.3, [0.3, 0.2, 0.7]).mean_over(3),
            Pid::change_of(Signal::Loss, [0.3, 0.2, 0.7]).derivative_of_error(),
            Pid::set_point(Signal::Loss, 0.3, [0.3, 0.2, 0.7]).proportional_on_measurement(),
        ] {
            let mut whole = Driver::new(rule.clone());
            let loss = |i: i32| f64::from(i * i % 17) / 7.0 - 0.8;
            for i in 0..10 {
                whole.loss(loss(i));
            }
            let mut resumed = Driver::new(rule.clone()).resume(&whole);
            let rates =
                |driver: &mut Driver| (10..30).map(|i| driver.loss(loss(i))).collect::<Vec<_>>();
            assert_eq!(rates(&mut resumed), rates(&mut whole));
            assert_eq!(resumed.state(), whole.state());
            let text = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<Pid>(&text).unwrap(), rule);
        }
    }

    #[test]
    fn refuses_each_field() {
        let run = RunLength::updates(10).resolve().unwrap();
        let field = |rule: Pid| rule.build(&run).unwrap_err().field;
        let good = || of_y(1.0, [1.0, 0.0, 0.0]);
        for gains in [[0.0; 3], [f64::NAN, 1.0, 1.0], [1.0, 1.0, f64::INFINITY]] {
            assert_eq!(field(of_y(1.0, gains)), "gains");
        }
        assert_eq!(field(of_y(f64::NAN, [1.0; 3])), "set_point");
        for (least, most) in
            [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, f64::INFINITY), (f64::NAN, 1.0)]
        {
            assert_eq!(field(good().limits(least, most)), "limits");
        }
        for dt in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(field(good().dt(dt)), "dt");
        }
        assert_eq!(field(good().mean_over(0)), "mean_over");
        assert_eq!(field(good().for_plant(Plant::new(f64::NAN, 1.0))), "a");
        assert_eq!(field(good().for_plant(Plant::new(1.0, f64::INFINITY))), "b");
        assert_eq!(field(good().for_plant(Plant::new(1.0, 1.0).delay(33))), "delay");
        assert_eq!(field(of_y(1.0, [1e300, 0.0, 0.0]).for_plant(Plant::new(1.0, 1e300))), "gains");
    }

    #[test]
    fn polynomials_are_those_calculated_by_hand() {
        let polynomial = |rule: Pid, plant: Plant| {
            let (n, m) = rule.transfer();
            plant.closed_loop(&n, m)
        };
        // (z − a)(z − 1) z + b ((p + i + d) z² − (p + 2d) z + d), with a = ½, b = 2, p = 1, i = 0.5, d = 0.25
        let gains = [1.0, 0.5, 0.25];
        assert_eq!(polynomial(of_y(7.0, gains), Plant::new(0.5, 2.0)), [1.0, 2.0, -2.5, 0.5]);
        // (z − a) z³ + b (…), with a delay of 1
        let change = Pid::change_of(Signal::Loss, gains);
        assert_eq!(polynomial(change, Plant::new(0.5, 2.0).delay(1)), [1.0, -0.5, 3.5, -3.0, 0.5]);
        assert_eq!(polynomial(of_y(0.0, [1.0, 0.0, 0.0]), Plant::new(0.5, 2.0)), [1.0, 1.5]);
    }
}
