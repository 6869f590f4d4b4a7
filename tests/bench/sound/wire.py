"""What passes a line, by kind, seen from outside of the programs."""

import socket
import struct
import threading
import time

from network import Inside


def kind_of(datagram):
    """RFC 7983, and RTP of sound or pictures by its size is not told: a call of sound alone has one kind."""
    first = datagram[0] if datagram else 255
    if first < 4:
        return "stun"
    if 20 <= first < 64:
        return "dtls"
    if 128 <= first < 192:
        return "rtcp" if len(datagram) > 1 and 192 <= datagram[1] < 224 else "rtp"
    return "other"


class Wire(threading.Thread):
    """Counts UDP that arrives at an address on `line`: packets and bytes with IP headers, by kind, until `stop`."""

    def __init__(self, namespace):
        super().__init__(daemon=True)
        with Inside(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
            self.socket.bind(("line", 0x0800))
        self.socket.settimeout(0.1)
        self.counts, self.first, self.stopped = {}, time.time(), False
        self.start()

    def run(self):
        while not self.stopped:
            try:
                packet, address = self.socket.recvfrom(65536)
            except socket.timeout:
                continue
            header = (packet[0] & 15) * 4
            if address[2] != socket.PACKET_HOST or packet[9] != 17:
                continue
            kind, size = kind_of(packet[header + 8 :]), struct.unpack_from(">H", packet, 2)[0]
            packets, octets = self.counts.get(kind, (0, 0))
            self.counts[kind] = (packets + 1, octets + size)

    def stop(self):
        """By kind: packets a second, kbit/s."""
        passed = time.time() - self.first
        self.stopped = True
        self.join()
        self.socket.close()
        return {kind: (packets / passed, octets * 8 / 1000 / passed) for kind, (packets, octets) in self.counts.items()}
