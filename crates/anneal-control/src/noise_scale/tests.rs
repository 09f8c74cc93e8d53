//! Gradients drawn from a known distribution.

use super::*;
use crate::{Controllers, Due, FiniteGuard, Observation, RunLength};

/// Normal numbers from a seed: SplitMix64 and Box–Muller.
struct Normal(u64);

impl Normal {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn draw(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Gradients of single items, normally distributed around G with the variances of Σ, in batches of `items`.
#[derive(Clone, Copy)]
struct Gradients<'a> {
    mean: &'a [f64],
    variances: &'a [f64],
    items: u64,
    batches: u64,
}

impl Gradients<'_> {
    fn noise_scale(&self) -> f64 {
        let squared: f64 = self.mean.iter().map(|g| g * g).sum();
        self.variances.iter().sum::<f64>() / squared
    }

    /// The observation of an update: the mean over a batch is normal too.
    fn observed(&self, random: &mut Normal) -> Observation {
        let n = self.batches as f64;
        let (mut of_batches, mut of_mean) = (0.0, 0.0);
        for (mean, variance) in self.mean.iter().zip(self.variances) {
            let deviation = (variance / self.items as f64).sqrt();
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..self.batches {
                let gradient = mean + deviation * random.draw();
                sum += gradient;
                squares += gradient * gradient;
            }
            of_batches += squares / n;
            of_mean += (sum / n).powi(2);
        }
        seen(self.batches, of_batches, of_mean)
    }

    fn measured(&self, rule: NoiseScale, updates: u64, seed: u64) -> Controllers {
        let mut random = Normal(seed << 32);
        let mut controllers = with(rule, self.items, self.batches);
        for number in 0..updates {
            let seen = self.observed(&mut random);
            controllers.update(Due::at(number, 1.0), &seen).unwrap();
        }
        controllers
    }
}

/// An update with these squared norms.
fn seen(batches: u64, of_batches: f64, of_mean: f64) -> Observation {
    Observation {
        batches: Some(batches),
        batch_gradient_norm: Some(of_batches.sqrt()),
        mean_gradient_norm: Some(of_mean.sqrt()),
        ..Observation::default()
    }
}

fn run(items: u64, batches: u64) -> Run {
    let run = RunLength::from_items(1 << 20, items as usize).epochs(9);
    run.gradient_accumulation(batches as usize).resolve().unwrap()
}

fn with(rule: NoiseScale, items: u64, batches: u64) -> Controllers {
    let mut controllers = Controllers::default();
    controllers.add("noise", rule.build(&run(items, batches)).unwrap());
    controllers
}

fn state(controllers: &Controllers) -> serde_json::Value {
    controllers.states().last().unwrap().1
}

const MEAN: [f64; 8] = [1.0, -0.5, 0.25, 0.0, 0.0, 0.3, -0.1, 0.7];
const VARIANCES: [f64; 8] = [9.0, 40.0, 1.0, 0.1, 25.0, 0.0, 16.0, 4.0];

/// A 95 % interval misses in 50 of 1,000 simulations, ± 7.
#[test]
fn the_interval_has_the_noise_scale_in_95_of_100_simulations() {
    for (items, batches, half_life, updates) in
        [(8, 4, 100, 400), (4, 8, 30, 200), (32, 2, 100, 60), (16, 3, 500, 25)]
    {
        let gradients = Gradients { mean: &MEAN, variances: &VARIANCES, items, batches };
        let truth = gradients.noise_scale();
        let rule = NoiseScale::new().half_life(half_life);
        let (mut known, mut within) = (0, 0);
        for seed in 0..1_000 {
            let measured = gradients.measured(rule, updates, seed).gradient_noise().unwrap();
            let Some(scale) = measured.scale else { continue };
            known += 1;
            within += i32::from(scale.low <= truth && truth <= scale.high);
        }
        assert!(known >= 950, "{known} are known");
        let share = f64::from(within) / f64::from(known);
        assert!((0.925..=0.975).contains(&share), "{share} of them are right");
    }
}

