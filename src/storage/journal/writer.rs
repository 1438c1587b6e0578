//! The journal of one flush set in one log directory: many logs share one write and one sync.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use runtime::disk::{File, OpenMode};
use types::planted;

use super::group::{BLOCK_BYTES, Entry, GROUP_HEADER_BYTES, Place, encode, file_header};
use crate::directory::LogDirectory;
use crate::error::{DirectoryFailure, is_no_space};
use crate::flush::{FlushHandle, FlushedLog, Proof, flush};

/// Bytes of one log that are worth being written twice: more go straight to their segment.
pub(crate) const ENTRY_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a group at most; what does not fit waits for the next one.
const GROUP_BYTES_MAX: usize = 1 << 20;

type Task<T> = Pin<Box<dyn Future<Output = T>>>;

/// The journal of one flush set in one log directory. It is made when it is first of use.
pub(crate) struct Journal {
    directory: LogDirectory,
    half_bytes: u64,
    state: State,
    /// Flushes for the next group.
    waiting: VecDeque<(usize, FlushHandle)>,
    running: Option<Running>,
    /// Flushes of segments that make room, each with its half.
    settling: Vec<(usize, Task<FlushedLog>)>,
}

enum State {
    /// Nothing has asked for it yet.
    Absent,
    Opening(Task<io::Result<Opened>>),
    Ready(Writer),
    /// There is no room for it.
    Off,
}

struct Opened {
    file: File,
    nonce: u64,
}

/// A group under way.
struct Running {
    handles: Vec<(usize, FlushHandle)>,
    write: Task<Result<Written, Arc<DirectoryFailure>>>,
}

enum Written {
    Durably,
    NoSpace,
}

/// Where the next group goes.
struct Writer {
    file: File,
    nonce: u64,
    next_sequence: u64,
    halves: [Half; 2],
    current: usize,
}

/// Half of the journal: it is filled, then what it holds is synced in the segments, then it is filled again.
#[derive(Default)]
struct Half {
    used_bytes: u64,
    first_sequence: u64,
    /// What has to be synced before it may be filled again: the last flush of each log that is in it, by the log's
    /// number.
    logs: BTreeMap<u64, FlushHandle>,
    is_full: bool,
    settling: usize,
}

impl Half {
    fn is_free(&self) -> bool {
        self.used_bytes == 0 || planted!(JournalRecycledUnsettled)
    }
}

impl Journal {
    pub fn new(directory: LogDirectory, half_bytes: u64) -> Journal {
        Journal {
            directory,
            half_bytes,
            state: State::Absent,
            waiting: VecDeque::new(),
            running: None,
            settling: Vec::new(),
        }
    }

    /// Takes a flush that may go by the journal, or gives it back: then its segments are to be synced. It has to be
    /// polled next.
    pub fn offer(&mut self, index: usize, handle: FlushHandle) -> Option<FlushHandle> {
        match &self.state {
            State::Ready(_) => {
                self.waiting.push_back((index, handle));
                None
            }
            State::Absent => {
                let path = self.directory.new_journal_path();
                let opening = open(self.directory.clone(), path, self.half_bytes);
                self.state = State::Opening(Box::pin(opening));
                Some(handle)
            }
            State::Opening(_) | State::Off => Some(handle),
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.running.is_none()
            && self.settling.is_empty()
            && !matches!(self.state, State::Opening(_))
    }

    /// Goes on with everything. What has ended is added to `ended`; what has no room goes to `direct`.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        ended: &mut VecDeque<(usize, FlushedLog)>,
        direct: &mut Vec<(usize, FlushHandle)>,
    ) {
        self.poll_opening(context);
        self.poll_settling(context, ended);
        loop {
            if let Some(running) = &mut self.running {
                let Poll::Ready(written) = running.write.as_mut().poll(context) else {
                    return;
                };
                self.end_group(written, ended, direct);
            }
            if self.waiting.is_empty() {
                return;
            }
            self.start_group(direct);
            self.poll_settling(context, ended);
        }
    }

