//! Fetching from a server on loopback: right files, and servers that cut, lie, fail or hang.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use epoch0_data::fetch::{File, KNOWN, Options, Progress, Set, fetch, fetch_set};
use epoch0_data::{Error, FetchFault};
use sha2::{Digest, Sha256};

/// What a server does with a connection, given the path that was asked for.
type Answer = dyn Fn(&str, &mut TcpStream) + Send + Sync;

struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), answer, log) = (stream, Arc::clone(&answer), Arc::clone(&log)) else {
                    continue;
                };
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                    let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned));
                    // The rest of the request, up to the empty line.
                    while lines.next().is_some_and(|line| !line.is_empty()) {}
                    let path = path.unwrap_or_default();
                    log.lock().unwrap().push(path.clone());
                    answer(&path, &mut stream);
                });
            }
        });
        Self { address, asked }
    }

    fn n_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn send(stream: &mut TcpStream, body: &[u8]) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

const PATIENT: Options = Options { patience: Duration::from_secs(20), slowest: 1 << 20, redirects: 5 };

/// Fetches one file `a.bin` from an address, with the length and the checksum of `body`.
fn one(url: &str, body: &[u8], cache: &Path, options: Options) -> Result<std::path::PathBuf, Error> {
    let sha256 = sum(body);
    let files = [File { url, name: "a.bin", sha256: &sha256, bytes: body.len() as u64, members: &[] }];
    fetch_set(&Set { name: "set", files: &files }, cache, options, &mut go_on)
}

