//! The largest eigenvalue of each group's Hessian block, compared with matrices of known eigenvalues.

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use burn::train::TrainOutput;
use burn_anneal::groups::{Curvature, Groups};
use burn_anneal::prelude::*;

fn device() -> Device {
    Device::default().autodiff()
}

/// loss = ½ aᵀ A a + ½ bᵀ B b + aᵀ C b, whose blocks are A and B.
#[derive(Module, Debug)]
struct Quadratic {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
}

/// Q diag(λ) Qᵀ with a Householder reflection Q, so that the eigenvalues are known without solving.
fn matrix(eigenvalues: &[f64], seed: u64) -> Vec<f32> {
    let n = eigenvalues.len();
    let v: Vec<f64> = (0..n).map(|i| ((i as f64 + 1.0) * (seed as f64 + 1.7)).sin()).collect();
    let square: f64 = v.iter().map(|x| x * x).sum();
    let q = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j] / square;
    let entry =
        |i: usize, j: usize| -> f64 { (0..n).map(|k| q(i, k) * eigenvalues[k] * q(j, k)).sum() };
    (0..n * n).map(|index| entry(index / n, index % n) as f32).collect()
}

fn tensor(values: Vec<f32>, n: usize) -> Tensor<2> {
    let columns = values.len() / n;
    Tensor::from_data(TensorData::new(values, [n, columns]), &device())
}

fn groups<M: Module>(model: &M, config: &GroupsConfig) -> Groups {
    let run = RunLength::updates(100);
    config.resolve(model, &constant(10.0).resolve(run).unwrap(), run).unwrap()
}

fn two_groups() -> GroupsConfig {
    GroupsConfig::new().group(Group::new("a", "a")).group(Group::new("b", "b"))
}

fn measured(a: &[f64], b: &[f64], seed: u64) -> (f64, f64) {
    let wave = |n: usize, phase: f32| (0..n).map(|i| (i as f32 + phase).cos()).collect();
    let model = Quadratic {
        a: Param::from_tensor(tensor(wave(a.len(), 0.3), a.len())),
        b: Param::from_tensor(tensor(wave(b.len(), 0.7), b.len())),
    };
    let matrices = (tensor(matrix(a, seed), a.len()), tensor(matrix(b, seed + 5), b.len()));
    let loss = |model: &Quadratic| {
        let half =
            |w: &Tensor<2>, m: &Tensor<2>| (w.clone() * m.clone().matmul(w.clone())).sum() * 0.5;
        let (a, b) = (model.a.val(), model.b.val());
        half(&a, &matrices.0) + half(&b, &matrices.1) + a.sum() * b.sum() * 0.1
    };
    let gradients = |model: &Quadratic| GradientsParams::from_grads(loss(model).backward(), model);
    let found =
        Curvature::new().measure(&model, &groups(&model, &two_groups()), gradients).unwrap();
    (found.of("a").unwrap(), found.of("b").unwrap())
}

#[test]
fn it_is_exact_on_quadratics_to_one_percent() {
    let spread = |n: usize, top: f64, ratio: f64| -> Vec<f64> {
        (0..n).map(|i| top * ratio.powi(i as i32)).collect()
    };
    let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.01;
    for seed in 0..6 {
        for (a, b) in [
            (spread(20, 50.0, 0.7), spread(12, 0.02, 0.5)),
            (spread(30, 1e4, 0.9), spread(30, 3.0, 0.97)),
            (spread(64, 1.0, 0.995), vec![7.0; 9]),
        ] {
            let (found_a, found_b) = measured(&a, &b, seed);
            assert!(
                close(found_a, a[0]) && close(found_b, b[0]),
                "{found_a} {found_b}: {a:?} {b:?}"
            );
        }
    }
}

/// A steep direction among many flat ones has almost no share of a random start.
#[test]
fn one_steep_direction_among_many_is_found() {
    let mut eigenvalues = vec![1.0; 200];
    eigenvalues[137] = 3.0;
    let (found, _) = measured(&eigenvalues, &[1.0, 2.0], 3);
    assert!((found / 3.0 - 1.0).abs() < 0.01, "{found}");
}

#[test]
fn negative_curvature_of_larger_size_is_passed_by() {
    let (mixed, saddle) = measured(&[-80.0, 5.0, 30.0, 1.0], &[-3.0, -1.0, -2.0], 1);
    assert!((mixed / 30.0 - 1.0).abs() < 0.01, "{mixed}");
    assert!(saddle.abs() < 0.03, "{saddle}");
}

