//! What a simulator does to disks, and what it may know of them.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::content::Content;
use super::fault::DiskFault;
use super::image::{Image, PAGE_BYTES};
use super::names::{Body, InodeNumber, Names, ROOT, components};
use super::platter::{Platter, Rack};
use super::power::{PowerLoss, Survival};
use super::speed::DiskSpeed;

/// The disks of the current world. Cheap to clone. Nodes are numbered as madsim shows them.
#[derive(Clone)]
pub struct Disks {
    rack: Arc<Rack>,
}

/// What is known of a file that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileView {
    /// Its path, from the root.
    pub path: String,
    /// Its length as it is read, in bytes.
    pub length_bytes: u64,
    /// Its length on the device.
    pub durable_length_bytes: u64,
    /// The bytes below this survive a power loss exactly as they are read now, if the name does.
    pub sound_to_bytes: u64,
    /// Whether the path survives a power loss and leads to this file then.
    pub is_name_durable: bool,
}

impl FileView {
    fn new(names: &Names, number: InodeNumber, content: &Content, path: String) -> FileView {
        FileView {
            path,
            length_bytes: content.cache.length(),
            durable_length_bytes: content.durable.length(),
            sound_to_bytes: content.sound_to(),
            is_name_durable: names.is_name_durable(number),
        }
    }
}

/// What a disk's device held at some time.
#[derive(Clone)]
pub struct DiskImage {
    directories: Vec<String>,
    files: Vec<(String, Image, i64)>,
}

impl Disks {
    /// The disks of the world whose task is running.
    ///
    /// # Panics
    /// Outside a simulated world.
    pub fn current() -> Disks {
        Disks {
            rack: super::current_rack(),
        }
    }

    fn platter(&self, node: u64) -> Arc<Platter> {
        self.rack.platter(node)
    }

    /// Takes the power away at once. No later operation of the node changes anything, and none of its completions
    /// ends. What the device holds stays to be asked for; what becomes of the rest is decided by
    /// [`Disks::power_on`]. The node's tasks are the caller's to kill.
    pub fn power_off(&self, node: u64) {
        self.platter(node).power_off();
    }

    /// Gives the power back, after taking it away if it is there, and decides what has survived. To be called before
    /// the node is started again.
    pub fn power_on(&self, node: u64, survival: Survival) -> PowerLoss {
        self.platter(node).power_on(survival)
    }

    /// Whether the node has power.
    pub fn is_on(&self, node: u64) -> bool {
        self.platter(node).state().is_on
    }

    /// The node's process ended: its handles are refused and its locks free; the page cache stays and syncs under
    /// way go on. Killing a node of madsim's calls it; restarting one does not.
    pub fn process_died(&self, node: u64) {
        self.platter(node).process_died();
    }

    /// Operations that handles of an earlier life asked for so far. None of them did anything.
    pub fn refused(&self, node: u64) -> u64 {
        self.platter(node).state().refused
    }

    /// Adds a fault to come.
    pub fn add_fault(&self, node: u64, fault: DiskFault) {
        self.platter(node).state().faults.add(fault);
    }

    /// Removes all faults and stalls to come; what they did stays.
    pub fn clear_faults(&self, node: u64) {
        let platter = self.platter(node);
        let mut state = platter.state();
        state.faults.clear();
        state.clear_stalls();
    }

    /// For so many microseconds from now the device does nothing for the files and directories with this in their
    /// path, all of them if it is empty. Syncs, and operations on names, lengths and space that begin meanwhile end
    /// that much later. The page cache serves on.
    pub fn stall(&self, node: u64, path_contains: &str, micros: u64) {
        let platter = self.platter(node);
        let until_us = platter.now_us() + micros;
        platter.state().stall(path_contains, until_us);
    }

    /// How fast the node's disk is from now on.
    pub fn set_speed(&self, node: u64, speed: DiskSpeed) {
        self.platter(node).state().delays.speed = speed;
    }

