//! Finds layers that normalize over the items of a batch.

use burn::module::{Flag, Module, ModuleVisitor, Param};

/// The path of the first batch norm that is not frozen. It mixes the items of a batch, and keeps statistics of them.
pub(crate) fn batch_norm<M: Module>(model: &M) -> Option<String> {
    let mut found = BatchNorms::default();
    model.visit(&mut found);
    found.first
}

#[derive(Default)]
struct BatchNorms {
    /// The name of each level, and the type of its container.
    path: Vec<(String, String)>,
    first: Option<String>,
}

impl ModuleVisitor for BatchNorms {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_string(), container_type.to_string()));
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        let Some(((_, container), module)) = self.path.split_last() else { return };
        if self.first.is_none() && container == "Struct:BatchNorm" && flag.is_enabled() {
            let names: Vec<&str> = module.iter().map(|(name, _)| name.as_str()).collect();
            self.first = Some(names.join("."));
        }
    }
}
