//! Output folders and files that appear whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, TargetFault, shown};
use crate::read::is_plain_name;

/// Whether what stands at the target may be replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replace {
    /// Only an empty folder.
    #[default]
    Never,
    /// A checkpoint folder too: one that holds nothing but files that checkpoints are made of, among them weights or
    /// a `config.json`. See [`is_checkpoint_file`].
    Checkpoint,
}

/// A folder in the making.
///
/// It is written under a hidden name beside its target (`.NAME.epoch0-…`) and takes the target's place at once in
/// [`NewFolder::commit`]; dropped before, it leaves nothing. A killed process cannot clean up: what it left is removed
/// by the next one that begins a folder of the same name. (A process holds a lock on the folder it makes, so one that
/// is still being made is told from one that was left.)
#[derive(Debug)]
pub struct NewFolder {
    target: PathBuf,
    aside: PathBuf,
    replace: Replace,
    /// Released by the system when the process ends in whatever way. `None` where folders cannot be locked.
    _lock: Option<File>,
    kept: bool,
}

impl NewFolder {
    /// Begins a folder; refuses at once what [`NewFolder::commit`] would have to refuse after the work.
    pub fn begin(target: impl AsRef<Path>, replace: Replace) -> Result<Self, Error> {
        let given = target.as_ref();
        let target = resolve(given)?;
        check_replaceable(&target, replace).map_err(|e| rename_path(e, given))?;
        remove_left(&target);
        let (aside, lock) = make_aside(&target)?;
        Ok(Self { target, aside, replace, _lock: lock, kept: false })
    }

    /// Where to write files for now.
    pub fn path(&self) -> &Path {
        &self.aside
    }

    /// Where they will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Writes a small file into the folder.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        if !is_plain_name(name) {
            return Err(Error::target(&self.target, TargetFault::FileName { name: shown(name) }));
        }
        write_new_file(&self.aside.join(name), bytes)
    }

    /// Puts the folder in its target's place and returns that.
    ///
    /// On Linux this is one step, also where a checkpoint is replaced, if the file system can exchange two names.
    /// Where it cannot, a crash between two steps leaves the old checkpoint as `.NAME.epoch0old-…`, which is never
    /// removed by itself.
    pub fn commit(mut self) -> Result<PathBuf, Error> {
        sync_folder(&self.aside)?;
        if check_replaceable(&self.target, self.replace)? {
            let old = exchange(&self.aside, &self.target)?;
            self.kept = true;
            remove_checkpoint(&old)?;
        } else {
            fs::rename(&self.aside, &self.target)
                .map_err(Error::io("move the finished folder to", &self.target))?;
            self.kept = true;
        }
        sync_folder(parent_of(&self.target))?;
        Ok(self.target.clone())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.kept {
            // A drop has nowhere to report to; what stays is removed by the next run.
            let _ = fs::remove_dir_all(&self.aside);
        }
    }
}

/// Whether a file of this name belongs to a checkpoint folder: weights and their index, configs, tokenizers, adapters, a
/// README.
pub fn is_checkpoint_file(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "README.md",
        "adapter_config.json",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "config.json",
        "generation_config.json",
        "image_processor_config.json",
        "merges.txt",
        "pool.json",
        "preprocessor_config.json",
        "processor_config.json",
        "recipe.yaml",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "training.json",
        "vocab.json",
        "vocab.txt",
    ];
    NAMES.contains(&name) || name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json")
}

