//! Archives, unpacked in memory. Entries that could reach outside the archive are left out, with a finding.

use crate::error::ImportError;
use crate::facts::{Finding, Findings};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Limits on what an archive unpacks to, in bytes and entries.
const MOST_BYTES: u64 = 512 << 20;
const MOST_ENTRIES: usize = 2_000_000;

#[derive(Clone, Debug)]
enum Kept {
    File(Arc<[u8]>),
    Link(String),
}

/// The files and links of an archive, by path.
#[derive(Clone, Debug, Default)]
pub struct Files {
    all: BTreeMap<String, Kept>,
    /// By folder: the names in it.
    folders: BTreeMap<String, BTreeSet<String>>,
}

/// The longest path that Linux allows (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;
/// How many links are followed in one path.
const MOST_LINKS: usize = 16;

impl Files {
    fn insert(&mut self, path: String, kept: Kept) {
        let mut child = path.as_str();
        while let Some((folder, name)) = child.rsplit_once('/').or((!child.is_empty()).then_some(("", child)))
        {
            // A folder that is already known has its parents already.
            if !self.folders.entry(folder.to_owned()).or_default().insert(name.to_owned()) {
                break;
            }
            child = folder;
        }
        self.all.insert(path, kept);
    }

    /// Resolves the links in a path; `None` if there are too many or one leads outside.
    fn real(&self, path: &str) -> Option<String> {
        let mut path = path.to_owned();
        // Any part of the path can be a link, and its target can contain more: start over after each.
        'again: for _ in 0..MOST_LINKS {
            let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
            for end in ends {
                if let Some(Kept::Link(target)) = self.all.get(&path[..end]) {
                    path = below(&path[..end], target)? + &path[end..];
                    continue 'again;
                }
            }
            return Some(path);
        }
        None
    }

    pub(super) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        match self.all.get(&self.real(path)?)? {
            Kept::File(bytes) => Some(bytes.to_vec()),
            Kept::Link(_) => None,
        }
    }

    pub(super) fn is_file(&self, path: &str) -> bool {
        self.real(path).is_some_and(|path| matches!(self.all.get(&path), Some(Kept::File(_))))
    }

    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let real = self.real(path);
        real.and_then(|path| self.folders.get(&path)).into_iter().flatten().cloned().collect()
    }

    pub(super) fn link(&self, path: &str) -> Option<String> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let real = self.real(folder)?;
        let path = if real.is_empty() { name.to_owned() } else { format!("{real}/{name}") };
        match self.all.get(&path)? {
            Kept::Link(target) => Some(target.clone()),
            Kept::File(_) => None,
        }
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.real(path).is_some_and(|path| self.all.contains_key(&path) || self.folders.contains_key(&path))
    }
}

/// Whether bytes are a tar file, possibly compressed with gzip.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    let tar = |bytes: &[u8]| bytes.get(257..262) == Some(b"ustar");
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return tar(bytes);
    }
    let mut begin = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(bytes).take(512).read_to_end(&mut begin);
    read.is_ok() && tar(&begin)
}

pub(super) fn unpack(name: &str, bytes: &[u8], findings: &mut Findings) -> Result<Files, ImportError> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        // Long names and extended headers are read whole before entries are counted, so the stream
        // itself is limited too.
        unpack_tar(name, flate2::read::MultiGzDecoder::new(bytes).take(2 * MOST_BYTES), findings)
    } else {
        unpack_tar(name, bytes, findings)
    }
}

fn unpack_tar(name: &str, tar: impl Read, findings: &mut Findings) -> Result<Files, ImportError> {
    let failed = |error| ImportError::Read { path: PathBuf::from(name), error };
    let too_large = || {
        let what = format!("unpacks to more than {MOST_BYTES} bytes");
        ImportError::NoSource { path: PathBuf::from(name), what }
    };
    let mut files: BTreeMap<String, Kept> = BTreeMap::new();
    let mut total = 0u64;
    let mut archive = tar::Archive::new(tar);
    for (count, entry) in archive.entries().map_err(failed)?.enumerate() {
        if count >= MOST_ENTRIES {
            let what = format!("more than {MOST_ENTRIES} entries");
            return Err(ImportError::NoSource { path: PathBuf::from(name), what });
        }
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                findings.cut_short(Finding::whole(
                    name,
                    format!("the archive is damaged from entry {} on: {error}", count + 1),
                ));
                break;
            }
        };
        let length = entry.path_bytes().len();
        if length > LONGEST_PATH {
            findings.push(Finding::whole(
                name,
                format!("entry {} has a path of {length} bytes: left out", count + 1),
            ));
            continue;
        }
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let leave_out = |what: &str| Finding::whole(name, format!("{shown}: {what}: left out"));
        let Some(path) = entry.path().ok().and_then(|path| plain(&path)) else {
            findings.push(leave_out("an absolute path, or one that leads out of the archive"));
            continue;
        };
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        // Each enclosing folder stores its path, so deep paths count against the limit.
        total += (path.len() * path.matches('/').count()) as u64;
        if total > MOST_BYTES {
            return Err(too_large());
        }
        if kind.is_symlink() {
            let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
            let Some(target) = target.filter(|target| below(&path, target).is_some()) else {
                findings.push(leave_out("a link that leads out of the archive"));
                continue;
            };
            if files.insert(path, Kept::Link(target)).is_some() {
                findings.push(Finding::whole(name, format!("{shown} appears twice: the last copy is used")));
            }
            continue;
        }
        if !(kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()) {
            findings.push(leave_out("neither a file, a folder nor a symbolic link"));
            continue;
        }
        let mut bytes = Vec::new();
        let room = MOST_BYTES - total;
        // One byte more than allowed shows that the limit is exceeded.
        match entry.by_ref().take(room + 1).read_to_end(&mut bytes) {
            Ok(read) if read as u64 > room => return Err(too_large()),
            Ok(read) => total += read as u64,
            Err(error) => {
                findings.cut_short(leave_out(&format!("the archive is damaged here: {error}")));
                break;
            }
        }
        if files.insert(path, Kept::File(bytes.into())).is_some() {
            findings.push(Finding::whole(name, format!("{shown} appears twice: the last copy is used")));
        }
    }
    Ok(rooted(files))
}

