//! One picture as a PNG file. The file appears whole or not at all: it is written under another name and then renamed.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_rgb};

use crate::existing::Existing;
use crate::frame::VideoFrame;
use crate::patience::is_special;
use crate::private_file;
use network::system_error::in_words;

/// A picture could not be saved. The text says what to try.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is another file of that name.
    #[error("{path} is there already; name another file, or pass --overwrite")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write the picture {path}: {}; choose a folder that exists and that you may write to", in_words(.source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The picture cannot be turned into colours or compressed.
    #[error("cannot turn the picture into a PNG: {0}")]
    Convert(String),
}

/// Writes `frame` as an 8-bit RGB PNG; a pipe or a device is written to.
///
/// # Errors
/// [`SnapshotError`]; the old file, if there was one, stays.
pub fn write_png(path: &Path, frame: &VideoFrame, existing: Existing) -> Result<(), SnapshotError> {
    if existing.forbids(path) {
        return Err(SnapshotError::Exists { path: path.to_owned() });
    }
    let rgb = to_rgb(frame)?;
    let failed = |error| match error {
        png::EncodingError::IoError(source) => SnapshotError::Write { path: path.to_owned(), source },
        error => SnapshotError::Convert(error.to_string()),
    };
    if is_special(path) {
        return write(path, frame, &rgb).map_err(failed);
    }
    let partial = partial_path(path);
    let written = write(&partial, frame, &rgb).and_then(|()| {
        if let Ok(replaced) = std::fs::metadata(path) {
            // The picture is as readable as the one that it replaces.
            std::fs::set_permissions(&partial, replaced.permissions())?;
        }
        Ok(std::fs::rename(&partial, path)?)
    });
    written.map_err(|error| {
        // Nothing more can be done when this fails too.
        let _ = std::fs::remove_file(&partial);
        failed(error)
    })
}

/// BT.601 limited range to RGB, 3 bytes a pixel.
fn to_rgb(frame: &VideoFrame) -> Result<Vec<u8>, SnapshotError> {
    let size = frame.size();
    let image = YuvPlanarImage {
        y_plane: frame.y(),
        y_stride: size.width,
        u_plane: frame.u(),
        u_stride: size.chroma().width,
        v_plane: frame.v(),
        v_stride: size.chroma().width,
        width: size.width,
        height: size.height,
    };
    let mut rgb = vec![0; size.area() * 3];
    yuv420_to_rgb(&image, &mut rgb, size.width * 3, YuvRange::Limited, YuvStandardMatrix::Bt601)
        .map_err(|error| SnapshotError::Convert(error.to_string()))?;
    Ok(rgb)
}

fn write(path: &Path, frame: &VideoFrame, rgb: &[u8]) -> Result<(), png::EncodingError> {
    let mut file = BufWriter::new(private_file::create(path)?);
    let mut encoder = png::Encoder::new(&mut file, frame.size().width, frame.size().height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(file.flush()?)
}

/// A name in the same folder, so that the rename stays within one file system.
fn partial_path(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    use super::*;
    use crate::frame::Size;

    #[test]
    fn a_picture_is_written_whole_and_in_its_colours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let mut frame = VideoFrame::black(Size { width: 6, height: 4 }, Instant::now());
        // BT.601 limited range: pure red is Y 81, Cb 90, Cr 240.
        let (y, u, v) = frame.planes_mut();
        y.fill(81);
        u.fill(90);
        v.fill(240);
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let old = VideoFrame::black(Size { width: 2, height: 2 }, Instant::now());
        write_png(&path, &old, Existing::Keep).unwrap();
        assert_eq!(mode(), 0o600, "nobody else sees who was called");
        let refused = write_png(&path, &frame, Existing::Keep).unwrap_err();
        assert!(refused.to_string().contains("--overwrite"), "{refused}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        write_png(&path, &frame, Existing::Replace).unwrap();
        assert_eq!(mode(), 0o644, "what was there is as readable as it was");
        let mut reader = png::Decoder::new(std::io::BufReader::new(File::open(&path).unwrap())).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (6, 4, png::ColorType::Rgb));
        for pixel in rgb.chunks_exact(3) {
            assert!(pixel[0] > 250 && pixel[1] < 5 && pixel[2] < 5, "{pixel:?}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the partial file is gone");
    }

    #[test]
    fn a_device_is_written_to_and_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("full.png");
        std::os::unix::fs::symlink("/dev/full", &link).unwrap();
        let frame = VideoFrame::black(Size { width: 2, height: 2 }, Instant::now());
        assert!(matches!(write_png(&link, &frame, Existing::Keep), Err(SnapshotError::Write { .. })));
        assert!(link.is_symlink(), "it was not replaced");
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/picture.png");
        let frame = VideoFrame::black(Size { width: 2, height: 2 }, Instant::now());
        let error = write_png(&path, &frame, Existing::Keep).unwrap_err();
        assert!(matches!(&error, SnapshotError::Write { .. }), "{error}");
        assert!(error.to_string().contains("missing/picture.png"));
    }
}
