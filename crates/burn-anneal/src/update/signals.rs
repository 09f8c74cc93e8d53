//! The signals of an update on its devices, and reading them at once.

use anneal_control::Observation;
use burn::tensor::{FloatDType, Tensor};

/// The measurements of an update, still on the devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    /// ‖g‖₂, unscaled.
    pub norm: Option<Tensor<1>>,
    /// ‖g‖₁, unscaled.
    pub l1: Option<Tensor<1>>,
    /// g·g′ with the gradient of the previous update.
    pub dot: Option<Tensor<1>>,
    /// The loss of each batch.
    pub losses: Vec<Tensor<1>>,
    /// ‖g‖₂ of each batch, scaled; empty if batches may have different sizes.
    pub batch_norms: Vec<Tensor<1>>,
    /// The divisor of the sum over all batches.
    pub divided_by: f64,
    /// The largest gradient entry of each batch, scaled.
    pub largest: Vec<Tensor<1>>,
    /// The mean cosine between pairs of task gradients of each batch that has tasks.
    pub task_cosines: Vec<Tensor<1>>,
    pub loss_scale: Option<f64>,
    pub movement: Option<Tensor<1>>,
    pub last_movement: Option<Reading>,
    pub batches: u64,
}

/// A number on its device, or read.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    OnDevice(Box<Tensor<1>>),
    Read(f64),
}

impl Reading {
    /// Waits for the device.
    pub fn read(self) -> Option<f64> {
        match self {
            Self::OnDevice(tensor) => numbers(vec![*tensor]).first().copied(),
            Self::Read(number) => Some(number),
        }
    }
}

impl Signals {
    /// Reads all signals at once; waits for the device if there are any.
    pub fn read(self) -> Observation {
        let (last_movement, read_before) = match self.last_movement {
            Some(Reading::OnDevice(tensor)) => (Some(*tensor), None),
            Some(Reading::Read(number)) => (None, Some(number)),
            None => (None, None),
        };
        let values = [
            self.norm,
            self.l1,
            self.dot,
            on_one_device(self.losses).map(Tensor::mean),
            on_one_device(self.batch_norms).map(|norms| norms.square().mean().sqrt()),
            on_one_device(self.largest).map(Tensor::max),
            on_one_device(self.task_cosines).map(known_mean),
            self.movement,
            last_movement,
        ];
        let known = values.each_ref().map(Option::is_some);
        let mut numbers = numbers(values.into_iter().flatten().collect()).into_iter();
        let [
            norm,
            gradient_l1,
            gradient_dot,
            loss,
            of_batches,
            largest,
            task_cosine,
            movement,
            last_movement,
        ] = known.map(|known| if known { numbers.next() } else { None });
        let unscaled = |scaled: f64| scaled / self.loss_scale.unwrap_or(1.0);
        let of_mean = |norm: f64| norm * self.divided_by / self.batches as f64;
        Observation {
            loss,
            gradient_norm: norm,
            gradient_l1,
            gradient_dot,
            batch_gradient_norm: of_batches.map(unscaled),
            mean_gradient_norm: of_batches.and(norm).map(of_mean),
            largest_gradient: largest.map(unscaled),
            // Rounded sums may lie slightly outside.
            task_cosine: task_cosine.map(|cosine| cosine.clamp(-1.0, 1.0)),
            movement,
            last_movement: last_movement.or(read_before),
            batches: Some(self.batches).filter(|batches| *batches > 0),
            overflow: norm.is_some_and(|norm| !norm.is_finite()),
        }
    }
}

/// The values of tensors of one element: in one read, or one by one where a read does not wait.
pub(crate) fn numbers(tensors: Vec<Tensor<1>>) -> Vec<f64> {
    #[cfg(feature = "flex")]
    if tensors.iter().all(crate::fused::parameter::on_flex) {
        return tensors.into_iter().map(Tensor::into_scalar).collect();
    }
    on_one_device(tensors).map_or(vec![], |read| read.into_data().iter::<f64>().collect())
}

/// The mean of the values that are not NaN; NaN if all are.
pub(crate) fn known_mean(values: Tensor<1>) -> Tensor<1> {
    let unknown = values.clone().is_nan();
    let known = unknown.clone().bool_not().float().cast(values.dtype());
    values.mask_fill(unknown, 0.0).sum() / known.sum()
}

/// Combines tensors into one, on the device of the first.
pub(crate) fn on_one_device(tensors: Vec<Tensor<1>>) -> Option<Tensor<1>> {
    if tensors.len() == 1 {
        return tensors.into_iter().next().map(|tensor| tensor.cast(FloatDType::F32));
    }
    let device = tensors.first()?.device();
    let tensors = tensors.into_iter().map(|tensor| tensor.to_device(&device).cast(FloatDType::F32));
    Some(Tensor::cat(tensors.collect(), 0))
}
