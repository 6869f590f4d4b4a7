//! Peers of another make, over the program's own servers.

use super::{scenario, test};
use crate::support::TempDir;
use crate::support::call::Args;
use crate::support::turn::Turn;

#[test]
fn a_script_takes_part() {
    let folder = TempDir::new("foreign");
    test(Args::new([scenario("foreign")]), &folder).assert_passed(&["foreign"]);
}

#[test]
fn a_client_of_another_make_is_called() {
    let _turn = Turn::whole_machine();
    let folder = TempDir::new("aiortc");
    test(Args::new([scenario("aiortc")]), &folder).assert_passed(&["aiortc"]);
}
