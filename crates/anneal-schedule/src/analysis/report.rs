//! The full analysis of a schedule in one call.

use super::error::{AnalysisError, not_negative, positive};
use super::robbins_monro::robbins_monro;
use super::{
    Cooling, Deviation, EffectiveDecay, Flatness, Match, Optimizer, RobbinsMonro, Stability,
    Travel, Window, partner,
};
use crate::Schedule;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Options of an [`Analysis`]; all are optional.
///
/// ```
/// use anneal_schedule::analysis::{Optimizer, Options};
/// let options = Options::new()
///     .curvature(50.0)
///     .optimizer(Optimizer::HeavyBall { momentum: 0.9 })
///     .weight_decay(5e-4);
/// assert_eq!(options.frozen_below, 0.01);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[must_use]
pub struct Options {
    /// The number of updates to analyze, at least 1; by default the whole run.
    pub steps: Option<u64>,
    /// The share of the peak below which an update counts as frozen, in (0, 1]; by default 1 %.
    pub frozen_below: f64,
    /// The largest curvature λ of the loss, above 0.
    pub curvature: Option<f64>,
    /// The optimizer whose stability is analyzed; by default without momentum.
    pub optimizer: Optimizer,
    /// The coefficient ω of a weight decay that follows the rate, at least 0.
    pub weight_decay: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            steps: None,
            frozen_below: 0.01,
            curvature: None,
            optimizer: Optimizer::Sgd,
            weight_decay: None,
        }
    }
}

impl Options {
    /// The whole run, without a curvature or a weight decay.
    pub fn new() -> Self {
        Self::default()
    }

    /// Analyzes the first `steps` updates.
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Counts updates below this share of the peak as frozen.
    pub fn frozen_below(mut self, share: f64) -> Self {
        self.frozen_below = share;
        self
    }

    /// Analyzes the stability on this curvature.
    pub fn curvature(mut self, curvature: f64) -> Self {
        self.curvature = Some(curvature);
        self
    }

    /// Sets the optimizer whose stability is analyzed.
    pub fn optimizer(mut self, optimizer: Optimizer) -> Self {
        self.optimizer = optimizer;
        self
    }

    /// Analyzes the effect of this weight decay.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = Some(weight_decay);
        self
    }

    /// The updates of `schedule` to analyze.
    pub(crate) fn window<'a>(&self, schedule: &'a Schedule) -> Result<Window<'a>, AnalysisError> {
        match self.steps {
            Some(steps) => Window::first(schedule, steps),
            None => Window::run(schedule),
        }
    }

    /// Checks that every option is in its range.
    pub(crate) fn check(&self) -> Result<(), AnalysisError> {
        self.curvature.map(|curvature| positive("curvature", curvature)).transpose()?;
        self.weight_decay.map(|omega| not_negative("weight_decay", omega)).transpose()?;
        self.optimizer.largest_rate(1.0).map(|_| ())
    }
}

/// The analysis of a schedule without training: JSON by serde, a report by `Display`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// The resolved schedule, as text.
    pub schedule: String,
    /// The number of updates analyzed.
    pub steps: u64,
    /// The rate of the first update.
    pub first: f64,
    /// The rate of the last update analyzed.
    pub last: f64,
    /// Peak, half-life and frozen share.
    pub cooling: Cooling,
    /// Smoothness.
    pub flatness: Flatness,
    /// Travel and noise.
    pub travel: Travel,
    /// Whether its curve would converge if it continued forever.
    pub robbins_monro: RobbinsMonro,
    /// For a step decay, the exponential decay with the same end point; for an exponential decay, the step
    /// decay with the same half-life.
    pub matching: Option<Match>,
    /// Stability, if a curvature was given.
    pub stability: Option<Stability>,
    /// How far its shape moves a parameter; only if a curvature was given on which plain gradient descent is
    /// stable, and the updates are few enough to sum.
    pub deviation: Option<Deviation>,
    /// The effect of the weight decay, if one was given.
    pub weight_decay: Option<EffectiveDecay>,
}

impl Analysis {
    /// Analyzes a schedule.
    ///
    /// ```
    /// use anneal_schedule::prelude::*;
    /// use anneal_schedule::analysis::{Analysis, Options};
    /// let schedule = cosine(0.1).resolve(RunLength::updates(100))?;
    /// let analysis = Analysis::of(&schedule, &Options::new())?;
    /// assert!(analysis.to_string().contains("half-life"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AnalysisError::NeedsSteps`] for a run without an end unless [`Options::steps`] is given,
    /// [`AnalysisError::TooManySteps`] if a result has no closed form and the run is too long,
    /// [`AnalysisError::OutOfRange`] for an option.
    pub fn of(schedule: &Schedule, options: &Options) -> Result<Self, AnalysisError> {
        options.check()?;
        let window = options.window(schedule)?;
        let stability =
            options.curvature.map(|curvature| window.stability(curvature, options.optimizer));
        let weight_decay = options.weight_decay.map(|omega| window.weight_decay(omega));
        Ok(Self {
            schedule: schedule.to_string(),
            steps: window.steps(),
            first: schedule.rate(0),
            last: schedule.rate(window.last()),
            cooling: window.cooling(options.frozen_below)?,
            flatness: window.flatness()?,
            travel: window.travel()?,
            robbins_monro: robbins_monro(schedule),
            matching: partner(schedule, window.steps(), None).ok(),
            stability: stability.transpose()?,
            deviation: options.curvature.and_then(|curvature| window.deviation(curvature).ok()),
            weight_decay: weight_decay.transpose()?,
        })
    }
}

