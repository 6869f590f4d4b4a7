//! Figures of scenarios against impairments whose size is known.

use super::test;
use crate::support::TempDir;
use crate::support::call::{Args, alone};

#[test]
fn a_delay_a_loss_and_a_stall_are_measured_as_they_are() {
    let _alone = alone();
    let folder = TempDir::new("measures");
    let names = ["delay", "loss", "stall"];
    test(Args::new(names), &folder).assert_passed(&names);
}
