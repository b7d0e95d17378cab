//! The allocator of the binary.
//!
//! Networks allocate the same large tensors again and again. The system's allocator gives each
//! back and pays for every page anew: a fifth of a training step's time.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Number of mimalloc's option `purge_delay` in its C enumeration; its binding does not name it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// How long freed memory waits to be used again, in ms: longer than a training step.
const WAIT: std::ffi::c_long = 10_000;

/// Keeps freed memory for a while before it goes back to the system.
pub fn keep_freed_memory() {
    // SAFETY: sets one number of the allocator that this binary is linked with.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, WAIT) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_that_of_the_option() {
        // Another version of the library may count its options differently. This one's default is 10 ms in version 2 and 1,000
        // in version 3; no other option has either.
        // SAFETY: reads and sets one number of the allocator.
        let default = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert!([10, 1000].contains(&default), "{default}");
        keep_freed_memory();
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, WAIT);
    }
}
