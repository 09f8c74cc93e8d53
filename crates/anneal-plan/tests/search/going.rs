//! Asking, telling, and failures.

use super::{space, strategies, train};
use anneal_plan::{Search, SearchError, Space, Status, Strategy, Study, UpperConfidence, Values};
use std::thread;

fn suggested(study: &Study) -> Vec<Values> {
    study.trials().into_iter().map(|trial| trial.values).collect()
}

fn run(strategy: Strategy, seed: u64) -> Study {
    Search::new(space()).strategy(strategy).seed(seed).trials(9).run(train).unwrap()
}

#[test]
fn the_same_seed_suggests_the_same() {
    for strategy in strategies() {
        let first = run(strategy.clone(), 1);
        assert_eq!(first.trials(), run(strategy.clone(), 1).trials());
        if !matches!(strategy, Strategy::Grid(_)) {
            assert_ne!(suggested(&first), suggested(&run(strategy, 2)));
        }
    }
}

/// The upper nine tenths of the axis are one of its five decades.
#[test]
fn rates_are_log_uniform_but_where_asked_otherwise() {
    for (strategy, expected) in strategies().into_iter().zip([20.0, 90.0, 20.0]) {
        let study = Search::new(space()).strategy(strategy.clone()).build().unwrap();
        let batch = study.ask_batch(100).unwrap();
        let high = batch.iter().filter(|trial| trial.values()["rate"] > 0.1).count() as f64;
        assert!((high - expected).abs() < 15.0, "{strategy:?}: {high} of 100");
    }
}

#[test]
fn failures_are_recorded_and_the_search_goes_on() {
    let study = Search::new(Space::new().linear("x", 0.0, 4.0)).strategy(Strategy::Grid(5));
    let study = study
        .run(|trial| match trial.number() {
            0 => Ok(f64::NAN),
            1 => Err("no room"),
            2 => panic!("at {}", trial.values()["x"]),
            3 => Ok(f64::NEG_INFINITY),
            _ => Ok(1.0),
        })
        .unwrap();
    let statuses: Vec<Status> = study.trials().into_iter().map(|trial| trial.status).collect();
    let failed = |why: &str| Status::Failed(why.into());
    let expected = [
        failed("its value is NaN"),
        failed("no room"),
        failed("it panicked: at 2"),
        failed("its value is -inf"),
        Status::Finished(1.0),
    ];
    assert_eq!(statuses, expected);
    assert_eq!(study.best().unwrap().number, 4);
    let table = study.to_string();
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    assert_eq!(lines[0], "trial           x       value");
    assert_eq!(lines[1], "4           4           1");
    assert_eq!(lines[4], "2           2             failed: it panicked: at 2");
}

#[test]
fn where_all_fail_there_is_no_best() {
    let study = Search::new(space()).trials(12).run(|_| Err::<f64, _>("no data")).unwrap();
    assert!(study.best().is_none() && study.surrogate().unwrap().is_none());
    assert_eq!(study.trials().len(), 12);
}

#[test]
fn the_best_is_the_lowest_or_the_highest() {
    let search = || Search::new(Space::new().linear("x", 0.0, 4.0)).strategy(Strategy::Grid(5));
    let value = |trial: &anneal_plan::Trial| Ok::<_, String>((trial.values()["x"] - 1.0).abs());
    assert_eq!(search().minimize().run(value).unwrap().best().unwrap().number, 1);
    assert_eq!(search().maximize().run(value).unwrap().best().unwrap().number, 4);
    let equal = search().run(|_| Ok::<_, String>(7.0)).unwrap();
    assert_eq!(equal.best().unwrap().number, 0, "the first of equals");
}

/// Maximizing equals minimizing the negative.
#[test]
fn maximizing_mirrors_minimizing() {
    let rule = || UpperConfidence::new().initial(3);
    let search = || Search::new(space()).strategy(rule()).trials(10);
    let loss = |trial: &anneal_plan::Trial| (trial.values()["rate"] / 1e-3).ln().powi(2);
    let least = search().run(|trial| Ok::<_, String>(loss(trial))).unwrap();
    let most = search().maximize().run(|trial| Ok::<_, String>(-loss(trial))).unwrap();
    assert_eq!(suggested(&least), suggested(&most));
    let at = Values::from_iter([("rate", 0.1), ("momentum", 0.3)]);
    let [low, high] = [least, most].map(|study| study.surrogate().unwrap().unwrap());
    assert_eq!(low.best(), high.best());
    let (low, high) = (low.predict(&at).unwrap(), high.predict(&at).unwrap());
    assert_eq!((low.mean, low.std), (-high.mean, high.std));
}

