//! The one place that knows which backends exist and chooses among them at run time.

#[cfg(feature = "cuda")]
mod cuda;
mod error;

use std::fmt;
use std::str::FromStr;

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::AutodiffBackend;

use crate::kernels::KernelBackend;
use crate::kernels::isa::Isa;
use crate::network::{
    BurnPredictor, BurnStrip, CpuPredictor, Predictor, StripPredictor, StripWeights, Weights,
};

pub use error::Error;

/// Where tensors are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The first NVIDIA card that can be used, else the processor.
    Auto,
    /// All cores of the processor.
    Cpu,
    /// The same with the convolutions of trainings and of networks of volumes in bfloat16, where the processor multiplies it (see
    /// [`Device::halved`]); all else is computed in floats.
    CpuBf16,
    /// The NVIDIA card with this number.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("'{text}' is no device; use auto, cpu, cuda or cuda:N");
        match text.split_once(':') {
            None if text == "auto" => Ok(Device::Auto),
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
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::CpuBf16 => f.write_str("cpu (bf16)"),
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
    /// The device that is meant: `Auto` becomes the first card that can be used, or the processor.
    pub fn resolved(self) -> Device {
        match self {
            Device::Auto => {
                let usable = devices().into_iter().find(|found| found.device != Device::Cpu && found.usable);
                usable.map_or(Device::Cpu, |found| found.device)
            }
            other => other,
        }
    }

    /// The processor with its convolutions in bfloat16: half the bits, up to twice the speed, values rounded to 8 bits. An error on
    /// one that does not multiply it.
    pub fn halved() -> Result<Device, Error> {
        match Isa::bf16() {
            Some(_) => Ok(Device::CpuBf16),
            None => Err(Error::Missing(
                "the kernels in use here multiply no bfloat16 (a processor with AVX512_BF16 does, unless VERTEBRAE_SIMD forbids \
                 it); use --precision f32, or auto, which takes what there is"
                    .to_owned(),
            )),
        }
    }

    /// Runs `task` on this device, or says why it cannot be used.
    pub fn run<T: Task>(&self, task: T) -> Result<T::Output, Error> {
        match self.resolved() {
            #[cfg(feature = "cuda")]
            Device::Cuda(number) => {
                cuda::check(number)?;
                cuda::guarded(|| task.run::<Autodiff<burn_cuda::Cuda>>(burn_cuda::CudaDevice::new(number)))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => Err(Error::Missing(format!("{NOT_BUILT}; or use --device cpu"))),
            Device::Auto | Device::Cpu | Device::CpuBf16 => {
                Ok(task.run::<Autodiff<Flex>>(Default::default()))
            }
        }
    }

    /// What the processor computes convolutions with.
    pub fn isa(&self) -> Isa {
        match self {
            Device::CpuBf16 => Isa::bf16().unwrap_or_else(Isa::detect),
            _ => Isa::detect(),
        }
    }

    /// The network with the given weights on this device.
    pub fn predictor(&self, weights: &Weights) -> Result<Box<dyn Predictor>, Error> {
        match self.resolved() {
            Device::Auto | Device::Cpu | Device::CpuBf16 => {
                Ok(Box::new(CpuPredictor::on(self.isa(), weights)))
            }
            device => device.run(Load(weights)),
        }
    }
}

impl Device {
    /// The strip network with the given weights on this device.
    pub fn strip(&self, weights: &StripWeights) -> Result<Box<dyn StripPredictor>, Error> {
        self.run(LoadStrip(weights))
    }
}

struct LoadStrip<'a>(&'a StripWeights);

impl Task for LoadStrip<'_> {
    type Output = Box<dyn StripPredictor>;

    fn run<B>(self, device: B::Device) -> Self::Output
    where
        B: AutodiffBackend<InnerBackend: KernelBackend> + KernelBackend,
    {
        Box::new(BurnStrip::<B::InnerBackend>::new(self.0, device))
    }
}

/// The task of bringing weights to a device.
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

/// What a binary without the feature says of cards.
#[cfg(not(feature = "cuda"))]
const NOT_BUILT: &str =
    "this vertebrae was built without CUDA; build it with 'cargo build --release --features cuda'";

/// A device of this machine.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which one; card 0 stands for all cards where none can be used.
    pub device: Device,
    /// Whether it can be used.
    pub usable: bool,
    /// What it is, or what is missing to use it.
    pub description: String,
}

/// The processor, then every NVIDIA card or what is missing to use one.
pub fn devices() -> Vec<Found> {
    let threads = rayon::current_num_threads();
    let half = Isa::bf16().map(|isa| format!(" and {isa}")).unwrap_or_default();
    let description = format!("{}, {threads} threads, {}{half} kernels", processor(), Isa::detect());
    let mut found = vec![Found { device: Device::Cpu, usable: true, description }];
    #[cfg(not(feature = "cuda"))]
    found.push(Found { device: Device::Cuda(0), usable: false, description: NOT_BUILT.to_owned() });
    #[cfg(feature = "cuda")]
    match cuda::cards() {
        Ok(cards) => {
            for (number, card) in cards.iter().enumerate() {
                let gib = card.memory as f64 / (1u64 << 30) as f64;
                let failure = cuda::check(number).err();
                let state = failure.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
                let description = format!("{}, {gib:.0} GiB{state}", card.name);
                found.push(Found { device: Device::Cuda(number), usable: failure.is_none(), description });
            }
        }
        Err(error) => {
            found.push(Found { device: Device::Cuda(0), usable: false, description: error.to_string() });
        }
    }
    found
}

/// The processor's name, where the system tells.
fn processor() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let name = line.and_then(|rest| rest.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_on_the_command_line() {
        assert_eq!("cpu".parse(), Ok(Device::Cpu));
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        assert_eq!("cuda:3".parse(), Ok(Device::Cuda(3)));
        assert!("cuda:x".parse::<Device>().unwrap_err().contains("use auto, cpu, cuda or cuda:N"));
        assert!("gpu".parse::<Device>().is_err());
        assert_eq!(Device::Cuda(3).to_string(), "cuda:3");
        assert_eq!("auto".parse(), Ok(Device::Auto));
    }

    #[test]
    fn the_processor_can_always_be_used_and_auto_finds_something() {
        let found = devices();
        assert!(
            found[0].device == Device::Cpu && found[0].usable && found[0].description.contains("threads")
        );
        assert!(found.iter().skip(1).all(|card| card.usable || card.description.contains("; ")));
        assert_ne!(Device::Auto.resolved(), Device::Auto);
    }
}
