//! fastai's `fit_one_cycle`, `fit_flat_cos`, `fit_sgdr` and `fine_tune`.
//!
//! They count epochs. fastai computes positions in 32 bits, here they have 64.

use super::report::Report;
use super::scheduler::Given;
use super::units::percent;
use super::{Options, TranslatedConfig, TranslationError};
use crate::{Group, GroupsConfig, Selection, TrainingConfig};
use anneal_schedule::peers::{self, Arguments, PeerError};
use anneal_schedule::{
    AnnealStrategy, ScheduleConfig, ScheduleExt, Span, WeightDecay, constant, cosine, one_cycle,
    piecewise_interpolate, warm_restarts,
};
use serde_json::{Value, json};

/// The translation of a fit; `None` if this is a scheduler.
pub(super) fn fit(
    given: &Given,
    options: &Options,
) -> Result<Option<TranslatedConfig>, TranslationError> {
    type Read = for<'r, 'a> fn(&mut Fit<'r, 'a>) -> Result<TrainingConfig, TranslationError>;
    let read: Read = match given.name.as_str() {
        "fit_one_cycle" => |fit| fit.one_cycle(),
        "fit_flat_cos" => |fit| fit.flat_cos(),
        "fit_sgdr" => |fit| fit.sgdr(),
        "fine_tune" => |fit| fit.fine_tune(),
        _ => return Ok(None),
    };
    let mut report = Report::default();
    let mut momentum = None;
    let training = Arguments::read(&given.name, &given.arguments, |arguments| {
        for other in ["cbs", "reset_opt", "start_epoch", "moms", "wd"] {
            arguments.ignore(other);
        }
        let mut fit = Fit { arguments, options, report: &mut report, momentum: None };
        // An error of another kind than the arguments' is passed on.
        let training = fit.decayed(read);
        momentum = fit.momentum;
        match training {
            Err(TranslationError::Peer(error)) => Err(error),
            training => Ok(training),
        }
    })??;
    if momentum.is_some() {
        report.note(format!(
            "{} changes the momentum too: it is apart, because it needs an optimizer that follows it",
            given.name
        ));
    }
    let mut translated = TranslatedConfig::new(training, report);
    translated.momentum = momentum;
    Ok(Some(translated))
}

struct Fit<'r, 'a> {
    arguments: &'r Arguments<'a>,
    options: &'r Options,
    report: &'r mut Report,
    momentum: Option<ScheduleConfig>,
}

/// The rates of the groups: of the body's first one, if they differ, and of the head.
struct Rates {
    body: Option<f64>,
    head: f64,
    /// `slice(stop)`: all but the head have a tenth.
    is_tenth: bool,
}

/// Three points of a curve of two half cosines over `epochs`, with the share of the first one.
struct Turn {
    start: f64,
    middle: f64,
    end: f64,
    pct: f64,
    epochs: u64,
}

impl Fit<'_, '_> {
    fn decayed(
        &mut self,
        read: fn(&mut Self) -> Result<TrainingConfig, TranslationError>,
    ) -> Result<TrainingConfig, TranslationError> {
        let mut training = read(self)?;
        if let Some(decay) = self.arguments.optional_number("wd")? {
            self.arguments.require("wd", decay, decay >= 0.0, "at least 0")?;
            training.weight_decay = Some(WeightDecay::coupled(decay));
            training.no_weight_decay = Selection::biases_and_norms();
        } else {
            self.report.note(
                "weight decay: fastai's optimizer has its own, 0.01 by default; wd sets it here",
            );
        }
        Ok(training)
    }

    fn epochs(&mut self, argument: &'static str) -> Result<u64, PeerError> {
        self.arguments.length(argument)
    }

    fn say_run(&mut self, epochs: u64) {
        self.report.note(format!("run: training.num_epochs({epochs})"));
    }

    fn divisor(&self, argument: &'static str, default: f64) -> Result<f64, PeerError> {
        let divisor = self.arguments.number_or(argument, default)?;
        self.arguments.require(argument, divisor, divisor > 0.0, "above 0")
    }

    fn pct(&self, default: f64) -> Result<f64, PeerError> {
        let pct = self.arguments.number_or("pct_start", default)?;
        self.arguments.require("pct_start", pct, pct > 0.0 && pct < 1.0, "above 0, below 1")
    }

