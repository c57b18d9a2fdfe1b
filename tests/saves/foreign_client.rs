//! A client in another language, on the same keys: redis-py (`make test` installs it).

use crate::support::{self, Climate, World, key};
use std::{fs, path::Path, process::Command};

const SCRIPT: &str = r#"
import json, sys
import redis
url, own, path, *dependents = sys.argv[1:]
client = redis.Redis.from_url(url)
value = client.get(own)
with open(path, "rb") as file:
    assert value == file.read(), "GET of the own key returns the file's bytes"
assert json.loads(value)["years"] == 30
for key in dependents:
    assert client.get(key) is None, f"{key} is gone"
for key in (own, own + ":stamp"):
    assert 990 < client.ttl(key) <= 1000, f"{key} has the controller's TTL, not {client.ttl(key)}"
assert client.get(own + ":lock") is None, "the lock is free"
assert client.ttl(own + ":lock:fence") > 0, "the fence has a TTL"
print("redis-py", redis.__version__, "agrees")
"#;

#[test]
fn redis_py_sees_the_file_s_bytes_no_dependents_and_ttls() {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python");
    let python = |code: &str| {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &packages).arg("-c").arg(code);
        command
    };
    if !python("import redis")
        .output()
        .is_ok_and(|ran| ran.status.success())
    {
        support::skipped(
            "redis_py_sees_the_file_s_bytes_no_dependents_and_ttls",
            "no Python with redis-py (`make python`)",
        );
        return;
    }
    support::on_every_server(|world: &World| {
        let document = world.climate(&world.store());
        document.create(&Climate::of(1)).expect("created");
        world.warm();
        let mut held = document.lock().expect("locked");
        held.years = 30;
        held.dump_and_unlock_with_transaction(["build_climate"])
            .expect("saved");
        assert!(fs::exists(world.file()).expect("looked"));
        let ran = python(SCRIPT)
            .args([&world.server.url(), document.cache_key()])
            .arg(world.file())
            .args([key("wepp"), key("ash"), key("soils")])
            .output()
            .expect("Python runs");
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        eprint!("{}", String::from_utf8_lossy(&ran.stdout));
    });
}
