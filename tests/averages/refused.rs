//! Invalid averages are refused before anything trains.

use super::*;

#[track_caller]
fn refused(builder: LearnerBuilder<TinyModel>, run: RunLength, words: &[&str]) {
    let error = builder.run(run).build_loop().expect_err("it was built").to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn bad_input_is_named_with_value_and_range() {
    let percent = Span::percent(50);
    for (average, words) in [
        (Average::ema(-0.1), ["average.decay", "-0.1", "at least 0, below 1"]),
        (Average::ema(1.0), ["average.decay", "1", "at least 0, below 1"]),
        (Average::ema(f64::NAN), ["average.decay", "NaN", "at least 0, below 1"]),
        (Average::ema(f64::INFINITY), ["average.decay", "inf", "at least 0, below 1"]),
        (Average::latest(0, 1), ["average.latest", "0", "at least 1"]),
        (Average::ema(0.9).every(0), ["average.every", "0", "at least 1 update"]),
        (Average::half_life(0), ["average.half_life", "0", "at least 1 update"]),
        (Average::half_life(Span::percent(-5)), ["average.half_life", "-5%", "at least 1 update"]),
        (Average::ema(0.9).start(Span::percent(f64::NAN)), ["average.start", "NaN", "percentage"]),
        (Average::mean_from(30), ["mean()", "30 updates", "start earlier"]),
        (Average::mean_from(25).every(8), ["mean()", "30 updates", "start earlier"]),
        (Average::half_life(u64::MAX), ["average.half_life", "18446744073709551615", "below 1"]),
        (Average::latest(2, u64::MAX), ["latest(2)", "30 updates", "start earlier"]),
        (Average::ema(0.9).on("tail"), ["average", "tail", "matches no trained parameter"]),
        (Average::ema(0.9).on_group("tail"), ["average.on_group", "tail", "no group"]),
    ] {
        refused(builder().average(average.clone()), run(), &words);
        let folder = tempfile::tempdir().unwrap();
        let error = builder().average(average).launch(training(folder.path(), 3)).err().unwrap();
        assert!(matches!(error, BuildError::Average(_)), "{error}");
    }
    let endless = RunLength::unbounded();
    for (average, words) in [
        (Average::mean_from(percent), ["average.start", "50%", "a run that ends"]),
        (
            Average::half_life(Span::epochs(2)),
            ["average.half_life", "2ep", "no fixed epoch length"],
        ),
        (Average::latest(2, Span::epochs(1)), ["average.every", "1ep", "no fixed epoch length"]),
    ] {
        refused(builder().average(average.clone()), endless, &words);
        let error = AveragedModel::new(average).err().unwrap().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let error = AveragedModel::new(Average::ema(0.9).on("head")).err().unwrap();
    assert!(matches!(&error, AverageError::OutOfRange(error) if error.field == "on"), "{error}");
}

/// An average can start at the last update of the run at the latest.
#[test]
fn the_ends_of_ranges_are_allowed() {
    for average in [
        Average::ema(0.0),
        Average::ema(1.0f64.next_down()),
        Average::mean_from(29),
        Average::latest(1, 30),
        Average::half_life(1),
        Average::latest(usize::MAX, 1),
    ] {
        let what = average.to_string();
        let mut training = a_loop(builder().average(average));
        (0..UPDATES).for_each(|_| update(&mut training));
        assert!(flat(&training.valid()).iter().all(|weight| weight.is_finite()), "{what}");
    }
}

#[test]
fn what_goes_together_with_nothing_is_refused() {
    let unused = builder().average(Average::ema(0.9).on("head")).average(Average::ema(0.5));
    refused(unused, run(), &["ema(0.9).on(", "head", "later averages"]);
    let without = || builder().recompute_statistics(batches(60, 6, 0), 1);
    refused(builder().average_statistics(), run(), &["average_statistics", "without an average"]);
    refused(without(), run(), &["recompute_statistics", "without an average"]);
    let raw = builder().evaluate_with(Weights::Raw);
    refused(raw, run(), &["evaluate_with", "without an average"]);
    let over_none = builder().average(Average::ema(0.9)).recompute_statistics(batches(60, 6, 0), 0);
    refused(over_none, run(), &["recompute_statistics", "0 batches", "at least 1"]);
    let both = without().average(Average::ema(0.9)).average_statistics();
    refused(both, run(), &["average_statistics", "recompute_statistics"]);
    let none = builder().average(Average::none()).average_statistics();
    refused(none, run(), &["average_statistics", "without an average"]);
}

#[test]
fn files_hold_averages() {
    for average in [
        Average::ema(0.999).warmup(),
        Average::half_life(Span::epochs(2)).warmup().on("^head"),
        Average::mean_from(Span::percent(75)).every(Span::epochs(1)),
        Average::latest(5, 100).start(7),
        Average::none().on_group("head"),
        Average::ema(0.5).on(Selection::biases_and_norms()),
    ] {
        let text = toml::to_string(&average).unwrap();
        assert_eq!(toml::from_str::<Average>(&text).unwrap(), average, "{text}");
        let text = serde_json::to_string(&average).unwrap();
        assert_eq!(serde_json::from_str::<Average>(&text).unwrap(), average, "{text}");
    }
    for unknown in [
        "ema = 0.9\nstrat = 5",
        "ema = { decay = 0.9, warm = true }",
        "median = true",
        "latest = 2\nmost = 3",
        "latest = 2\nwarmup = true",
        "ema = 0.9\nlatest = 2",
        "start = 5",
    ] {
        assert!(toml::from_str::<Average>(unknown).is_err(), "{unknown}");
        let json = serde_json::to_string(&toml::from_str::<toml::Value>(unknown).unwrap()).unwrap();
        assert!(serde_json::from_str::<Average>(&json).is_err(), "{json}");
    }
    let short: Average = toml::from_str("ema = 0.9").unwrap();
    assert_eq!(short, Average::ema(0.9));
    for weights in [Weights::Average, Weights::Raw] {
        let text = serde_json::to_string(&weights).unwrap();
        assert_eq!(serde_json::from_str::<Weights>(&text).unwrap(), weights, "{text}");
    }
}
