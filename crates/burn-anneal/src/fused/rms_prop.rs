//! RMSProp.

use super::parameter::{Buffer, How, Parameter};
use super::pass::{Rule, Rules};
use super::probe::{TINY, number, one, recorded, step};
use super::real::Real;
use super::rule::{HasRule, taken};
use burn::optim::{
    CenteredState, RecordState, RmsProp, RmsPropMomentumState, RmsPropState, SquareAvgState,
    StateSink, StateSource,
};
use burn::tensor::{Device, Tensor};

/// The numbers of Burn's RMSProp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    alpha: f32,
    momentum: f32,
    epsilon: f32,
    is_centered: bool,
    penalty: f32,
}

/// What Burn's own state has, which does not show its velocity.
#[derive(Clone, Debug)]
pub struct Moments<const D: usize> {
    squares: Tensor<D>,
    /// If it is centered.
    mean: Option<Tensor<D>>,
    /// The mean square, less that of the mean if it is centered.
    variance: Tensor<D>,
    /// If there is momentum.
    velocity: Option<Tensor<D>>,
}

/// Their names in a record of Burn's.
const SQUARES: &str = "square_avg.square_avg";
const MEAN: &str = "centered.grad_avg";
const VARIANCE: &str = "centered.avg";
const VELOCITY: &str = "momentum.buf";

impl<const D: usize> RecordState for Moments<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, SQUARES, self.squares.to_data());
        out.push_tensor(prefix, VARIANCE, self.variance.to_data());
        for (name, tensor) in [(MEAN, &self.mean), (VELOCITY, &self.velocity)] {
            if let Some(tensor) = tensor {
                out.push_tensor(prefix, name, tensor.to_data());
            }
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let mut tensor = |name| taken(prefix, name, source, device);
        Some(Self {
            squares: tensor(SQUARES)?,
            mean: tensor(MEAN),
            variance: tensor(VARIANCE)?,
            velocity: tensor(VELOCITY),
        })
    }
}

/// s ← α s + (1 − α) g², r = g / (√s + ε), v ← μ v + r, w ← w − η v, or w ← w − η r without momentum; centered,
/// a ← α a + (1 − α) g and s − a² in place of s.
#[derive(Clone, Copy, Debug)]
struct RmsPropRule<E> {
    rate: E,
    penalty: E,
    alpha: E,
    new: E,
    epsilon: E,
    momentum: E,
}

impl<const N: usize> Rules<N> for RmsPropRule<f64> {
    type For<E: Real> = RmsPropRule<E>;

    fn rounded<E: Real>(&self) -> RmsPropRule<E> {
        RmsPropRule {
            rate: E::of(self.rate),
            penalty: E::of(self.penalty),
            alpha: E::of(self.alpha),
            new: E::of(self.new),
            epsilon: E::of(self.epsilon),
            momentum: E::of(self.momentum),
        }
    }
}

/// The mean square; the mean and the variance if it is centered; the velocity if there is momentum. Their number says
/// which.
impl<E: Real, const N: usize> Rule<E, N> for RmsPropRule<E> {
    #[inline(always)]
    fn update(&self, weight: E, gradient: E, moments: &mut [E; N]) -> E {
        let gradient = weight * self.penalty + gradient;
        let squares = moments[0] * self.alpha + gradient * gradient * self.new;
        moments[0] = squares;
        let variance = if N > 2 {
            let mean = moments[1] * self.alpha + gradient * self.new;
            let variance = squares - mean * mean;
            (moments[1], moments[2]) = (mean, variance);
            variance
        } else {
            squares
        };
        let mut direction = gradient / (variance.root() + self.epsilon);
        if N.is_multiple_of(2) {
            direction = moments[N - 1] * self.momentum + direction;
            moments[N - 1] = direction;
        }
        weight - direction * self.rate
    }
}

impl HasRule for RmsProp {
    type Moments<const D: usize> = Moments<D>;
    type Numbers = Numbers;

    fn numbers(&self) -> Option<Numbers> {
        let state = |squares, velocity| {
            let centered = CenteredState::new(None, one(squares));
            let velocity = Some(RmsPropMomentumState::new(one(velocity)));
            RmsPropState::new(SquareAvgState::new(one(squares)), centered, velocity)
        };
        let (_, kept) = step(self, 0.0, [0.0, 0.0], Some(state(1.0, 1.0)));
        let kept = kept?;
        let alpha = number(&kept.square_avg.square_avg) as f32;
        let momentum = recorded(&kept, VELOCITY).unwrap_or(0.0) as f32;
        let (moved, _) = step(self, 1.0, [0.0, TINY], None);
        let epsilon = (TINY / -moved) as f32;
        let (_, penalized) = step(self, 0.0, [1.0, 0.0], None);
        let squares = number(&penalized?.square_avg.square_avg);
        let penalty = (squares / f64::from(1.0 - alpha)).sqrt() as f32;
        let is_known = alpha < 1.0 && epsilon > 0.0 && penalty.is_finite();
        let is_centered = kept.centered.grad_avg.is_some();
        is_known.then_some(Numbers { alpha, momentum, epsilon, is_centered, penalty })
    }

    fn with_momentum(numbers: &Numbers, momentum: f64) -> Numbers {
        Numbers { momentum: momentum as f32, ..*numbers }
    }

    fn update<const D: usize>(
        numbers: &Numbers,
        how: How,
        parameter: &mut Parameter,
        moments: Option<Moments<D>>,
    ) -> Moments<D> {
        let Numbers { alpha, momentum, epsilon, is_centered, penalty } = *numbers;
        let has_momentum = momentum > 0.0;
        let rule = RmsPropRule {
            rate: how.rate,
            penalty: penalty.into(),
            alpha: alpha.into(),
            new: (1.0 - alpha).into(),
            epsilon: epsilon.into(),
            momentum: momentum.into(),
        };
        let (squares, mean, variance, velocity) = match moments {
            Some(Moments { squares, mean, variance, velocity }) => {
                (Some(squares), mean, Some(variance).filter(|_| is_centered), velocity)
            }
            None => (None, None, None, None),
        };
        let mut squares = parameter.moment(squares);
        let mut centered =
            is_centered.then(|| [parameter.moment(mean), parameter.moment(variance)]);
        let mut velocity = has_momentum.then(|| parameter.moment(velocity));
        match (&mut centered, &mut velocity) {
            (None, None) => parameter.update(how, [&mut squares], &rule),
            (None, Some(velocity)) => parameter.update(how, [&mut squares, velocity], &rule),
            (Some([mean, variance]), None) => {
                parameter.update(how, [&mut squares, mean, variance], &rule);
            }
            (Some([mean, variance]), Some(velocity)) => {
                parameter.update(how, [&mut squares, mean, variance, velocity], &rule);
            }
        }
        let squares = squares.into_tensor();
        let (mean, variance) = match centered {
            Some([mean, variance]) => (Some(mean.into_tensor()), variance.into_tensor()),
            None => (None, Tensor::clone(&squares)),
        };
        Moments { squares, mean, variance, velocity: velocity.map(Buffer::into_tensor) }
    }

    fn own_state<const D: usize>(moments: Moments<D>) -> RmsPropState<D> {
        let Moments { squares, mean, variance, velocity } = moments;
        RmsPropState::new(
            SquareAvgState::new(squares),
            CenteredState::new(mean, variance),
            velocity.map(RmsPropMomentumState::new),
        )
    }
}
