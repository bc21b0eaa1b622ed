//! CXL: the kernel's files, its log, and the output of `cxl list`.

use super::reader::{LineReader, Verdict};
use crate::acpi::Cfmws;
use crate::capture::Tree;
use crate::facts::{
    Cxl, CxlRegionRecord, Decoder, DecoderLevel, Facts, Finding, Remark, SourceLine, SourceSummary, Sourced,
};
use crate::number::{hex, trim};
use crate::text::{Line, Scan};
use pmem_core::AddrRange;
use serde_json::Value;
use std::collections::BTreeMap;

const DIR: &str = "sys/bus/cxl/devices";

/// The files.
pub(super) const FILES: &[&str] = &[
    "sys/bus/cxl/devices/decoder*/start",
    "sys/bus/cxl/devices/decoder*/size",
    "sys/bus/cxl/devices/decoder*/interleave_ways",
    "sys/bus/cxl/devices/decoder*/interleave_granularity",
    "sys/bus/cxl/devices/decoder*/target_list",
    "sys/bus/cxl/devices/decoder*/region",
    "sys/bus/cxl/devices/decoder*/state",
    "sys/bus/cxl/devices/decoder*/dpa_resource",
    "sys/bus/cxl/devices/decoder*/dpa_size",
    "sys/bus/cxl/devices/region*/resource",
    "sys/bus/cxl/devices/region*/size",
    "sys/bus/cxl/devices/region*/interleave_ways",
    "sys/bus/cxl/devices/region*/interleave_granularity",
    "sys/bus/cxl/devices/region*/target*",
    "sys/bus/cxl/devices/endpoint*/uport@",
    "sys/bus/cxl/devices/mem*@",
    "sys/bus/cxl/devices/decoder*/devtype",
];

/// The files of a decoder.
const ATTRIBUTES: [&str; 10] = [
    "devtype",
    "start",
    "size",
    "interleave_ways",
    "interleave_granularity",
    "target_list",
    "region",
    "state",
    "dpa_resource",
    "dpa_size",
];

/// Reads decoders. A decoder's name gives its port: `decoder3.0` belongs to `port3` or `endpoint3`.
pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    let names = tree.names(DIR);
    for name in names.iter().filter(|name| name.starts_with("decoder")) {
        let number = name.trim_start_matches("decoder").split('.').next().unwrap_or("");
        let is_there = |kind: &str| names.iter().any(|other| *other == format!("{kind}{number}"));
        let level = match (is_there("root"), is_there("endpoint")) {
            (true, _) => Some(DecoderLevel::Root),
            (_, true) => Some(DecoderLevel::Endpoint),
            _ => None,
        };
        let mut found = false;
        // A capture may lack the ports; then the decoder's own type decides.
        let kind = tree.text(&format!("{DIR}/{name}/devtype"), &mut facts.findings);
        let level = match kind.as_deref().map(trim) {
            Some("cxl_decoder_endpoint") => Some(DecoderLevel::Endpoint),
            Some("cxl_decoder_root") => Some(DecoderLevel::Root),
            _ => level,
        };
        let port = match level {
            Some(DecoderLevel::Root) => format!("root{number}"),
            Some(DecoderLevel::Endpoint) => format!("endpoint{number}"),
            _ => format!("port{number}"),
        };
        for file in ATTRIBUTES {
            let path = format!("{DIR}/{name}/{file}");
            if let Some(text) = tree.text(&path, &mut facts.findings) {
                let at = SourceLine::whole(tree.place(&format!("{DIR}/{name}")));
                found |= attribute(&mut facts.cxl, name, &port, level, file, trim(&text), &at);
            }
        }
        if found {
            heard.count("CXL decoder");
        }
        // An endpoint's upstream port is the memory device.
        let device = (level == Some(DecoderLevel::Endpoint))
            .then(|| tree.follow(&format!("{DIR}/endpoint{number}/uport")));
        let device = device.flatten().and_then(|path| path.rsplit('/').next().map(str::to_owned));
        if let Some(device) = device.filter(|device| device.starts_with("mem")) {
            decoder(&mut facts.cxl, name, &SourceLine::whole(tree.place(DIR))).device = Some(device);
        }
    }
    for name in names.iter().filter(|name| name.starts_with("mem")) {
        // A link target such as `../../../devices/pci0000:34/0000:34:00.0/0000:35:00.0/mem0`.
        let function =
            tree.follow(&format!("{DIR}/{name}")).and_then(|path| path.rsplit('/').nth(1)?.parse().ok());
        facts.cxl.devices.extend(function.map(|function| (name.clone(), function)));
    }
    for name in names.iter().filter(|name| name.starts_with("region")) {
        let mut text = |file: &str| {
            let path = format!("{DIR}/{name}/{file}");
            tree.is_file(&path)
                .then(|| tree.text(&path, &mut facts.findings))
                .flatten()
                .map(|text| trim(&text).to_owned())
        };
        let ends = text("resource").and_then(|text| hex(&text)).zip(text("size").and_then(|text| hex(&text)));
        let Some(range) = ends.and_then(|(first, bytes)| AddrRange::sized(first, bytes).ok()) else {
            continue;
        };
        let mut small = |file: &str| text(file).and_then(|text| text.parse::<u32>().ok());
        let (ways, granularity) = (small("interleave_ways"), small("interleave_granularity"));
        let targets = (0..ways.unwrap_or(0).min(16))
            .filter_map(|n| {
                Some((n, text(&format!("target{n}")).filter(|name| name.starts_with("decoder"))?))
            })
            .collect();
        let region = CxlRegionRecord { name: name.clone(), range, ways, granularity, targets };
        facts.cxl.regions.push(Sourced::new(region, SourceLine::whole(tree.place(&format!("{DIR}/{name}")))));
        heard.count("CXL region");
    }
}

