//! `cargo xtask stage DIR`: what an end-to-end run needs, copied to where any user can read it.
//!
//! ```text
//! DIR/bin/…      the product, the samples' programs and the tests' tools, in the release profile
//! DIR/samples/…  the samples' YAML
//! DIR/tests/…    the test executables of `mizzen-e2e` (debug profile), under their plain names
//! ```

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The package that holds the end-to-end tests.
const TESTS: &str = "mizzen-e2e";

/// A line of `cargo build --message-format=json`: <https://doc.rust-lang.org/cargo/reference/external-tools.html>.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

pub(crate) fn stage(root: &Path, directory: &Path) -> Result<()> {
    let binaries =
        executables(root, &["build", "--release", "--workspace", "--exclude", "xtask", "--exclude", TESTS, "--bins"])?;
    copy_all(&binaries, &directory.join("bin"))?;
    if root.join("tests/e2e").exists() {
        let tests = executables(root, &["test", "--package", TESTS, "--no-run"])?;
        copy_all(&tests, &directory.join("tests"))?;
    }
    copy_tree(&root.join("samples"), &directory.join("samples"))
}

/// Runs cargo and returns (name, path) of each executable that it made.
fn executables(root: &Path, arguments: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .args(["--locked", "--message-format=json-render-diagnostics"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "cargo {} failed", arguments.join(" "));
    Ok(parse_executables(&String::from_utf8(output.stdout)?))
}

fn parse_executables(messages: &str) -> Vec<(String, PathBuf)> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages.filter_map(|message| Some((message.target?.name, message.executable?))).collect()
}

/// A binary that is running cannot be overwritten, but it can be replaced.
fn copy_all(executables: &[(String, PathBuf)], to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for (name, from) in executables {
        let target = to.join(name);
        if target.exists() {
            fs::remove_file(&target)?;
        }
        fs::copy(from, &target).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}

/// The samples without their sources.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let is_source = entry.file_name() == OsStr::new("src") || entry.file_name() == OsStr::new("Cargo.toml");
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() && !is_source {
            copy_tree(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() && !is_source {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
