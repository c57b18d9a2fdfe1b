//! Fuzz targets: an outbox, a journal and a sidecar as a crash or a damaged disk may leave them.

use super::{
    journal::Journal,
    outbox::{Outbox, OutboxAction, OutboxGot, line},
    sidecar,
};
use std::fs;

/// Reads the bytes as each kind of file. Then gives each of their lines a correct digest and reads
/// those, so that the code behind the digest check is reached.
pub(crate) fn recovery(bytes: &[u8]) {
    all(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let lines: Vec<String> = text.lines().map(line::sealed).collect();
    for line in &lines {
        journal(line.as_bytes());
    }
    let sealed = lines.concat();
    outbox(sealed.as_bytes());
    // Cut, as by a power loss in the middle of the last line.
    outbox(&sealed.as_bytes()[..sealed.len() - sealed.len().min(7)]);
    sidecar(sidecar::sealed(text.trim_end().to_owned()).as_bytes());
}

fn all(bytes: &[u8]) {
    outbox(bytes);
    journal(bytes);
    sidecar(bytes);
}

/// Takes over a dead owner's outbox on disk. Lines that begin with `{` get a correct digest; the
/// others stay as they are. Checks that each record is returned once, that damaged lines are set
/// aside, and that the file is removed.
pub(crate) fn take_over(bytes: &[u8]) {
    let mut file = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match std::str::from_utf8(line).map(str::trim_end) {
            Ok(json) if json.starts_with('{') => file.extend(line::sealed(json).into_bytes()),
            _ => file.extend(line),
        }
    }
    let content = line::parse(&file);
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("0123456789abcdef.outbox");
    fs::write(&path, &file).expect("it is written");
    let outbox = Outbox::default();
    outbox.add_folder(folder.path());
    let perform = |action| outbox.perform(&action).expect("it needs no server");
    let expected = usize::from(!content.pending.is_empty());
    assert_eq!(
        perform(OutboxAction::TakeOver),
        OutboxGot::TakenOver(expected)
    );
    assert_eq!(outbox.set_aside(), content.damaged.len() as u64);
    let mut handed_out = Vec::new();
    while let OutboxGot::Next(records) = perform(OutboxAction::Next(None))
        && !records.is_empty()
    {
        for (ticket, work) in records {
            handed_out.push(work);
            perform(OutboxAction::Retire(ticket));
        }
    }
    assert!(handed_out.iter().eq(content.pending.values()));
    assert_eq!(perform(OutboxAction::GiveBack), OutboxGot::Left(0));
    assert!(!path.exists(), "everything in it is done");
    let poison = fs::read(path.with_extension("poison")).unwrap_or_default();
    assert_eq!(poison, content.damaged.concat());
}

/// Writing the pending records to a new file must give the same pending records.
fn outbox(bytes: &[u8]) {
    let content = line::parse(bytes);
    let damaged: usize = content.damaged.iter().map(Vec::len).sum();
    assert!(damaged + content.torn <= bytes.len());
    let records = content.pending.iter();
    let again: String = records
        .map(|(id, work)| line::record(*id, work, false))
        .collect();
    let read = line::parse(again.as_bytes());
    assert_eq!(read.pending, content.pending);
    assert!(read.damaged.is_empty() && read.torn == 0);
    let retired: String = content
        .pending
        .keys()
        .map(|id| line::retired(*id))
        .collect();
    let none = line::parse((again + &retired).as_bytes());
    assert!(none.pending.is_empty());
}

fn journal(bytes: &[u8]) {
    if let Ok(Some(journal)) = Journal::parse(bytes) {
        let again = Journal::parse(journal.line().as_bytes());
        assert_eq!(again.expect("it was understood"), Some(journal));
    }
}

fn sidecar(bytes: &[u8]) {
    if let Some(content) = sidecar::parse(bytes) {
        let again = sidecar::parse(sidecar::line(&content).as_bytes());
        assert_eq!(again, Some(content));
    }
}
