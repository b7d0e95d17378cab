//! The one place that knows which backends exist and chooses among them at run time.

use std::fmt;
use std::str::FromStr;

use anyhow::Result;
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::AutodiffBackend;

use crate::kernels::KernelBackend;
use crate::network::{BurnPredictor, CpuPredictor, Predictor, Weights};

/// Where tensors are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// All cores of the processor.
    Cpu,
    /// The NVIDIA card with this number.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("'{text}' is no device; use cpu, cuda or cuda:N");
        match text.split_once(':') {
            None if text == "cpu" => Ok(Device::Cpu),
            None if text == "cuda" => Ok(Device::Cuda(0)),
            Some(("cuda", number)) => number.parse().map(Device::Cuda).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// Work that is generic over the backend.
pub trait Task {
    /// What it results in.
    type Output;

    /// Does the work on `device`.
    fn run<B>(self, device: B::Device) -> Self::Output
    where
        B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend;
}

impl Device {
    /// Runs `task` on this device, or says why it cannot be used.
    pub fn run<T: Task>(&self, task: T) -> Result<T::Output> {
        match self {
            Device::Cpu => Ok(task.run::<Autodiff<Flex>>(Default::default())),
            #[cfg(feature = "cuda")]
            Device::Cuda(number) => {
                cuda::check(*number)?;
                Ok(task.run::<Autodiff<burn_cuda::Cuda>>(burn_cuda::CudaDevice::new(*number)))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => anyhow::bail!(
                "this vertebrae was built without CUDA; build it with 'cargo build --release --features cuda' \
                 or use --device cpu"
            ),
        }
    }

    /// The network with the given weights on this device.
    pub fn predictor(&self, weights: &Weights) -> Result<Box<dyn Predictor>> {
        struct Load<'a>(&'a Weights);
        impl Task for Load<'_> {
            type Output = Box<dyn Predictor>;
            fn run<B>(self, device: B::Device) -> Self::Output
            where
                B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
            {
                Box::new(BurnPredictor::<B::InnerBackend>::new(self.0, device))
            }
        }
        match self {
            Device::Cpu => Ok(Box::new(CpuPredictor::new(weights))),
            Device::Cuda(_) => self.run(Load(weights)),
        }
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use anyhow::{Result, bail};
    use burn::tensor::Tensor;
    use burn_cuda::{Cuda, CudaDevice};

    /// Computes one small tensor, so that a missing driver or card is found out before any work.
    ///
    /// The driver is loaded at run time and its absence is a panic inside the backend; it is caught
    /// here and nowhere else.
    pub fn check(number: usize) -> Result<()> {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let attempt = std::panic::catch_unwind(|| {
            let ones = Tensor::<Cuda, 1>::ones([8], &CudaDevice::new(number));
            ones.sum().into_data().to_vec::<f32>().is_ok_and(|sum| sum == [8.0])
        });
        std::panic::set_hook(hook);
        match attempt {
            Ok(true) => Ok(()),
            _ => bail!(
                "the NVIDIA card {number} cannot be used: the driver (libcuda.so.1), NVRTC (libnvrtc.so) or the \
                 card itself is missing; install the NVIDIA driver and the CUDA runtime or use --device cpu"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_on_the_command_line() {
        assert_eq!("cpu".parse(), Ok(Device::Cpu));
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        assert_eq!("cuda:3".parse(), Ok(Device::Cuda(3)));
        assert!("cuda:x".parse::<Device>().unwrap_err().contains("use cpu, cuda or cuda:N"));
        assert!("gpu".parse::<Device>().is_err());
        assert_eq!(Device::Cuda(3).to_string(), "cuda:3");
    }
}
