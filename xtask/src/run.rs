//! Runs other programs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The result of a task; an error is a message to print.
pub type Result<T = ()> = std::result::Result<T, String>;

/// Returns the workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Returns the cargo that runs this, in the workspace's folder.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a program to its end; `what` names it in the error.
pub fn check(what: &str, command: &mut Command) -> Result {
    eprintln!("== {what}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(error) => Err(format!("{what}: {}: {error}", command.get_program().to_string_lossy())),
    }
}

/// Runs a program, and returns its standard output.
pub fn output(what: &str, command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{what}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Makes sure that Debian packages are installed. In CI it installs them; elsewhere the error says how to.
pub fn ensure(names: &[&str]) -> Result {
    let there = |name: &&&str| {
        let query = output("dpkg-query", Command::new("dpkg-query").args(["-W", "-f=${Status}", name]));
        query.is_ok_and(|status| status.contains("install ok installed"))
    };
    let missing: Vec<&str> = names.iter().filter(|name| !there(name)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if std::env::var_os("CI").is_none() {
        return Err(format!("this needs {names}: apt-get install --no-install-recommends {names}"));
    }
    check("apt-get update", Command::new("apt-get").args(["-qq", "update"]))?;
    let mut install = Command::new("apt-get");
    install.args(["-qq", "install", "-y", "--no-install-recommends"]).args(&missing);
    check("apt-get install", install.env("DEBIAN_FRONTEND", "noninteractive"))
}
