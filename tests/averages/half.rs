//! In half precision, the master weights are averaged.

use super::*;
use burn::tensor::DType;

fn halved(average: Average) -> LearnerBuilder<TinyModel> {
    let loss_scaling = Some(LossScaling::new().scale(64.0));
    let half = HalfPrecision { loss_scaling, ..HalfPrecision::f16() };
    builder().half_precision(half).average(average)
}

fn precision(model: &TinyModel) -> DType {
    model.head.weight.val().dtype()
}

#[test]
fn the_average_is_that_of_the_masters() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = a_loop(halved(Average::mean_from(0)));
    let mut masters = vec![];
    for _ in 0..UPDATES {
        update(&mut training);
        masters.push(flat(&training.model_in_f32()));
    }
    let in_f32 = training.averaged_in_f32();
    assert_eq!(precision(&in_f32), DType::F32);
    assert_near(&flat(&in_f32), &mean(&masters), "in f32");

    let (valid, averaged) = (training.valid(), training.averaged());
    assert_eq!((precision(&valid), precision(&averaged)), (DType::F16, DType::F16));
    let rounded =
        burn_anneal::precision::to_precision(in_f32.clone(), burn::tensor::FloatDType::F16);
    assert_eq!(flat(&valid), flat(&rounded));

    let saved = training.save(folder.path(), 1).unwrap();
    let loaded = saved.load_averaged(TinyModel::new(&Device::default())).unwrap();
    assert_eq!(flat(&loaded), flat(&in_f32));
    let raw = saved.load_in_f32(TinyModel::new(&Device::default())).unwrap();
    assert_eq!(flat(&raw), masters[29]);
    // It also loads into a model in half precision.
    let loaded = saved.load_averaged(training.model().clone()).unwrap();
    assert_eq!((precision(&loaded), flat(&loaded)), (DType::F32, flat(&in_f32)));
}

/// A mean of many small steps that f16 cannot resolve.
#[test]
fn steps_below_the_precision_of_f16_are_averaged() {
    let mut training = LearnerBuilder::new(model(), SgdConfig::new().build(), constant(1e-5))
        .run(run())
        .half_precision(HalfPrecision::bf16())
        .average(Average::ema(0.9))
        .build_loop()
        .unwrap();
    (0..UPDATES).for_each(|_| update(&mut training));
    let (start, average) = (flat(&model()), flat(&training.averaged_in_f32()));
    let masters = flat(&training.model_in_f32());
    assert!(start != average && average != masters);
    let far = |a: &[f32]| a.iter().zip(&start).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far(&average) < far(&masters) && far(&masters) < 1e-2);
}

#[test]
fn a_launch_in_f16_goes_on_with_the_masters() {
    let average = || Average::latest(3, 4);
    let mut training = a_loop(halved(average()));
    (0..UPDATES).for_each(|_| update(&mut training));
    let expected = flat(&training.averaged_in_f32());

    let folder = tempfile::tempdir().unwrap();
    let checkpoints = || Checkpoints::new(folder.path());
    let builder = halved(average()).checkpoints(checkpoints());
    builder.launch(super::training(folder.path(), 3)).unwrap().finished().unwrap();
    let saved = Checkpoint::open(folder.path(), 2).unwrap();
    let mut resumed = a_loop(halved(average()).resume_from(&saved));
    (0..10).for_each(|_| update(&mut resumed));
    assert_eq!(flat(&resumed.averaged_in_f32()), expected);
}
