//! Eight small nets: a test at a high, falling rate, and then steps for those that pass it.

mod facts;
mod nets;
mod ranks;

use std::collections::HashMap;
use std::sync::Arc;

use anneal_examples::loader::ImageBatch;
use anneal_examples::plot::Scale;
use anneal_examples::prelude::*;
use burn::data::dataloader::DataLoader;
use burn_anneal::Candidate;
use burn_anneal::control::{Exploration, Explorer};
use burn_anneal::prelude::*;
use facts::{Facts, Searched};
use nets::{NETS, Net, Recorded};
use ranks::correlation;

use crate::batches::InMemory;
use crate::cli::Settings;
use crate::digits::Digits;
use crate::error::ExperimentError;
use crate::evaluation::Evaluation;
use crate::harness::{Drawn, Expected, Study, Trial};
use crate::rates::{at_rates, best};
use crate::table::Column;

/// Images per update.
const BATCH: usize = 32;

/// The number of nets that continue after the test.
const KEEP: usize = 2;

/// The first rate of a test, as a multiple of its last.
const SEVERE: f64 = 10.0;
const MILD: f64 = 3.0;

/// The last rates that are tried, from which the nets that pass the test continue.
const ENDS: [f64; 3] = [0.03, 0.1, 0.3];

/// The rates for measuring the largest rate of a net, and the number of updates.
const LARGEST: f64 = 16.0;
const HALVINGS: i32 = 12;
const HELD: usize = 20;

/// Digits for measuring the eigenvalue.
const OF_CURVATURE: usize = 256;

const STUDY: Study = Study {
    name: "search_architectures",
    title: "Which of eight nets, at equal budget",
    columns: &[
        Column::share("test accuracy"),
        Column::lower("test loss"),
        Column::neutral("dropped for their loss"),
        Column::neutral("updates spent"),
        Column::neutral("rank correlation"),
    ],
    panels: &[Drawn::new("rank among the nets", "its accuracy, fully trained", Scale::Percent)],
    expected: Expected {
        words: "a test at a high, falling rate drops nets with large curvature early, so the others get more of the \
                budget, which steps use well.",
        better: &[
            ("stress test, × 10", "equal shares"),
            ("stress test, × 3", "equal shares"),
            ("stress test, × 3", "random survivors"),
            ("stress test, × 3", "test at a constant rate"),
        ],
        by: 0,
        adaptive: &["stress test, × 10", "stress test, × 3"],
    },
};

const OF_NETS: Study = Study {
    name: "search_architectures_nets",
    title: "Eight nets under the stress test",
    columns: &[
        Column::neutral("largest eigenvalue"),
        Column::neutral("largest rate"),
        Column::neutral("loss after the test"),
        Column { name: "dropped", higher_is_better: None, is_share: true },
        Column::share("test accuracy, fully trained"),
    ],
    panels: &[Drawn::new("update of the test", "loss", Scale::Logarithmic).within(0.1, 100.0)],
    expected: Expected {
        words: "nets with the largest eigenvalue, or with the lowest rate that they tolerate, are dropped or come \
                last.",
        better: &[],
        by: 0,
        adaptive: &[],
    },
};

struct Bench {
    digits: Digits,
    updates: u64,
    budget: u64,
}

/// Runs all searches from all seeds.
///
/// # Errors
/// If a run fails, or a file cannot be written.
pub fn run(settings: &Settings) -> Result<String, ExperimentError> {
    let bench = Bench {
        digits: Digits::load(settings, Dataset::Mnist.normalization())?,
        updates: settings.either(60, 6),
        budget: settings.either(2_400, 96),
    };
    let stress = bench.best(MILD, KEEP)?;
    let rules = [
        bench.best(SEVERE, KEEP)?,
        stress.clone(),
        bench.best(1.0, KEEP)?,
        bench.best(1.0, NETS.len())?,
    ];
    let mut searched = HashMap::new();
    for seed in settings.seeds() {
        searched.insert(seed, bench.search(&stress, seed)?);
    }
    let nets: Vec<_> = NETS.iter().enumerate().map(|(net, (name, _))| (*name, net)).collect();
    let of_nets = OF_NETS.conduct_for(
        STUDY.name,
        settings,
        &nets,
        &bench.note_of_nets(&stress),
        |&net, seed| Ok(searched[&seed].trial(net, bench.updates)),
    )?;
    let note = bench.note(&rules, &searched);
    let [severe, mild, constant, shares] = rules.map(Some);
    let arms = [
        ("stress test, × 10", severe),
        ("stress test, × 3", mild),
        ("test at a constant rate", constant),
        ("equal shares", shares),
        ("random survivors", None),
    ];
    let report = STUDY.conduct(settings, &arms, &note, |rule, seed| match rule {
        Some(rule) => bench.trial(rule, seed, &searched[&seed]),
        None => Ok(bench.at_random(&searched[&seed])),
    })?;
    Ok(format!("{of_nets}\n\n{report}"))
}

