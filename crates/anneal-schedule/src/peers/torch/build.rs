//! Builds schedulers from names and arguments in torch's order: each constructor reads and changes the
//! parameter group that the next one finds.

use super::arrange::bisect_right;
use super::link::{TorchCyclicMode, TorchLink};
use crate::curve::AnnealStrategy;
use crate::peers::{Arguments, PeerError};
use serde_json::{Value, json};

/// One or several torch schedulers.
pub(super) enum Scheduler {
    Leaf(Box<Leaf>),
    /// `SequentialLR`.
    Sequence {
        schedulers: Vec<Scheduler>,
        milestones: Vec<i64>,
        /// The rate to which it resets the group.
        initial_lr: f64,
    },
    /// `ChainedScheduler`.
    Chain(Vec<Scheduler>),
}

/// A single scheduler.
pub(super) struct Leaf {
    pub(super) name: String,
    pub(super) link: TorchLink,
    /// Its effect on the momentum.
    pub(super) momentum: Option<TorchLink>,
    /// The rate after its constructor.
    pub(super) made: f64,
    /// The rate of torch's closed form at epoch 0, unless it divides by 0.
    pub(super) restart: Option<f64>,
}

/// The data torch keeps in a parameter group. All `OneCycleLR`s and `SWALR`s of a group share their entries.
pub(super) struct Group {
    lr: f64,
    initial_lr: Option<f64>,
    max_lr: f64,
    min_lr: f64,
    swa_lr: f64,
    max_momentum: f64,
    base_momentum: f64,
    /// The momentum; `None` until a scheduler sets it.
    pub(super) momentum: Option<f64>,
}

impl Group {
    pub(super) fn new(lr: f64) -> Self {
        Self {
            lr,
            initial_lr: None,
            max_lr: lr,
            min_lr: lr,
            swa_lr: lr,
            max_momentum: 0.0,
            base_momentum: 0.0,
            momentum: None,
        }
    }

    /// The rate that the first scheduler finds.
    pub(super) fn initial_lr(&self) -> f64 {
        self.initial_lr.unwrap_or(self.lr)
    }
}

/// The maximum nesting depth of sequences and chains.
const MAX_NESTED: usize = 6;

/// Constructs the scheduler `name`.
pub(super) fn scheduler(
    name: &str,
    arguments: &Value,
    group: &mut Group,
    depth: usize,
) -> Result<Scheduler, PeerError> {
    if let Some((_, reason)) = super::REFUSED.iter().find(|refused| refused.0 == name) {
        return Err(PeerError::Refused { name: name.to_string(), reason });
    }
    Arguments::read(name, arguments, |arguments| match name {
        "SequentialLR" | "ChainedScheduler" => several(arguments, group, depth),
        _ => leaf(arguments, group).map(|leaf| Scheduler::Leaf(Box::new(leaf))),
    })
}

fn several(
    arguments: &Arguments<'_>,
    group: &mut Group,
    depth: usize,
) -> Result<Scheduler, PeerError> {
    const SCHEDULERS: &str = "a list of at least one {\"name\": …, \"args\": {…}}";
    arguments.ignore("optimizer");
    let given = arguments.list("schedulers")?;
    let given = given.ok_or_else(|| arguments.missing("schedulers", SCHEDULERS))?;
    if given.is_empty() {
        return Err(arguments.wrong("schedulers", "[]", SCHEDULERS));
    }
    if depth == MAX_NESTED {
        let allowed = format!("at most {MAX_NESTED} nested schedulers");
        return Err(arguments.wrong("schedulers", "[…]", &allowed));
    }
    let none = json!({});
    let mut schedulers = vec![];
    for value in given {
        let fields = value.as_object();
        let known = |fields: &serde_json::Map<String, Value>| {
            fields.keys().all(|key| key == "name" || key == "args")
        };
        let name =
            fields.filter(|fields| known(fields)).and_then(|fields| fields.get("name")?.as_str());
        let name = name.ok_or_else(|| arguments.wrong("schedulers", value, SCHEDULERS))?;
        let nested = value.get("args").filter(|args| !args.is_null()).unwrap_or(&none);
        schedulers.push(scheduler(name, nested, group, depth + 1)?);
    }
    if arguments.scheduler() == "ChainedScheduler" {
        return Ok(Scheduler::Chain(schedulers));
    }
    fresh(arguments)?;
    let milestones = arguments.whole_numbers("milestones")?;
    if milestones.len() + 1 != schedulers.len() {
        let allowed = "one milestone less than the number of schedulers";
        return Err(arguments.wrong("milestones", format!("{milestones:?}"), allowed));
    }
    let initial_lr = group.initial_lr();
    group.lr = initial_lr;
    // The scheduler that acts at update 0 repeats its first step.
    schedulers.iter_mut().for_each(|scheduler| scheduler.share(group));
    let first = &schedulers[bisect_right(&milestones, 0)];
    group.momentum = first.first_momentum().or(group.momentum);
    Ok(Scheduler::Sequence { schedulers, milestones, initial_lr })
}

