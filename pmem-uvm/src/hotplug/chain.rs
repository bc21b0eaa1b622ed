//! Chains of callbacks, like Linux's blocking notifiers.

use super::error::HotplugError;
use super::event::{Answer, Event, NotifierKey};
use crate::uvm::Uvm;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A hot-plug callback. It may hand out and free pages, but it cannot register or unregister callbacks.
pub type Callback = Box<dyn FnMut(&mut Uvm, &Event) -> Answer + Send>;

/// Callbacks in the order in which they are called: higher priority first, equals in the order of registration.
#[derive(Default)]
pub(super) struct Chain(Vec<Notifier>);

struct Notifier {
    key: NotifierKey,
    priority: i32,
    callback: Callback,
}

impl Chain {
    pub(super) fn register(
        &mut self,
        key: NotifierKey,
        priority: i32,
        callback: Callback,
    ) -> Result<(), HotplugError> {
        if self.0.iter().any(|other| other.key == key) {
            return Err(HotplugError::Exists(key));
        }
        let at = self.0.partition_point(|other| other.priority >= priority);
        self.0.insert(at, Notifier { key, priority, callback });
        Ok(())
    }

    pub(super) fn unregister(&mut self, key: NotifierKey) -> Result<(), HotplugError> {
        let at = self.0.iter().position(|other| other.key == key).ok_or(HotplugError::NoNotifier(key))?;
        self.0.remove(at);
        Ok(())
    }

    /// Calls the callbacks in order until one stops the chain, and `after` following each. Returns the last callback
    /// that was called and its answer.
    pub(super) fn call(
        &mut self,
        uvm: &mut Uvm,
        event: &Event,
        after: &mut dyn FnMut(&mut Uvm),
    ) -> (Option<NotifierKey>, Answer) {
        let mut last = (None, Answer::Done);
        for notifier in &mut self.0 {
            last = (Some(notifier.key), (notifier.callback)(uvm, event));
            after(uvm);
            if last.1.stops() {
                break;
            }
        }
        last
    }
}
