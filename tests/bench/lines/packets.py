"""What passes on a line, by a packet socket with the kernel's stamps."""

import select
import socket
import struct
import threading

from network import Inside

SO_TIMESTAMPNS = 35
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800
WAYS = {socket.PACKET_HOST: "in", socket.PACKET_OUTGOING: "out"}
UDP = 17


def udp(packet):
    """The payload of an IPv4 packet with UDP, or None."""
    if len(packet) < 28 or packet[9] != UDP:
        return None
    return packet[(packet[0] & 15) * 4 + 8 :]


class Packets(threading.Thread):
    """Reads UDP over IPv4 on the device `line` of a namespace, from `start` to `stop`. Each datagram goes to `take`: Unix
    seconds, `in` or `out`, its payload, and its bytes with the IP header."""

    def __init__(self, namespace, take):
        super().__init__(daemon=True)
        self.take, self.stopped = take, threading.Event()
        with Inside(namespace):
            # With ETH_P_ALL what leaves is shown too.
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.socket.bind(("line", ETH_P_ALL))

    def run(self):
        while not self.stopped.is_set():
            if not select.select([self.socket], [], [], 0.1)[0]:
                continue
            packet, ancillary, _, sender = self.socket.recvmsg(65536, 64)
            way, payload = WAYS.get(sender[2]), udp(packet) if sender[1] == ETH_P_IP else None
            if way and payload is not None:
                seconds, nanos = next(struct.unpack("qq", data[:16]) for _, _, data in ancillary)
                self.take(seconds + nanos / 1e9, way, payload, struct.unpack_from("!H", packet, 2)[0])

    def stop(self):
        self.stopped.set()
        self.join()
        self.socket.close()