/// Refuses a scheduler that continues an earlier run.
fn fresh(arguments: &Arguments<'_>) -> Result<(), PeerError> {
    match arguments.value("last_epoch") {
        Some(last) if last.as_f64() != Some(-1.0) => Err(arguments.wrong(
            "last_epoch",
            last,
            "-1: a schedule starts at update 0, and a resumed run starts at a later one",
        )),
        _ => Ok(()),
    }
}

fn leaf(arguments: &Arguments<'_>, group: &mut Group) -> Result<Leaf, PeerError> {
    fresh(arguments)?;
    arguments.ignore("verbose");
    let (link, momentum) = match arguments.scheduler() {
        "CyclicLR" => cyclic(arguments, group)?,
        "OneCycleLR" => one_cycle(arguments, group)?,
        _ => (None, None),
    };
    let base_lr = *group.initial_lr.get_or_insert(group.lr);
    let link = match link {
        Some(link) => link,
        None => simple(arguments, base_lr)?,
    };
    if let TorchLink::Swalr { swa_lr, .. } = &link {
        group.swa_lr = *swa_lr;
    }
    // The constructor takes the first step at once; `CyclicLR`'s does before it knows its base rate.
    group.lr = match &link {
        TorchLink::CyclicLr { .. } => base_lr,
        link if link.is_absolute() => link.value(0),
        link => link.fixed() + (group.lr - link.fixed()) * link.start(),
    };
    let leaf = Leaf {
        name: arguments.scheduler().to_string(),
        made: group.lr,
        restart: restart(&link, base_lr, arguments)?,
        link,
        momentum,
    };
    if let Some(momentum) = &leaf.momentum {
        group.momentum = Some(momentum.value(0));
    }
    Ok(leaf)
}

/// The schedulers that depend only on their own arguments.
fn simple(arguments: &Arguments<'_>, base_lr: f64) -> Result<TorchLink, PeerError> {
    Ok(match arguments.scheduler() {
        "StepLR" => TorchLink::StepLr {
            step_size: at_least_1(arguments, "step_size", None)?,
            gamma: factor(arguments, arguments.number_or("gamma", 0.1)?)?,
        },
        "MultiStepLR" => {
            let mut milestones = counts_from_0(&arguments.whole_numbers("milestones")?);
            milestones.sort_unstable();
            let gamma = factor(arguments, arguments.number_or("gamma", 0.1)?)?;
            TorchLink::MultiStepLr { milestones, gamma }
        }
        "ExponentialLR" => {
            TorchLink::ExponentialLr { gamma: factor(arguments, arguments.number("gamma")?)? }
        }
        "ConstantLR" => {
            let factor = arguments.number_or("factor", 1.0 / 3.0)?;
            let total_iters = arguments.count_or("total_iters", 5)?;
            let (ok, allowed) = match total_iters {
                0 => ((0.0..=1.0).contains(&factor), "in [0, 1]"),
                _ => (factor > 0.0 && factor <= 1.0, "in (0, 1]; torch divides by it"),
            };
            let factor = arguments.require("factor", factor, ok, allowed)?;
            TorchLink::ConstantLr { factor, total_iters }
        }
        "LinearLR" => {
            let (start, end) = (
                arguments.number_or("start_factor", 1.0 / 3.0)?,
                arguments.number_or("end_factor", 1.0)?,
            );
            let start_ok = start > 0.0 && start <= 1.0;
            TorchLink::LinearLr {
                start_factor: arguments.require("start_factor", start, start_ok, "in (0, 1]")?,
                end_factor: arguments.require(
                    "end_factor",
                    end,
                    (0.0..=1.0).contains(&end),
                    "in [0, 1]",
                )?,
                total_iters: arguments.count_or("total_iters", 5)?,
            }
        }
        "PolynomialLR" => {
            let total_iters = arguments.count_or("total_iters", 5)?;
            let power = arguments.number_or("power", 1.0)?;
            let allowed = "at least 0; torch divides by 0 below it";
            let power = arguments.require("power", power, power >= 0.0, allowed)?;
            TorchLink::PolynomialLr { total_iters, power }
        }
        "CosineAnnealingLR" => TorchLink::CosineAnnealingLr {
            base_lr,
            t_max: at_least_1(arguments, "T_max", None)?,
            eta_min: eta_min(arguments)?,
        },
        "CosineAnnealingWarmRestarts" => TorchLink::CosineAnnealingWarmRestarts {
            base_lr,
            t_0: at_least_1(arguments, "T_0", None)?,
            t_mult: at_least_1(arguments, "T_mult", Some(1))?,
            eta_min: eta_min(arguments)?,
        },
        "SWALR" => TorchLink::Swalr {
            swa_lr: rate(arguments, "swa_lr", arguments.number("swa_lr")?)?,
            anneal_epochs: arguments.count_or("anneal_epochs", 10)?,
            anneal_strategy: anneal(arguments)?,
        },
        name => {
            return Err(PeerError::unknown_scheduler("torch", name, super::NAMES));
        }
    })
}

