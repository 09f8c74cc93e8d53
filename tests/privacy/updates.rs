//! An update: the mean of clipped gradients, and noise.

use super::*;
use anneal_schedule::Span;
use burn::data::dataset::{Dataset, DatasetError};
use burn_anneal::control::{PrivateStep, UpdateLog};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sum of these items, each clipped.
fn clipped_sum(items: &[Item], drawn: &[usize], clip: f64) -> [f64; 3] {
    let mut sum = [0.0; 3];
    for item in drawn.iter().map(|index| items[*index].map(f64::from)) {
        let norm = item.iter().map(|entry| entry * entry).sum::<f64>().sqrt();
        let factor = (clip / norm).min(1.0);
        sum.iter_mut().zip(item).for_each(|(sum, entry)| *sum += factor * entry);
    }
    sum
}

#[test]
fn it_is_the_sum_of_the_clipped_gradients_over_the_expected_batch() {
    let (clip, rate, items) = (0.8, 0.25, items(24));
    let (loader, nothing) = (loader(items.clone(), 6), loader(vec![[0.0; 3]; 24], 6));
    let build = |loader| builder(rate, 10).build_private_loop(privacy(clip, 1.5), loader).unwrap();
    // With the same noise.
    let (mut training, mut noise) = (build(&loader), build(&nothing));
    let mut expected = [0.0; 3];
    let mut sizes = vec![];
    for update in 0..10 {
        train(&mut training, 1);
        train(&mut noise, 1);
        let drawn = loader.drawn(7, update);
        let sum = clipped_sum(&items, &drawn, clip);
        expected.iter_mut().zip(sum).for_each(|(weight, sum)| *weight -= rate * sum / 6.0);
        let found = training.model().used().into_iter().zip(noise.model().used());
        for ((found, noise), expected) in found.zip(expected) {
            let found = f64::from(found) - f64::from(noise);
            assert!((found - expected).abs() < 2e-6, "update {update}: {found}, not {expected}");
        }
        sizes.push(drawn.len());
    }
    assert!(sizes.iter().any(|size| *size < 6) && sizes.iter().any(|size| *size > 6), "{sizes:?}");
    // Some are clipped, and some are not.
    let norms = items.iter().map(|item| item.iter().map(|entry| entry * entry).sum::<f32>().sqrt());
    assert!((6..18).contains(&norms.filter(|norm| *norm > 0.8).count()));
}

/// The effect of one update on weights that the loss does not depend on, at a rate of 1.
fn noise_of(items: usize, expected: usize, privacy: DifferentialPrivacy) -> Vec<f32> {
    let loader = loader(vec![[3.0, 0.0, 4.0]; items], expected);
    let mut training = builder(1.0, 3).build_private_loop(privacy, &loader).unwrap();
    train(&mut training, 1);
    values(&training.model().unused)
}

