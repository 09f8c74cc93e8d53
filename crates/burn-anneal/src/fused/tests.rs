//! Compares each optimizer with Burn's own, bit by bit.

use super::{Fusable, Fused};
use crate::momentum::{RateInsideSgd, ScheduledAdamConfig, ScheduledMomentum};
use crate::update::{Factor, InOperations, Manner, Shrink, Updates, Weight, flat};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, LionConfig, RecordState, RmsPropConfig, SgdConfig, StateSink,
    StateSource,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Contiguous,
    Transposed,
    Sliced,
}

/// A training of one parameter.
#[derive(Clone, Debug)]
struct Case {
    dims: Vec<usize>,
    dtype: DType,
    weight: Layout,
    gradient: Layout,
    /// Whether somebody else holds the weight, and the gradient, during each update.
    holds: [bool; 2],
    /// The rate of each update; the state goes through a record after every third.
    rates: Vec<f64>,
    shrink: Shrink,
    /// What gradients are multiplied by.
    factor: f64,
    /// The share of the weights in their average, if there is one.
    average: Option<f64>,
    /// The precision of the model's weights, if those in `dtype` are their masters.
    rounded: Option<DType>,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let layout = || {
        prop_oneof![
            2 => Just(Layout::Contiguous), 1 => Just(Layout::Transposed), 1 => Just(Layout::Sliced)
        ]
    };
    (
        prop::collection::vec(0usize..6, 1..=6),
        prop_oneof![Just(DType::F32), Just(DType::F64)],
        (layout(), layout()),
        any::<[bool; 2]>(),
        prop::collection::vec(prop_oneof![Just(0.0), 1e-6..1.0f64], 1..7),
        (prop_oneof![Just(0.0), 1e-6..0.9f64], any::<bool>()),
        (
            prop_oneof![Just(1.0), 1e-6..2.0f64],
            prop::option::of(0.0..1.0f64),
            prop::option::of(prop_oneof![Just(DType::F16), Just(DType::BF16)]),
        ),
        any::<u64>(),
    )
        .prop_map(|(dims, dtype, layouts, holds, rates, shrink, around, seed)| Case {
            dims,
            dtype,
            weight: layouts.0,
            gradient: layouts.1,
            holds,
            rates,
            shrink: Shrink { share: shrink.0, cautious: shrink.1 },
            factor: around.0,
            average: around.1,
            rounded: around.2.filter(|_| dtype == DType::F32),
            seed,
        })
}

/// Numbers of many sizes, zeros among them.
fn numbers(seed: &mut u64, count: usize) -> Vec<f64> {
    let mut next = || {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..count)
        .map(|_| match next() {
            zero if zero < 0.1 => 0.0,
            _ => (next() - 0.5) * 10f64.powf(8.0 * next() - 6.0),
        })
        .collect()
}

fn tensor<const D: usize>(case: &Case, layout: Layout, seed: &mut u64) -> Tensor<D> {
    let dims: [usize; D] = case.dims.clone().try_into().expect("as many as the rank");
    let new = |dims: [usize; D], seed: &mut u64| {
        let data = TensorData::new(numbers(seed, dims.iter().product()), dims);
        Tensor::<D>::from_data(data, (&Device::flex(), case.dtype))
    };
    match layout {
        Layout::Contiguous => new(dims, seed),
        Layout::Transposed => {
            let mut reversed = dims;
            reversed.reverse();
            let axes: [isize; D] = std::array::from_fn(|axis| (D - 1 - axis) as isize);
            new(reversed, seed).permute(axes)
        }
        Layout::Sliced => {
            let larger = new(dims.map(|size| size + 2), seed);
            larger.slice(dims.map(|size| 1..size + 1))
        }
    }
}

/// The names and numbers of a record.
fn recorded(state: &impl RecordState) -> (Vec<(String, Vec<f64>)>, Vec<String>) {
    let mut sink = StateSink::default();
    state.state_flatten("7", &mut sink);
    let tensors = sink.tensors.into_iter();
    let mut tensors: Vec<_> =
        tensors.map(|(name, data)| (name, data.iter::<f64>().collect())).collect();
    tensors.sort_by(|one: &(String, Vec<f64>), other| one.0.cmp(&other.0));
    (tensors, sink.scalars.iter().map(|scalar| format!("{scalar:?}")).collect())
}

/// The other state from a record of this one.
fn through_a_record<S: RecordState, T: RecordState>(state: S) -> Option<T> {
    let mut sink = StateSink::default();
    state.state_flatten("7", &mut sink);
    let mut source = StateSource::new(sink.scalars.into_iter().collect());
    for (name, data) in sink.tensors {
        source.insert_tensor(name, data);
    }
    T::state_unflatten("7", &mut source, &Device::flex())
}

