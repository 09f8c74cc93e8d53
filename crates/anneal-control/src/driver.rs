//! Drives a controller through updates and epochs in tests.

use crate::{
    AnnounceError, Announcement, Controllers, Decision, Describe, Due, EpochMetrics, MetricOf,
    Observation, RunLength,
};

/// A run of 1,000 updates, 100 per epoch, with one controller named `it`.
#[derive(Clone, Debug)]
pub struct Driver {
    controllers: Controllers,
    number: u64,
    epoch: u64,
    /// The rate of the schedule.
    pub rate: f64,
}

impl Driver {
    /// A driver with a rate of 1.
    pub fn new(rule: impl Describe) -> Self {
        let run = RunLength::updates_per_epoch(100).epochs(10).resolve().unwrap();
        let mut controllers = Controllers::default();
        controllers.add("it", rule.build(&run).unwrap());
        Self { controllers, number: 0, epoch: 0, rate: 1.0 }
    }

    /// The decision about the next update.
    pub fn decide(&mut self, seen: &Observation) -> Decision {
        let due = Due::at(self.number, self.rate);
        let decision = self.controllers.update(due, seen).unwrap();
        self.controllers.outcome(due, seen, &decision, None).unwrap();
        self.number += 1;
        decision
    }

    /// The rate of the next update, with this observation.
    pub fn update(&mut self, seen: &Observation) -> f64 {
        let rate = self.rate;
        self.decide(seen).answer.rate(rate)
    }

    /// The rates of `updates` updates without observations.
    pub fn rates(&mut self, updates: usize) -> Vec<f64> {
        (0..updates).map(|_| self.update(&Observation::default())).collect()
    }

    /// The rate of the next update, with this loss.
    pub fn loss(&mut self, loss: f64) -> f64 {
        self.update(&Observation { loss: Some(loss), ..Observation::default() })
    }

    /// Ends an epoch with a validation loss.
    pub fn epoch(&mut self, loss: f64) {
        self.epoch += 1;
        let metrics = EpochMetrics::from_iter([(MetricOf::valid("Loss"), loss)]);
        self.controllers.epoch(self.epoch, &metrics).unwrap();
    }

    /// Announces something.
    pub fn announce(&mut self, name: &str, value: Option<f64>) {
        self.controllers.announce(Announcement { name, value }).unwrap();
    }

    /// Makes an announcement that may be refused.
    pub fn try_announce(&mut self, name: &str) -> Result<(), AnnounceError> {
        self.controllers.announce(Announcement { name, value: None })
    }

    /// Restores the saved state of another driver.
    pub fn resume(mut self, from: &Self) -> Self {
        let text = serde_json::to_string(&from.controllers.save()).unwrap();
        self.controllers.restore(serde_json::from_str(&text).unwrap()).unwrap();
        Self { number: from.number, epoch: from.epoch, rate: from.rate, ..self }
    }

    /// Restarts the schedule at step 0.
    pub fn start_anew(&mut self) {
        self.number = 0;
    }

    /// The state that a checkpoint saves.
    pub fn state(&self) -> serde_json::Value {
        self.controllers.states().next().unwrap().1
    }
}
