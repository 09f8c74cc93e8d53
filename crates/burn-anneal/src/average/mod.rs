//! Averages of the weights of a run, which are evaluated in place of the weights.

mod evaluate;
mod model;
mod statistics;

pub use anneal_config::{Average, AverageError, Weights};
pub(crate) use evaluate::evaluate_by;
pub use evaluate::{EvaluateError, Evaluation, evaluate};
pub use model::AveragedModel;
pub(crate) use model::with_averages;
pub use statistics::recompute_statistics;
pub(crate) use statistics::{Recompute, moved_by, recompute_over};

use crate::groups::{Groups, Parameter};
use crate::update::Averaging;
use anneal_config::AveragedPart;
use anneal_schedule::Run;

/// Resolves the averages of a run for the parameters of these groups.
pub(crate) fn averaging(
    averages: &[Average],
    statistics: bool,
    all: &[Parameter],
    groups: &Groups,
    run: &Run,
) -> Result<Averaging, AverageError> {
    let all: Vec<Parameter> =
        all.iter().filter(|found| groups.group_of(&found.path).is_some()).cloned().collect();
    let mut of = vec![None; all.len()];
    let mut resolved = vec![];
    for (index, average) in averages.iter().enumerate() {
        resolved.push(average.resolve(run)?);
        let selected = selects(average, &all, groups)?;
        of.iter_mut().zip(selected).filter(|(_, is)| *is).for_each(|(of, _)| *of = Some(index));
    }
    let none = all.iter().map(|parameter| (parameter.path.clone(), None));
    let mut found = Averaging { of_path: none.collect(), ..Averaging::default() };
    for (index, average) in averages.iter().enumerate() {
        if !of.contains(&Some(index)) {
            return Err(AverageError::Unused { average: average.to_string() });
        }
        let Some(timed) = resolved[index] else { continue };
        let place = found.averages.len();
        found.averages.push(timed);
        found.described.push(format!("`{average}`"));
        let paths = all.iter().zip(&of).filter(|(_, of)| **of == Some(index));
        found.of_path.extend(paths.map(|(parameter, _)| (parameter.path.clone(), Some(place))));
        if average.part().is_none() {
            found.of_others = Some(place);
        }
    }
    if statistics {
        found.of_statistics = Some(found.of_others.unwrap_or(0));
    }
    Ok(found)
}

/// Whether the average selects each trained parameter.
fn selects(
    average: &Average,
    all: &[Parameter],
    groups: &Groups,
) -> Result<Vec<bool>, AverageError> {
    match average.part() {
        None => Ok(vec![true; all.len()]),
        Some(AveragedPart::Selection(selection)) => Ok(selection.named("average", all)?),
        Some(AveragedPart::Group(name)) => {
            let selected = groups.named("average.on_group", name)?;
            let of =
                |parameter: &Parameter| selected.contains(&groups.table.of_path[&parameter.path]);
            Ok(all.iter().map(of).collect())
        }
    }
}
