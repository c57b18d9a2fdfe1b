//! Saves by Python programs. Each runs in its own process, which saves on request and times it.

use super::{
    scene::{RUN, Scene, TASK},
    subject::Subject,
};
use cachetx::BoxError;
use redis::Connection;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};
use tempfile::NamedTempFile;

const PROGRAM: &str = include_str!("saves.py");

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Script {
    RulesAtCall,
    Helpers,
    Cacheops,
}

impl Script {
    /// Its name in the program.
    fn name(self) -> &'static str {
        match self {
            Self::RulesAtCall => "rules_at_call",
            Self::Helpers => "helpers",
            Self::Cacheops => "cacheops",
        }
    }
}

pub struct Python {
    child: Child,
    /// Closed before waiting for the child, which ends it.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    script: Script,
    /// The version of the program and of what it uses.
    versions: String,
    _rules: NamedTempFile,
}

impl Python {
    pub fn start(script: Script, url: &str, scene: &Scene) -> Result<Self, BoxError> {
        let mut rules = NamedTempFile::new()?;
        rules.write_all(scene.rules_text.as_bytes())?;
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let folder = match script {
            Script::Cacheops => target.join("python-cacheops"),
            _ => target.join("python"),
        };
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", folder).args(["-c", PROGRAM]);
        command.args([script.name(), &url.replace("redis+unix:", "unix:")]);
        command
            .arg(rules.path())
            .args([RUN, TASK, &scene.controller]);
        command.arg(scene.size.bytes.to_string());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let to = child.stdin.take();
        let from = child.stdout.take().expect("it is piped");
        let mut python = Self {
            child,
            to,
            from: BufReader::new(from),
            script,
            versions: String::new(),
            _rules: rules,
        };
        python.versions = python.line()?;
        Ok(python)
    }

    fn ask(&mut self, order: &str) -> Result<String, BoxError> {
        let to = self.to.as_mut().expect("open until the drop");
        writeln!(to, "{order}")?;
        self.line()
    }

    fn line(&mut self) -> Result<String, BoxError> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Err(
                "its packages are not there (`make bench` fetches them), or it failed".into(),
            );
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Subject for Python {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        self.ask("save")?;
        step();
        Ok(())
    }

    fn warm(&mut self, plain: &mut Connection, scene: &Scene) -> Result<(), BoxError> {
        if self.script == Script::Cacheops {
            self.ask("warm")?;
        } else {
            scene.warm(plain)?;
        }
        Ok(())
    }

    fn versions(&self) -> Option<&str> {
        Some(&self.versions)
    }

    fn timed(&mut self) -> Result<Duration, BoxError> {
        Ok(Duration::from_nanos(self.ask("save")?.parse()?))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.child.wait();
    }
}
