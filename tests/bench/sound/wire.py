"""What passes a line, by kind, seen from outside of the programs."""

import time

from packets import Packets


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


class Wire(Packets):
    """Counts UDP that arrives at an address on `line`: packets and bytes with IP headers, by kind, until `stop`."""

    def __init__(self, namespace):
        super().__init__(namespace, self.count)
        self.counts, self.first = {}, time.time()
        self.start()

    def count(self, _t, way, payload, octets_of_it):
        if way == "in":
            kind = kind_of(payload)
            packets, octets = self.counts.get(kind, (0, 0))
            self.counts[kind] = (packets + 1, octets + octets_of_it)

    def stop(self):
        """By kind: packets a second, kbit/s."""
        passed = time.time() - self.first
        super().stop()
        return {kind: (packets / passed, octets * 8 / 1000 / passed) for kind, (packets, octets) in self.counts.items()}
