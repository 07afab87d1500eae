//! The zip archive that `torch.save` writes: entries as they are, one after the other.
//!
//! Our own reader, as it is for headers of safetensors: no name may be there twice, every entry lies where both of its headers
//! say, before the directory, and nothing is unpacked.

use std::collections::HashMap;
use std::ops::Range;

use super::TorchFault;
use crate::error::{Fault, shown};

/// Entries by name, with the bytes of the file that they are.
pub(super) type Entries<'a> = HashMap<&'a str, Range<usize>>;

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_LENGTH: usize = 20;
const WIDE_END: &[u8] = b"PK\x06\x06";
const WIDE_END_LENGTH: usize = 56;
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_LENGTH: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;
/// The extra field with numbers of 64 bits.
const WIDE: u16 = 1;

/// Whether a file begins as an archive does, and not as a safetensors file whose header is as long as that spells.
pub(super) fn is_archive(file: &[u8]) -> bool {
    file.starts_with(LOCAL) && file.get(8) != Some(&b'{')
}

/// The entries of a file.
pub(super) fn entries(file: &[u8]) -> Result<Entries<'_>, Fault> {
    let cut =
        || TorchFault::archive("its directory is cut off, as in a file that was not written to the end");
    let (directory, count) = directory(file).ok_or_else(cut)?;
    let mut rest = file.get(directory.clone()).ok_or_else(cut)?;
    if rest.len() / ENTRY_LENGTH < count {
        return Err(TorchFault::archive(format!("its directory has no room for {count} entries")).into());
    }
    let mut entries = HashMap::with_capacity(count);
    for nth in 0..count {
        let damaged = || TorchFault::archive(format!("entry {nth} of its directory is damaged"));
        let (entry, after) = Entry::parse(rest).ok_or_else(damaged)?;
        rest = after;
        if entry.is_encrypted || entry.is_packed {
            return Err(TorchFault::Packed { entry: shown(entry.name) }.into());
        }
        let range = entry.range(file).filter(|range| range.end <= directory.start).ok_or_else(|| {
            TorchFault::archive(format!("entry `{}` does not lie where it should", shown(entry.name)))
        })?;
        if entries.insert(entry.name, range).is_some() {
            return Err(Fault::Duplicate { name: shown(entry.name) });
        }
    }
    Ok(entries)
}

/// Where the directory lies, and how many entries it has.
fn directory(file: &[u8]) -> Option<(Range<usize>, usize)> {
    // A comment of up to 65535 bytes may follow; it has to end with the file.
    let first = file.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let is_end = |&at: &usize| {
        let rest = &file[at..];
        rest.starts_with(END) && u16_at(rest, 20).is_some_and(|n| END_LENGTH + usize::from(n) == rest.len())
    };
    let end = (first..file.len().saturating_sub(END_LENGTH - 1)).rev().find(is_end)?;
    let narrow = &file[end..];
    let locator = end.checked_sub(LOCATOR_LENGTH).map(|at| &file[at..end]);
    let (count, size, start) = match locator.filter(|locator| locator.starts_with(LOCATOR)) {
        Some(locator) => {
            let at = usize::try_from(u64_at(locator, 8)?).ok()?;
            let wide = file.get(at..at.checked_add(WIDE_END_LENGTH)?)?;
            if !wide.starts_with(WIDE_END) {
                return None;
            }
            (u64_at(wide, 32)?, u64_at(wide, 40)?, u64_at(wide, 48)?)
        }
        None => {
            (u64::from(u16_at(narrow, 10)?), u64::from(u32_at(narrow, 12)?), u64::from(u32_at(narrow, 16)?))
        }
    };
    let (start, size) = (usize::try_from(start).ok()?, usize::try_from(size).ok()?);
    let directory = start..start.checked_add(size)?;
    (directory.end <= end).then_some((directory, usize::try_from(count).ok()?))
}

struct Entry<'a> {
    name: &'a str,
    is_encrypted: bool,
    is_packed: bool,
    size: u64,
    at: u64,
}

impl<'a> Entry<'a> {
    /// The entry that the directory goes on with, and what follows it.
    fn parse(directory: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (fixed, rest) = directory.split_at_checked(ENTRY_LENGTH)?;
        if !fixed.starts_with(ENTRY) {
            return None;
        }
        let length = |at| u16_at(fixed, at).map(usize::from);
        let (name, rest) = rest.split_at_checked(length(28)?)?;
        let (extra, rest) = rest.split_at_checked(length(30)?)?;
        let (_, rest) = rest.split_at_checked(length(32)?)?;
        let (stored, size) = (u32_at(fixed, 20)?, u32_at(fixed, 24)?);
        let at = u32_at(fixed, 42)?;
        // Those of the numbers that do not fit in 32 bits stand there, in this order.
        let mut wide = wide(extra).unwrap_or_default();
        let mut widened = |narrow: u32| match narrow {
            u32::MAX => {
                let (number, rest) = wide.split_first_chunk()?;
                wide = rest;
                Some(u64::from_le_bytes(*number))
            }
            _ => Some(u64::from(narrow)),
        };
        let (size, stored, at) = (widened(size)?, widened(stored)?, widened(at)?);
        let entry = Self {
            name: str::from_utf8(name).ok()?,
            is_encrypted: u16_at(fixed, 8)? & 1 != 0,
            is_packed: u16_at(fixed, 10)? != 0 || size != stored,
            size,
            at,
        };
        Some((entry, rest))
    }

    /// Its bytes, where the header in front of them is its own.
    fn range(&self, file: &[u8]) -> Option<Range<usize>> {
        let at = usize::try_from(self.at).ok()?;
        let local = file.get(at..at.checked_add(LOCAL_LENGTH)?)?;
        let names = usize::from(u16_at(local, 26)?);
        let name = at + LOCAL_LENGTH;
        if !local.starts_with(LOCAL) || file.get(name..name + names)? != self.name.as_bytes() {
            return None;
        }
        let start = name + names + usize::from(u16_at(local, 28)?);
        Some(start..start.checked_add(usize::try_from(self.size).ok()?)?)
    }
}

/// The field with numbers of 64 bits among the extra ones.
fn wide(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let (head, rest) = extra.split_at_checked(4)?;
        let (field, after) = rest.split_at_checked(usize::from(u16_at(head, 2)?))?;
        if u16_at(head, 0)? == WIDE {
            return Some(field);
        }
        extra = after;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}
