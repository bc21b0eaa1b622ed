//! Drivers come and go.

use super::manager::Manager;
use crate::driver::{Driver, Subscription};
use crate::error::Error;
use crate::id::DriverId;
use crate::protocol::{attach, verify};
use alloc::boxed::Box;
use alloc::string::String;
use core::any::Any;

/// Drivers.
impl Manager {
    /// Registers a driver: it takes over or programs the present state, and is asked and told of changes from now on.
    ///
    /// # Errors
    /// [`Error::Refused`] with the driver's veto: it is then not registered.
    pub fn register(
        &mut self,
        mut driver: Box<dyn Driver>,
        subscription: Subscription,
    ) -> Result<DriverId, Error> {
        if let Err(veto) = attach(&mut *driver, &self.state) {
            return Err(Error::Refused {
                driver: DriverId::default(),
                name: String::from(driver.name()),
                veto,
            });
        }
        Ok(self.drivers.add(driver, subscription, &self.state))
    }

    /// Takes a driver out, and gives it back, to go on with as a `Box<dyn Any>` and to be downcast to what it is; hardware stays as it is.
    /// Regions that only it kept are let go.
    ///
    /// # Errors
    /// [`Error::NoDriver`].
    pub fn deregister(&mut self, driver: DriverId) -> Result<Box<dyn Driver>, Error> {
        let gone = self.drivers.remove(driver).ok_or(Error::NoDriver(driver))?;
        self.retry_condemned(&[driver]);
        Ok(gone)
    }

    /// The registered drivers, in the order in which they prepare, each with its name and whether it is degraded.
    pub fn drivers(&self) -> impl Iterator<Item = (DriverId, &str, bool)> {
        self.drivers.order().iter().filter_map(|id| {
            let registered = self.drivers.get(*id)?;
            Some((*id, registered.driver().name(), registered.is_degraded()))
        })
    }

    /// A driver, of a type that is known, to ask it what only it knows; `None` if there is none, or it is another.
    pub fn driver<D: Driver>(&self, driver: DriverId) -> Option<&D> {
        let driver: &dyn Any = self.drivers.get(driver)?.driver();
        driver.downcast_ref()
    }

    /// The same, where asking takes more: hardware that has to be asked, events that are told once. Whoever changes what it programs
    /// says so afterwards, by [`Self::degrade`].
    pub fn driver_mut<D: Driver>(&mut self, driver: DriverId) -> Option<&mut D> {
        let driver: &mut dyn Any = self.drivers.get_mut(driver)?.driver_mut();
        driver.downcast_mut()
    }

    /// Has a driver program everything again.
    ///
    /// # Errors
    /// [`Error::NoDriver`]; [`Error::Failed`] if it cannot: it is degraded then.
    pub fn resync(&mut self, driver: DriverId) -> Result<(), Error> {
        self.drivers.resync(driver, &self.state)
    }

    /// Has a driver read its hardware back and compare.
    ///
    /// # Errors
    /// [`Error::NoDriver`]; [`Error::Differs`] says where the hardware is not what the model says.
    pub fn verify(&mut self, driver: DriverId) -> Result<(), Error> {
        let registered = self.drivers.get_mut(driver).ok_or(Error::NoDriver(driver))?;
        let verified = verify(registered.driver_mut(), &self.state);
        let name = || String::from(registered.driver().name());
        verified.map_err(|mismatch| Error::Differs { driver, name: name(), mismatch })
    }

    /// Declares a driver's hardware not to be what the model says: the next change that concerns it begins with a resync.
    ///
    /// # Errors
    /// [`Error::NoDriver`].
    pub fn degrade(&mut self, driver: DriverId) -> Result<(), Error> {
        self.drivers.get_mut(driver).ok_or(Error::NoDriver(driver))?.set_degraded(true);
        Ok(())
    }
}
