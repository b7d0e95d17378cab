//! The optimiser's moments as tensors of a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::network::weights::Extra;

/// Tensors `adam000.first`, `adam000.second`, ... of one pair of moments a trained tensor.
pub fn named(moments: &[[Vec<f32>; 2]]) -> Vec<Extra> {
    let pair = |(index, [first, second]): (usize, &[Vec<f32>; 2])| {
        [(format!("adam{index:03}.first"), first.clone()), (format!("adam{index:03}.second"), second.clone())]
    };
    moments.iter().enumerate().flat_map(pair).collect()
}

/// The pairs that [`named`] has named; errors name the file they come from.
pub fn of(extra: Vec<Extra>, path: &Path) -> Result<Vec<[Vec<f32>; 2]>> {
    let mut extra: BTreeMap<String, Vec<f32>> = extra.into_iter().collect();
    let mut moments = Vec::new();
    while let Some(first) = extra.remove(&format!("adam{:03}.first", moments.len())) {
        let second = extra.remove(&format!("adam{:03}.second", moments.len()));
        let second = second.with_context(|| format!("{} lacks a moment", path.display()))?;
        ensure!(first.len() == second.len(), "the moments in {} do not fit", path.display());
        moments.push([first, second]);
    }
    Ok(moments)
}
