//! Vertebrae in the patient's own space, as viewers and other tools exchange them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::{Centroid, fiducials, lml, markups, prediction, table, verse};
use crate::anatomy::Level;
use crate::scan::Geometry;

/// The centre of a vertebral body in the patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Landmark {
    /// Which vertebra.
    pub level: Level,
    /// Millimetres to the left, to the back and to the head (DICOM's LPS).
    pub lps: [f64; 3],
    /// A remark, such as how sure the label is.
    pub description: String,
}

impl Landmark {
    /// The landmark of a centroid in mm from the first voxel along the stored axes of `stored`.
    pub fn of(centroid: &Centroid, stored: &Geometry) -> Landmark {
        let [x, y, z] = stored.world(stored.index(centroid.mm));
        Landmark { level: centroid.level, lps: [-x, -y, z], description: String::new() }
    }

    /// The same in RAS, the world of NIfTI.
    pub fn ras(&self) -> [f64; 3] {
        [-self.lps[0], -self.lps[1], self.lps[2]]
    }

    /// The centroid in mm from the first voxel along the stored axes; an error where the geometry has
    /// an axis without a direction.
    pub fn centroid(&self, stored: &Geometry) -> Result<Centroid> {
        let index = stored
            .unworld(self.ras())
            .context("the image's header has an axis without a direction; repair its sform or qform")?;
        let mm = std::array::from_fn(|axis| index[axis] * stored.spacing[axis]);
        Ok(Centroid { level: self.level, mm })
    }
}

/// A file format of landmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.mrk.json`: 3D Slicer's markups.
    Markups,
    /// `.csv`: 3D Slicer's table of control points.
    Table,
    /// `.fcsv`: 3D Slicer's older list of points.
    Fiducials,
    /// `.vertebrae.json`: what `predict` has written; it is only read.
    Prediction,
    /// `_ctd.json`: VerSe's centroids, in voxels of an image.
    Verse,
    /// `.lml`: the original's annotation, in mm from the first voxel of an image.
    Lml,
}

impl Format {
    /// The format that a file's name tells.
    pub fn of(path: &Path) -> Result<Format> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let known = [
            (".mrk.json", Format::Markups),
            ("ctd.json", Format::Verse),
            (".vertebrae.json", Format::Prediction),
            (".fcsv", Format::Fiducials),
            (".csv", Format::Table),
            (".lml", Format::Lml),
        ];
        match known.into_iter().find(|(ending, _)| name.ends_with(ending)) {
            Some((_, format)) => Ok(format),
            None => bail!(
                "{} has no known ending; use .mrk.json (Slicer markups), .csv (Slicer table), .fcsv (Slicer fiducials), \
                 _ctd.json (VerSe) or .lml",
                path.display()
            ),
        }
    }

    /// Whether positions are relative to an image.
    pub fn needs_image(self) -> bool {
        matches!(self, Format::Verse | Format::Lml)
    }

    /// Reads landmarks; `image` is the stored grid that VerSe's and `.lml` positions refer to.
    pub fn read(self, path: &Path, image: Option<&Geometry>) -> Result<Vec<Landmark>> {
        if self == Format::Lml {
            let centroids = lml::read(path)?;
            let image = needed(image, path)?;
            return Ok(centroids.iter().map(|centroid| Landmark::of(centroid, image)).collect());
        }
        let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let landmarks = match self {
            Format::Markups => markups::parse(&text),
            Format::Table => table::parse(&text),
            Format::Fiducials => fiducials::parse(&text),
            Format::Prediction => prediction::parse(&text),
            Format::Verse | Format::Lml => verse::parse(&text, needed(image, path)?),
        }
        .with_context(|| format!("{}", path.display()))?;
        for (index, landmark) in landmarks.iter().enumerate() {
            let twice = landmarks[..index].iter().any(|other| other.level == landmark.level);
            ensure!(!twice, "{} names {} twice; keep one", path.display(), landmark.level);
        }
        Ok(landmarks)
    }

    /// Writes landmarks, whole or not at all; returns the levels that the format has no name for.
    pub fn write(self, path: &Path, landmarks: &[Landmark], image: Option<&Geometry>) -> Result<Vec<Level>> {
        match self {
            Format::Markups => markups::write(path, landmarks)?,
            Format::Table => table::write(path, landmarks)?,
            Format::Fiducials => fiducials::write(path, landmarks)?,
            Format::Prediction => bail!(
                "{} would look like a result of predict; use another ending, such as .mrk.json",
                path.display()
            ),
            Format::Verse => return verse::write(path, landmarks, needed(image, path)?),
            Format::Lml => {
                let image = needed(image, path)?;
                let centroids: Vec<Centroid> =
                    landmarks.iter().map(|landmark| landmark.centroid(image)).collect::<Result<_>>()?;
                lml::write(path, &centroids)?;
            }
        }
        Ok(Vec::new())
    }
}

