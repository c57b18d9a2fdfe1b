//! Lock and commit by time: by value size, by dependents, by transport, and next to Python.

use crate::{
    Bench,
    bed::{
        scene::{Scene, Size, connect},
        subject::Subject,
        way::Way,
    },
    plot::{Line, Plot},
    report::Table,
    server, servers,
    turns::{self, Figures, Ratio},
};
use cachetx::{
    BoxError,
    testing::{Proxy, Server},
};
use std::time::Duration;

const BY_DEPENDENTS: [Size; 5] = [
    Size::new(1, 0),
    Size::new(1, 4),
    Size::new(1, 16),
    Size::new(1, 64),
    Size::new(1, 256),
];
const BY_BYTES: [Size; 4] = [
    Size::new(1, 4),
    Size::new(8, 4),
    Size::new(32, 4),
    Size::new(256, 4),
];
const BOTH: [Size; 2] = [Size::new(32, 16), Size::new(256, 16)];
const ROUNDS: usize = 300;
/// From this size on fewer rounds are enough, since a save takes longer.
const BIG: usize = 100 << 10;
const BIG_ROUNDS: usize = 100;

/// What was measured at one size on one server.
struct Cell {
    server: String,
    /// `1`, `2`, or a transport.
    place: String,
    size: Size,
    figures: Vec<Figures>,
}

impl Cell {
    /// The ratio of a way of [`Way::RUST`].
    fn ratio(&self, way: Way) -> Ratio {
        let n = Way::RUST.iter().position(|w| *w == way);
        self.figures[n.expect("one of them")].ratio
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.server.clone(),
            self.place.clone(),
            format!("{} KiB", self.size.bytes >> 10),
            self.size.dependents.to_string(),
        ];
        for (n, figures) in self.figures.iter().enumerate() {
            cells.push(format!("{:.0}", figures.median));
            if n > 0 {
                cells.push(figures.ratio.to_string());
            }
        }
        cells
    }
}

fn table(place: &str, ways: &[Way]) -> Table {
    let mut head = ["server", place, "value", "dependents"]
        .map(str::to_owned)
        .to_vec();
    for (n, way) in ways.iter().enumerate() {
        head.push(format!("{}, us", way.name()));
        if n > 0 {
            head.push("ratio".to_owned());
        }
    }
    Table::new(&head)
}

/// Measures the ways of this process at `url`, which leads to `server`.
fn measure(
    server: &Server,
    url: &str,
    place: &str,
    size: Size,
    rounds: usize,
) -> Result<Cell, BoxError> {
    let scene = Scene::new(size)?;
    let mut plain = connect(&server.unix_url())?;
    let opened = Way::RUST.iter().map(|way| way.open(url, &scene));
    let mut subjects = opened.collect::<Result<Vec<_>, _>>()?;
    Ok(Cell {
        server: server.binary().to_string(),
        place: place.to_owned(),
        size,
        figures: turns::saves(&mut plain, &scene, &mut subjects, rounds)?,
    })
}

/// Over a Unix socket, on one core and two.
pub fn sizes(bench: &mut Bench) -> Result<(), BoxError> {
    bench.report.section(
        "Lock and commit",
        "Over a Unix socket. The plots are of the newest server.",
    );
    let mut cells = Vec::new();
    for binary in servers() {
        let server = bench.start(binary)?;
        for cores in bench.cores.placements() {
            bench.cores.place(&server, cores)?;
            for size in BY_DEPENDENTS.iter().chain(&BY_BYTES[1..]).chain(&BOTH) {
                let rounds = if size.bytes < BIG { ROUNDS } else { BIG_ROUNDS };
                let rounds = bench.rounds(rounds);
                let url = server.unix_url();
                cells.push(measure(&server, &url, &cores.to_string(), *size, rounds)?);
            }
        }
    }
    headlines(bench, &cells);
    let mut table = table("cores", &Way::RUST);
    cells.iter().for_each(|cell| table.row(cell.cells()));
    let newest = server()?.to_string();
    cells.retain(|cell| cell.server == newest);
    bench.report.plot(lines(
        ("by-dependents", "dependents", "Ratio to by hand, 1 KiB"),
        &cells,
        BY_DEPENDENTS.map(|size| (size, size.dependents.to_string())),
    ));
    bench.report.plot(lines(
        (
            "by-bytes",
            "bytes of the value",
            "Ratio to by hand, 4 dependents",
        ),
        &cells,
        BY_BYTES.map(|size| (size, format!("{} KiB", size.bytes >> 10))),
    ));
    bench.report.table(&table);
    Ok(())
}