/// Returns the decoder of a name; creates it if necessary.
fn decoder<'c>(cxl: &'c mut Cxl, name: &str, at: &SourceLine) -> &'c mut Decoder {
    let there = cxl.decoders.iter().position(|said| said.value.name == name);
    let place = there.unwrap_or_else(|| {
        cxl.decoders.push(Sourced::new(Decoder::new(name), at.clone()));
        cxl.decoders.len() - 1
    });
    &mut cxl.decoders[place].value
}

fn attribute(
    cxl: &mut Cxl,
    name: &str,
    port: &str,
    level: Option<DecoderLevel>,
    file: &str,
    value: &str,
    at: &SourceLine,
) -> bool {
    let found = decoder(cxl, name, at);
    found.port = port.to_owned();
    found.level = found.level.or(level);
    match file {
        "start" => match hex(value) {
            // The kernel prints all ones for a decoder that is not enabled.
            Some(u64::MAX) => found.committed = Some(false),
            Some(first) => found.range = Some((first, found.range.map_or(0, |(_, bytes)| bytes))),
            None => return false,
        },
        "size" => match hex(value) {
            Some(0) => (found.committed, found.range) = (Some(false), None),
            Some(bytes) => found.range = Some((found.range.map_or(0, |(first, _)| first), bytes)),
            None => return false,
        },
        "interleave_ways" => found.ways = value.parse().ok(),
        "interleave_granularity" => found.granularity = value.parse().ok(),
        "target_list" => found.targets = value.split(',').map(str::to_owned).collect(),
        "region" => found.region = (!value.is_empty()).then(|| value.to_owned()),
        "dpa_resource" => match hex(value).filter(|first| *first != u64::MAX) {
            Some(first) => found.own = Some((first, found.own.map_or(0, |(_, bytes)| bytes))),
            None => return false,
        },
        "dpa_size" => match hex(value).filter(|bytes| *bytes > 0) {
            Some(bytes) => found.own = Some((found.own.map_or(0, |(first, _)| first), bytes)),
            None => return false,
        },
        "devtype" => match value {
            "cxl_decoder_root" => found.level = Some(DecoderLevel::Root),
            "cxl_decoder_endpoint" => found.level = Some(DecoderLevel::Endpoint),
            _ => return false,
        },
        "state" => found.committed = found.committed.or(Some(value == "enabled" || value == "committed")),
        _ => return false,
    }
    true
}

