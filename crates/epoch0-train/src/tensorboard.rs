//! Event files, as TensorBoard reads them.
//!
//! A file is a row of records: length (8 bytes, little-endian), its masked CRC-32C, data, their masked CRC-32C. The mask
//! turns a checksum right by 15 bits and adds 0xa282ead8. Data are `Event` messages of protocol buffers, of which these
//! fields are written (TensorFlow's `event.proto` and `summary.proto`):
//!
//! | message | field | number |
//! |---|---|---|
//! | `Event` | `wall_time` (double) | 1 |
//! | | `step` (int64) | 2 |
//! | | `file_version` (string) | 3 |
//! | | `summary` (`Summary`) | 5 |
//! | | `session_log` (`SessionLog`) | 7 |
//! | `Summary` | `value` (`Value`) | 1 |
//! | `Value` | `tag` (string) | 1 |
//! | | `simple_value` (float) | 2 |
//! | `SessionLog` | `status`, 1 for START | 1 |

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Error, Evaluation, Look, Observer, Step, Trainer};

/// A field of a message: its number, and 0 for whole numbers, 1 for 8 bytes, 2 for bytes of any length, 5 for 4 bytes.
fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn bytes(out: &mut Vec<u8>, field: u64, data: &[u8]) {
    key(out, field, 2);
    varint(out, data.len() as u64);
    out.extend_from_slice(data);
}

/// What an event says.
#[derive(Clone, Copy, Debug)]
enum What<'a> {
    Version,
    /// From this step on, what an earlier file said no longer holds.
    Start,
    Scalar {
        tag: &'a str,
        value: f32,
    },
}

fn event(wall_time: f64, step: u64, what: What<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    key(&mut out, 1, 1);
    out.extend_from_slice(&wall_time.to_le_bytes());
    key(&mut out, 2, 0);
    varint(&mut out, step);
    match what {
        What::Version => bytes(&mut out, 3, b"brain.Event:2"),
        What::Start => bytes(&mut out, 7, &[1 << 3, 1]),
        What::Scalar { tag, value } => {
            let mut scalar = Vec::new();
            bytes(&mut scalar, 1, tag.as_bytes());
            key(&mut scalar, 2, 5);
            scalar.extend_from_slice(&value.to_le_bytes());
            let mut summary = Vec::new();
            bytes(&mut summary, 1, &scalar);
            bytes(&mut out, 5, &summary);
        }
    }
    out
}

fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend_from_slice(&masked(&length).to_le_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(&masked(data).to_le_bytes());
    out
}

/// An event file that is written while a training runs.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Begins a file in a folder, which is made if it is not there. What earlier files in it say of steps after `step` is
    /// taken back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(folder: &Path, step: u64) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let seconds = now() as u64;
        // Files of one second, process or not, differ in their last number.
        for nth in 0u32.. {
            let path = folder.join(format!("events.out.tfevents.{seconds}.epoch0.{nth}"));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => {
                    let mut events = Self { path, file };
                    events.write(0, What::Version)?;
                    if step > 0 {
                        events.write(step + 1, What::Start)?;
                    }
                    return Ok(events);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists && nth < 1000 => {}
                Err(error) => return Err(Error::file(&path)(error)),
            }
        }
        unreachable!("the last number ends the search")
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a number under a name, at a step.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn scalar(&mut self, step: u64, tag: &str, value: f64) -> Result<(), Error> {
        self.write(step, What::Scalar { tag, value: value as f32 })
    }

    fn write(&mut self, step: u64, what: What<'_>) -> Result<(), Error> {
        let record = record(&event(now(), step, what));
        self.file.write_all(&record).map_err(Error::file(&self.path))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

impl Observer for Events {
    fn step(&mut self, _: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, Error> {
        self.scalar(step.step, "train/loss", step.loss)?;
        self.scalar(step.step, "train/learning_rate", step.learning_rate)?;
        self.scalar(step.step, "train/gradient_norm", step.gradient_norm)?;
        Ok(ControlFlow::Continue(()))
    }

    fn tested(&mut self, _: &Trainer<'_>, found: &Evaluation) -> Result<ControlFlow<()>, Error> {
        self.scalar(found.step, "test/loss", found.loss)?;
        if let Some(accuracy) = found.accuracy {
            self.scalar(found.step, "test/accuracy", accuracy)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn followed(&mut self, _: &Trainer<'_>, look: &Look) -> Result<(), Error> {
        for (layer, unit) in look.first_units() {
            for (name, value) in [("p15", unit.p15), ("p50", unit.p50), ("p85", unit.p85)] {
                self.scalar(look.step, &format!("follow/{layer}/{name}"), value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tensorboard.compat.proto` 2.21 and `tensorboard.summary.writer.record_writer`: an event of wall time 1.5, step 300
    /// and the scalar 0.25 under `a/b`, framed.
    #[test]
    fn bytes_are_those_of_tensorboard() {
        let event = event(1.5, 300, What::Scalar { tag: "a/b", value: 0.25 });
        let hex = record(&event).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(hex, WANTED);
    }

    const WANTED: &str =
        "1a00000000000000129bd82d09000000000000f83f10ac022a0c0a0a0a03612f62150000803ef9cde7ed";
}
