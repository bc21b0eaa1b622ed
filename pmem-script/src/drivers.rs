//! Scripted drivers: they trace their calls, and fail on request.

use super::names::Names;
use super::words::Words;
use pmem_core::test_util::{Call, Faults, Faulty, Log, Quiet, Tracer};
use pmem_core::{Driver, DriverId, Interest, Manager, Props, Prot, Scope, Subscription, Usage};
use std::collections::BTreeMap;

/// The drivers that a script has created.
#[derive(Default)]
pub(super) struct Drivers {
    all: BTreeMap<String, Scripted>,
    log: Log,
}

impl Drivers {
    /// Returns the calls traced since the last time, oldest first.
    pub(super) fn told(&self) -> Vec<String> {
        self.log.take()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    pub(super) fn forget_all(&mut self) {
        self.all.clear();
    }

    pub(super) fn forget(&mut self, id: DriverId) {
        self.all.retain(|_, driver| driver.id != id);
    }
}

/// A scripted driver that is registered.
struct Scripted {
    id: DriverId,
    faults: Faults,
}

/// Creates a driver that traces its calls into `log`.
fn make(name: &str, log: &Log) -> (Box<dyn Driver>, Faults) {
    let faults = Faults::default();
    let driver = Tracer::around(Faulty::around(Quiet::new(name), &faults), log);
    (Box::new(driver), faults)
}

/// Parses the name of a driver call.
fn step(word: &str) -> Result<Call, String> {
    match word {
        "attach" => Ok(Call::Attach),
        "prepare" => Ok(Call::Prepare),
        "withdraw" => Ok(Call::Withdraw),
        "install" => Ok(Call::Install),
        "revert-withdraw" => Ok(Call::RevertWithdraw),
        "revert-install" => Ok(Call::RevertInstall),
        "resync" => Ok(Call::Resync),
        _ => Err(format!(
            "no step {word:?}: attach, prepare, withdraw, install, revert-withdraw, revert-install or resync"
        )),
    }
}

impl Drivers {
    /// Carries out `driver`, `veto` or `fault`.
    pub(super) fn command(
        &mut self,
        manager: &mut Manager,
        names: &mut Names,
        words: &Words<'_>,
    ) -> Result<String, String> {
        match words.name {
            "veto" => self.arm(words, Call::Prepare, 1),
            "fault" => self.arm(words, step(words.word(1, "STEP")?)?, 2),
            _ => self.driver(manager, names, words),
        }
    }

    fn driver(
        &mut self,
        manager: &mut Manager,
        names: &mut Names,
        words: &Words<'_>,
    ) -> Result<String, String> {
        words.only(&["scope", "priority", "usage", "prot", "props", "fail"])?;
        let name = words.word(0, "NAME")?;
        if self.has(name) {
            return Err(format!("there is a driver {name:?} already"));
        }
        let scopes: Result<Vec<Scope>, String> =
            words.options("scope").map(|text| scope(names, text)).collect();
        let mut scopes = scopes?;
        if scopes.is_empty() {
            scopes.push(Scope::Everything);
        }
        let mut interest = Interest::default();
        if words.option("usage").or(words.option("prot")).or(words.option("props")).is_some() {
            interest.usage =
                words.option("usage").map_or(Some(Usage::empty()), Usage::from_words).ok_or("no usage")?;
            interest.prot =
                words.option("prot").map_or(Some(Prot::empty()), Prot::from_words).ok_or("no protection")?;
            interest.props =
                words.option("props").map_or(Some(Props::empty()), Props::from_words).ok_or("no property")?;
        }
        let priority =
            words.option("priority").map_or(Ok(0), str::parse).map_err(|_| "no priority".to_owned())?;
        let (driver, faults) = make(name, &self.log);
        if words.option("fail") == Some("attach") {
            faults.arm(Call::Attach, 1);
        }
        let subscription = Subscription::new(scopes).interest(interest).priority(priority);
        let id = manager.register(driver, subscription).map_err(|e| e.to_string())?;
        names.drivers.insert(name.to_owned(), id);
        self.all.insert(name.to_owned(), Scripted { id, faults });
        Ok(String::new())
    }

    fn scripted(&self, words: &Words<'_>) -> Result<&Scripted, String> {
        let name = words.word(0, "DRIVER")?;
        self.all.get(name).ok_or_else(|| format!("no driver {name:?}"))
    }

    /// Makes the `K`th call from now on fail.
    fn arm(&self, words: &Words<'_>, call: Call, index: usize) -> Result<String, String> {
        let nth =
            words.word(index, "K").map_or(Ok(1), str::parse).map_err(|_| "K is no number".to_owned())?;
        if nth == 0 {
            return Err("K counts from 1".to_owned());
        }
        self.scripted(words)?.faults.arm(call, nth);
        Ok(String::new())
    }
}

fn scope(names: &Names, text: &str) -> Result<Scope, String> {
    match text.split_once(':') {
        None if text == "all" => Ok(Scope::Everything),
        Some(("arena", name)) => Ok(Scope::Arena(names.arena(name)?)),
        Some(("link", name)) => Ok(Scope::Link(names.link(name)?)),
        Some(("view", name)) => Ok(Scope::View(names.arena(name)?)),
        _ => Err(format!("{text:?} is no scope: all, arena:NAME, link:NAME or view:NAME")),
    }
}
