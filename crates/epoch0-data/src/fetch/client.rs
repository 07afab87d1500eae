//! Fetching over HTTP.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use epoch0_net::zoo::spec::{near, short};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::{File, KNOWN, Set};
use crate::Error;
use crate::error::FetchFault;

/// How patient a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long to wait for a connection, for an answer, and at least for a file.
    pub patience: Duration,
    /// The slowest rate that is put up with over a whole file, in bytes a second, 1 or more.
    pub slowest: u64,
    /// How many times an answer may name another address.
    pub redirects: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { patience: Duration::from_secs(30), slowest: 32 << 10, redirects: 5 }
    }
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file, as it is called in the set's folder.
    pub file: &'a str,
    /// Bytes of it that are there.
    pub done: u64,
    /// Bytes that it has.
    pub total: u64,
}

/// Fetches a set of [`KNOWN`] into its folder in the cache, and returns that. A set that is there is not fetched again.
/// `progress` hears of every piece and may say that it is enough.
///
/// # Errors
/// When no set has the name, the network or the server fails, a file is not the one that it has to be, another process
/// fetches the same set, the folder cannot be written, or it was enough.
pub fn fetch(
    name: &str,
    cache: &Path,
    options: Options,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<PathBuf, Error> {
    let known = || KNOWN.iter().map(|set| set.name);
    match KNOWN.iter().find(|set| set.name == name) {
        Some(set) => fetch_set(set, cache, options, progress),
        None => {
            Err(Error::Unfetchable { name: short(name), known: known().collect(), near: near(name, known()) })
        }
    }
}

/// Fetches a set, one of [`KNOWN`] or another.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_set(
    set: &Set<'_>,
    cache: &Path,
    options: Options,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<PathBuf, Error> {
    let names = || set.files.iter().flat_map(|file| file.members.iter().chain([&file.name]));
    if let Some(name) = names().chain([&set.name]).find(|name| !is_plain(name)) {
        return Err(Error::content("the set", "a name", format!("`{name}`"), "file names without folders"));
    }
    let folder = cache.join(set.name);
    if is_whole(set, &folder) {
        return Ok(folder);
    }
    fs::create_dir_all(cache).map_err(Error::io("make the folder", cache))?;
    let lock_path = cache.join(format!(".{}.lock", set.name));
    let lock = fs::File::create(&lock_path).map_err(Error::io("create", &lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let url = set.files.first().map_or(set.name, |file| file.url);
            return Err(fault(url, FetchFault::Busy));
        }
        Err(fs::TryLockError::Error(error)) => return Err(Error::io("lock", &lock_path)(error)),
    }
    // Another process may have come first.
    if is_whole(set, &folder) {
        return Ok(folder);
    }
    if folder.exists() {
        return Err(Error::content(folder.display(), "it", "there, but not the whole set", "no such folder")
            .hint("remove it, or put the missing files there"));
    }
    let aside = cache.join(format!(".{}.part", set.name));
    fs::create_dir_all(&aside).map_err(Error::io("make the folder", &aside))?;
    for file in set.files {
        get(file, &aside, options, progress)?;
    }
    fs::rename(&aside, &folder).map_err(Error::io("move the finished folder to", &folder))?;
    // The lock is the open file; its name is left, for another process may wait for it by that.
    drop(lock);
    Ok(folder)
}

fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(part)), None) if part == name)
}

fn is_whole(set: &Set<'_>, folder: &Path) -> bool {
    set.files.iter().all(|file| match file.members {
        [] => folder.join(file.name).is_file(),
        members => members.iter().all(|member| folder.join(member).is_file()),
    })
}

