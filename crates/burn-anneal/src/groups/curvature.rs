//! Measures the curvature of each group, and the rate that it allows.

use super::resolved::Table;
use super::{GroupError, Groups};
use anneal_schedule::OutOfRange;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use std::collections::HashSet;

/// Measures λ_max, the largest eigenvalue of each group's block of the Hessian, from gradients only.
///
/// Power iteration on gradient differences: with a direction v of length 1 in the group's parameters,
///
/// ```text
/// H v ≈ (g(w + ε v) − g(w − ε v)) / 2ε,   λ = vᵀ H v,   v ← H v / ‖H v‖
/// ```
///
/// until λ changes by less than `tolerance` · λ. If the eigenvalue of largest magnitude is negative, the
/// iteration is repeated with H shifted by it. An iteration costs two gradients. On a quadratic the
/// difference is exact for any ε; elsewhere ε is a compromise between rounding and the change of the
/// curvature.
///
/// All gradients must come from the same batch, without dropout: differences between batches are mostly
/// noise.
///
/// ```
/// use burn::module::Param;
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Tensor};
/// use burn_anneal::groups::{Curvature, GroupsConfig};
/// use burn_anneal::prelude::*;
///
/// // loss = ½ (1 · a² + 50 · b²): λ_max = 50, and plain SGD is stable below 2 / 50.
/// let device = Device::default().autodiff();
/// let model = Param::from_tensor(Tensor::<1>::from_floats([1.0, 1.0], &device));
/// let gradient = |model: &Param<Tensor<1>>| {
///     let scale = Tensor::<1>::from_floats([1.0, 50.0], &device);
///     let loss = (model.val().square() * scale).sum() * 0.5;
///     GradientsParams::from_grads(loss.backward(), model)
/// };
/// let run = RunLength::updates(100);
/// let schedule = constant(0.1).resolve(run)?;
/// let config = GroupsConfig::new();
/// let groups = config.resolve(&model, &schedule, run)?;
///
/// let curvatures = Curvature::new().measure(&model, &groups, gradient)?;
/// assert!((curvatures.of("model").unwrap() / 50.0 - 1.0).abs() < 0.01);
/// let capped = config.caps(curvatures.caps(0.5)?).resolve(&model, &schedule, run)?;
/// assert!((capped.rates(0).next().unwrap() - 0.5 * 2.0 / 50.0).abs() < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Curvature {
    difference: f64,
    tolerance: f64,
    max_iterations: usize,
}

/// The least iterations before an estimate is accepted: a random direction among many has almost no share
/// of the steepest one at first, so λ seems to converge although it is far too small.
const MIN_ITERATIONS: usize = 20;

impl Default for Curvature {
    fn default() -> Self {
        Self { difference: 1e-2, tolerance: 2e-5, max_iterations: 300 }
    }
}

/// The result of [`Curvature::measure`].
#[derive(Clone, Debug, PartialEq)]
pub struct Curvatures {
    groups: Vec<(String, f64)>,
}

impl Curvature {
    /// ε is 1 % of the norm of the group's weights, the tolerance 2·10⁻⁵, with at most 300 iterations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets ε as a share of the norm ‖w‖ of the group's weights, or of 0.001 if that is larger; above 0.
    pub fn difference(mut self, share: f64) -> Self {
        self.difference = share;
        self
    }

    /// Sets the relative change of λ that ends the iteration; above 0.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the most iterations for a group, at least 1; with fewer than 20, λ is usually too small.
    pub fn max_iterations(mut self, iterations: usize) -> Self {
        self.max_iterations = iterations;
        self
    }

    /// Measures λ_max of each group that ever trains. The model stays unchanged, including its running
    /// statistics; `gradients` gets copies of it with other weights.
    ///
    /// # Errors
    /// [`GroupError::OutOfRange`] if a setting is out of its range, a parameter has no gradient, or a
    /// gradient is not finite.
    pub fn measure<M: Module>(
        &self,
        model: &M,
        groups: &Groups,
        mut gradients: impl FnMut(&M) -> GradientsParams,
    ) -> Result<Curvatures, GroupError> {
        self.check()?;
        // A copy with its own running statistics, in which every parameter that ever trains has a gradient.
        let model = groups.prepare(model.valid().train(), u64::MAX);
        let mut found = vec![];
        for (index, group) in groups.table.groups.iter().enumerate() {
            if group.is_frozen(u64::MAX) {
                continue;
            }
            let mut block = Block {
                ids: ids(&groups.table, index, &model),
                model: &model,
                gradients: &mut gradients,
                epsilon: 0.0,
                name: &group.name,
            };
            found.push((group.name.clone(), self.largest(&mut block)?));
        }
        Ok(Curvatures { groups: found })
    }

