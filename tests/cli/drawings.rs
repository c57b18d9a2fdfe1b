//! The drawings of docs/ are what `rules graph` draws. With `CACHETX_BLESS=1` they are written.

use std::{fs, path::Path, process::Command};

#[test]
fn the_drawings_of_docs_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, task) in [
        ("docs/rules-nodb.svg", &[][..]),
        ("docs/rules-build_climate.svg", &["--task", "build_climate"]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_cachetx"))
            .args(["rules", "graph", "rules/nodb.json", "--format", "svg"])
            .args(task)
            .current_dir(root)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let drawn = String::from_utf8(output.stdout).expect("UTF-8");
        let path = root.join(file);
        if std::env::var_os("CACHETX_BLESS").is_some() {
            fs::write(&path, &drawn).expect("it is written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == drawn,
            "{file} is not what `rules graph` draws: CACHETX_BLESS=1 writes it"
        );
    }
}
