//! Figures of scenarios against impairments whose size is known.

use super::test;
use crate::support::TempDir;
use crate::support::call::Args;
use crate::support::turn::Turn;

#[test]
fn a_delay_a_loss_and_a_stall_are_measured_as_they_are() {
    let _turn = Turn::whole_machine();
    let folder = TempDir::new("measures");
    let names = ["delay", "loss", "stall"];
    test(Args::new(names), &folder).assert_passed(&names);
}