fn same(one: &[f64], other: &[f64]) -> bool {
    let equal = |(one, other): (&f64, &f64)| one == other || one.is_nan() && other.is_nan();
    one.len() == other.len() && one.iter().zip(other).all(equal)
}

fn compare_in<O: Fusable, const D: usize>(optimizer: &O, case: &Case) -> Result<(), TestCaseError> {
    let (fused, burn) = (Fused::new(optimizer.clone()), InOperations(optimizer.clone()));
    prop_assert!(fused.numbers.is_some(), "not recognized");
    let mut seed = case.seed;
    let (mut ours, mut burns) = (None, None);
    let trained = tensor::<D>(case, case.weight, &mut seed);
    let rounded = case.rounded.map(|dtype| trained.clone().cast(dtype));
    let mut weight = Weight { trained, rounded };
    let mut expected = weight.clone();
    let mut average = case.average.map(|_| flat(tensor::<D>(case, case.weight, &mut seed)));
    let mut expected_average = average.clone();
    for (update, &rate) in case.rates.iter().enumerate() {
        let gradient = tensor::<D>(case, case.gradient, &mut seed);
        let manner = |average: Option<Tensor<1>>| Manner {
            shrink: case.shrink,
            factor: Factor::Known(case.factor),
            average: average.zip(case.average),
            ..Manner::at(rate)
        };
        // A model may change its weights between updates.
        if update % 2 == 1 {
            for weight in [&mut weight, &mut expected] {
                weight.rounded = weight.rounded.take().map(|rounded| rounded.clamp_max(0.01));
            }
        }
        let made = burn.update(manner(expected_average), expected, gradient.clone(), burns);
        (expected, expected_average, burns) = (made.weight, made.average, made.state);
        let held = (case.holds[0].then(|| weight.clone()), case.holds[1].then(|| gradient.clone()));
        let made = fused.update(manner(average), weight, gradient, ours);
        (weight, average, ours) = (made.weight, made.average, made.state);
        drop(held);
        let of = |weight: &Weight<D>, average: &Option<Tensor<1>>| {
            let numbers = |data: TensorData| data.iter::<f64>().collect::<Vec<_>>();
            let rounded = weight.rounded.as_ref().map(Tensor::to_data);
            let average = average.as_ref().map(Tensor::to_data);
            let all = [Some(weight.trained.to_data()), rounded, average];
            all.into_iter().flatten().flat_map(numbers).collect::<Vec<_>>()
        };
        let (found, wanted) = (of(&weight, &average), of(&expected, &expected_average));
        prop_assert!(same(&found, &wanted), "update {update}: {found:?}, not {wanted:?}");
        let [found, wanted] = [ours.as_ref().map(recorded), burns.as_ref().map(recorded)];
        let (found, wanted) = (found.unwrap_or_default(), wanted.unwrap_or_default());
        prop_assert_eq!(&found.1, &wanted.1);
        prop_assert_eq!(found.0.len(), wanted.0.len());
        for ((name, found), (other, wanted)) in found.0.iter().zip(&wanted.0) {
            prop_assert_eq!(name, other);
            prop_assert!(same(found, wanted), "{name} {update}: {found:?}, not {wanted:?}");
        }
        // Burn reads moments of f64 as f32, and then panics.
        if update % 3 == 2 && case.dtype == DType::F32 {
            (ours, burns) = (burns.and_then(through_a_record), ours.and_then(through_a_record));
        }
    }
    Ok(())
}

fn compare<O: Fusable>(optimizer: &O, case: &Case) -> Result<(), TestCaseError> {
    match case.dims.len() {
        1 => compare_in::<O, 1>(optimizer, case),
        2 => compare_in::<O, 2>(optimizer, case),
        3 => compare_in::<O, 3>(optimizer, case),
        4 => compare_in::<O, 4>(optimizer, case),
        5 => compare_in::<O, 5>(optimizer, case),
        _ => compare_in::<O, 6>(optimizer, case),
    }
}

fn factor() -> impl Strategy<Value = f32> {
    prop_oneof![Just(0.0f32), Just(0.9), Just(0.999), 0.0..1.0f32]
}

fn small() -> impl Strategy<Value = f32> {
    prop_oneof![Just(1e-8f32), Just(1e-5), 1e-9..1.0f32]
}