/// Writes a file that is there with all its bytes or not at all; an old file of that name stays until then.
///
/// What is no regular file (a device, a pipe) is written to directly, since it cannot be replaced.
pub fn write_file_atomically(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
    let given = path.as_ref();
    let old = match fs::metadata(given) {
        Ok(meta) if meta.is_dir() => {
            return Err(Error::NotAFile { path: given.to_owned(), found: "a folder" });
        }
        Ok(meta) if !meta.is_file() => {
            let mut file = OpenOptions::new().write(true).open(given).map_err(Error::io("open", given))?;
            return file.write_all(bytes).map_err(Error::writing(given, bytes.len() as u64));
        }
        Ok(meta) => Some(meta),
        Err(_) => None,
    };
    let path = resolve(given)?;
    let name = path.file_name().unwrap_or_default();
    let aside = loop {
        let aside = path.with_file_name(aside_name(name));
        match write_new_file(&aside, bytes) {
            Ok(()) => break aside,
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => {
                let _ = fs::remove_file(&aside);
                return Err(rename_path(e, given));
            }
        }
    };
    let placed = old
        .map_or(Ok(()), |meta| fs::set_permissions(&aside, meta.permissions()))
        .and_then(|()| fs::rename(&aside, &path));
    if let Err(e) = placed {
        let _ = fs::remove_file(&aside);
        return Err(Error::io("write", given)(e));
    }
    sync_folder(parent_of(&path))
}

/// Creates a file, which must not exist, with all its bytes on the disk.
pub(crate) fn write_new_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(path).map_err(Error::io("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::writing(path, bytes.len() as u64))
}

/// Where a path leads: links followed, its parent known to be a folder.
pub(crate) fn resolve(given: &Path) -> Result<PathBuf, Error> {
    if fs::metadata(given).is_ok() {
        return fs::canonicalize(given).map_err(Error::io("look at", given));
    }
    if fs::symlink_metadata(given).is_ok() {
        return Err(Error::target(given, TargetFault::Fixed { what: "a link that leads nowhere" }));
    }
    let Some(name) = given.file_name() else {
        return Err(Error::target(given, TargetFault::FileName { name: shown(&given.to_string_lossy()) }));
    };
    let parent = parent_of(given);
    match fs::metadata(parent) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(Error::target(given, TargetFault::ParentIsFile { parent: parent.to_owned() })),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Error::target(given, TargetFault::NoParent { parent: parent.to_owned() }));
        }
        Err(e) => return Err(Error::io("look at", parent)(e)),
    }
    let path = fs::canonicalize(parent).map_err(Error::io("look at", parent))?.join(name);
    match fs::symlink_metadata(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("look at", given)(e)),
        _ => Ok(path),
    }
}

/// Whether there is a checkpoint at the target that may be replaced; an error where there is something that may not.
fn check_replaceable(target: &Path, replace: Replace) -> Result<bool, Error> {
    let refuse = |fault| Err(Error::target(target, fault));
    match fs::symlink_metadata(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io("look at", target)(e)),
        Ok(meta) if !meta.is_dir() => return refuse(TargetFault::IsFile),
        Ok(meta) if is_mount_point(target, &meta) => {
            return refuse(TargetFault::Fixed { what: "a mount point" });
        }
        Ok(_) => {}
    }
    if std::env::current_dir().is_ok_and(|current| current.starts_with(target)) {
        return refuse(TargetFault::Fixed { what: "the current folder or one above it" });
    }
    let entries = entries(target)?;
    let Some((first, _)) = entries.first() else { return Ok(false) };
    if replace == Replace::Never {
        return refuse(TargetFault::Exists { first: shown(first) });
    }
    if let Some((foreign, _)) =
        entries.iter().find(|(name, is_folder)| *is_folder || !is_checkpoint_file(name))
    {
        return refuse(TargetFault::Foreign { first: shown(foreign) });
    }
    if !entries.iter().any(|(name, _)| name == "config.json" || name.ends_with(".safetensors")) {
        return refuse(TargetFault::Foreign { first: shown(first) });
    }
    Ok(true)
}

/// Names in a folder, sorted, and whether each is a folder itself.
fn entries(folder: &Path) -> Result<Vec<(String, bool)>, Error> {
    let read = || -> io::Result<Vec<(String, bool)>> {
        fs::read_dir(folder)?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?.is_dir()))
            })
            .collect()
    };
    let mut entries = read().map_err(Error::io("list", folder))?;
    entries.sort();
    Ok(entries)
}

