//! Parses mappings.

use super::words::dashed;
use pmem_core::{Direction, Interleave, Mapping, Metric, Table, Window, Windows};
use pmem_import::parse_addr;

/// Parses a mapping: `closed`, `identity`, a table, an interleave, or windows joined by commas.
///
/// * `table:START-END/PAGE`, with `!START-END` for each hole.
/// * `interleave:START-END/WAYS/GRANULARITY/POSITION>OUT`.
/// * A fixed window: `START-END>OUT`.
/// * A floating window: `float:START-END/GRANULE`, or `pref:…` if it forwards only prefetchable memory;
///   optionally followed by `@START-END` for a floor, and `>OUT` for the output address of its limit.
pub(super) fn mapping(text: &str) -> Result<Mapping, String> {
    match text.split_once(':') {
        None if text == "closed" => Ok(Mapping::Closed),
        None if text == "identity" => Ok(Mapping::Identity),
        Some(("table", rest)) => table(rest),
        Some(("interleave", rest)) => interleave(rest),
        _ => {
            let pieces: Result<Vec<Window>, String> = text.split(',').map(window).collect();
            Ok(Mapping::Windows(Windows::new(pieces?).map_err(|e| e.to_string())?))
        }
    }
}

/// Parses `METRIC:MAPPING`, or `closed`.
pub(super) fn direction(text: &str) -> Result<Direction, String> {
    if text == "closed" {
        return Ok(Direction::closed());
    }
    let (cost, rest) =
        text.split_once(':').ok_or_else(|| format!("{text:?}: expected METRIC:MAPPING, or closed"))?;
    Ok(Direction::new(mapping(rest)?, metric(cost)?))
}

/// Parses a cost.
pub(super) fn metric(text: &str) -> Result<Metric, String> {
    text.parse().map(Metric::new).map_err(|_| format!("{text:?} is no metric"))
}

fn table(text: &str) -> Result<Mapping, String> {
    let mut parts = text.split('!');
    let table = parts.next().and_then(|table| table.split_once('/'));
    let (input, page) = table.ok_or("a table needs START-END/PAGE")?;
    let table = Table::new(dashed(input)?, parse_addr(page)?).map_err(|e| e.to_string())?;
    let table = parts.try_fold(table, |table, hole| Ok::<_, String>(table.without(dashed(hole)?)))?;
    Ok(Mapping::Table(table))
}

fn interleave(text: &str) -> Result<Mapping, String> {
    let needs = "an interleave needs START-END/WAYS/GRANULARITY/POSITION>OUT";
    let (geometry, out) = text.split_once('>').ok_or(needs)?;
    let parts: Vec<&str> = geometry.split('/').collect();
    let [input, ways, granularity, position] = parts[..] else { return Err(needs.to_owned()) };
    let small = |text: &str| text.parse::<u8>().map_err(|_| format!("{text:?}: {needs}"));
    let granularity = parse_addr(granularity)?.try_into().map_err(|_| needs.to_owned())?;
    let share =
        Interleave::new(dashed(input)?, small(ways)?, granularity, small(position)?, parse_addr(out)?);
    share.map(Mapping::Interleave).map_err(|e| e.to_string())
}

fn window(text: &str) -> Result<Window, String> {
    let (kind, rest) = match text.split_once(':') {
        Some((kind @ ("float" | "pref"), rest)) => (kind, rest),
        Some(_) => {
            return Err(format!("{text:?} is not a window: expected START..END>OUT, float:... or pref:..."));
        }
        None => ("fixed", text),
    };
    let (rest, out) = rest.split_once('>').map_or((rest, None), |(rest, out)| (rest, Some(out)));
    let out = out.map(parse_addr).transpose()?;
    let window = if kind == "fixed" {
        let input = dashed(rest)?;
        Window::fixed(input, out.unwrap_or(input.start()))
    } else {
        let (rest, floor) = rest.split_once('@').map_or((rest, None), |(rest, floor)| (rest, Some(floor)));
        let (limit, granule) = rest.split_once('/').ok_or("a floating window needs START-END/GRANULE")?;
        let (limit, granule) = (dashed(limit)?, parse_addr(granule)?);
        let floor = floor.map(dashed).transpose()?;
        let offset = out.map_or(0, |out| out.wrapping_sub(limit.start()));
        let window = Window::floating(limit, granule).and_then(|w| w.offset(offset));
        let window = window.and_then(|w| floor.map_or(Ok(w), |floor| w.floor(floor)));
        if kind == "pref" { window.map(Window::prefetchable) } else { window }
    };
    window.map_err(|e| e.to_string())
}
