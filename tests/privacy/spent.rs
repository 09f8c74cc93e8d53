//! The privacy spent by a training, and where it stops.

use super::*;
use burn_anneal::control::PrivacyAccountant;

#[test]
fn epsilon_is_that_of_the_accountant() {
    let loader = loader(items(40), 2);
    let mut training = builder(0.1, 30).build_private_loop(privacy(1.0, 0.9), &loader).unwrap();
    assert_eq!((training.epsilon(1e-4), training.updates_left()), (Ok(0.0), None));
    let mut expected = PrivacyAccountant::new(0.9, 0.05).unwrap();
    for updates in 1..=12 {
        train(&mut training, 1);
        expected.step();
        assert_eq!(training.epsilon(1e-4), expected.epsilon(1e-4));
        assert_eq!(training.accountant().counted(), updates);
    }
    assert_eq!(training.epsilon(0.0).unwrap_err().field, "delta");
}

#[test]
fn a_budget_alone_finds_the_noise_for_the_run() {
    let loader = loader(items(40), 4);
    let privacy = DifferentialPrivacy::clip(1.0).budget(3.0, 1e-4);
    let mut training = builder(0.1, 25).build_private_loop(privacy, &loader).unwrap();
    let noise = PrivacyAccountant::noise_multiplier_for(3.0, 1e-4, 0.1, 25).unwrap();
    assert_eq!((training.noise_multiplier(), training.updates_left()), (noise, Some(25)));
    train(&mut training, 25);
    let epsilon = training.epsilon(1e-4).unwrap();
    assert!(epsilon <= 3.0 && epsilon > 2.999, "{epsilon}");
    assert_eq!(training.updates_left(), Some(0));
    assert!(training.explain().to_string().contains("privacy"));
}

#[test]
fn it_stops_before_it_spends_more() {
    let loader = loader(items(40), 4);
    let privacy = privacy(1.0, 1.0).budget(3.0, 1e-4);
    let mut training = builder(0.1, 500).build_private_loop(privacy, &loader).unwrap();
    let left = training.updates_left().unwrap();
    assert_eq!(left, PrivacyAccountant::new(1.0, 0.1).unwrap().steps_within(3.0, 1e-4).unwrap());
    assert!(left > 1 && left < 500, "{left}");
    let warned = format!("the run has 500 updates, but stops after {left}");
    assert!(training.explain().to_string().contains(&warned));
    train(&mut training, left as usize);

    let (before, seen) = (training.model().used(), training.observation());
    for _ in 0..2 {
        let nobody = |_: &Lines, _| -> Tensor<1> { panic!("an item is looked at") };
        let error = training.update(nobody).unwrap_err();
        let is_spent =
            matches!(*error, UpdateError::BudgetSpent { updates, .. } if updates == left);
        assert!(is_spent && error.to_string().contains("the privacy budget is spent"), "{error}");
    }
    assert_eq!((training.model().used(), training.observation()), (before, seen));
    assert!(training.epsilon(1e-4).unwrap() <= 3.0);
}

#[test]
fn an_update_that_is_skipped_counts() {
    /// Skips all updates.
    #[derive(Clone, Debug)]
    struct Skips;

    impl Controller for Skips {
        type State = ();

        fn hear(&mut self, _: &Event<'_>) -> Result<Answer, Stop> {
            Ok(Answer::skip("for the test"))
        }

        fn state(&self) {}

        fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
            Ok(())
        }
    }
    let loader = loader(items(20), 5);
    let builder = builder(0.1, 10).controller("skips", Skips);
    let mut training = builder.build_private_loop(privacy(1.0, 1.0), &loader).unwrap();
    train(&mut training, 3);
    assert_eq!((training.accountant().counted(), training.model().used()), (3, vec![0.0; 3]));
}

#[test]
fn a_seed_is_warned_of() {
    let warned = |privacy: DifferentialPrivacy| {
        let training = builder(0.1, 10).build_private_loop(privacy, &loader(items(20), 5)).unwrap();
        training.explain().to_string().contains("come from the seed")
    };
    assert!(warned(privacy(1.0, 1.0)));
    assert!(!warned(DifferentialPrivacy::clip(1.0).noise_multiplier(1.0)));
}
