//! Writes pages and terminal texts of made-up documents, to look at:
//! `cargo run --release -p epoch0-report --example gallery -- OUT/`.

#[path = "../tests/it/made_up/mod.rs"]
mod made_up;

use std::path::{Path, PathBuf};

use epoch0_report::{Document, Terminal, html, json};

fn write<D: Document>(folder: &Path, name: &str, document: &D) -> std::io::Result<()> {
    std::fs::write(folder.join(format!("{name}.html")), html(document))?;
    std::fs::write(folder.join(format!("{name}.json")), json(document))?;
    for (kind, width, unicode) in [("wide", 100, true), ("narrow", 40, true), ("ascii", 80, false)] {
        let text = Terminal { width, color: unicode, unicode }.text(document);
        std::fs::write(folder.join(format!("{name}-{kind}.txt")), text)?;
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("gallery"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    write(&folder, "healthy", &made_up::healthy())?;
    write(&folder, "vanishing", &made_up::vanishing())?;
    write(&folder, "chaotic", &made_up::chaotic())?;
    write(&folder, "hostile", &made_up::hostile())?;
    write(&folder, "comparison", &made_up::comparison())?;
    write(&folder, "training", &made_up::training())
}
