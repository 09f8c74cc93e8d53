//! The diversity of an ensemble's members.

use super::{Ensemble, EnsembleError, MeanOf, Pairs, epoch, numbers};
use crate::update::{ByParameter, in_f32};
use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::tensor::Tensor;
use std::fmt;

/// The pairwise distance and cosine of the members' weights. Displays as two tables.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WeightDiversity {
    /// ‖w_i − w_j‖ / √(‖w_i‖ ‖w_j‖): 0 for equal weights, about √2 for unrelated weights of the same norm.
    pub distance: Pairs,
    /// w_i·w_j / (‖w_i‖ ‖w_j‖), in [−1, 1].
    pub cosine: Pairs,
}

/// The pairwise disagreement and divergence of the members' predictions. Displays as two tables.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PredictionDiversity {
    /// The share of predictions whose most probable class differs, in [0, 1].
    pub disagreement: Pairs,
    /// ½(KL(p_i‖p_j) + KL(p_j‖p_i)) = ½ Σ_c (p_i − p_j)(ln p_i − ln p_j) in nats, averaged over the predictions;
    /// infinite if one member gives probability 0 to a class and the other does not.
    pub divergence: Pairs,
}

/// The weights of a member, tensor by tensor, and ‖w‖.
struct Weights {
    tensors: Vec<Tensor<1>>,
    norm: f64,
}

impl<M: Module> Ensemble<M> {
    /// Compares the trained weights of the members pairwise, without running statistics and frozen parameters. For m
    /// members in files, two at a time are in memory, with about m²/2 loads.
    ///
    /// # Errors
    /// [`EnsembleError`] if there are no members, or a member cannot be loaded, has other weights than the first, or
    /// has weights that are not finite or all 0.
    pub fn weight_diversity(&self) -> Result<WeightDiversity, EnsembleError> {
        let (mut distances, mut cosines) = (vec![], vec![]);
        for i in 0..self.len() {
            let one = self.weights(i)?;
            for j in 0..i {
                let other = self.weights(j)?;
                let sizes = |weights: &Weights| {
                    weights.tensors.iter().map(Tensor::dims).collect::<Vec<_>>()
                };
                if sizes(&one) != sizes(&other) {
                    return Err(EnsembleError::OtherWeights { member: self.name(i) });
                }
                let product = one.norm * other.norm;
                let pairs = || one.tensors.iter().cloned().zip(other.tensors.iter().cloned());
                let apart = pairs().map(|(one, other)| (one - other).square().sum());
                let dot = pairs().map(|(one, other)| (one * other).sum());
                distances.push((sum(apart)? / product).sqrt());
                cosines.push(sum(dot)? / product);
            }
        }
        Ok(WeightDiversity {
            distance: Pairs::new(self.len(), distances)?,
            cosine: Pairs::new(self.len(), cosines)?,
        })
    }

    fn weights(&self, member: usize) -> Result<Weights, EnsembleError> {
        // Only a model in training mode marks its trained parameters.
        let model = self.member(member)?.into_owned().train();
        let weights = ByParameter::weights(&model, |_, trains| trains);
        let tensors: Vec<Tensor<1>> =
            weights.iter().map(|(_, weight)| in_f32(weight.clone())).collect();
        let norm = sum(tensors.iter().map(|weight| weight.clone().square().sum()))?.sqrt();
        match norm.is_finite() && norm > 0.0 {
            true => Ok(Weights { tensors, norm }),
            false => Err(EnsembleError::Norm { member: self.name(member), norm }),
        }
    }

    /// Compares the predictions of the members for a loader pairwise, for models that give logits over the last
    /// dimension. Each member takes one pass, as in [`predict`](Self::predict); all predictions are kept in memory.
    ///
    /// # Errors
    /// The same as [`predict`](Self::predict).
    pub fn prediction_diversity<B, const D: usize>(
        &self,
        loader: &dyn DataLoader<B>,
        forward: impl Fn(&M, B) -> Tensor<D>,
    ) -> Result<PredictionDiversity, EnsembleError> {
        let mut all: Vec<Vec<Tensor<D>>> = vec![];
        let (mut disagreements, mut divergences) = (vec![], vec![]);
        for member in 0..self.len() {
            let answers = self.answers(member, epoch(loader), &forward, MeanOf::Probabilities)?;
            for before in &all {
                let (mut differ, mut diverge, mut count) = (vec![], vec![], 0);
                for (p, q) in self.alike(member, before.clone(), answers.clone())? {
                    count += p.shape().num_elements() / p.dims()[D - 1].max(1);
                    let classes = [p.clone(), q.clone()].map(|p| p.argmax(D - 1));
                    let [of_p, of_q] = classes;
                    differ.push(of_p.not_equal(of_q).int().sum().float());
                    diverge.push(divergence(p, q));
                }
                disagreements.push(sum(differ)? / count as f64);
                divergences.push(0.5 * sum(diverge)? / count as f64);
            }
            all.push(answers);
        }
        Ok(PredictionDiversity {
            disagreement: Pairs::new(self.len(), disagreements)?,
            divergence: Pairs::new(self.len(), divergences)?,
        })
    }
}

/// Σ (p − q)(ln p − ln q) from logarithms; a class with p = q = 0 adds nothing.
fn divergence<const D: usize>(ln_p: Tensor<D>, ln_q: Tensor<D>) -> Tensor<1> {
    let ratio = ln_p.clone() - ln_q.clone();
    let ratio = ratio.clone().mask_fill(ratio.is_nan(), 0.0);
    ((ln_p.exp() - ln_q.exp()) * ratio).sum()
}

/// The sum of numbers on the device.
fn sum(terms: impl IntoIterator<Item = Tensor<1>>) -> Result<f64, EnsembleError> {
    Ok(numbers(terms.into_iter().collect())?.into_iter().sum())
}

impl fmt::Display for WeightDiversity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "distance of weights\n{}\n\ncosine of weights\n{}", self.distance, self.cosine)
    }
}

impl fmt::Display for PredictionDiversity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disagreement, divergence } = self;
        write!(f, "disagreement\n{disagreement}\n\ndivergence in nats\n{divergence}")
    }
}
