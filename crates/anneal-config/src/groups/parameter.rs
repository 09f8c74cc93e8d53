//! A parameter of a model, as patterns and selections see it.

/// A float parameter of a model: its path, its shape, and its kind.
///
/// Burn saves it under this path: the names of the fields and the indices of lists from the root, joined by
/// dots.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parameter {
    /// The path, for example `blocks.3.convolution.weight`.
    pub path: String,
    /// The length of each dimension.
    pub shape: Vec<usize>,
    /// Whether it requires a gradient. Running statistics never do; weights do unless the model itself
    /// froze them.
    pub trainable: bool,
    /// Whether it belongs to one of Burn's normalization layers (batch, group, instance, layer, RMS).
    pub norm: bool,
    /// The components of the path, counted from 0, that are indices in a list of modules.
    pub lists: Vec<usize>,
}

impl Parameter {
    /// A trainable parameter of which only path and shape are known, for example from another library.
    pub fn new(path: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { path: path.into(), shape: shape.into(), trainable: true, norm: false, lists: vec![] }
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of values.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether its name is `bias` (or `beta`, as in Burn's norms).
    pub fn is_bias(&self) -> bool {
        matches!(self.path.rsplit('.').next(), Some("bias" | "beta"))
    }
}
