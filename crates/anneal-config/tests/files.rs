//! Files of trainings: reading, writing, and the places of errors.

use anneal_config::{
    Average, ConfigError, ControllerConfig, GradientReduction, Group, GroupsConfig, HalfDtype,
    HalfPrecision, LayerMap, NotFinite, OnSkip, Selection, TrainingConfig, Weights, layer_decay,
};
use anneal_control::{LossScaling, MetricOf, OverflowCap, Plateau};
use anneal_schedule::prelude::*;

const WHOLE: &str = r#"
version = 1
schedule = "cosine(3e-4).end(1e-6).warmup(5%)"
momentum = "linear(0.95, 0.85)"
rate_drop = { action = "rescale" }
clip_global_norm = 1.0
gradient_reduction = "mean"
overflow_cap = { smoothness = { measured_every = 50 }, limit = 60000.0 }
rate_floor = 1e-7
on_skip = "hold"
not_finite = { skip = { most = 5 } }
expect_gradients_within = "never"
delay_signals = true
evaluate_with = "raw"
average_statistics = true

[half_precision]
dtype = "bf16"
except = { norms = true }

[groups]
layer_decay = 0.75
minimum_scale = 0.1
unfreeze_every = "1ep"
weight_decay = { independent = "10ep", cautious = true }
no_weight_decay = { biases = true, norms = true }
layers = [{ name = "stem", pattern = "^stem" }, { name = "blocks", pattern = '^blocks\.(\d+)' }]
strict_layers = true
caps = { head = 0.01 }

[[groups.group]]
name = "head"
select = "^head"
schedule = "step_decay(1e-2, 2ep, 0.1)"
weight_decay = { coupled = "cosine(0.1)" }

[[groups.group]]
name = "trunk"
select = { everything = true }
unfreeze_at = "10%"

[[controller]]
name = "plateau"
group = "head"
after = "2ep"
[controller.rule.plateau]
signal = "valid Loss"
mode = "min"
patience = 3

[[average]]
half_life = "2ep"
warmup = true

[[average]]
mean_from = "75%"
every = "1ep"
group = "head"
"#;

fn run() -> RunLength {
    RunLength::updates_per_epoch(100).epochs(10)
}

/// The training in [`WHOLE`].
fn whole() -> TrainingConfig {
    let mut config = TrainingConfig::new(cosine(3e-4).end(1e-6).warmup(Span::percent(5)));
    config.momentum = Some(linear(0.95, 0.85).into());
    config.rate_drop = Some(RateDrop::rescale());
    config.clip_global_norm = Some(1.0);
    config.gradient_reduction = GradientReduction::Mean;
    config.overflow_cap = Some(OverflowCap::measured_every(50).limit(60_000.0));
    config.rate_floor = Some(1e-7);
    config.on_skip = Some(OnSkip::Hold);
    config.not_finite = NotFinite::Skip { most: 5 };
    config.expect_gradients_within = None;
    config.delay_signals = true;
    config.evaluate_with = Some(Weights::Raw);
    config.average_statistics = true;
    config.half_precision =
        Some(HalfPrecision { except: Selection::norms(), ..HalfPrecision::bf16() });
    let head = Group::new("head", "^head").schedule(step_decay(1e-2, Span::epochs(2), 0.1));
    config.groups = Some(
        layer_decay(0.75)
            .minimum_scale(0.1)
            .unfreeze_every(Span::epochs(1))
            .weight_decay(WeightDecay::independent(Span::epochs(10)).cautious())
            .no_weight_decay(Selection::biases_and_norms())
            .layers(LayerMap::from_patterns([("stem", "^stem"), ("blocks", r"^blocks\.(\d+)")]))
            .strict_layers(true)
            .cap("head", 0.01)
            .group(head.weight_decay(WeightDecay::coupled(ScheduleConfig::from(cosine(0.1)))))
            .group(Group::rest("trunk").unfreeze_at(Span::percent(10))),
    );
    let plateau = Plateau::min(MetricOf::valid("Loss")).patience(3);
    let mut controller = ControllerConfig::new("plateau", plateau);
    controller.group = Some("head".into());
    controller.after = Some(Span::epochs(2));
    config.controllers.push(controller);
    config.averages = vec![
        Average::half_life(Span::epochs(2)).warmup(),
        Average::mean_from(Span::percent(75)).every(Span::epochs(1)).on_group("head"),
    ];
    config
}