fn fault(result: Result<std::path::PathBuf, Error>) -> FetchFault {
    match result {
        Err(Error::Fetch { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

/// Nothing that looks like the set is there.
fn nothing(cache: &Path) {
    assert!(!cache.join("set").exists());
    assert!(!cache.join(".set.part/a.bin").exists());
    assert!(!cache.join(".set.part/a.bin.tmp").exists());
}

fn go_on(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn the_right_files_come_once() {
    let body: Vec<u8> = (0..300_000u32).map(|nth| (nth % 251) as u8).collect();
    let sent = body.clone();
    let server = Server::start(move |path, stream| send(stream, if path == "/a" { &sent } else { b"b" }));
    let room = tempfile::tempdir().unwrap();
    let cache = room.path().join("not/yet/there");
    let (a, b) = (format!("{}/a", server.address), format!("{}/b", server.address));
    let (sum_a, sum_b) = (sum(&body), sum(b"b"));
    let files = [
        File { url: &a, name: "a.bin", sha256: &sum_a, bytes: 300_000, members: &[] },
        File { url: &b, name: "b.bin", sha256: &sum_b, bytes: 1, members: &[] },
    ];
    let set = Set { name: "set", files: &files };
    let mut seen = Vec::new();
    let folder = fetch_set(&set, &cache, PATIENT, &mut |progress| {
        seen.push((progress.file.to_owned(), progress.done, progress.total));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(folder, cache.join("set"));
    assert_eq!(fs::read(folder.join("a.bin")).unwrap(), body);
    assert_eq!(fs::read(folder.join("b.bin")).unwrap(), b"b");
    assert!(seen.contains(&("a.bin".to_owned(), 300_000, 300_000)), "progress ends at the end");
    assert!(seen.iter().filter(|(file, ..)| file == "a.bin").is_sorted(), "progress goes on");
    // What is there is not asked for again.
    assert_eq!(fetch_set(&set, &cache, PATIENT, &mut |_| panic!("nothing comes")).unwrap(), folder);
    assert_eq!(server.n_asked(), 2);
    assert!(!cache.join(".set.part").exists());
}

#[test]
fn what_came_whole_is_kept_when_another_file_fails() {
    let n_failures = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&n_failures);
    let server = Server::start(move |path, stream| {
        if path == "/b" && count.fetch_add(1, Ordering::Relaxed) == 0 {
            let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        } else {
            send(stream, &path.as_bytes()[1..]);
        }
    });
    let room = tempfile::tempdir().unwrap();
    let urls = ["a", "b"].map(|path| format!("{}/{path}", server.address));
    let sums = [sum(b"a"), sum(b"b")];
    let files = [0, 1].map(|nth| File {
        url: &urls[nth],
        name: ["a.bin", "b.bin"][nth],
        sha256: &sums[nth],
        bytes: 1,
        members: &[],
    });
    let set = Set { name: "set", files: &files };
    let failed = fault(fetch_set(&set, room.path(), PATIENT, &mut go_on));
    assert!(matches!(failed, FetchFault::Status { status: 503 }), "{failed}");
    assert!(!room.path().join("set").exists(), "the set is not there in part");
    fetch_set(&set, room.path(), PATIENT, &mut go_on).unwrap();
    assert_eq!(*server.asked.lock().unwrap(), ["/a", "/b", "/b"]);
    // A part that was changed meanwhile is fetched again.
    let again = tempfile::tempdir().unwrap();
    fs::create_dir(again.path().join(".set.part")).unwrap();
    fs::write(again.path().join(".set.part/a.bin"), "x").unwrap();
    let folder = fetch_set(&set, again.path(), PATIENT, &mut go_on).unwrap();
    assert_eq!(fs::read(folder.join("a.bin")).unwrap(), b"a");
}

#[test]
fn who_has_had_enough_finds_nothing() {
    let body = vec![7; 1 << 20];
    let sent = body.clone();
    let server = Server::start(move |_, stream| send(stream, &sent));
    let room = tempfile::tempdir().unwrap();
    let sha256 = sum(&body);
    let file = File { url: &server.address, name: "a.bin", sha256: &sha256, bytes: 1 << 20, members: &[] };
    let mut done = 0;
    let stopped = fetch_set(&Set { name: "set", files: &[file] }, room.path(), PATIENT, &mut |progress| {
        done = progress.done;
        ControlFlow::Break(())
    });
    assert!(matches!(fault(stopped), FetchFault::Stopped));
    assert!(done < 1 << 20, "the first piece is enough");
    nothing(room.path());
}

#[test]
fn a_cut_file_is_no_file() {
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this");
    });
    let room = tempfile::tempdir().unwrap();
    let failed = fault(one(&server.address, &[7; 1000], room.path(), PATIENT));
    assert!(matches!(failed, FetchFault::Cut { found: 9, announced: 1000 }), "{failed}");
    nothing(room.path());
    // Without a length the end is only noticed by the checksum.
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonly this");
    });
    let failed = fault(one(&server.address, &[7; 1000], room.path(), PATIENT));
    assert!(matches!(failed, FetchFault::Checksum { .. }), "{failed}");
    nothing(room.path());
}

#[test]
fn another_file_is_refused_by_its_checksum() {
    let server = Server::start(|_, stream| send(stream, b"other"));
    let room = tempfile::tempdir().unwrap();
    let error = one(&server.address, b"right", room.path(), PATIENT).unwrap_err().to_string();
    assert!(error.contains(&sum(b"other")) && error.contains(&sum(b"right")), "both are named: {error}");
    assert!(error.starts_with(&format!("cannot fetch {}: its SHA-256 is", server.address)), "{error}");
    nothing(room.path());
}

#[test]
fn a_file_that_goes_on_is_stopped() {
    // One announces too much, the other announces nothing and never ends.
    let server = Server::start(|_, stream| send(stream, &vec![0; 100_000]));
    let room = tempfile::tempdir().unwrap();
    let failed = fault(one(&server.address, b"small", room.path(), PATIENT));
    assert!(matches!(failed, FetchFault::TooLarge { most: 5 }), "{failed}");
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[0; 4096]).is_ok() {}
    });
    let failed = fault(one(&server.address, b"small", room.path(), PATIENT));
    assert!(matches!(failed, FetchFault::TooLarge { most: 5 }), "{failed}");
    nothing(room.path());
}

#[test]
fn statuses_and_refusals_are_told() {
    let server = Server::start(|_, stream| {
        let _ =
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngone");
    });
    let room = tempfile::tempdir().unwrap();
    let failed = fault(one(&server.address, b"it", room.path(), PATIENT));
    assert!(matches!(failed, FetchFault::Status { status: 404 }), "{failed}");
    // Nobody listens where somebody did.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failed = fault(one(&format!("http://{address}"), b"it", room.path(), PATIENT));
    assert!(matches!(failed, FetchFault::Transport { .. }), "{failed}");
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"this is no HTTP\r\n\r\n");
    });
    let failed = fault(one(&server.address, b"it", room.path(), PATIENT));
    assert!(matches!(failed, FetchFault::Transport { .. }), "{failed}");
    nothing(room.path());
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let server = Server::start(|path, stream| match path {
        "/here" => send(stream, b"it"),
        "/there" => {
            let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /here\r\nContent-Length: 0\r\n\r\n");
        }
        _ => {
            let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let room = tempfile::tempdir().unwrap();
    let failed = fault(one(&format!("{}/round", server.address), b"it", room.path(), PATIENT));
    assert!(matches!(failed, FetchFault::Transport { .. }), "{failed}");
    assert!(server.n_asked() <= 7, "asked {} times", server.n_asked());
    nothing(room.path());
    assert!(one(&format!("{}/there", server.address), b"it", room.path(), PATIENT).is_ok());
}

#[test]
fn servers_that_hang_are_left() {
    let options = Options { patience: Duration::from_millis(300), slowest: 1 << 20, redirects: 5 };
    let room = tempfile::tempdir().unwrap();
    // One says nothing, one stops in the middle of a file, one drips a byte at a time.
    let silent = Server::start(|_, _| std::thread::sleep(Duration::from_secs(30)));
    let stopping = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this");
        std::thread::sleep(Duration::from_secs(30));
    });
    let dripping = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    for server in [silent, stopping, dripping] {
        let start = Instant::now();
        let failed = fault(one(&server.address, &[b'x'; 1000], room.path(), options));
        assert!(matches!(failed, FetchFault::Slow { .. }), "{failed}");
        // Far more than patience, and far less than what the servers would take.
        assert!(start.elapsed() < Duration::from_secs(15));
        nothing(room.path());
    }
}

