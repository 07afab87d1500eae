//! Output folders: whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use epoch0_format::error::TargetFault;
use epoch0_format::{
    Error, NewFolder, Plan, Replace, ShardSize, TensorSpec, Watch, Writer, pt_metadata, write_file_atomically,
};
use epoch0_num::Dtype;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder of files with their names as content.
fn made(room: &Path, name: &str, files: &[&str]) -> PathBuf {
    let folder = room.join(name);
    fs::create_dir(&folder).unwrap();
    for file in files {
        fs::write(folder.join(file), file).unwrap();
    }
    folder
}

fn refused(target: &Path, replace: Replace) -> TargetFault {
    match NewFolder::begin(target, replace) {
        Err(Error::Target { path, fault }) => {
            assert_eq!(path, target);
            fault
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn appears_on_commit_only() {
    let room = tempfile::tempdir().unwrap();
    let target = room.path().join("out");
    let folder = NewFolder::begin(&target, Replace::Never).unwrap();
    folder.write("config.json", b"{}").unwrap();
    assert!(!target.exists());
    let [aside] = &names(room.path())[..] else { panic!() };
    assert!(aside.starts_with(".out.epoch0-"), "{aside}");
    assert_eq!(folder.commit().unwrap(), target.canonicalize().unwrap());
    assert_eq!(names(room.path()), ["out"]);
    assert_eq!(names(&target), ["config.json"]);
    assert_eq!(fs::read(target.join("config.json")).unwrap(), b"{}");
}

#[test]
fn leaves_nothing_when_dropped() {
    let room = tempfile::tempdir().unwrap();
    let folder = NewFolder::begin(room.path().join("out"), Replace::Never).unwrap();
    folder.write("a.safetensors", b"x").unwrap();
    drop(folder);
    assert_eq!(names(room.path()), [""; 0]);
}

#[test]
fn an_empty_folder_may_be_filled() {
    let room = tempfile::tempdir().unwrap();
    let target = made(room.path(), "out", &[]);
    let folder = NewFolder::begin(&target, Replace::Never).unwrap();
    folder.write("config.json", b"{}").unwrap();
    folder.commit().unwrap();
    assert_eq!(names(&target), ["config.json"]);
}

#[test]
fn replaces_checkpoints_only_and_only_when_told() {
    let room = tempfile::tempdir().unwrap();
    let target = made(room.path(), "out", &["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(refused(&target, Replace::Never), TargetFault::Exists { first: "config.json".to_owned() });

    let folder = NewFolder::begin(&target, Replace::Checkpoint).unwrap();
    folder.write("model.safetensors", b"new").unwrap();
    assert_eq!(names(&target).len(), 3);
    folder.commit().unwrap();
    assert_eq!(names(room.path()), ["out"]);
    assert_eq!(names(&target), ["model.safetensors"]);
    assert_eq!(fs::read(target.join("model.safetensors")).unwrap(), b"new");

    let foreign = |first: &str| TargetFault::Foreign { first: first.to_owned() };
    fs::write(target.join("thesis.tex"), "").unwrap();
    assert_eq!(refused(&target, Replace::Checkpoint), foreign("thesis.tex"));
    let with_folder = made(room.path(), "with_folder", &["config.json"]);
    fs::create_dir(with_folder.join("z.safetensors")).unwrap();
    assert_eq!(refused(&with_folder, Replace::Checkpoint), foreign("z.safetensors"));
    let no_weights = made(room.path(), "no_weights", &["README.md"]);
    assert_eq!(refused(&no_weights, Replace::Checkpoint), foreign("README.md"));
    assert_eq!(names(room.path()), ["no_weights", "out", "with_folder"]);
}

#[test]
fn looks_again_before_it_replaces() {
    let room = tempfile::tempdir().unwrap();
    let target = made(room.path(), "out", &["config.json"]);
    let folder = NewFolder::begin(&target, Replace::Checkpoint).unwrap();
    folder.write("model.safetensors", b"new").unwrap();
    fs::write(target.join("notes.txt"), "mine").unwrap();
    assert!(matches!(folder.commit(), Err(Error::Target { fault: TargetFault::Foreign { .. }, .. })));
    assert_eq!(names(&target), ["config.json", "notes.txt"]);

    let other = room.path().join("other");
    let folder = NewFolder::begin(&other, Replace::Never).unwrap();
    made(room.path(), "other", &["notes.txt"]);
    assert!(matches!(folder.commit(), Err(Error::Target { fault: TargetFault::Exists { .. }, .. })));
    assert_eq!(names(&other), ["notes.txt"]);
    assert_eq!(names(room.path()), ["other", "out"]);
}

#[test]
fn targets_that_cannot_be() {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("file");
    fs::write(&file, "").unwrap();
    let parent = || room.path().join("no");
    assert_eq!(refused(&parent().join("out"), Replace::Never), TargetFault::NoParent { parent: parent() });
    assert_eq!(refused(&file, Replace::Checkpoint), TargetFault::IsFile);
    assert_eq!(
        refused(&file.join("out"), Replace::Never),
        TargetFault::ParentIsFile { parent: file.clone() }
    );
    assert!(matches!(refused(Path::new("/"), Replace::Checkpoint), TargetFault::Fixed { .. }));
    assert!(matches!(refused(Path::new("."), Replace::Checkpoint), TargetFault::Fixed { .. }));
    assert!(matches!(refused(Path::new(".."), Replace::Checkpoint), TargetFault::Fixed { .. }));
    assert!(matches!(refused(Path::new(""), Replace::Never), TargetFault::FileName { .. }));
    let long = NewFolder::begin(room.path().join("n".repeat(300)), Replace::Never).unwrap_err();
    assert!(matches!(long, Error::Io { .. }), "{long}");
    NewFolder::begin(room.path().join("n".repeat(250)), Replace::Never).unwrap().commit().unwrap();
    let folder = NewFolder::begin(room.path().join("out"), Replace::Never).unwrap();
    for name in ["../x", "a/b", "", "/x"] {
        assert!(matches!(
            folder.write(name, b""),
            Err(Error::Target { fault: TargetFault::FileName { .. }, .. })
        ));
    }
}

#[cfg(unix)]
#[test]
fn follows_links_and_refuses_lost_ones() {
    use std::os::unix::fs::symlink;
    let room = tempfile::tempdir().unwrap();
    let real = made(room.path(), "real", &["config.json"]);
    let link = room.path().join("link");
    symlink(&real, &link).unwrap();
    let folder = NewFolder::begin(&link, Replace::Checkpoint).unwrap();
    folder.write("config.json", b"new").unwrap();
    folder.commit().unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read(real.join("config.json")).unwrap(), b"new");
    let lost = room.path().join("lost");
    symlink(room.path().join("nowhere"), &lost).unwrap();
    assert!(matches!(refused(&lost, Replace::Checkpoint), TargetFault::Fixed { .. }));
}

#[cfg(unix)]
#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn a_read_only_parent_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let room = tempfile::tempdir().unwrap();
    let parent = made(room.path(), "locked", &[]);
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(parent.join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write to read-only folders");
        return;
    }
    let error = NewFolder::begin(parent.join("out"), Replace::Never).unwrap_err();
    assert!(error.to_string().contains("locked") && matches!(error, Error::Io { .. }), "{error}");
    let error = write_file_atomically(parent.join("file"), b"x").unwrap_err();
    assert!(error.to_string().contains("locked") && matches!(error, Error::Io { .. }), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn removes_what_killed_runs_left_but_not_what_is_being_made() {
    let room = tempfile::tempdir().unwrap();
    made(room.path(), ".out.epoch0-1-0", &["model.safetensors", "config.json"]);
    made(room.path(), ".out.epoch0-1-1", &["model.safetensors", "foreign"]);
    made(room.path(), ".out.epoch0old-1-0", &["model.safetensors"]);
    made(room.path(), ".other.epoch0-1-0", &["model.safetensors"]);
    let first = NewFolder::begin(room.path().join("out"), Replace::Never).unwrap();
    first.write("config.json", b"first").unwrap();
    let second = NewFolder::begin(room.path().join("out"), Replace::Never).unwrap();
    assert!(first.path().join("config.json").exists());
    drop(second);
    first.commit().unwrap();
    let left = [".other.epoch0-1-0", ".out.epoch0-1-1", ".out.epoch0old-1-0", "out"];
    assert_eq!(names(room.path()), left);
    assert_eq!(names(&room.path().join(".out.epoch0-1-1")), ["foreign"]);
}

#[test]
fn single_files() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("report.json");
    write_file_atomically(&path, b"one").unwrap();
    write_file_atomically(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(names(room.path()), ["report.json"]);
    assert!(matches!(write_file_atomically(room.path(), b""), Err(Error::NotAFile { .. })));
    let lost = write_file_atomically(room.path().join("no/file"), b"");
    assert!(matches!(lost, Err(Error::Target { fault: TargetFault::NoParent { .. }, .. })));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = room.path().join("link");
        symlink(&path, &link).unwrap();
        write_file_atomically(&link, b"three").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_reported() {
    let error = write_file_atomically("/dev/full", b"12345").unwrap_err();
    assert!(matches!(&error, Error::NoSpace { wanted: 5, .. }), "{error}");
}

/// Writes a checkpoint of 8 MB to the folder in `EPOCH0_TEST_ROOM`, which has room for less.
///
/// Not a test by itself: the two below run it in a process whose files or disk are limited.
#[test]
#[ignore = "run by other tests, in a process with limits"]
fn with_limits() {
    let room = PathBuf::from(std::env::var_os("EPOCH0_TEST_ROOM").unwrap());
    let write = || -> Result<(), Error> {
        let tensors = vec![TensorSpec::new("a", Dtype::F32, [2_000_000])];
        let plan = Plan::new(tensors, &pt_metadata(), ShardSize::default())?;
        let folder = NewFolder::begin(room.join("out"), Replace::Never)?;
        let writer = Writer::create(folder.path(), plan)?;
        writer.fill([0], Watch::default(), |_, _, _| Ok::<(), Error>(()))?;
        writer.finish()?;
        folder.commit()?;
        Ok(())
    };
    let error = write().unwrap_err();
    assert!(matches!(&error, Error::NoSpace { wanted, .. } if 8_000_000 < *wanted), "{error}");
    let error = write_file_atomically(room.join("file"), &vec![7; 2_000_000]).unwrap_err();
    assert!(matches!(&error, Error::NoSpace { wanted: 2_000_000, .. }), "{error}");
    assert_eq!(names(&room), [""; 0]);
}

/// Runs `with_limits` behind a shell command.
#[cfg(unix)]
fn run_limited(shell: &str, before: &str, room: &Path) -> std::process::Output {
    let script = format!("{before} && exec \"$0\" --exact with_limits --ignored");
    Command::new(shell.split(' ').next().unwrap())
        .args(shell.split(' ').skip(1))
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env("EPOCH0_TEST_ROOM", room)
        .output()
        .unwrap()
}

#[cfg(unix)]
#[test]
fn a_limit_on_file_sizes_is_reported_and_leaves_nothing() {
    let room = tempfile::tempdir().unwrap();
    // 1000 blocks of 512 or 1024 bytes.
    let run = run_limited("sh", "trap '' XFSZ && ulimit -f 1000", room.path());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"));
}

#[cfg(target_os = "linux")]
#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn a_full_disk_is_reported_and_leaves_nothing() {
    let room = tempfile::tempdir().unwrap();
    // A disk of 1 MB in a mount namespace of its own, which goes away with the process and needs no privileges.
    let mount = "mount -t tmpfs -o size=1m none \"$EPOCH0_TEST_ROOM\"";
    let probe = Command::new("unshare")
        .args(["-rm", "sh", "-c", mount])
        .env("EPOCH0_TEST_ROOM", room.path())
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("skipped: this system lets no user mount a small disk");
        return;
    }
    let run = run_limited("unshare -rm sh", mount, room.path());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"));
}