    /// How fast the node's disk is.
    pub fn speed(&self, node: u64) -> DiskSpeed {
        self.platter(node).state().delays.speed
    }

    /// How much the node's disk holds, in whole pages of 4096 bytes. A file takes one beside those of its content.
    pub fn set_capacity(&self, node: u64, bytes: u64) {
        self.platter(node).state().capacity_bytes = bytes;
    }

    /// What files take of it now.
    pub fn used_bytes(&self, node: u64) -> u64 {
        self.platter(node).state().used_pages() * PAGE_BYTES
    }

    /// Flips `bits` of one byte on the device, and of the page cache unless the byte waits there for a sync; `false`
    /// if the device has no such byte. It stays so until the byte is written again.
    pub fn rot(&self, node: u64, path: impl AsRef<Path>, offset: u64, bits: u8) -> bool {
        self.damage(node, path.as_ref(), super::Effect::Rot, |content| {
            content.rot(offset, bits)
        })
    }

    /// An earlier write to these bytes was lost: there are zeros, on the device and in the page cache. `false` and no
    /// change if the device has not all of them, or one waits for a sync.
    pub fn lose(
        &self,
        node: u64,
        path: impl AsRef<Path>,
        offset: u64,
        length_bytes: usize,
    ) -> bool {
        self.damage(node, path.as_ref(), super::Effect::LoseWrite, |content| {
            content.overwrite(offset, &vec![0; length_bytes])
        })
    }

    /// As [`Disks::lose`], of a write that landed `by_bytes` further on in the file, over what is there.
    pub fn misdirect(
        &self,
        node: u64,
        path: impl AsRef<Path>,
        offset: u64,
        length_bytes: usize,
        by_bytes: i64,
    ) -> bool {
        let effect = super::Effect::MisdirectWrite { by_bytes };
        self.damage(node, path.as_ref(), effect, |content| {
            let bytes = content.durable.read(offset, length_bytes);
            let target = offset.checked_add_signed(by_bytes);
            let is_whole = bytes.len() == length_bytes;
            is_whole
                && target.is_some_and(|target| content.overwrite(target, &bytes))
                && content.overwrite(offset, &vec![0; length_bytes])
        })
    }

    fn damage(
        &self,
        node: u64,
        path: &Path,
        effect: super::Effect,
        damage: impl FnOnce(&mut Content) -> bool,
    ) -> bool {
        let platter = self.platter(node);
        let damaged = {
            let mut state = platter.state();
            state.settle_all(platter.now_us());
            let found = state.names.find(&components(path));
            let is_file = found.filter(|number| state.names.content(*number).is_some());
            is_file.is_some_and(|number| damage(state.names.content_mut(number)))
        };
        if damaged {
            let text = path.to_string_lossy();
            platter.tell_fault(Some(effect), super::DiskOperation::Any, &text);
        }
        damaged
    }

    /// Replaces the disk by an empty one. Whoever runs on the node is refused from then on.
    pub fn wipe(&self, node: u64) {
        self.platter(node).replace(Names::default(), "disk-wipe");
    }

    /// What the device holds now: what [`Survival::None`] would leave.
    pub fn copy_image(&self, node: u64) -> DiskImage {
        self.with_settled(node, |names| {
            let mut image = DiskImage {
                directories: Vec::new(),
                files: Vec::new(),
            };
            for (number, inode) in &names.inodes {
                match (names.durable_path(*number), &inode.body) {
                    (Some(path), Body::Directory(_)) if *number != ROOT => {
                        image.directories.push(path);
                    }
                    (Some(path), Body::File(content)) => {
                        let file = (path, content.durable.clone(), content.modified_ms);
                        image.files.push(file);
                    }
                    _ => {}
                }
            }
            // Parents first.
            image.directories.sort();
            image.files.sort_by(|one, two| one.0.cmp(&two.0));
            image
        })
    }