impl Bench {
    /// A test whose rate falls to its last from a multiple of it, and the number of nets that continue.
    fn rule(&self, times: f64, end: f64, keep: usize) -> Exploration {
        Exploration::new(NETS.len(), self.updates, times * end, end, self.budget).keep(keep)
    }

    fn explore(
        &self,
        rule: &Exploration,
        seed: u64,
    ) -> Result<(Explorer, Vec<Recorded>), ExperimentError> {
        let mut nets = NETS
            .iter()
            .map(|(_, net)| self.training(*net, rule.schedule(), rule.length(), seed))
            .collect::<Result<Vec<_>, _>>()?;
        let mut candidates: Vec<&mut dyn Candidate<ImageBatch>> =
            nets.iter_mut().map(|net| net as &mut dyn Candidate<ImageBatch>).collect();
        let loader: Arc<dyn DataLoader<ImageBatch>> =
            Arc::new(self.digits.train_loader(BATCH, seed));
        let explored = rule.train(&mut candidates, &loader);
        let stopped = |error: ExploreError| ExperimentError::Stopped { reason: error.to_string() };
        Ok((explored.map_err(stopped)?, nets))
    }

    fn training(
        &self,
        net: Net,
        schedule: ScheduleConfig,
        run: RunLength,
        seed: u64,
    ) -> Result<Recorded, ExperimentError> {
        self.digits.device.seed(seed);
        let training = net.training(schedule, run, &self.digits.device.clone().autodiff())?;
        Ok(Recorded { training, losses: vec![] })
    }

    /// The exploration with the last rate whose choice is best on the validation digits of the first seed.
    fn best(&self, times: f64, keep: usize) -> Result<Exploration, ExperimentError> {
        let valid = self.digits.loader_of(&self.digits.valid);
        let train = |end| {
            let (explorer, nets) = self.explore(&self.rule(times, end, keep), 0)?;
            let Some(chosen) = explorer.best() else { return Ok(f64::NAN) };
            let accuracy = nets[chosen].training.test(&valid)?.accuracy;
            say(format_args!("× {times} to {end}, {keep} go on: valid accuracy {accuracy:.3}"));
            Ok(accuracy)
        };
        let tried = at_rates(&ENDS, train, |accuracy| -accuracy)?;
        Ok(self.rule(times, best(&tried).rate, keep))
    }

    fn search(&self, rule: &Exploration, seed: u64) -> Result<Searched, ExperimentError> {
        // All continue, whatever their losses.
        let share = rule.share() * NETS.len() as u64;
        let all = Exploration { budget: self.updates * NETS.len() as u64 + share, ..rule.clone() };
        let (_, nets) = self.explore(&all.keep(NETS.len()).rise(f64::MAX), seed)?;
        let test = self.digits.loader_of(&self.digits.test);
        let mut facts = vec![];
        for ((_, net), trained) in NETS.iter().zip(nets) {
            let (curvature, largest_rate) = self.curvature(*net, rule.rise, seed)?;
            let Recorded { training, losses } = trained;
            facts.push(Facts { curvature, largest_rate, losses, test: training.test(&test)? });
        }
        Ok(Searched { facts, stress: self.explore(rule, seed)?.0 })
    }

    /// The largest eigenvalue of a net at its initial weights, and the highest rate that it tolerates for a while.
    fn curvature(&self, net: Net, rise: f64, seed: u64) -> Result<(f64, f64), ExperimentError> {
        let run = RunLength::updates(HELD as u64);
        let [one, many] = [BATCH, OF_CURVATURE].map(|size| self.digits.train_loader(size, seed));
        let mut largest = f64::NAN;
        if let Some(batch) = many.batches_of(1).next() {
            largest =
                self.training(net, constant(1.0).into(), run, seed)?.training.curvature(&batch)?;
        }
        for halving in 0..=HALVINGS {
            let rate = LARGEST * 0.5f64.powi(halving);
            let mut training = self.training(net, constant(rate).into(), run, seed)?;
            let mut stands = true;
            for batch in one.batches_of(1).take(HELD) {
                let loss = training.loss(batch)?;
                stands &= loss <= rise * training.losses[0];
                if !stands {
                    break;
                }
                training.update()?;
            }
            if stands {
                return Ok((largest, rate));
            }
        }
        Ok((largest, f64::NAN))
    }