#[test]
fn a_file_says_all_that_code_says() {
    let read = TrainingConfig::from_toml(WHOLE).unwrap();
    // Descriptions cannot be compared, because layers may be a closure; JSON shows each field.
    assert_eq!(read.to_json().unwrap(), whole().to_json().unwrap());
    read.check(run()).unwrap();
}

#[test]
fn what_is_written_is_read_again() {
    for config in [whole(), TrainingConfig::new(constant(0.1))] {
        let json = config.to_json().unwrap();
        let toml = config.to_toml().unwrap();
        for read in [TrainingConfig::from_toml(&toml), TrainingConfig::from_json(&json)] {
            assert_eq!(read.unwrap().to_json().unwrap(), json, "{toml}");
        }
    }
    let short = TrainingConfig::new(constant(0.1)).to_toml().unwrap();
    assert_eq!(short, "version = 1\n\n[schedule.constant]\nrate = 0.1\n");
    let groups = whole().groups.unwrap();
    let again = GroupsConfig::from_toml(&groups.to_toml().unwrap()).unwrap();
    assert_eq!(again.to_json().unwrap(), groups.to_json().unwrap());
}

fn with(lines: &str) -> Result<TrainingConfig, FileError> {
    TrainingConfig::from_toml(&format!("schedule = \"constant(0.1)\"\n{lines}"))
}

#[test]
fn half_precision_is_a_word_or_a_table() {
    let half = |text: &str| with(&format!("half_precision = {text}")).unwrap().half_precision;
    assert_eq!(half("\"f16\""), Some(HalfPrecision::f16()));
    assert_eq!(half("\"bf16\""), Some(HalfPrecision::bf16()));
    assert_eq!(half("{ dtype = \"f16\" }"), Some(HalfPrecision::f16()));
    let unscaled = HalfPrecision { loss_scaling: None, ..HalfPrecision::f16() };
    assert_eq!(half("{ dtype = \"f16\", loss_scaling = \"none\" }"), Some(unscaled.clone()));
    let scaled =
        HalfPrecision { loss_scaling: Some(LossScaling::fixed(8.0)), ..HalfPrecision::bf16() };
    for half in [unscaled, scaled, HalfPrecision::f16(), HalfPrecision::bf16()] {
        let mut config = TrainingConfig::new(constant(0.1));
        config.half_precision = Some(half.clone());
        let read = TrainingConfig::from_toml(&config.to_toml().unwrap()).unwrap();
        assert_eq!(read.half_precision, Some(half));
    }
    assert_eq!(HalfPrecision::bf16().dtype, HalfDtype::Bf16);
}

#[test]
fn a_selection_is_a_text_or_a_table() {
    let of = |text: &str| with(&format!("no_weight_decay = {text}")).unwrap().no_weight_decay;
    assert_eq!(of("'bias$'"), Selection::regex("bias$"));
    assert_eq!(of("{ biases = true }"), Selection::biases());
    assert_eq!(of("{ globs = [\"*.bias\"] }"), Selection::none().globs(["*.bias"]));
}

#[test]
fn each_average_is_written_as_it_is_called() {
    let averages = [
        Average::ema(0.99),
        Average::ema(0.99).warmup().start(Span::epochs(1)),
        Average::half_life(Span::steps(30)).every(Span::steps(5)),
        Average::mean_from(Span::percent(50)),
        Average::latest(5, Span::epochs(1)).on("^head"),
        Average::none().on_group("head"),
    ];
    let mut config = TrainingConfig::new(constant(0.1));
    config.averages = averages.to_vec();
    let text = config.to_toml().unwrap();
    assert_eq!(TrainingConfig::from_toml(&text).unwrap().averages, averages, "{text}");
    for line in
        ["ema = 0.99", "mean_from = \"50%\"", "latest = 5", "none = true", "group = \"head\""]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
}

