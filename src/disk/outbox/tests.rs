use super::*;
use crate::model::{Entry, Stamp};
use std::{collections::BTreeSet, fs};
use tempfile::TempDir;

fn what(n: usize) -> Invalidation {
    let entry = |name: &str| Entry {
        value: format!("{{run-{n}}}:{name}\n\"é").into(),
        leases: format!("{{run-{n}}}:cachetx:leases").into(),
    };
    Invalidation {
        entries: vec![entry("wepp"), entry("ash")],
        raises: vec![Raise {
            value: "v".into(),
            stamp: Stamp {
                mtime_ns: -1,
                size: 2,
                inode: 3,
            },
            ttl_ms: 4,
        }],
        release: n.is_multiple_of(2).then(|| Lock {
            key: format!("lock-{n}"),
            value: r#"{"token":"ab"}"#.to_owned(),
        }),
        params: Params::new()
            .with("run_id", format!("run-{n}"))
            .with("scenario", ["a", "b"]),
        at_ns: 1_700_000_000_000_000_000,
    }
}

fn outbox(dir: &TempDir) -> Outbox {
    let outbox = Outbox::default();
    outbox.add_folder(dir.path());
    outbox
}

fn defer(outbox: &Outbox, n: usize) -> Ticket {
    match outbox.perform(&OutboxAction::Defer(what(n))) {
        Ok(OutboxGot::Kept(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

fn intend(outbox: &Outbox, n: usize) -> Ticket {
    match outbox.perform(&OutboxAction::Intend(what(n))) {
        Ok(OutboxGot::Kept(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

fn next(outbox: &Outbox) -> Vec<(Ticket, Work)> {
    match outbox.perform(&OutboxAction::Next(None)) {
        Ok(OutboxGot::Next(records)) => records,
        other => panic!("{other:?}"),
    }
}

fn take_over(outbox: &Outbox) -> usize {
    match outbox.perform(&OutboxAction::TakeOver) {
        Ok(OutboxGot::TakenOver(files)) => files,
        other => panic!("{other:?}"),
    }
}

fn works(outbox: &Outbox) -> Vec<Work> {
    next(outbox).into_iter().map(|(_, work)| work).collect()
}

fn retire_all(outbox: &Outbox) {
    for (ticket, _) in next(outbox) {
        outbox
            .perform(&OutboxAction::Retire(ticket))
            .expect("retired");
    }
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The bytes of a dead process's file with `records` records.
fn dead(records: usize) -> Vec<u8> {
    let dir = TempDir::new().expect("a folder");
    let outbox = outbox(&dir);
    for n in 0..records {
        defer(&outbox, n);
    }
    fs::read(dir.path().join(&names(&dir)[0])).expect("its file")
}

const NAME: &str = "00000000000000aa.outbox";

#[test]
fn what_a_dead_process_left_is_taken_over_whole_and_then_removed() {
    let dir = TempDir::new().expect("a folder");
    let first = outbox(&dir);
    let retired = defer(&first, 0);
    defer(&first, 1);
    intend(&first, 2);
    first
        .perform(&OutboxAction::Retire(retired))
        .expect("retired");

    let second = outbox(&dir);
    assert_eq!(take_over(&second), 0, "its owner lives");
    drop(first);
    assert_eq!(take_over(&second), 1);
    assert_eq!(works(&second), [1, 2].map(|n| Work::Keys(what(n))));
    assert_eq!(second.ripe(), 2);
    let third = outbox(&dir);
    assert_eq!(take_over(&third), 0, "the second has its lock");
    second.perform(&OutboxAction::GiveBack).expect("given back");
    assert_eq!(take_over(&third), 1);
    retire_all(&third);
    assert_eq!(names(&dir), Vec::<String>::new());
    assert_eq!(take_over(&second), 0);
}

#[test]
fn an_intent_waits_for_its_save() {
    let dir = TempDir::new().expect("a folder");
    let outbox = outbox(&dir);
    let (done, unknown) = (intend(&outbox, 1), intend(&outbox, 2));
    assert_eq!((works(&outbox), outbox.ripe()), (vec![], 0));
    outbox
        .perform(&OutboxAction::Retire(done))
        .expect("retired");
    outbox
        .perform(&OutboxAction::Ripen(unknown))
        .expect("ripened");
    assert_eq!(works(&outbox), [Work::Keys(what(2))]);
    retire_all(&outbox);
    drop(outbox);
    assert_eq!(names(&dir), Vec::<String>::new(), "nothing is left to do");
}

#[test]
fn a_closed_outbox_keeps_its_intents_until_their_saves_are_over() {
    let dir = TempDir::new().unwrap();
    let (closed, other) = (outbox(&dir), outbox(&dir));
    let done = intend(&closed, 1);
    let put_off = intend(&closed, 2);
    defer(&closed, 3);
    closed.close();
    assert_eq!(take_over(&other), 0, "saves are at work");
    let end = |action| closed.perform(&action).expect("noted");
    end(OutboxAction::Retire(done));
    assert_eq!(take_over(&other), 0, "one is at work");
    end(OutboxAction::Ripen(put_off));
    assert_eq!((take_over(&other), closed.ripe()), (1, 0));
    assert_eq!(works(&other), [2, 3].map(|n| Work::Keys(what(n))));
    retire_all(&other);

    let later = intend(&closed, 4);
    assert_eq!(take_over(&other), 0, "another one is at work");
    end(OutboxAction::Retire(later));
    assert_eq!(names(&dir), Vec::<String>::new());
    defer(&closed, 5);
    assert_eq!((take_over(&other), closed.ripe()), (1, 0));
}

#[test]
fn a_torn_tail_at_any_byte_loses_no_record_before_it() {
    let whole = dead(3);
    let ends: Vec<usize> = (0..whole.len()).filter(|n| whole[*n] == b'\n').collect();
    assert_eq!(ends.len(), 3);
    for cut in 0..=whole.len() {
        let dir = TempDir::new().expect("a folder");
        fs::write(dir.path().join(NAME), &whole[..cut]).expect("written");
        let outbox = outbox(&dir);
        let records = ends.iter().filter(|end| **end < cut).count();
        assert_eq!(take_over(&outbox), usize::from(records > 0), "cut at {cut}");
        let expected: Vec<Work> = (0..records).map(|n| Work::Keys(what(n))).collect();
        assert_eq!(works(&outbox), expected, "cut at {cut}");
        assert_eq!(outbox.set_aside(), 0, "cut at {cut}");
        retire_all(&outbox);
        assert_eq!(names(&dir), Vec::<String>::new(), "cut at {cut}");
    }
}

#[test]
fn a_damaged_byte_sets_its_line_aside_and_no_other() {
    let whole = dead(3);
    let ends: Vec<usize> = (0..whole.len()).filter(|n| whole[*n] == b'\n').collect();
    for at in ends[0] + 1..ends[1] {
        let dir = TempDir::new().expect("a folder");
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(dir.path().join(NAME), &bytes).expect("written");
        let outbox = outbox(&dir);
        assert_eq!(take_over(&outbox), 1);
        assert_eq!(
            works(&outbox),
            [0, 2].map(|n| Work::Keys(what(n))),
            "byte {at}"
        );
        retire_all(&outbox);
        assert_eq!(names(&dir), ["00000000000000aa.poison"]);
        let aside = fs::read(dir.path().join("00000000000000aa.poison")).expect("set aside");
        assert_eq!(aside, bytes[ends[0] + 1..=ends[1]], "byte {at}");
        assert!(outbox.set_aside() > 0);
    }
}

#[test]
fn a_line_of_another_version_is_set_aside() {
    let dir = TempDir::new().expect("a folder");
    let text = String::from_utf8(dead(1)).expect("text");
    let later = text.replacen('1', "2", 1);
    fs::write(dir.path().join(NAME), later.clone() + &text).expect("written");
    let outbox = outbox(&dir);
    take_over(&outbox);
    assert_eq!((works(&outbox).len(), outbox.set_aside()), (1, 1));
    let listed = list(dir.path()).expect("listed");
    let aside = listed
        .iter()
        .find(|file| file.path.extension().unwrap() == "poison");
    assert_eq!(aside.expect("listed too").damaged, 1);
}

#[test]
fn past_its_bounds_it_keeps_the_params_and_then_says_that_it_is_full() {
    let dir = TempDir::new().expect("a folder");
    let outbox = Outbox::with_bounds(Bounds {
        records: 4,
        bytes: 1_000_000,
    });
    outbox.add_folder(dir.path());
    let intent = intend(&outbox, 9);
    for n in [0, 1, 0, 1, 2] {
        defer(&outbox, n);
    }
    let everything = |n: usize| Work::Everything {
        params: what(n).params,
        at_ns: what(n).at_ns,
    };
    let kept = works(&outbox);
    assert_eq!(kept.len(), 3);
    assert!(kept.contains(&everything(0)), "{kept:?}");
    assert!(kept.contains(&everything(1)), "{kept:?}");
    assert!(kept.contains(&Work::Keys(what(2))), "{kept:?}");
    let full = outbox.perform(&OutboxAction::Defer(what(3)));
    assert!(full.is_err_and(|e| e.is_outbox()), "there is no room");
    // The intent's own save still finds it.
    outbox
        .perform(&OutboxAction::Retire(intent))
        .expect("retired");
    defer(&outbox, 3);

    // A dead process's file has the same record.
    let kept: BTreeSet<String> = works(&outbox).iter().map(|w| format!("{w:?}")).collect();
    drop(outbox);
    let other = self::outbox(&dir);
    take_over(&other);
    let found: BTreeSet<String> = works(&other).iter().map(|w| format!("{w:?}")).collect();
    assert_eq!(found, kept);
}

#[test]
fn a_record_over_the_bound_becomes_one_of_its_params() {
    let dir = TempDir::new().expect("a folder");
    let outbox = Outbox::with_bounds(Bounds {
        records: 10,
        bytes: 250,
    });
    outbox.add_folder(dir.path());
    defer(&outbox, 0);
    assert!(matches!(works(&outbox)[..], [Work::Everything { .. }]));
}

#[test]
fn a_file_of_records_that_are_done_is_written_anew() {
    let dir = TempDir::new().expect("a folder");
    let outbox = outbox(&dir);
    let kept = defer(&outbox, 0);
    let first = names(&dir);
    while names(&dir) == first {
        let ticket = intend(&outbox, 1);
        outbox
            .perform(&OutboxAction::Retire(ticket))
            .expect("retired");
        let bytes = fs::metadata(dir.path().join(&names(&dir)[0]))
            .expect("there")
            .len();
        assert!(bytes <= 2 * limits::OUTBOX_IDLE_BYTES, "{bytes}");
    }
    assert_eq!(names(&dir).len(), 1, "the old one is gone");
    assert_eq!(next(&outbox), [(kept, Work::Keys(what(0)))]);
}

#[test]
fn without_a_folder_a_record_is_kept_in_memory_and_an_intent_is_not() {
    let outbox = Outbox::default();
    let refused = outbox.perform(&OutboxAction::Intend(what(1)));
    assert!(refused.is_err_and(|e| e.is_outbox()));
    let kept = outbox.perform(&OutboxAction::Defer(what(2)));
    assert!(kept.is_err_and(|e| e.is_outbox()));
    assert_eq!(works(&outbox), [Work::Keys(what(2))]);
    // The next record that can be written is written together with it.
    let dir = TempDir::new().expect("a folder");
    outbox.add_folder(dir.path());
    defer(&outbox, 3);
    assert_eq!(list(dir.path()).expect("listed")[0].pending.len(), 2);
}

#[test]
fn files_on_their_way_are_swept_and_foreign_ones_left() {
    let dir = TempDir::new().expect("a folder");
    for name in ["00000000000000bb.new", "note.txt", "x.outbox"] {
        fs::write(dir.path().join(name), "no record").expect("written");
    }
    assert_eq!(take_over(&outbox(&dir)), 0);
    assert_eq!(names(&dir), ["note.txt", "x.outbox"]);
}

#[test]
fn a_folder_that_is_a_link_is_refused() {
    let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let link = dir.path().join("outbox");
    std::os::unix::fs::symlink(elsewhere.path(), &link).expect("a link");
    let outbox = Outbox::default();
    outbox.add_folder(&link);
    let refused = outbox.perform(&OutboxAction::Defer(what(1)));
    assert!(refused.is_err_and(|e| e.is_io()));
    assert_eq!(names(&elsewhere), Vec::<String>::new());
}

#[test]
fn what_cannot_be_written_is_kept_in_memory_once_however_often_it_is_tried() {
    let outbox = Outbox::default();
    for n in [1, 2, 1, 1, 2] {
        outbox
            .perform(&OutboxAction::Defer(what(n)))
            .expect_err("there is no folder");
    }
    assert_eq!(works(&outbox), [1, 2].map(|n| Work::Keys(what(n))));
}

#[test]
fn a_file_names_its_server_and_earlier_versions_read_it() {
    let dir = TempDir::new().unwrap();
    let named = |server: &str, takes_any| {
        let outbox = Outbox::of_server(Some(server.to_owned()), takes_any);
        outbox.add_folder(dir.path());
        outbox
    };
    let first = named("a:1/0", false);
    defer(&first, 1);
    drop(first);
    let file = list(dir.path()).unwrap().swap_remove(0);
    assert_eq!(
        (file.server.as_deref(), file.pending.len()),
        (Some("a:1/0"), 1)
    );
    // The line that says so is one that retires a record which there is not.
    let text = fs::read_to_string(&file.path).unwrap();
    let line = text.lines().next().unwrap();
    assert!(line.contains(r#"{"kind":"retired","id":18446744073709551615,"server":"a:1/0"}"#));

    let stranger = named("b:1/0", false);
    assert_eq!((take_over(&stranger), take_over(&stranger)), (0, 0));
    let operator = named("b:1/0", true);
    assert_eq!(take_over(&operator), 1);
    drop(operator);
    // Of whom nothing is known: in memory, or an earlier version.
    let unknown = outbox(&dir);
    assert_eq!(take_over(&unknown), 1);
    drop(unknown);
    let heir = named("a:1/0", false);
    assert_eq!(take_over(&heir), 1);
}
