//! What a server's error replies mean: one table, and how to unwrap their codes.

use crate::model::{Effect, Error, error::Kind};

/// What an error reply says about the server or about the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The server is there but cannot work now, whatever the request: unavailable.
    Away,
    /// It takes no writes now, not even deletions; reads still work. Unavailable: a lock fails over
    /// to the OS lock, a save's commit is deferred.
    NoWrites,
    /// Its memory is full: unavailable for what sets, so a save deletes instead.
    Full,
    /// The user may not call this, or not with these keys: what the boot found may be out of date.
    Denied,
    /// One of the library's keys holds something else.
    WrongType,
    /// The server closes the connection with it and reads nothing more.
    Ended,
    /// Anything else: about the request.
    Request,
}

/// By the code of the refusal itself, unwrapped.
const MEANINGS: [(&str, Meaning); 13] = [
    ("LOADING", Meaning::Away),
    ("MASTERDOWN", Meaning::Away),
    ("READONLY", Meaning::Away),
    ("CLUSTERDOWN", Meaning::Away),
    ("TRYAGAIN", Meaning::Away),
    // A slow script. It must not be killed if it has written.
    ("BUSY", Meaning::Away),
    ("UNKILLABLE", Meaning::Away),
    ("MISCONF", Meaning::NoWrites),
    ("NOREPLICAS", Meaning::NoWrites),
    ("OOM", Meaning::Full),
    ("NOPERM", Meaning::Denied),
    ("WRONGTYPE", Meaning::WrongType),
    // Credentials are the caller's: waiting does not resolve NOAUTH and WRONGPASS.
    ("NOAUTH", Meaning::Request),
];

/// Refusals without a code of their own, by their first words.
const TEXTS: [(&str, Meaning); 3] = [
    ("max number of clients", Meaning::Away),
    ("Protocol error", Meaning::Ended),
    ("unknown command", Meaning::Denied),
];

/// The code and details of a refusal, without the wrapping of scripts and transactions.
pub(super) fn unwrapped<'a>(code: &'a str, details: &'a str) -> (&'a str, &'a str) {
    let inner = match code {
        // Redis 6.2: `ERR Error running script (call to f_…): @user_script:12: -READONLY …`.
        "ERR" if details.contains("Error running script") => {
            let place = details.rfind("@user_script");
            place.map(|at| {
                let line = details[at..].trim_start_matches("@user_script");
                line.trim_start_matches(|c: char| c.is_ascii_digit() || ": ".contains(c))
            })
        }
        "EXECABORT" => details.split_once("because of: ").map(|(_, cause)| cause),
        _ => None,
    };
    let Some(inner) = inner else {
        return (code, details);
    };
    let inner = inner.trim_start_matches('-');
    inner.split_once(' ').unwrap_or((inner, ""))
}

pub(super) fn meaning(code: &str, details: &str) -> Meaning {
    let (code, details) = unwrapped(code, details);
    let by_text = || {
        let found = TEXTS.iter().find(|(text, _)| details.starts_with(text));
        found.filter(|_| code == "ERR")
    };
    let by_code = MEANINGS.iter().find(|(known, _)| *known == code);
    by_code
        .or_else(by_text)
        .map_or(Meaning::Request, |(_, meaning)| *meaning)
}

/// Whether it is about a command in a program that may have written before. A full server and a
/// replica refuse the first write of a program. Keys of another type are found by its reads, which
/// come before its writes. A server that takes no writes for a while refuses the whole program;
/// only Redis 6.2 refuses the first write instead.
pub(super) fn is_midway(code: &str, details: &str) -> bool {
    let is_within = details.contains("@user_script") || details.contains("@user_function");
    let may_have_written = || match meaning(code, details) {
        Meaning::NoWrites => !details.contains("Error running script"),
        Meaning::Away | Meaning::Full | Meaning::WrongType => false,
        Meaning::Denied | Meaning::Ended | Meaning::Request => true,
    };
    is_within && may_have_written()
}

/// Whether the server has closed the connection with it: later requests were not read.
pub(super) fn ends_the_connection(code: &str, details: &str) -> bool {
    let by_text = |text| code == "ERR" && details.starts_with(text);
    by_text(TEXTS[0].0) || by_text(TEXTS[1].0)
}

/// A server's error reply as this crate's error.
pub(super) fn refused(code: &str, details: Option<&str>) -> Error {
    refused_at("", code, details)
}

/// The same; `server` is put before the message.
pub(super) fn refused_at(server: &str, code: &str, details: Option<&str>) -> Error {
    let message = format!("{server}{}", text(code, details));
    match meaning(code, details.unwrap_or_default()) {
        Meaning::Away => unavailable(message, Effect::None),
        Meaning::NoWrites => Error::new(Kind::NoWrites {
            message,
            frees: false,
        }),
        Meaning::Full => Error::new(Kind::NoWrites {
            message,
            frees: true,
        }),
        Meaning::Denied | Meaning::WrongType | Meaning::Ended | Meaning::Request => {
            Error::new(Kind::Server { message })
        }
    }
}

/// An error reply as the server wrote it.
pub(super) fn text(code: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{code} {detail}"),
        None => code.to_owned(),
    }
}

