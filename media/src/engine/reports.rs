//! The reception reports of an RTCP packet, whichever kind carries them.

use rtc::rtcp::Packet;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;

/// What a packet says of streams that its sender receives (RFC 3550 §6.4): the report blocks of a sender report or a
/// receiver report; none for any other packet.
pub(super) fn reception_reports(packet: &dyn Packet) -> &[ReceptionReport] {
    let packet = packet.as_any();
    if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
        &report.reports
    } else if let Some(report) = packet.downcast_ref::<SenderReport>() {
        &report.reports
    } else {
        &[]
    }
}
