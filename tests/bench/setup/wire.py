"""What passes on a line, and what it means for a call that is set up."""

import os
import struct
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lines"))
from packets import Packets  # noqa: E402

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


class Wire(Packets):
    """What passes the device `line` of a namespace. `seen`: Unix seconds, `in` or `out`, and the kind of each."""

    def __init__(self, namespace):
        super().__init__(namespace, self.see)
        self.seen = []

    def see(self, t, way, payload, _bytes):
        what = kind(payload)
        if what:
            self.seen.append((t, way, what))


def first(seen, direction, what, since=0.0):
    """When the first of these passed, in Unix seconds; None: never."""
    return next((t for t, way, which in seen if (way, which) == (direction, what) and t >= since), None)
