//! `train-chain`: fits the chain of a model of names to scans that networks like it have not learned from.

use super::stdout::say;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::bar::Progress;
use super::options::Computing;
use crate::annotation::Annotated;
use crate::batch::Failures;
use crate::evaluation::calibration::{Judged, expected_error};
use crate::learning::strip::chain::{self, Read, fit, likelihood};
use crate::network::{Reading, StripWeights};
use crate::pipeline::Models;
use crate::scan;
use crate::spine::Chain;
use crate::spine::chain::CHAIN;

#[derive(Args)]
pub struct TrainChain {
    /// Model of names to fit (.safetensors); its chain is replaced
    model: PathBuf,
    /// A folder of annotated scans, and a folder of models as for predict that have not learned from them; once a fold
    #[arg(long, value_names = ["SCANS", "MODELS"], num_args = 2, required = true)]
    fold: Vec<PathBuf>,
    #[command(flatten)]
    computing: Computing,
}

impl TrainChain {
    pub fn run(self) -> Result<()> {
        let bytes =
            std::fs::read(&self.model).with_context(|| format!("{} cannot be read", self.model.display()))?;
        let (weights, (mut metadata, extra)) = StripWeights::parse_all(&bytes, Reading::Names)
            .with_context(|| format!("{} is no usable model of {}", self.model.display(), Reading::Names))?;
        let before = Chain::of(&metadata).with_context(|| format!("{}", self.model.display()))?;
        let folds =
            self.fold.chunks(2).map(|pair| self.read(&pair[0], &pair[1])).collect::<Result<Vec<_>>>()?;
        let all: Vec<&Read> = folds.iter().flatten().collect();
        ensure!(!all.is_empty(), "no spine was found in these scans, so there is nothing to fit to");
        let chain = fit(&all);
        // What others tell about each fold: the fitted figures themselves have seen it.
        let mut honest = Vec::new();
        for index in 0..folds.len() {
            let others: Vec<&Read> = folds
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .flat_map(|(_, fold)| fold)
                .collect();
            if !others.is_empty() {
                let of_others = fit(&others);
                honest.extend(folds[index].iter().flat_map(|read| read.names(&of_others)));
            }
        }
        let of = |chain: &Chain| all.iter().flat_map(|read| read.names(chain)).collect::<Vec<_>>();
        say!("{} spines, {} judged names", all.len(), of(&chain).len());
        say!("before: {before:?}");
        say!("fitted: {chain:?}");
        say!(
            "log-likelihood a body: {:.4} before, {:.4} fitted",
            likelihood(&all, &before),
            likelihood(&all, &chain)
        );
        say!("before: {}", figures(&of(&before)));
        say!("fitted: {}", figures(&of(&chain)));
        if !honest.is_empty() {
            say!("each fold by what the others were fitted to: {}", figures(&honest));
        }
        metadata.insert(CHAIN.to_owned(), serde_json::to_string(&chain)?);
        let precision = StripWeights::precision(&bytes)?;
        weights.write_all(&self.model, metadata, &extra, precision)?;
        say!("saved {}", self.model.display());
        Ok(())
    }

    /// What a fold's models see in its scans.
    fn read(&self, scans: &std::path::Path, models: &std::path::Path) -> Result<Vec<Read>> {
        let reader = Models::find(Some(models))?.load(self.computing.device())?;
        let paths = scan::find(scans)?;
        let progress = Progress::on_stderr();
        progress.start(paths.len(), format!("{}", scans.display()));
        let (mut reads, mut failures) = (Vec::new(), Failures::default());
        for path in &paths {
            let read = || -> Result<Option<Read>> {
                let Annotated { scan, centroids: annotated, .. } = Annotated::read(path, true)?;
                let spine = reader.read(&scan.volume)?;
                let centres: Vec<[f64; 3]> = spine.bodies.iter().map(|body| body.mm).collect();
                Ok((!centres.is_empty()).then(|| Read::of(centres, spine.looks, &annotated)))
            };
            match read() {
                Ok(read) => reads.extend(read),
                Err(error) => failures.add(path, error),
            }
            progress.advance(1);
        }
        progress.clear();
        failures.into_result(paths.len())?;
        Ok(reads)
    }
}

/// How well names are calibrated.
fn figures(names: &[chain::Judged]) -> String {
    let judge = |name: &chain::Judged| Judged {
        confidence: name.confidence,
        flagged: name.flagged,
        right: name.right,
    };
    let judged: Vec<Judged> = names.iter().map(judge).collect();
    let right = judged.iter().filter(|name| name.right).count();
    let mean = judged.iter().map(|name| name.confidence).sum::<f64>() / judged.len() as f64;
    format!(
        "{right} of {} names right, mean confidence {mean:.3}, expected calibration error {:.3}, marked {} wrong and {} right",
        judged.len(),
        expected_error(&judged),
        judged.iter().filter(|name| !name.right && name.marked()).count(),
        judged.iter().filter(|name| name.right && name.marked()).count()
    )
}
