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
use crate::journal::{Entry, Journal};
use crate::log::Shared;
use crate::names::{FileKind, PARTITION_METADATA, PartitionName};
use crate::segment::Segment;

/// What a log wants synced. Holds all that is needed; the log is free meanwhile.
#[derive(Clone, Debug)]
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
    /// What a journal may hold instead, until the segments are synced.
    pub(crate) entry: Option<Entry>,
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

    /// What goes into a journal.
    pub(crate) fn take_entry(&mut self) -> Entry {
        self.entry.take().expect("it was offered to a journal")
    }

    /// The journal has no room for it.
    pub(crate) fn put_back(&mut self, entry: Entry) {
        self.entry = Some(entry);
    }

    /// What syncs the segments later.
    pub(crate) fn for_settlement(&self) -> FlushHandle {
        assert!(self.entry.is_none(), "the journal has taken it");
        self.clone()
    }
}

/// What has made the appends of a flush durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// The segments were synced.
    Segments,
    /// A journal holds them.
    Journal,
    /// The segments were synced, for a journal that held them to be filled anew: the flush has ended before.
    Settlement,
}

/// The end of a log's flush, for [`crate::Log::complete_flush`].
#[derive(Debug)]
#[must_use = "the log must hear of it"]
pub struct FlushedLog {
    pub(crate) handle: FlushHandle,
    pub(crate) result: Result<(), Arc<DirectoryFailure>>,
    pub(crate) proof: Proof,
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

    /// Whether the log's segments were synced for a journal's sake: the flush that it belongs to has ended before.
    pub fn is_settlement(&self) -> bool {
        self.proof == Proof::Settlement
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
/// Every flush of the set goes on while [`FlushSet::next`] is awaited. A set with journals is kept as long as its logs.
pub struct FlushSet {
    started: usize,
    running: Vec<(usize, Pin<Box<dyn Future<Output = FlushedLog>>>)>,
    ended: VecDeque<(usize, FlushedLog)>,
    /// Size of half a journal, in bytes; 0: there are none.
    journal_half_bytes: u64,
    /// By log directory.
    journals: BTreeMap<PathBuf, Journal>,
}

impl FlushSet {
    /// An empty set. `journal_half_bytes` is the size of each half of its journals, one for each log directory; with 0
    /// every flush syncs segments.
    pub fn new(journal_half_bytes: u64) -> FlushSet {
        FlushSet {
            started: 0,
            running: Vec::new(),
            ended: VecDeque::new(),
            journal_half_bytes,
            journals: BTreeMap::new(),
        }
    }

    /// Begins the flushes; there is no journal.
    pub fn start(handles: Vec<FlushHandle>) -> FlushSet {
        let mut set = FlushSet::new(0);
        set.extend(handles);
        set
    }

    /// Takes more flushes into the set.
    pub fn extend(&mut self, handles: Vec<FlushHandle>) {
        let mut direct = Vec::with_capacity(handles.len());
        for handle in handles {
            let index = self.started;
            self.started += 1;
            let rest = match handle.entry.is_some() && self.journal_half_bytes > 0 {
                true => self.journal(&handle).offer(index, handle),
                false => Some(handle),
            };
            direct.extend(rest.map(|handle| (index, handle)));
        }
        self.sync_segments(direct);
        // The first poll hands the writes and the syncs to the disk.
        self.poll_running(&mut Context::from_waker(Waker::noop()));
    }

    fn journal(&mut self, handle: &FlushHandle) -> &mut Journal {
        let directory = &handle.shared.directory;
        let journals = &mut self.journals;
        if !journals.contains_key(directory.path()) {
            let journal = Journal::new(directory.clone(), self.journal_half_bytes);
            journals.insert(directory.path().to_owned(), journal);
        }
        journals.get_mut(directory.path()).expect("it is there")
    }

    fn sync_segments(&mut self, handles: Vec<(usize, FlushHandle)>) {
        // New logs of one directory share the sync of its names.
        let mut parents: BTreeMap<PathBuf, SharedSync> = BTreeMap::new();
        for (index, handle) in handles {
            let parent = handle.is_directory_new.then(|| {
                let directory = &handle.shared.directory;
                let path = directory.path().to_owned();
                let start = || SharedSync::new(directory.disk().sync_dir(directory.path()));
                parents.entry(path).or_insert_with(start).clone()
            });
            let flush = flush(handle, parent, Proof::Segments);
            self.running.push((index, Box::pin(flush)));
        }
    }

    /// How many flushes of segments are under way or have not been given back.
    fn len(&self) -> usize {
        self.running.len() + self.ended.len()
    }

    /// Whether nothing is under way, and all that has ended was given back.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.journals.values().all(Journal::is_idle)
    }

    /// The next flush that ends; `None` if nothing is under way any more.
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
            None if !self.is_empty() => Poll::Pending,
            ended => Poll::Ready(ended),
        }
    }

    fn poll_running(&mut self, context: &mut Context<'_>) {
        let mut direct = Vec::new();
        for journal in self.journals.values_mut() {
            journal.poll(context, &mut self.ended, &mut direct);
        }
        if !direct.is_empty() {
            self.sync_segments(direct);
        }
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
pub(crate) struct SharedSync {
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

/// Syncs what a handle wants; `parent` is the sync of the log directory's names, if the log is new.
pub(crate) async fn flush(
    handle: FlushHandle,
    parent: Option<SharedSync>,
    proof: Proof,
) -> FlushedLog {
    let result = sync(&handle, parent).await;
    FlushedLog {
        handle,
        result,
        proof,
    }
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

    /// Waits for all of them. One that fails is told at once, for what it has dropped may be read until then.
    async fn wait(&mut self) -> Result<(), Arc<DirectoryFailure>> {
        let mut running = std::mem::take(&mut self.running);
        let mut poll_all = |context: &mut Context<'_>| {
            let mut failed = None;
            running.retain_mut(
                |(path, completion)| match Pin::new(completion).poll(context) {
                    Poll::Pending => true,
                    Poll::Ready(Err(_)) if types::planted!(SyncErrorBelieved) => false,
                    Poll::Ready(Err(error)) => {
                        failed = Some(self.fail("syncing", path, &error));
                        false
                    }
                    Poll::Ready(Ok(())) => false,
                },
            );
            match failed {
                Some(failure) => Poll::Ready(Err(failure)),
                None if running.is_empty() => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        };
        poll_fn(&mut poll_all).await
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
    let has_names = handle.names_version.is_some() || handle.is_directory_new;
    if has_names && !types::planted!(DirectoryNotSynced) {
        syncs.running.push((
            shared.path.to_path_buf(),
            shared.disk().sync_dir(&*shared.path),
        ));
    }
    syncs.wait().await?;
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
