//! Each subcommand with command lines that end with 0, 1 and 2: what holds for all of them is tried on these.

use cachetx::{
    Cache, Params, Rules,
    testing::{Server, ServerBinary},
};
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

pub struct Row {
    pub command: &'static str,
    /// Ends with 0.
    pub fine: &'static str,
    /// Ends with 1.
    pub found: Found,
    /// Ends with 2.
    pub wrong: &'static str,
    /// Whether it takes `--format json`.
    pub json: bool,
}

pub enum Found {
    With(&'static str),
    /// The server is away. Only these commands ask one.
    Away,
    /// It prints what it is asked for, or was asked wrongly.
    Never,
}

use Found::{Away, Never, With};

const fn row(
    command: &'static str,
    fine: &'static str,
    found: Found,
    wrong: &'static str,
    json: bool,
) -> Row {
    Row {
        command,
        fine,
        found,
        wrong,
        json,
    }
}

const SALE: &str = "--rules shop.json --task sale --param shop_id=s --param sku=tea";
const LOCKS: &str = "main --root root --rules shop.json --run-param shop_id";
const NO_ROOT: &str = "main --root none --rules shop.json --run-param shop_id";

/// Command lines are split at white space. The server, where there is one, is in CACHETX_URL.
pub const ROWS: [Row; 20] = [
    row(
        "acl",
        "--rules shop.json",
        With("--rules broken.json"),
        "--rules none.json",
        true,
    ),
    row("boot", "--rules shop.json", Away, "--rules none.json", true),
    row("completions", "bash", Never, "cmd", false),
    row("demo", "", With("--run root/main"), "--run none", true),
    row(
        "doctor",
        "--root root --rules shop.json",
        Away,
        "--root none",
        true,
    ),
    row("functions dump", "", Never, "--format xml", true),
    row(
        "invalidate",
        SALE,
        Away,
        "--rules shop.json --task sail",
        true,
    ),
    row("locks clear", LOCKS, Away, NO_ROOT, true),
    row("locks list", LOCKS, Away, NO_ROOT, true),
    row("man", "rules diff", Never, "rules dif", false),
    row("outbox doctor", "empty", With("dead"), "none", true),
    row("outbox list", "empty", With("dead"), "none", true),
    row("outbox replay", "empty", Away, "none", true),
    row(
        "rules check",
        "shop.json",
        With("broken.json"),
        "none.json",
        true,
    ),
    row(
        "rules diff",
        "fewer.json shop.json",
        With("shop.json fewer.json"),
        "shop.json",
        true,
    ),
    row(
        "rules expand",
        "shop.json",
        With("broken.json"),
        "none.json",
        true,
    ),
    row(
        "rules explain",
        "shop.json --entry product",
        With("broken.json --task sale"),
        "shop.json",
        true,
    ),
    row(
        "rules graph",
        "shop.json --task sale",
        With("broken.json"),
        "shop.json --task sail",
        true,
    ),
    row(
        "rules needs",
        "shop.json",
        With("broken.json"),
        "none.json",
        true,
    ),
    row("rules schema", "", Never, "shop.json", true),
];

const SHOP: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "product": "shop:{{{shop_id}}}:product:{sku}",
    "price_list": "shop:{{{shop_id}}}:prices"
  },
  "depends_on": { "price_list": ["product"] },
  "rules": { "sale": { "invalidates_cache": ["product"] } }
}"#;

/// The files that the rows name, and a server.
pub struct Scene {
    pub folder: TempDir,
    pub server: Server,
}

/// Nobody listens there.
pub const AWAY: &str = "redis://127.0.0.1:1/";

impl Scene {
    pub fn start() -> Self {
        let binary = ServerBinary::any().expect("no server found: run `make servers`");
        let scene = Self {
            folder: TempDir::new().expect("a temporary folder"),
            server: Server::start(binary).expect("it starts"),
        };
        let path = scene.folder.path();
        let fewer = SHOP.replace(r#""price_list": ["product"]"#, "");
        for (name, text) in [
            ("shop.json", SHOP),
            ("fewer.json", &fewer),
            ("broken.json", "{}"),
        ] {
            std::fs::write(path.join(name), text).expect("it is written");
        }
        std::fs::create_dir_all(path.join("root/main")).expect("it is made");
        std::fs::create_dir(path.join("empty")).expect("it is made");
        leave_record(&path.join("dead"));
        scene
    }

    /// The command with these arguments, in the scene's folder, and with none of this process's settings.
    pub fn command(&self, command: &str, arguments: &str) -> Command {
        let mut process = Command::new(env!("CARGO_BIN_EXE_cachetx"));
        process
            .args(command.split_whitespace())
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path());
        for variable in [
            "CACHETX_URL",
            "CACHETX_USER",
            "CACHETX_PASSWORD",
            "NO_COLOR",
            "CLICOLOR_FORCE",
        ] {
            process.env_remove(variable);
        }
        process
    }

    /// As [`command`](Self::command), with the server at hand.
    pub fn run(&self, command: &str, arguments: &str) -> Output {
        let mut process = self.command(command, arguments);
        let output = process.env("CACHETX_URL", self.server.url()).output();
        output.expect("it runs")
    }
}

impl Row {
    pub fn asks_a_server(&self) -> bool {
        matches!(self.found, Away)
    }

    /// What ends with 0, and what ends with 1, each with the code.
    pub fn outcomes(&self, scene: &Scene) -> Vec<(Command, i32)> {
        let command = |arguments: &str, url: &str| {
            let mut command = scene.command(self.command, arguments);
            command.env("CACHETX_URL", url);
            command
        };
        let url = scene.server.url();
        let found = match self.found {
            With(arguments) => Some(command(arguments, &url)),
            Away => Some(command(self.fine, AWAY)),
            Never => None,
        };
        let fine = std::iter::once((command(self.fine, &url), 0));
        fine.chain(found.map(|command| (command, 1))).collect()
    }
}

/// A dead process's outbox with one record.
pub fn leave_record(folder: &Path) {
    let rules = Rules::from_json(SHOP).expect("it compiles");
    let cache = Cache::builder(rules).url(AWAY).outbox(folder);
    let cache = cache.open_lazy().expect("a cache");
    let params = Params::new().with("shop_id", "s").with("sku", "tea");
    let outcome = cache.invalidate(["sale"], &params).expect("recorded");
    assert!(!outcome.is_settled());
}

pub fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

pub fn as_json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

pub fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}
