//! Gradients and cosines outside of a run.

use super::*;
use burn::optim::GradientsParams;
use burn::tensor::DType;
use burn_anneal::precision::to_precision;
use burn_anneal::{NoCosine, TaskCosine, TaskError};

/// The cosines of two tasks with these gradients at the trunk, and others at their heads.
fn of_two(a: &[f32], b: &[f32]) -> TaskCosine {
    let model = Linear::new();
    let mut tasks = TaskGradients::of(&model);
    tasks.task("a", |model| model.at(true, a, &[9.0, 9.0, 9.0]));
    tasks.task("b", |model| model.at(false, b, &[-7.0, 1.0, 0.0]));
    let mut cosines = tasks.cosines();
    assert_eq!(cosines.len(), 1);
    cosines.remove(0)
}

fn assert_cosine(found: &TaskCosine, expected: f64) {
    let cosine = found.cosine.clone().unwrap_or_else(|reason| panic!("{found}: {reason}"));
    assert!((cosine - expected).abs() < 1e-6, "{found}, not {expected}");
}

#[test]
fn a_cosine_is_that_of_the_shared_parameters() {
    let pairs: [([f32; 3], [f32; 3], f64); 5] = [
        ([3.0, 4.0, 0.0], [-4.0, 3.0, 12.0], 0.0),
        ([3.0, 4.0, 0.0], [4.0, 3.0, 0.0], 24.0 / 25.0),
        ([1.0, 2.0, 2.0], [-2.0, -4.0, -4.0], -1.0),
        ([1.0, 2.0, 2.0], [0.0, 0.0, 5.0], 2.0 / 3.0),
        ([0.0, 0.3, 0.0], [0.1, -0.1, 0.1], -1.0 / 3.0_f64.sqrt()),
    ];
    for (a, b, expected) in pairs {
        assert_cosine(&of_two(&a, &b), expected);
    }
    let found = of_two(&[3.0, 4.0, 0.0], &[4.0, 3.0, 0.0]);
    assert_eq!(found.to_string(), "`a` and `b`: 0.960");
}

#[test]
fn each_pair_has_its_cosine_in_order() {
    let model = Linear::new();
    let gradients = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, -1.0, 0.0]];
    let mut tasks = TaskGradients::of(&model);
    for (name, gradient) in ["a", "b", "c"].into_iter().zip(&gradients) {
        tasks.task(name, |model| model.at_trunk(gradient));
    }
    let cosines = tasks.cosines();
    let names: Vec<_> = cosines.iter().map(|of| (of.first.as_str(), of.second.as_str())).collect();
    assert_eq!(names, [("a", "b"), ("a", "c"), ("b", "c")]);
    for (found, expected) in cosines.iter().zip([0.0, -0.5_f64.sqrt(), -0.5_f64.sqrt()]) {
        assert_cosine(found, expected);
    }
}

/// Squares and products of all of these overflow in f32, or vanish.
#[test]
fn tasks_of_very_different_scale_have_the_right_cosine() {
    let (a, b) = ([3.0, 4.0, 1e-3], [4.0, -3.5, 2.0]);
    for (of_a, of_b) in [(1e-25, 1e20), (1e-30, 1e-30), (1e37, 1e37), (1e-37, 1e37), (1e20, 1e-3)] {
        let times = |vector: [f32; 3], scale: f32| vector.map(|entry| entry * scale);
        let (a, b) = (times(a, of_a), times(b, of_b));
        assert_cosine(&of_two(&a, &b), cosine(&a, &b));
    }
}

/// The text of its `Display`.
fn assert_none(found: &TaskCosine, reason: NoCosine, words: &str) {
    assert_eq!(found.cosine, Err(reason), "{found}");
    assert!(found.to_string().ends_with(words), "{found}");
}

#[test]
fn where_there_is_no_cosine_it_says_why() {
    let model = Linear::new();
    let none = |first: &dyn Fn(&Linear) -> Tensor<1>, second: &dyn Fn(&Linear) -> Tensor<1>| {
        let mut tasks = TaskGradients::of(&model);
        tasks.task("a", first);
        tasks.task("b", second);
        tasks.cosines().remove(0)
    };
    let whole = |model: &Linear| model.at(true, &[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0]);
    let of_its_head = |model: &Linear| model.other.val().sum();
    let apart = none(&|model| model.one.val().sum(), &of_its_head);
    assert_none(&apart, NoCosine::NothingShared, "none: they share no parameter");

    let task = || "b".to_string();
    let absent = none(&whole, &|_| vector(&[0.5]));
    assert_none(
        &absent,
        NoCosine::NoGradient { task: task() },
        "`b` has no gradient in this batch",
    );
    let zero = none(&whole, &|model| model.at(false, &[0.0; 3], &[1.0; 3]));
    assert_none(
        &zero,
        NoCosine::Zero { task: task() },
        "the gradient of `b` is 0, or its weight is",
    );
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for gradient in [[broken, 1.0, 1.0], [0.0, 0.0, broken], [broken; 3]] {
            let broken = none(&whole, &|model| model.at_trunk(&gradient));
            assert_none(&broken, NoCosine::NotFinite { task: task() }, "`b` is not finite");
        }
    }
    let mut tasks = TaskGradients::of(&model);
    tasks.task("a", whole);
    tasks.weighted_task("b", 0.0, whole);
    assert_eq!(tasks.cosines()[0].cosine, Err(NoCosine::Zero { task: task() }));
}

fn at(gradients: &GradientsParams, param: &Param<Tensor<1>>) -> Option<Vec<f32>> {
    gradients.get::<1>(param.id).map(values)
}

