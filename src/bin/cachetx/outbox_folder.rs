//! Outbox folders on the command line.

use crate::failure::Failure;
use cachetx::OutboxFile;
use std::path::Path;

/// The name of a store's outbox folder, below its root.
const NAME: &str = ".cachetx-outbox";

/// Whether it is a store's outbox folder that does not exist yet: the store creates it with the
/// first record.
pub(crate) fn is_unmade(folder: &Path) -> bool {
    let is_own = folder.file_name().is_some_and(|name| name == NAME);
    is_own && above(folder).is_some_and(Path::is_dir) && !folder.exists()
}

/// The parent folder.
pub(crate) fn above(folder: &Path) -> Option<&Path> {
    match folder.parent()? {
        here if here.as_os_str().is_empty() => Some(Path::new(".")),
        above => Some(above),
    }
}

/// Refuses a folder that does not exist or holds other things, which is a typing mistake, and a store's root.
pub(crate) fn check(folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    let own = folder.join(NAME);
    if own.is_dir() {
        let own = own.display();
        return Err(Failure::Usage(format!(
            "{shown} is a store's root: its outbox is {own}"
        )));
    }
    if is_another_s(folder) {
        return Err(Failure::Usage(format!(
            "{shown} holds files and none of an outbox's: a store's outbox is {NAME} below its root"
        )));
    }
    match folder.is_dir() || is_unmade(folder) {
        true => Ok(()),
        false => Err(Failure::Usage(format!(
            "{shown} is not there, or is no folder"
        ))),
    }
}

/// Whether it holds files, and none of an outbox's.
fn is_another_s(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let is_outbox_s = |path: &Path| {
        let extension = path.extension().and_then(|it| it.to_str());
        matches!(extension, Some("outbox" | "new" | "poison"))
    };
    let is_own = folder.file_name().is_some_and(|name| name == NAME);
    !is_own && !names.is_empty() && !names.iter().any(|path| is_outbox_s(path))
}

/// What is known about the process that wrote a file.
pub(crate) fn state(file: &OutboxFile) -> &'static str {
    match (file.alive, file.path.extension()) {
        (_, Some(extension)) if extension == "poison" => "set aside",
        (true, _) => "alive",
        (false, _) => "dead",
    }
}