pub(super) fn unavailable(message: String, effect: Effect) -> Error {
    Error::with_effect(Kind::Unavailable { message }, effect)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each code bare, and as each server wraps it in scripts, functions and transactions.
    fn wrappings(code: &str, details: &str) -> Vec<String> {
        vec![
            format!("{code} {details}"),
            format!("{code} {details} script: f_1, on @user_script:1."),
            format!("{code} {details} script: cachetx_commit, on @user_function:12."),
            format!("ERR Error running script (call to f_1): @user_script:12: -{code} {details}"),
            format!(
                "ERR Error running script (call to f_1): @user_script:1: @user_script: 12: -{code} {details}"
            ),
            format!("ERR Error running script (call to f_1): @user_script:12: {code} {details}"),
            format!("EXECABORT Transaction discarded because of: {code} {details}"),
        ]
    }

    #[test]
    fn what_a_command_within_a_program_is_refused_for_may_come_midway() {
        for (refusal, expected) in [
            (
                "NOPERM User bob has no permissions to run the 'set' command",
                [true; 5],
            ),
            (
                "ERR The user executing the script can't run this command",
                [true; 5],
            ),
            (
                "ERR user_script:7: attempt to compare nil with number",
                [true; 5],
            ),
            (
                "MISCONF Errors writing to the AOF file",
                [true, true, false, false, false],
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                [false; 5],
            ),
            (
                "READONLY You can't write against a read only replica.",
                [false; 5],
            ),
            ("WRONGTYPE Operation against a key", [false; 5]),
        ] {
            let (code, details) = refusal.split_once(' ').unwrap();
            let midway: Vec<bool> = wrappings(code, details)
                .iter()
                .map(|line| line.split_once(' ').unwrap())
                .map(|(code, details)| is_midway(code, details))
                .collect();
            // The first one is bare; the last one is from a transaction.
            let last = midway.len() - 1;
            assert!(!midway[0] && !midway[last], "{refusal}");
            assert_eq!(midway[1..last], expected, "{refusal}");
        }
    }

    fn meaning_of(line: &str) -> Meaning {
        let (code, details) = line.split_once(' ').unwrap();
        meaning(code, details)
    }

    #[test]
    fn every_code_means_the_same_however_it_is_wrapped() {
        for (code, details, expected) in [
            (
                "LOADING",
                "Redis is loading the dataset in memory",
                Meaning::Away,
            ),
            (
                "MASTERDOWN",
                "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                Meaning::Away,
            ),
            (
                "READONLY",
                "You can't write against a read only replica.",
                Meaning::Away,
            ),
            ("CLUSTERDOWN", "The cluster is down", Meaning::Away),
            (
                "TRYAGAIN",
                "Multiple keys request during rehashing of slot",
                Meaning::Away,
            ),
            (
                "BUSY",
                "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
                Meaning::Away,
            ),
            (
                "UNKILLABLE",
                "Sorry the script already executed write commands",
                Meaning::Away,
            ),
            ("ERR", "max number of clients reached", Meaning::Away),
            (
                "ERR",
                "max number of clients + cluster connections reached",
                Meaning::Away,
            ),
            (
                "MISCONF",
                "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
                Meaning::NoWrites,
            ),
            (
                "NOREPLICAS",
                "Not enough good replicas to write.",
                Meaning::NoWrites,
            ),
            (
                "OOM",
                "command not allowed when used memory > 'maxmemory'.",
                Meaning::Full,
            ),
            (
                "NOPERM",
                "this user has no permissions to run the 'set' command",
                Meaning::Denied,
            ),
            (
                "ERR",
                "unknown command 'EVALSHA', with args beginning with:",
                Meaning::Denied,
            ),
            (
                "WRONGTYPE",
                "Operation against a key holding the wrong kind of value",
                Meaning::WrongType,
            ),
            ("NOAUTH", "Authentication required.", Meaning::Request),
            (
                "WRONGPASS",
                "invalid username-password pair or user is disabled.",
                Meaning::Request,
            ),
            (
                "NOSCRIPT",
                "No matching script. Please use EVAL.",
                Meaning::Request,
            ),
            (
                "CROSSSLOT",
                "Keys in request don't hash to the same slot",
                Meaning::Request,
            ),
            ("ERR", "syntax error", Meaning::Request),
            ("ERR", "Protocol error: invalid bulk length", Meaning::Ended),
        ] {
            for line in wrappings(code, details) {
                assert_eq!(meaning_of(&line), expected, "{line}");
            }
        }
    }

    #[test]
    fn a_code_that_is_only_quoted_means_nothing() {
        for line in [
            "ERR READONLY",
            "ERR Error running script (call to f_1): @user_script:3: OOMs are not what this is",
            "ERR wrong key 'MISCONF'",
            "EXECABORT Transaction discarded because of previous errors.",
            "CACHETX the stored fence is not a decimal number",
        ] {
            assert_eq!(meaning_of(line), Meaning::Request, "{line}");
        }
    }

    #[test]
    fn what_a_server_cannot_do_now_is_unavailable_and_what_deletes_may_be_tried_on_a_full_one() {
        let error = |code, details| refused(code, Some(details));
        let away = error("LOADING", "x");
        assert!(away.is_unavailable() && away.is_retryable());
        assert!(!away.takes_reads() && !away.takes_deletions());
        for code in ["MISCONF", "NOREPLICAS"] {
            let error = error(code, "x");
            assert!(error.is_unavailable() && error.is_retryable() && !error.is_server());
            assert!(error.takes_reads() && !error.takes_deletions());
        }
        let full = error("OOM", "x");
        assert!(full.is_unavailable() && full.takes_reads() && full.takes_deletions());
        let denied = error("NOPERM", "x");
        assert!(denied.is_server() && denied.takes_reads() && denied.takes_deletions());
        assert!(!denied.is_retryable());
        assert!(refused("ERR", Some("max number of clients reached")).is_unavailable());
    }
}