    fn check(&self) -> Result<(), GroupError> {
        let positive = |field: &str, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(GroupError::OutOfRange(OutOfRange::new(
                field,
                format_args!("{value:?}"),
                "a finite number above 0",
            ))),
        };
        positive("difference", self.difference)?;
        positive("tolerance", self.tolerance)?;
        positive("max_iterations", self.max_iterations as f64)
    }

    fn largest<M: Module, G>(&self, block: &mut Block<'_, M, G>) -> Result<f64, GroupError>
    where
        G: FnMut(&M) -> GradientsParams,
    {
        let start = Direction::start(block);
        block.epsilon = (self.difference * start.length).max(1e-3 * self.difference);
        let lambda = self.iterate(block, start.unit, 0.0)?;
        if lambda >= 0.0 {
            return Ok(lambda);
        }
        // The most negative eigenvalue has the largest magnitude; the shift makes λ_max the largest.
        let again = Direction::start(block).unit;
        let shifted = self.iterate(block, again, -lambda)?;
        Ok((shifted + lambda).max(0.0))
    }

    /// The eigenvalue of H + shift with the largest magnitude.
    fn iterate<M: Module, G>(
        &self,
        block: &mut Block<'_, M, G>,
        mut direction: GradientsParams,
        shift: f64,
    ) -> Result<f64, GroupError>
    where
        G: FnMut(&M) -> GradientsParams,
    {
        let mut lambda = 0.0;
        for iteration in 1..=self.max_iterations {
            let product = block.times(direction, shift)?;
            let change = (product.quotient - lambda).abs();
            lambda = product.quotient;
            if product.length == 0.0 {
                return Ok(0.0);
            }
            direction = block.scaled(product.vector, 1.0 / product.length);
            let least = MIN_ITERATIONS.min(self.max_iterations);
            if iteration >= least && change <= self.tolerance * lambda.abs() {
                break;
            }
        }
        Ok(lambda)
    }
}

impl Curvatures {
    /// λ_max of each group.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.groups.iter().map(|(name, lambda)| (name.as_str(), *lambda))
    }

    /// λ_max of the group with this name.
    pub fn of(&self, group: &str) -> Option<f64> {
        self.iter().find(|(name, _)| *name == group).map(|(_, lambda)| lambda)
    }

    /// The cap c · 2/λ on the rate of each group, for [`GroupsConfig::caps`](super::GroupsConfig::caps);
    /// `safety` is c, in (0, 1]. A group without positive curvature has no cap.
    ///
    /// Plain SGD on a quadratic is stable below 2/λ of the *whole* Hessian, but each block is only a part
    /// of it: caps of several blocks guarantee stability only if c is below 1 / the number of blocks.
    /// Momentum and adaptive optimizers have other limits.
    ///
    /// # Errors
    /// [`GroupError::OutOfRange`] for a `safety` outside (0, 1].
    pub fn caps(&self, safety: f64) -> Result<Vec<(String, f64)>, GroupError> {
        if !(safety > 0.0 && safety <= 1.0) {
            let error = OutOfRange::new("safety", format_args!("{safety:?}"), "above 0, at most 1");
            return Err(GroupError::OutOfRange(error));
        }
        let curved = self.groups.iter().filter(|(_, lambda)| *lambda > 0.0);
        Ok(curved.map(|(name, lambda)| (name.clone(), safety * 2.0 / lambda)).collect())
    }
}

/// The Hessian's block of one group.
struct Block<'a, M, G> {
    model: &'a M,
    gradients: &'a mut G,
    ids: HashSet<ParamId>,
    epsilon: f64,
    name: &'a str,
}

/// H v, its length, and vᵀ H v.
struct Product {
    vector: GradientsParams,
    length: f64,
    quotient: f64,
}

impl<M: Module, G: FnMut(&M) -> GradientsParams> Block<'_, M, G> {
    fn times(&mut self, direction: GradientsParams, shift: f64) -> Result<Product, GroupError> {
        let (plus, direction) = self.gradients_at(direction, self.epsilon);
        let (minus, direction) = self.gradients_at(direction, -self.epsilon);
        let mut difference = Difference {
            ids: &self.ids,
            plus,
            minus,
            direction,
            factor: 0.5 / self.epsilon,
            shift,
            vector: GradientsParams::new(),
            squares: vec![],
            products: vec![],
        };
        self.model.visit(&mut difference);
        let Difference { vector, squares, products, .. } = difference;
        if squares.len() < self.ids.len() {
            return Err(self.error("a parameter has no gradient"));
        }
        let sums =
            Tensor::cat(vec![Tensor::cat(squares, 0).sum(), Tensor::cat(products, 0).sum()], 0);
        let sums: Vec<f64> = sums.into_data().iter::<f64>().collect();
        if !sums.iter().all(|sum| sum.is_finite()) {
            return Err(self.error("a gradient is not finite"));
        }
        Ok(Product { vector, length: sums[0].sqrt(), quotient: sums[1] })
    }

    fn gradients_at(
        &mut self,
        direction: GradientsParams,
        epsilon: f64,
    ) -> (GradientsParams, GradientsParams) {
        let mut shift = Shift { ids: &self.ids, direction, epsilon };
        let moved = self.model.clone().map(&mut shift);
        ((self.gradients)(&moved), shift.direction)
    }

    fn scaled(&self, vector: GradientsParams, factor: f64) -> GradientsParams {
        let mut scale = Scale { ids: &self.ids, from: vector, to: GradientsParams::new(), factor };
        self.model.visit(&mut scale);
        scale.to
    }

    fn error(&self, value: &str) -> GroupError {
        let allowed = "a finite gradient for each parameter of the group";
        let field = format!("curvature of {}", self.name);
        GroupError::OutOfRange(OutOfRange::new(field, value, allowed))
    }
}

