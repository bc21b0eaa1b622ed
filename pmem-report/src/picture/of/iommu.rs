//! The picture of IOMMUs: units, reserved ranges, and what page tables translate.

use super::super::{Column, Draw, Kind, Panel, Picture, Piece, Ribbon, extent};
use super::{between, disjoint, filled, notes};
use crate::iommu::IommuShow;

impl Draw for IommuShow {
    fn picture(&self) -> Option<Picture> {
        let reserved = self.reserved.iter().filter_map(|found| {
            Some(Piece {
                range: between(found.start, found.end)?,
                kind: Kind::Reserved,
                label: found.kind.clone(),
                facts: vec![found.devices.join(", ")],
            })
        });
        let units = self.units.iter().filter_map(|unit| {
            let base = between(unit.base, unit.base)?.start.0;
            let label = format!("unit at {}", unit.base);
            Some(Piece { range: extent(base, 4096)?, kind: Kind::Device, label, facts: unit.scopes.clone() })
        });
        let column =
            |title: &str, pieces: Vec<Piece>| Column { title: title.to_owned(), pieces: disjoint(pieces) };
        let mut columns =
            vec![column("units", units.collect()), column("reserved of devices", reserved.collect())];
        columns.retain(|column| !column.pieces.is_empty());
        let mut ribbons = Vec::new();
        for table in &self.tables {
            let (mut seen, mut behind) = (Vec::new(), Vec::new());
            for one in &table.translations {
                let (Some(range), Some(to)) = (between(one.start, one.end), between(one.to, one.to)) else {
                    continue;
                };
                let piece = |range| Piece {
                    range,
                    kind: Kind::Window,
                    label: table.device.clone(),
                    facts: vec![format!("{} to {} ({})", one.start, one.to, one.access)],
                };
                seen.push(piece(range));
                behind.extend(extent(to.start.0, range.len()).map(piece));
                ribbons.push(Ribbon {
                    left: (columns.len(), range.start.0),
                    right: (columns.len() + 1, to.start.0),
                    bytes: range.len(),
                    label: None,
                    bandwidth: None,
                    facts: vec![format!("{}: {} to {}", table.device, one.start, one.to)],
                });
            }
            columns.push(column(&format!("{}: device addresses", table.device), seen));
            columns.push(column(&format!("{}: memory", table.device), behind));
        }
        let panels = filled([Panel { title: "Device addresses".to_owned(), columns, ribbons }])?;
        Some(Picture {
            title: "IOMMUs".to_owned(),
            panels,
            notes: notes(&self.sources),
            ..Picture::default()
        })
    }
}