/// Reads the lines of a text.
#[derive(Default)]
pub(super) struct Reader {
    /// Possible JSON so far: its text, where it begins, and how many brackets are open.
    json: Option<(String, SourceLine, i64)>,
    /// The root decoder that the last `cxl list -d` asked about.
    asked: Option<String>,
    /// The device of the endpoint that is being read.
    device: Option<String>,
    /// How many devices, decoders and regions were found in the JSON that is being read.
    objects: usize,
    unnamed: usize,
}

/// A JSON text longer than this is given up.
const LONGEST: usize = 16 << 20;

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        // A line that cannot be JSON ends what looked like the start of it.
        let is_over = !words.is_empty() && !words.starts_with(['"', '{', '}', '[', ']', ',']);
        if let Some((text, place, _)) = self.json.take_if(|_| is_over) {
            unread(&text, &place, "it is not complete", facts);
        }
        if let Some((text, place, open)) = &mut self.json {
            text.push('\n');
            text.push_str(words);
            *open += brackets(words);
            if *open > 0 && text.len() < LONGEST {
                return Verdict::Took;
            }
            let (text, place) = (std::mem::take(text), place.clone());
            self.json = None;
            return self.parse(&text, &place, facts, heard);
        }
        if words.contains("cxl list") {
            let mut all = words.split_whitespace().skip_while(|word| *word != "-d" && *word != "--decoder");
            self.asked = all.nth(1).map(|name| name.trim_start_matches("decoder").to_owned());
            return Verdict::Pass;
        }
        if words.starts_with("##") {
            self.asked = None;
        }
        if words == "[" || words == "{" || words.starts_with("[{") || words.starts_with("{\"") {
            let open = brackets(words);
            let place = line.place();
            if open > 0 {
                self.json = Some((words.to_owned(), place, open));
                return Verdict::Took;
            }
            return self.parse(words, &place, facts, heard);
        }
        if self.line(words, &line.place(), facts) {
            heard.count("CXL decoder");
            return Verdict::Took;
        }
        Verdict::Pass
    }

    fn end(&mut self, facts: &mut Facts, _: &mut SourceSummary) {
        if let Some((text, place, _)) = self.json.take() {
            unread(&text, &place, "it is not complete", facts);
        }
    }
}

/// Reports JSON that cannot be read, if it looks like what `cxl list` prints.
fn unread(text: &str, at: &SourceLine, why: &str, facts: &mut Facts) {
    let packed: String = text.split_whitespace().collect();
    const SIGNS: [&str; 5] = [
        "\"memdev\":\"mem",
        "\"decoder\":\"decoder",
        "\"endpoint\":\"endpoint",
        "\"region\":\"region",
        "\"decoders:",
    ];
    if SIGNS.iter().any(|sign| packed.contains(sign)) {
        facts.find(Finding::at(at, format!("what `cxl list` printed from here on is left out: {why}")));
    }
}

