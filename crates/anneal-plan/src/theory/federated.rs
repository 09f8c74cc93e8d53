//! Where federated averaging converges if its clients differ.

use super::check::{finite, positive};
use crate::OutOfRange;

/// A client whose loss is ½λ(w − w*)².
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuadraticClient {
    /// Its weight in the average, above 0: usually its number of examples.
    pub share: f64,
    /// λ, above 0.
    pub curvature: f64,
    /// w*.
    pub optimum: f64,
}

/// Where [`averaging`] converges.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Averaging {
    /// The minimum of the clients' weighted loss.
    pub optimum: f64,
    /// The weight that a round leaves unchanged.
    pub fixed_point: f64,
    /// The factor by which a round changes the distance to the fixed point, if the server takes the average.
    pub contraction: f64,
}

impl Averaging {
    /// How far the fixed point is from the optimum.
    pub fn drift(&self) -> f64 {
        self.fixed_point - self.optimum
    }
}

/// Federated averaging with K = `steps` local updates of gradient descent at the clients' rate η_c.
///
/// ```text
/// c_i = (1 − η_c λ_i)^K                       what K local updates leave of w − w*_i
/// fixed point = Σ p_i (1 − c_i) w*_i / Σ p_i (1 − c_i)
/// optimum     = Σ p_i λ_i w*_i / Σ p_i λ_i
/// contraction = Σ p_i c_i                     p_i: shares that add up to 1
/// drift       = −½(K − 1) η_c Σ p_i λ_i² (w*_i − optimum) / Σ p_i λ_i + O(η_c²)
/// ```
///
/// There is no drift for one local update, equal curvatures, or a common optimum. The rate of the server
/// changes the contraction, not the fixed point; only a smaller η_c or fewer local updates reduce the
/// drift. In several dimensions this holds along common eigenvectors of the clients' Hessians.
///
/// Source: Karimireddy et al. 2020, "SCAFFOLD: stochastic controlled averaging for federated learning";
/// Charles and Konečný 2021, "Convergence and accuracy trade-offs in federated learning and meta-learning".
///
/// ```
/// use anneal_plan::theory::{QuadraticClient, averaging};
///
/// let client = |curvature, optimum| QuadraticClient { share: 1.0, curvature, optimum };
/// let clients = [client(1.0, 0.0), client(3.0, 4.0)];
/// assert!(averaging(&clients, 0.1, 1)?.drift().abs() < 1e-14);
/// // The flat client, whose updates get smaller more slowly, pulls the fixed point to its side.
/// assert!(averaging(&clients, 0.1, 10)?.drift() < -0.3);
/// # Ok::<(), anneal_plan::OutOfRange>(())
/// ```
///
/// # Errors
/// No client, a field outside its range, no local update, or a rate that is not above 0 and below 2/λ of
/// each client.
pub fn averaging(
    clients: &[QuadraticClient],
    rate: f64,
    steps: u32,
) -> Result<Averaging, OutOfRange> {
    OutOfRange::require("clients", clients.len(), !clients.is_empty(), "at least 1")?;
    OutOfRange::require("steps", steps, steps > 0, "at least 1")?;
    positive("rate", rate)?;
    let (mut optima, mut fixed, mut shares) = (Mean::default(), Mean::default(), 0.0);
    for client in clients {
        let QuadraticClient { share, curvature, optimum } = *client;
        positive("share", share)?;
        positive("curvature", curvature)?;
        finite("optimum", optimum)?;
        let stable = rate * curvature < 2.0;
        OutOfRange::require("rate", rate, stable, format!("below {:?}", 2.0 / curvature))?;
        let moved = moved(rate * curvature, steps);
        optima.add(share * curvature, optimum);
        fixed.add(share * moved, optimum);
        shares += share;
    }
    Ok(Averaging {
        optimum: optima.mean(),
        fixed_point: fixed.mean(),
        contraction: 1.0 - fixed.weight / shares,
    })
}

/// 1 − (1 − x)^K, without the rounding of 1 − x for a small x.
fn moved(share: f64, steps: u32) -> f64 {
    if share < 1.0 {
        -(f64::from(steps) * (-share).ln_1p()).exp_m1()
    } else {
        1.0 - (1.0 - share).powf(f64::from(steps))
    }
}

