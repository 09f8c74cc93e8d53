//! Converts Rényi divergences to ε and δ.

/// The smallest ε over the orders, given as (α, divergence), at this δ > 0, and the order that attains it.
///
/// ```text
/// ε = ρ + ln(1 − 1/α) − ln(δ α) / (α − 1)      0 if δ² > 1 − e^(−ρ), or if it is negative
/// ```
///
/// The first bound is useless and loses precision near order 1: it is used for orders above 1.01.
pub fn min_epsilon(of_orders: impl Iterator<Item = (f64, f64)>, delta: f64) -> (f64, f64) {
    let epsilon = |order: f64, divergence: f64| {
        if delta * delta + (-divergence).exp_m1() > 0.0 {
            return 0.0;
        }
        match order > 1.01 {
            true => divergence + (-1.0 / order).ln_1p() - (delta * order).ln() / (order - 1.0),
            false => f64::INFINITY,
        }
    };
    let each = of_orders.map(|(order, divergence)| (epsilon(order, divergence), order));
    let least = each.reduce(|least, next| if next.0 < least.0 { next } else { least });
    let (epsilon, order) = least.unwrap_or((f64::INFINITY, 1.0));
    (epsilon.max(0.0), order)
}
