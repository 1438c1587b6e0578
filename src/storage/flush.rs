//! One group commit for a set of logs.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use runtime::disk::{Completion, OpenMode};
use types::Offset;

use crate::error::{DirectoryFailure, is_no_space};
use crate::log::Shared;
use crate::names::{FileKind, PARTITION_METADATA, PartitionName};
use crate::segment::Segment;

/// What a log wants synced. Holds all that is needed; the log is free meanwhile.
#[derive(Debug)]
#[must_use = "nothing is flushed until it is given to a flush"]
pub struct FlushHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) generation: u64,
    pub(crate) end_offset: Offset,
    pub(crate) appended_bytes: u64,
    /// Segments with unsynced bytes, and the size up to which they are to be synced.
    pub(crate) segments: Vec<(Arc<Segment>, u64)>,
    /// Segments below have ended: their indexes are synced too.
    pub(crate) active_base_offset: Offset,
    /// The partition's directory has new names.
    pub(crate) names_version: Option<u64>,
    /// The partition's directory is new itself.
    pub(crate) is_directory_new: bool,
}

impl FlushHandle {
    /// The log's partition.
    pub fn name(&self) -> &PartitionName {
        &self.shared.name
    }

    /// The log's generation when the flush was begun.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The end of a log's flush, for [`crate::Log::complete_flush`].
#[derive(Debug)]
#[must_use = "the log must hear of it"]
pub struct FlushedLog {
    pub(crate) handle: FlushHandle,
    pub(crate) result: Result<(), Arc<DirectoryFailure>>,
}

impl FlushedLog {
    /// The log's partition.
    pub fn name(&self) -> &PartitionName {
        self.handle.name()
    }

    /// The log's generation when the flush was begun.
    pub fn generation(&self) -> u64 {
        self.handle.generation
    }

    /// Whether it is a flush of this very log, not of one that had its name before.
    pub fn is_of(&self, log: &crate::Log) -> bool {
        log.is_same(&self.handle.shared)
    }

    /// Everything below this offset survives a power cut, if the log has not been truncated since.
    ///
    /// # Errors
    /// A sync failed: the log directory is closed, and no sync is tried again.
    pub fn result(&self) -> Result<Offset, Arc<DirectoryFailure>> {
        self.result.clone().map(|()| self.handle.end_offset)
    }
}

/// Flushes under way, which end one by one: a slow file delays only its own log.
///
/// Every flush of the set goes on while [`FlushSet::next`] is awaited.
pub struct FlushSet {
    started: usize,
    running: Vec<(usize, Pin<Box<dyn Future<Output = FlushedLog>>>)>,
    ended: VecDeque<(usize, FlushedLog)>,
}

impl FlushSet {
    /// Begins the flushes.
    pub fn start(handles: Vec<FlushHandle>) -> FlushSet {
        let mut set = FlushSet {
            started: 0,
            running: Vec::new(),
            ended: VecDeque::new(),
        };
        set.extend(handles);
        set
    }

    /// Takes more flushes into the set.
    pub fn extend(&mut self, handles: Vec<FlushHandle>) {
        // New logs of one directory share the sync of its names.
        let mut parents: BTreeMap<PathBuf, SharedSync> = BTreeMap::new();
        for handle in handles {
            let parent = handle.is_directory_new.then(|| {
                let directory = &handle.shared.directory;
                let path = directory.path().to_owned();
                let start = || SharedSync::new(directory.disk().sync_dir(directory.path()));
                parents.entry(path).or_insert_with(start).clone()
            });
            self.running
                .push((self.started, Box::pin(flush(handle, parent))));
            self.started += 1;
        }
        // The first poll hands the syncs to the disk.
        self.poll_running(&mut Context::from_waker(Waker::noop()));
    }

    /// How many flushes have not been given back.
    pub fn len(&self) -> usize {
        self.running.len() + self.ended.len()
    }

    /// Whether all have been given back.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next flush that ends; `None` if there is none left.
    pub async fn next(&mut self) -> Option<FlushedLog> {
        poll_fn(|context| self.poll_next(context))
            .await
            .map(|(_, flushed)| flushed)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, FlushedLog)>> {
        if self.ended.is_empty() {
            self.poll_running(context);
        }
        match self.ended.pop_front() {
            None if !self.running.is_empty() => Poll::Pending,
            ended => Poll::Ready(ended),
        }
    }

    fn poll_running(&mut self, context: &mut Context<'_>) {
        let FlushSet { running, ended, .. } = self;
        running.retain_mut(|(index, future)| match future.as_mut().poll(context) {
            Poll::Ready(flushed) => {
                ended.push_back((*index, flushed));
                false
            }
            Poll::Pending => true,
        });
    }
}

impl std::fmt::Debug for FlushSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "FlushSet({} running, {} ended)",
            self.running.len(),
            self.ended.len()
        )
    }
}