#[test]
fn a_grid_ends_with_its_last_point() {
    let search = || Search::new(space()).strategy(Strategy::Grid(3));
    let count = |search: Search| search.run(|_| Ok::<_, String>(0.0)).unwrap().trials().len();
    assert_eq!([count(search()), count(search().trials(5)), count(search().trials(50))], [9, 5, 9]);
}

#[test]
fn trials_may_run_at_once_and_elsewhere() {
    let study = Search::new(space()).strategy(UpperConfidence::new().initial(2)).trials(12);
    let study = study.build().unwrap();
    let mut batches = vec![];
    loop {
        let batch = study.ask_batch(5).unwrap();
        if batch.is_empty() {
            break;
        }
        batches.push(batch.len());
        let threads: Vec<_> = batch
            .into_iter()
            .rev()
            .map(|trial| thread::spawn(move || trial.tell(trial.values()["rate"])))
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    }
    assert_eq!(batches, [5, 5, 2]);
    let points: Vec<Values> = suggested(&study);
    let distinct = (0..12).all(|i| !points[..i].contains(&points[i]));
    assert!(distinct, "{points:?}");
    assert!(study.trials().iter().all(|trial| trial.value() == trial.values.get("rate")));
}

#[test]
fn an_outcome_comes_once() {
    let study = Search::new(space()).build().unwrap();
    let trial = study.ask().unwrap().unwrap();
    trial.tell(1.0).unwrap();
    for again in [trial.tell(2.0), trial.fail("late"), trial.report(1, 0.0).map(|_| ())] {
        assert!(matches!(again, Err(SearchError::Ended { number: 0 })));
    }
    assert_eq!(study.trials()[0].status, Status::Finished(1.0));
}

#[test]
fn settings_out_of_range_are_refused() {
    let search = || Search::new(space());
    let cases = [
        (Search::new(Space::new()), "axes: 0"),
        (search().trials(0), "trials: 0 is not allowed; allowed: at least 1"),
        (search().budget(0), "budget: 0 is not allowed; allowed: at least 1"),
        (search().budget(9), "budget: 9 is not allowed; allowed: only with halving"),
        (search().strategy(Strategy::Grid(0)), "grid: 0"),
        (search().strategy(UpperConfidence::new().kappa(f64::NAN)), "kappa: NaN"),
        (search().strategy(UpperConfidence::new().kappa(-1.0)), "kappa: -1"),
        (search().strategy(UpperConfidence::new().initial(0)), "initial: 0 is"),
        (search().halving(anneal_plan::Halving::new(3, 3)), "halving.most: 3"),
    ];
    for (search, expected) in cases {
        let error = search.build().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let endless = search().run(|_| Ok::<_, String>(0.0)).unwrap_err().to_string();
    assert_eq!(endless, "trials: none is not allowed; allowed: a number, or a budget");
}

/// Huge and equal values, one finite value among failures: in any case there are suggestions within the
/// space.
#[test]
fn any_values_are_borne() {
    let series: [fn(usize) -> f64; 6] = [
        |_| 0.0,
        |i| if i == 3 { f64::MAX } else { i as f64 },
        |i| if i % 2 == 0 { f64::MAX } else { f64::MIN },
        |i| if i == 5 { 1.0 } else { f64::NAN },
        |i| 1e-300 * i as f64,
        |i| 1e12 + 1e-3 * i as f64,
    ];
    for values in series {
        let search = Search::new(space()).strategy(UpperConfidence::new().initial(1)).trials(12);
        let study = search.run(|trial| Ok::<_, String>(values(trial.number()))).unwrap();
        for trial in study.trials() {
            space().point(&trial.values).unwrap();
        }
        if let Some(surrogate) = study.surrogate().unwrap() {
            let prediction = surrogate.predict(&surrogate.best()).unwrap();
            assert!(prediction.mean.is_finite() && prediction.std.is_finite());
            #[cfg(feature = "plots")]
            assert!(!surrogate.svg().contains("NaN"));
            #[cfg(feature = "plots")]
            assert_eq!(surrogate.terminal(60).matches("Value by").count(), 2, "one for each axis");
        }
    }
}

#[test]
fn a_search_is_a_file_too() {
    let search = Search::new(space()).strategy(UpperConfidence::new().kappa(1.0)).trials(9);
    let search = search.halving(anneal_plan::Halving::new(1, 9)).file("search.json").maximize();
    let json = serde_json::to_string(&search).unwrap();
    assert_eq!(serde_json::from_str::<Search>(&json).unwrap(), search);
    let short = r#"{ "space": [{ "name": "rate", "scale": "log", "low": 1e-5, "high": 1 }] }"#;
    let expected = Search::new(Space::new().log("rate", 1e-5, 1.0));
    assert_eq!(serde_json::from_str::<Search>(short).unwrap(), expected);
    assert!(serde_json::from_str::<Search>(&short.replace("space", "spaces")).is_err());
}