/// Returns a path of plain names; `None` if it is absolute or leads upwards.
fn plain(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?.to_owned()),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Returns where a link at `path` leads, as a path below the root; `None` if its target is absolute or
/// leads outside.
pub(super) fn below(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        return None;
    }
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()?),
            "" | "." => {}
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// If everything lies below one folder, and that is neither `proc` nor `sys`, strips it: archives often
/// have a top folder.
fn rooted(files: BTreeMap<String, Kept>) -> Files {
    let tops: BTreeSet<&str> = files.keys().map(|path| path.split('/').next().unwrap_or("")).collect();
    let strip = match tops.iter().next() {
        Some(top) if tops.len() == 1 && !["proc", "sys"].contains(top) && !files.contains_key(*top) => {
            top.len() + 1
        }
        _ => 0,
    };
    let mut out = Files::default();
    for (path, kept) in files {
        out.insert(path[strip..].to_owned(), kept);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            // Written as it is: the library would refuse such paths.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            let is_link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
            header.set_size(if is_link { 0 } else { content.len() as u64 });
            if is_link {
                header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
            }
            header.set_cksum();
            builder.append(&header, if is_link { &b""[..] } else { content.as_bytes() }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn what_leads_out_is_left_out_and_named() {
        use tar::EntryType::{Char, Link, Regular, Symlink};
        let bytes = tar(&[
            ("proc/iomem", Regular, "x"),
            ("/etc/passwd", Regular, "x"),
            ("proc/../../shadow", Regular, "x"),
            ("proc/out", Symlink, "/etc/passwd"),
            ("proc/up", Symlink, "../../etc"),
            ("proc/hard", Link, "/etc/passwd"),
            ("proc/null", Char, ""),
            ("sys/in", Symlink, "../proc/iomem"),
        ]);
        assert!(is_archive(&bytes));
        let mut findings = Findings::default();
        let files = unpack("c.tar", &bytes, &mut findings).unwrap();
        assert_eq!(files.names("proc"), ["iomem"]);
        assert_eq!(files.bytes("sys/in").as_deref(), Some(&b"x"[..]));
        let said: Vec<String> = findings.finish().iter().map(Finding::to_string).collect();
        for culprit in ["/etc/passwd", "proc/../../shadow", "proc/out", "proc/up", "proc/hard", "proc/null"] {
            assert!(
                said.iter().any(|line| line.starts_with(&format!("c.tar: {culprit}: "))),
                "{culprit}: {said:?}"
            );
        }
        assert_eq!(said.len(), 6);
    }

    #[test]
    fn links_that_lead_in_a_circle_end() {
        let bytes =
            tar(&[("proc/a", tar::EntryType::Symlink, "b"), ("proc/b", tar::EntryType::Symlink, "a")]);
        let files = unpack("c.tar", &bytes, &mut Findings::default()).unwrap();
        assert_eq!(files.bytes("proc/a"), None);
    }

    #[test]
    fn paths_longer_than_linux_has_are_left_out_and_named() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        tar.append_data(&mut header, "a/".repeat(2100) + "b", &b""[..]).unwrap();
        let mut findings = Findings::default();
        let files = unpack("t.tar", &tar.into_inner().unwrap(), &mut findings).unwrap();
        assert!(files.names("").is_empty());
        assert_eq!(findings.all[0].text, "entry 1 has a path of 4201 bytes: left out");
    }

    #[test]
    fn a_folder_around_everything_is_no_part_of_the_paths() {
        let bytes = tar(&[
            ("host/proc/iomem", tar::EntryType::Regular, "x"),
            ("host/sys/a/b", tar::EntryType::Regular, "y"),
        ]);
        let files = unpack("c.tar", &bytes, &mut Findings::default()).unwrap();
        assert_eq!(
            (files.names(""), files.names("sys/a")),
            (vec!["proc".to_owned(), "sys".to_owned()], vec!["b".to_owned()])
        );
    }
}
