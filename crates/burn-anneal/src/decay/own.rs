//! Takes over the decay of one of Burn's optimizers.

use super::{DecayError, WeightDecay};
use burn::config::Config;
use burn::optim::{
    AdaGrad, AdaGradConfig, Adam, AdamConfig, AdamW, AdamWConfig, Lion, LionConfig, Optimizer,
    RmsProp, RmsPropConfig, Sgd, SgdConfig,
};
use serde_json::Value;

/// Takes the weight decay out of an optimizer's configuration, to be set outside of it.
///
/// A decoupled decay (AdamW, Lion) becomes a coupled [`WeightDecay`] of the same strength, whose policy
/// can then be changed; a penalty added to the gradient (Adam, SGD, RMSProp, AdaGrad) becomes
/// [`WeightDecay::from_l2`].
///
/// ```
/// use burn::optim::AdamWConfig;
/// use burn_anneal::decay::{Policy, TakeWeightDecay};
/// use burn_anneal::prelude::*;
///
/// let (optimizer, weight_decay) = AdamWConfig::new().with_weight_decay(0.05).take_weight_decay()?;
/// assert_eq!(weight_decay, WeightDecay::coupled(0.05));
/// // The same strength at the peak, but tied to the shape of the schedule alone.
/// let weight_decay = WeightDecay { policy: Policy::Relative, ..weight_decay };
/// # Ok::<(), burn_anneal::decay::DecayError>(())
/// ```
pub trait TakeWeightDecay: Config {
    /// The configured optimizer.
    type Optimizer: Optimizer;

    /// Returns the bare optimizer without its decay, and the decay that it had.
    ///
    /// # Errors
    /// [`DecayError::NotANumber`] if the configuration contains an infinity or NaN.
    fn take_weight_decay(self) -> Result<(Self::Optimizer, WeightDecay), DecayError>;
}

macro_rules! take {
    ($($config:ty => $optimizer:ty;)*) => {$(
        impl TakeWeightDecay for $config {
            type Optimizer = $optimizer;

            fn take_weight_decay(self) -> Result<(Self::Optimizer, WeightDecay), DecayError> {
                let (config, decay) = taken(&self, stringify!($config))?;
                Ok((config.build(), decay))
            }
        }
    )*};
}

take! {
    AdaGradConfig => AdaGrad;
    AdamConfig => Adam;
    AdamWConfig => AdamW;
    LionConfig => Lion;
    RmsPropConfig => RmsProp;
    SgdConfig => Sgd;
}

/// Burn's configurations expose their decay only when serialized: a number if it is decoupled, otherwise a penalty.
fn taken<C: Config>(config: &C, name: &'static str) -> Result<(C, WeightDecay), DecayError> {
    let not_a_number = |reason: serde_json::Error| DecayError::NotANumber {
        config: name,
        reason: reason.to_string(),
    };
    // JSON has no infinity and no NaN, so a configuration with one cannot be read back.
    let mut fields = serde_json::to_value(config).map_err(not_a_number)?;
    serde_json::from_value::<C>(fields.clone()).map_err(not_a_number)?;
    let own = match &fields["weight_decay"] {
        Value::Object(penalty) => WeightDecay::from_l2(coefficient(&penalty["penalty"])),
        number => WeightDecay::coupled(coefficient(number)),
    };
    fields["weight_decay"] = match fields["weight_decay"] {
        Value::Number(_) => 0.0.into(),
        _ => Value::Null,
    };
    let own = match fields.get_mut("cautious_weight_decay").map(Value::take) {
        Some(Value::Bool(true)) => own.cautious(),
        _ => own,
    };
    if let Some(cautious) = fields.get_mut("cautious_weight_decay") {
        *cautious = false.into();
    }
    Ok((serde_json::from_value(fields).map_err(not_a_number)?, own))
}

/// The f64 with the same decimal text as the f32: 0.05, not 0.05000000074505806.
fn coefficient(value: &Value) -> f64 {
    match value.as_f64() {
        Some(value) => (value as f32).to_string().parse().expect("a number"),
        None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::decays_by_itself;
    use burn::optim::ModuleOptimizer;
    use burn::optim::decay::WeightDecayConfig;
    use burn::tensor::Device;

    #[test]
    fn the_smallest_decay_is_seen_and_its_absence_too() {
        let decays = |optimizer: ModuleOptimizer| decays_by_itself(&optimizer, &Device::default());
        assert!(decays(AdamWConfig::new().init()));
        assert!(decays(AdamWConfig::new().with_weight_decay(1e-10).init()));
        assert!(decays(LionConfig::new().with_weight_decay(1e-6).init()));
        let l2 = || Some(WeightDecayConfig::new(1e-6));
        assert!(decays(SgdConfig::new().with_weight_decay(l2()).init()));
        assert!(decays(AdamConfig::new().with_weight_decay(l2()).init()));
        assert!(decays(RmsPropConfig::new().with_weight_decay(l2()).init()));
        for without in [
            AdamWConfig::new().with_weight_decay(0.0).init(),
            LionConfig::new().with_weight_decay(0.0).init(),
            SgdConfig::new().init(),
            AdamConfig::new().init(),
            RmsPropConfig::new().init(),
            AdaGradConfig::new().init(),
        ] {
            assert!(!decays(without));
        }
    }

    fn assert_taken<C: TakeWeightDecay>(config: C, expected: WeightDecay) {
        let (optimizer, found) = config.take_weight_decay().unwrap();
        assert_eq!(found, expected);
        assert!(!decays_by_itself(&optimizer.into(), &Device::default()));
    }

    #[test]
    fn a_decay_is_taken_over_whole() {
        assert_taken(AdamWConfig::new(), WeightDecay::coupled(1e-4));
        let cautious = AdamWConfig::new().with_weight_decay(0.3).with_cautious_weight_decay(true);
        assert_taken(cautious, WeightDecay::coupled(0.3).cautious());
        assert_taken(LionConfig::new().with_weight_decay(0.7), WeightDecay::coupled(0.7));
        let l2 = || Some(WeightDecayConfig::new(5e-4));
        assert_taken(SgdConfig::new().with_weight_decay(l2()), WeightDecay::from_l2(5e-4));
        assert_taken(AdamConfig::new().with_weight_decay(l2()), WeightDecay::from_l2(5e-4));
        assert_taken(RmsPropConfig::new().with_weight_decay(l2()), WeightDecay::from_l2(5e-4));
        assert_taken(AdaGradConfig::new().with_weight_decay(l2()), WeightDecay::from_l2(5e-4));
        assert_taken(SgdConfig::new(), WeightDecay::none());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for value in [f32::NAN, f32::INFINITY] {
            assert!(AdamWConfig::new().with_weight_decay(value).take_weight_decay().is_err());
            assert!(AdamWConfig::new().with_epsilon(value).take_weight_decay().is_err());
            let l2 = Some(WeightDecayConfig::new(value));
            let error = SgdConfig::new().with_weight_decay(l2).take_weight_decay().err().unwrap();
            assert!(error.to_string().starts_with("SgdConfig: "), "{error}");
        }
    }
}