    fn trial(
        &self,
        rule: &Exploration,
        seed: u64,
        searched: &Searched,
    ) -> Result<Trial, ExperimentError> {
        let accuracies: Vec<f64> = searched.facts.iter().map(|net| net.test.accuracy).collect();
        let (explorer, nets) = self.explore(rule, seed)?;
        let mut order = explorer.ranking();
        if rule.keep == NETS.len() {
            // By the losses at the end of their shares, at which all have arrived.
            let loss = |net: &usize| explorer.loss(*net).unwrap_or(f64::INFINITY);
            order.sort_by(|one, other| loss(one).total_cmp(&loss(other)));
        }
        let rank = |net: usize| order.iter().position(|other| *other == net);
        let ranks: Vec<f64> = (0..NETS.len())
            .map(|net| rank(net).map_or(f64::INFINITY, |rank| rank as f64))
            .collect();
        let errors: Vec<f64> = accuracies.iter().map(|accuracy| 1.0 - accuracy).collect();
        let chosen = match explorer.best() {
            Some(best) => nets[best].training.test(&self.digits.loader_of(&self.digits.test))?,
            None => Evaluation { loss: f64::NAN, accuracy: f64::NAN },
        };
        let dropped = explorer.dropped().count() as f64;
        let numbers = vec![
            chosen.accuracy,
            chosen.loss,
            dropped,
            explorer.spent() as f64,
            correlation(&ranks, &errors),
        ];
        let line = (1..).zip(&order).map(|(rank, net)| (f64::from(rank), accuracies[*net]));
        Ok(Trial { numbers, lines: vec![line.collect()] })
    }

    /// The expectation for two random nets: the mean over all pairs, each with its better one by training loss.
    fn at_random(&self, searched: &Searched) -> Trial {
        let facts = &searched.facts;
        let pairs = (0..facts.len()).flat_map(|one| (0..one).map(move |other| [one, other]));
        let loss = |net: usize| facts[net].finished(self.updates);
        let better = |[one, other]: [usize; 2]| if loss(one) < loss(other) { one } else { other };
        let chosen: Vec<Evaluation> = pairs.map(|pair| facts[better(pair)].test).collect();
        let mean = |of: fn(&Evaluation) -> f64| {
            let values: Vec<f64> =
                chosen.iter().map(of).filter(|value| value.is_finite()).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let numbers =
            vec![mean(|test| test.accuracy), mean(|test| test.loss), 0.0, self.budget as f64, 0.0];
        Trial { numbers, lines: vec![vec![]] }
    }

    fn note_of_nets(&self, rule: &Exploration) -> String {
        format!(
            "Plain SGD, batches of {BATCH}. The test: {} updates at rates that fall from {:.2} to {:.2}. The eigenvalue is of the whole \
             Hessian at the first weights, of {OF_CURVATURE} digits, by power iteration; the largest rate is the highest of {LARGEST}, \
             {}, … at which {HELD} updates leave the loss below four times the first. The loss after the test is the mean of its last \
             tenth. Fully trained means with the updates of one that stands the test, whatever its loss.",
            self.updates,
            rule.high,
            rule.end,
            LARGEST / 2.0,
        )
    }

    fn note(&self, rules: &[Exploration; 4], searched: &HashMap<u64, Searched>) -> String {
        let mean = |of: fn(&Facts) -> f64| {
            let found = searched.values().map(|seed| seed.correlation(of, self.updates));
            found.sum::<f64>() / searched.len() as f64
        };
        let [severe, mild, constant, shares] = rules.each_ref().map(|rule| rule.end);
        format!(
            "All have {} updates of {BATCH} digits in all, by plain SGD. After {} updates each, the best {KEEP} train on under two \
             drops by 10. Rates fall to {severe} in the stress test from {SEVERE} times of that, to {mild} from {MILD} times, are \
             {constant} in the test at a constant rate, and {shares} with equal shares, of which all train on: the best of {ENDS:?} \
             each, on the validation digits of the first seed. Random survivors, of which there is no ranking, are the mean over all pairs, under the schedule of \
             the stress test × {MILD}. The rank correlation is that of the ranking after the test, or after all of an equal share, with \
             the accuracy of nets that are all fully trained under that schedule. Over the nets, the loss after the stress test × {MILD} has a \
             rank correlation of {:.2} with the largest eigenvalue, and of {:.2} with the largest rate.",
            self.budget,
            self.updates,
            mean(|net| net.curvature),
            mean(|net| net.largest_rate),
        )
    }
}
