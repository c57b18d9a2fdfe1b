//! The run folder that the demo works on: generated, or a copy.

use super::{CONTROLLER, FIELD};
use cachetx::{BoxError, Rules};
use std::{fs, path::Path};

/// Creates a folder with a document for every controller of the rules, and returns its name.
pub(super) fn make_up(root: &Path, rules: &Rules) -> Result<String, BoxError> {
    let run = "copacetic-sled";
    fs::create_dir(root.join(run))?;
    for controller in rules.controllers() {
        let text = format!("{{\"controller\": \"{controller}\", \"{FIELD}\": 100}}\n");
        fs::write(root.join(run).join(format!("{controller}.nodb")), text)?;
    }
    Ok(run.to_owned())
}

/// Copies the documents of an existing run folder, so that the demo changes nothing there.
pub(super) fn copy(folder: &Path, root: &Path, rules: &Rules) -> Result<String, BoxError> {
    let whole = fs::canonicalize(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let run = whole
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| format!("{}: no name that could be a run id", folder.display()))?;
    fs::create_dir(root.join(run))?;
    for controller in rules.controllers() {
        let file = format!("{controller}.nodb");
        match fs::read(whole.join(&file)) {
            Ok(text) => fs::write(root.join(run).join(&file), text)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && controller != CONTROLLER => {}
            Err(e) => return Err(format!("{}: {e}", whole.join(&file).display()).into()),
        }
    }
    Ok(run.to_owned())
}
