use super::PrivacyAccountant;
use super::sampled_gaussian::divergence;
use crate::{
    AnyController, Controllers, Describe, Due, Observation, OutOfRange, PrivacyBudget, RunLength,
};
use proptest::prelude::*;

fn close(found: f64, expected: f64, within: f64) {
    let off = (found - expected).abs();
    assert!(off <= within * expected.abs().max(1.0), "{found}, not {expected}");
}

fn accountant(noise_multiplier: f64, sampling_rate: f64, steps: u64) -> PrivacyAccountant {
    let mut accountant = PrivacyAccountant::new(noise_multiplier, sampling_rate).unwrap();
    accountant.steps(steps);
    accountant
}

fn epsilon(noise_multiplier: f64, sampling_rate: f64, steps: u64, delta: f64) -> f64 {
    accountant(noise_multiplier, sampling_rate, steps).epsilon(delta).unwrap()
}

#[test]
fn it_agrees_with_dp_accounting() {
    // dp-accounting 0.6.0, RdpAccountant: rate, noise multiplier, steps, δ; ε and its order.
    let values = [
        (0.01079, 2.819, 5_000, 1e-6, 1.304_616_508_241_021, None),
        (0.02431, 2.281, 100, 1e-5, 0.469_729_223_018_823_36, None),
        (0.01116, 1.698, 100, 1e-5, 0.380_578_873_374_487, None),
        (0.004821, 0.6255, 5_000, 1e-6, 8.467_919_176_342_276, None),
        (0.001093, 2.084, 1_000, 1e-5, 0.122_488_553_984_272_15, None),
        (0.02076, 2.859, 1_000, 1e-5, 0.978_491_849_241_180_7, None),
        (1.0, 1.0, 1, 1e-5, 4.728_507_067_217_623, Some(5.4)),
        (1.0, 0.3, 10, 1e-6, 109.054_811_944_377_46, Some(1.5)),
        (1e-5, 20.0, 1_000_000, 1e-10, 0.014_883_654_688_449_797, Some(1_024.0)),
        // Here fractional orders have series that do not converge in time, and are omitted.
        (0.5, 0.8, 50, 1e-3, 35.017_465_784_580_91, Some(1.8)),
        (0.9, 3.0, 1_000, 1e-8, 101.688_109_158_942_52, Some(1.6)),
        (0.01, 0.3, 100, 0.1, 9.670_977_552_451_431, Some(1.3)),
        (0.2, 0.05, 3, 1e-5, 718.666_806_506_986_2, Some(1.1)),
        (0.004, 0.9, 100_000, 1e-7, 12.602_765_904_970_912, Some(3.6)),
        // 0 by the bound on the total variation.
        (1e-4, 5.0, 1, 0.1, 0.0, Some(1.1)),
    ];
    for (rate, noise, steps, delta, expected, order) in values {
        let accountant = accountant(noise, rate, steps);
        close(accountant.epsilon(delta).unwrap(), expected, 1e-9);
        let found = accountant.best_order(delta).unwrap();
        assert!(order.is_none_or(|order: f64| (found - order).abs() < 1e-9), "{found}");
    }
}

