//! The optimizers of a model, made once from their descriptions.

use crate::build_error::BuildError;
use crate::groups::{GroupError, Parameter, Selection, parameters};
use crate::update::{
    Asked, InOperations, Steered, Updates, decays_by_itself, refusal, state_tensors, what_it_asks,
};
use burn::module::{Module, ParamGroup};
use burn::optim::{ModuleOptimizer, Optimizer};
use burn::tensor::Device;
#[cfg(feature = "flex")]
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// One optimizer, or several by selection.
#[derive(Clone)]
pub(crate) struct Optimizers {
    all: Vec<Bare>,
    /// Whether updates are made in one pass where they can be.
    pub is_fused: bool,
}

/// A bare optimizer.
#[derive(Clone)]
struct Bare {
    name: String,
    /// The parameters that it is for; the first optimizer is for all that the others do not select.
    selection: Option<Selection>,
    /// The optimizer itself, to inspect it.
    plain: ModuleOptimizer,
    make: Arc<dyn Fn(Made) -> ModuleOptimizer + Send + Sync>,
}

/// The module optimizer that the optimizers are added to.
struct Made {
    has_masters: bool,
    /// Whether updates are made in one pass where they can be.
    #[cfg_attr(not(feature = "flex"), expect(dead_code, reason = "there is no other way"))]
    is_fused: bool,
    /// Whether the optimizer itself decides which weights are evaluated.
    evaluates: bool,
    /// The optimizers before it, and the parameters that it takes over from them.
    others: Option<(ModuleOptimizer, ParamGroup)>,
}

impl Optimizers {
    pub fn new(optimizer: impl Optimizer) -> Self {
        Self { all: vec![Bare::new(None, optimizer)], is_fused: true }
    }

    pub fn add(&mut self, selection: Selection, optimizer: impl Optimizer) {
        self.all.push(Bare::new(Some(selection), optimizer));
    }

    /// The name of each, and the number of state tensors per parameter, which tells SGD with momentum from SGD
    /// without.
    pub fn identity<M: Module>(&self, model: &M) -> String {
        let Some(device) = model.devices().into_iter().next() else { return self.to_string() };
        let states = self.all.iter().map(|bare| state_tensors(&bare.plain, &device).to_string());
        format!("{self}; tensors of state: {}", states.collect::<Vec<_>>().join(", "))
    }

    /// The name of each, its needs from updates, and, if requested, whether it has its own decay.
    pub fn probed(
        &self,
        device: &Device,
        decays: bool,
    ) -> impl Iterator<Item = (String, Asked, bool)> {
        self.all.iter().map(move |bare| {
            let decays = decays && decays_by_itself(&bare.plain, device);
            (bare.name.clone(), what_it_asks(&bare.plain, device), decays)
        })
    }

    /// The trained parameters of a model, and the optimizer of each.
    fn assigned<M: Module>(&self, model: &M) -> Result<(Vec<Parameter>, Vec<usize>), BuildError> {
        let all: Vec<Parameter> = parameters(model).into_iter().filter(|p| p.trainable).collect();
        let mut of = vec![0; all.len()];
        for (index, bare) in self.all.iter().enumerate() {
            let Some(selection) = &bare.selection else { continue };
            let selected = selection.named("optimizer_for", &all)?;
            if !selected.contains(&true) {
                let (field, pattern) = ("optimizer_for".to_string(), selection.to_string());
                return Err(GroupError::NoMatch { field, pattern, nearest: vec![] }.into());
            }
            of.iter_mut()
                .zip(selected)
                .filter(|(_, selected)| *selected)
                .for_each(|(of, _)| *of = index);
        }
        Ok((all, of))
    }

    /// The name and parameters of each optimizer that decides itself which weights are evaluated.
    pub fn evaluating<M: Module>(
        &self,
        model: &M,
        device: &Device,
    ) -> Result<Vec<(&str, Vec<String>)>, BuildError> {
        let (all, of) = self.assigned(model)?;
        let paths = |index: usize| {
            let own = all.iter().zip(&of).filter(|(_, of)| **of == index);
            own.map(|(parameter, _)| parameter.path.clone()).collect()
        };
        let evaluates = |bare: &Bare| what_it_asks(&bare.plain, device).evaluation;
        let all = self.all.iter().enumerate().filter(|(_, bare)| evaluates(bare));
        Ok(all.map(|(index, bare)| (bare.name.as_str(), paths(index))).collect())
    }