/// Gets one file, and what is taken out of it, into a folder where parts of the set may already be.
fn get(
    file: &File<'_>,
    aside: &Path,
    options: Options,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let path = aside.join(file.name);
    let is_archive = !file.members.is_empty();
    // An archive goes when all of its members are there.
    if is_archive && !path.exists() && file.members.iter().all(|member| aside.join(member).is_file()) {
        return Ok(());
    }
    let is_there = path.is_file() && sum_of(&path)? == file.sha256;
    if !is_there {
        let temporary = aside.join(format!("{}.tmp", file.name));
        download(file, &temporary, options, progress).inspect_err(|_| {
            // What came is of no use to another try; if it cannot go, the first error says more.
            let _ = fs::remove_file(&temporary);
        })?;
        fs::rename(&temporary, &path).map_err(Error::io("move the file to", &path))?;
    }
    if is_archive {
        unpack(file, &path, aside)?;
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

fn download(
    file: &File<'_>,
    path: &Path,
    options: Options,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let fault = |fault| fault_of(file, fault);
    let for_body = options.patience + Duration::from_secs(file.bytes / options.slowest.max(1));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(options.patience))
        .timeout_connect(Some(options.patience))
        .timeout_recv_response(Some(options.patience))
        .timeout_recv_body(Some(for_body))
        .max_redirects(options.redirects)
        .user_agent(concat!("epoch0/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let response = agent.get(file.url).call().map_err(|error| fault(of_client(error)))?;
    let announced = response.body().content_length();
    if announced.is_some_and(|announced| announced > file.bytes) {
        return Err(fault(FetchFault::TooLarge { most: file.bytes }));
    }
    let mut body = response.into_body().into_with_config().limit(file.bytes.saturating_add(1)).reader();
    let mut out = fs::File::create(path).map_err(Error::io("create", path))?;
    let (mut hash, mut done) = (Sha256::new(), 0u64);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(fault(of_body(&error, done, announced))),
        };
        done += n as u64;
        if done > file.bytes {
            return Err(fault(FetchFault::TooLarge { most: file.bytes }));
        }
        hash.update(&buffer[..n]);
        out.write_all(&buffer[..n]).map_err(Error::io("write", path))?;
        if progress(Progress { file: file.name, done, total: file.bytes }).is_break() {
            return Err(fault(FetchFault::Stopped));
        }
    }
    out.sync_all().map_err(Error::io("write", path))?;
    if let Some(announced) = announced.filter(|&announced| done < announced) {
        return Err(fault(FetchFault::Cut { found: done, announced }));
    }
    let found = hex(&hash.finalize());
    if found != file.sha256 {
        return Err(fault(FetchFault::Checksum { found, allowed: file.sha256.to_owned() }));
    }
    Ok(())
}

fn fault(url: &str, fault: FetchFault) -> Error {
    Error::Fetch { url: url.to_owned(), fault }
}

fn fault_of(file: &File<'_>, why: FetchFault) -> Error {
    fault(file.url, why)
}

fn of_client(error: ureq::Error) -> FetchFault {
    match error {
        ureq::Error::StatusCode(status) => FetchFault::Status { status },
        ureq::Error::Timeout(what) => FetchFault::Slow { why: what.to_string() },
        error => FetchFault::Transport { why: error.to_string() },
    }
}

/// What a failure in the middle of a file was.
fn of_body(error: &io::Error, done: u64, announced: Option<u64>) -> FetchFault {
    let own = error.get_ref().and_then(|error| error.downcast_ref::<ureq::Error>());
    match (own, announced) {
        (Some(ureq::Error::Timeout(what)), _) => FetchFault::Slow { why: what.to_string() },
        _ if error.kind() == io::ErrorKind::TimedOut => FetchFault::Slow { why: error.to_string() },
        (_, Some(announced)) if done < announced => FetchFault::Cut { found: done, announced },
        _ => FetchFault::Transport { why: error.to_string() },
    }
}

fn sum_of(path: &Path) -> Result<String, Error> {
    let mut file = fs::File::open(path).map_err(Error::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The most that a member of an archive may have, in bytes.
const LARGEST_MEMBER: u64 = 1 << 32;

/// Takes the members out of an archive, each whole.
fn unpack(file: &File<'_>, archive: &Path, folder: &Path) -> Result<(), Error> {
    let open = fs::File::open(archive).map_err(Error::io("open", archive))?;
    let mut tar = tar::Archive::new(GzDecoder::new(io::BufReader::new(open)));
    for entry in tar.entries().map_err(Error::io("unpack", archive))? {
        let mut entry = entry.map_err(Error::io("unpack", archive))?;
        let path = entry.path().map_err(Error::io("unpack", archive))?.into_owned();
        let member = file.members.iter().find(|&&member| path.file_name().is_some_and(|name| name == member));
        let Some(member) = member.filter(|_| entry.header().entry_type().is_file()) else { continue };
        let temporary = folder.join(format!("{member}.tmp"));
        let mut out = fs::File::create(&temporary).map_err(Error::io("create", &temporary))?;
        io::copy(&mut (&mut entry).take(LARGEST_MEMBER), &mut out).map_err(Error::io("unpack", archive))?;
        out.sync_all().map_err(Error::io("write", &temporary))?;
        let path = folder.join(member);
        fs::rename(&temporary, &path).map_err(Error::io("move the file to", &path))?;
    }
    match file.members.iter().find(|member| !folder.join(member).is_file()) {
        Some(member) => {
            Err(Error::content(archive.display(), "it", format!("without {member}"), "all of the set's"))
        }
        None => Ok(()),
    }
}
