//! Draws that the phantom's parts share.

use crate::random::Legacy;

/// Uniform between two numbers.
pub fn between(random: &mut Legacy, low: f64, high: f64) -> f64 {
    low + (high - low) * random.uniform()
}

/// Normal with the given mean and deviation, cut off at two deviations.
pub fn around(random: &mut Legacy, mean: f64, deviation: f64) -> f64 {
    mean + deviation * random.normal().clamp(-2.0, 2.0)
}
