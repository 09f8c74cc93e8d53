//! A private run that resumes.

use super::*;
use burn::optim::AdamWConfig;
use std::path::Path;

fn adam() -> LearnerBuilder<Lines> {
    let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();
    LearnerBuilder::new(Lines::new(), optimizer, cosine(0.1))
        .run(RunLength::updates(12))
        .average(Average::ema(0.9))
}

/// Trains half of the run, saves it, and resumes with another noise, expected batch and seed.
fn go_on(
    folder: &Path,
    privacy: DifferentialPrivacy,
    expected_batch: usize,
) -> PrivateLoop<Lines, Tensor<1>> {
    let saved = Checkpoint::newest(folder).unwrap().unwrap();
    let loader = loader(items(40), expected_batch);
    adam().resume_from(&saved).build_private_loop(privacy, &loader).unwrap()
}

#[test]
fn with_a_seed_it_is_the_same_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    // The rate uses the noisy norm over several updates.
    let privacy = privacy(1.0, 1.0)
        .budget(50.0, 1e-3)
        .best_rate(BestRate::new(0.5).half_life(3).limits(0.1, 2.0));
    let build = || adam().build_private_loop(privacy, &loader(items(40), 8)).unwrap();
    let (mut whole, mut first) = (build(), build());
    train(&mut whole, 12);
    train(&mut first, 5);
    first.save(folder.path(), 1).unwrap();
    drop(first);

    let mut second = go_on(folder.path(), privacy, 8);
    assert_eq!((second.next_update(), second.accountant().counted()), (5, 5));
    train(&mut second, 7);
    assert_eq!(second.epsilon(1e-3), whole.epsilon(1e-3));
    assert_eq!(second.valid().used(), whole.valid().used());
    let [second, whole] = [second.into_model(), whole.into_model()];
    assert_eq!(second.used(), whole.used());
    assert_eq!(values(&second.unused), values(&whole.unused));
}

#[test]
fn what_was_spent_at_other_noise_stays_spent() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = adam().build_private_loop(privacy(1.0, 1.5), &loader(items(40), 8)).unwrap();
    train(&mut first, 5);
    let mut expected = first.accountant();
    first.save(folder.path(), 1).unwrap();
    drop(first);

    // Also with a budget that the first part did not have.
    let mut second = go_on(folder.path(), privacy(1.0, 1.2).budget(90.0, 1e-3), 4);
    train(&mut second, 3);
    expected.change(1.2, 0.1).unwrap();
    expected.steps(3);
    assert_eq!(second.accountant().counted(), 8);
    let (found, expected) = (second.epsilon(1e-3).unwrap(), expected.epsilon(1e-3).unwrap());
    assert!((found / expected - 1.0).abs() < 1e-12, "{found}, not {expected}");
}

#[test]
fn without_a_seed_it_goes_on_with_other_noise() {
    let folder = tempfile::tempdir().unwrap();
    let privacy = DifferentialPrivacy::clip(1.0).noise_multiplier(1.0);
    let mut first = adam().build_private_loop(privacy, &loader(items(40), 8)).unwrap();
    train(&mut first, 5);
    first.save(folder.path(), 1).unwrap();
    drop(first);

    let after = || {
        let mut second = go_on(folder.path(), privacy, 8);
        train(&mut second, 1);
        values(&second.model().unused)
    };
    assert_ne!(after(), after());
}