/// A gzipped tar archive with folders, a link and a file that tries to leave.
fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut add = |path: &str, body: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        // The path as it stands, `..` too, which the library would refuse to write.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, body).unwrap();
    };
    add("set/train.bin", b"train");
    add("../outside.bin", b"outside");
    add("set/test.bin", b"test");
    add("set/readme.html", b"unasked");
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn members_are_taken_out_of_archives() {
    let body = archive();
    let sent = body.clone();
    let server = Server::start(move |_, stream| send(stream, &sent));
    let room = tempfile::tempdir().unwrap();
    let sha256 = sum(&body);
    let file = File {
        url: &server.address,
        name: "set.tar.gz",
        sha256: &sha256,
        bytes: body.len() as u64,
        members: &["train.bin", "test.bin"],
    };
    let folder =
        fetch_set(&Set { name: "set", files: &[file] }, &room.path().join("cache"), PATIENT, &mut go_on)
            .unwrap();
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["test.bin", "train.bin"]);
    assert_eq!(fs::read(folder.join("test.bin")).unwrap(), b"test");
    assert!(!room.path().join("outside.bin").exists() && !room.path().join("cache/outside.bin").exists());
    let missing = File { members: &["train.bin", "absent.bin"], ..file };
    let error = fetch_set(&Set { name: "other", files: &[missing] }, room.path(), PATIENT, &mut go_on);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("it is without absent.bin"), "{error}");
    assert!(!room.path().join("other").exists());
}

#[test]
fn folders_are_not_touched_unasked() {
    let server = Server::start(|_, stream| send(stream, b"it"));
    let room = tempfile::tempdir().unwrap();
    fs::create_dir(room.path().join("set")).unwrap();
    fs::write(room.path().join("set/mine.txt"), "mine").unwrap();
    let error = one(&server.address, b"it", room.path(), PATIENT).unwrap_err().to_string();
    assert!(error.contains("there, but not the whole set"), "{error}");
    assert_eq!(fs::read(room.path().join("set/mine.txt")).unwrap(), b"mine");
    // A set that would leave the cache.
    for name in ["../set", "a/b", "", "..", "/set"] {
        let error = fetch_set(&Set { name, files: &[] }, room.path(), PATIENT, &mut go_on).unwrap_err();
        assert!(error.to_string().contains("allowed file names without folders"), "{error}");
    }
    // Two processes at one set: the second is told.
    let lock = fs::File::create(room.path().join(".busy.lock")).unwrap();
    lock.lock().unwrap();
    let file = File { url: &server.address, name: "a.bin", sha256: "", bytes: 1, members: &[] };
    let failed = fault(fetch_set(&Set { name: "busy", files: &[file] }, room.path(), PATIENT, &mut go_on));
    assert!(matches!(failed, FetchFault::Busy), "{failed}");
}

#[test]
fn sets_are_known_by_name() {
    let room = tempfile::tempdir().unwrap();
    let error = fetch("minst", room.path(), PATIENT, &mut go_on).unwrap_err().to_string();
    assert!(error.contains("`minst` cannot be fetched, allowed mnist, fashion-mnist, cifar10"), "{error}");
    assert!(error.contains("hint: did you mean mnist"), "{error}");
    for set in KNOWN {
        for file in set.files {
            assert!(file.sha256.len() == 64 && file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert!(file.bytes > 1000 && file.url.starts_with("http"));
        }
    }
}
