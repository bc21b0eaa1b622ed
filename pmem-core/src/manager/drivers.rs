//! Registering drivers, removing them, and talking to them.

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
    /// Registers a driver. It takes over or programs the current state, and takes part in changes from now on.
    ///
    /// # Errors
    /// [`Error::Refused`] with the driver's veto. The driver is then not registered.
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

    /// Removes a driver and returns it. Convert it to `Box<dyn Any>` to downcast it to its type. The hardware stays
    /// as it is. Condemned regions that only this driver kept are released.
    ///
    /// # Errors
    /// [`Error::NoDriver`].
    pub fn deregister(&mut self, driver: DriverId) -> Result<Box<dyn Driver>, Error> {
        let gone = self.drivers.remove(driver).ok_or(Error::NoDriver(driver))?;
        self.retry_condemned(&[driver]);
        Ok(gone)
    }

    /// Returns the registered drivers in the order in which they prepare, each with its name and whether it is
    /// degraded.
    pub fn drivers(&self) -> impl Iterator<Item = (DriverId, &str, bool)> {
        self.drivers.order().iter().filter_map(|id| {
            let registered = self.drivers.get(*id)?;
            Some((*id, registered.driver().name(), registered.is_degraded()))
        })
    }

    /// Returns a driver as its type `D`, to ask it what only it knows; `None` if there is no such driver or it has
    /// another type.
    pub fn driver<D: Driver>(&self, driver: DriverId) -> Option<&D> {
        let driver: &dyn Any = self.drivers.get(driver)?.driver();
        driver.downcast_ref()
    }

    /// Like [`Self::driver`], mutably: for questions that access hardware or consume events. If you change what the
    /// driver programs, call [`Self::degrade`] afterwards.
    pub fn driver_mut<D: Driver>(&mut self, driver: DriverId) -> Option<&mut D> {
        let driver: &mut dyn Any = self.drivers.get_mut(driver)?.driver_mut();
        driver.downcast_mut()
    }

    /// Has a driver reprogram everything.
    ///
    /// # Errors
    /// [`Error::NoDriver`]; [`Error::Failed`] if the driver cannot. It is then degraded.
    pub fn resync(&mut self, driver: DriverId) -> Result<(), Error> {
        self.drivers.resync(driver, &self.state)
    }

    /// Has a driver read its hardware back and compare it with the model.
    ///
    /// # Errors
    /// [`Error::NoDriver`]; [`Error::Differs`] says where the hardware differs from the model.
    pub fn verify(&mut self, driver: DriverId) -> Result<(), Error> {
        let registered = self.drivers.get_mut(driver).ok_or(Error::NoDriver(driver))?;
        let verified = verify(registered.driver_mut(), &self.state);
        let name = || String::from(registered.driver().name());
        verified.map_err(|mismatch| Error::Differs { driver, name: name(), mismatch })
    }

    /// Declares that a driver's hardware differs from the model. The next change that concerns it begins with a
    /// resync.
    ///
    /// # Errors
    /// [`Error::NoDriver`].
    pub fn degrade(&mut self, driver: DriverId) -> Result<(), Error> {
        self.drivers.get_mut(driver).ok_or(Error::NoDriver(driver))?.set_degraded(true);
        Ok(())
    }
}
