//! Forward and backward passes on several devices at once.

use crate::annealed::Annealed;
use crate::update::panic_message;
use burn::module::Module;
use burn::tensor::Device;
use burn::train::train::WorkerFailure;
use burn::train::{LearnerModel, TrainOutput, TrainStep};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The result of a pass.
pub(super) type Passed<M> = TrainOutput<<M as TrainStep>::Output>;

/// One thread per device, each with its own channel, so that sums in the order of the devices are the same in every
/// run.
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

    /// Runs the passes of a round; the results are in the order of the devices.
    ///
    /// # Errors
    /// The passes that panicked.
    pub fn round(
        &self,
        model: &Annealed<M>,
        items: Vec<(usize, <M as TrainStep>::Input)>,
    ) -> Result<Vec<Passed<M>>, Vec<WorkerFailure>> {
        let devices: Vec<usize> = items.iter().map(|(device, _)| *device).collect();
        for (device, item) in items {
            // A worker ends only with its sender.
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
