//! Refusals before training, and warnings.

use super::*;
use burn_anneal::control::{
    Exploration, Greedy, Hypergradient, MetricOf, Pid, Plant, Plateau, Seesaw, Signal, SpikeGuard,
};

fn refused(builder: LearnerBuilder<TinyModel>) -> String {
    builder.build_loop().expect_err("it is refused").to_string()
}

fn loss() -> MetricOf {
    MetricOf::valid("Loss")
}

#[test]
fn what_contradicts_itself_is_refused() {
    let two = |one: &str, other: &str| {
        let on = |group: &str| Plateau::min(loss()).on_group(group);
        tiny(0.1).controller("first", on(one)).controller("second", on(other))
    };
    let error = refused(two("low", "low"));
    assert!(error.contains("`first` and `second`") && error.contains("the group `low`"), "{error}");
    assert!(two("low", "high").build_loop().is_ok());
    let greedy = Greedy::min(Signal::Loss, 1e-3..=1.0);
    let builder = tiny(0.1).controller("plateau", Plateau::min(loss()).on_group("high"));
    assert!(refused(builder.controller("greedy", greedy)).contains("the group `high`"));
    let guards = || tiny(0.1).controller("clip", SpikeGuard::clip());
    assert!(refused(guards().controller("again", SpikeGuard::clip())).contains("clips spikes"));
    let cut = || SpikeGuard::cut(0.1, 5).signal(Signal::Loss);
    assert!(guards().controller("cut", cut()).build_loop().is_ok());
    // A controller that shortens all gradients, or uses all, cannot act on one group.
    let clips = SpikeGuard::clip().on_group("low");
    assert!(refused(tiny(0.1).controller("clips", clips)).contains("`clips` acts on the whole"));
    let learns = Hypergradient::on_log(1.0).on_group("low");
    assert!(refused(tiny(0.1).controller("learns", learns)).contains("`learns` acts on the whole"));
    assert!(tiny(0.1).controller("cut", cut().on_group("low")).build_loop().is_ok());
}

#[test]
fn each_value_out_of_its_range_is_named() {
    let cases: [(LearnerBuilder<TinyModel>, &str); 6] = [
        (tiny(0.1).controller("it", Plateau::max(loss())), "`it`: max: `valid Loss`"),
        (
            tiny(0.1).controller("it", Plateau::min(MetricOf::valid("Accuracy"))),
            "`it`: min: `valid Accuracy`",
        ),
        (tiny(0.1).controller("it", Plateau::min(loss()).factor(1.5)), "`it`: factor: 1.5"),
        (
            tiny(0.1).controller("it", Pid::set_point(Signal::Loss, 1.0, [0.0; 3])),
            "`it`: gains: [0.0, 0.0, 0.0]",
        ),
        (tiny(0.1).controller("it", SpikeGuard::cut(0.5, Span::epochs(1))), "`it`: updates: `1ep`"),
        (tiny(0.1).controller("it", Hypergradient::additive(f64::NAN)), "`it`: alpha: NaN"),
    ];
    for (builder, part) in cases {
        let error = refused(builder);
        assert!(error.starts_with("controller: ") && error.contains(part), "{error}");
    }
    let late = tiny(0.1).controller("learns", Hypergradient::on_log(1.0)).delay_signals();
    assert!(refused(late).contains("`learns` decides about the current update"));
    let error = Exploration::new(4, 100, 1.0, 0.1, 300).build().unwrap_err().to_string();
    assert!(error.contains("budget: 300"), "{error}");
    let run = RunLength::from_items(100, 10).epochs(4);
    let error = Seesaw::up_to(8).plan(constant(0.1), run).unwrap_err().to_string();
    assert!(error.contains("falls to"), "{error}");
}

/// It trains anyway; the warning is also in `explain()`.
#[test]
fn gains_of_an_unstable_loop_are_warned_of_with_the_root() {
    let signal = || Signal::Announced("level".into());
    let with = |gain: f64| {
        let pid = Pid::set_point(signal(), 1.0, [gain, 0.0, 0.0]).for_plant(Plant::new(0.9, 0.5));
        tiny(0.1).controller("pid", pid).build_loop().unwrap().explain().notes
    };
    // y ← (0.9 − 0.5 · 4) y
    let notes = with(4.0);
    assert!(notes[0].starts_with("pid: ") && notes[0].contains("-1.1"), "{notes:?}");
    assert!(with(1.0).is_empty());
}

/// Gradients that are summed grow with the accumulation.
#[test]
fn sums_of_more_and_more_batches_are_warned_of() {
    let notes = |reduction| {
        let run = RunLength::from_items(100, 10).epochs(4).gradient_accumulation_steps(&[(5, 2)]);
        let builder = tiny(0.1).run(run).gradient_reduction(reduction);
        builder.build_loop().unwrap().explain().notes
    };
    assert!(notes(GradientReduction::Sum)[0].contains("GradientReduction::Mean"));
    assert!(notes(GradientReduction::Mean).is_empty());
}

/// In a custom loop, only the user ends an epoch.
#[test]
fn a_loop_that_ends_no_epoch_is_stopped_where_a_controller_waits_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let plateau = || tiny(0.1).controller("plateau", Plateau::min(loss())).build_loop().unwrap();
    let pass = |training: &mut TrainingLoop<TinyModel>| {
        training.pass(|model| TrainStep::step(model, batch(0)));
        training.update().map(|_| ()).map_err(|error| error.to_string())
    };
    let mut saves = plateau();
    pass(&mut saves).unwrap();
    saves.save(folder.path(), 1).unwrap();
    let error = pass(&mut saves).unwrap_err();
    assert!(error.contains("`plateau` needs metrics of an epoch") && error.contains("end_epoch"));
    let mut forgets = plateau();
    let made = (0..100).take_while(|_| pass(&mut forgets).is_ok()).count();
    assert_eq!(made, 50, "half of the run");
    let mut tells = plateau();
    for number in 0..100 {
        pass(&mut tells).unwrap();
        if number == 40 {
            tells.end_epoch([(loss(), 0.5)]).unwrap();
        }
    }
}