/// The smallest and the largest median over all servers.
fn headlines(bench: &mut Bench, cells: &[Cell]) {
    let groups: [(&str, &[Size]); 3] = [
        (
            "1 KiB, 4 and 16 dependents",
            &[Size::new(1, 4), Size::new(1, 16)],
        ),
        (
            "32 KiB, 4 and 16 dependents",
            &[Size::new(32, 4), Size::new(32, 16)],
        ),
        (
            "256 KiB, 4 and 16 dependents",
            &[Size::new(256, 4), Size::new(256, 16)],
        ),
    ];
    for way in Way::SAVES {
        for (name, sizes) in groups {
            for cores in ["1", "2"] {
                let chosen = cells
                    .iter()
                    .filter(|c| c.place == cores && sizes.contains(&c.size));
                if let Some(range) = range(chosen.map(|cell| cell.ratio(way).median())) {
                    let what = format!("{} against by hand, {name}, cores: {cores}", way.name());
                    bench.report.headline(what, range);
                }
            }
        }
    }
}

/// `1.12 to 1.24`.
pub fn range(medians: impl Iterator<Item = f64>) -> Option<String> {
    let (low, high) = medians.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), median| {
        (low.min(median), high.max(median))
    });
    (high > 0.0).then(|| format!("{low:.2} to {high:.2}"))
}

/// A line for each way and each place, over the sizes.
fn lines<const N: usize>(
    (file, x, title): (&'static str, &'static str, &str),
    cells: &[Cell],
    sizes: [(Size, String); N],
) -> Plot {
    let mut places: Vec<&str> = cells.iter().map(|cell| cell.place.as_str()).collect();
    places.dedup();
    let mut lines = Vec::new();
    for way in Way::RUST
        .into_iter()
        .filter(|way| ![Way::REFERENCE, Way::Ping].contains(way))
    {
        for place in &places {
            let of = |size: &Size| cells.iter().find(|c| c.size == *size && c.place == *place);
            let found = sizes.iter().filter_map(|(size, _)| of(size));
            lines.push(Line {
                name: format!("{}, cores: {place}", way.name()),
                values: found.map(|cell| cell.ratio(way).median()).collect(),
            });
        }
    }
    Plot {
        file,
        title: format!("{title}, {}", cells[0].server),
        x,
        y: "ratio",
        places: sizes.map(|(_, name)| name).to_vec(),
        lines,
    }
}

const NETWORK_SIZES: [Size; 2] = [Size::new(1, 4), Size::new(32, 16)];
/// What a proxy adds to each round trip, by a sleep before it forwards the reply.
const DELAYS: [(&str, Duration, usize); 2] = [
    ("TCP + 0.2 ms", Duration::from_micros(200), 120),
    ("TCP + 1 ms", Duration::from_millis(1), 50),
];

