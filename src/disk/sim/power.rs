//! The disks that a power loss may leave.

use super::SimDisk;
use std::collections::BTreeMap;

impl SimDisk {
    /// One of the disks that a power loss now may leave: each call of `choose(n)` decides between
    /// `n` possibilities. The result has no locks, and everything on it is durable.
    pub(crate) fn after_power_loss(&self, choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let root = self.root.after_power_loss(choose);
        let mut folders = BTreeMap::new();
        for (name, folder) in &self.folders {
            if root.now().contains_key(&**name) {
                folders.insert(name.clone(), folder.after_power_loss(choose));
            }
        }
        let mut files = BTreeMap::new();
        for id in folders.values().flat_map(|folder| folder.now().values()) {
            if let Some(file) = self.files.get(id) {
                files.insert(*id, file.after_power_loss(choose));
            }
        }
        Self {
            files,
            root,
            folders,
            locks: BTreeMap::new(),
            ..self.clone()
        }
    }
}
