//! The schedules of `docs/schedules`.

use crate::{anneal, docs};
use anneal_schedule::ScheduleConfig;
use std::f64::consts::PI;
use std::fs;
use std::path::{Path, PathBuf};

fn recipes() -> Vec<PathBuf> {
    let folder = fs::read_dir(docs().join("schedules")).unwrap();
    let mut recipes: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    recipes.sort();
    recipes
}

/// The flags at the end of a recipe's line `# Run:`.
fn run(text: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.starts_with("# Run:")).expect("a line `# Run:`");
    let flags = &line[line.find("--").expect("flags")..];
    flags.split_whitespace().map(str::to_string).collect()
}

#[test]
fn each_recipe_names_its_source_and_shows() {
    let recipes = recipes();
    assert!(recipes.len() >= 25, "{recipes:?}");
    for recipe in &recipes {
        let text = fs::read_to_string(recipe).unwrap();
        assert!(text.lines().any(|line| line.starts_with("# Source: ")), "{recipe:?}");
        let flags = run(&text);
        let arguments = ["show", recipe.to_str().unwrap()];
        let shown = anneal(arguments.into_iter().chain(flags.iter().map(String::as_str))).fine();
        assert!(shown.contains("fingerprint"), "{shown}");
    }
}

/// With the published weight decay of each. That it fades, or that the source's run ends before its cosine, is no alarm.
#[test]
fn no_recipe_raises_an_alarm() {
    let decays = [
        ("bert", "0.01"),
        ("convnext", "0.05"),
        ("deepseek_v2", "0.1"),
        ("deepseek_v3", "0.1"),
        ("deit", "0.05"),
        ("efficientnet", "1e-5"),
        ("fastai_fine_tune", "0.01"),
        ("gpt_3", "0.1"),
        ("llama_2", "0.1"),
        ("llama_3", "0.1"),
        ("mae_finetune", "0.05"),
        // Its 1e-5 is not multiplied by the rate, but by its share of the peak of 5e-4.
        ("mosaic_bert", "0.02"),
        ("nanogpt", "0.1"),
        ("olmo_2", "0.1"),
        ("resnet", "1e-4"),
        ("resnet_large_batch", "1e-4"),
        ("resnet_strikes_back", "0.02"),
        ("roberta", "0.01"),
        ("sgdr", "5e-4"),
        ("stable_diffusion", "0.01"),
        ("whisper", "0.1"),
        ("yolov5", "5e-4"),
    ];
    for recipe in recipes() {
        let flags = run(&fs::read_to_string(&recipe).unwrap());
        let name = recipe.file_stem().unwrap().to_str().unwrap();
        let decay = decays.iter().find(|(known, _)| *known == name).map_or("0.0", |found| found.1);
        let arguments = ["lint", recipe.to_str().unwrap(), "--weight-decay", decay];
        let said = anneal(arguments.into_iter().chain(flags.iter().map(String::as_str))).fine();
        let is_fine = |line: &str| {
            line.ends_with(": fine")
                || line.contains("note[fading")
                || name == "llama_3" && line.contains("note[cut-short")
        };
        assert!(said.lines().all(is_fine), "{said}");
    }
}

/// Chains from the README and the examples, in runs of several lengths.
#[test]
fn no_schedule_of_the_readme_raises_an_alarm() {
    for schedule in [
        "cosine(3e-4).floor(1e-6).warmup(5%)",
        "cosine(3e-4).warmup(5%)",
        "cosine(1e-3).warmup(10%)",
        "constant(0.1).warmup(2ep)",
        "cosine(4e-3).warmup(10%)",
    ] {
        for run in [["10", "391"], ["90", "5005"], ["5", "40"]] {
            let [epochs, updates] = run;
            let arguments = ["lint", schedule, "--epochs", epochs, "--steps-per-epoch", updates];
            let said = anneal(arguments).fine();
            assert!(!said.contains("warning"), "{said}");
        }
    }
}

/// An update as the formulas see it.
#[derive(Clone, Copy)]
struct At {
    /// The update, from 0.
    t: f64,
    /// The updates of the run.
    n: f64,
    /// The samples seen before this update.
    samples: f64,
    /// The samples of the run, whose last update is a whole one.
    all: f64,
}

/// The length of a run.
enum Length {
    Updates(u64),
    /// All samples, and those of the next update where so many were seen.
    Samples(f64, fn(f64) -> f64),
}

impl Length {
    fn updates(&self) -> Vec<At> {
        let (samples, all): (Vec<f64>, f64) = match *self {
            Self::Updates(updates) => ((0..updates).map(|_| 0.0).collect(), 0.0),
            Self::Samples(end, batch) => {
                let next = |seen: &f64| Some(seen + batch(*seen)).filter(|seen| *seen < end);
                let samples: Vec<f64> = std::iter::successors(Some(0.0), next).collect();
                let last = samples[samples.len() - 1];
                (samples, last + batch(last))
            }
        };
        let n = samples.len() as f64;
        let at = |(t, samples)| At { t: t as f64, n, samples, all };
        samples.into_iter().enumerate().map(at).collect()
    }
}

