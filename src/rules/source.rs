//! Reads the file: bounded, and with the place of invalid bytes.

use crate::model::{Error, Problem, Result, error::Kind, limits::MAX_RULES_BYTES};
use std::{fs::File, io::Read, path::Path};

/// The file's name in problems if there is no file.
pub(super) const NO_FILE: &str = "<rules>";

/// The file's text.
pub(super) fn read(path: &Path) -> Result<String> {
    let io = |action| {
        move |source| {
            let path = path.to_owned();
            Error::new(Kind::Io {
                path,
                action,
                source,
            })
        }
    };
    let file = File::open(path).map_err(io("open"))?;
    let mut bytes = Vec::new();
    // One byte more than allowed detects "too big" without reading the rest.
    file.take(MAX_RULES_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(io("read"))?;
    let name = path.display().to_string();
    check_size(&name, bytes.len() as u64)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let before = String::from_utf8_lossy(&bytes[..valid]);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before[line_start..].chars().count() + 1;
        Error::new(Kind::Rules(vec![Problem {
            file: name,
            line: u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            span: valid..valid + 1,
            text: format!("0x{:02X}", bytes[valid]),
            message: "not UTF-8".to_owned(),
            help: Some("save the file as UTF-8".to_owned()),
        }]))
    })
}

/// Refuses a text over the limit before it is parsed.
pub(super) fn check_size(name: &str, bytes: u64) -> Result<()> {
    if bytes <= MAX_RULES_BYTES as u64 {
        return Ok(());
    }
    Err(Error::new(Kind::Rules(vec![Problem {
        file: name.to_owned(),
        line: 1,
        column: 1,
        span: 0..0,
        text: String::new(),
        message: format!("the rules are over the limit of {MAX_RULES_BYTES} bytes"),
        help: None,
    }])))
}