/// ln A / (α − 1) by Simpson's rule.
fn by_integration(noise: f64, rate: f64, order: f64) -> f64 {
    let (low, high, intervals) = (-12.0 * noise, order + 12.0 * noise, 20_000);
    let width = (high - low) / f64::from(intervals);
    let at = |z: f64| {
        let ratio = (1.0 - rate) + rate * ((2.0 * z - 1.0) / (2.0 * noise * noise)).exp();
        let ln_density = -0.5 * (z / noise).powi(2) - (noise * std::f64::consts::TAU.sqrt()).ln();
        (order * ratio.ln() + ln_density).exp()
    };
    let weighted = |i: i32| {
        let weight = if i == 0 || i == intervals { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
        weight * at(low + width * f64::from(i))
    };
    let moment = (0..=intervals).map(weighted).sum::<f64>() * width / 3.0;
    moment.ln() / (order - 1.0)
}

#[test]
fn a_divergence_is_the_integral() {
    for (noise, rate) in [(1.0, 0.01), (0.7, 0.05), (2.0, 0.2), (4.0, 0.6)] {
        for order in [2.0, 3.0, 7.0, 16.0] {
            let integral = by_integration(noise, rate, order);
            let found = divergence(noise, rate, order);
            assert!((found / integral - 1.0).abs() < 1e-7, "{noise} {rate} {order}: {found}");
        }
    }
}

#[test]
fn at_a_fractional_order_it_is_a_bound_on_the_integral() {
    for (noise, rate) in [(1.0, 0.01), (0.7, 0.05), (2.0, 0.2)] {
        for order in [1.1, 2.5, 5.7, 10.3] {
            let ratio = divergence(noise, rate, order) / by_integration(noise, rate, order);
            assert!(ratio > 1.0 - 1e-7, "{noise} {rate} {order}: {ratio}");
        }
    }
    // If the terms of alternating sign are small, it equals the integral.
    for order in [1.5, 2.5, 5.7, 10.3] {
        let ratio = divergence(2.0, 0.001, order) / by_integration(2.0, 0.001, order);
        assert!((ratio - 1.0).abs() < 1e-2, "{order}: {ratio}");
    }
}

#[test]
fn all_the_data_have_the_divergence_of_the_normal_distributions() {
    for (noise, order) in [(0.5, 1.1), (1.0, 2.0), (3.0, 10.5), (20.0, 1_024.0)] {
        close(divergence(noise, 1.0, order), order / (2.0 * noise * noise), 1e-15);
        // As the rate approaches 1.
        let near = divergence(noise, 1.0 - 1e-12, order.ceil());
        close(near / (order.ceil() / (2.0 * noise * noise)), 1.0, 1e-8);
    }
    // The minimum of α/2σ² + ln(1 − 1/α) − ln(δ α)/(α − 1) over many given orders.
    let orders: Vec<f64> = (1..2_000).map(|i| 1.0 + f64::from(i) / 100.0).collect();
    let (noise, delta) = (2.0, 1e-6);
    let of = |a: &f64| a / 8.0 + (1.0 - 1.0 / a).ln() - (delta * a).ln() / (a - 1.0);
    let expected = orders.iter().map(of).fold(f64::INFINITY, f64::min);
    let mut accountant = PrivacyAccountant::with_orders(noise, 1.0, orders).unwrap();
    accountant.step();
    close(accountant.epsilon(delta).unwrap(), expected, 1e-12);
}

#[test]
fn phases_add_up() {
    let phases = [(1.0, 0.01, 500), (1.5, 0.02, 300), (2.0, 0.01, 1_000)];
    // dp-accounting 0.6.0, for the three together.
    let expected = 2.068_729_601_556_314_4;
    for order in [[0, 1, 2], [2, 0, 1]] {
        let (noise, rate, steps) = phases[order[0]];
        let mut accountant = accountant(noise, rate, steps);
        for (noise, rate, steps) in [phases[order[1]], phases[order[2]]] {
            accountant.change(noise, rate).unwrap();
            accountant.steps(steps);
        }
        close(accountant.epsilon(1e-5).unwrap(), expected, 1e-12);
        assert_eq!(accountant.counted(), 1_800);
        assert_eq!(accountant.best_order(1e-5), Ok(8.0));
    }
}

#[test]
fn phases_of_the_same_noise_and_rate_are_one() {
    let mut there_and_back = accountant(1.0, 0.01, 300);
    there_and_back.change(5.0, 0.5).unwrap();
    there_and_back.change(1.0, 0.01).unwrap();
    (0..200).for_each(|_| there_and_back.step());
    assert_eq!(there_and_back, accountant(1.0, 0.01, 500));
    assert!(there_and_back.change(0.0, 0.01).is_err());
    assert_eq!(there_and_back, accountant(1.0, 0.01, 500));
}

#[test]
fn its_orders_may_be_given() {
    let with = |orders: Vec<f64>| {
        let mut accountant = PrivacyAccountant::with_orders(1.0, 0.01, orders).unwrap();
        accountant.steps(1_000);
        accountant
    };
    // dp-accounting 0.6.0, with these orders.
    let few = with(vec![1.5, 2.0, 4.0, 8.5]);
    close(few.epsilon(1e-5).unwrap(), 2.213_941_010_694_603_6, 1e-12);
    // Near 1 the formula is not used.
    assert_eq!(with(vec![1.005]).epsilon(1e-5), Ok(f64::INFINITY));
    assert_eq!(with(vec![1.005]).epsilon(0.5), Ok(0.0));
    let text = serde_json::to_string(&few).unwrap();
    assert_eq!(serde_json::from_str::<PrivacyAccountant>(&text).unwrap(), few);
    // 0.3 + ln(5/6) − ln(3)/5 is below 0, and 1 − e^−0.3 above δ² = 1/4.
    let mut large_delta = PrivacyAccountant::with_orders(10f64.sqrt(), 1.0, vec![6.0]).unwrap();
    large_delta.step();
    assert_eq!(large_delta.epsilon(0.5), Ok(0.0));
    for orders in [vec![], vec![2.0, 1.0], vec![f64::NAN], vec![f64::INFINITY], vec![1e5]] {
        let error = PrivacyAccountant::with_orders(1.0, 0.01, orders).unwrap_err();
        assert_eq!(error.field, "orders");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn more_updates_less_noise_and_more_items_spend_more(
        noise in 0.4f64..8.0,
        ln_rate in -8.0f64..-2.0,
        steps in 1u64..100_000,
        ln_delta in -25.0f64..-2.0,
        more in 1.01f64..3.0,
    ) {
        let (rate, delta) = (ln_rate.exp(), ln_delta.exp());
        let least = epsilon(noise, rate, steps, delta) * (1.0 - 1e-9);
        prop_assert!(epsilon(noise, rate, steps * 2, delta) >= least);
        prop_assert!(epsilon(noise, rate, steps, delta / more) >= least);
        prop_assert!(epsilon(noise / more, rate, steps, delta) >= least);
        prop_assert!(epsilon(noise, (rate * more).min(1.0), steps, delta) >= least);
    }
}

#[test]
fn the_noise_for_an_epsilon_is_that_of_dp_accounting() {
    // dp-accounting 0.6.0, calibrate_dp_mechanism with tol = 1e-10.
    let expected = [
        (1.0, 1.261_520_291_493_689_8),
        (8.0, 0.571_007_613_108_977_6),
        (0.05, 16.397_618_589_312_106),
    ];
    let rate = 256.0 / 60_000.0;
    for (target, noise) in expected {
        let found = PrivacyAccountant::noise_multiplier_for(target, 1e-5, rate, 3_500).unwrap();
        close(found, noise, 1e-8);
        let back = epsilon(found, rate, 3_500, 1e-5);
        assert!(back <= target && back > target * (1.0 - 1e-7), "{back}, not {target}");
    }
}

#[test]
fn the_updates_within_an_epsilon_are_counted_to_one() {
    let rate = 256.0 / 60_000.0;
    // dp-accounting 0.6.0 has an ε of at most 2 for 8,642 updates, and of more for the next.
    let fresh = accountant(1.1, rate, 0);
    assert_eq!(fresh.steps_within(2.0, 1e-5), Ok(8_642));
    assert!(epsilon(1.1, rate, 8_642, 1e-5) <= 2.0 && epsilon(1.1, rate, 8_643, 1e-5) > 2.0);
    assert_eq!(accountant(1.1, rate, 8_000).steps_within(2.0, 1e-5), Ok(642));
    assert_eq!(accountant(1.1, rate, 8_643).steps_within(2.0, 1e-5), Ok(0));
    // What another phase has spent remains spent.
    let mut second = accountant(0.9, rate, 1_000);
    second.change(1.1, rate).unwrap();
    let left = second.steps_within(2.0, 1e-5).unwrap();
    second.steps(left);
    assert!(left > 0 && left < 8_642 && second.epsilon(1e-5).unwrap() <= 2.0);
    second.step();
    assert!(second.epsilon(1e-5).unwrap() > 2.0);
    // So little that every countable number of updates is within.
    assert_eq!(accountant(1e200, 1e-9, 0).steps_within(1.0, 1e-5), Ok(u64::MAX));
}

#[test]
fn extremes_are_no_nonsense() {
    // Before the first update nothing is spent, whatever the noise.
    assert_eq!(epsilon(1e-200, 0.01, 0, 1e-5), 0.0);
    let mut spent = accountant(1.0, 0.01, 500);
    spent.change(1e-200, 0.01).unwrap();
    assert_eq!(spent.epsilon(1e-5).unwrap(), epsilon(1.0, 0.01, 500, 1e-5));
    for order in [1.5, 2.0, 100.0] {
        assert!(divergence(1e-153, 0.01, order) > 1e300);
    }
    for noise in [1e-200, 1e-160, 1e-154, 1e-150] {
        for rate in [0.01, 1.0] {
            assert!(epsilon(noise, rate, 1, 1e-5) > 1e100, "{noise}");
        }
    }
    for (noise, rate) in [(1.0, 1e-300), (1.0, 1.0 - f64::EPSILON / 2.0), (1e200, 0.5), (1e-3, 0.5)]
    {
        let found = epsilon(noise, rate, 1, 1e-5);
        assert!(found >= 0.0 && found.is_finite(), "{noise} {rate}: {found}");
    }
    assert!(epsilon(1.0, 0.5, u64::MAX, 1e-5) > 1e18);
}

#[test]
fn rounding_makes_nothing_private() {
    // To second order in 1/σ the divergence is α q² / 2σ², and with this δ it gives an ε of 0.
    for noise in [1e3, 1e5, 1e8] {
        for order in [1.1, 2.0, 2.9, 10.9, 63.0] {
            let least = order * 1e-12 / (2.0 * noise * noise);
            let ratio = divergence(noise, 1e-6, order) / least;
            assert!((0.999..2.0).contains(&ratio), "{noise} {order}: {ratio}");
        }
        assert!(epsilon(noise, 1e-6, 1, 1e-17) > 0.01);
    }
}

#[test]
fn it_refuses_each_field() {
    let field = |result: Result<f64, OutOfRange>| result.unwrap_err().field;
    for noise in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(PrivacyAccountant::new(noise, 0.1).unwrap_err().field, "noise_multiplier");
    }
    let noise_for = PrivacyAccountant::noise_multiplier_for;
    for rate in [0.0, -0.1, 1.1, f64::NAN] {
        assert_eq!(PrivacyAccountant::new(1.0, rate).unwrap_err().field, "sampling_rate");
        assert_eq!(field(noise_for(1.0, 1e-5, rate, 10)), "sampling_rate");
    }
    let accountant = accountant(1.0, 0.1, 10);
    for delta in [0.0, 1.0, -1e-5, f64::NAN] {
        assert_eq!(field(accountant.epsilon(delta)), "delta");
        assert_eq!(field(accountant.best_order(delta)), "delta");
        assert_eq!(field(noise_for(1.0, delta, 0.1, 10)), "delta");
        assert_eq!(accountant.steps_within(1.0, delta).unwrap_err().field, "delta");
    }
    for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(field(noise_for(epsilon, 1e-5, 0.1, 10)), "epsilon");
        assert_eq!(accountant.steps_within(epsilon, 1e-5).unwrap_err().field, "epsilon");
    }
    assert_eq!(field(noise_for(1.0, 1e-5, 0.1, 0)), "steps");
    // For less noise than the search covers, and for more.
    assert_eq!(field(noise_for(1e12, 1e-5, 0.1, 10)), "epsilon");
    assert_eq!(field(noise_for(1e-9, 1e-15, 1.0, 1_000_000)), "epsilon");
}

