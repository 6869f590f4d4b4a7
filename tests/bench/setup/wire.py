"""What passes on a device, by a packet socket with the kernel's stamps, and what it means for a call that is set up."""

import os
import select
import socket
import struct
import sys
import threading

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lines"))
from network import Inside  # noqa: E402

SO_TIMESTAMPNS = 35
OUTGOING = 4  # PACKET_OUTGOING
ETH_P_ALL = 3
VIDEO_TYPES = (96, 102)
MAGIC_COOKIE = b"\x21\x12\xa4\x42"
CHANGE_CIPHER_SPEC, HANDSHAKE = 20, 22
CLIENT_HELLO = 1


def kind(datagram):
    """What a UDP payload is, as far as it matters here: `check`, `hello`, `keys`, `picture`, `media`, or None.

    `hello`: a ClientHello. `keys`: the end of a flight that makes keys, ChangeCipherSpec. `picture`: the last packet of
    one; `media`: another packet of pictures or sound.
    """
    if len(datagram) < 13:
        return None
    if datagram[:2] == b"\x00\x01" and datagram[4:8] == MAGIC_COOKIE:
        return "check"
    if datagram[0] >> 6 == 2:
        is_video = datagram[1] & 127 in VIDEO_TYPES
        if 192 <= datagram[1] <= 223:  # RTCP
            return None
        return "picture" if is_video and datagram[1] & 128 else "media"
    found = None
    while len(datagram) >= 13 and datagram[0] in range(20, 64):
        length = struct.unpack_from("!H", datagram, 11)[0]
        body = datagram[13 : 13 + length]
        if datagram[0] == CHANGE_CIPHER_SPEC:
            return "keys"
        if datagram[0] == HANDSHAKE and datagram[3:5] == b"\0\0" and body[:1] == bytes([CLIENT_HELLO]):
            found = "hello"
        datagram = datagram[13 + length :]
    return found


def udp(frame):
    """The payload of an Ethernet frame with UDP over IPv4, or None."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return None
    return frame[14 + (frame[14] & 15) * 4 + 8 :]


class Wire(threading.Thread):
    """Reads the device `line` of a namespace until `stop`. `seen`: Unix seconds, `in` or `out`, and the kind of each."""

    def __init__(self, namespace):
        super().__init__(daemon=True)
        self.seen, self.stopped = [], threading.Event()
        with Inside(namespace):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.socket.bind(("line", ETH_P_ALL))

    def run(self):
        while not self.stopped.is_set():
            if not select.select([self.socket], [], [], 0.1)[0]:
                continue
            frame, ancillary, _, sender = self.socket.recvmsg(2048, 64)
            payload = udp(frame)
            what = kind(payload) if payload else None
            if what:
                seconds, nanos = next(struct.unpack("qq", data[:16]) for _, _, data in ancillary)
                self.seen.append((seconds + nanos / 1e9, "out" if sender[2] == OUTGOING else "in", what))

    def stop(self):
        self.stopped.set()
        self.join()
        self.socket.close()


def first(seen, direction, what, since=0.0):
    """When the first of these passed, in Unix seconds; None: never."""
    return next((t for t, way, which in seen if (way, which) == (direction, what) and t >= since), None)