/// SGD on ½ λ w² is stable below 2/λ, and a cap keeps a far higher rate below it.
#[test]
fn a_cap_keeps_sgd_stable() {
    let eigenvalues = [40.0, 3.0, 1.0];
    let start = || Param::from_tensor(tensor(vec![1.0, 1.0, 1.0], 3));
    let hessian = tensor(matrix(&eigenvalues, 2), 3);
    let gradients = |w: &Param<Tensor<2>>| {
        let loss = (w.val() * hessian.clone().matmul(w.val())).sum() * 0.5;
        GradientsParams::from_grads(loss.backward(), w)
    };
    let config = GroupsConfig::new();
    let curvatures =
        Curvature::new().measure(&start(), &groups(&start(), &config), gradients).unwrap();
    let end = |config: &GroupsConfig| {
        let (sgd, run) = (SgdConfig::new().build(), RunLength::updates(100));
        let mut training = LearnerBuilder::new(start(), sgd, constant(10.0))
            .run(run)
            .groups(config.clone())
            .build_loop()
            .unwrap();
        for _ in 0..60 {
            training.pass(|weight| TrainOutput { grads: gradients(weight), item: () });
            training.update().unwrap();
        }
        let square: f32 = training.model().val().square().sum().into_scalar();
        f64::from(square).sqrt()
    };
    let capped = config.clone().caps(curvatures.caps(0.9).unwrap());
    assert!(end(&config).is_nan() || end(&config) > 1e6);
    assert!(end(&capped) < 0.3, "{}", end(&capped));
}

#[derive(Module, Debug)]
struct Normed {
    trunk: Linear,
    norm: BatchNorm,
}

#[test]
fn the_model_is_left_as_it_is() {
    let model = Normed {
        trunk: LinearConfig::new(4, 3).init(&device()),
        norm: BatchNormConfig::new(3).init(&device()),
    };
    let input = Tensor::<2>::random([16, 4], Distribution::Default, &device());
    let gradients = |model: &Normed| {
        let loss = model.norm.forward(model.trunk.forward(input.clone())).powi_scalar(4).sum();
        GradientsParams::from_grads(loss.backward(), model)
    };
    let state = |model: &Normed| -> Vec<f32> {
        let mean = model.norm.running_mean.value_sync();
        Tensor::cat(vec![mean, model.norm.running_var.value_sync()], 0).into_data().iter().collect()
    };
    let before = (state(&model), model.trunk.weight.val().into_data());
    let config = GroupsConfig::new();
    let found =
        Curvature::new().max_iterations(25).measure(&model, &groups(&model, &config), gradients);
    assert!(found.unwrap().of("model").unwrap() > 0.0);
    assert_eq!((state(&model), model.trunk.weight.val().into_data()), before);
}

#[test]
fn what_cannot_be_measured_is_named() {
    let model = Quadratic {
        a: Param::from_tensor(tensor(vec![1.0, 1.0], 2)),
        b: Param::from_tensor(tensor(vec![1.0, 1.0], 2)),
    };
    let groups = groups(&model, &two_groups());
    let only_a = |model: &Quadratic| {
        GradientsParams::from_grads(model.a.val().square().sum().backward(), model)
    };
    let error = Curvature::new().measure(&model, &groups, only_a).unwrap_err().to_string();
    assert!(error.starts_with("curvature of b: a parameter has no gradient"), "{error}");
    let infinite = |model: &Quadratic| {
        let loss = (model.a.val() + model.b.val()).sum() * f32::INFINITY;
        GradientsParams::from_grads(loss.backward(), model)
    };
    let error = Curvature::new().measure(&model, &groups, infinite).unwrap_err().to_string();
    assert!(error.starts_with("curvature of a: a gradient is not finite"), "{error}");
    for setting in [
        Curvature::new().difference(0.0),
        Curvature::new().tolerance(f64::NAN),
        Curvature::new().max_iterations(0),
    ] {
        assert!(setting.measure(&model, &groups, only_a).is_err());
    }
    let fine = |model: &Quadratic| {
        let loss = (model.a.val() + model.b.val()).square().sum();
        GradientsParams::from_grads(loss.backward(), model)
    };
    let found = Curvature::new().measure(&model, &groups, fine).unwrap();
    for safety in [0.0, -1.0, 1.5, f64::NAN] {
        assert!(found.caps(safety).unwrap_err().to_string().starts_with("safety: "));
    }
}
