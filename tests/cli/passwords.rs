//! A password is shown nowhere, whatever goes wrong.

use crate::rows::{ROWS, Row, Scene};
use cachetx::{
    Cache, Rules,
    testing::{ServerBinary, ServerOptions},
};
use std::{
    fs,
    net::TcpListener,
    process::{Command, Output, Stdio},
    sync::Mutex,
};

const SECRET: &str = "s3cr3tOfNobody";

fn scene() -> Scene {
    let binary = ServerBinary::any().expect("no server found: run `make servers`");
    let mut scene = Scene::start();
    let options = ServerOptions::new().password(SECRET);
    scene.server = options.start(binary).expect("it starts");
    scene
}

fn asking() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| row.asks_a_server())
}

/// Runs it with all logging that somebody may switch on, and checks what it says.
fn run(mut command: Command) -> Output {
    let output = command.env("RUST_LOG", "trace").output().expect("it runs");
    for part in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(part);
        assert!(!text.contains(SECRET), "{command:?}: {text}");
    }
    output
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn none_is_needed_on_the_command_line_and_none_is_shown() {
    let scene = scene();
    let port = scene.server.port();
    let bare = format!("redis://127.0.0.1:{port}/");
    let within = scene.server.url();
    assert!(within.contains(SECRET));
    fs::write(scene.folder.path().join("password"), format!("{SECRET}\n")).expect("written");
    let wrong = format!("redis://:{SECRET}x@127.0.0.1:{port}/");
    let file = &["--password-file", "password"][..];
    let no_file = &["--password-file", "none"][..];
    let user_and = format!("redis://alice:{SECRET}@127.0.0.1:{port}/");
    for row in asking() {
        for (url, password, more, expected) in [
            (&within[..], None, &[][..], 0),
            (&bare, Some(SECRET), &[], 0),
            (&bare, None, file, 0),
            // The file counts where both are given.
            (&bare, Some("another"), file, 0),
            (&bare, None, no_file, 2),
            (&bare, None, &[], 1),
            (&bare, Some("s3cr3tOfNobodyx"), &[], 1),
            (&wrong, None, &[], 1),
            (&user_and, None, &[], 1),
            (&within, Some(SECRET), &[], 2),
        ] {
            for format in ["text", "json"] {
                let mut command = scene.command(row.command, row.fine);
                command.args(more).args(["--format", format]);
                command.env("CACHETX_URL", url);
                if let Some(password) = password {
                    command.env("CACHETX_PASSWORD", password);
                }
                let output = run(command);
                let what = (row.command, url, password, more);
                assert_eq!(code(&output), Some(expected), "{what:?}: {output:?}");
            }
        }
    }
}

#[test]
fn none_is_shown_where_the_server_is_away_or_the_url_is_none() {
    let scene = scene();
    for row in asking() {
        for (url, expected) in [
            (format!("redis://u:{SECRET}@127.0.0.1:1/"), 1),
            (format!("redis+unix:///no.sock?user=u&pass={SECRET}"), 1),
            (format!("redis://u:{SECRET}@[h/"), 2),
            (format!("redis://u:{SECRET}@h:port/"), 2),
            (format!("redis://u:{SECRET}?@h/"), 2),
            (format!("redi://u:{SECRET}@h/"), 2),
            (format!("u:{SECRET}@h"), 2),
            (format!("redis://u:a {SECRET}@h/"), 2),
        ] {
            // These wait until the servers might have settled; how they are reached is the same for all commands.
            let topologies = match row.command {
                "boot" => &["", " --cluster", " --sentinel main"][..],
                _ => &[""],
            };
            for topology in topologies {
                let line = format!("{}{topology}", row.fine);
                let mut by_environment = scene.command(row.command, &line);
                by_environment.env("CACHETX_URL", &url);
                let mut by_argument = scene.command(row.command, &line);
                by_argument.args(["--url", &url, "--format", "json"]);
                for command in [by_environment, by_argument] {
                    let output = run(command);
                    let what = (row.command, topology, &url);
                    // A socket is wrong for them, and sentinels of which none answers are away.
                    let code = code(&output).expect("it ended by itself");
                    let other = !topology.is_empty() && (code == 1 || code == 2);
                    assert!(code == expected || other, "{what:?}: {output:?}");
                }
            }
        }
    }
}