    fn poll_opening(&mut self, context: &mut Context<'_>) {
        let State::Opening(opening) = &mut self.state else {
            return;
        };
        let Poll::Ready(opened) = opening.as_mut().poll(context) else {
            return;
        };
        self.state = match opened {
            Ok(Opened { file, nonce }) => State::Ready(Writer {
                file,
                nonce,
                next_sequence: 1,
                halves: Default::default(),
                current: 0,
            }),
            Err(error) => {
                tracing::warn!(%error, directory = %self.directory.path().display(),
                    "there is no journal: every flush syncs the segments");
                State::Off
            }
        };
    }

    fn poll_settling(
        &mut self,
        context: &mut Context<'_>,
        ended: &mut VecDeque<(usize, FlushedLog)>,
    ) {
        let (State::Ready(writer), settling) = (&mut self.state, &mut self.settling) else {
            return;
        };
        settling.retain_mut(|(half, task)| {
            let Poll::Ready(flushed) = task.as_mut().poll(context) else {
                return true;
            };
            let half = &mut writer.halves[*half];
            half.settling -= 1;
            if half.settling == 0 && half.is_full {
                *half = Half::default();
            }
            ended.push_back((0, flushed));
            false
        });
    }

    fn end_group(
        &mut self,
        written: Result<Written, Arc<DirectoryFailure>>,
        ended: &mut VecDeque<(usize, FlushedLog)>,
        direct: &mut Vec<(usize, FlushHandle)>,
    ) {
        let running = self.running.take().expect("a group was under way");
        let result = match written {
            Ok(Written::Durably) => Ok(()),
            Ok(Written::NoSpace) => {
                // What the journal holds stays good; it is read as far as it goes.
                direct.extend(running.handles);
                direct.extend(self.waiting.drain(..));
                self.state = State::Off;
                return;
            }
            Err(failure) => Err(failure),
        };
        for (index, handle) in running.handles {
            let (result, proof) = (result.clone(), Proof::Journal);
            ended.push_back((
                index,
                FlushedLog {
                    handle,
                    result,
                    proof,
                },
            ));
        }
    }

    /// Begins the next group, or gives all that waits to `direct`, if there is no room.
    fn start_group(&mut self, direct: &mut Vec<(usize, FlushHandle)>) {
        let State::Ready(writer) = &mut self.state else {
            direct.extend(self.waiting.drain(..));
            return;
        };
        let room = usize::try_from(self.half_bytes)
            .unwrap_or(usize::MAX)
            .min(GROUP_BYTES_MAX);
        let (mut handles, mut entries) = (Vec::new(), Vec::new());
        let mut size_bytes = GROUP_HEADER_BYTES;
        while let Some((index, mut handle)) = self.waiting.pop_front() {
            let entry = handle.take_entry();
            if size_bytes + entry.size_bytes() > room {
                handle.put_back(entry);
                match handles.is_empty() {
                    true => direct.push((index, handle)),
                    false => self.waiting.push_front((index, handle)),
                }
                break;
            }
            size_bytes += entry.size_bytes();
            entries.push(entry);
            handles.push((index, handle));
        }
        if handles.is_empty() {
            return;
        }
        let group_bytes = size_bytes.next_multiple_of(BLOCK_BYTES) as u64;
        let Some(position) = writer.make_room(group_bytes, self.half_bytes, &mut self.settling)
        else {
            direct.extend(handles);
            return;
        };
        let write = writer.write(
            position,
            entries,
            &handles,
            group_bytes,
            self.directory.clone(),
        );
        self.running = Some(Running { handles, write });
    }
}

