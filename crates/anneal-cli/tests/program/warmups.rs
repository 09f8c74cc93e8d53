//! The warm-ups of other libraries and papers: each line of the table in `docs/schedules.md`, beside the
//! formula of its source.

use crate::docs;
use anneal_schedule::{RunLength, ScheduleConfig, ScheduleExt};
use std::f64::consts::PI;
use std::fs;

/// The numbers of a schedule.
#[derive(Clone, Copy, Debug)]
struct Of {
    peak: f64,
    init: f64,
    /// Updates of the warm-up.
    n: f64,
    /// Updates of the run.
    total: f64,
    /// The interval of a drop.
    d: f64,
    /// Updates per epoch.
    e: f64,
}

type Formula = fn(f64, Of) -> f64;

fn half_cosine(x: f64) -> f64 {
    0.5 * (1.0 + (PI * x).cos())
}

/// A cosine from the peak to `end` over the updates after the warm-up.
fn cosine_after(t: f64, of: Of, end: f64) -> f64 {
    end + (of.peak - end) * half_cosine((t - of.n) / (of.total - of.n))
}

/// `first` and `last` as in numpy's `linspace(first, last, count)[i]`.
fn linspace(first: f64, last: f64, count: f64, i: f64) -> f64 {
    if count == 1.0 { first } else { first + i * (last - first) / (count - 1.0) }
}

/// DeepSpeed's `_get_gamma` after `b` steps of the scheduler.
fn deepspeed(b: f64, n: f64, log: bool) -> f64 {
    match () {
        // The rate set when the scheduler is made.
        () if b < 0.0 => 0.0,
        () if b < n && log => (1.0 / n.ln()) * (b + 1.0).ln(),
        () if b < n => b / n,
        () => 1.0,
    }
}

/// The first words of each line of the table, and the formula of its source.
const SOURCES: [(&str, Formula); 17] = [
    ("nanoGPT", |t, of| match t < of.n {
        true => of.peak * (t + 1.0) / (of.n + 1.0),
        false => cosine_after(t, of, of.peak / 10.0),
    }),
    ("Llama, transformers, Composer", |t, of| match t < of.n {
        true => of.peak * t / of.n,
        false => cosine_after(t, of, of.peak / 10.0),
    }),
    ("T5X", |t, of| {
        let constant = of.peak * of.n.sqrt();
        constant * (t / of.n).min(1.0) / t.max(of.n).sqrt()
    }),
    ("optax `warmup_cosine_decay_schedule`", |t, of| match t < of.n {
        true => of.init + (of.peak - of.init) * t / of.n,
        false => cosine_after(t, of, of.peak / 10.0),
    }),
    ("torch `SequentialLR", |t, of| match t < of.n {
        true => of.peak * (0.1 + (1.0 - 0.1) * t / of.n),
        false => cosine_after(t, of, 0.0),
    }),
    ("torch `ChainedScheduler", |t, of| {
        let rise = 0.1 + (1.0 - 0.1) * t.min(of.n) / of.n;
        of.peak * rise * if t >= of.d { 0.1 } else { 1.0 }
    }),
    ("timm, `warmup_lr_init`", |t, of| match t < of.n {
        true => of.init + t * (of.peak - of.init) / of.n,
        false => of.peak / 10.0 + 0.9 * of.peak * half_cosine(t / of.total),
    }),
    ("timm, `warmup_prefix`", |t, of| match t < of.n {
        true => of.init + t * (of.peak - of.init) / of.n,
        false => of.peak * (1.0 - (t - of.n) / (of.total - of.n)).powf(0.5),
    }),
    ("BERT", |t, of| match t < of.n {
        true => of.peak * (t / of.n),
        false => of.peak * (1.0 - t / of.total),
    }),
    ("EfficientNet", |t, of| match t < of.n {
        true => of.peak * t / of.n,
        false => of.peak * 0.97f64.powf((t / of.d).floor()),
    }),
    ("Composer `MultiStepWithWarmupScheduler`", |t, of| match t < of.n {
        true => of.peak * (t / of.n),
        false => of.peak * if t >= of.d { 0.1 } else { 1.0 },
    }),
    ("NVIDIA's ResNet-50", |t, of| match t < of.n {
        true => of.peak * (t + 1.0) / of.n,
        false => cosine_after(t, of, 0.0),
    }),
    ("DINO", |t, of| match t < of.n {
        true => linspace(of.init, of.peak, of.n, t),
        false => cosine_after(t, of, of.peak / 10.0),
    }),
    ("DeepSpeed `WarmupLR`, linear", |t, of| of.peak * deepspeed(t - 1.0, of.n, false)),
    ("DeepSpeed `WarmupLR`, log", |t, of| {
        of.init + (of.peak - of.init) * deepspeed(t - 1.0, of.n, true)
    }),
    ("YOLOv5", |t, of| {
        let epoch = (t / of.e).floor();
        let rate = of.peak * ((1.0 - epoch / (of.total / of.e)) * (1.0 - 0.01) + 0.01);
        if t <= of.n { t / of.n * rate } else { rate }
    }),
    ("fastai `fit_one_cycle`", |t, of| {
        let cos =
            |from: f64, to: f64, x: f64| from + (1.0 + (PI * (1.0 - x)).cos()) * (to - from) / 2.0;
        match t / of.total {
            x if x < 0.25 => cos(of.peak / 25.0, of.peak, x / 0.25),
            x => cos(of.peak, of.peak / 1e5, (x - 0.25) / 0.75),
        }
    }),
];