/// Flushes a set of logs together and waits for all of them. The answers are in the order of the handles.
pub async fn flush_all(handles: Vec<FlushHandle>) -> Vec<FlushedLog> {
    let mut set = FlushSet::start(handles);
    let mut ended = Vec::with_capacity(set.len());
    while let Some(one) = poll_fn(|context| set.poll_next(context)).await {
        ended.push(one);
    }
    ended.sort_by_key(|(index, _)| *index);
    ended.into_iter().map(|(_, flushed)| flushed).collect()
}

/// One sync whose end several flushes of a set wait for.
#[derive(Clone)]
struct SharedSync {
    state: Rc<RefCell<SharedState>>,
}

struct SharedState {
    completion: Completion<()>,
    /// The error's kind and text, for an error cannot be cloned.
    result: Option<Result<(), (io::ErrorKind, String)>>,
}

impl SharedSync {
    fn new(completion: Completion<()>) -> SharedSync {
        SharedSync {
            state: Rc::new(RefCell::new(SharedState {
                completion,
                result: None,
            })),
        }
    }
}

impl Future for SharedSync {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        if state.result.is_none() {
            let result = std::task::ready!(Pin::new(&mut state.completion).poll(context));
            state.result = Some(result.map_err(|error| (error.kind(), error.to_string())));
            // Those of the set that were polled before this one have to look again.
            context.waker().wake_by_ref();
        }
        let result = state.result.clone().expect("it was set");
        Poll::Ready(result.map_err(|(kind, text)| io::Error::new(kind, text)))
    }
}

async fn flush(handle: FlushHandle, parent: Option<SharedSync>) -> FlushedLog {
    let result = sync(&handle, parent).await;
    FlushedLog { handle, result }
}

/// Syncs that are under way.
struct Syncs<'a> {
    handle: &'a FlushHandle,
    running: Vec<(PathBuf, Completion<()>)>,
}

impl Syncs<'_> {
    fn fail(
        &self,
        operation: &'static str,
        path: &Path,
        error: &io::Error,
    ) -> Arc<DirectoryFailure> {
        self.handle.shared.directory.fail(operation, path, error)
    }

    /// Begins to sync a file of a segment, opening it if need be.
    async fn start(
        &mut self,
        segment: &Arc<Segment>,
        kind: FileKind,
    ) -> Result<(), Arc<DirectoryFailure>> {
        let path = segment.path(kind);
        match segment.open(kind).await {
            Ok(file) => self.running.push((path, file.sync_data())),
            // Retention or truncation has removed it since, or an index has no entry yet.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && (segment.is_gone() || kind != FileKind::Log) => {}
            Err(error) => return Err(self.fail("opening", &path, &error)),
        }
        Ok(())
    }
}

async fn sync(
    handle: &FlushHandle,
    parent: Option<SharedSync>,
) -> Result<(), Arc<DirectoryFailure>> {
    let shared = &handle.shared;
    shared.directory.check()?;
    let mut syncs = Syncs {
        handle,
        running: Vec::with_capacity(handle.segments.len() + 1),
    };
    for (segment, _) in &handle.segments {
        syncs.start(segment, FileKind::Log).await?;
        if segment.base_offset() < handle.active_base_offset {
            sync_indexes(&mut syncs, segment).await?;
        }
    }
    let mut _open = None;
    if handle.is_directory_new {
        _open = Some(shared.directory.files().small_file().await);
        let path = shared.path.join(PARTITION_METADATA);
        match shared.disk().open(&path, OpenMode::ReadWrite).await {
            Ok(file) => syncs.running.push((path, file.sync_data())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(syncs.fail("opening", &path, &error)),
        }
    }
    if handle.names_version.is_some() || handle.is_directory_new {
        syncs.running.push((
            shared.path.to_path_buf(),
            shared.disk().sync_dir(&*shared.path),
        ));
    }
    for (path, completion) in std::mem::take(&mut syncs.running) {
        completion
            .await
            .map_err(|error| syncs.fail("syncing", &path, &error))?;
    }
    if let Some(parent) = parent {
        parent
            .await
            .map_err(|error| syncs.fail("syncing", shared.directory.path(), &error))?;
    }
    Ok(())
}

/// Completes and syncs the indexes of a segment that has ended. A full disk lets them wait.
async fn sync_indexes(
    syncs: &mut Syncs<'_>,
    segment: &Arc<Segment>,
) -> Result<(), Arc<DirectoryFailure>> {
    match segment.write_indexes().await {
        Err(error) if !is_no_space(&error) => {
            return Err(syncs.fail("writing", &segment.path(FileKind::OffsetIndex), &error));
        }
        _ => {}
    }
    for kind in [
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::TransactionIndex,
    ] {
        syncs.start(segment, kind).await?;
    }
    Ok(())
}
