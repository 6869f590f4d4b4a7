"""forward.py NAMESPACE NAMESPACE: one TAP device `line` in each, and every frame between them, as it is told.

It says "ready" on standard output and reads objects from standard input, one a line, both directions at once:

    jitter_ms       each frame waits for that long at most, evenly spread; none overtakes another
    burst, share    of each RTP stream, bursts of so many packets are lost, so that this share of them is
"""

import collections
import json
import os
import random
import select
import sys
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lines"))
from delay import send_due, tap, until_due  # noqa: E402


class Losses:
    """Which packets of one RTP stream are lost."""

    def __init__(self):
        self.left = 0

    def loses(self, burst, share):
        if self.left:
            self.left -= 1
            return True
        # A burst begins so often among the packets that are outside of one.
        if share and random.random() < share / (burst * (1 - share)):
            self.left = burst - 1
            return True
        return False


def stream_of(frame):
    """The SSRC of an RTP packet in an Ethernet frame; None for what is none."""
    if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return None
    rtp = frame[14 + (frame[14] & 15) * 4 + 8 :]
    if len(rtp) < 12 or rtp[0] >> 6 != 2 or 192 <= rtp[1] <= 223:
        return None
    return bytes(rtp[8:12])


def main(near, far):
    taps, waiting = [tap(near), tap(far)], [collections.deque(), collections.deque()]
    told, losses, last = {"jitter_ms": 0, "burst": 1, "share": 0}, collections.defaultdict(Losses), [0.0, 0.0]
    print("ready", flush=True)
    inputs = [*taps, sys.stdin]
    while True:
        for source in select.select(inputs, [], [], until_due(waiting))[0]:
            if source is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    return
                told |= json.loads(line)
                continue
            frame, direction = os.read(source, 65536), taps.index(source)
            stream = stream_of(frame)
            if stream and losses[direction, stream].loses(told["burst"], told["share"]):
                continue
            at = time.monotonic() + random.random() * told["jitter_ms"] / 1000
            last[direction] = max(last[direction], at)
            waiting[direction].append((last[direction], frame))
        send_due(waiting, taps)


if __name__ == "__main__":
    main(*sys.argv[1:])