type Links = (Option<TorchLink>, Option<TorchLink>);

fn cyclic(arguments: &Arguments<'_>, group: &mut Group) -> Result<Links, PeerError> {
    if let Some(code) = arguments.value("scale_fn") {
        return Err(arguments.wrong("scale_fn", code, "null: a function cannot be translated"));
    }
    // torch replaces it by what the mode requires.
    arguments.ignore("scale_mode");
    let base_lr = rate(arguments, "base_lr", arguments.number("base_lr")?)?;
    let max_lr = rate(arguments, "max_lr", arguments.number("max_lr")?)?;
    let up = arguments.number_or("step_size_up", 2000.0)?;
    let up = arguments.require("step_size_up", up, up >= 1e-6, "above 0")?;
    let down = arguments.optional_number("step_size_down")?.unwrap_or(up);
    let down = arguments.require("step_size_down", down, down >= 0.0, "at least 0")?;
    let gamma = factor(arguments, arguments.number_or("gamma", 1.0)?)?;
    let mode = match arguments.choice("mode", &["triangular", "triangular2", "exp_range"])? {
        "exp_range" => TorchCyclicMode::ExpRange(gamma),
        "triangular2" => TorchCyclicMode::Triangular2,
        _ => TorchCyclicMode::Triangular,
    };
    let link = |base_lr, max_lr| TorchLink::CyclicLr {
        base_lr,
        max_lr,
        step_size_up: up,
        step_size_down: down,
        mode,
    };
    let momentum = momentum(arguments, group, 0.8, 0.9)?;
    let falls = max_lr < base_lr || momentum.is_some_and(|(base, max)| base < max);
    if matches!(mode, TorchCyclicMode::ExpRange(gamma) if gamma > 1.0) && falls {
        let allowed = "in [0, 1] if the rate or the momentum falls first: it would fall below 0";
        return Err(arguments.wrong("gamma", gamma, allowed));
    }
    group.lr = base_lr;
    Ok((Some(link(base_lr, max_lr)), momentum.map(|(base, max)| link(max, base))))
}

fn one_cycle(arguments: &Arguments<'_>, group: &mut Group) -> Result<Links, PeerError> {
    let max_lr = rate(arguments, "max_lr", arguments.number("max_lr")?)?;
    let total_steps = total_steps(arguments)?;
    let pct_start = arguments.number_or("pct_start", 0.3)?;
    let turn = pct_start * total_steps as f64;
    let ok = (0.0..=1.0).contains(&pct_start) && turn != 1.0;
    let allowed = "in [0, 1], and not 1 / total_steps, where torch divides by 0";
    let pct_start = arguments.require("pct_start", pct_start, ok, allowed)?;
    let above_0 = |name, default| {
        let value = arguments.number_or(name, default)?;
        arguments.require(name, value, value > 0.0, "a number above 0")
    };
    let initial_lr = max_lr / above_0("div_factor", 25.0)?;
    group.initial_lr = Some(initial_lr);
    group.max_lr = max_lr;
    group.min_lr = initial_lr / above_0("final_div_factor", 1e4)?;
    let (anneal_strategy, three_phase) =
        (anneal(arguments)?, arguments.flag_or("three_phase", false)?);
    let link = |initial_lr, max_lr, min_lr| TorchLink::OneCycleLr {
        initial_lr,
        max_lr,
        min_lr,
        total_steps,
        pct_start,
        anneal_strategy,
        three_phase,
    };
    let momentum = momentum(arguments, group, 0.85, 0.95)?;
    let rate = link(initial_lr, max_lr, group.min_lr);
    Ok((Some(rate), momentum.map(|(base, max)| link(max, base, max))))
}

fn total_steps(arguments: &Arguments<'_>) -> Result<u64, PeerError> {
    let given = (
        arguments.optional_count("total_steps")?,
        arguments.optional_count("epochs")?,
        arguments.optional_count("steps_per_epoch")?,
    );
    let (name, total) = match given {
        (Some(total), ..) => ("total_steps", total),
        (None, Some(epochs), Some(steps)) => ("epochs", epochs.saturating_mul(steps)),
        _ => {
            let allowed = "a whole number, at least 1, or `epochs` and `steps_per_epoch` given";
            return Err(arguments.missing("total_steps", allowed));
        }
    };
    arguments.require(name, total, (1..MAX_EPOCHS).contains(&total), "at least 1 step in total")
}