    /// Replaces what is on the disk by an image, all of it durable. Whoever runs on the node is refused from then on.
    pub fn restore_image(&self, node: u64, image: &DiskImage) {
        let mut names = Names::default();
        for path in &image.directories {
            let body = Body::Directory(super::Directory::default());
            names.create_durable(&components(Path::new(path)), body);
        }
        for (path, content, modified_ms) in &image.files {
            let content = Content::from_device(content.clone(), *modified_ms);
            let body = Body::File(Box::new(content));
            names.create_durable(&components(Path::new(path)), body);
        }
        self.platter(node).replace(names, "disk-restore");
    }

    fn with_settled<T>(&self, node: u64, look: impl FnOnce(&Names) -> T) -> T {
        let platter = self.platter(node);
        let mut state = platter.state();
        if state.is_on {
            state.settle_all(platter.now_us());
        }
        look(&state.names)
    }

    fn with_one_settled<T>(
        &self,
        node: u64,
        path: &Path,
        look: impl FnOnce(&Names, &[String]) -> T,
    ) -> T {
        let platter = self.platter(node);
        let mut state = platter.state();
        let names = components(path);
        if state.is_on {
            let now_us = platter.now_us();
            state.names.settle(now_us);
            let found = [state.names.find(&names), state.names.find_durable(&names)];
            for number in found.into_iter().flatten() {
                state.settle(number, now_us);
            }
        }
        look(&state.names, &names)
    }

    /// All files that have a name now, ordered by it.
    pub fn files(&self, node: u64) -> Vec<FileView> {
        self.with_settled(node, |names| {
            let mut views: Vec<FileView> = names
                .inodes
                .keys()
                .filter_map(|number| {
                    let content = names.content(*number)?;
                    let path = names.path(*number)?;
                    Some(FileView::new(names, *number, content, path))
                })
                .collect();
            views.sort_by(|one, two| one.path.cmp(&two.path));
            views
        })
    }

    /// The file at `path`, if there is one. Costs a few look-ups, whatever the file's length.
    pub fn file(&self, node: u64, path: impl AsRef<Path>) -> Option<FileView> {
        self.with_one_settled(node, path.as_ref(), |names, components| {
            let number = names.find(components)?;
            let content = names.content(number)?;
            let path = names.path(number)?;
            Some(FileView::new(names, number, content, path))
        })
    }

    /// The paths of all files on the device, ordered: those that [`Survival::None`] would leave.
    pub fn durable_files(&self, node: u64) -> Vec<String> {
        self.with_settled(node, |names| {
            let mut paths: Vec<String> = names
                .inodes
                .keys()
                .filter(|number| names.content(**number).is_some())
                .filter_map(|number| names.durable_path(*number))
                .collect();
            paths.sort();
            paths
        })
    }

    /// What a power loss that keeps nothing un-synced leaves at `path`: the content on the device of the file that
    /// has this name there. Also while the power is off.
    pub fn durable_bytes(&self, node: u64, path: impl AsRef<Path>) -> Option<Bytes> {
        self.durable_range(node, path, 0, usize::MAX)
    }

    /// A part of [`Disks::durable_bytes`], as far as the file goes.
    pub fn durable_range(
        &self,
        node: u64,
        path: impl AsRef<Path>,
        offset: u64,
        length_bytes: usize,
    ) -> Option<Bytes> {
        self.with_one_settled(node, path.as_ref(), |names, components| {
            let content = names.content(names.find_durable(components)?)?;
            Some(content.durable.read(offset, length_bytes))
        })
    }

    /// What a read of the file at `path` would give, without being one. Also while the power is off.
    pub fn cached_bytes(&self, node: u64, path: impl AsRef<Path>) -> Option<Bytes> {
        self.with_one_settled(node, path.as_ref(), |names, components| {
            let content = names.content(names.find(components)?)?;
            Some(content.cache.read(0, usize::MAX))
        })
    }
}