/// Everything that the library logs in this process.
static LOGGED: Mutex<String> = Mutex::new(String::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut logged = LOGGED.lock().expect("not poisoned");
        logged.push_str(&format!("{} {}\n", record.target(), record.args()));
    }

    fn flush(&self) {}
}

#[test]
fn none_is_logged_and_none_is_in_an_error() {
    log::set_logger(&Logger).expect("the only one");
    log::set_max_level(log::LevelFilter::Trace);
    let scene = scene();
    let port = scene.server.port();
    let rules = Rules::from_path(scene.folder.path().join("shop.json")).expect("it compiles");
    for url in [
        scene.server.url(),
        format!("redis://:{SECRET}x@127.0.0.1:{port}/"),
        format!("redis://u:{SECRET}@127.0.0.1:1/"),
        format!("redis://u:{SECRET}@[h/"),
        format!("redis+unix:///no.sock?pass={SECRET}"),
    ] {
        for builder in [
            Cache::builder(rules.clone()).url(&url),
            Cache::builder(rules.clone()).cluster([&url]),
            Cache::builder(rules.clone()).sentinel("main", [&url]),
        ] {
            let shown = match builder.open() {
                Ok(cache) => format!("{cache:?} {:?}", cache.report()),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }
    let logged = LOGGED.lock().expect("not poisoned");
    assert!(logged.contains("engine script on"), "nothing was logged");
    assert!(!logged.contains(SECRET), "{logged}");
}

#[test]
fn help_names_the_variable_and_not_what_is_in_it() {
    let scene = scene();
    for row in &ROWS {
        for part in ["--help", "-h", "--no-such-option"] {
            let mut command = scene.command(row.command, part);
            command.env("CACHETX_URL", scene.server.url());
            command.env("CACHETX_PASSWORD", SECRET);
            run(command);
        }
    }
    for other in [
        "man invalidate",
        "man boot",
        "completions bash",
        "--version",
    ] {
        let mut command = scene.command("", other);
        command.env("CACHETX_URL", scene.server.url());
        assert_eq!(code(&run(command)), Some(0), "{other}");
    }
}

/// A URL where something else belongs is quoted by the message about that.
#[test]
fn a_url_in_a_wrong_place_is_shown_without_its_password() {
    let scene = scene();
    for url in [
        format!("redis://u:{SECRET}@h/"),
        format!("redis://u:{SECRET} {SECRET}@h/"),
        format!("redis+unix:///s.sock?pass={SECRET}"),
    ] {
        for row in &ROWS {
            for before in [
                &[][..],
                &["--rules"],
                &["--format"],
                &["--url"],
                &["--task"],
            ] {
                let mut command = scene.command(row.command, "");
                command.args(before).arg(&url);
                let output = run(command);
                assert_ne!(code(&output), Some(0), "{}: {output:?}", row.command);
            }
        }
    }
}

#[test]
fn what_comes_by_the_environment_is_in_no_command_line() {
    let scene = scene();
    // Takes connections and says nothing, so that the command waits.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let mut command = scene.command("boot", "");
    let child = command
        .env(
            "CACHETX_URL",
            format!("redis://u:{SECRET}@127.0.0.1:{port}/"),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let connection = listener.accept().expect("it connects");
    let line = fs::read(format!("/proc/{}/cmdline", child.id()));
    drop(connection);
    drop(listener);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && !said.contains(SECRET),
        "{said}"
    );
    let Ok(line) = line else {
        eprintln!("SKIPPED what_comes_by_the_environment_is_in_no_command_line: no /proc");
        return;
    };
    let line = String::from_utf8_lossy(&line);
    assert!(line.contains("boot") && !line.contains(SECRET), "{line}");
}