#[cfg(unix)]
fn is_mount_point(folder: &Path, meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    folder.parent().is_none_or(|parent| fs::metadata(parent).is_ok_and(|parent| parent.dev() != meta.dev()))
}

#[cfg(not(unix))]
fn is_mount_point(folder: &Path, _: &fs::Metadata) -> bool {
    folder.parent().is_none()
}

fn aside_prefix(name: &OsStr) -> OsString {
    // Names may be as long as the system allows; ours have to fit in as well.
    const LONGEST: usize = 180;
    let mut prefix = OsString::from(".");
    if name.len() <= LONGEST {
        prefix.push(name);
    } else {
        // As many characters as surely fit.
        prefix.push(name.to_string_lossy().chars().take(LONGEST / 4).collect::<String>());
    }
    prefix.push(".epoch0");
    prefix
}

/// A hidden name that no other process and no other call uses.
pub(crate) fn aside_name(name: &OsStr) -> OsString {
    let mut aside = aside_prefix(name);
    aside.push("-");
    aside.push(unique());
    aside
}

fn unique() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Makes a locked folder beside the target.
fn make_aside(target: &Path) -> Result<(PathBuf, Option<File>), Error> {
    let name = target.file_name().unwrap_or_default();
    let parent = parent_of(target);
    loop {
        let aside = parent.join(aside_name(name));
        match fs::create_dir(&aside) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.map_err(Error::io("make a folder in", parent))?,
        }
        let lock = File::open(&aside).and_then(|folder| match folder.try_lock() {
            Ok(()) => Ok(folder),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(e)) => Err(e),
        });
        // Another process that cleans up may have come between: it then has the lock, or has removed the folder.
        match lock {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            lock if aside.is_dir() => return Ok((aside, lock.ok())),
            _ => {}
        }
    }
}

/// Removes what killed processes left of this target. Whatever cannot be removed stays: it harms nobody.
fn remove_left(target: &Path) {
    let mut prefix = aside_prefix(target.file_name().unwrap_or_default());
    prefix.push("-");
    let Ok(siblings) = fs::read_dir(parent_of(target)) else { return };
    for sibling in siblings.flatten() {
        let ours = sibling.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes());
        if !ours || !sibling.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // The lock is held while removing, so that two processes do not do so at once.
        if let Ok(folder) = File::open(sibling.path())
            && folder.try_lock().is_ok()
        {
            let _ = remove_checkpoint(&sibling.path());
        }
    }
}

/// Removes a folder of checkpoint files, and nothing else: a foreign file in it stays, and so does the folder.
fn remove_checkpoint(folder: &Path) -> Result<(), Error> {
    for (name, is_folder) in entries(folder)? {
        if !is_folder && is_checkpoint_file(&name) {
            let path = folder.join(name);
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    fs::remove_dir(folder).map_err(Error::io("remove the replaced folder", folder))
}

/// Puts `new` where `old` is; returns where the old folder is then.
fn exchange(new: &Path, old: &Path) -> Result<PathBuf, Error> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
            return Ok(new.to_owned());
        }
    }
    let mut name = aside_prefix(old.file_name().unwrap_or_default());
    name.push("old-");
    name.push(unique());
    let away = old.with_file_name(name);
    fs::rename(old, &away).map_err(Error::io("move away", old))?;
    if let Err(e) = fs::rename(new, old) {
        fs::rename(&away, old).map_err(Error::io("move back", &away))?;
        return Err(Error::io("move the finished folder to", old)(e));
    }
    Ok(away)
}

pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder last through a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io("sync", folder))
    } else {
        Ok(())
    }
}

/// The same error, about the path that was asked for.
fn rename_path(error: Error, given: &Path) -> Error {
    let path = given.to_owned();
    match error {
        Error::Target { fault, .. } => Error::Target { path, fault },
        Error::NoSpace { wanted, source, .. } => Error::NoSpace { path, wanted, source },
        Error::Io { what, source, .. } => Error::Io { what, path, source },
        other => other,
    }
}
