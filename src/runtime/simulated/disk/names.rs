//! Names: the directories as they are seen, as they are on the device, and the changes in between.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use types::Prng;

use super::content::Content;
use super::power::{PowerLoss, Survival};

/// The number of a file or directory. Never given twice on one disk.
pub(super) type InodeNumber = u64;

/// The directory that holds all others.
pub(super) const ROOT: InodeNumber = 0;

/// Changes of names that wait for a sync; beyond it the oldest are written back unasked, as kernels do.
pub(super) const NAME_CHANGES_MAX: usize = 256;

/// A name within a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) directory: InodeNumber,
    pub(super) name: String,
}

/// A file or directory.
pub(super) struct Inode {
    pub(super) body: Body,
    /// Its name as it is seen; there are no second names.
    pub(super) slot: Option<Slot>,
    /// Its name on the device.
    durable_slot: Option<Slot>,
    /// Changes of names that tell of it and wait.
    waiting: u32,
    /// Open handles.
    pub(super) handles: u32,
}

pub(super) enum Body {
    Directory(Directory),
    File(Box<Content>),
}

#[derive(Default)]
pub(super) struct Directory {
    pub(super) entries: BTreeMap<String, InodeNumber>,
    durable: BTreeMap<String, InodeNumber>,
}

/// A change of names.
struct NameChange {
    number: u64,
    kind: NameChangeKind,
    /// Directories whose sync it still needs.
    needs: Vec<InodeNumber>,
    /// A sync that should have written it failed: no later one does.
    stuck: bool,
}

enum NameChangeKind {
    Link {
        at: Slot,
        inode: InodeNumber,
    },
    Unlink {
        at: Slot,
        inode: InodeNumber,
    },
    Rename {
        to: Slot,
        inode: InodeNumber,
        replaced: Option<InodeNumber>,
    },
}

impl NameChangeKind {
    fn inodes(&self) -> (InodeNumber, Option<InodeNumber>) {
        match self {
            NameChangeKind::Link { inode, .. } | NameChangeKind::Unlink { inode, .. } => {
                (*inode, None)
            }
            NameChangeKind::Rename {
                inode, replaced, ..
            } => (*inode, *replaced),
        }
    }

    fn slot(&self) -> &Slot {
        match self {
            NameChangeKind::Link { at, .. } | NameChangeKind::Unlink { at, .. } => at,
            NameChangeKind::Rename { to, .. } => to,
        }
    }

    /// Whether the order of the two matters.
    fn touches(&self, other: &NameChangeKind) -> bool {
        let (one, two) = self.inodes();
        let (first, second) = other.inodes();
        self.slot() == other.slot()
            || one == first
            || Some(one) == second
            || two == Some(first)
            || (two.is_some() && two == second)
    }
}

/// A sync of a directory on its way to the device.
struct DirectorySync {
    due_us: u64,
    directory: InodeNumber,
    below: u64,
    fails: bool,
}

/// All that has a name, had one, or is open.
pub(super) struct Names {
    pub(super) inodes: BTreeMap<InodeNumber, Inode>,
    next_inode: InodeNumber,
    changes: Vec<NameChange>,
    next_change: u64,
    syncs: Vec<DirectorySync>,
}

