//! Fast and slow memory: Linux's memory tiers, and the nodes of DAX devices.

use super::nodes::numbered;
use crate::capture::Tree;
use crate::facts::{Facts, Finding, SourceSummary};
use crate::number::{parse_list, trim};

const TIERS: &str = "sys/devices/virtual/memory_tiering";
const DAX: &str = "sys/bus/dax/devices";

/// The files.
pub(super) const FILES: &[&str] =
    &["sys/devices/virtual/memory_tiering/memory_tier*/nodelist", "sys/bus/dax/devices/dax*/target_node"];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    for tier in tree.names(TIERS).iter().filter_map(|name| numbered(name, "memory_tier")) {
        let path = format!("{TIERS}/memory_tier{tier}/nodelist");
        let Some(text) = tree.text(&path, &mut facts.findings) else { continue };
        let Some(nodes) = parse_list(&text) else {
            facts.find(Finding::whole(tree.place(&path), "no list of nodes"));
            continue;
        };
        for node in facts.numa.all.iter_mut().filter(|node| nodes.contains(&node.id)) {
            node.tier = Some(tier);
        }
        heard.count("memory tier");
    }
    for name in tree.names(DAX).into_iter().filter(|name| name.starts_with("dax")) {
        let path = format!("{DAX}/{name}/target_node");
        let node = tree.text(&path, &mut facts.findings).and_then(|text| trim(&text).parse().ok());
        if let Some(node) = node {
            facts.dax.insert(name, node);
            heard.count("dax device");
        }
    }
}