#[derive(Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, weight: f64, value: f64) {
        self.sum += weight * value;
        self.weight += weight;
    }

    fn mean(&self) -> f64 {
        self.sum / self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::assert_close;
    use super::*;

    fn clients() -> [QuadraticClient; 3] {
        let client = |share, curvature, optimum| QuadraticClient { share, curvature, optimum };
        [client(1.0, 1.0, 0.0), client(3.0, 4.0, 1.0), client(2.0, 0.5, -5.0)]
    }

    fn round(at: f64, rate: f64, steps: u32) -> f64 {
        let local = |client: &QuadraticClient| {
            (0..steps).fold(at, |w, _| w - rate * client.curvature * (w - client.optimum))
        };
        clients().iter().map(|client| client.share * local(client)).sum::<f64>() / 6.0
    }

    #[test]
    fn rounds_converge_to_the_fixed_point() {
        for (rate, steps) in [(0.01, 1), (0.05, 7), (0.3, 2), (0.45, 20)] {
            let found = averaging(&clients(), rate, steps).unwrap();
            let (first, second) = (round(3.0, rate, steps), round(-2.0, rate, steps));
            assert_close((first - second) / 5.0, found.contraction, 1e-10);
            let end = (0..5_000).fold(3.0, |at, _| round(at, rate, steps));
            assert_close(end, found.fixed_point, 1e-11);
        }
    }

    #[test]
    fn the_optimum_has_no_gradient() {
        let optimum = averaging(&clients(), 0.1, 3).unwrap().optimum;
        let slope: f64 =
            clients().iter().map(|c| c.share * c.curvature * (optimum - c.optimum)).sum();
        assert!(slope.abs() < 1e-14, "{slope}");
    }

    /// The first order in η_c; halving the rate halves the rest of the quotient, which is of first order.
    #[test]
    fn the_drift_grows_with_the_rate_and_the_local_steps() {
        let optimum = averaging(&clients(), 1e-3, 1).unwrap().optimum;
        let sum = |of: &dyn Fn(&QuadraticClient) -> f64| -> f64 { clients().iter().map(of).sum() };
        let pull = sum(&|c| c.share * c.curvature.powi(2) * (c.optimum - optimum))
            / sum(&|c| c.share * c.curvature);
        for steps in [2, 5, 20] {
            let rest = |rate: f64| {
                let first = -0.5 * f64::from(steps - 1) * rate * pull;
                averaging(&clients(), rate, steps).unwrap().drift() / first - 1.0
            };
            assert!(rest(1e-5).abs() < 2e-3, "{steps}: {}", rest(1e-5));
            assert_close(rest(1e-5) / rest(5e-6), 2.0, 2e-3);
        }
        let drift = |rate, steps| averaging(&clients(), rate, steps).unwrap().drift().abs();
        assert!(drift(0.02, 10) > drift(0.01, 10) && drift(0.01, 20) > drift(0.01, 10));
    }

    #[test]
    fn equal_clients_do_not_drift() {
        assert!(averaging(&clients(), 0.1, 1).unwrap().drift().abs() < 1e-14);
        let same_curvature = clients().map(|client| QuadraticClient { curvature: 2.0, ..client });
        assert!(averaging(&same_curvature, 0.1, 9).unwrap().drift().abs() < 1e-14);
        let same_optimum = clients().map(|client| QuadraticClient { optimum: 0.3, ..client });
        assert!(averaging(&same_optimum, 0.1, 9).unwrap().drift().abs() < 1e-14);
    }

    #[test]
    fn arguments_are_checked() {
        let field = |clients: &[QuadraticClient], rate, steps| {
            averaging(clients, rate, steps).unwrap_err().field
        };
        assert_eq!(field(&[], 0.1, 1), "clients");
        assert_eq!(field(&clients(), 0.5, 1), "rate");
        assert_eq!(field(&clients(), 0.0, 1), "rate");
        assert_eq!(field(&clients(), 0.1, 0), "steps");
        let with = |change: fn(&mut QuadraticClient)| {
            let mut clients = clients();
            change(&mut clients[1]);
            field(&clients, 0.1, 1)
        };
        assert_eq!(with(|client| client.share = 0.0), "share");
        assert_eq!(with(|client| client.curvature = f64::NAN), "curvature");
        assert_eq!(with(|client| client.optimum = f64::INFINITY), "optimum");
    }
}
