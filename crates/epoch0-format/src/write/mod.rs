//! Writing safetensors checkpoints: a plan first, then bytes in any order from any thread.

mod plan;
mod shard_size;
mod spans;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

pub use plan::{Place, Plan, PlannedFile, TensorSpec, pt_metadata};
pub use shard_size::ShardSize;

use self::spans::Spans;
use crate::error::Error;
use crate::folder::write_new_file;
use crate::read::INDEX_FILE;

/// Bytes that [`Writer::fill`] hands out at a time.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Alignment of the buffers that [`Writer::fill`] hands out.
pub const BUFFER_ALIGN: usize = 64;
/// Pause between two rounds of sending written bytes to the disk.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);

/// A checkpoint being written: files have their final length from the beginning and are filled in any order.
///
/// Every byte has to be written exactly once: a second time is an error at once, a byte left out is one in
/// [`Writer::finish`]. Put it in a [`crate::NewFolder`], which makes the whole appear at once.
#[derive(Debug)]
pub struct Writer {
    plan: Plan,
    folder: PathBuf,
    files: Vec<File>,
    written: Vec<Mutex<Spans>>,
    /// Whether a file was written to since it was last sent to the disk.
    dirty: Vec<AtomicBool>,
}

/// How a long piece of work is followed and stopped.
#[derive(Clone, Copy, Default)]
pub struct Watch<'a> {
    /// Checked before each chunk: once true, the work ends with [`Error::Cancelled`].
    pub cancel: Option<&'a AtomicBool>,
    /// Called after each chunk, from the thread that wrote it, with its bytes.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Names of the files, the index among them.
    pub files: Vec<String>,
    /// Bytes of all tensors.
    pub total_bytes: u64,
}

