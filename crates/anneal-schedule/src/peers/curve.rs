//! The single list of curves that only peers have.

use super::fastai::{FastaiAnnealer, FastaiCombinedCos};
use super::growth::PeerGrowth;
use super::keras::KerasRestarts;
use super::optax::{OptaxCosine, OptaxJoin};
use super::timm::{TimmCycles, TimmStep, TimmWsd};
use super::torch::TorchChain;
use super::transformers::TransformersDecay;
use crate::curve::{Describe, Rate};
use crate::node::{Calls, curves};
use crate::{ScheduleError, Span, scope::Scope};
use serde::de::{self, VariantAccess};
use serde::{Serialize, Serializer};
use std::fmt;

curves! {
    /// A curve that exists only in another library, used in a translation if no curve of this crate is equal.
    ///
    /// A file and the text form store it under its own name, for example `torch_chain`; it has no builder.
    enum PeerCurve
    PEER_FUNCTIONS {
        torch_chain(lr, tracks) TorchChain,
        fastai_annealer(start, end, length) FastaiAnnealer,
        fastai_combined_cos(start, middle, end, length) FastaiCombinedCos,
        optax_cosine(start, end, exponent) OptaxCosine<L>,
        optax_join(parts) OptaxJoin<L>,
        keras_restarts(start, cycle) KerasRestarts<L>,
        peer_growth(start, factor, per) PeerGrowth<L>,
        timm_cycles(base_lr, t_initial, shape) TimmCycles,
        timm_step(base_lr, decay_t, decay_rate) TimmStep,
        timm_wsd(base_lr, t_initial, decay_t) TimmWsd,
        transformers_decay(base_lr, length, shape) TransformersDecay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    /// The expected hashes were computed outside this crate, as in `schedule.rs`.
    #[test]
    fn a_peers_curve_is_saved_and_hashed_under_its_own_name() {
        let growth =
            PeerGrowth { start: 0.001, factor: 2.0, per: Span::steps(3), staircase: false };
        let annealer = ScheduleConfig::from_toml(
            "[schedule.scale]\nfactor = 0.5\n[schedule.scale.schedule.fastai_annealer]\n\
             start = 0.0\nend = 0.1\nlength = 90\nshape = \"cos\"\n",
        );
        for (config, text, fingerprint) in [
            (growth.into(), "peer_growth(0.001, 2.0, 3)", "v1-06effc446acc2bf3"),
            (
                annealer.unwrap(),
                "fastai_annealer(0.0, 0.1, 90).shape(cos).scale(0.5)",
                "v1-f162ac341d9def6a",
            ),
        ] {
            assert_eq!(config.to_string(), text);
            assert_eq!(text.parse(), Ok(config.clone()));
            assert_eq!(ScheduleConfig::from_toml(&config.to_toml().unwrap()).unwrap(), config);
            assert_eq!(ScheduleConfig::from_json(&config.to_json().unwrap()).unwrap(), config);
            let schedule = config.resolve(RunLength::updates(100)).unwrap();
            assert_eq!(schedule.fingerprint().to_string(), fingerprint, "{text}");
        }
    }

    #[test]
    fn nobody_is_offered_a_peers_curve() {
        let error = ScheduleConfig::from_toml("[schedule.torch_chian]\nlr = 0.1\n");
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("toml:1:11: unknown curve `torch_chian`"), "{error}");
        assert!(error.contains(" cosine,") && !error.contains("torch_chain"), "{error}");
        let field = ScheduleConfig::from_toml("[schedule.torch_chain]\nlr = 0.1\ntrack = []\n");
        let field = field.unwrap_err().to_string();
        assert!(field.starts_with("toml:3:1: unknown field `track`"), "{field}");
    }
}