/// The quotient of both means is accurate to a few percent; the mean of the quotients of single updates is
/// not.
#[test]
fn parts_are_averaged_before_they_are_divided() {
    let gradients = Gradients { mean: &MEAN, variances: &VARIANCES, items: 64, batches: 4 };
    let (truth, mut of_means, mut of_quotients) = (gradients.noise_scale(), 0.0, 0.0);
    for seed in 0..200 {
        let measured = gradients.measured(NoiseScale::new(), 500, seed).gradient_noise().unwrap();
        of_means += measured.scale.unwrap().value / 200.0;
    }
    for seed in 0..10_000 {
        let one = gradients.measured(NoiseScale::new(), 1, seed).gradient_noise().unwrap();
        of_quotients += one.noise / one.squared_gradient / 10_000.0;
    }
    assert!((of_means / truth - 1.0).abs() < 0.03, "{of_means}, not {truth}");
    assert!(of_quotients / truth > 1.1, "{of_quotients}, not {truth}");
}

#[test]
fn both_parts_are_unbiased() {
    let gradients = Gradients { mean: &MEAN, variances: &VARIANCES, items: 4, batches: 5 };
    let measured = gradients.measured(NoiseScale::new().half_life(1 << 40), 40_000, 3);
    let GradientNoise { squared_gradient, noise, updates, .. } = measured.gradient_noise().unwrap();
    let squared: f64 = MEAN.iter().map(|g| g * g).sum();
    assert!((squared_gradient / squared - 1.0).abs() < 0.05, "{squared_gradient}");
    assert!((noise / VARIANCES.iter().sum::<f64>() - 1.0).abs() < 0.02, "{noise}");
    assert_eq!(updates, 40_000);
}

/// Without a gradient, one is found in 2.5 of 100 simulations, and no number is negative or infinite.
#[test]
fn a_gradient_that_is_all_noise_has_no_noise_scale() {
    let gradients = Gradients { mean: &[0.0; 8], variances: &VARIANCES, items: 8, batches: 4 };
    let mut known = 0;
    for seed in 0..400 {
        for updates in [1, 9, 200] {
            let rule = NoiseScale::new().half_life(50);
            let measured = gradients.measured(rule, updates, seed).gradient_noise().unwrap();
            let Some(NoiseScaleEstimate { value, low, high }) = measured.scale else { continue };
            assert!(updates == 200, "nine updates are too few");
            assert!(0.0 <= low && low <= value && value <= high && high.is_finite());
            known += 1;
        }
    }
    assert!(known <= 24, "{known} of 400 are known");
}

/// By hand: |G|² = (2·3 − 5)/1 = 1 and tr Σ = 10 (5 − 3)·2 = 40 in one update; the previous one has weight
/// 2^(−1/4).
#[test]
fn the_formulas_are_those_of_the_paper() {
    let mut controllers = with(NoiseScale::new().half_life(4), 10, 2);
    controllers.update(Due::at(0, 1.0), &seen(2, 5.0, 3.0)).unwrap();
    let found = controllers.gradient_noise().unwrap();
    assert!((found.squared_gradient - 1.0).abs() < 1e-12 && (found.noise - 40.0).abs() < 1e-12);
    assert_eq!(found.scale, None);
    // 4 batches: (4·3 − 6)/3 = 2 and 10 (6 − 3)·4/3 = 40.
    controllers.update(Due::at(1, 1.0), &seen(4, 6.0, 3.0)).unwrap();
    let found = controllers.gradient_noise().unwrap();
    let memory = 0.5_f64.powf(0.25);
    let expected = (memory * 1.0 + 2.0) / (memory + 1.0);
    assert!((found.squared_gradient - expected).abs() < 1e-12, "{found}");
    assert!((found.noise - 40.0).abs() < 1e-12, "{found}");
}