/// Errors of the parser name their place.
#[test]
fn a_mistake_in_a_file_is_found_where_it_stands() {
    for (lines, expected) in [
        ("clip_global_nrom = 1.0", "toml:2:1: unknown field `clip_global_nrom`"),
        ("clip_global_nrom = 1.0", "did you mean `clip_global_norm`?"),
        ("[groups]\nlayer_dcay = 0.5", "toml:3:1: unknown field `layer_dcay`"),
        ("[groups]\nlayer_dcay = 0.5", "did you mean `layer_decay`?"),
        (
            "[[groups.group]]\nname = \"a\"\nselect = { regexs = [\"a\"] }",
            "toml:4:12: unknown field `regexs`",
        ),
        ("[[groups.group]]\nname = \"a\"", "toml:2:1: missing field `select`"),
        (
            "[groups]\nlayers = [\n{ name = \"a\", pattern = \"a\" },\n{ name = \"b\", pattrn = \"b\" }]",
            "toml:5:15: unknown field `pattrn`",
        ),
        (
            "[groups]\nlayers = \"tre\"",
            "toml:3:10: invalid value: string \"tre\", expected \"tree\", or",
        ),
        (
            "not_finite = { skip = 5 }",
            "toml:2:23: invalid type: integer `5`, expected its values with",
        ),
        (
            "[[controller]]\nname = \"a\"\nrule = \"plateau\"",
            "toml:4:8: invalid type: unit variant, expected a table of",
        ),
        ("[average]\nema = 0.9", "toml:2:1: invalid type: map, expected a list of tables: in TOML"),
        ("groups = 3", "toml:2:10: invalid type: integer `3`, expected a table"),
        ("clip_global_norm = \"1\"", "toml:2:20: invalid type: string \"1\", expected a number"),
        ("[groups]\nschedule = 3", "toml:3:1: unknown field `schedule`"),
        ("momentum = \"cosin(0.9)\"", "toml:2:13: unknown curve `cosin`"),
        (
            "half_precision = \"f32\"",
            "toml:2:18: half_precision: `f32` is not allowed; allowed: f16, bf16",
        ),
        (
            "half_precision = { dtype = \"f16\", loss_scaling = \"off\" }",
            "`off` is not allowed; allowed: none",
        ),
        ("half_precision = true", "\"f16\", \"bf16\", or a table"),
        ("not_finite = \"ignore\"", "toml:2:14: unknown variant `ignore`"),
        ("expect_gradients_within = \"always\"", "allowed: a number of updates, or \"never\""),
        ("[[average]]\nema = 0.9\nlatest = 3", "average: give exactly one of ema, half_life"),
        ("[[average]]\nwarmup = true\nlatest = 3", "average: warmup is only for ema and half_life"),
        ("[[average]]\nmean_from = 3\nstart = 3", "average: mean_from already sets the start"),
        (
            "[[average]]\nema = 0.9\ngroup = \"a\"\nselect = \"a\"",
            "select and group are both given",
        ),
        (
            "[[controller]]\nname = \"a\"\n[controller.rule.platau]\nmode = \"min\"",
            "toml:4:18: unknown",
        ),
        (
            "[[controller]]\nname = \"a\"\n[controller.rule.plateau]\nmode = \"low\"",
            "toml:5:8: unknown variant `low`",
        ),
        ("version = 2", "toml: version: 2"),
        ("version = 2\ntrick = 1", "toml: version: 2"),
        ("[groups]\nversion = 2", "toml: version: 2"),
        ("weight_decay = { couled = 0.1 }", "did you mean `coupled`?"),
    ] {
        let error = with(lines).unwrap_err().to_string();
        assert!(error.contains(expected), "{lines}\n{error}\n{expected}");
    }
}