impl Writer {
    /// Where a group of so many bytes goes; nothing if both halves wait for segments.
    fn make_room(
        &mut self,
        group_bytes: u64,
        half_bytes: u64,
        settling: &mut Vec<(usize, Task<FlushedLog>)>,
    ) -> Option<u64> {
        let current = &mut self.halves[self.current];
        if current.is_full || current.used_bytes + group_bytes > half_bytes {
            self.settle(self.current, settling);
            let other = 1 - self.current;
            if !self.halves[other].is_free() {
                return None;
            }
            // Only the planted bug leaves anything to settle.
            let settling = self.halves[other].settling;
            self.halves[other] = Half {
                settling,
                ..Half::default()
            };
            self.current = other;
        }
        let start = BLOCK_BYTES as u64 + self.current as u64 * half_bytes;
        Some(start + self.halves[self.current].used_bytes)
    }

    /// Begins to sync what a full half holds.
    fn settle(&mut self, index: usize, settling: &mut Vec<(usize, Task<FlushedLog>)>) {
        let half = &mut self.halves[index];
        if std::mem::replace(&mut half.is_full, true) {
            return;
        }
        for handle in std::mem::take(&mut half.logs).into_values() {
            half.settling += 1;
            settling.push((index, Box::pin(flush(handle, None, Proof::Settlement))));
        }
    }

    fn write(
        &mut self,
        position: u64,
        entries: Vec<Entry>,
        handles: &[(usize, FlushHandle)],
        group_bytes: u64,
        directory: LogDirectory,
    ) -> Task<Result<Written, Arc<DirectoryFailure>>> {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let half = &mut self.halves[self.current];
        if half.used_bytes == 0 {
            half.first_sequence = sequence;
        }
        half.used_bytes += group_bytes;
        for (_, handle) in handles {
            half.logs
                .insert(handle.shared.number, handle.for_settlement());
        }
        let used = self.halves.iter().filter(|half| half.used_bytes > 0);
        let place = Place {
            nonce: self.nonce,
            sequence,
            first_live: used
                .map(|half| half.first_sequence)
                .min()
                .unwrap_or(sequence),
        };
        let chunks = encode(place, entries);
        Box::pin(write(self.file.clone(), position, chunks, directory))
    }
}

async fn write(
    file: File,
    position: u64,
    chunks: Vec<bytes::Bytes>,
    directory: LogDirectory,
) -> Result<Written, Arc<DirectoryFailure>> {
    directory.check()?;
    match file.write_at(position, chunks).await {
        Err(error) if is_no_space(&error) => return Ok(Written::NoSpace),
        written => written.map_err(|error| directory.fail("writing", file.path(), &error))?,
    }
    if !planted!(JournalNotSynced) {
        let synced = file.sync_data().await;
        synced.map_err(|error| directory.fail("syncing", file.path(), &error))?;
    }
    Ok(Written::Durably)
}

/// Makes a journal with room for two halves. It gets its name when its space and its first block are durable.
async fn open(directory: LogDirectory, path: PathBuf, half_bytes: u64) -> io::Result<Opened> {
    directory.check().map_err(io::Error::other)?;
    let disk = directory.disk();
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let nonce = directory.journal_nonce();
    let prepare = async || {
        let file = disk.open(&temporary, OpenMode::Truncate).await?;
        file.allocate(0, BLOCK_BYTES as u64 + 2 * half_bytes)
            .await?;
        file.write_at(0, vec![file_header(nonce)]).await?;
        io::Result::Ok(file)
    };
    let file = match prepare().await {
        Ok(file) => file,
        Err(error) => {
            // What there is of it takes the space of others.
            let _ = disk.remove_file(&temporary).await;
            return Err(error);
        }
    };
    let failed = |path: &Path, error: io::Error| {
        directory.fail("syncing", path, &error);
        error
    };
    file.sync_all()
        .await
        .map_err(|error| failed(Path::new(&temporary), error))?;
    disk.rename(&temporary, &path)
        .await
        .map_err(|error| failed(&path, error))?;
    let synced = disk.sync_dir(directory.path()).await;
    synced.map_err(|error| failed(directory.path(), error))?;
    let file = disk.open(&path, OpenMode::ReadWrite).await?;
    Ok(Opened { file, nonce })
}
