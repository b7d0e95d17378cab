//! Scalars in TensorBoard's event files: length-framed records with masked CRC-32C checksums, each
//! a protocol-buffer `Event`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// One event file.
pub struct ScalarLog {
    file: BufWriter<File>,
}

impl ScalarLog {
    /// Starts an event file in `folder`, which is created when missing.
    pub(crate) fn create(folder: &Path) -> Result<ScalarLog> {
        let name = format!("events.out.tfevents.{:.0}.vertebrae.{}", now(), std::process::id());
        let path = folder.join(name);
        let attempt = || -> Result<ScalarLog> {
            std::fs::create_dir_all(folder)?;
            let mut log = ScalarLog { file: BufWriter::new(File::create(&path)?) };
            let mut version = event(0);
            field_bytes(&mut version, 3, b"brain.Event:2");
            log.record(&version)?;
            Ok(log)
        };
        attempt().with_context(|| format!("the log {} cannot be written", path.display()))
    }

    /// Adds one number under `tag`; it is on disk when this returns.
    pub fn add(&mut self, tag: &str, step: usize, value: f64) -> Result<()> {
        let mut scalar = Vec::new();
        field_bytes(&mut scalar, 1, tag.as_bytes());
        scalar.push(2 << 3 | 5);
        scalar.extend((value as f32).to_le_bytes());
        let mut summary = Vec::new();
        field_bytes(&mut summary, 1, &scalar);
        let mut event = event(step);
        field_bytes(&mut event, 5, &summary);
        self.record(&event)
    }

    fn record(&mut self, data: &[u8]) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&masked_checksum(&length).to_le_bytes())?;
        self.file.write_all(data)?;
        self.file.write_all(&masked_checksum(data).to_le_bytes())?;
        self.file.flush()?;
        Ok(())
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// An `Event` with its time (field 1, double) and step (field 2, int64).
fn event(step: usize) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(now().to_le_bytes());
    event.push(2 << 3);
    varint(&mut event, step as u64);
    event
}

fn field_bytes(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// TensorFlow's masked checksum: rotated and offset, so that records of records check too.
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_and_checked_as_tensorboard_expects() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = ScalarLog::create(folder.path()).unwrap();
        log.add("loss", 300, 0.5).unwrap();
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let bytes = std::fs::read(file).unwrap();
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked_checksum(&rest[..8]).to_le_bytes());
            let data = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked_checksum(data).to_le_bytes());
            records.push(data.to_vec());
            rest = &rest[16 + length..];
        }
        assert_eq!(records.len(), 2);
        assert!(records[0].ends_with(b"brain.Event:2"));
        // Step 300 as a varint, then summary { value { tag, simple_value } }.
        let mut expected = vec![2 << 3, 0xac, 0x02, 0x2a, 13, 0x0a, 11, 0x0a, 4];
        expected.extend(b"loss");
        expected.push(0x15);
        expected.extend(0.5f32.to_le_bytes());
        assert_eq!(records[1][9..], expected);
    }
}