    fn one_cycle(&mut self) -> Result<TrainingConfig, TranslationError> {
        let epochs = self.epochs("n_epoch")?;
        let rates = self.rates("lr_max")?;
        let (div, div_final) = (self.divisor("div", 25.0)?, self.divisor("div_final", 1e5)?);
        let pct = self.pct(0.25)?;
        let lr = rates.head;
        let turn = Turn { start: lr / div, middle: lr, end: lr / div_final, pct, epochs };
        let momenta = self.momenta()?;
        self.momentum = Some(self.curve(&Turn {
            start: momenta[0],
            middle: momenta[1],
            end: momenta[2],
            pct,
            epochs,
        })?);
        let schedule = self.curve(&turn)?;
        self.say_run(epochs);
        self.grouped(schedule.into(), &rates, None)
    }

    fn flat_cos(&mut self) -> Result<TrainingConfig, TranslationError> {
        let epochs = self.epochs("n_epoch")?;
        let rates = self.rates("lr")?;
        let div_final = self.divisor("div_final", 1e5)?;
        let pct = self.pct(0.75)?;
        let lr = rates.head;
        let fall = cosine(lr).end(lr / div_final);
        let schedule = constant(lr).then(Span::percent(percent(pct)), fall);
        self.say_run(epochs);
        self.grouped(TrainingConfig::new(schedule), &rates, None)
    }

    fn sgdr(&mut self) -> Result<TrainingConfig, TranslationError> {
        let (cycles, length) = (self.epochs("n_cycles")?, self.epochs("cycle_len")?);
        let rates = self.rates("lr_max")?;
        let growth = self.arguments.count_or("cycle_mult", 2)?;
        self.arguments.require("cycle_mult", growth, (1..=16).contains(&growth), "1 to 16")?;
        self.arguments.require("n_cycles", cycles, cycles <= 16, "at most 16")?;
        let schedule = warm_restarts(rates.head, Span::epochs(length as f64))
            .multiplier(growth as f64)
            .limit(cycles);
        let all = (0..cycles as u32).map(|i| length.saturating_mul(growth.saturating_pow(i)));
        let all = all.fold(0u64, u64::saturating_add);
        self.say_run(all);
        self.grouped(TrainingConfig::new(schedule), &rates, None)
    }

    fn fine_tune(&mut self) -> Result<TrainingConfig, TranslationError> {
        let epochs = self.epochs("epochs")?;
        if self.options.base_lr.is_some() && self.arguments.value("base_lr").is_some() {
            return Err(TranslationError::BaseRateTwice);
        }
        let rate = self.arguments.number_or("base_lr", self.options.base_lr.unwrap_or(2e-3))?;
        self.arguments.require("base_lr", rate, rate > 0.0, "a rate above 0")?;
        let frozen = self.arguments.count_or("freeze_epochs", 1)?;
        let multiple = self.divisor("lr_mult", 100.0)?;
        let (div, div_final) = (self.divisor("div", 5.0)?, self.divisor("div_final", 1e5)?);
        let pct = self.pct(0.3)?;
        let lr = rate / 2.0;
        let after =
            self.curve(&Turn { start: lr / div, middle: lr, end: lr / div_final, pct, epochs })?;
        let schedule = match frozen {
            0 => after,
            frozen => {
                let (start, end) = (rate / 25.0, rate / div_final);
                let turn = Turn { start, middle: rate, end, pct: 0.99, epochs: frozen };
                let head = self.curve(&turn)?;
                let length = match self.options.updates_per_epoch {
                    Some(updates) => Span::steps(frozen.saturating_mul(updates)),
                    None => Span::epochs(frozen as f64),
                };
                head.then(length, after).into()
            }
        };
        self.say_run(epochs + frozen);
        self.report.note("fastai keeps batch norms of a frozen body in training: so does this");
        let rates = Rates { body: Some(lr / multiple), head: lr, is_tenth: false };
        self.grouped(schedule.into(), &rates, (frozen > 0).then(|| Span::epochs(frozen as f64)))
    }