#[test]
fn noise_is_added_once_whatever_is_drawn() {
    // σC/B = 0.75.
    let noise = noise_of(20, 20, privacy(10.0, 1.5));
    let count = noise.len() as f64;
    let mean = noise.iter().map(|entry| f64::from(*entry)).sum::<f64>() / count;
    let variance = noise.iter().map(|entry| f64::from(*entry).powi(2)).sum::<f64>() / count;
    // Five standard deviations of either.
    assert!(mean.abs() < 5.0 * 0.75 / count.sqrt(), "{mean}");
    assert!((variance / 0.5625 - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{variance}");

    // Any number of items: the noise does not depend on them.
    let close = |one: &[f32], other: &[f32], factor: f32| {
        let far = |(one, other): (&f32, &f32)| (one - factor * other).abs() > 1e-5;
        assert!(!one.iter().zip(other).any(far));
    };
    close(&noise, &noise_of(1_000, 20, privacy(10.0, 1.5)), 1.0);
    close(&noise, &noise_of(1_000, 40, privacy(10.0, 1.5)), 2.0);
    close(&noise, &noise_of(1_000, 20, privacy(5.0, 1.5)), 2.0);
    close(&noise, &noise_of(1_000, 20, privacy(10.0, 0.5)), 3.0);
}

#[test]
fn noise_is_that_of_the_seed_and_the_update() {
    let of = |privacy| noise_of(20, 5, privacy);
    assert_eq!(of(privacy(1.0, 1.0)), of(privacy(1.0, 1.0)));
    assert_ne!(of(privacy(1.0, 1.0)), of(privacy(1.0, 1.0).seed(8)));
    let unseeded = || DifferentialPrivacy::clip(1.0).noise_multiplier(1.0);
    assert_ne!(of(unseeded()), of(unseeded()));

    let loader = loader(items(20), 5);
    let mut training = builder(1.0, 3).build_private_loop(privacy(1.0, 1.0), &loader).unwrap();
    train(&mut training, 1);
    let first = values(&training.model().unused);
    train(&mut training, 1);
    let both = values(&training.model().unused);
    let product = |one: &[f32], other: &[f32]| {
        one.iter().zip(other).map(|(a, b)| f64::from(a * b)).sum::<f64>() / UNUSED as f64
    };
    let second: Vec<f32> = both.iter().zip(&first).map(|(both, first)| both - first).collect();
    // Uncorrelated, to 5 deviations of the mean of 10,000 products of deviation 1/25.
    assert!(product(&first, &second).abs() < 5.0 / 25.0 / 100.0);
}

#[test]
fn an_empty_sample_is_an_update_of_noise() {
    let loader = loader(vec![[3.0, 0.0, 4.0]; 50], 1);
    let empty = (0..50).find(|update| loader.drawn(7, *update).is_empty()).unwrap();
    let mut training = builder(1.0, 50).build_private_loop(privacy(1.0, 1.0), &loader).unwrap();
    let mut before = training.model().used();
    for update in 0..=empty {
        before = training.model().used();
        assert_eq!(training.update(Lines::loss).unwrap().number, update);
    }
    let after = training.model().used();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    assert_eq!(training.accountant().counted(), empty + 1);
}

#[test]
fn an_item_that_is_not_finite_counts_as_0() {
    let after = |bad: Item| {
        let items = [vec![[0.3, 0.1, -0.2]; 5], vec![bad]].concat();
        let loader = loader(items, 6);
        let mut training = builder(1.0, 3).build_private_loop(privacy(1.0, 1.0), &loader).unwrap();
        train(&mut training, 1);
        training.model().used()
    };
    for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
        assert_eq!(after([0.5, bad, 0.5]), after([0.0; 3]));
    }
}

#[test]
fn what_is_frozen_has_no_noise_until_it_trains() {
    let groups = GroupsConfig::new()
        .group(Group::new("first", "^first").frozen())
        .group(Group::new("unused", "^unused").unfreeze_at(Span::steps(2)))
        .group(Group::rest("rest"));
    let loader = loader(items(20), 5);
    let builder = builder(1.0, 5).groups(groups);
    let mut training = builder.build_private_loop(privacy(1.0, 1.0), &loader).unwrap();
    train(&mut training, 2);
    let Lines { first, second, unused } = training.model();
    assert!([first, unused].map(|frozen| values(frozen).iter().all(|w| *w == 0.0)) == [true; 2]);
    assert!(values(second)[0] != 0.0);
    train(&mut training, 1);
    let Lines { first, unused, .. } = training.model();
    assert!(values(first).iter().all(|w| *w == 0.0) && values(unused).iter().all(|w| *w != 0.0));
}

#[test]
fn controllers_and_the_log_hear_of_the_noisy_gradient_alone() {
    let folder = tempfile::tempdir().unwrap();
    let needs = Needs { gradient_norm: true, gradient_l1: true, ..Needs::default() };
    let loader = loader(items(20), 5);
    let mut training = builder(0.5, 3)
        .controller("wants", Needing(needs))
        .log_updates(folder.path())
        .build_private_loop(privacy(1.0, 1.0), &loader)
        .unwrap();
    train(&mut training, 1);
    let Lines { first, second, unused } = training.model();
    let moved = [values(first), values(second), values(unused)].concat();
    let norm = moved.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt() / 0.5;
    let l1 = moved.iter().map(|w| f64::from(w.abs())).sum::<f64>() / 0.5;
    let seen = training.observation();
    assert!((seen.gradient_norm.unwrap() / norm - 1.0).abs() < 1e-4);
    assert!((seen.gradient_l1.unwrap() / l1 - 1.0).abs() < 1e-4);
    assert_eq!((seen.loss, seen.batches, seen.batch_gradient_norm), (None, None, None));
    drop(training);

    let log = UpdateLog::read(folder.path().join(UpdateLog::FILE)).unwrap();
    let line = &log.updates[0];
    assert!((line.gradient_norm.unwrap() / norm - 1.0).abs() < 1e-4);
    assert_eq!((line.loss, line.batches, line.batch_gradient_norm), (None, None, None));
}

#[test]
fn the_best_rate_is_that_of_the_noisy_gradient_in_this_training() {
    let loader = loader(vec![[300.0, 0.0, 400.0]; 100], 50);
    let (clip, noise_multiplier) = (40.0, 0.5);
    let privacy = privacy(clip, noise_multiplier).best_rate(2.0);
    let frozen = GroupsConfig::new()
        .group(Group::new("second", "^second").frozen())
        .group(Group::rest("rest"));
    let mut rates = vec![];
    for (groups, parameters) in [(GroupsConfig::new(), UNUSED + 3), (frozen, UNUSED + 2)] {
        let mut training =
            builder(1.0, 3).groups(groups).build_private_loop(privacy, &loader).unwrap();
        let rate = training.update(Lines::loss).unwrap().rate;
        let step = PrivateStep {
            noise_multiplier,
            clip,
            batch: 50.0,
            parameters: parameters as u64,
            smoothness: 2.0,
        };
        let norm = training.observation().gradient_norm.unwrap();
        let expected = step.best_rate(norm).unwrap();
        assert!((rate / expected - 1.0).abs() < 1e-6, "{rate}, not {expected}");
        rates.push(rate);
    }
    // Below 1/L, and within the limits of the factor.
    assert!(rates.iter().all(|rate| *rate > 0.01 && *rate < 0.5), "{rates:?}");
    let limited = privacy.best_rate(BestRate::new(2.0).limits(0.6, 0.7));
    let mut training = builder(1.0, 3).build_private_loop(limited, &loader).unwrap();
    assert!((training.update(Lines::loss).unwrap().rate - 0.6).abs() < 1e-12);
}

/// Fails until it is switched off.
struct Broken(Arc<AtomicBool>);

impl Dataset<Item> for Broken {
    fn get(&self, index: usize) -> Result<Item, DatasetError> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(DatasetError::new(std::io::Error::other(format!("no item {index}")))),
            false => Ok([0.3, 0.1, -0.2]),
        }
    }

    fn len(&self) -> usize {
        6
    }
}

