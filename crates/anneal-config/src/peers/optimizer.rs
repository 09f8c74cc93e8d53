//! What a configuration says of its optimizer, as a call of Burn's.

use super::report::Report;

/// The optimizer of a configuration.
#[derive(Default)]
pub(super) struct Optimizer {
    /// The peer's name of it.
    pub(super) name: String,
    pub(super) betas: Option<(f64, f64)>,
    pub(super) epsilon: Option<f64>,
    pub(super) momentum: Option<f64>,
    pub(super) nesterov: bool,
}

/// Burn's optimizers, by a part of the peer's name, and whether they have two betas.
const KNOWN: &[(&str, &str, bool)] = &[
    ("adamw", "AdamWConfig", true),
    ("adafactor", "AdafactorConfig", false),
    ("adagrad", "AdaGradConfig", false),
    ("adan", "AdanConfig", false),
    ("adam", "AdamConfig", true),
    ("lamb", "LambConfig", true),
    ("lion", "LionConfig", true),
    ("muon", "MuonConfig", false),
    ("rmsprop", "RmsPropConfig", false),
    ("sgd", "SgdConfig", false),
    ("momentum", "SgdConfig", false),
];

/// Names that contain another one's.
const OTHERS: &[&str] = &["adamax", "nadam", "radam", "adamp", "adamuon"];

/// torch's ε where the peer says none; Burn's is 1e-5.
const USUAL_EPSILON: f64 = 1e-8;

impl Optimizer {
    /// Whether its weight decay is part of the gradient rather than a shrinking of the weights.
    pub(super) fn decays_in_the_gradient(&self) -> bool {
        let name = self.name.to_lowercase();
        let decoupled = ["adamw", "sgdw", "decoupled", "lion", "lamb", "muon", "adafactor", "adan"];
        !decoupled.iter().any(|known| name.contains(known))
    }

    /// Says how to make it, and how its decay of this strength differs.
    pub(super) fn say(&self, report: &mut Report, weight_decay: f64) {
        let name = self.name.to_lowercase();
        let is_other = OTHERS.iter().any(|other| name.contains(other));
        let found = KNOWN.iter().find(|known| name.contains(known.0) && !is_other);
        let Some(&(_, burns, has_betas)) = found else {
            report.without(
                format!("optimizer {}", self.name),
                "Burn has none of this name; its own are AdamW, Adam, SGD, Lion, Lamb, Muon, Adafactor, RMSprop and others",
            );
            return;
        };
        let mut call = format!("{burns}::new()");
        if let Some((one, two)) = self.betas.filter(|_| has_betas) {
            call += &format!(".with_beta_1({one}).with_beta_2({two})");
        }
        if matches!(burns, "AdamWConfig" | "AdamConfig" | "RmsPropConfig") {
            call += &format!(".with_epsilon({:e})", self.epsilon.unwrap_or(USUAL_EPSILON));
        }
        if let Some(momentum) =
            self.momentum.filter(|&momentum| burns == "SgdConfig" && momentum > 0.0)
        {
            let nesterov = if self.nesterov { ".with_nesterov(true)" } else { "" };
            call += &format!(
                ".with_momentum(Some(MomentumConfig::new().with_momentum({momentum:?}).with_dampening(0.0){nesterov}))"
            );
        }
        if burns == "AdamWConfig" {
            call += ".with_weight_decay(0.0)";
        }
        report.note(format!("write the optimizer: {call}.build()"));
        if weight_decay > 0.0 && self.decays_in_the_gradient() {
            report.note(format!(
                "{} adds weight_decay × weight to the gradient, where momentum or Adam's scale act on it; here weight \
                 decay shrinks the weights themselves, as AdamW's does",
                self.name
            ));
        }
    }
}