/// From `a` at x = 0 to `b` at x = 1 in half a wave.
fn cosine(a: f64, b: f64, x: f64) -> f64 {
    b + 0.5 * (a - b) * (1.0 + (PI * x).cos())
}

/// From `a` at x = 0 to `b` at x = 1 in a straight line.
fn line(a: f64, b: f64, x: f64) -> f64 {
    a + (b - a) * x
}

/// Warm-up over `n` updates from 0, then `f` of the share of what is left.
fn after_warmup(at: At, n: f64, peak: f64, f: impl Fn(f64) -> f64) -> f64 {
    if at.t < n { peak * at.t / n } else { f((at.t - n) / (at.n - n)) }
}

type Formula = fn(At) -> f64;

/// Each recipe, the length of its run, and its rate as the source has it.
fn sources() -> Vec<(&'static str, Length, Formula)> {
    use Length::{Samples, Updates};
    vec![
        ("bert", Updates(1_000_000), |at| match at.t < 10_000.0 {
            true => 1e-4 * (at.t / 10_000.0),
            false => 1e-4 * (1.0 - at.t / 1_000_000.0),
        }),
        (
            "chinchilla",
            // 1.4 trillion tokens.
            Samples(1.4e12 / 2_048.0, |seen| match seen < 0.7e12 / 2_048.0 {
                true => 732.0,
                false => 1_464.0,
            }),
            |at| match at.t < 1_500.0 {
                true => line(1e-7, 1e-4, at.t / 1_500.0),
                false => cosine(1e-4, 1e-5, (at.t - 1_500.0) / (at.n - 1_500.0)),
            },
        ),
        ("convnext", Updates(300 * 312), |at| match at.t < 20.0 * 312.0 {
            true => line(0.0, 4e-3, at.t / (20.0 * 312.0 - 1.0)),
            false => cosine(4e-3, 1e-6, (at.t / 312.0 - 20.0) / 280.0),
        }),
        (
            "deepseek_v2",
            Samples(8.1e12 / 4_096.0, |seen| {
                let x = (seen * 4_096.0 / 225e9).min(1.0);
                (2_304.0 + (9_216.0 - 2_304.0) * x).round()
            }),
            |at| match at.samples * 4_096.0 / 8.1e12 {
                _ if at.t < 2_000.0 => 2.4e-4 * at.t / 2_000.0,
                share if share < 0.6 => 2.4e-4,
                share if share < 0.9 => 2.4e-4 * 0.316,
                _ => 2.4e-4 * 0.316 * 0.316,
            },
        ),
        (
            "deepseek_v3",
            Samples(14.8e12 / 4_096.0, |seen| {
                let x = (seen * 4_096.0 / 469e9).min(1.0);
                ((3_072.0 + (15_360.0 - 3_072.0) * x) / 256.0).round() * 256.0
            }),
            // 10, 14.3 and 14.633 trillion tokens, in whole samples.
            |at| match at.samples {
                _ if at.t < 2_000.0 => 2.2e-4 * at.t / 2_000.0,
                ..2_441_406_250.0 => 2.2e-4,
                seen @ ..3_491_210_938.0 => {
                    let x = (seen - 2_441_406_250.0) / (3_491_210_938.0 - 2_441_406_250.0);
                    cosine(2.2e-4, 2.2e-5, x)
                }
                ..3_572_509_766.0 => 2.2e-5,
                _ => 7.3e-6,
            },
        ),
        ("deit", Updates(300 * 1_251), |at| {
            let epoch = (at.t / 1_251.0).floor() - 1.0;
            match epoch {
                ..0.0 => 1e-6,
                ..5.0 => 1e-6 + epoch * ((1e-3 - 1e-6) / 5.0),
                _ => cosine(1e-3, 1e-5, epoch / 300.0),
            }
        }),
        ("efficientnet", Updates(350 * 313), |at| match at.t < 5.0 * 313.0 {
            true => 0.256 * at.t / (5.0 * 313.0),
            // Anneal rounds the interval to whole updates; the source does not.
            false => 0.256 * 0.97f64.powf((at.t / (313.0f64 * 2.4).round()).floor()),
        }),
        ("fastai_fine_tune", Updates(5 * 92), |at| {
            let cycle = |position: f64, peak: f64, pct_start: f64, div: f64| match position {
                x if x < pct_start => cosine(peak / div, peak, x / pct_start),
                x => cosine(peak, peak / 1e5, (x - pct_start) / (1.0 - pct_start)),
            };
            match at.t < 92.0 {
                true => cycle(at.t / 92.0, 2e-3, 0.99, 25.0),
                false => cycle((at.t - 92.0) / 368.0, 1e-3, 0.3, 5.0),
            }
        }),
        (
            "gpt_3",
            Samples(300e9 / 2_048.0, |seen| {
                let x = (seen * 2_048.0 / 12e9).min(1.0);
                ((16.0 + (1_600.0 - 16.0) * x) / 16.0).round() * 16.0
            }),
            // In whole samples, as in Megatron-LM.
            |at| match at.samples {
                seen @ ..=183_105.0 => 6e-5 * seen / 183_105.0,
                seen => {
                    let x = (seen - 183_105.0) / (126_953_125.0 - 183_105.0);
                    cosine(6e-5, 6e-6, x.min(1.0))
                }
            },
        ),
        ("llama_2", Samples(2e12 / 4_096.0, |_| 1_024.0), |at| {
            after_warmup(at, 2_000.0, 3e-4, |x| cosine(3e-4, 3e-5, x))
        }),
        (
            "llama_3",
            Samples(15.6e12 / 8_192.0, |seen| match seen * 8_192.0 {
                ..252e6 => 512.0,
                ..2.87e12 => 1_024.0,
                _ => 2_048.0,
            }),
            |at| {
                let rate = match at.t < 8_000.0 {
                    true => 8e-5 * at.t / 8_000.0,
                    false => cosine(8e-5, 8e-7, (at.t - 8_000.0) / (1_200_000.0 - 8_000.0)),
                };
                // 40 million tokens in whole samples, before the end of the last, whole update.
                rate * ((at.all - at.samples) / (40e6f64 / 8_192.0).round()).min(1.0)
            },
        ),
        ("mae_finetune", Updates(100 * 1_251), |at| {
            let epoch = at.t / 1_251.0;
            match epoch < 5.0 {
                true => 2e-3 * epoch / 5.0,
                false => cosine(2e-3, 1e-6, (epoch - 5.0) / (100.0 - 5.0)),
            }
        }),
        ("minicpm", Updates(280_000), |at| match at.t {
            ..2_800.0 => at.t / 2_800.0 * 0.01,
            ..252_000.0 => 0.01,
            _ => 0.01 * 0.5f64.powf((at.t - 252_000.0) / 5_000.0),
        }),
        ("modded_nanogpt", Updates(6_200), |at| match at.t < 6_200.0 - 1_800.0 {
            true => 3.6e-3,
            false => 3.6e-3 * (6_200.0 - at.t) / 1_800.0,
        }),
        ("mosaic_bert", Samples(286_720_000.0, |_| 4_096.0), |at| {
            match at.samples / 286_720_000.0 {
                x if x < 0.06 => 5e-4 * x / 0.06,
                x => 5e-4 * line(1.0, 0.02, (x - 0.06) / (1.0 - 0.06)),
            }
        }),
        ("nanogpt", Updates(600_000), |at| match at.t < 2_000.0 {
            true => 6e-4 * (at.t + 1.0) / (2_000.0 + 1.0),
            false => cosine(6e-4, 6e-5, (at.t - 2_000.0) / (600_000.0 - 2_000.0)),
        }),
        ("olmo_2", Samples(940_567.0 * 1_024.0, |_| 1_024.0), |at| {
            // The code counts an update before it takes its rate.
            let step = at.t + 1.0;
            let tokens = step * 1_024.0 * 4_096.0;
            match at.t < 928_646.0 {
                true if tokens < 8_388_608_000.0 => 3e-4 * tokens / 8_388_608_000.0,
                true => cosine(3e-4, 3e-5, (tokens - 8_388_608_000.0) / (5e12 - 8_388_608_000.0)),
                false => 6.1499e-5 * (1.0 - (step - 928_646.0) / 11_921.0),
            }
        }),
        ("one_cycle", Updates(10_000), |at| match at.t {
            ..4_500.0 => line(0.1, 3.0, at.t / 4_500.0),
            ..9_000.0 => line(3.0, 0.1, (at.t - 4_500.0) / 4_500.0),
            _ => line(0.1, 0.001, (at.t - 9_000.0) / 1_000.0),
        }),
        ("resnet", Updates(90 * 5_005), |at| 0.1 * 0.1f64.powf((at.t / 5_005.0 / 30.0).floor())),
        ("resnet_large_batch", Updates(90 * 157), |at| match at.t / 157.0 {
            epoch @ ..5.0 => line(0.1, 3.2, epoch / 5.0),
            ..30.0 => 3.2,
            ..60.0 => 0.32,
            ..80.0 => 0.032,
            _ => 0.0032,
        }),
        ("resnet_strikes_back", Updates(300 * 625), |at| match (at.t / 625.0).floor() {
            epoch @ ..5.0 => 1e-6 + epoch * ((5e-3 - 1e-6) / 5.0),
            epoch => cosine(5e-3, 1e-6, epoch / 300.0),
        }),
        ("roberta", Updates(500_000), |at| after_warmup(at, 24_000.0, 6e-4, |x| 6e-4 * (1.0 - x))),
        ("sgdr", Updates(150 * 391), |at| {
            let (mut now, mut cycle) = (at.t, 10.0 * 391.0);
            while now >= cycle {
                (now, cycle) = (now - cycle, 2.0 * cycle);
            }
            cosine(0.05, 0.0, now / cycle)
        }),
        ("stable_diffusion", Updates(225_000), |at| match at.t < 10_000.0 {
            true => 1e-4 * ((1.0 - 1e-6) / 10_000.0 * at.t + 1e-6),
            false => 1e-4,
        }),
        ("transformer", Updates(100_000), |at| {
            let step = at.t + 1.0;
            512f64.powf(-0.5) * step.powf(-0.5).min(step * 4_000f64.powf(-1.5))
        }),
        ("vit_finetune", Updates(20_000), |at| {
            let progress = ((at.t - 500.0) / (20_000.0 - 500.0)).clamp(0.0, 1.0);
            cosine(0.03, 0.0, progress) * (at.t / 500.0).min(1.0)
        }),
        ("whisper", Updates(1 << 20), |at| {
            after_warmup(at, 2_048.0, 1.75e-4, |x| 1.75e-4 * (1.0 - x))
        }),
        ("yolov5", Updates(300 * 1_849), |at| {
            let epoch = (at.t / 1_849.0).floor();
            let rate = 0.01 * ((1.0 - epoch / 300.0) * (1.0 - 0.01) + 0.01);
            rate * (at.t / (3.0 * 1_849.0)).min(1.0)
        }),
    ]
}