/// B_big = n b and B_small = b in the formulas of appendix A.1.
#[test]
fn they_agree_with_appendix_a_1() {
    for (items, batches, of_batches, of_mean) in [(8, 4, 3.0, 1.25), (3, 7, 0.2, 0.19)] {
        let mut controllers = with(NoiseScale::new(), items, batches);
        controllers.update(Due::at(0, 1.0), &seen(batches, of_batches, of_mean)).unwrap();
        let found = controllers.gradient_noise().unwrap();
        let (small, big) = (items as f64, (items * batches) as f64);
        let gradient = (big * of_mean - small * of_batches) / (big - small);
        let noise = (of_batches - of_mean) / (1.0 / small - 1.0 / big);
        assert!((found.squared_gradient - gradient).abs() < 1e-12);
        assert!((found.noise - noise).abs() < 1e-12);
    }
}

#[test]
fn gradients_without_noise_have_a_noise_scale_of_0() {
    let mut controllers = with(NoiseScale::new(), 8, 4);
    for number in 0..20 {
        controllers.update(Due::at(number, 1.0), &seen(4, 2.0, 2.0)).unwrap();
    }
    let scale = controllers.gradient_noise().unwrap().scale.unwrap();
    assert_eq!((scale.value, scale.low), (0.0, 0.0));
}

#[test]
fn what_says_nothing_is_counted() {
    let mut controllers = Controllers::default();
    controllers.add("guard", FiniteGuard::skip(9).unwrap());
    controllers.add("noise", NoiseScale::new().build(&run(8, 4)).unwrap());
    let good = seen(4, 3.0, 1.0);
    let loss = |loss| Observation { loss: Some(loss), ..good };
    for seen in [
        good,
        seen(1, 3.0, 3.0),
        Observation { batches: None, ..good },
        Observation { batch_gradient_norm: None, mean_gradient_norm: None, ..good },
        Observation { overflow: true, batch_gradient_norm: Some(f64::INFINITY), ..good },
        seen(4, f64::NAN, 1.0),
        seen(4, 1e300, 1.0),
        loss(f64::NAN),
    ] {
        controllers.update(Due::at(0, 1.0), &seen).unwrap();
    }
    let state = state(&controllers);
    for (what, count) in
        [("measured", 1), ("single", 2), ("uneven", 1), ("not_finite", 3), ("skipped", 1)]
    {
        assert_eq!(state[what], count, "{what}");
    }
    let noise = controllers.gradient_noise().unwrap();
    assert!((noise.squared_gradient - 1.0 / 3.0).abs() < 1e-12, "{noise}");
    assert!(noise.to_string().starts_with("noise scale unknown"), "{noise}");
}

#[test]
fn it_answers_nothing_and_needs_two_norms() {
    let mut controllers = with(NoiseScale::new(), 8, 4);
    assert!(controllers.gradient_noise().is_none());
    let needs = Needs { gradient_norm: true, batch_gradient_norm: true, ..Needs::default() };
    assert_eq!(controllers.needs(), needs);
    let decision = controllers.update(Due::at(0, 1.0), &seen(4, 3.0, 1.0)).unwrap();
    assert!(decision.answer.is_none() && decision.groups.is_empty());
    controllers.add("for a part", NoiseScale::new().until(5).build(&run(8, 4)).unwrap());
    controllers.add("of a group", NoiseScale::new().on_group("head").build(&run(8, 4)).unwrap());
    let error = controllers.set_up([["head"]]).unwrap_err().to_string();
    assert!(error.starts_with("`of a group` acts on the whole update"), "{error}");
}

#[test]
fn it_is_heard_in_a_part_of_the_run_too() {
    let rule = NoiseScale::new().after(2).until(4);
    let mut controllers = Controllers::default();
    controllers.add("noise", rule.build(&run(8, 4)).unwrap());
    for number in 0..6 {
        controllers.update(Due::at(number, 1.0), &seen(4, 3.0, 1.0)).unwrap();
    }
    assert_eq!(controllers.gradient_noise().unwrap().updates, 2);
    assert_eq!(controllers.needs(), Needs::default());
}