/// The lines of the table: the first column, and the code of the last.
fn table() -> Vec<(String, String)> {
    let page = fs::read_to_string(docs().join("schedules.md")).unwrap();
    let lines = page.lines().skip_while(|line| !line.starts_with("| in | the rate of update t"));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [source, _, write] = cells[..] else { panic!("{line}") };
        (source.to_string(), write.trim_matches('`').to_string())
    };
    rows.map(row).collect()
}

/// The text with numbers in place of the words `peak`, `init`, `n`, `d` and `e`.
fn filled(text: &str, of: Of) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(1);
        filled += &match &rest[..word] {
            "peak" => format!("{:?}", of.peak),
            "init" => format!("{:?}", of.init),
            "n" => of.n.to_string(),
            "d" => of.d.to_string(),
            "e" => of.e.to_string(),
            other => other.to_string(),
        };
        rest = &rest[word..];
    }
    filled
}

#[test]
fn warm_ups_elsewhere_are_what_the_page_says() {
    let table = table();
    assert_eq!(table.len(), SOURCES.len());
    for ((source, write), (name, formula)) in table.iter().zip(SOURCES) {
        assert!(source.starts_with(name), "{source}: {name}");
        for (n, total) in
            [(1u32, 20u64), (2, 20), (7, 100), (100, 1_000), (333, 1_000), (50, 50_000)]
        {
            // DeepSpeed warms up for at least 2 updates.
            if n < 2 && name.starts_with("DeepSpeed") {
                continue;
            }
            let (n, t) = (f64::from(n), total as f64);
            let of = Of { peak: 3e-3, init: 1e-6, n, total: t, d: t / 10.0, e: 10.0 };
            let text = filled(write, of);
            let config: ScheduleConfig = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            let schedule = config.resolve(RunLength::updates(total)).unwrap();
            for update in 0..total {
                let (rate, expected) = (schedule.rate(update), formula(update as f64, of));
                // 1 + cos x is only known to one rounding near the end of a half wave.
                let allowed = 1e-12 * expected + f64::EPSILON * of.peak;
                assert!(
                    (rate - expected).abs() <= allowed,
                    "{source}: {text} at {update}: {rate:e}, not {expected:e}"
                );
            }
        }
    }
}
