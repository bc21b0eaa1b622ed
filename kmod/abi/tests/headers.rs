//! The C headers have the sizes and offsets that the crate has, for 64-bit and for 32-bit programs.

use pmem_arena_abi::{LAYOUTS, VARIABLE, VERSION, WHY, state, status, window};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

fn program() -> String {
    let mut c = String::from("#include <stddef.h>\n#include \"library.h\"\n");
    let mut must = |condition: String| writeln!(c, "_Static_assert({condition}, \"\");").unwrap();
    for layout in LAYOUTS {
        let name = layout.name;
        must(format!("sizeof(struct {name}) == {}", layout.size));
        for (field, offset, size) in layout.fields {
            let field = field.trim_start_matches("r#");
            must(format!("offsetof(struct {name}, {field}) == {offset}"));
            must(format!("sizeof(((struct {name} *)0)->{field}) == {size}"));
        }
    }
    for (name, value) in [
        ("VERSION", VERSION),
        ("VARIABLE", VARIABLE as u32),
        ("WHY", WHY as u32),
        ("FORCE", pmem_arena_abi::FORCE),
        ("MINE", pmem_arena_abi::MINE),
        ("STATE_HELD", state::HELD),
        ("STATE_PENDING", state::PENDING),
        ("STATE_BOUND", state::BOUND),
        ("STATE_REMOVED", state::REMOVED),
        ("STATE_MOVED", state::MOVED),
        ("FULL", status::FULL),
        ("MANY", status::MANY),
        ("BUSY", status::BUSY),
        ("NOT_ALLOWED", status::NOT_ALLOWED),
        ("NO_BAR", status::NO_BAR),
        ("WRONG", status::WRONG),
        ("CHANGED", status::CHANGED),
        ("PENDING", status::PENDING),
        ("DIFFERS", status::DIFFERS),
        ("ENDED", status::ENDED),
        ("NONE", status::NONE),
        ("NOT_YOURS", status::NOT_YOURS),
        ("NO_MEMORY", status::NO_MEMORY),
        ("NO_BRIDGE", status::NO_BRIDGE),
        ("WINDOW_IO", window::IO),
        ("WINDOW_MEM", window::MEM),
        ("WINDOW_PREF", window::PREF),
    ] {
        must(format!("PMEM_ARENA_{name} == {value}"));
    }
    c
}

fn compile(text: &str, width: &str) -> Result<(), String> {
    let headers = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("layout.c");
    std::fs::write(&file, text).unwrap();
    // The system's headers for the other width may be missing; those of this one say the same.
    let done = Command::new("cc")
        .args([width, "-std=c11", "-Wall", "-Werror", "-fsyntax-only", "-I"])
        .arg(headers)
        .args(["-idirafter", "/usr/include/x86_64-linux-gnu"])
        .arg(&file)
        .output()
        .unwrap();
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn the_headers_have_the_same_layout() {
    let text = program();
    assert!(text.matches("_Static_assert").count() > 150);
    for width in ["-m64", "-m32"] {
        assert_eq!(compile(&text, width), Ok(()), "{width}");
    }
    let wrong = text.replace(
        "offsetof(struct pmem_arena_region, why) == ",
        "offsetof(struct pmem_arena_region, why) == 1",
    );
    assert!(compile(&wrong, "-m64").is_err(), "a wrong offset is found");
}
