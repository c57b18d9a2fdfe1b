//! What a document keeps on the server.

use crate::{
    Bench,
    bed::{
        scene::{Scene, Size, connect},
        way::Way,
    },
    report::Table,
    servers,
};
use cachetx::BoxError;

const SIZE: Size = Size::new(1, 0);

pub fn table(bench: &mut Bench) -> Result<(), BoxError> {
    bench.report.section(
        "Memory of an entry",
        "`MEMORY USAGE` of each key that is there after a save of 1 KiB without dependents.",
    );
    let mut table = Table::new(&["server", "way", "bytes", "keys, each with its bytes"]);
    for binary in servers() {
        for way in [Way::REFERENCE, Way::Library] {
            let server = bench.start(binary)?;
            let scene = Scene::new(SIZE)?;
            way.open(&server.unix_url(), &scene)?.save(&mut || {})?;
            let mut plain = connect(&server.unix_url())?;
            let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut plain)?;
            keys.sort();
            let mut total = 0;
            let mut each = Vec::new();
            for key in &keys {
                let mut usage = redis::cmd("MEMORY");
                let bytes: u64 = usage.arg("USAGE").arg(key).query(&mut plain)?;
                total += bytes;
                let name = key.strip_prefix(&scene.own).unwrap_or(key);
                let name = if name.is_empty() { "value" } else { name };
                each.push(format!("`{name}` {bytes}"));
            }
            table.row([
                binary.to_string(),
                way.name().to_owned(),
                total.to_string(),
                each.join(", "),
            ]);
        }
    }
    bench.report.table(&table);
    Ok(())
}