impl Writer {
    /// Creates the files of a plan in a folder that exists, with their headers and with room for their tensors.
    pub fn create(folder: &Path, plan: Plan) -> Result<Self, Error> {
        let mut files = Vec::with_capacity(plan.files().len());
        for planned in plan.files() {
            let path = folder.join(&planned.name);
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)
                .map_err(Error::io("create", &path))?;
            (reserve(&file, planned.bytes).and_then(|()| write_all_at(&file, &planned.head, 0)))
                .map_err(Error::writing(&path, planned.bytes))?;
            files.push(file);
        }
        let written = plan.tensors().iter().map(|_| Mutex::default()).collect();
        let dirty = plan.files().iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Self { plan, folder: folder.to_owned(), files, written, dirty })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes bytes of a tensor, from `offset` in it on. Any number of threads may do so at once.
    ///
    /// Panics where there is no tensor of this number.
    pub fn write_at(&self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let place = self.plan.place(tensor);
        let name = || self.plan.tensors()[tensor].name.clone();
        let end = offset.saturating_add(bytes.len() as u64);
        if place.bytes < end {
            return Err(Error::OutOfRange {
                tensor: name(),
                unit: "bytes",
                start: offset,
                end,
                len: place.bytes,
            });
        }
        if !lock(&self.written[tensor]).add(offset..end) {
            return Err(Error::WrittenTwice { tensor: name(), start: offset, end });
        }
        self.dirty[place.file].store(true, Ordering::Relaxed);
        write_all_at(&self.files[place.file], bytes, place.offset + offset).map_err(self.writing(place.file))
    }

    /// Draws tensors chunk by chunk on all threads of the current rayon pool and writes them.
    ///
    /// `draw(tensor, start, buffer)` fills the buffer with the little-endian elements of the tensor from element
    /// `start` on; how many follows from the length. Buffers hold at most [`CHUNK_BYTES`], begin at a multiple of
    /// [`BUFFER_ALIGN`], are reused (one for each thread) and hold arbitrary bytes before. Where chunks begin depends
    /// on the tensor only, not on threads or shards. Chunks are handed out in the order of the files.
    ///
    /// After an error no further chunk is begun. Of several errors the one of the first chunk is returned, so that
    /// it is the same for any number of threads.
    pub fn fill<E: From<Error> + Send>(
        &self,
        tensors: impl IntoIterator<Item = usize>,
        watch: Watch<'_>,
        draw: impl Fn(usize, usize, &mut [u8]) -> Result<(), E> + Sync,
    ) -> Result<(), E> {
        let chunks = Chunks::of(&self.plan, tensors);
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let failed: Mutex<Option<(usize, E)>> = Mutex::new(None);

        let one = |nth: usize, buffer: &mut [u8]| -> Result<(), E> {
            if watch.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                return Err(Error::Cancelled.into());
            }
            let chunk = chunks.get(&self.plan, nth);
            let buffer = &mut buffer[..chunk.bytes];
            draw(chunk.tensor, chunk.start, buffer)?;
            self.write_at(chunk.tensor, chunk.offset, buffer)?;
            if let Some(progress) = watch.progress {
                progress(chunk.bytes as u64);
            }
            Ok(())
        };
        let work = || {
            let mut room = vec![0; CHUNK_BYTES + BUFFER_ALIGN];
            let aligned = room.as_ptr().align_offset(BUFFER_ALIGN);
            let buffer = &mut room[aligned..aligned + CHUNK_BYTES];
            // Once a number is taken it is worked on: every chunk before a failed one has been tried.
            while !stop.load(Ordering::Relaxed) {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if chunks.len() <= nth {
                    break;
                }
                if let Err(e) = one(nth, buffer) {
                    stop.store(true, Ordering::Relaxed);
                    let mut failed = lock(&failed);
                    if failed.as_ref().is_none_or(|(first, _)| nth < *first) {
                        *failed = Some((nth, e));
                    }
                }
            }
        };
        let flushed = self.while_flushing(|| {
            rayon::scope(|scope| {
                for _ in 0..rayon::current_num_threads().min(chunks.len()) {
                    scope.spawn(|_| work());
                }
            });
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, e)) => Err(e),
            None => Ok(flushed?),
        }
    }

    /// Runs `work` while a thread of its own sends what has been written to the disk, so that drawing and writing
    /// take place at the same time and little is left to wait for in the end.
    fn while_flushing(&self, work: impl FnOnce()) -> Result<(), Error> {
        let done = AtomicBool::new(false);
        let flush = || {
            loop {
                thread::park_timeout(FLUSH_PAUSE);
                if done.load(Ordering::Relaxed) {
                    return Ok(());
                }
                for (nth, dirty) in self.dirty.iter().enumerate() {
                    // The system tells of a failed write once only: what is lost here would be lost for good.
                    if dirty.swap(false, Ordering::Relaxed) {
                        self.files[nth].sync_data().map_err(self.writing(nth))?;
                    }
                }
            }
        };
        thread::scope(|scope| {
            let flusher = scope.spawn(flush);
            // Also ends it when the work panics.
            let end = OnDrop(|| {
                done.store(true, Ordering::Relaxed);
                flusher.thread().unpark();
            });
            work();
            drop(end);
            flusher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn writing(&self, file: usize) -> impl FnOnce(io::Error) -> Error {
        move |e| {
            let planned = &self.plan.files()[file];
            Error::writing(&self.folder.join(&planned.name), planned.bytes)(e)
        }
    }

    /// Checks that all bytes were written, writes the index and makes everything last through a power cut.
    pub fn finish(self) -> Result<Written, Error> {
        for (at, (tensor, spans)) in self.plan.tensors().iter().zip(&self.written).enumerate() {
            let (written, wanted) = (lock(spans).covered(), self.plan.place(at).bytes);
            if written != wanted {
                return Err(Error::Unfinished { tensor: tensor.name.clone(), written, wanted });
            }
        }
        for (nth, file) in self.files.iter().enumerate() {
            file.sync_all().map_err(self.writing(nth))?;
        }
        if let Some(index) = self.plan.index() {
            write_new_file(&self.folder.join(INDEX_FILE), index.as_bytes())?;
        }
        let files = self.plan.file_names().map(str::to_owned).collect();
        Ok(Written { files, total_bytes: self.plan.total_bytes() })
    }
}

/// Pieces of tensors, in the order of the files.
struct Chunks {
    tensors: Vec<usize>,
    /// Number of the first chunk of each tensor, and that of all.
    firsts: Vec<usize>,
}

struct Chunk {
    tensor: usize,
    start: usize,
    offset: u64,
    bytes: usize,
}

/// Bytes of a chunk of whole elements that begins and ends between bytes.
fn chunk_bytes(bits: usize) -> usize {
    CHUNK_BYTES / bits * bits
}

impl Chunks {
    fn of(plan: &Plan, tensors: impl IntoIterator<Item = usize>) -> Self {
        let mut tensors: Vec<usize> = tensors.into_iter().collect();
        tensors.sort_by_key(|&tensor| (plan.place(tensor).file, plan.place(tensor).offset));
        let mut firsts = vec![0];
        for &tensor in &tensors {
            let bits = plan.tensors()[tensor].dtype.bits();
            let chunks = (plan.place(tensor).bytes as usize).div_ceil(chunk_bytes(bits));
            firsts.push(firsts[firsts.len() - 1] + chunks);
        }
        Self { tensors, firsts }
    }

    fn len(&self) -> usize {
        self.firsts[self.tensors.len()]
    }

    fn get(&self, plan: &Plan, nth: usize) -> Chunk {
        let at = self.firsts.partition_point(|&first| first <= nth) - 1;
        let tensor = self.tensors[at];
        let bits = plan.tensors()[tensor].dtype.bits();
        let offset = (nth - self.firsts[at]) * chunk_bytes(bits);
        let bytes = (plan.place(tensor).bytes as usize - offset).min(chunk_bytes(bits));
        Chunk { tensor, start: offset / bits * 8, offset: offset as u64, bytes }
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a new file its length, and on Linux its room on the disk too, so that a full disk is known before the work.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        // Not every file system can.
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(e) => return Err(e.into()),
    }
    file.set_len(bytes)
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[n..];
        offset += n as u64;
    }
    Ok(())
}