#[test]
fn the_combined_gradient_is_the_weighted_sum() {
    let model = Linear::new();
    let mut tasks = TaskGradients::of(&model);
    let given = tasks.task("one", |model| model.at(true, &[1.0, 2.0, 3.0], &[1.0, 0.0, 0.0]));
    tasks
        .weighted_task("other", 0.25, |model| model.at(false, &[8.0, -8.0, 4.0], &[4.0, 0.0, 8.0]));
    // The weights are 1, so a loss is the sum of their factors.
    assert_eq!((values(given), values(tasks.loss())), (vec![7.0], vec![7.0 + 0.25 * 16.0]));
    let other = tasks.gradients("other").unwrap();
    assert_eq!(at(&other, &model.trunk), Some(vec![8.0, -8.0, 4.0]));
    assert_eq!((at(&other, &model.one), tasks.gradients("neither").is_none()), (None, true));

    let grads = tasks.output("nothing else").grads;
    assert_eq!(at(&grads, &model.trunk), Some(vec![3.0, 0.0, 4.0]));
    assert_eq!(at(&grads, &model.one), Some(vec![1.0, 0.0, 0.0]));
    assert_eq!(at(&grads, &model.other), Some(vec![1.0, 0.0, 2.0]));
}

/// For example, a batch has no items for a task: the sum is that of the other tasks.
#[test]
fn a_task_without_a_gradient_adds_none() {
    let model = Linear::new();
    let mut tasks = TaskGradients::of(&model);
    tasks.task("one", |model| model.at_trunk(&[1.0, 2.0, 3.0]));
    tasks.task("absent", |_| vector(&[0.5]));
    assert_eq!(values(tasks.loss()), [6.5]);
    let grads = tasks.output(()).grads;
    assert_eq!(at(&grads, &model.trunk), Some(vec![1.0, 2.0, 3.0]));
    assert_eq!((at(&grads, &model.one), at(&grads, &model.other)), (None, None));
}

#[test]
fn tasks_that_are_none_are_refused_and_give_no_gradient() {
    let model = Linear::new();
    type Ask = fn(&mut TaskGradients<'_, Linear>);
    let loss = |model: &Linear| model.at_trunk(&[1.0; 3]);
    let weight = |weight: f64| TaskError::Weight { name: "a".into(), weight };
    let wrong: [(Ask, TaskError); 5] = [
        (|_| (), TaskError::None),
        (
            |tasks| {
                for _ in 0..2 {
                    tasks.task("a", |model| model.at_trunk(&[1.0; 3]));
                }
            },
            TaskError::SameName { name: "a".into() },
        ),
        (|tasks| drop(tasks.weighted_task("a", -1.0, |m| m.at_trunk(&[1.0; 3]))), weight(-1.0)),
        (
            |tasks| drop(tasks.weighted_task("a", f64::INFINITY, |m| m.at_trunk(&[1.0; 3]))),
            weight(f64::INFINITY),
        ),
        (
            |tasks| {
                tasks.weighted_task("a", -0.5, |model| model.at_trunk(&[1.0; 3]));
                tasks.task("b", |model| model.at_trunk(&[1.0; 3]));
            },
            weight(-0.5),
        ),
    ];
    for (ask, error) in wrong {
        let mut tasks = TaskGradients::of(&model);
        ask(&mut tasks);
        assert_eq!(tasks.check(), Err(error));
        assert!(tasks.output(()).grads.is_empty());
    }
    let mut tasks = TaskGradients::of(&model);
    tasks.weighted_task("a", f64::NAN, loss);
    assert!(matches!(tasks.check(), Err(TaskError::Weight { .. })));
    assert_eq!(values(tasks.loss()), [0.0]);
}

/// An optimizer for f16 weights gets gradients in f16, summed in f32: 60,000 + 60,000 − 100,000.
#[test]
fn half_precision_is_summed_in_f32() {
    let model = to_precision(Linear::new(), FloatDType::F16);
    let mut tasks = TaskGradients::of(&model);
    for name in ["a", "b"] {
        tasks.task(name, |model| model.at_trunk(&[60_000.0, 1.0, -3.0]));
    }
    tasks.weighted_task("c", 2.0, |model| model.at_trunk(&[-50_000.0, 1.0, -2.0]));
    let expected = cosine(&[60_000.0, 1.0, -3.0], &[-50_000.0, 1.0, -2.0]);
    assert_cosine(&tasks.cosines()[1], expected);
    let grads = tasks.output(()).grads;
    let trunk = grads.get::<1>(model.trunk.id).unwrap();
    assert_eq!(trunk.dtype(), DType::F16);
    assert_eq!(values(trunk)[1..], [4.0, -10.0]);
    assert!((at(&grads, &model.trunk).unwrap()[0] - 20_000.0).abs() <= 40.0);
}

#[test]
fn a_task_of_weight_0_is_looked_at_and_not_trained() {
    let model = Linear::new();
    let mut tasks = TaskGradients::of(&model);
    tasks.task("a", |model| model.at_trunk(&[1.0, 2.0, 3.0]));
    tasks.weighted_task("b", 0.0, |model| model.at_trunk(&[f32::NAN, f32::INFINITY, 0.0]));
    assert!(tasks.gradients("b").is_some());
    assert_eq!(values(tasks.loss()), [6.0]);
    let combined = tasks.combined().get::<1>(model.trunk.id).unwrap();
    assert_eq!(values(combined), [1.0, 2.0, 3.0]);
}