/// The number of epochs that a number in a file can count exactly.
const MAX_EPOCHS: u64 = 1 << 53;

/// The lower and the upper momentum, if the scheduler cycles it.
fn momentum(
    arguments: &Arguments<'_>,
    group: &mut Group,
    base: f64,
    max: f64,
) -> Result<Option<(f64, f64)>, PeerError> {
    let cycles = arguments.flag_or("cycle_momentum", true)?;
    let base = rate(arguments, "base_momentum", arguments.number_or("base_momentum", base)?)?;
    let max = rate(arguments, "max_momentum", arguments.number_or("max_momentum", max)?)?;
    if !cycles {
        return Ok(None);
    }
    (group.base_momentum, group.max_momentum) = (base, max);
    Ok(Some((base, max)))
}

fn anneal(arguments: &Arguments<'_>) -> Result<AnnealStrategy, PeerError> {
    Ok(match arguments.choice("anneal_strategy", &["cos", "linear"])? {
        "linear" => AnnealStrategy::Linear,
        _ => AnnealStrategy::Cosine,
    })
}

fn eta_min(arguments: &Arguments<'_>) -> Result<f64, PeerError> {
    rate(arguments, "eta_min", arguments.number_or("eta_min", 0.0)?)
}

fn rate(arguments: &Arguments<'_>, name: &str, value: f64) -> Result<f64, PeerError> {
    arguments.require(name, value, value >= 0.0, "at least 0, so that no rate is negative")
}

fn factor(arguments: &Arguments<'_>, gamma: f64) -> Result<f64, PeerError> {
    rate(arguments, "gamma", gamma)
}

fn at_least_1(
    arguments: &Arguments<'_>,
    name: &'static str,
    default: Option<u64>,
) -> Result<u64, PeerError> {
    let value = match default {
        Some(default) => arguments.count_or(name, default)?,
        None => arguments.count(name)?,
    };
    arguments.require(name, value, value >= 1, "a whole number, at least 1")
}

/// The numbers that a scheduler counting up from 0 can reach.
fn counts_from_0(numbers: &[i64]) -> Vec<u64> {
    numbers.iter().filter_map(|&number| u64::try_from(number).ok()).collect()
}

/// torch's closed form at epoch 0.
fn restart(
    link: &TorchLink,
    base_lr: f64,
    arguments: &Arguments<'_>,
) -> Result<Option<f64>, PeerError> {
    Ok(match link {
        TorchLink::MultiStepLr { gamma, .. } => {
            // Milestones below 0, which no step reaches, count here.
            let milestones = arguments.whole_numbers("milestones")?;
            let passed = milestones.into_iter().filter(|&milestone| milestone <= 0).count();
            Some(base_lr * gamma.powf(passed as f64))
        }
        TorchLink::ConstantLr { total_iters: 0, .. } => Some(base_lr),
        TorchLink::LinearLr { total_iters: 0, .. }
        | TorchLink::PolynomialLr { total_iters: 0, .. } => None,
        link => Some(base_lr * link.start()),
    })
}

impl Scheduler {
    /// The momentum that its first step sets.
    fn first_momentum(&self) -> Option<f64> {
        match self {
            Self::Leaf(leaf) => leaf.momentum.as_ref().map(|momentum| momentum.value(0)),
            Self::Sequence { schedulers, milestones, .. } => {
                schedulers[bisect_right(milestones, 1)].first_momentum()
            }
            Self::Chain(schedulers) => schedulers.iter().rev().find_map(Self::first_momentum),
        }
    }

    /// Updates every `OneCycleLR` and `SWALR` from the group once all schedulers are constructed: they read
    /// it at every step.
    pub(super) fn share(&mut self, group: &Group) {
        match self {
            Self::Leaf(leaf) => leaf.share(group),
            Self::Sequence { schedulers, .. } | Self::Chain(schedulers) => {
                schedulers.iter_mut().for_each(|scheduler| scheduler.share(group));
            }
        }
    }
}

impl Leaf {
    fn share(&mut self, group: &Group) {
        match &mut self.link {
            TorchLink::OneCycleLr { initial_lr, max_lr, min_lr, .. } => {
                (*initial_lr, *max_lr, *min_lr) = (group.initial_lr(), group.max_lr, group.min_lr);
            }
            TorchLink::Swalr { swa_lr, .. } => *swa_lr = group.swa_lr,
            _ => {}
        }
        if let Some(TorchLink::OneCycleLr { initial_lr, max_lr, min_lr, .. }) = &mut self.momentum {
            (*initial_lr, *max_lr, *min_lr) =
                (group.max_momentum, group.base_momentum, group.max_momentum);
        }
    }
}