/// So do errors that are found when the run is known.
#[test]
fn a_value_out_of_range_is_found_where_it_stands() {
    let head = "[[groups.group]]\nname = \"head\"\nselect = \"^head\"\n";
    let plateau = "[[controller]]\nname = \"p\"\n[controller.rule.plateau]\nsignal = \"valid Loss\"\nmode = \"min\"\n";
    for (lines, place, message) in [
        (
            "clip_global_norm = -1",
            "2:20",
            "clip_global_norm: -1.0 is not allowed; allowed: a finite number above 0".to_string(),
        ),
        ("clip_global_norm = nan", "2:20", "clip_global_norm: NaN".into()),
        ("rate_floor = 0", "2:14", "rate_floor: 0.0".into()),
        ("expect_gradients_within = 0", "2:27", "expect_gradients_within: 0".into()),
        ("weight_decay = -0.1", "2:16", "weight_decay: -0.1".into()),
        ("weight_decay = { independent = -1 }", "2:32", "weight_decay.independent: -1.0".into()),
        ("momentum = \"constant(1.5)\"", "2:12", "momentum: 1.5".into()),
        (
            "rate_drop = { action = \"rescale\", below = 2.0 }",
            "2:43",
            "rate_drop.below: 2.0".into(),
        ),
        (
            "no_weight_decay = \"(\"",
            "2:19",
            "no_weight_decay.regexes: `(` is not a valid regular expression".into(),
        ),
        (
            "half_precision = { dtype = \"f16\", loss_scaling = { growth_factor = 0.5 } }",
            "2:68",
            "half_precision.loss_scaling.growth_factor: 0.5".into(),
        ),
        ("loss_scaling = { scale = -1.0 }", "2:26", "loss_scaling.scale: -1.0".into()),
        (
            "half_precision = \"bf16\"\nloss_scaling = {}",
            "3:1",
            "loss_scaling: half precision has its own".into(),
        ),
        (
            "overflow_cap = { smoothness = { given = -2.0 }, limit = 1.0 }",
            "2:18",
            "overflow_cap.smoothness: -2.0".into(),
        ),
        ("not_finite = { skip = { most = 0 } }", "2:32", "not_finite.skip.most: 0".into()),
        ("[groups]\nlayer_decay = 1.5", "3:15", "layer_decay: 1.5".into()),
        ("[groups]\nminimum_scale = 0.5", "3:17", "minimum_scale: 0.5".into()),
        (
            "[groups]\nunfreeze_every = \"20ep\"",
            "3:18",
            "unfreeze_every: 20ep is update 2000; the run has 1000 updates".into(),
        ),
        ("[groups.caps]\nhead = 0.0", "3:8", "caps.head: 0.0".into()),
        (
            "weight_decay = 0.1\n[groups]\nweight_decay = 0.2",
            "2:16",
            "weight_decay: given for the whole model and in its groups".into(),
        ),
        (&format!("{head}multiple = 0.0"), "5:12", "groups.head.multiple: 0.0".into()),
        (&format!("{head}{head}"), "5:1", "groups.head: two have the name `head`".into()),
        (
            &format!("{head}schedule = \"cosine(-1)\""),
            "5:12",
            "groups.head.schedule: cosine.peak: -1.0".into(),
        ),
        (
            &format!("{head}frozen = true\nunfreeze_at = 3"),
            "6:15",
            "groups.head.unfreeze_at: 3".into(),
        ),
        (
            "[[groups.group]]\nname = \"a/b\"\nselect = \"a\"",
            "2:1",
            "groups.a/b: `a/b` is not allowed as a name".into(),
        ),
        (&format!("{plateau}factor = 2.0"), "7:10", "controller.p.factor: 2.0".into()),
        (
            "[[average]]\nema = 0.5\nselect = \"(\"",
            "4:10",
            "average.select.regexes: `(` is not a valid regular expression: unclosed group".into(),
        ),
        (
            "[groups]\nlayers = [{ name = \"a\", pattern = \"a\", suffix = [nan] }]",
            "3:10",
            "layers.a.suffix: NaN is not allowed".into(),
        ),
        (
            &format!("{head}multiple = -1.0\n[[groups.group]]\nname = \"head2\"\nselect = \"a\""),
            "5:12",
            "groups.head.multiple: -1.0".into(),
        ),
        (
            &plateau.replace("[controller.rule", "at_end = \"release\"\n[controller.rule"),
            "4:10",
            "controller.p.at_end: release is not allowed; allowed: hold, or release with `until`"
                .into(),
        ),
        (
            &format!("{plateau}{}factor = 2.0", plateau.replace("\"p\"", "\"p.q\"")),
            "12:10",
            "controller.p.q.factor: 2.0".into(),
        ),
        (&format!("{plateau}{plateau}"), "8:8", "controller.p.name: two have the name `p`".into()),
        (
            &format!("{plateau}{}", plateau.replace("\"p\"", "\"P\"")),
            "8:8",
            "controller.P.name: `P` and `p` would be logged in the same files".into(),
        ),
        (&plateau.replace("\"p\"", "\"p/q\""), "3:8", "controller.p/q.name: `p/q` is not".into()),
        (
            "[[groups.group]]\nname = \"a b\"\nselect = \"a\"\n[[groups.group]]\nname = \"a_b\"\nselect = \"b\"",
            "5:1",
            "groups.a_b: `a_b` and `a b` would be logged in the same files".into(),
        ),
        (
            "half_precision = \"f16\"\nnot_finite = \"stop\"",
            "3:14",
            "not_finite: loss scaling already skips".into(),
        ),
        ("[[average]]\nema = 1.5", "3:7", "average.decay: 1.5".into()),
        ("[[average]]\nema = 0.5\n[[average]]\nlatest = 0", "5:10", "average.latest: 0".into()),
        (
            "[[average]]\nema = 0.5\nstart = 5000",
            "2:1",
            "average: `ema(0.5).start(5000)` takes no weights".into(),
        ),
    ] {
        let config = with(lines).unwrap_or_else(|error| panic!("{lines}\n{error}"));
        let error = config.check(run()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&message), "{lines}\n{text}\n{message}");
        assert_eq!(config.locate(&error.field()), Some(format!("toml:{place}")), "{lines}\n{text}");
    }
    let wrong = "schedule = \"constant(0.1)\"\n[schedule]";
    assert!(TrainingConfig::from_toml(wrong).is_err());
    let schedule = TrainingConfig::from_toml("[schedule.cosine]\npeak = -1.0").unwrap();
    let error = schedule.check(run()).unwrap_err();
    assert_eq!(schedule.locate(&error.field()).as_deref(), Some("toml:2:8"));
    assert!(matches!(error, ConfigError::Schedule(_)));
    // JSON files have places too; a training built in code has none.
    let json = r#"{"schedule": "constant(0.1)", "groups": {"layer_decay": 2}}"#;
    let json = TrainingConfig::from_json(json).unwrap();
    assert_eq!(json.locate("layer_decay").as_deref(), Some("json:1:57"));
    assert_eq!(whole().locate("layer_decay"), None);
    // What the file does not have is nowhere in it.
    assert_eq!(json.locate("clip_global_norm"), None);
    assert_eq!(json.check(RunLength::updates(0)).unwrap_err().field(), "run.updates");
}

