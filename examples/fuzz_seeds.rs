//! Writes small valid files of every format into `fuzz/seeds/`, for the fuzz targets to begin with.

use std::path::Path;

use ndarray::Array3;
use vertebrae::annotation::landmark::{Format, Landmark};
use vertebrae::network::{Architecture, Kind, Weights};
use vertebrae::scan::{Geometry, nifti};

#[path = "../tests/scratch/series.rs"]
mod series;

fn main() {
    let folder = |name: &str| {
        let folder = Path::new("fuzz/seeds").join(name);
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        folder
    };
    let affine = [[0.0, 2.0, 0.0, -10.0], [-0.5, 0.0, 0.0, 20.0], [0.0, 0.0, -3.0, 300.0]];
    let geometry = Geometry { shape: [4, 5, 6], spacing: [0.5, 2.0, 3.0], affine };
    let voxels = Array3::from_shape_fn((4, 5, 6), |(x, y, z)| (x * 30 + y * 6 + z) as i16);
    nifti::write(&folder("nifti").join("scan.nii.gz"), &voxels, &geometry).expect("a scan is written");

    let landmarks: Vec<Landmark> = [("C7", [1.5, -2.25, 290.0]), ("L6", [-3.0, 14.0, 200.5])]
        .map(|(name, lps)| Landmark {
            level: name.parse().expect("a level"),
            lps,
            description: "a \"remark\", with a comma".to_owned(),
        })
        .to_vec();
    let write = |folder: &Path, name: &str| {
        let path = folder.join(name);
        let format = Format::of(&path).expect("a known ending");
        format.write(&path, &landmarks, Some(&geometry)).expect("landmarks are written");
    };
    for name in ["a.mrk.json", "a.csv", "a_ctd.json"] {
        write(&folder("centroids"), name);
    }
    write(&folder("lml"), "a.lml");

    for (kind, name) in [(Kind::Detection, "detection"), (Kind::Identification, "identification")] {
        let weights = Weights::initial(Architecture { kind, filters: 1 }, 1);
        for (target, ending) in [("keras", "h5"), ("safetensors", "safetensors")] {
            weights.write(&folder(target).join(format!("{name}.{ending}"))).expect("a model is written");
        }
    }

    let nrrd = "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\nspace directions: \
                (1,0,0) (0,1,0) (0,0,2)\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n\n";
    let metaimage = "NDims = 3\nBinaryData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = \
                     1 1 2\nDimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n";
    for (target, header) in [("nrrd", nrrd), ("metaimage", metaimage)] {
        let file = [header.as_bytes(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]].concat();
        std::fs::write(folder(target).join("plain"), file).expect("a seed is written");
    }

    let series = series::Series {
        uid: "1.2.3".to_owned(),
        description: "seed".to_owned(),
        spacing: [0.5, 2.0, 3.0],
        origin: [0.0; 3],
        shear: 0.0,
        directions: series::AXIAL,
    };
    let slices = folder("slices");
    series.write(&slices, &voxels, |index| format!("{index}"));
    // The target takes the first half of its input as one file and the second as another.
    let pair = ["0", "1"].map(|name| std::fs::read(slices.join(name)).expect("a slice is there"));
    std::fs::write(folder("dicom").join("pair"), pair.concat()).expect("a pair is written");
}
