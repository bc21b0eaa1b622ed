//! Decoding nets: the model against the nets' own definition, on real nets and on random ones.

use pmem_core::OwnedResolution;
use pmem_import::read_net;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Name = (i64, u64);

/// A node by the definition: what it accepts, where it maps, and what it falls back on.
#[derive(Clone, Debug, Default)]
struct Node {
    accept: Vec<(u64, u64)>,
    map: Vec<(u64, u64, i64, u64)>,
    overlay: Option<i64>,
}

fn number(value: &Value) -> u64 {
    let text = value.as_str().unwrap();
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

fn parse(net: &Value) -> BTreeMap<i64, Node> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&net["nodes"])
        .iter()
        .map(|node| {
            let accept = list(&node["accept"]).iter().map(|a| (number(&a[0]), number(&a[1]))).collect();
            let map = list(&node["map"]);
            let map = map.iter().map(|m| {
                (number(&m["src"][0]), number(&m["src"][1]), m["dst"].as_i64().unwrap(), number(&m["base"]))
            });
            (
                node["id"].as_i64().unwrap(),
                Node { accept, map: map.collect(), overlay: node["overlay"].as_i64() },
            )
        })
        .collect()
}

impl Node {
    /// Whether it leads each address to one place at most, and not to itself: it claims what it maps.
    fn is_plain(&self, id: i64) -> bool {
        let overlaps = |a: (u64, u64), b: (u64, u64)| a.0 <= b.1 && b.0 <= a.1;
        let source = |m: &(u64, u64, i64, u64)| (m.0, m.1);
        let twice = |i: usize| {
            let this = source(&self.map[i]);
            self.map[i + 1..].iter().any(|other| overlaps(this, source(other)))
                || self.accept.iter().any(|accept| overlaps(this, *accept))
        };
        !(0..self.map.len()).any(twice) && self.map.iter().all(|m| m.2 != id) && self.overlay != Some(id)
    }
}

/// How decoding goes on where it does not end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ends {
    Always,
    /// Round a circle in which some node leads an address to several places.
    NotWhereItYields,
    /// Round a circle of nodes that claim.
    NotWhereItClaims,
}

/// All names that a name resolves to, and whether decoding ends.
fn resolve(net: &BTreeMap<i64, Node>, name: Name, above: &mut Vec<Name>, ends: &mut Ends) -> BTreeSet<Name> {
    let circle = above.iter().position(|other| *other == name);
    if circle.is_some() || above.len() > 200 {
        // Past 200 names, the last hundred are taken for the circle.
        let circle = &above[circle.unwrap_or(100)..];
        let claims = circle.iter().all(|(id, _)| net[id].is_plain(*id));
        match ends {
            Ends::NotWhereItClaims => {}
            _ if claims => *ends = Ends::NotWhereItClaims,
            _ => *ends = Ends::NotWhereItYields,
        }
        return BTreeSet::new();
    }
    // A node that the net does not describe accepts nothing.
    let Some(node) = net.get(&name.0) else { return BTreeSet::new() };
    let addr = name.1;
    let accepted = node.accept.iter().any(|(start, last)| (*start..=*last).contains(&addr));
    let mut next: Vec<Name> = node
        .map
        .iter()
        .filter(|(start, last, ..)| (*start..=*last).contains(&addr))
        .map(|(start, _, dst, base)| (*dst, base + (addr - start)))
        .collect();
    if !accepted && next.is_empty() {
        next.extend(node.overlay.map(|overlay| (overlay, addr)));
    }
    let mut all = BTreeSet::new();
    if accepted {
        all.insert(name);
    }
    above.push(name);
    for name in next {
        all.extend(resolve(net, name, above, ends));
    }
    above.pop();
    all
}

