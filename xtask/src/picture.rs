//! Checks pictures in a browser: the page's search finds what it should, and the dark theme differs from the
//! light one.

use crate::run::{Result, cargo, check, ensure, output, root};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The searches, and what the page says about each.
const ASKED: [(&str, &str); 5] = [
    // Once as CPUs see it, and once in the memory itself.
    ("0x20000000", "2 places"),
    ("Kernel%20code", "1 place"),
    ("CXL%20memory", "6 places"),
    ("0xfffffffffffffffff", "nothing"),
    ("", ""),
];

/// Draws a machine, and checks the page in Chromium.
pub fn run() -> Result {
    ensure(&["chromium"])?;
    check("pmem", cargo().args(["build", "--quiet", "-p", "pmem-cli"]))?;
    let place = root().join("target/picture");
    fs::create_dir_all(&place).map_err(|e| e.to_string())?;
    let page = place.join("topo.html");
    let machine = root().join("tests/machines/qemu-cxl.tar.gz");
    let mut draw = Command::new(root().join("target/debug/pmem"));
    check("topo --html", draw.arg("topo").arg(&machine).arg("--html").arg(&page))?;
    let mut wrong = Vec::new();
    for (asked, wanted) in ASKED {
        let shown = dump(&page, asked)?;
        let said = shown
            .split("id=\"found\">")
            .nth(1)
            .and_then(|rest| rest.split('<').next())
            .unwrap_or("no answer");
        let hits = shown.matches(" hit\"").count();
        let count = wanted.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
        if said != wanted || hits != count {
            wrong.push(format!("search for {asked:?}: {said:?} and {hits} marked, not {wanted:?}"));
        }
        eprintln!("search for {asked:?}: {said:?}");
    }
    let [light, dark] = [("light", 1), ("dark", 0)].map(|(name, scheme)| shot(&page, &place, name, scheme));
    if light? == dark? {
        wrong.push("the dark theme looks like the light one".to_owned());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn chromium() -> Command {
    let mut command = Command::new("chromium");
    // The page needs no network, and CI runs as root.
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-dev-shm-usage",
        "--virtual-time-budget=3000",
    ]);
    command
}

/// Returns the page after its script has run.
fn dump(page: &Path, asked: &str) -> Result<String> {
    output("chromium", chromium().arg("--dump-dom").arg(format!("file://{}#{asked}", page.display())))
}

/// Takes a screenshot of the page in the dark or the light theme.
fn shot(page: &Path, place: &Path, name: &str, scheme: u8) -> Result<Vec<u8>> {
    let file = place.join(format!("{name}.png"));
    let mut shoot = chromium();
    shoot.arg(format!("--blink-settings=preferredColorScheme={scheme}")).arg("--window-size=1280,1400");
    shoot.arg(format!("--screenshot={}", file.display())).arg(format!("file://{}", page.display()));
    output(name, &mut shoot)?;
    fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))
}
