//! What was checked, for who reads the console.

use std::fmt::Debug;

/// Says of each check whether it held.
pub struct Judge {
    unit: String,
    failed: usize,
}

impl Judge {
    /// Of a unit.
    pub fn new(unit: &str) -> Self {
        Self { unit: unit.to_owned(), failed: 0 }
    }

    /// Two that must be the same.
    pub fn is<T: Debug + PartialEq>(&mut self, what: &str, has: T, wanted: T) {
        if has == wanted {
            println!("IOMMU-PASS {}: {what}", self.unit);
        } else {
            self.failed += 1;
            println!("IOMMU-FAIL {}: {what}: expected {wanted:?}, got {has:?}", self.unit);
        }
    }

    /// What could not be tried.
    pub fn fails(&mut self, why: &str) {
        self.failed += 1;
        println!("IOMMU-FAIL {}: {why}", self.unit);
    }

    /// For who wants to know.
    pub fn note(&self, text: &str) {
        println!("IOMMU-NOTE {}: {text}", self.unit);
    }

    /// Whether all held.
    pub fn is_clean(&self) -> bool {
        self.failed == 0
    }
}
