//! Where a spine runs, roughly: points from which its bodies can be reached.

use anyhow::Result;

use crate::decoding::{bodies, candidate};
use crate::inference::network::Network;
use crate::scan::Volume;

/// Starts at most, beside the row.
const SINGLES: usize = 3;

/// What a coarse look at the whole scan shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rough {
    /// Bodies that can be a spine together, in mm from the head down.
    pub row: Vec<[f64; 3]>,
    /// The surest bodies, in mm, the surest first.
    pub singles: Vec<[f64; 3]>,
}

/// Looks for bodies with a network of whole volumes; `volume` holds Hounsfield units in LPS order.
pub(crate) fn rough(volume: &Volume, network: &Network) -> Result<Rough> {
    let Some(field) = network.answer(volume)? else { return Ok(Rough::default()) };
    let mut candidates = bodies::candidates(&[&field]);
    candidates.sort_by(|a, b| b.presence.total_cmp(&a.presence));
    let singles = candidates.iter().take(SINGLES).map(|candidate| candidate.mm).collect();
    let row = candidate::name(&mut candidates).iter().map(|named| named.mm).collect();
    Ok(Rough { row, singles })
}
