//! Averages do not change training.

use super::*;
use burn::optim::{AdamWConfig, MuonConfig};

type Recipe = fn() -> LearnerBuilder<TinyModel>;

fn adamw() -> LearnerBuilder<TinyModel> {
    LearnerBuilder::new(model(), AdamWConfig::new().with_weight_decay(0.01).build(), cosine(0.02))
}

/// A scale so high that some of the first updates are skipped, and some later ones.
fn overflows(builder: LearnerBuilder<TinyModel>) -> LearnerBuilder<TinyModel> {
    let loss_scaling = Some(LossScaling::new().scale(4e6).growth_interval(4));
    builder.half_precision(HalfPrecision { loss_scaling, ..HalfPrecision::f16() })
}

const RECIPES: [(&str, Recipe); 7] = [
    ("SGD", builder),
    ("AdamW", adamw),
    ("f16", || overflows(builder())),
    ("AdamW in f16", || overflows(adamw())),
    ("clipping", || builder().clip_global_norm(0.3)),
    ("tries", || {
        builder()
            .loss_scaling(LossScaling::new().scale(64.0))
            .overflow_cap(OverflowCap::measured_every(2))
    }),
    ("Muon", || adamw().optimizer_for("hidden.weight", MuonConfig::new().build())),
];

fn pass_and_update(training: &mut TrainingLoop<TinyModel>) {
    let batch = batch(training.next_update());
    let again = batch.clone();
    training.pass(|model| TrainStep::step(model, batch));
    training.update_with(|model| TrainStep::step(model, again)).unwrap();
}

#[test]
fn raw_weights_are_those_of_a_run_without_averages() {
    let thaws = || adamw().groups(layer_decay(0.5).unfreeze_every(Span::percent(40)));
    let thaws: (&str, Recipe) = ("groups that thaw", thaws);
    for (name, recipe) in RECIPES.into_iter().chain([thaws]) {
        let (mut without, mut plain) = (a_loop(recipe()), vec![]);
        for average in [Average::ema(0.9).warmup(), Average::latest(3, 2)] {
            let mut with = a_loop(recipe().average(average));
            for number in 0..UPDATES as usize {
                if plain.len() == number {
                    pass_and_update(&mut without);
                    plain.push((flat(without.model()), flat(&without.model_in_f32())));
                }
                pass_and_update(&mut with);
                let found = (flat(with.model()), flat(&with.model_in_f32()));
                assert_eq!(found, plain[number], "{name}, update {number}");
                // Evaluation changes nothing.
                with.valid();
                with.averaged_in_f32();
            }
            assert_ne!(flat(&with.valid()), plain[29].0, "{name}");
        }
    }
}

#[test]
fn a_skipped_update_is_not_taken() {
    for (every, takes_skipped) in [(1, false), (2, true)] {
        let mut training = a_loop(overflows(builder()).average(Average::mean_from(0).every(every)));
        let (mut taken, mut skipped) = (vec![], 0);
        for number in 0..UPDATES {
            pass_and_update(&mut training);
            let is_skipped = training.last_update().unwrap().skipped.is_some();
            skipped += u64::from(is_skipped);
            if (number + 1) % every == 0 && (takes_skipped || !is_skipped) {
                taken.push(flat(&training.model_in_f32()));
            }
            let expected = match taken.is_empty() {
                true => mean(&[flat(&training.model_in_f32())]),
                false => mean(&taken),
            };
            assert_near(&flat(&training.averaged_in_f32()), &expected, "mean");
        }
        assert!((3..UPDATES - 3).contains(&skipped), "{skipped}");
    }
}

/// The weights of a frozen group stay unchanged; it is averaged from the first update on.
#[test]
fn a_group_that_thaws_is_averaged_while_it_is_frozen() {
    let groups = GroupsConfig::new()
        .group(Group::new("first", "hidden").unfreeze_at(Span::steps(15)))
        .group(Group::rest("rest"));
    let mut training = a_loop(builder().groups(groups).average(Average::mean_from(0)));
    let mut path = vec![];
    for number in 0..UPDATES {
        update(&mut training);
        path.push(flat(training.model()));
        assert_near(&flat(&training.valid()), &mean(&path), &format!("update {number}"));
    }
    assert_eq!(path[14][..25], flat(&model())[..25]);
    assert_ne!(path[29][..25], path[14][..25]);
}
