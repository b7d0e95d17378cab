//! What Python calls: a scan in, its document as JSON out. Everything that is Python's own stands in `vertebrae/__init__.py`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ndarray::Array3;
use numpy::PyReadonlyArray3;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use vertebrae::annotation::{markups, prediction};
use vertebrae::artifact::File;
use vertebrae::device::Device;
use vertebrae::pipeline::{Models, Pipeline};
use vertebrae::progress::{Observer, Stage};
use vertebrae::report::prediction::Document;
use vertebrae::scan::{self, Geometry, Scan, Volume};

pyo3::create_exception!(
    vertebrae,
    Error,
    PyException,
    "A scan or a model cannot be used; the text says why and what to do."
);

/// Pipelines that were loaded before, by the folder of their models.
static LOADED: Mutex<Option<HashMap<Option<PathBuf>, Arc<Pipeline>>>> = Mutex::new(None);

fn pipeline(models: Option<PathBuf>) -> anyhow::Result<Arc<Pipeline>> {
    let mut loaded = LOADED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let loaded = loaded.get_or_insert_with(HashMap::new);
    if let Some(pipeline) = loaded.get(&models) {
        return Ok(Arc::clone(pipeline));
    }
    let pipeline = Arc::new(Pipeline::load(&Models::find(models.as_deref())?, Device::Cpu)?);
    loaded.insert(models, Arc::clone(&pipeline));
    Ok(pipeline)
}

/// Tells a Python function which stage begins, and Rust whether somebody pressed Ctrl-C.
struct Told {
    progress: Option<Py<PyAny>>,
}

impl Observer for Told {
    fn begins(&mut self, stage: Stage, _: usize) -> anyhow::Result<()> {
        let told = Python::attach(|py| -> PyResult<()> {
            py.check_signals()?;
            if let Some(progress) = &self.progress {
                progress.call1(py, (stage.to_string(),))?;
            }
            Ok(())
        });
        Ok(told?)
    }
}

/// Python's own errors (an interrupt, one of the caller's function) stay what they are; the others become [`Error`].
fn to_python(error: anyhow::Error) -> PyErr {
    match error.downcast::<PyErr>() {
        Ok(own) => own,
        Err(error) => Error::new_err(format!("{error:#}")),
    }
}

fn document(
    scan: &Scan,
    input: File,
    measure: bool,
    models: Option<PathBuf>,
    told: &mut Told,
) -> anyhow::Result<String> {
    let begin = std::time::Instant::now();
    let pipeline = pipeline(models)?;
    let prediction = pipeline.predict_observed(scan, told)?;
    let measurements = if measure {
        told.begins(Stage::Measuring, 0)?;
        Some(prediction.measure(scan))
    } else {
        None
    };
    let mut document = Document::of(&pipeline, scan, &prediction, input, begin.elapsed().as_secs_f64());
    if let Some(measurements) = measurements {
        document = document.measured(&measurements, &scan.frame);
    }
    Ok(serde_json::to_string(&document)?)
}

/// The document of a file or of a folder of DICOM slices.
#[pyfunction]
#[pyo3(signature = (path, measure, models, series, progress))]
fn predict_path(
    py: Python<'_>,
    path: PathBuf,
    measure: bool,
    models: Option<PathBuf>,
    series: Option<String>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let work = move || -> anyhow::Result<String> {
        let mut told = Told { progress };
        let scan = Scan::read_as(&path, true, series.as_deref())?;
        let input = File { sha256: scan::sha256(&path)?, path };
        document(&scan, input, measure, models, &mut told)
    };
    py.detach(work).map_err(to_python)
}

/// The document of Hounsfield units `[i, j, k]` with the matrix (three rows) that brings an index to RAS mm.
#[pyfunction]
#[pyo3(signature = (voxels, affine, name, measure, models, progress))]
fn predict_array(
    py: Python<'_>,
    voxels: PyReadonlyArray3<'_, f32>,
    affine: [[f64; 4]; 3],
    name: String,
    measure: bool,
    models: Option<PathBuf>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let voxels: Array3<f32> = voxels.as_array().to_owned();
    let work = move || -> anyhow::Result<String> {
        let mut told = Told { progress };
        let geometry = Geometry::of(voxels.dim().into(), affine);
        let scan = Scan::of(Volume { voxels, geometry, warnings: Vec::new() })
            .map_err(|error| error.context(format!("{name} cannot be used")))?;
        let input = File { path: Path::new(&name).to_owned(), sha256: String::new() };
        document(&scan, input, measure, models, &mut told)
    };
    py.detach(work).map_err(to_python)
}

/// The centres of a document as 3D Slicer's markups, written to a file, too, if one is named.
#[pyfunction]
#[pyo3(signature = (document, path))]
fn to_markups(document: &str, path: Option<PathBuf>) -> PyResult<String> {
    let work = || -> anyhow::Result<String> {
        let landmarks = prediction::parse(document)?;
        if let Some(path) = path {
            markups::write(&path, &landmarks)?;
        }
        Ok(markups::document(&landmarks).to_string())
    };
    work().map_err(to_python)
}

/// Runs the program and says with which code it ends.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| vertebrae::cli::main(arguments))
}

/// The compiled part of the package.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("Error", module.py().get_type::<Error>())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(predict_path, module)?)?;
    module.add_function(wrap_pyfunction!(predict_array, module)?)?;
    module.add_function(wrap_pyfunction!(to_markups, module)?)?;
    module.add_function(wrap_pyfunction!(main, module)?)
}