/// TCP, and delayed TCP, on two cores if there are two.
pub fn network(bench: &mut Bench) -> Result<(), BoxError> {
    bench.report.section(
        "Over a network",
        "Two cores where there are two. *TCP + proxy* goes through the proxy, which runs on any core, without a delay; the rows below \
         it sleep there so long before each reply is passed on: what the sleep and the two hops really take is the column of `PING`.",
    );
    let mut cells = Vec::new();
    for binary in servers() {
        let server = bench.start(binary)?;
        // Its threads start on the cores that this process may use now: on all.
        let proxy = Proxy::start(server.port())?;
        let cores = bench.cores.placements().max().unwrap_or(1);
        for size in NETWORK_SIZES {
            let mut row = |place: &str, url: &str, rounds| -> Result<(), BoxError> {
                bench.cores.place(&server, cores)?;
                cells.push(measure(&server, url, place, size, bench.rounds(rounds))?);
                Ok(())
            };
            row("TCP", &server.url(), ROUNDS)?;
            proxy.delay_replies(Duration::ZERO);
            row("TCP + proxy", &proxy.url(), ROUNDS)?;
            for (place, delay, rounds) in DELAYS {
                proxy.delay_replies(delay);
                row(place, &proxy.url(), rounds)?;
            }
        }
    }
    for way in Way::SAVES {
        for place in ["TCP", DELAYS[0].0, DELAYS[1].0] {
            let chosen = cells
                .iter()
                .filter(|c| c.place == place && c.size == NETWORK_SIZES[0]);
            if let Some(range) = range(chosen.map(|cell| cell.ratio(way).median())) {
                let what = format!(
                    "{} against by hand, {}, {place}",
                    way.name(),
                    NETWORK_SIZES[0]
                );
                bench.report.headline(what, range);
            }
        }
    }
    let mut table = table("network", &Way::RUST);
    cells.iter().for_each(|cell| table.row(cell.cells()));
    bench.report.plot(by_network(&cells)?);
    bench.report.table(&table);
    Ok(())
}

fn by_network(cells: &[Cell]) -> Result<Plot, BoxError> {
    let newest = server()?.to_string();
    let of_one = |cell: &&Cell| cell.server == newest && cell.size == NETWORK_SIZES[0];
    let cells: Vec<&Cell> = cells.iter().filter(of_one).collect();
    let ways = Way::RUST.into_iter().filter(|way| *way != Way::Ping);
    let lines = ways.map(|way| Line {
        name: way.name().to_owned(),
        values: cells.iter().map(|cell| cell.ratio(way).median()).collect(),
    });
    Ok(Plot {
        file: "by-network",
        title: format!("Ratio to by hand, {}, {newest}", NETWORK_SIZES[0]),
        x: "network",
        y: "ratio",
        places: cells.iter().map(|cell| cell.place.clone()).collect(),
        lines: lines.collect(),
    })
}

const PYTHON_SIZES: [Size; 3] = [Size::new(1, 4), Size::new(1, 16), Size::new(32, 16)];
const PYTHON_ROUNDS: usize = 100;

/// Next to Python, over a Unix socket.
pub fn python(bench: &mut Bench) -> Result<(), BoxError> {
    let server = bench.start(server()?)?;
    let mut ways = vec![Way::REFERENCE];
    ways.extend(Way::SAVES);
    let mut missing = Vec::new();
    let scene = Scene::new(PYTHON_SIZES[0])?;
    for way in Way::PYTHON {
        match way.open(&server.unix_url(), &scene) {
            Ok(subject) => {
                ways.push(way);
                bench.versions.extend(subject.versions().map(str::to_owned));
            }
            Err(why) => missing.push(format!("{} was not run: {why}.", way.name())),
        }
    }
    bench.report.section(
        "Beside Python",
        &format!("Over a Unix socket. {}", missing.join(" ")),
    );
    let mut table = table("cores", &ways);
    for cores in bench.cores.placements() {
        for size in PYTHON_SIZES {
            // Before the ways are opened: Python's processes run where they were started.
            bench.cores.place(&server, cores)?;
            let scene = Scene::new(size)?;
            let mut plain = connect(&server.unix_url())?;
            let opened = ways.iter().map(|way| way.open(&server.unix_url(), &scene));
            let mut subjects: Vec<Box<dyn Subject>> = opened.collect::<Result<_, _>>()?;
            let rounds = bench.rounds(PYTHON_ROUNDS);
            let figures = turns::saves(&mut plain, &scene, &mut subjects, rounds)?;
            let cell = Cell {
                server: server.binary().to_string(),
                place: cores.to_string(),
                size,
                figures,
            };
            table.row(cell.cells());
        }
    }
    bench.report.table(&table);
    Ok(())
}
