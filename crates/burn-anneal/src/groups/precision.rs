//! Finds decays that are too small for the precision of the weights.

use super::resolved::Table;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use std::collections::BTreeMap;

/// The number of updates checked, evenly over the run.
const LOOKED_AT: u64 = 1_000;

/// Notes for groups with f16 or bf16 weights whose decay is lost.
///
/// w (1 − d) rounds to w for every weight w if d is at most a quarter of the distance from 1 to the next
/// number: 2⁻¹² in f16, 2⁻⁹ in bf16.
pub(crate) fn lost_decays<M: Module>(model: &M, table: &Table) -> Vec<String> {
    let mut half = Half { table, path: vec![], found: BTreeMap::new() };
    model.visit(&mut half);
    let lost = |(group, (name, least)): (usize, (&str, f64))| {
        let group = &table.groups[group];
        let last = table.base.length().unwrap_or(LOOKED_AT) - 1;
        let looked_at = LOOKED_AT.min(last + 1);
        let step =
            |i: u64| (u128::from(last) * u128::from(i) / u128::from((looked_at - 1).max(1))) as u64;
        let shares: Vec<f64> = (0..looked_at)
            .map(step)
            .filter(|&step| !group.is_frozen(step))
            .map(|step| group.shrink(table.base.rate(step), step))
            .filter(|&share| share > 0.0)
            .collect();
        let lost = shares.iter().filter(|&&share| share <= least).count();
        (lost > 0).then(|| {
            format!(
                "`{}`: {name} rounds away a weight decay of less than {least:.1e} of a weight, which affects \
                 {:.0} % of the updates; keep master weights in f32",
                group.name,
                100.0 * lost as f64 / shares.len() as f64
            )
        })
    };
    half.found.into_iter().filter_map(lost).collect()
}

struct Half<'a> {
    table: &'a Table,
    path: Vec<String>,
    /// The type of a group's weights, and the share that it rounds away.
    found: BTreeMap<usize, (&'static str, f64)>,
}

impl ModuleVisitor for Half<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let lost = match param.val().dtype() {
            DType::F16 => ("f16", f64::exp2(-12.0)),
            DType::BF16 => ("bf16", f64::exp2(-9.0)),
            _ => return,
        };
        if let Some(&group) = self.table.of_path.get(&self.path.join(".")) {
            self.found.insert(group, lost);
        }
    }
}
