//! Forward and backward passes on several devices at once.

use crate::annealed::Annealed;
use crate::update::panic_message;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::train::WorkerFailure;
use burn::train::{LearnerModel, TrainOutput, TrainStep};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What a pass gives.
pub(super) type Passed<M> = TrainOutput<<M as TrainStep>::Output>;

/// A thread for each device, whose answers are told apart by their channels: sums in the order of the devices are the
/// same in every run.
pub(super) struct Workers<M: LearnerModel> {
    lanes: Vec<Lane<M>>,
}

struct Lane<M: LearnerModel> {
    work: Sender<(Annealed<M>, <M as TrainStep>::Input)>,
    passed: Receiver<Result<Passed<M>, String>>,
}

impl<M: LearnerModel> Workers<M> {
    pub fn new(devices: &[Device]) -> Self {
        let lane = |device: &Device| {
            let (work, to_do) = channel::<(Annealed<M>, <M as TrainStep>::Input)>();
            let (answer, passed) = channel();
            let device = device.clone();
            std::thread::spawn(move || {
                for (model, item) in to_do {
                    let pass = catch_unwind(AssertUnwindSafe(|| {
                        TrainStep::step(&model.fork(&device), item)
                    }));
                    let pass = pass.map_err(|panic| panic_message(&*panic));
                    if answer.send(pass).is_err() {
                        break;
                    }
                }
            });
            Lane { work, passed }
        };
        Self { lanes: devices.iter().map(lane).collect() }
    }

    /// The passes of a round, in the order of the devices.
    ///
    /// # Errors
    /// Those that panicked.
    pub fn round(
        &self,
        model: &Annealed<M>,
        items: Vec<(usize, <M as TrainStep>::Input)>,
    ) -> Result<Vec<Passed<M>>, Vec<WorkerFailure>> {
        let devices: Vec<usize> = items.iter().map(|(device, _)| *device).collect();
        for (device, item) in items {
            // A worker ends with its sender only.
            let _ = self.lanes[device].work.send((model.clone(), item));
        }
        let (mut passed, mut failures) = (vec![], vec![]);
        for device_id in devices {
            let answer = self.lanes[device_id].passed.recv();
            match answer.unwrap_or_else(|_| Err("the worker has ended".into())) {
                Ok(pass) => passed.push(pass),
                Err(message) => failures.push(WorkerFailure { device_id, message }),
            }
        }
        if failures.is_empty() { Ok(passed) } else { Err(failures) }
    }
}