/// Compares every interesting address of every node.
fn compare(path: &Path, net: &Value) {
    let machine = read_net(path).unwrap();
    let names = machine.net.clone().unwrap();
    let nodes = parse(net);
    let mut edges: BTreeSet<u64> = BTreeSet::from([0, u64::MAX]);
    for node in nodes.values() {
        let ranges = node.accept.iter().copied().chain(node.map.iter().map(|m| (m.0, m.1)));
        for (start, last) in ranges {
            edges.extend([
                start,
                last,
                start.saturating_sub(1),
                last.saturating_add(1),
                start / 2 + last / 2,
            ]);
        }
    }
    for id in nodes.keys() {
        for addr in &edges {
            let found = machine.state().resolve(names.entry[id], *addr);
            let mut ends = Ends::Always;
            let expected = resolve(&nodes, (*id, *addr), &mut Vec::new(), &mut ends);
            let name = |arena, addr| (names.node[&arena], addr);
            let what = format!(
                "node {id} at {addr:#x} of {}: {found:?}, not {expected:?}, ends {ends:?}",
                path.display()
            );
            let many: Vec<Name> = expected.iter().copied().collect();
            // Where decoding goes round by what only yields, what else is found is the answer.
            match (&found, ends, &many[..]) {
                (OwnedResolution::Loop(_), Ends::NotWhereItClaims, _) => {}
                (_, Ends::NotWhereItClaims, _) => panic!("{what}"),
                (OwnedResolution::Fault { .. }, _, []) => {}
                (OwnedResolution::Accept { place, .. }, _, [one]) => {
                    assert_eq!(name(place.arena, place.addr), *one, "{what}");
                }
                (OwnedResolution::Ambiguous(places), _, [_, _, ..]) => {
                    let places: BTreeSet<Name> = places.iter().map(|p| name(p.arena, p.addr)).collect();
                    assert_eq!(places, expected, "{what}");
                }
                _ => panic!("{what}"),
            }
        }
    }
}

#[test]
fn real_nets_resolve_as_defined() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    for entry in std::fs::read_dir(corpus.join("decoding-nets")).unwrap() {
        let path = entry.unwrap().path();
        let net: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        compare(&path, &net);
    }
}

#[test]
fn the_desktop_finds_its_memory() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let machine = read_net(&corpus.join("decoding-nets/Desktop.json")).unwrap();
    let names = machine.net.clone().unwrap();
    let place = machine.state().resolve(names.entry[&0], 0x1_0000_0000).accepted().unwrap();
    assert_eq!((names.node[&place.arena], place.addr), (1, 0xc000_0000));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_net_and_no_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        middle in "[\\[\\]{}\":,0-9a-z]{0,60}",
    ) {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in [bytes, format!("{{\"nodes\":[{middle}]}}").into_bytes()] {
            std::fs::write(file.path(), content).unwrap();
            let _ = read_net(file.path());
        }
    }
}

prop_compose! {
    fn range()(start in 0u64..64, len in 1u64..24) -> (u64, u64) {
        (start, start + len - 1)
    }
}

fn hex(n: u64) -> String {
    format!("{n:#x}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn random_nets_resolve_as_defined(
        nodes in prop::collection::vec(
            (
                prop::collection::vec(range(), 0..3),
                prop::collection::vec((range(), 0i64..5, 0u64..64), 0..4),
                prop::option::of(0i64..5),
            ),
            5,
        ),
    ) {
        let nodes: Vec<Value> = (0..).zip(nodes).map(|(id, (accept, map, overlay)): (i64, _)| {
            let accept: Vec<Value> = accept.iter().map(|(s, l)| json!([hex(*s), hex(*l)])).collect();
            let map: Vec<Value> = map.iter().map(|((s, l), dst, base): &((u64, u64), i64, u64)| {
                json!({ "src": [hex(*s), hex(*l)], "dst": dst, "base": hex(*base) })
            }).collect();
            json!({ "id": id, "name": format!("n{id}"), "accept": accept, "map": map, "overlay": overlay })
        }).collect();
        let net = json!({ "limits": "inclusive", "nodes": nodes });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), net.to_string()).unwrap();
        compare(file.path(), &net);
    }
}
