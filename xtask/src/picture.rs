//! Pictures as a browser shows them: the page's search finds what is asked for, and dark is not light.

use crate::run::{Result, cargo, check, ensure, output, root};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What is searched for, and what the page says of it.
const ASKED: [(&str, &str); 5] = [
    // Where CPUs see it, and the memory itself.
    ("0x20000000", "2 places"),
    ("Kernel%20code", "1 place"),
    ("CXL%20memory", "6 places"),
    ("0xfffffffffffffffff", "nothing"),
    ("", ""),
];

/// Draws a machine, and looks at the page in Chromium.
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
        wrong.push("what is dark looks as what is light".to_owned());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn chromium() -> Command {
    let mut command = Command::new("chromium");
    // Nothing of this is the network's, and CI runs as root.
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

/// The page as its script has made it.
fn dump(page: &Path, asked: &str) -> Result<String> {
    output("chromium", chromium().arg("--dump-dom").arg(format!("file://{}#{asked}", page.display())))
}

/// A picture of the page, as whoever prefers dark or light sees it.
fn shot(page: &Path, place: &Path, name: &str, scheme: u8) -> Result<Vec<u8>> {
    let file = place.join(format!("{name}.png"));
    let mut shoot = chromium();
    shoot.arg(format!("--blink-settings=preferredColorScheme={scheme}")).arg("--window-size=1280,1400");
    shoot.arg(format!("--screenshot={}", file.display())).arg(format!("file://{}", page.display()));
    output(name, &mut shoot)?;
    fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))
}
