//! Clients with two classes of digits each, and the effect of rates on their drift.

use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::optim::SgdConfig;
use burn_anneal::control::{LocalSteps, ServerRate};
use burn_anneal::prelude::*;

use crate::cli::Settings;
use crate::clients::Rounds;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::harness::{Drawn, Expected, Report, Study, Trial};
use crate::table::Column;

/// The rate of a client, its local updates per round, and its total updates.
const RATE: f64 = 0.1;
const STEPS: u64 = 20;
const UPDATES: u64 = 800;

const CLIENTS: usize = 8;
const BATCH: usize = 20;

/// The shards of a client, which are about its classes.
const SHARDS: usize = 2;

/// The factor of each drop, after each quarter of the rounds.
const DROP: f64 = 0.5;

const STUDY: Study = Study {
    name: "federated",
    title: "Eight clients with two classes each",
    columns: &[
        Column::share("test accuracy"),
        Column::lower("test loss"),
        Column::neutral("first drift"),
        Column::neutral("drift"),
        Column::neutral("drift / movement"),
    ],
    panels: &[
        Drawn::new("local updates", "drift", Scale::Logarithmic),
        Drawn::new("local updates", "test accuracy", Scale::Percent),
    ],
    expected: Expected {
        words: "clients drift apart by their rate times their local steps, and more so the less alike their data are; \
                a large server rate amplifies the drift; a budget for rate times steps bounds it; and drops of the \
                rate belong at rounds.",
        better: &[
            ("alike", "two classes"),
            ("5 steps", "two classes"),
            ("two classes", "80 steps"),
            ("80 steps, budget", "80 steps"),
            ("two classes", "server rate 2"),
            ("rate 0.3", "rate 0.3, server rate 2"),
            ("drops at rounds", "rate 0.3"),
            ("drops at rounds", "drops in mid-round"),
            ("drops at rounds", "drops in turn"),
        ],
        by: 1,
        adaptive: &["80 steps, budget", "drops at rounds"],
    },
};

/// When the rate of a client falls.
#[derive(Debug, Clone, Copy)]
enum Drops {
    Never,
    /// After each quarter of the rounds.
    AtRounds,
    /// Half a round later.
    InMidRound,
    /// At another time in each client, up to an eighth of the rounds earlier or later.
    InTurn,
}

/// How clients and server train.
#[derive(Debug, Clone)]
struct Arm {
    split: ClientSplit,
    rate: f64,
    steps: u64,
    budget: Option<f64>,
    drops: Drops,
    server: ServerRate,
    is_drawn: bool,
}

/// Trains all arms.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<Report, ExperimentError> {
    let digits = Digits::load(settings, Dataset::Mnist.normalization())?;
    let updates = settings.either(UPDATES, 160);
    let base = || Arm {
        split: ClientSplit::Shards(SHARDS),
        rate: RATE,
        steps: STEPS,
        budget: None,
        drops: Drops::Never,
        server: ServerRate::fed_avg(),
        is_drawn: true,
    };
    let hidden = || Arm { is_drawn: false, ..base() };
    let twice = || ServerRate::new(constant(2.0));
    let momentum = ServerRate::new(constant(0.5)).momentum(0.5);
    let drops = |drops| Arm { rate: 0.3, drops, ..hidden() };
    let arms = [
        ("alike", Arm { split: ClientSplit::Even, ..base() }),
        ("two classes", base()),
        ("rate 0.03", Arm { rate: 0.03, ..hidden() }),
        ("rate 0.3", Arm { rate: 0.3, ..base() }),
        ("5 steps", Arm { steps: 5, ..base() }),
        ("80 steps", Arm { steps: 80, ..base() }),
        ("80 steps, budget", Arm { steps: 80, budget: Some(RATE * STEPS as f64), ..base() }),
        ("server rate 2", Arm { server: twice(), ..hidden() }),
        ("rate 0.3, server rate 2", Arm { rate: 0.3, server: twice(), ..base() }),
        ("server momentum", Arm { server: momentum, ..hidden() }),
        ("drops at rounds", drops(Drops::AtRounds)),
        ("drops in mid-round", drops(Drops::InMidRound)),
        ("drops in turn", drops(Drops::InTurn)),
    ];
    let note = format!(
        "{CLIENTS} clients share {} digits, by {SHARDS} shards each, or at random where they are alike; plain SGD, batches of \
         {BATCH}, {updates} updates of each client in every arm. Where an arm says nothing else, the rate is {RATE}, a round {STEPS} \
         local steps, the server's rate 1; with momentum, which is 0.5, it is 0.5. The budget is {RATE} × {STEPS}. Drops are from 0.3 by \
         {DROP}, after each quarter of the rounds: between two rounds, half a round later, or in each client at another time. \
         The first drift is that of the first round, drift and its ratio are means over the rounds. The picture leaves \
         some arms out.",
        digits.train.len(),
    );
    STUDY.conduct(settings, &arms, &note, |arm, seed| {
        let Arm { split, steps, .. } = *arm;
        let count = updates / steps;
        let rounds = Rounds { clients: CLIENTS, split, batch_size: BATCH, steps, count };
        let period = updates / 4;
        let client = |client, model| {
            let rates = arm.rates(client, period);
            let builder = LearnerBuilder::new(model, SgdConfig::new().build(), rates);
            match arm.local_steps(period) {
                Some(rule) => builder.controller("local steps", rule),
                None => builder,
            }
        };
        let server = |builder: FederationBuilder<_>| builder.server_rate(arm.server.clone());
        let course = rounds.train(&digits, seed, client, server)?;
        let (first, drift, relative) =
            (course.first_drift(), course.drift(), course.relative_drift());
        let lines = if arm.is_drawn { vec![course.drifts(), course.accuracy] } else { vec![] };
        let numbers = vec![course.test.accuracy, course.test.loss, first, drift, relative];
        Ok(Trial { numbers, lines })
    })
}

impl Arm {
    /// The schedule of a client, with drops at this interval of updates.
    fn rates(&self, client: usize, period: u64) -> ScheduleConfig {
        let first = match self.drops {
            Drops::Never | Drops::AtRounds => return constant(self.rate).into(),
            Drops::InMidRound => period + self.steps / 2,
            Drops::InTurn => period / 2 + period * (2 * client as u64 + 1) / (2 * CLIENTS as u64),
        };
        let falling = step_decay(self.rate * DROP, Span::steps(period), DROP);
        constant(self.rate).then(Span::steps(first), falling).into()
    }

    /// The controller of a client's rate.
    fn local_steps(&self, period: u64) -> Option<LocalSteps> {
        let rounds = LocalSteps::new(self.steps);
        match (self.budget, self.drops) {
            (Some(budget), _) => Some(rounds.budget(budget)),
            (None, Drops::AtRounds) => Some(rounds.step_decay(DROP, period / self.steps)),
            (None, _) => None,
        }
    }
}