#[test]
fn a_dataset_that_fails_spends_nothing_and_the_update_can_be_made_again() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = PoissonLoader::new(Broken(is_broken.clone()), Rows, 6);
    let whole = loader(vec![[0.3, 0.1, -0.2]; 6], 6);
    let build = |loader| builder(1.0, 3).build_private_loop(privacy(1.0, 1.0), loader).unwrap();
    let (mut training, mut expected) = (build(&broken), build(&whole));

    let error = training.update(Lines::loss).unwrap_err().to_string();
    assert!(error.contains("no item 0"), "{error}");
    assert_eq!((training.next_update(), training.accountant().counted()), (0, 0));
    is_broken.store(false, Ordering::SeqCst);
    train(&mut training, 2);
    train(&mut expected, 2);
    assert_eq!(training.into_model().used(), expected.into_model().used());
}

#[test]
fn a_loss_without_parameters_adds_nothing() {
    let train = |has_target: fn(usize) -> bool| {
        let loader = loader(items(20), 20);
        let mut training = builder(1.0, 1).build_private_loop(privacy(1.0, 1e-6), &loader).unwrap();
        let mut item = 0;
        let loss = |model: &Lines, batch: Tensor<1>| {
            item += 1;
            if has_target(item) { model.loss(batch) } else { Tensor::ones([1], &device()) }
        };
        training.update(loss).unwrap();
        training.model().used()
    };
    let half = train(|item| item % 2 == 0);
    let expected = items(20).into_iter().skip(1).step_by(2).fold([0.0f32; 3], |sum, item| {
        let norm = item.iter().map(|entry| entry * entry).sum::<f32>().sqrt().max(1.0);
        std::array::from_fn(|at| sum[at] - item[at] / norm / 20.0)
    });
    for (found, expected) in half.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{half:?}, not {expected:?}");
    }
}
