//! Prints the result of each check on the console.

use std::fmt::Debug;

/// Counts and prints checks.
pub struct Judge {
    unit: String,
    failed: usize,
}

impl Judge {
    /// Creates a judge for the checks of one unit.
    pub fn new(unit: &str) -> Self {
        Self { unit: unit.to_owned(), failed: 0 }
    }

    /// Checks that two values are the same.
    pub fn is<T: Debug + PartialEq>(&mut self, what: &str, has: T, wanted: T) {
        if has == wanted {
            println!("IOMMU-PASS {}: {what}", self.unit);
        } else {
            self.failed += 1;
            println!("IOMMU-FAIL {}: {what}: expected {wanted:?}, got {has:?}", self.unit);
        }
    }

    /// Records something that could not be tried as a failure.
    pub fn fails(&mut self, why: &str) {
        self.failed += 1;
        println!("IOMMU-FAIL {}: {why}", self.unit);
    }

    /// Prints a remark.
    pub fn note(&self, text: &str) {
        println!("IOMMU-NOTE {}: {text}", self.unit);
    }

    /// Returns `true` if all checks passed.
    pub fn is_clean(&self) -> bool {
        self.failed == 0
    }
}