fn ids<M: Module>(table: &Table, group: usize, model: &M) -> HashSet<ParamId> {
    super::found(model)
        .into_iter()
        .filter(|found| table.of_path.get(&found.parameter.path) == Some(&group))
        .map(|found| found.id)
        .collect()
}

/// The start direction of the iteration, and the norm of the group's weights.
struct Direction<'a> {
    ids: &'a HashSet<ParamId>,
    seen: HashSet<ParamId>,
    state: u64,
    to: GradientsParams,
    squares: Vec<Tensor<1>>,
    elements: usize,
}

struct Start {
    unit: GradientsParams,
    length: f64,
}

impl<'a> Direction<'a> {
    /// Pseudo-random signs, the same each time and on every machine.
    fn start<M: Module, G: FnMut(&M) -> GradientsParams>(block: &'a Block<'_, M, G>) -> Start {
        let mut direction = Self {
            ids: &block.ids,
            seen: HashSet::new(),
            state: 0,
            to: GradientsParams::new(),
            squares: vec![],
            elements: 0,
        };
        block.model.visit(&mut direction);
        let length = Tensor::cat(direction.squares, 0).sum().sqrt();
        let length = length.into_data().iter::<f64>().next().unwrap_or(0.0);
        let unit = block.scaled(direction.to, 1.0 / (direction.elements as f64).sqrt());
        Start { unit, length }
    }

    /// SplitMix64 (Steele et al. 2014).
    fn sign(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        if (bits ^ (bits >> 31)) & 1 == 0 { -1.0 } else { 1.0 }
    }
}

impl ModuleVisitor for Direction<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.ids.contains(&param.id) || !self.seen.insert(param.id) {
            return;
        }
        let weight = param.val().inner();
        let elements = weight.shape().num_elements();
        let signs: Vec<f32> = (0..elements).map(|_| self.sign()).collect();
        let signs =
            Tensor::<D>::from_data(TensorData::new(signs, weight.shape()), &weight.device());
        self.elements += elements;
        self.squares.push(weight.square().sum());
        self.to.register(param.id, signs);
    }
}

/// Moves the group's weights by ε along a direction.
struct Shift<'a> {
    ids: &'a HashSet<ParamId>,
    direction: GradientsParams,
    epsilon: f64,
}

impl ModuleMapper for Shift<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !self.ids.contains(&param.id) {
            return param;
        }
        let Some(direction) = self.direction.get::<D>(param.id) else { return param };
        let step = direction * self.epsilon;
        param.map(|weight| {
            let strategy = weight.gradient_checkpointing_strategy();
            let moved = Tensor::from_inner(weight.inner() + step);
            let moved = match strategy {
                Some(strategy) => moved.with_gradient_checkpointing_strategy(strategy),
                None => moved,
            };
            moved.require_grad()
        })
    }
}

struct Difference<'a> {
    ids: &'a HashSet<ParamId>,
    plus: GradientsParams,
    minus: GradientsParams,
    direction: GradientsParams,
    factor: f64,
    shift: f64,
    vector: GradientsParams,
    squares: Vec<Tensor<1>>,
    products: Vec<Tensor<1>>,
}

impl ModuleVisitor for Difference<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.ids.contains(&param.id) {
            return;
        }
        let (Some(plus), Some(minus), Some(direction)) = (
            self.plus.remove::<D>(param.id),
            self.minus.remove::<D>(param.id),
            self.direction.remove::<D>(param.id),
        ) else {
            return;
        };
        let vector = (plus - minus) * self.factor + direction.clone() * self.shift;
        self.squares.push(vector.clone().square().sum());
        self.products.push((vector.clone() * direction).sum());
        self.vector.register(param.id, vector);
    }
}

struct Scale<'a> {
    ids: &'a HashSet<ParamId>,
    from: GradientsParams,
    to: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.ids.contains(&param.id) {
            return;
        }
        if let Some(vector) = self.from.remove::<D>(param.id) {
            self.to.register(param.id, vector * self.factor);
        }
    }
}