#[test]
fn a_training_is_explained_in_words() {
    let expected = "\
schedule    cosine(0.0003).end(1e-6).warmup(5%)
momentum    linear(0.95, 0.85)
rate drop   rescale below 0.9
gradients   clipped to a norm of 1, the mean over the batches of an update, skipped if not finite, up to 5 in a row, not expected for each parameter
precision   bf16 except for norms, rate capped before gradients overflow
rates       controllers lower no rate below 1e-7, on a skipped update the schedule holds, signals delayed by one update
groups      layers stem, blocks by patterns, which match each parameter, layer decay 0.75, at least 0.1, one more layer trains every 1ep, decay independent(10ep), cautious, no decay for biases, norms
            head (^head): rate step_decay(0.01, 2ep, 0.1), decay coupled(cosine(0.1))
            trunk (everything): trains from 10%
            head: rate at most 0.01
controller  plateau: plateau(cooldown = 0, factor = 0.1, mean_over = 1, min_rate = 0.0, mode = min, patience = 3, signal = valid Loss, smallest_change = 1e-8, threshold = relative 0.0001), on head, after 2ep
average     half_life(2ep).warmup()
            mean().start(75%).every(1ep).on_group(head)
            running statistics too
evaluated   raw weights";
    assert_eq!(TrainingConfig::from_toml(WHOLE).unwrap().to_string(), expected);
}