    /// Combines them into one optimizer for the parameters of a model.
    pub fn build<M: Module>(
        self,
        model: &M,
        has_masters: bool,
    ) -> Result<ModuleOptimizer, BuildError> {
        let (all, of) = self.assigned(model)?;
        for (index, Bare { selection, .. }) in self.all.iter().enumerate().skip(1) {
            if !of.contains(&index) {
                let group = selection.as_ref().map_or_else(String::new, Selection::to_string);
                return Err(BuildError::OptimizerUnused { selection: group });
            }
        }
        let device = model.devices().into_iter().next();
        for (index, bare) in self.all.iter().enumerate() {
            let Some(device) = &device else { continue };
            let mut ranks: Vec<&Parameter> =
                all.iter().zip(&of).filter(|(_, of)| **of == index).map(|(p, _)| p).collect();
            ranks.sort_by_key(|parameter| parameter.rank());
            ranks.dedup_by_key(|parameter| parameter.rank());
            for parameter in ranks {
                if let Some(reason) = refusal(&bare.plain, parameter.rank(), device) {
                    return Err(BuildError::OptimizerRefuses {
                        optimizer: bare.name.clone(),
                        path: parameter.path.clone(),
                        rank: parameter.rank(),
                        reason,
                    });
                }
            }
        }
        let mut made = None;
        for (index, bare) in self.all.into_iter().enumerate() {
            let paths = all.iter().zip(&of).filter(|(_, of)| **of == index);
            let paths: Vec<String> = paths.map(|(parameter, _)| parameter.path.clone()).collect();
            let others = made.map(|others| (others, ParamGroup::from_paths(paths)));
            let asked = device.as_ref().map(|device| what_it_asks(&bare.plain, device));
            let evaluates = asked.is_some_and(|asked| asked.evaluation);
            let is_fused = self.is_fused;
            made = Some((bare.make)(Made { has_masters, is_fused, evaluates, others }));
        }
        Ok(made.expect("there is always a first"))
    }
}

impl Bare {
    fn new<O: Optimizer>(selection: Option<Selection>, optimizer: O) -> Self {
        let plain = optimizer.clone().into();
        let make = move |made| steered(optimizer.clone(), made);
        Self {
            name: short_name(std::any::type_name::<O>()),
            selection,
            plain,
            make: Arc::new(make),
        }
    }
}

/// Makes the module optimizer of one, with updates in one pass if it has a rule for them.
fn steered<O: Optimizer>(optimizer: O, made: Made) -> ModuleOptimizer {
    #[cfg(feature = "flex")]
    if made.is_fused {
        use crate::fused::Fused;
        use crate::momentum::{RateInsideSgd, ScheduledAdam, ScheduledMomentum};
        use burn::optim::{Adam, AdamW, Lion, RmsProp, Sgd};
        macro_rules! fuse {
            ($($known:ty),*) => {$(
                if let Some(known) = (&optimizer as &dyn Any).downcast_ref::<$known>() {
                    return steered_by(Fused::new(known.clone()), made);
                }
            )*};
        }
        fuse!(AdamW, Adam, Sgd, Lion, RmsProp, ScheduledAdam, RateInsideSgd);
        fuse!(ScheduledMomentum<Sgd>, ScheduledMomentum<Lion>, ScheduledMomentum<RmsProp>);
    }
    steered_by(InOperations(optimizer), made)
}

fn steered_by<U: Updates>(updates: U, made: Made) -> ModuleOptimizer {
    let Made { has_masters, evaluates, others, .. } = made;
    let steered = Steered { inner: updates, evaluates, has_masters };
    match others {
        None => steered.into(),
        Some((others, of)) => others.with_group(of, steered, None),
    }
}

/// `AdamW`, or `AdamW, and Muon for matrices`.
impl fmt::Display for Optimizers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Bare { name, selection, .. }) in self.all.iter().enumerate() {
            f.write_str(if i > 0 { ", and " } else { "" })?;
            f.write_str(name)?;
            if let Some(selection) = selection {
                write!(f, " for {selection}")?;
            }
        }
        Ok(())
    }
}

/// The name of a type without its modules.
fn short_name(name: &str) -> String {
    let mut short = String::new();
    let mut word = String::new();
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ':' if letters.peek() == Some(&':') => {
                letters.next();
                word.clear();
            }
            letter if letter.is_alphanumeric() || letter == '_' => word.push(letter),
            letter => {
                short.push_str(&std::mem::take(&mut word));
                short.push(letter);
            }
        }
    }
    short + &word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::momentum::ScheduledMomentum;
    use burn::optim::{AdamWConfig, MuonConfig, SgdConfig};

    #[test]
    fn optimizers_are_told_by_the_names_of_their_types() {
        let mut all = Optimizers::new(AdamWConfig::new().build());
        assert_eq!(all.to_string(), "AdamW");
        all.add(Selection::matrices(), MuonConfig::new().build());
        assert_eq!(all.to_string(), "AdamW, and Muon for matrices");
        let scheduled = Optimizers::new(ScheduledMomentum::from(SgdConfig::new()));
        assert_eq!(scheduled.to_string(), "ScheduledMomentum<Sgd>");
    }
}
