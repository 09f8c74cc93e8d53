//! The network, the data and the runs of `tests/golden/training.json`.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::Deserialize;

/// The contents of the file, with `R` for a run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digits<R> {
    #[serde(rename = "peer")]
    _peer: String,
    #[serde(rename = "version")]
    _version: String,
    /// The sizes of the layers, inputs first.
    pub dims: Vec<usize>,
    activation: String,
    loss: String,
    init_weights: Vec<Vec<f32>>,
    init_biases: Vec<Vec<f32>>,
    weight_layout: String,
    /// The batch of each update.
    pub batches: Vec<DigitBatch>,
    batch_size: usize,
    /// The runs.
    pub runs: Vec<R>,
}

/// Images and their classes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigitBatch {
    x: Vec<f32>,
    y: Vec<i64>,
}

impl<R> Digits<R> {
    /// Fails if the file is not about [`DigitModel`].
    pub fn check(&self) {
        assert_eq!(self.activation, "relu between layers");
        assert_eq!(self.loss, "mean cross-entropy");
        assert_eq!(self.weight_layout, "row-major [out, in]");
        assert!(self.batches.iter().all(|batch| batch.y.len() == self.batch_size));
    }

    /// The initial model of every run.
    pub fn model(&self, device: &Device) -> DigitModel {
        let tensor = |values: &[f32], shape: Vec<usize>| TensorData::new(values.to_vec(), shape);
        let layer = |(i, sizes): (usize, &[usize])| {
            let weight = tensor(&self.init_weights[i], vec![sizes[1], sizes[0]]);
            let bias = tensor(&self.init_biases[i], vec![sizes[1]]);
            Linear {
                weight: Param::from_tensor(Tensor::<2>::from_data(weight, device).transpose()),
                bias: Some(Param::from_data(bias, device)),
            }
        };
        DigitModel { layers: self.dims.windows(2).enumerate().map(layer).collect() }
    }
}

/// Linear layers with a ReLU between them.
#[derive(Module, Debug)]
pub struct DigitModel {
    /// The layers.
    pub layers: Vec<Linear>,
}

impl DigitModel {
    /// The mean cross-entropy of a batch.
    pub fn loss(&self, batch: &DigitBatch, device: &Device) -> Tensor<1> {
        let n = batch.y.len();
        let x = TensorData::new(batch.x.clone(), [n, batch.x.len() / n]);
        let y = TensorData::new(batch.y.clone(), [n]);
        let last = self.layers.len() - 1;
        let mut x = Tensor::<2>::from_data(x, device);
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            x = if i < last { relu(x) } else { x };
        }
        let y = Tensor::<1, Int>::from_data(y, device);
        CrossEntropyLossConfig::new().init(device).forward(x, y)
    }

    /// The largest distance of a weight from the peer's, which are row-major \[out, in\], or another failure.
    pub fn distance(&self, weights: &[Vec<f64>], biases: &[Vec<f64>]) -> Result<f64, String> {
        if weights.len() != self.layers.len() || biases.len() != self.layers.len() {
            return Err(format!("{} weights and {} biases", weights.len(), biases.len()));
        }
        let mut worst = 0.0_f64;
        for (i, layer) in self.layers.iter().enumerate() {
            let weight = layer.weight.val().transpose().into_data().try_to_vec::<f32>();
            let bias = layer.bias.as_ref().map(|bias| bias.val().into_data().try_to_vec::<f32>());
            let found = [weight, bias.ok_or("no bias")?];
            for (found, expected) in found.into_iter().zip([&weights[i], &biases[i]]) {
                let found = found.map_err(|error| format!("{error:?}"))?;
                if found.len() != expected.len() {
                    let (found, expected) = (found.len(), expected.len());
                    return Err(format!("layer {i} has {found} values, not {expected}"));
                }
                for (found, expected) in found.into_iter().zip(expected) {
                    let distance = (f64::from(found) - expected).abs();
                    if distance.is_nan() {
                        return Err(format!("a weight of layer {i} is no number"));
                    }
                    worst = worst.max(distance);
                }
            }
        }
        Ok(worst)
    }
}