    /// The momentum at the start, at the turn and at the end.
    fn momenta(&self) -> Result<[f64; 3], PeerError> {
        let Some(value) = self.arguments.value("moms") else { return Ok([0.95, 0.85, 0.95]) };
        let numbers =
            value.as_array().map(|list| list.iter().filter_map(Value::as_f64).collect::<Vec<_>>());
        let three: Option<[f64; 3]> = numbers.and_then(|numbers| numbers.try_into().ok());
        let three =
            three.filter(|three| three.iter().all(|momentum| (0.0..1.0).contains(momentum)));
        three.ok_or_else(|| {
            self.arguments.wrong("moms", value, "three numbers, at least 0 and below 1")
        })
    }

    fn curve(&self, turn: &Turn) -> Result<ScheduleConfig, PeerError> {
        let Turn { start, middle, end, pct, epochs } = *turn;
        if start < middle && end < middle {
            return Ok(one_cycle(middle).start(start).end(end).pct_start(pct).into());
        }
        if let Some(updates) = self.options.updates_per_epoch {
            // fastai never reaches the end: the last update is one before it.
            let steps = epochs.saturating_mul(updates).saturating_add(1);
            let arguments =
                json!({ "start": start, "middle": middle, "end": end, "pct": pct, "steps": steps });
            return Ok(peers::translate("fastai", "combined_cos", &arguments, 1.0)?.rate);
        }
        let epochs = epochs as f64;
        let (turn, end_of) = (Span::epochs(rounded(pct * epochs)), Span::epochs(epochs));
        let curve = piecewise_interpolate(start, [turn, end_of], [middle, end]);
        Ok(curve.anneal(AnnealStrategy::Cosine).into())
    }

    /// The rate, or a slice of rates.
    fn rates(&mut self, argument: &'static str) -> Result<Rates, TranslationError> {
        let Some(value) = self.arguments.value(argument) else {
            let head = self.options.base_lr.unwrap_or(1e-3);
            self.report.note(format!("the rate is the learner's: {head:?} is taken"));
            return Ok(Rates { body: None, head, is_tenth: false });
        };
        if self.options.base_lr.is_some() {
            return Err(TranslationError::BaseRateTwice);
        }
        let slice = value.get("slice").unwrap_or(value);
        let rate = |value: &Value| value.as_f64().filter(|&rate| rate > 0.0 && rate.is_finite());
        let found = match slice.as_array().map(Vec::as_slice) {
            None => rate(value).map(|head| Rates { body: None, head, is_tenth: false }),
            Some([one]) | Some([Value::Null, one]) => {
                rate(one).map(|head| Rates { body: None, head, is_tenth: true })
            }
            Some([body, head]) => rate(head).zip(rate(body)).map(|(head, body)| Rates {
                body: Some(body),
                head,
                is_tenth: false,
            }),
            Some(_) => None,
        };
        found.ok_or_else(|| {
            let allowed = "a rate above 0, or {\"slice\": [1e-5, 1e-3]}";
            self.arguments.wrong(argument, value, allowed).into()
        })
    }

    /// The training with the groups, if their rates differ.
    fn grouped(
        &mut self,
        mut training: TrainingConfig,
        rates: &Rates,
        unfreeze: Option<Span>,
    ) -> Result<TrainingConfig, TranslationError> {
        let named = &self.options.groups;
        if rates.body.is_none() && !rates.is_tenth {
            return Ok(training);
        }
        let Some(last) = named.len().checked_sub(1) else {
            let body = rates.body.unwrap_or(rates.head / 10.0);
            self.report.without(
                "the rates of the groups",
                format!(
                    "from {body:?} to {:?} over groups without names: name them from the first to the head, as \
                     NAME=PATTERN, or write layer_decay",
                    rates.head
                ),
            );
            return Ok(training);
        };
        let mut groups = GroupsConfig::new();
        for (index, (name, pattern)) in named.iter().enumerate() {
            let mut group = Group::new(name, pattern.as_str());
            if index < last {
                let ratio = match rates.body {
                    // Evenly spaced on a logarithmic axis.
                    Some(body) => (body / rates.head).powf((last - index) as f64 / last as f64),
                    None => 0.1,
                };
                group = group.multiple(ratio);
                group.unfreeze_at = unfreeze;
            }
            groups = groups.group(group);
        }
        training.groups = Some(groups);
        Ok(training)
    }
}

/// Without the digits that a product adds.
fn rounded(epochs: f64) -> f64 {
    (epochs * 1e9).round() / 1e9
}
