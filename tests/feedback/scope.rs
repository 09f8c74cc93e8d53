//! Controllers of one group, in a part of the run, or with a floor; and announcements of a loop.

use super::*;
use anneal_tests::flat;
use burn::train::{Interrupter, Learner};
use burn_anneal::Annealed;
use burn_anneal::control::{AnnounceError, Describe};

/// The weights match those of groups with the controlled rates.
#[test]
fn a_factor_of_one_group_is_one_of_its_rate() {
    let head = Says(Answer::factor(0.5)).on_group("high");
    let both = Says(Answer::factor(0.5));
    let mut told =
        tiny(0.5).controller("head", head).controller("both", both).build_loop().unwrap();
    let groups = GroupsConfig::new()
        .group(Group::new("low", "^hidden").multiple(0.25))
        .group(Group::rest("high").multiple(0.5));
    let model = TinyModel::seeded(5, &device());
    let by_hand = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.25));
    let mut by_hand = by_hand.run(RunLength::updates(100)).groups(groups).build_loop().unwrap();
    for _ in 0..4 {
        update(&mut told);
        update(&mut by_hand);
    }
    assert_eq!(rates(&told), [0.0625, 0.125]);
    assert_eq!(flat(told.model()), flat(by_hand.model()));
    assert_eq!(told.last_update().unwrap().rate, 0.25, "that of the schedule, by what is for all");
}

/// A group whose biases do not decay, and whose layers differ, is several groups under one name.
#[test]
fn a_controller_acts_on_all_parts_of_its_group() {
    let rates_of = |group: &str| {
        let groups = layer_decay(0.5)
            .group(Group::new("all", ""))
            .weight_decay(0.1)
            .no_weight_decay(Selection::biases());
        let by_rate = |seen: &Seen<'_>| Answer::factor(seen.rate);
        let rule = By(Needs::default(), by_rate).on_group(group);
        let mut training = tiny(0.5).groups(groups).controller("rule", rule).build_loop().unwrap();
        update(&mut training);
        rates(&training)
    };
    // `all hidden`, `all hidden, no decay`, `all head`, `all head, no decay`; it hears the highest rate.
    assert_eq!(rates_of("all"), [0.125, 0.125, 0.25, 0.25]);
    assert_eq!(rates_of("all hidden"), [0.0625, 0.0625, 0.5, 0.5]);
    assert_eq!(rates_of("all hidden, no decay"), [0.25, 0.0625, 0.5, 0.5]);
}

/// A controller of a group gets the rate of the group.
#[test]
fn a_controller_sees_the_rate_of_its_group() {
    let at_rate = |seen: &Seen<'_>| Answer::factor(seen.rate);
    let head = By(Needs::default(), at_rate).on_group("low");
    let mut training = tiny(0.5).controller("low", head).build_loop().unwrap();
    update(&mut training);
    assert_eq!(rates(&training), [0.125 * 0.125, 0.5]);
    // `explain` shows the last update, and the schedule's rate for the next.
    let explained = training.explain().groups;
    assert_eq!(explained[0].last_rate, Some(0.125 * 0.125));
    assert_eq!(explained[0].rate, 0.125);
    assert!(training.explain().to_string().contains("last rate"));
}