/// Whether a name is a CXL memory device's, such as `mem0`. QEMU's list of memory devices has paths there.
fn is_device(name: &str) -> bool {
    name.strip_prefix("mem").is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

fn brackets(words: &str) -> i64 {
    words.bytes().fold(0, |open, byte| match byte {
        b'[' | b'{' => open + 1,
        b']' | b'}' => open - 1,
        _ => open,
    })
}

fn number(words: &str, word: &str) -> Option<u32> {
    let rest = words.split_once(word)?.1.trim_start_matches([' ', ':', '"', '=']);
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Reader {
    fn parse(
        &mut self,
        text: &str,
        at: &SourceLine,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        let value = match serde_json::from_str::<Value>(text) {
            Ok(value) => value,
            Err(error) => {
                let why = if error.is_eof() { "it is not complete" } else { "it is no JSON" };
                unread(text, at, why, facts);
                return Verdict::Pass;
            }
        };
        (self.device, self.objects) = (None, 0);
        self.walk(&value, "", 0, at, &mut facts.cxl);
        (0..self.objects).for_each(|_| heard.count("CXL object"));
        if self.objects > 0 || self.asked.is_some() { Verdict::Took } else { Verdict::Pass }
    }

    /// Walks the output of `cxl list`: nested objects, in lists whose keys name the port.
    fn walk(&mut self, value: &Value, port: &str, depth: u32, at: &SourceLine, cxl: &mut Cxl) {
        match value {
            Value::Array(all) => all.iter().for_each(|value| self.walk(value, port, depth, at, cxl)),
            Value::Object(object) => {
                let text = |key: &str| object.get(key).and_then(Value::as_str);
                let number = |key: &str| object.get(key).and_then(Value::as_u64);
                let small = |key: &str| number(key).and_then(|number| u32::try_from(number).ok());
                if let Some(name) =
                    text("memdev").filter(|name| is_device(name) && !object.contains_key("decoder"))
                {
                    self.objects += 1;
                    if let Some(function) = text("host").and_then(|host| host.parse().ok()) {
                        cxl.devices.insert(name.to_owned(), function);
                    }
                    if let Some(asked) = &self.asked {
                        let below = cxl.below.entry(format!("decoder{asked}")).or_default();
                        if !below.iter().any(|had| had == name) {
                            below.push(name.to_owned());
                        }
                    }
                }
                if let Some(name) = text("decoder")
                    .filter(|_| object.contains_key("interleave_ways") || object.contains_key("size"))
                {
                    self.objects += 1;
                    let found = decoder(cxl, name, at);
                    found.level = found.level.or(level(port, depth));
                    found.port = port.to_owned();
                    found.range = number("resource").zip(number("size")).or(found.range);
                    found.ways = small("interleave_ways").or(found.ways);
                    found.granularity = small("interleave_granularity").or(found.granularity);
                    found.region = text("region").map(str::to_owned).or(found.region.take());
                    if found.level == Some(DecoderLevel::Endpoint) {
                        found.device = found.device.take().or_else(|| self.device.clone());
                    }
                    let own = number("dpa_resource").zip(number("dpa_size"));
                    found.own = own.or(found.own);
                    if let Some(state) = text("state") {
                        found.committed = Some(state != "disabled");
                    }
                }
                let range = number("resource").zip(number("size"));
                let range = range.and_then(|(first, bytes)| AddrRange::sized(first, bytes).ok());
                // A decoder also names its region; only an object without a decoder describes the region itself.
                if let (Some(name), Some(range), None) = (text("region"), range, object.get("decoder")) {
                    self.objects += 1;
                    let all = object.get("mappings").and_then(Value::as_array).into_iter().flatten();
                    let mut targets = BTreeMap::new();
                    for one in all {
                        let position =
                            one.get("position").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
                        let named = |key: &str| one.get(key).and_then(Value::as_str);
                        if let (Some(position), Some(end)) = (position, named("decoder")) {
                            targets.insert(position, end.to_owned());
                            // A list of regions alone still names the devices' decoders.
                            let found = decoder(cxl, end, at);
                            found.level = Some(DecoderLevel::Endpoint);
                            found.device = named("memdev").map(str::to_owned).or(found.device.take());
                        }
                    }
                    let (ways, granularity) = (small("interleave_ways"), small("interleave_granularity"));
                    let region = CxlRegionRecord { name: name.to_owned(), range, ways, granularity, targets };
                    cxl.regions.retain(|had| had.value.name != region.name);
                    cxl.regions.push(Sourced::new(region, at.clone()));
                }
                if object.contains_key("endpoint") {
                    let of =
                        object.get("memdev").and_then(|memdev| memdev.get("memdev")).and_then(Value::as_str);
                    self.device = of.map(str::to_owned);
                }
                let own = text("port").or(text("endpoint")).or(text("bus"));
                let inner = if own.is_some_and(|own| own.starts_with("port")) { depth + 1 } else { depth };
                for (key, value) in object {
                    let port = match (key.split_once(':'), key.as_str(), own) {
                        (Some(("decoders", port)), ..) => port,
                        (_, "root decoders", _) => "root",
                        (_, "endpoint decoders", _) => "endpoint",
                        (_, "port decoders", _) => "",
                        (.., Some(own)) => own,
                        _ => port,
                    };
                    self.walk(value, port, inner, at, cxl);
                }
            }
            _ => {}
        }
    }

    fn line(&mut self, words: &str, at: &SourceLine, facts: &mut Facts) -> bool {
        self.file(words, at, facts)
            || self.log(words, at, facts)
            || self.plain(words, at, facts)
            || self.short(words, at, facts)
    }

    /// Reads `/sys/bus/cxl/devices/root0/decoder0.0/start:0x850000000`, as `grep` prints files.
    fn file(&self, words: &str, at: &SourceLine, facts: &mut Facts) -> bool {
        let Some((path, value)) =
            words.split_once("/sys/bus/cxl/devices/").and_then(|(_, rest)| rest.split_once(':'))
        else {
            return false;
        };
        let parts: Vec<&str> = path.split('/').collect();
        let [.., name, file] = parts[..] else { return false };
        if !name.starts_with("decoder") {
            return false;
        }
        let port = parts.get(parts.len().wrapping_sub(3)).copied().unwrap_or("");
        attribute(&mut facts.cxl, name, port, level(port, 1), file, value.trim(), at)
    }

    /// Reads messages of the kernel's CXL driver.
    fn log(&self, words: &str, at: &SourceLine, facts: &mut Facts) -> bool {
        if let Some((_, rest)) = words.split_once("decode range: node: ")
            && let Some((_, rest)) = rest.split_once("range [")
        {
            let mut scan = Scan::new(rest);
            let ends = scan.hex().filter(|_| scan.lit("-").is_some()).zip(scan.hex());
            let Some(range) = ends.and_then(|(first, last)| AddrRange::inclusive(first, last).ok()) else {
                return false;
            };
            let window = window(range.start(), range.len(), None);
            facts.cxl.windows.push(Sourced::new(window, at.clone()));
            return true;
        }
        if let Some((_, rest)) = words.split_once("cxl_port_setup_targets ") {
            return setup(words, rest, at, facts);
        }
        let Some((before, rest)) = words.split_once(": __construct_region ") else { return false };
        let Some((device, name)) =
            before.split_whitespace().next_back().and_then(|name| name.split_once(':'))
        else {
            return false;
        };
        let range = Scan(rest.split_once("res: ").map_or("", |(_, rest)| rest)).resource();
        let region = rest.split_whitespace().next().map(str::to_owned);
        let found = decoder(&mut facts.cxl, name, at);
        found.level = Some(DecoderLevel::Endpoint);
        found.device = Some(device.to_owned());
        found.range = range.and_then(|found| found.range).map(|range| (range.start(), range.len()));
        found.ways = number(rest, "iw:");
        found.granularity = number(rest, "ig:");
        found.committed = Some(true);
        found.region = region;
        true
    }

    /// Reads `mem1:decoder3.0 range 0xa90000000-0xb8fffffff iw: 1 ig: 256` or
    /// `decoder0.0: ways 2 granularity 8192`.
    fn plain(&self, words: &str, at: &SourceLine, facts: &mut Facts) -> bool {
        let Some(name) = words.split([' ', ':']).find(|word| {
            word.strip_prefix("decoder").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        }) else {
            return false;
        };
        let ways = number(words, "iw:").or_else(|| number(words, "ways "));
        let granularity = number(words, "ig:").or_else(|| number(words, "granularity "));
        let starts = words.starts_with(name) || words.starts_with("mem");
        let Some((ways, granularity)) = ways.zip(granularity).filter(|_| starts) else { return false };
        let range = words.split_once(" range ").and_then(|(_, rest)| {
            let mut scan = Scan::new(rest);
            let first = scan.hex()?;
            scan.lit("-")?;
            AddrRange::inclusive(first, scan.hex()?).ok()
        });
        let device = words.split(':').next().filter(|device| device.starts_with("mem"));
        let found = decoder(&mut facts.cxl, name, at);
        (found.ways, found.granularity) = (Some(ways), Some(granularity));
        found.range = range.map(|range| (range.start(), range.len())).or(found.range);
        if device.is_some() {
            found.level = Some(DecoderLevel::Endpoint);
            found.device = device.map(str::to_owned);
        } else if name.starts_with("decoder0.") {
            found.level = Some(DecoderLevel::Root);
        }
        true
    }

    /// Reads `endpoint decoder: "interleave_granularity":2048` or
    /// `window 0: CFMWS base 0x0 size 0x80000000 (2 GiB) ways 12`.
    fn short(&mut self, words: &str, at: &SourceLine, facts: &mut Facts) -> bool {
        if let Some((what, rest)) = words.split_once(" decoder: \"interleave_granularity\":") {
            let level = match what {
                "endpoint" => DecoderLevel::Endpoint,
                "switch" => DecoderLevel::Switch,
                "host bridge" => DecoderLevel::Bridge,
                "root" => DecoderLevel::Root,
                _ => return false,
            };
            self.unnamed += 1;
            let found = decoder(&mut facts.cxl, &format!("{what} decoder {}", self.unnamed), at);
            (found.level, found.granularity) =
                (Some(level), number(rest, "").or_else(|| rest.trim().parse().ok()));
            return true;
        }
        let Some((name, rest)) = words.split_once(": ").filter(|(name, _)| name.starts_with("window "))
        else {
            return false;
        };
        let (base, ways) = (after(rest, "base "), number(rest, "ways "));
        let Some((base, ways)) = base.zip(ways) else { return false };
        let size = after(rest, " size ");
        if rest.starts_with("CFMWS") {
            let Some(size) = size else { return true };
            facts.cxl.windows.push(Sourced::new(window(base, size, u8::try_from(ways).ok()), at.clone()));
        } else if let Some(size) = size {
            let found = decoder(&mut facts.cxl, &format!("decoders of {name}"), at);
            (found.level, found.range) = (Some(DecoderLevel::Bridge), Some((base, size)));
            found.committed = Some(true);
        }
        true
    }
}

fn after(words: &str, word: &str) -> Option<u64> {
    let rest = words.split_once(word)?.1;
    rest.starts_with("0x").then(|| hex(rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?)).flatten()
}

fn window(base: u64, size: u64, ways: Option<u8>) -> Cfmws {
    Cfmws {
        base,
        size,
        ways,
        granularity: None,
        is_xor: false,
        restrictions: 0,
        qos: 0,
        targets: Vec::new(),
        offset: 0,
    }
}

fn level(port: &str, depth: u32) -> Option<DecoderLevel> {
    if port.starts_with("root") {
        Some(DecoderLevel::Root)
    } else if port.starts_with("endpoint") {
        Some(DecoderLevel::Endpoint)
    } else if port.starts_with("port") {
        Some(if depth > 1 { DecoderLevel::Switch } else { DecoderLevel::Bridge })
    } else {
        None
    }
}

/// Reads
/// `cxl region1: pci0000:00:port2 cxl_port_setup_targets got iw: 1 ig: 256 state: disabled 0x6070000000:0xa06fffffff`,
/// and the line before it, which says what was expected.
fn setup(words: &str, rest: &str, at: &SourceLine, facts: &mut Facts) -> bool {
    let port = words.split(' ').find(|word| word.contains(":port")).unwrap_or("").to_owned();
    let Some(pair) = number(rest, "iw:").zip(number(rest, "ig:")) else { return false };
    if rest.starts_with("expected") {
        let range = rest.split_once("[mem").and_then(|_| Scan(&rest[rest.find('[')?..]).resource()?.range);
        let Some(range) = range else { return true };
        let remark = Remark::Setup { port, wanted: pair, found: pair, enabled: true, range };
        facts.remarks.push(Sourced::new(remark, at.clone()));
        return true;
    }
    if let Some(Sourced { value: Remark::Setup { port: own, found, enabled, .. }, .. }) =
        facts.remarks.last_mut()
        && *own == port
    {
        *found = pair;
        *enabled = !rest.contains("disabled");
    }
    true
}
