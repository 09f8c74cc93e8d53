//! Layers that start to train one after another, `--unfreeze-every` percent of the run apart.

use burn::module::Module;
use burn_anneal::groups::Groups;
use burn_anneal::prelude::{GroupError, GroupsConfig, ResolveGroups, RunLength, Schedule, Span};

use crate::error::ExperimentError;

/// The groups of a model whose layers start to train `percent` of the run apart.
///
/// # Errors
/// [`ExperimentError::UnfreezeEvery`] where the lowest layers would never train, and what else is wrong
/// with the groups.
pub fn resolve_unfreezing<M: Module>(
    groups: &GroupsConfig,
    percent: f64,
    model: &M,
    schedule: &Schedule,
    length: RunLength,
) -> Result<Groups, ExperimentError> {
    groups.resolve(model, schedule, length).or_else(|error| match error {
        GroupError::Position { .. } => {
            let at_once = groups.clone().unfreeze_every(Span::percent(0.0));
            let layers = layers(&at_once.resolve(model, schedule, length)?);
            let updates = schedule.run().updates().unwrap_or(u64::MAX);
            let most = most(layers, updates);
            Err(ExperimentError::UnfreezeEvery { percent, layers, updates, most })
        }
        error => Err(error.into()),
    })
}

fn layers(groups: &Groups) -> usize {
    let top = groups.explain(0).groups.iter().filter_map(|group| group.layer).max();
    top.map_or(1, |top| top + 1)
}

/// The largest percentage, in hundredths, at which the lowest layer still trains in the last update.
fn most(layers: usize, updates: u64) -> f64 {
    let share = (updates - 1) as f64 / (updates * (layers - 1) as u64) as f64;
    (share * 1e4).floor() / 1e2
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use burn_anneal::prelude::{ScheduleExt, constant, layer_decay};

    use super::*;
    use anneal_examples::prelude::ResidualNetworkConfig;

    #[test]
    fn what_is_said_to_be_allowed_is_and_what_is_clearly_above_is_not() {
        let model = ResidualNetworkConfig::default().init(&Device::default().autodiff());
        for updates in [1, 7, 250, 10_000] {
            let length = RunLength::updates(updates);
            let schedule = constant(1e-3).resolve(length).unwrap();
            let resolve = |percent| {
                let groups = layer_decay(0.5).unfreeze_every(Span::percent(percent));
                resolve_unfreezing(&groups, percent, &model, &schedule, length)
            };
            let error = resolve(90.0).unwrap_err();
            let ExperimentError::UnfreezeEvery { layers, most, .. } = error else {
                panic!("{error}")
            };
            let by_hand = layer_decay(0.5).resolve(&model, &schedule, length).unwrap();
            assert_eq!(layers, by_hand.explain(0).groups.len());
            assert!(error.to_string().starts_with("--unfreeze-every 90: "), "{error}");
            resolve(most).unwrap();
            resolve(most + 100.0 / (updates * (layers as u64 - 1)) as f64 + 0.01).unwrap_err();
        }
    }
}
