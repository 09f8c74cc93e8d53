//! Early stopping in a search.

use super::{halved, space, train};
use anneal_plan::{Halving, Next, Search, Status, Strategy, TrialRecord};

/// By brute force: at each rung, the sorted values of all earlier trials, and the trial among the best third.
fn goes_on(before: &[TrialRecord], rung: usize, value: f64) -> bool {
    let others = before.iter().filter_map(|trial| *trial.rungs.get(rung)?);
    let mut all: Vec<f64> = others.chain([value]).collect();
    all.sort_by(f64::total_cmp);
    value <= all[(all.len() / 3).max(1) - 1]
}

#[test]
fn trials_are_stopped_by_the_rule_and_cost_what_they_took() {
    let study = halved(Strategy::Random).trials(60).run(train).unwrap();
    let trials = study.trials();
    let mut spent = 0;
    let mut stopped = 0;
    for trial in &trials {
        let goes = |rung: usize| {
            let value = trial.rungs[rung].unwrap();
            goes_on(&trials[..trial.number], rung, value)
        };
        match trial.status {
            Status::Finished(_) => {
                assert!(trial.rungs.len() == 2 && goes(0) && goes(1));
                spent += 9;
            }
            Status::Stopped { at, value } => {
                let last = trial.rungs.len() - 1;
                assert_eq!((at, value), ([1, 3][last], trial.rungs[last]));
                assert!((0..last).all(goes) && !goes(last));
                spent += at;
                stopped += 1;
            }
            // Before the first rung, which counts as its cost.
            Status::Failed(_) => {
                assert!(trial.rungs.is_empty());
                spent += 1;
            }
            Status::Running => panic!("trial {} still runs", trial.number),
        }
    }
    assert!(stopped > 25, "{stopped}");
    assert_eq!(study.spent(), Some(spent));
}

#[test]
fn a_budget_ends_the_search() {
    let study = halved(Strategy::Random).trials(1_000).budget(50).run(train).unwrap();
    let spent = study.spent().unwrap();
    assert!((50..59).contains(&spent), "{spent}");
    let endless = Search::new(space()).strategy(Strategy::Random).halving(Halving::new(1, 9));
    assert!(endless.budget(50).run(train).is_ok());
}

/// A trial that fails before any report costs the first rung, a later failure the last rung it reached; one
/// that stops before doing anything costs 1.
#[test]
fn a_budget_ends_a_search_of_which_nothing_comes() {
    let search = || Search::new(space()).strategy(Strategy::Random).halving(Halving::new(2, 18));
    // At most 200 trials, so that the test ends even if the budget does not end the search.
    let count = |objective: fn(&anneal_plan::Trial) -> Result<f64, String>| {
        let study = search().budget(90).trials(200).run(objective).unwrap();
        (study.trials().len(), study.spent())
    };
    assert_eq!(count(|_| Err("cannot be built".into())), (45, Some(90)));
    assert_eq!(count(|_| panic!("at once")), (45, Some(90)));
    assert_eq!(count(|_| Ok(f64::NAN)), (45, Some(90)));
    // The first continues to the second rung, at 6, and so do equally good ones.
    let late = count(|trial| {
        trial.report(6, 1.0).map_err(|error| error.to_string())?;
        Err("no room".into())
    });
    assert_eq!(late, (15, Some(90)));
    let nothing = count(|trial| {
        trial.report(0, f64::NAN).map_err(|error| error.to_string())?;
        Ok(0.0)
    });
    assert_eq!(nothing, (90, Some(90)));
}

#[test]
fn reports_past_a_rung_count_for_it_and_none_without_halving() {
    let study = Search::new(space()).halving(Halving::new(2, 20)).build().unwrap();
    let trial = study.ask().unwrap().unwrap();
    for (at, rungs) in [(1, 0), (3, 1), (4, 1), (19, 3), (20, 3)] {
        assert_eq!(trial.report(at, 1.0 / at as f64).unwrap(), Next::KeepGoing);
        assert_eq!(study.trials()[0].rungs.len(), rungs, "at {at}");
    }
    assert_eq!(study.trials()[0].rungs, [Some(1.0 / 3.0), Some(1.0 / 19.0), Some(1.0 / 19.0)]);
    let free = Search::new(space()).build().unwrap();
    let trial = free.ask().unwrap().unwrap();
    assert_eq!(trial.report(1, f64::NAN).unwrap(), Next::KeepGoing);
    assert_eq!((free.spent(), free.trials()[0].rungs.len()), (None, 0));
}

#[test]
fn what_a_stopped_trial_still_says_does_not_count() {
    let study = Search::new(space()).halving(Halving::new(1, 9)).build().unwrap();
    let trial = study.ask().unwrap().unwrap();
    assert_eq!(trial.report(2, f64::NAN).unwrap(), Next::Stop);
    assert_eq!(trial.report(3, 0.1).unwrap(), Next::Stop);
    trial.tell(0.1).unwrap();
    trial.fail("stopped").unwrap();
    let found = study.trials().remove(0);
    assert_eq!(found.status, Status::Stopped { at: 2, value: None });
    assert_eq!(found.rungs, [None], "it came to the first rung");
    assert!(study.best().is_none());
}

/// Halving when maximizing mirrors halving when minimizing.
#[test]
fn higher_values_go_on_where_they_are_better() {
    let study = Search::new(space()).halving(Halving::new(1, 9)).maximize().build().unwrap();
    let verdicts =
        [0.5, 0.4, 0.6].map(|accuracy| study.ask().unwrap().unwrap().report(1, accuracy).unwrap());
    assert_eq!(verdicts, [Next::KeepGoing, Next::Stop, Next::KeepGoing]);
}
