//! NVIDIA cards: what is missing to use them, which there are, and failures that are no panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use burn::tensor::Tensor;
use burn_cuda::{Cuda, CudaDevice};
use cudarc::driver::result;
use libloading::Library;

use super::Error;

/// A card as the driver describes it.
pub(crate) struct Card {
    /// What its maker calls it.
    pub name: String,
    /// Bytes of memory.
    pub memory: usize,
}

/// Names under which a library may be found, the ones without a version first.
fn names(stem: &str, versions: &[&str]) -> Vec<String> {
    let plain = libloading::library_filename(stem).to_string_lossy().into_owned();
    let versioned = versions.iter().map(|version| format!("{plain}.{version}"));
    std::iter::once(plain.clone()).chain(versioned).collect()
}

fn loads(names: &[String]) -> bool {
    // SAFETY: NVIDIA's libraries run no code of consequence when they are loaded.
    names.iter().any(|name| unsafe { Library::new(name) }.is_ok())
}

/// The folder the backend takes CUDA's headers from.
fn headers() -> Option<PathBuf> {
    let places = std::env::var_os("CUDA_PATH").map(PathBuf::from).into_iter();
    let usual = ["/usr/local/cuda", "/opt/cuda", "/usr"].map(PathBuf::from);
    places.chain(usual).map(|path| path.join("include")).find(|path| path.join("cuda_fp16.h").is_file())
}

/// The first thing that is missing to use a card, and how to get it.
pub fn missing() -> Option<&'static str> {
    if !loads(&names("cuda", &["1"])) {
        return Some(
            "the NVIDIA driver (libcuda.so.1) is missing; install it from your distribution, or pass \
             --device cpu",
        );
    }
    if !loads(&names("nvrtc", &["13", "12", "11.2"])) {
        return Some(
            "CUDA's compiler library NVRTC (libnvrtc.so) is missing; install the CUDA runtime or the Python \
             package nvidia-cuda-nvrtc and add its folder to LD_LIBRARY_PATH, or pass --device cpu",
        );
    }
    if headers().is_none() {
        return Some(
            "CUDA's headers (cuda_fp16.h) are missing; install the CUDA runtime's development files or the \
             Python package nvidia-cuda-runtime and let CUDA_PATH name the folder that holds 'include', or \
             pass --device cpu",
        );
    }
    None
}

/// All cards of this machine; `Err` says what is missing.
pub fn cards() -> Result<Vec<Card>, Error> {
    if let Some(missing) = missing() {
        return Err(Error::Missing(missing.to_owned()));
    }
    let list = || -> Result<Vec<Card>, cudarc::driver::DriverError> {
        result::init()?;
        (0..result::device::get_count()?)
            .map(|index| {
                let device = result::device::get(index)?;
                // SAFETY: the driver has just named this device.
                let memory = unsafe { result::device::total_mem(device)? };
                Ok(Card { name: result::device::get_name(device)?, memory })
            })
            .collect()
    };
    guarded(list)?.map_err(|error| {
        Error::Failed(format!(
            "the NVIDIA driver answers with an error ({error}); reinstall it, or pass --device cpu"
        ))
    })
}

/// Computes one small tensor, so that a card that cannot be used is found out before any work.
pub fn check(number: usize) -> Result<(), Error> {
    let cards = cards()?;
    if number >= cards.len() {
        let sentence = format!("there is no NVIDIA card {number}; 'vertebrae devices' lists what there is");
        return Err(Error::Missing(sentence));
    }
    let sum = guarded(|| {
        let ones = Tensor::<Cuda, 1>::ones([8], &CudaDevice::new(number));
        ones.sum().into_data().to_vec::<f32>().unwrap_or_default()
    })?;
    if sum != [8.0] {
        return Err(Error::Failed(format!("the NVIDIA card {number} adds eight ones up to {sum:?}")));
    }
    Ok(())
}

/// Runs what may panic inside the backend, which knows no other way to say that a card failed or
/// that its memory is full, and turns that into an error.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    outcome.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        let reason = text.lines().find(|line| !line.trim().is_empty()).unwrap_or(text).trim();
        if text.to_lowercase().contains("memory") {
            Error::OutOfMemory(format!("the NVIDIA card's memory is full ({reason})"))
        } else {
            Error::Failed(format!(
                "the NVIDIA card failed ({reason}); 'vertebrae devices' says what can be used"
            ))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_backend_is_an_error_with_its_reason() {
        let error = guarded(|| panic!("\nbuffer of 7 bytes: out of memory\n at x")).unwrap_err().to_string();
        assert_eq!(error, "the NVIDIA card's memory is full (buffer of 7 bytes: out of memory)");
        let error = guarded(|| panic!("no such kernel")).unwrap_err().to_string();
        assert!(error.starts_with("the NVIDIA card failed (no such kernel)"), "{error}");
        assert_eq!(guarded(|| 7).unwrap(), 7);
    }
}
