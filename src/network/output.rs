//! The channels that a network of whole volumes answers with.

use std::ops::Range;

use crate::anatomy::Level;

/// Logit of belonging to a vertebral body.
pub const BODY: usize = 0;
/// Logits of the level values 1 … 26, given a body.
pub const LEVELS: Range<usize> = 1..1 + Level::MAX_VALUE as usize;
/// The way to the body's centre along x, y, z, in voxels.
pub const OFFSETS: Range<usize> = LEVELS.end..LEVELS.end + 3;
/// All of them.
pub const CHANNELS: usize = OFFSETS.end;
