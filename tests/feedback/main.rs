//! Rates that react to training: controllers of one group and of all, floors, announcements, the log of updates, and
//! several devices and models.

mod bad_input;
mod explore;
mod log;
mod noise_scale;
mod plans;
mod resume;
mod scope;
mod several;

use anneal_tests::{Points, TinyModel, points};
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn::train::TrainStep;
use burn_anneal::control::{Answer, Controller, Event, Needs, OutOfRange, Seen, Stop};
use burn_anneal::prelude::*;

fn device() -> Device {
    Device::default().autodiff()
}

/// A model with two groups; `low` has a quarter of the rate.
fn tiny(rate: f64) -> LearnerBuilder<TinyModel> {
    let model = TinyModel::seeded(5, &device());
    let groups = GroupsConfig::new()
        .group(Group::new("low", "^hidden").multiple(0.25))
        .group(Group::rest("high"));
    LearnerBuilder::new(model, SgdConfig::new().build(), constant(rate))
        .run(RunLength::updates(100))
        .groups(groups)
}

fn batch(number: u64) -> Points {
    let number = number as usize;
    points(&[number, number + 1, number + 2], &device())
}

fn update(training: &mut TrainingLoop<TinyModel>) {
    let number = training.next_update();
    training.pass(|model| TrainStep::step(model, batch(number)));
    training.update().unwrap();
}

/// The rates of both groups in the last update.
fn rates(training: &TrainingLoop<TinyModel>) -> Vec<f64> {
    training.rate_metrics().into_iter().map(|mut metric| metric.last().unwrap()).collect()
}

/// Gives the same answer to each update.
#[derive(Clone, Debug)]
struct Says(Answer);

impl Controller for Says {
    type State = ();

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        Ok(if matches!(event, Event::Update(_)) { self.0 } else { Answer::default() })
    }

    fn state(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
        Ok(())
    }
}

/// Answers by a function of what it hears.
#[derive(Clone, Debug)]
struct By(Needs, fn(&Seen<'_>) -> Answer);

impl Controller for By {
    type State = ();

    fn needs(&self) -> Needs {
        self.0
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        Ok(match event {
            Event::Update(seen) => (self.1)(seen),
            _ => Answer::default(),
        })
    }

    fn state(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
        Ok(())
    }
}