#[test]
fn it_goes_on_from_a_checkpoint() {
    let gradients = Gradients { mean: &MEAN, variances: &VARIANCES, items: 8, batches: 4 };
    let mut random = Normal(7);
    let updates: Vec<Observation> = (0..60).map(|_| gradients.observed(&mut random)).collect();
    let take = |controllers: &mut Controllers, updates: &[Observation]| {
        updates.iter().for_each(|seen| {
            controllers.update(Due::at(0, 1.0), seen).unwrap();
        });
    };
    let mut whole = with(NoiseScale::new(), 8, 4);
    take(&mut whole, &updates);
    for cut in 0..60 {
        let mut first = with(NoiseScale::new(), 8, 4);
        take(&mut first, &updates[..cut]);
        let text = serde_json::to_string(&first.save()).unwrap();
        let mut resumed = with(NoiseScale::new(), 8, 4);
        resumed.restore(serde_json::from_str(&text).unwrap()).unwrap();
        take(&mut resumed, &updates[cut..]);
        assert_eq!(resumed.gradient_noise(), whole.gradient_noise(), "{cut}");
        assert_eq!(state(&resumed), state(&whole), "{cut}");
    }
    assert!(whole.gradient_noise().unwrap().scale.is_some());
}

#[test]
fn a_state_that_is_none_is_refused() {
    let refused = |change: &dyn Fn(&mut MeterState)| {
        let mut meter = MeterState {
            moments: Moments::default().with(0.9, 1.0, 1.0).with(0.9, 2.0, 1.0),
            measured: 2,
            ..MeterState::default()
        };
        change(&mut meter);
        let mut controller = NoiseScale::new().build(&run(8, 4)).unwrap().controller;
        controller.restore(serde_json::to_value(meter).unwrap()).is_err()
    };
    assert!(!refused(&|_| {}) && !refused(&|meter| *meter = MeterState::default()));
    assert!(refused(&|meter| meter.measured = 0));
    assert!(refused(&|meter| meter.moments = Moments::default()));
}

#[test]
fn each_field_out_of_range_is_refused() {
    let refused =
        |rule: NoiseScale, run: RunLength| rule.build(&run.resolve().unwrap()).unwrap_err();
    let items = RunLength::from_items(100, 8).gradient_accumulation(4);
    let counted = RunLength::updates(100).gradient_accumulation(4);
    let rule = NoiseScale::new();
    assert_eq!(refused(rule, counted).to_string().split(" is").next(), Some("batch_size: unknown"));
    assert_eq!(refused(rule.batch_size(0), counted).field, "batch_size");
    assert_eq!(refused(rule.batch_size(32), items).field, "batch_size");
    for half_life in [Span::steps(3), Span::steps(0), Span::epochs(1)] {
        let rule = rule.batch_size(8).half_life(half_life);
        assert_eq!(refused(rule, counted).field, "half_life");
    }
    for run in
        [RunLength::from_items(100, 8), RunLength::from_items(100, 8).gradient_accumulation(1)]
    {
        let error = refused(rule, run);
        assert_eq!((error.field.as_str(), error.value.as_str()), ("batches_per_update", "1"));
    }
    for run in
        [items, RunLength::from_items(100, 8).devices(2), items.gradient_accumulation_ramp(1, 9)]
    {
        assert!(
            rule.build(&run.resolve().unwrap()).is_ok()
                && rule.batch_size(8).build(&run.resolve().unwrap()).is_ok()
        );
    }
}

#[test]
fn it_is_written_and_read_back() {
    let rule = crate::Rule::from(NoiseScale::new().batch_size(32).half_life(Span::epochs(1)));
    let text = serde_json::to_string(&rule).unwrap();
    assert_eq!(text, r#"{"noise_scale":{"batch_size":32,"half_life":"1ep"}}"#);
    assert_eq!(serde_json::from_str::<crate::Rule>(&text).unwrap(), rule);
    let least = serde_json::from_str::<crate::Rule>(r#"{"noise_scale":{}}"#).unwrap();
    assert_eq!(least, NoiseScale::new().into());
}
