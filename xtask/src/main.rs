//! `cargo xtask`: the repository's gates and the staging of built binaries for end-to-end tests.
//!
//! | command | what it does |
//! |---|---|
//! | `tidy` | shape of the sources: size, file headers, banned tests, links, reasons for dependencies ([`tidy`]) |
//! | `layers` | which crate may know which other ([`layers`]) |
//! | `stage DIR` | builds the release binaries and the end-to-end tests and copies them, with the samples, to DIR ([`stage`]) |
//!
//! Every gate prints all its complaints, one per line as `file:line: message`, and fails if there is one.
//! Every gate has a fixture under `xtask/fixtures` that it must reject.

mod complaint;
mod layers;
mod lex;
mod metadata;
mod stage;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use crate::{complaint::Complaint, metadata::Metadata};

const USAGE: &str = "usage: cargo xtask tidy | layers | stage DIR";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether what was asked for held.
fn run() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = repository_root()?;
    match arguments.as_slice() {
        ["tidy"] => Ok(report("tidy", &tidy::check(&root, &Metadata::load(&root)?)?)),
        ["layers"] => Ok(report("layers", &layers::check(&root, &Metadata::load(&root)?))),
        ["stage", directory] => stage::stage(&root, Path::new(directory)).map(|()| true),
        _ => bail!(USAGE),
    }
}

fn report(gate: &str, complaints: &[Complaint]) -> bool {
    for complaint in complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => println!("{gate}: ok"),
        count => println!("{gate}: {count} complaints"),
    }
    complaints.is_empty()
}

/// The workspace's root: the parent of this package's directory.
fn repository_root() -> Result<PathBuf> {
    let package = std::env::var("CARGO_MANIFEST_DIR").context("start it with `cargo xtask`")?;
    let root = Path::new(&package).parent().context("xtask lies in the workspace's root")?;
    Ok(root.to_path_buf())
}
