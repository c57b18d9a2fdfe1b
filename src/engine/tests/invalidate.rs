//! invalidate.

use super::*;

const LEASES: &str = "cachetx:leases:run";

#[test]
fn entries_and_leases_go_and_marks_stay() {
    on_every_server(|bed| {
        bed.cmd::<()>(&["MSET", "a", "1", "{tag}b", "2", "other", "3"]);
        bed.cmd::<()>(&["HSET", LEASES, "a", "l:t:9", "c", "w:t:9", "d", "w:*:9"]);
        bed.cmd::<()>(&["HSET", LEASES, "other", "l:t:9"]);
        bed.cmd::<()>(&["HSET", "{tag}:cachetx:leases", "{tag}b", "l:t:9"]);
        assert_eq!(bed.run(invalidate(&["a", "c", "{tag}b", "d"])), removed(2));
        assert_eq!(
            bed.dump().into_keys().collect::<Vec<_>>(),
            [LEASES, "other"]
        );
        let left: BTreeMap<String, String> = bed.cmd(&["HGETALL", LEASES]);
        assert_eq!(left.keys().collect::<Vec<_>>(), ["c", "d", "other"]);
        assert_eq!(bed.run(invalidate(&["a", "c"])), removed(0));
        assert_eq!(bed.run(invalidate(&[])), removed(0));
    });
}

#[test]
fn a_lock_is_released_where_it_holds_the_given_value() {
    on_every_server(|bed| {
        let mine = bed.hold();
        let with = |release: &Lock| Invalidate {
            release: Some(release.clone()),
            ..invalidate(&["a"])
        };
        assert_eq!(bed.run(with(&lock("l", "you"))), removed(0));
        assert!(bed.exists("l"));
        assert_eq!(bed.run(with(&mine)), removed(0));
        assert!(!bed.exists("l"));
        assert_eq!(bed.run(with(&mine)), removed(0));
    });
}

#[test]
fn any_number_of_entries_goes_in_chunks() {
    on_every_server(|bed| {
        for count in [999, 1_000, 1_001, 10_000] {
            let keys: Vec<String> = (0..count).map(|i| format!("entry{i}")).collect();
            for keys in keys.chunks(1_000) {
                let mut line = vec!["MSET"];
                keys.iter().for_each(|key| line.extend([key.as_str(), "x"]));
                bed.cmd::<()>(&line);
                line[0] = "HSET";
                line.insert(1, LEASES);
                line.iter_mut()
                    .filter(|w| **w == "x")
                    .for_each(|w| *w = "l:t:9");
                bed.cmd::<()>(&line);
            }
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            assert_eq!(bed.run(invalidate(&keys)), removed(count));
            assert_eq!(bed.cmd::<usize>(&["DBSIZE"]), 0);
        }
    });
}