impl fmt::Display for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.schedule)?;
        let rows = self.rows();
        let label = width(rows.iter().map(|row| &row.0));
        let value = width(rows.iter().map(|row| &row.1));
        for (name, found, note) in rows {
            let line = format!("{name:label$}  {found:<value$}  {note}");
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn width<'a>(column: impl Iterator<Item = &'a String>) -> usize {
    column.map(|text| text.chars().count()).max().unwrap_or(0)
}

/// Label, value and note.
type Row = (String, String, String);

fn row(label: &str, value: impl fmt::Display, note: impl fmt::Display) -> Row {
    (label.to_string(), value.to_string(), note.to_string())
}

impl Analysis {
    fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            row("updates", self.steps, ""),
            row("first rate", number(self.first), ""),
            row("last rate", number(self.last), ""),
        ];
        rows.extend(self.cooling.rows());
        rows.extend(self.flatness.rows());
        rows.extend(self.travel.rows());
        let law = &self.robbins_monro;
        rows.push(row("Robbins–Monro", law.answer, &law.reason));
        rows.extend(self.matching.iter().flat_map(Match::rows));
        rows.extend(self.stability.iter().flat_map(Stability::rows));
        rows.extend(self.deviation.iter().flat_map(Deviation::rows));
        rows.extend(self.weight_decay.iter().flat_map(EffectiveDecay::rows));
        rows
    }
}

impl Cooling {
    fn rows(&self) -> Vec<Row> {
        let half = match self.half_step {
            Some(step) => format!("at update {step}"),
            None => "the rate never falls to half its peak".into(),
        };
        let frozen = format!("below {} of the peak; {}", percent(self.frozen_below), self.method);
        vec![
            row("peak", number(self.peak), format!("at update {}", self.peak_step)),
            row("half-life", or_none(self.half_life), half),
            row("frozen", percent(self.frozen_fraction), frozen),
            row("frozen at the end", self.frozen_tail, "updates"),
        ]
    }
}

impl Flatness {
    fn rows(&self) -> Vec<Row> {
        let at = self.largest_jump_step.map(|step| format!("at update {step}"));
        let log = self.largest_log_jump.map(number);
        vec![
            row("total variation", number(self.total_variation), format!("Σ|Δη|; {}", self.method)),
            row("largest jump", number(self.largest_jump), at.unwrap_or_default()),
            row("squared jumps", number(self.squared_jumps), "Σ(Δη)²"),
            row("largest log jump", log.unwrap_or("infinite".into()), "largest |Δ ln η|"),
        ]
    }
}

impl Travel {
    fn rows(&self) -> Vec<Row> {
        vec![
            row("travel", number(self.travel), format!("Ση; {}", self.method)),
            row("noise", number(self.noise), "Ση²"),
            row("mean rate", number(self.mean), ""),
        ]
    }
}

impl Match {
    fn rows(&self) -> Vec<Row> {
        let gap =
            format!("log-gap in [{}, {})", number(self.log_gap.least), number(self.log_gap.below));
        vec![
            row("as step decay", &self.step_decay, ""),
            row("as exponential", &self.exponential, gap),
        ]
    }
}

impl Stability {
    fn rows(&self) -> Vec<Row> {
        let curvature =
            format!("curvature below {} is stable at the peak", number(self.ceiling_at_peak));
        let ceiling = format!("for curvature {}; {curvature}", number(self.curvature));
        vec![
            row("largest stable rate", number(self.largest_rate), ceiling),
            row("first stable update", or_none(self.first_below), ""),
            row("stable from update", or_none(self.stable_from), "to the end"),
            row("unstable updates", self.updates_above, self.method),
            row("descent limit", number(self.descent_limit), "1/λ"),
            row("contraction", or_none(self.last_contraction.map(number)), "|1 − ηλ| at the end"),
            row(
                "stationary variance",
                or_none(self.last_variance.map(number)),
                "η/(λ(2 − ηλ)) at the end, for noise of variance 1",
            ),
        ]
    }
}

impl Deviation {
    fn rows(&self) -> Vec<Row> {
        let note =
            format!("after {} updates, of w on ½λw² from its path at the mean rate", self.step);
        vec![row("largest deviation", number(self.largest), note)]
    }
}

