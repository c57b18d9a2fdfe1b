//! Tells network file systems from local ones.

use std::fs::File;

/// The kind of file system that a store's root is on. It decides how a reader checks whether a
/// document's file is still the one that it knows.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// use cachetx::FileSystem;
///
/// let shared = Store::builder(&cache)
///     .root(folder.path())
///     .run_param("shop_id")
///     .file_system(FileSystem::Network)
///     .open()?;
/// # drop(shared);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileSystem {
    /// Asks the operating system when the store is opened. An unknown type counts as
    /// [`Network`](Self::Network); so does FUSE, which may be anything.
    #[default]
    Auto,
    /// Only one machine writes: a file's stamp is read by its name, in one system call.
    Local,
    /// Other machines write too: the file is opened to read its stamp. NFS and similar file systems
    /// guarantee that an open sees what was closed before (close-to-open), but may answer a `stat`
    /// from their cache.
    Network,
}

impl FileSystem {
    pub(super) fn is_network(self, root: &File) -> bool {
        match self {
            Self::Auto => auto(root),
            Self::Local => false,
            Self::Network => true,
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn auto(root: &File) -> bool {
    // The field's type differs between platforms; the numbers have 32 bits on all of them.
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation)]
    rustix::fs::fstatfs(root).map_or(true, |found| is_network_type(found.f_type as u32))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn auto(_: &File) -> bool {
    true
}

/// By the number in `statfs` (see its man page and linux/magic.h).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_network_type(magic: u32) -> bool {
    const NETWORK: [u32; 17] = [
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB 2 and 3
        0x564c,      // NCP
        0x0102_1997, // 9P
        0x6573_5546, // FUSE: sshfs, s3fs, GlusterFS
        0x00c3_6400, // Ceph
        0x0bd0_0bd0, // Lustre
        0x4750_4653, // GPFS
        0x1983_0326, // BeeGFS
        0xaad7_aaea, // PanFS
        0x2003_0528, // OrangeFS
        0x5346_414f, // AFS
        0x6b41_4653, // kAFS
        0x7375_7245, // Coda
        0x786f_4256, // VirtualBox shared folders
    ];
    NETWORK.contains(&magic)
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_tell_network_file_systems_from_local_ones() {
        for (magic, network) in [
            (0x6969, true),
            (0xff53_4d42, true),
            (0x6573_5546, true),
            (0xef53, false),      // ext4
            (0x5846_5342, false), // XFS
            (0x9123_683e, false), // Btrfs
            (0x0102_1994, false), // tmpfs
            (0x794c_7630, false), // overlay
        ] {
            assert_eq!(is_network_type(magic), network, "{magic:#x}");
        }
    }

    #[test]
    fn the_system_is_asked_unless_the_caller_says() {
        // Always mounted, and never on a network.
        let Ok(proc) = File::open("/proc") else {
            eprintln!("SKIPPED the_system_is_asked_unless_the_caller_says: no /proc");
            return;
        };
        assert!(!FileSystem::Auto.is_network(&proc));
        assert!(!FileSystem::Local.is_network(&proc));
        assert!(FileSystem::Network.is_network(&proc));
    }
}
