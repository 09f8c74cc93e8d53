//! Selects the backend and device.

use std::fmt;

use burn::tensor::Device;

/// A backend of Burn that an example can compute on, if the build contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// CPU, pure Rust
    Flex,
    /// CPU, the older and slower backend
    Ndarray,
    /// GPU through any graphics driver
    Wgpu,
    /// GPU through Vulkan
    Vulkan,
    /// GPU through Metal
    Metal,
    /// NVIDIA GPU through CUDA
    Cuda,
}

/// Why a backend cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The build does not contain the backend.
    #[error("--backend {backend} is not in this build: build with --features {backend}")]
    NotBuilt {
        /// The backend that was asked for.
        backend: Backend,
    },
    /// The build contains no backend at all.
    #[error("this build contains no backend: build with --features flex")]
    NoneBuilt,
    /// The build contains the backend, but the machine has no device for it.
    #[error("--backend {backend} found no usable device ({reason}): use --backend flex")]
    NoDevice {
        /// The backend that was asked for.
        backend: Backend,
        /// What the backend reports.
        reason: String,
    },
}

/// A device to compute on.
#[derive(Debug, Clone)]
pub struct SelectedDevice {
    /// The backend that drives it.
    pub backend: Backend,
    /// The device, without autodiff.
    pub device: Device,
    /// The name of the graphics adapter, if any.
    pub adapter: Option<String>,
}

impl SelectedDevice {
    /// Selects the device of the chosen backend, or of the build's default: the accelerator if it has one.
    ///
    /// # Errors
    /// If the backend is not in the build, or the machine has no device for it.
    pub fn select(choice: Option<Backend>) -> Result<Self, BackendError> {
        let backend = choice.or_else(Backend::of_build).ok_or(BackendError::NoneBuilt)?;
        let device = backend.device()?;
        Ok(Self { backend, adapter: adapter(backend, &device), device })
    }
}

impl fmt::Display for SelectedDevice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.adapter {
            Some(adapter) => write!(formatter, "{} on {adapter}", self.backend),
            None => write!(formatter, "{}", self.backend),
        }
    }
}

impl Backend {
    /// Whether the build contains it.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Ndarray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Whether it compiles kernels for a GPU.
    pub const fn is_gpu(self) -> bool {
        !matches!(self, Self::Flex | Self::Ndarray)
    }

    /// The default backend of this build: the one added to `flex`, which was requested explicitly.
    pub fn of_build() -> Option<Self> {
        [Self::Cuda, Self::Metal, Self::Vulkan, Self::Wgpu, Self::Ndarray, Self::Flex]
            .into_iter()
            .find(|backend| backend.is_built())
    }

    fn device(self) -> Result<Device, BackendError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)]
            Self::Ndarray => Ok(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => self.graphics_device(burn::tensor::wgpu::WgpuBackend::Auto),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => self.graphics_device(burn::tensor::wgpu::WgpuBackend::Vulkan),
            #[cfg(feature = "metal")]
            Self::Metal => self.graphics_device(burn::tensor::wgpu::WgpuBackend::Metal),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(burn::tensor::DeviceIndex::Default)),
            #[allow(unreachable_patterns)] // Reachable unless all backends are built.
            backend => Err(BackendError::NotBuilt { backend }),
        }
    }

    /// Starts the graphics driver now, so that a machine without one gives an error, not a panic
    /// in the middle of training.
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
    fn graphics_device(self, api: burn::tensor::wgpu::WgpuBackend) -> Result<Device, BackendError> {
        Device::wgpu_options()
            .graphics_api(api)
            .init()
            .map_err(|error| BackendError::NoDevice { backend: self, reason: error.to_string() })
    }
}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal", feature = "cuda"))]
fn adapter(backend: Backend, device: &Device) -> Option<String> {
    match backend {
        Backend::Flex | Backend::Ndarray => None,
        _ => device.identity().map(|identity| identity.name),
    }
}

#[cfg(not(any(feature = "wgpu", feature = "vulkan", feature = "metal", feature = "cuda")))]
fn adapter(_backend: Backend, _device: &Device) -> Option<String> {
    None
}

impl fmt::Display for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_built_names_its_feature() {
        for backend in [Backend::Ndarray, Backend::Wgpu, Backend::Cuda] {
            if !backend.is_built() {
                let message = SelectedDevice::select(Some(backend)).unwrap_err().to_string();
                assert!(message.ends_with(&format!("--features {backend}")), "{message}");
            }
        }
    }

    #[cfg(feature = "flex")]
    #[test]
    fn flex_has_no_adapter() {
        let selected = SelectedDevice::select(Some(Backend::Flex)).unwrap();

        assert_eq!(selected.to_string(), "flex");
    }
}