fn penalty() -> impl Strategy<Value = Option<f32>> {
    prop::option::of(prop_oneof![Just(0.0f32), 1e-6..0.5f32])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn adam_w_has_burns_numbers(
        case in case(), betas in (factor(), factor()), epsilon in small(), decay in penalty(), flags in any::<[bool; 2]>(),
    ) {
        let config = AdamWConfig::new().with_beta_1(betas.0).with_beta_2(betas.1).with_epsilon(epsilon);
        let config = config.with_weight_decay(decay.unwrap_or(0.0)).with_cautious_weight_decay(flags[0]);
        compare(&config.with_amsgrad(flags[1]).build(), &case)?;
    }

    #[test]
    fn adam_has_burns_numbers(
        case in case(), betas in (factor(), factor()), epsilon in small(), decay in penalty(), amsgrad: bool,
    ) {
        let config = AdamConfig::new().with_beta_1(betas.0).with_beta_2(betas.1).with_epsilon(epsilon);
        let decay = decay.map(WeightDecayConfig::new);
        compare(&config.with_weight_decay(decay).with_amsgrad(amsgrad).build(), &case)?;
    }

    #[test]
    fn sgd_has_burns_numbers(
        case in case(), momentum in prop::option::of((0.0..1.0f64, 0.0..1.0f64, any::<bool>())), decay in penalty(),
    ) {
        let momentum = momentum.map(|(momentum, dampening, nesterov)| MomentumConfig { momentum, dampening, nesterov });
        let decay = decay.map(WeightDecayConfig::new);
        compare(&SgdConfig::new().with_momentum(momentum).with_weight_decay(decay).build(), &case)?;
    }

    #[test]
    fn lion_has_burns_numbers(case in case(), betas in (factor(), factor()), decay in penalty()) {
        let config = LionConfig::new().with_beta_1(betas.0).with_beta_2(betas.1);
        compare(&config.with_weight_decay(decay.unwrap_or(0.0)).build(), &case)?;
    }

    #[test]
    fn rms_prop_has_burns_numbers(
        case in case(), alpha in factor(), momentum in factor(), epsilon in small(), decay in penalty(), centered: bool,
    ) {
        let config = RmsPropConfig::new().with_alpha(alpha).with_momentum(momentum).with_epsilon(epsilon);
        let decay = decay.map(WeightDecayConfig::new);
        compare(&config.with_weight_decay(decay).with_centered(centered).build(), &case)?;
    }

    #[test]
    fn our_own_optimizers_have_the_numbers_of_their_operations(
        case in case(), betas in (0.0..1.0f64, 0.0..1.0f64), flags in any::<[bool; 3]>(),
    ) {
        let adam = ScheduledAdamConfig::new().beta_1(betas.0).beta_2(betas.1);
        let adam = if flags[0] { adam.amsgrad() } else { adam };
        let adam = if flags[1] { adam.exact_bias_correction() } else { adam };
        compare(&adam.build().unwrap(), &case)?;
        let sgd = RateInsideSgd::new(betas.0).unwrap();
        compare(&if flags[2] { sgd.nesterov() } else { sgd }, &case)?;
    }
}

/// Without a schedule; under one, every test of a momentum compares them.
#[test]
fn a_scheduled_momentum_is_recognized() {
    let momentum = |momentum| MomentumConfig { momentum, dampening: 0.2, nesterov: true };
    for config in [
        SgdConfig::new(),
        SgdConfig::new().with_momentum(Some(momentum(0.9))),
        SgdConfig::new().with_weight_decay(Some(WeightDecayConfig::new(0.1))),
    ] {
        assert!(Fused::new(ScheduledMomentum::from(config)).numbers.is_some());
    }
    assert!(Fused::new(ScheduledMomentum::from(LionConfig::new())).numbers.is_some());
    assert!(Fused::new(ScheduledMomentum::from(RmsPropConfig::new())).numbers.is_some());
    let decays = |decay: f64| LionConfig::new().with_weight_decay(decay as f32).build();
    assert!(Fused::new(ScheduledMomentum::new(decays(0.0), decays)).numbers.is_none());
}

/// Long enough for several threads.
#[test]
fn many_numbers_are_those_of_burn_too() {
    for holds in [[false, false], [true, false], [true, true]] {
        let case = Case {
            dims: vec![300_007],
            dtype: DType::F32,
            weight: Layout::Contiguous,
            gradient: Layout::Contiguous,
            holds,
            rates: vec![0.1, 0.01, 0.3, 0.2],
            shrink: Shrink { share: 0.01, cautious: holds[1] },
            factor: 0.3,
            average: Some(0.01),
            rounded: Some(DType::F16),
            seed: 1,
        };
        compare(&AdamWConfig::new().build(), &case).unwrap();
        compare(&AdamWConfig::new().with_amsgrad(true).build(), &case).unwrap();
        compare(&LionConfig::new().build(), &case).unwrap();
    }
}