fn needed<'a>(image: Option<&'a Geometry>, path: &Path) -> Result<&'a Geometry> {
    image.with_context(|| {
        format!("positions in {} are relative to an image; name it with --image", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A turned grid: stored axes run to the back, to the right and down.
    fn image() -> Geometry {
        Geometry {
            shape: [20, 30, 40],
            spacing: [0.5, 2.0, 3.0],
            affine: [[0.0, 2.0, 0.0, -10.0], [-0.5, 0.0, 0.0, 20.0], [0.0, 0.0, -3.0, 300.0]],
        }
    }

    fn landmarks() -> Vec<Landmark> {
        [("C7", [1.5, -2.25, 290.0]), ("L6", [-3.0, 14.0, 200.5]), ("S1", [0.0, 20.0, 180.0])]
            .map(|(name, lps)| Landmark {
                level: name.parse().unwrap(),
                lps,
                description: "a \"remark\", with a comma".to_owned(),
            })
            .to_vec()
    }

    #[test]
    fn every_format_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.mrk.json", "a.csv", "a.fcsv", "a_ctd.json", "a.lml"] {
            let path = folder.path().join(name);
            let format = Format::of(&path).unwrap();
            assert!(format.write(&path, &landmarks(), Some(&image())).unwrap().is_empty());
            let read = format.read(&path, Some(&image())).unwrap();
            assert_eq!(read.len(), 3, "{name}");
            for (a, b) in read.iter().zip(landmarks()) {
                assert_eq!(a.level, b.level);
                assert!((0..3).all(|axis| (a.lps[axis] - b.lps[axis]).abs() < 1e-3), "{name}: {a:?}");
                assert!(format.needs_image() || a.description == b.description, "{name}");
            }
        }
    }

    #[test]
    fn verse_and_lml_need_their_image_and_other_endings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a_ctd.json");
        let error = Format::Verse.write(&path, &landmarks(), None).unwrap_err().to_string();
        assert!(error.contains("--image") && !path.exists(), "{error}");
        assert!(Format::of(Path::new("a.txt")).unwrap_err().to_string().contains(".mrk.json"));
    }

    #[test]
    fn nonsense_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.mrk.json", "{\"markups\": 3}"),
            (
                "b.mrk.json",
                "{\"markups\": [{\"controlPoints\": [{\"label\": \"X9\", \"position\": [1, 2, 3]}]}]}",
            ),
            ("c.csv", "label,l,p,s\nT1,1,2\n"),
            ("d_ctd.json", "[{\"label\": 99, \"X\": 1, \"Y\": 2, \"Z\": 3}]"),
            ("e_ctd.json", "[[["),
            ("f.fcsv", "# columns = label,x,y,z\nX9,1,2,3\n"),
            ("g.vertebrae.json", "{\"vertebrae\": [{\"label\": \"X9\"}]}"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let error = Format::of(&path).unwrap().read(&path, Some(&image())).unwrap_err();
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