#[test]
fn a_checkpoint_holds_it() {
    let mut whole = accountant(1.5, 0.01, 700);
    whole.change(1.25, 0.02).unwrap();
    whole.steps(30);
    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(
        text,
        r#"{"phases":[{"noise_multiplier":1.5,"sampling_rate":0.01,"steps":700},{"noise_multiplier":1.25,"sampling_rate":0.02,"steps":30}]}"#
    );
    let mut resumed: PrivacyAccountant = serde_json::from_str(&text).unwrap();
    assert_eq!(resumed, whole);
    resumed.step();
    whole.step();
    assert_eq!(resumed.epsilon(1e-5), whole.epsilon(1e-5));

    let error =
        |text: &str| serde_json::from_str::<PrivacyAccountant>(text).unwrap_err().to_string();
    assert!(error(r#"{"phases":[]}"#).contains("phases"));
    let no_noise = r#"{"phases":[{"noise_multiplier":0.0,"sampling_rate":0.01,"steps":7}]}"#;
    assert!(error(no_noise).contains("noise_multiplier"));
    assert!(error(r#"{"phases":[],"delta":1}"#).contains("unknown field"));
}

#[test]
fn as_a_controller_it_counts_each_update() {
    let named = |controller: AnyController| {
        let mut controllers = Controllers::default();
        controllers.add("privacy", controller);
        controllers
    };
    let update = |controllers: &mut Controllers, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let decision = controllers.update(Due::at(number, 0.1), &Observation::default());
            assert!(decision.unwrap().answer.is_none());
        }
    };
    let mut first = named(accountant(1.5, 0.01, 0).into());
    assert!(first.needs().private_gradient && !first.needs().measures());
    update(&mut first, 0..30);
    assert_eq!(first.privacy(), Some(&accountant(1.5, 0.01, 30)));

    // A budget continues with an accountant's counts, and vice versa, each with its own noise.
    let run = RunLength::updates(100).resolve().unwrap();
    let budget =
        PrivacyBudget { epsilon: 3.0, delta: 1e-5, noise_multiplier: 1.2, sampling_rate: 0.01 };
    let mut second = named(budget.build(&run).unwrap());
    second.restore(first.save()).unwrap();
    update(&mut second, 30..50);
    let mut third = named(accountant(1.5, 0.01, 0).into());
    third.restore(second.save()).unwrap();
    update(&mut third, 50..60);
    let mut expected = accountant(1.5, 0.01, 40);
    expected.change(1.2, 0.01).unwrap();
    expected.steps(20);
    let spent = third.privacy().unwrap();
    close(spent.epsilon(1e-5).unwrap(), expected.epsilon(1e-5).unwrap(), 1e-12);
    assert_eq!(spent.counted(), 60);
    assert_eq!(Controllers::default().privacy(), None);
}
