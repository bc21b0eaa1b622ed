//! A picture as a self-contained page: the drawing, with details under the pointer, zoom and search.

use super::layout::Layout;
use super::svg::element;
use crate::xml::escaped;
use std::io::{self, Write};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Writes an HTML page. It is self-contained: it loads no other file and uses no network.
///
/// # Errors
/// Returns the errors of `out`.
pub fn html(layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    let title = escaped(&layout.title);
    write!(
        out,
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header><input id="search" type="search" placeholder="Search: a name, 03:00.0, or an address such as 0xfee00000" aria-label="Search"><output id="found"></output><button id="out" type="button" title="Smaller">−</button><button id="in" type="button" title="Larger">+</button></header>
<main>
{}</main>
<aside id="told" aria-live="polite"></aside>
<script>{SCRIPT}</script>
</body>
</html>
"#,
        element(layout)
    )
}