/// The components of `path` from the root, without `.` and `..`; a relative path begins at the root.
pub(super) fn components(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => {
                names.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}

impl Default for Names {
    fn default() -> Names {
        let mut names = Names {
            inodes: BTreeMap::new(),
            next_inode: ROOT,
            changes: Vec::new(),
            next_change: 0,
            syncs: Vec::new(),
        };
        names.add(Body::Directory(Directory::default()));
        names
    }
}

impl Names {
    fn add(&mut self, body: Body) -> InodeNumber {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(
            number,
            Inode {
                body,
                slot: None,
                durable_slot: None,
                waiting: 0,
                handles: 0,
            },
        );
        number
    }

    pub(super) fn inode(&self, number: InodeNumber) -> &Inode {
        &self.inodes[&number]
    }

    pub(super) fn inode_mut(&mut self, number: InodeNumber) -> &mut Inode {
        self.inodes
            .get_mut(&number)
            .expect("an inode in use is kept")
    }

    pub(super) fn directory(&self, number: InodeNumber) -> Option<&Directory> {
        match &self.inode(number).body {
            Body::Directory(directory) => Some(directory),
            Body::File(_) => None,
        }
    }

    fn directory_mut(&mut self, number: InodeNumber) -> &mut Directory {
        match &mut self.inode_mut(number).body {
            Body::Directory(directory) => directory,
            Body::File(_) => panic!("a file was taken for a directory"),
        }
    }

    pub(super) fn content(&self, number: InodeNumber) -> Option<&Content> {
        match &self.inode(number).body {
            Body::Directory(_) => None,
            Body::File(content) => Some(content),
        }
    }

    /// # Panics
    /// If `number` is a directory.
    pub(super) fn content_mut(&mut self, number: InodeNumber) -> &mut Content {
        match &mut self.inode_mut(number).body {
            Body::Directory(_) => panic!("a directory was taken for a file"),
            Body::File(content) => content,
        }
    }

    /// What the names lead to, as they are seen.
    pub(super) fn find(&self, names: &[String]) -> Option<InodeNumber> {
        names.iter().try_fold(ROOT, |at, name| {
            self.directory(at)?.entries.get(name).copied()
        })
    }

    /// What the names lead to on the device.
    pub(super) fn find_durable(&self, names: &[String]) -> Option<InodeNumber> {
        names.iter().try_fold(ROOT, |at, name| {
            self.directory(at)?.durable.get(name).copied()
        })
    }

    /// Whether a power loss leaves the inode under the name it has now.
    pub(super) fn is_name_durable(&self, number: InodeNumber) -> bool {
        let mut at = number;
        while at != ROOT {
            let inode = self.inode(at);
            if inode.waiting > 0 || inode.slot != inode.durable_slot {
                return false;
            }
            match &inode.slot {
                Some(slot) => at = slot.directory,
                None => return false,
            }
        }
        true
    }

    fn record(&mut self, kind: NameChangeKind, needs: Vec<InodeNumber>) {
        let (one, two) = kind.inodes();
        for number in [Some(one), two].into_iter().flatten() {
            self.inode_mut(number).waiting += 1;
        }
        self.changes.push(NameChange {
            number: self.next_change,
            kind,
            needs,
            stuck: false,
        });
        self.next_change += 1;
        if self.changes.len() > NAME_CHANGES_MAX {
            let oldest = self.changes.remove(0);
            if !oldest.stuck {
                self.land(&oldest.kind);
            }
            self.forget(&oldest.kind);
        }
    }

    pub(super) fn create(&mut self, at: Slot, body: Body) -> InodeNumber {
        let number = self.add(body);
        self.directory_mut(at.directory)
            .entries
            .insert(at.name.clone(), number);
        self.inode_mut(number).slot = Some(at.clone());
        let needs = vec![at.directory];
        self.record(NameChangeKind::Link { at, inode: number }, needs);
        number
    }

    /// Puts an inode into a disk that is being made, as if it had been there for long.
    pub(super) fn create_durable(&mut self, names: &[String], body: Body) {
        let (name, parents) = names.split_last().expect("the root is there");
        let directory = self.find(parents).expect("parents are made first");
        let at = Slot {
            directory,
            name: name.clone(),
        };
        let number = self.add(body);
        self.directory_mut(directory)
            .entries
            .insert(name.clone(), number);
        self.inode_mut(number).slot = Some(at.clone());
        self.link_durable(&at, number);
    }

    /// Takes the name from an inode that has one.
    pub(super) fn unlink(&mut self, number: InodeNumber) {
        let at = self.inode_mut(number).slot.take().expect("it has a name");
        self.directory_mut(at.directory).entries.remove(&at.name);
        let needs = vec![at.directory];
        self.record(NameChangeKind::Unlink { at, inode: number }, needs);
        self.collect(number);
    }

    /// Gives an inode another name; what had that name loses it.
    pub(super) fn rename(&mut self, number: InodeNumber, to: Slot) -> Option<InodeNumber> {
        let from = self.inode_mut(number).slot.take().expect("it has a name");
        self.directory_mut(from.directory)
            .entries
            .remove(&from.name);
        let replaced = self
            .directory_mut(to.directory)
            .entries
            .insert(to.name.clone(), number);
        if let Some(old) = replaced {
            self.inode_mut(old).slot = None;
        }
        self.inode_mut(number).slot = Some(to.clone());
        let mut needs = vec![from.directory];
        if from.directory != to.directory {
            needs.push(to.directory);
        }
        self.record(
            NameChangeKind::Rename {
                to,
                inode: number,
                replaced,
            },
            needs,
        );
        replaced
    }

    pub(super) fn begin_sync(&mut self, directory: InodeNumber, due_us: u64, fails: bool) {
        let sync = DirectorySync {
            due_us,
            directory,
            below: self.next_change,
            fails,
        };
        let at = self.syncs.partition_point(|other| other.due_us <= due_us);
        self.syncs.insert(at, sync);
    }

    /// Ends the syncs whose time has come.
    pub(super) fn settle(&mut self, now_us: u64) {
        while self.syncs.first().is_some_and(|sync| sync.due_us <= now_us) {
            let sync = self.syncs.remove(0);
            for change in &mut self.changes {
                if change.number < sync.below && change.needs.contains(&sync.directory) {
                    if sync.fails {
                        change.stuck = true;
                    } else if !change.stuck {
                        change.needs.retain(|needed| *needed != sync.directory);
                    }
                }
            }
            self.fold();
        }
    }

    /// Puts on the device what is synced, and before it what it follows upon, as a journal does. What a failed sync
    /// left behind is overtaken then.
    fn fold(&mut self) {
        let mut kept: Vec<NameChange> = Vec::new();
        for change in std::mem::take(&mut self.changes) {
            if !change.needs.is_empty() {
                kept.push(change);
                continue;
            }
            let mut together = vec![change];
            for index in (0..kept.len()).rev() {
                if together
                    .iter()
                    .any(|later| kept[index].kind.touches(&later.kind))
                {
                    together.push(kept.remove(index));
                }
            }
            for change in together.iter().rev() {
                if !change.stuck {
                    self.land(&change.kind);
                }
                self.forget(&change.kind);
            }
        }
        self.changes = kept;
        // A directory that is gone for good needs no sync any more.
        let mut is_free = false;
        for change in &mut self.changes {
            let inodes = &self.inodes;
            change.needs.retain(|needed| inodes.contains_key(needed));
            is_free |= change.needs.is_empty();
        }
        if is_free {
            self.fold();
        }
    }

    /// Puts a change on the device.
    fn land(&mut self, kind: &NameChangeKind) {
        match kind {
            NameChangeKind::Link { at, inode } => self.link_durable(at, *inode),
            NameChangeKind::Rename { to, inode, .. } => self.link_durable(to, *inode),
            NameChangeKind::Unlink { at, inode } => {
                if self.inode(*inode).durable_slot.as_ref() == Some(at) {
                    self.unlink_durable(*inode);
                }
            }
        }
    }

    fn unlink_durable(&mut self, number: InodeNumber) {
        if let Some(at) = self.inode_mut(number).durable_slot.take() {
            self.directory_mut(at.directory).durable.remove(&at.name);
        }
    }

    /// One move: the inode is at its old name or at this one, never at neither.
    fn link_durable(&mut self, at: &Slot, number: InodeNumber) {
        let is_there = self.inodes.contains_key(&at.directory);
        if is_there && self.is_durably_below(at.directory, number) {
            return;
        }
        self.unlink_durable(number);
        if !is_there {
            return;
        }
        let old = self
            .directory_mut(at.directory)
            .durable
            .insert(at.name.clone(), number);
        self.inode_mut(number).durable_slot = Some(at.clone());
        if let Some(old) = old {
            self.inode_mut(old).durable_slot = None;
            self.collect(old);
        }
    }

    /// Whether `number` is `above` or lies in it.
    fn is_durably_below(&self, number: InodeNumber, above: InodeNumber) -> bool {
        let mut at = number;
        loop {
            if at == above {
                return true;
            }
            match &self.inode(at).durable_slot {
                Some(slot) => at = slot.directory,
                None => return false,
            }
        }
    }

    /// A change does not wait any more.
    fn forget(&mut self, kind: &NameChangeKind) {
        let (one, two) = kind.inodes();
        for number in [Some(one), two].into_iter().flatten() {
            self.inode_mut(number).waiting -= 1;
            self.collect(number);
        }
    }

    /// Drops an inode that nothing leads to any more, with what only it leads to.
    pub(super) fn collect(&mut self, number: InodeNumber) {
        let Some(inode) = self.inodes.get(&number) else {
            return;
        };
        let is_used = number == ROOT
            || inode.slot.is_some()
            || inode.durable_slot.is_some()
            || inode.waiting > 0
            || inode.handles > 0
            || matches!(&inode.body, Body::Directory(directory) if !directory.entries.is_empty());
        if is_used {
            return;
        }
        let inode = self.inodes.remove(&number).expect("it was just there");
        if let Body::Directory(directory) = inode.body {
            for child in directory.durable.into_values() {
                self.inode_mut(child).durable_slot = None;
                self.collect(child);
            }
        }
    }

    /// The power is gone: what was on its way is judged with the rest.
    pub(super) fn stop_syncs(&mut self) {
        self.syncs.clear();
    }

    /// Decides which names survive; nothing else is left.
    pub(super) fn lose_power(&mut self, survival: Survival, prng: &mut Prng) -> PowerLoss {
        let mut loss = PowerLoss::default();
        let changes = std::mem::take(&mut self.changes);
        let survivors = survival.survivors(changes.len(), prng);
        for (change, survives) in changes.iter().zip(survivors) {
            if survives {
                self.land(&change.kind);
                loss.names_kept += 1;
            } else {
                loss.names_lost += 1;
            }
        }
        self.syncs.clear();
        self.keep_reachable();
        loss
    }

    /// Shows what is on the device and drops what no name leads to.
    fn keep_reachable(&mut self) {
        let mut reached = BTreeMap::new();
        let mut next = vec![ROOT];
        while let Some(number) = next.pop() {
            let mut inode = self.inodes.remove(&number).expect("names lead to inodes");
            inode.slot.clone_from(&inode.durable_slot);
            (inode.waiting, inode.handles) = (0, 0);
            if let Body::Directory(directory) = &mut inode.body {
                directory.entries.clone_from(&directory.durable);
                next.extend(directory.durable.values());
            }
            reached.insert(number, inode);
        }
        self.inodes = reached;
    }

    /// The path of an inode as it is seen, if it has one.
    pub(super) fn path(&self, number: InodeNumber) -> Option<String> {
        self.walk(number, |inode| inode.slot.as_ref())
    }

    /// The path of an inode on the device, if it has one.
    pub(super) fn durable_path(&self, number: InodeNumber) -> Option<String> {
        self.walk(number, |inode| inode.durable_slot.as_ref())
    }

    fn walk(&self, number: InodeNumber, slot: impl Fn(&Inode) -> Option<&Slot>) -> Option<String> {
        let mut names = Vec::new();
        let mut at = number;
        while at != ROOT {
            let slot = slot(self.inode(at))?;
            names.push(slot.name.as_str());
            at = slot.directory;
        }
        let mut path = String::new();
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        Some(path)
    }
}
