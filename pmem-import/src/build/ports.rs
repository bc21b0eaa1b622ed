//! I/O ports outside of PCI functions.

use super::{Builder, model};
use crate::error::{ImportError, Warning};
use crate::resource::Resources;
use pmem_core::ArenaType;

impl Builder {
    /// Takes in what else `/proc/ioports` lists: inside root buses as regions there, the rest on the CPU's side.
    pub(super) fn add_ports(&mut self, ioports: &Resources) -> Result<(), ImportError> {
        if ioports.all.is_empty() {
            return Ok(());
        }
        let io = match self.system_io {
            Some(io) => io,
            None => {
                let io = self.manager.create_arena("system I/O", ArenaType::VIEW | ArenaType::IO);
                *self.system_io.insert(model("system I/O", io)?)
            }
        };
        for (index, line) in ioports.all.iter().enumerate() {
            if line.name.starts_with("PCI Bus ") || self.is_function(line) {
                continue;
            }
            if ioports.around(index).any(|outer| self.is_function(outer)) {
                self.label_inner(io, line);
                continue;
            }
            let nested = ioports.around(index).any(|outer| !outer.name.starts_with("PCI Bus "));
            let claimed = match self.owner_of(io, line.range) {
                Some((arena, local)) => {
                    let default = self.manager.state().arena(arena).and_then(|a| a.span_at(local.start()));
                    let default = default.map(|(_, span)| span.attrs).unwrap_or_default();
                    self.claim(arena, local, default, &line.name)
                }
                None => self.claim_on(io, line, &format!("proc/ioports:{}", line.line)),
            };
            match claimed {
                Ok(_) => {}
                Err(_) if nested => self.label_inner(io, line),
                Err(error) => {
                    let text = format!("{}: {}", line.name, self.explain(&error));
                    self.warnings.push(Warning::new(format!("proc/ioports:{}", line.line), text));
                }
            }
        }
        Ok(())
    }
}
