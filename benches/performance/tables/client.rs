//! What a save sends and what it costs the client, by exact counts.

use crate::{
    Bench, COUNTED,
    bed::{
        callgrind,
        counts::{self, Item, SIZES},
        way::Way,
    },
    report::Table,
    server,
};
use cachetx::{BoxError, testing::Server};

pub fn table(bench: &mut Bench) -> Result<(), BoxError> {
    let server = bench.start(server()?)?;
    bench.report.section(
        "Counted: on the wire",
        "One save, over TCP, counted by a proxy; commands as MONITOR shows them. `benches/counts.txt` has them for every server, and \
         `make bench-check`, a part of `make test`, fails where they change.",
    );
    on_the_wire(bench, &server)?;
    let instructions = instructions(bench)?;
    let version = callgrind::version().filter(|_| instructions.is_some());
    let counter = version.map_or_else(
        || "Instructions are not counted: valgrind is not there.".to_owned(),
        |version| {
            format!("Instructions are the thread's own in user space, by callgrind ({version}).")
        },
    );
    bench.report.section(
        "Counted: in the client",
        &format!("Allocations of the calling thread, in the release profile. {counter}"),
    );
    let mut head = vec!["work", "allocations"];
    head.extend(instructions.is_some().then_some("instructions"));
    let mut table = Table::new(&head);
    for (n, item) in Item::all().into_iter().enumerate() {
        let mut cells = vec![item.to_string(), item.allocations(&server)?.to_string()];
        cells.extend(instructions.iter().map(|counts| counts[n].to_string()));
        table.row(cells);
    }
    bench.report.table(&table);
    Ok(())
}

fn on_the_wire(bench: &mut Bench, server: &Server) -> Result<(), BoxError> {
    let mut table = Table::new(&[
        "way",
        "value",
        "dependents",
        "round trips",
        "bytes sent",
        "bytes received",
        "commands sent",
        "commands in scripts",
    ]);
    for way in Way::RUST {
        for size in SIZES {
            let wire = counts::wire(server, way, size)?;
            table.row([
                way.name().to_owned(),
                format!("{} KiB", size.bytes >> 10),
                size.dependents.to_string(),
                wire.traffic.round_trips.to_string(),
                wire.traffic.bytes_up.to_string(),
                wire.traffic.bytes_down.to_string(),
                wire.commands.sent().to_string(),
                wire.commands.scripted.total().to_string(),
            ]);
        }
    }
    bench.report.table(&table);
    Ok(())
}

/// `None` if they cannot be counted.
fn instructions(bench: &Bench) -> Result<Option<Vec<u64>>, BoxError> {
    if !bench.is_long() || callgrind::version().is_none() {
        return Ok(None);
    }
    callgrind::run(&[], COUNTED, Item::all().len()).map(Some)
}