/// The rates that `anneal sample` prints for all updates of the recipe's run.
fn rates(recipe: &Path, updates: usize) -> Vec<f64> {
    let text = fs::read_to_string(recipe).unwrap();
    let flags = run(&text).into_iter().map(|flag| match flag.as_str() {
        "--steps" => "--run-steps".to_string(),
        _ => flag,
    });
    let (flags, range) = (flags.collect::<Vec<_>>(), format!("0..{updates}"));
    let arguments = ["sample", recipe.to_str().unwrap(), "--steps", &range];
    let printed = anneal(arguments.into_iter().chain(flags.iter().map(String::as_str))).fine();
    printed.lines().skip(1).map(|line| line.split_once(',').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn recipes_have_the_rates_of_their_sources_at_every_update() {
    let mut sources = sources();
    for recipe in recipes() {
        let name = recipe.file_stem().unwrap().to_str().unwrap();
        let known = sources.iter().position(|source| source.0 == name);
        let (_, length, formula) = sources.swap_remove(known.expect(name));
        let updates = length.updates();
        let rates = rates(&recipe, updates.len());
        assert_eq!(rates.len(), updates.len(), "{name}");
        let expected: Vec<f64> = updates.iter().map(|at| formula(*at)).collect();
        let peak = expected.iter().copied().fold(0.0, f64::max);
        for ((rate, expected), at) in rates.iter().zip(expected).zip(updates) {
            // 1 + cos x and 1 − x are only known to a rounding of 1.
            let allowed = 1e-12 * expected + 2.0 * f64::EPSILON * peak;
            let off = (rate - expected).abs();
            assert!(off <= allowed, "{name} at {}: {rate:e}, not {expected:e}", at.t);
        }
    }
    let without_recipe: Vec<&str> = sources.iter().map(|source| source.0).collect();
    assert!(without_recipe.is_empty(), "{without_recipe:?}");
}

/// The table of the page: name and link, schedule, and source.
#[test]
fn the_page_lists_every_recipe() {
    let page = fs::read_to_string(docs().join("published.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| [")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, schedule, source] = cells[..] else { panic!("{line}") };
        let (name, link) = name.trim_matches(['[', ')']).split_once("](").unwrap();
        (docs().join(link), name, schedule.trim_matches('`'), source)
    });
    let mut listed = vec![];
    for (path, name, schedule, source) in rows {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert!(text.starts_with(&format!("# {name}: ")), "{path:?}: {name}");
        assert!(text.contains(&format!("# Source: {source}, ")), "{path:?}: {source}");
        let held = ScheduleConfig::load(&path).unwrap();
        assert_eq!(schedule.parse(), Ok(held), "{path:?}");
        listed.push(path);
    }
    listed.sort();
    assert_eq!(listed, recipes());
}