/// An epoch that is saved before it ends counts only once.
#[test]
fn an_epoch_is_counted_once_in_either_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = tiny(1.0).log_updates(folder.path()).build_loop().unwrap();
    for epoch in 1..=2 {
        update(&mut training);
        training.save(folder.path(), epoch).unwrap();
        training.end_epoch([]).unwrap();
    }
    update(&mut training);
    drop(training);
    let log = burn_anneal::control::UpdateLog::read(folder.path()).unwrap();
    assert_eq!(log.updates.iter().map(|line| line.epoch).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_floor_comes_after_factors_and_before_caps() {
    let little = || Says(Answer::factor(0.001));
    let mut training =
        tiny(0.5).controller("little", little()).rate_floor(0.2).build_loop().unwrap();
    update(&mut training);
    assert_eq!(rates(&training), [0.125, 0.2], "the schedule has 0.125 for one of them");
    let capped = Says(Answer { cap: Some(0.01), ..Answer::default() });
    let builder = tiny(0.5).controller("little", little()).controller("capped", capped);
    let mut training = builder.rate_floor(0.2).build_loop().unwrap();
    update(&mut training);
    assert_eq!(rates(&training), [0.01, 0.01]);
    let error = |builder: LearnerBuilder<TinyModel>| {
        builder.build_loop().err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(error(tiny(0.5).rate_floor(0.1)).contains("rate_floor: has no effect without"));
    let builder = tiny(0.5).controller("little", little()).rate_floor(f64::NAN);
    assert!(error(builder).contains("rate_floor: rate: NaN"));
}

/// Half the rate at the third and fourth update.
#[test]
fn a_controller_hears_in_its_part_of_the_run() {
    let half = || Says(Answer::factor(0.5)).after(Span::steps(2));
    let parts = [
        (half().until(4).released(), [1.0, 1.0, 0.5, 0.5, 1.0]),
        (half().until(4), [1.0, 1.0, 0.5, 0.5, 0.5]),
    ];
    for (half, expected) in parts {
        let mut training = tiny(1.0).controller("half", half).build_loop().unwrap();
        let rates = [(); 5].map(|()| {
            update(&mut training);
            training.last_update().unwrap().rate
        });
        assert_eq!(rates, expected);
    }
}

/// Answers with the last number announced under a name.
#[derive(Clone, Debug, Default)]
struct Announced(Option<f64>);

impl Controller for Announced {
    type State = Option<f64>;

    fn announcements(&self) -> Vec<String> {
        vec!["half".into(), "factor".into()]
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<Answer, Stop> {
        if let Event::Announced(said) = event {
            self.0 = Some(said.value.unwrap_or(0.5));
            if self.0.is_some_and(|factor| factor > 8.0) {
                return Err(Stop::new("too much"));
            }
        }
        Ok(Answer { factor: self.0, ..Answer::default() })
    }

    fn state(&self) -> Option<f64> {
        self.0
    }

    fn restore(&mut self, state: Option<f64>) -> Result<(), OutOfRange> {
        self.0 = state;
        Ok(())
    }
}

#[test]
fn what_a_loop_announces_is_heard_before_its_next_update() {
    let mut training =
        tiny(1.0).controller("announced", Announced::default()).build_loop().unwrap();
    let rate = |training: &mut TrainingLoop<TinyModel>| {
        update(training);
        training.last_update().unwrap().rate
    };
    assert_eq!(rate(&mut training), 1.0);
    training.announce("half").unwrap();
    assert_eq!(rate(&mut training), 0.5);
    training.announce_value("factor", 0.25).unwrap();
    assert_eq!(rate(&mut training), 0.25);
    let error = training.announce("hlaf").unwrap_err();
    assert!(matches!(error, AnnounceError::Unheard(_)));
    assert!(error.to_string().contains("they handle `factor`, `half`"), "{error}");
    assert!(training.announce_value("factor", 9.0).is_err());
    let failure = training.failure().unwrap().to_string();
    assert!(failure.contains("announced: too much"), "{failure}");
}

/// Whichever clone of the model the user has.
#[test]
fn a_learner_hears_what_is_announced_to_its_model() {
    let builder = tiny(1.0).controller("announced", Announced::default());
    let mut learner: Learner<Annealed<TinyModel>> = builder.build(Interrupter::new()).unwrap();
    let first = learner.model();
    for factor in [1.0, 0.5, 0.125] {
        first.announce_value("factor", factor).unwrap();
        let output = learner.train_step(batch(0));
        learner.lr_step();
        learner.optimizer_step(output.grads);
        let rate = learner.model().rate_metrics()[1].last();
        assert_eq!(rate, Some(factor));
    }
}

#[test]
fn a_controller_of_a_group_that_is_not_there_is_refused() {
    let head = Says(Answer::factor(0.5)).on_group("head");
    let error = tiny(1.0).controller("head", head).build_loop().err().unwrap().to_string();
    assert!(error.contains("the group `head`") && error.contains("`low`, `high`"), "{error}");
    let late = Says(Answer::factor(0.5)).after(Span::epochs(1));
    let error = tiny(1.0).controller("late", late).build_loop().err().unwrap().to_string();
    assert!(error.starts_with("controller: `late`: after: `1ep` is not allowed"), "{error}");
}