impl EffectiveDecay {
    fn rows(&self) -> Vec<Row> {
        let range = format!(
            "from {} over {} to {}",
            number(self.first),
            number(self.largest),
            number(self.last)
        );
        vec![
            row("total weight decay", number(self.total), format!("Σηω; {range} per update")),
            row("weights left", number(self.product), format!("Π(1 − ηω); {}", self.method)),
        ]
    }
}

fn or_none(value: Option<impl fmt::Display>) -> String {
    value.map_or("none".into(), |value| value.to_string())
}

fn percent(share: f64) -> String {
    format!("{} %", number(100.0 * share))
}

/// Six digits, with an exponent if the number is very large or very small.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        format!("{value}")
    } else if (1e-4..1e6).contains(&size) {
        let digits = (5 - size.log10().floor() as i32).clamp(0, 9) as usize;
        let text = format!("{value:.digits$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        } else {
            text
        }
    } else {
        let text = format!("{value:.5e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    fn analysis(config: impl Into<ScheduleConfig>, options: Options) -> Analysis {
        let schedule = config.into().resolve(RunLength::updates(1_000)).unwrap();
        Analysis::of(&schedule, &options).unwrap()
    }

    #[test]
    fn numbers_have_six_digits() {
        let texts = [0.0, 0.1, 1e-5, 0.00012345678, 123456.7, 1234567.8, 2.0 / 3.0, -0.5];
        assert_eq!(
            texts.map(number),
            ["0", "0.1", "1e-5", "0.000123457", "123457", "1.23457e6", "0.666667", "-0.5"]
        );
    }

    #[test]
    fn the_report_lines_up() {
        let options = Options::new().curvature(15.0).weight_decay(0.01);
        let text = analysis(cosine(0.1).warmup(Span::steps(100)), options).to_string();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        let column = "stationary variance".len();
        for row in &rows {
            let cells: Vec<char> = row.chars().collect();
            assert_eq!(cells[column..column + 2], [' ', ' '], "{row}");
            assert_ne!(cells[column + 2], ' ', "{row}");
        }
        for part in ["peak                 0.1", "largest stable rate  0.133333", "Π(1 − ηω)"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(text.starts_with("cosine(0.1).length(900).warmup(100), 1000 updates\n"), "{text}");
    }

    #[test]
    fn json_has_what_the_report_says() {
        let options = Options::new().curvature(15.0).weight_decay(0.01);
        let found = analysis(step_decay(0.1, Span::steps(250), 0.5), options);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["flatness"]["method"], "closed_form");
        assert_eq!(json["robbins_monro"]["answer"], "no");
        assert_eq!(json["robbins_monro"]["tail"], "geometric");
        assert_eq!(json["cooling"]["half_step"], 250);
        assert_eq!(json["stability"]["optimizer"], "sgd");
        // 4 drops by half in 1,000 updates.
        let kappa = json["matching"]["kappa"].as_f64().unwrap();
        assert!((kappa - 4.0 * 2f64.ln() / 1_000.0).abs() < 1e-15);
        assert_eq!(json["weight_decay"]["product"].as_f64(), found.weight_decay.map(|d| d.product));
    }

    #[test]
    fn what_was_not_asked_for_is_not_there() {
        let found = analysis(constant(0.1), Options::new());
        assert_eq!((found.stability, found.weight_decay, found.deviation), (None, None, None));
        assert_eq!(found.matching, None);
    }

    #[test]
    fn options_are_checked_and_an_endless_run_needs_steps() {
        let schedule = constant(0.1).resolve(RunLength::unbounded()).unwrap();
        let of = |options: Options| Analysis::of(&schedule, &options);
        assert_eq!(of(Options::new()).unwrap_err(), AnalysisError::NeedsSteps);
        assert_eq!(of(Options::new().steps(10)).unwrap().travel.mean, 0.1);
        let ten = Options::new().steps(10);
        for (options, expected) in [
            (Options::new().steps(0), "steps"),
            (ten.frozen_below(0.0), "frozen_below"),
            (ten.curvature(-1.0), "curvature"),
            (ten.weight_decay(-1.0), "weight_decay"),
            (ten.optimizer(Optimizer::Adam { beta_1: 1.0 }), "beta_1"),
        ] {
            match of(options) {
                Err(AnalysisError::OutOfRange(error)) => assert_eq!(error.field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }

    #[test]
    fn options_are_plain_data() {
        let options = Options::new().curvature(5.0).optimizer(Optimizer::Adam { beta_1: 0.9 });
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options, "{json}");
        let short: Options = serde_json::from_str(r#"{"optimizer": "sgd"}"#).unwrap();
        assert_eq!(short, Options::new());
        let wrong = serde_json::from_str::<Options>(r#"{"curvatur": 5}"#).unwrap_err().to_string();
        assert!(wrong.contains("unknown field"), "{wrong}");
    }
}
