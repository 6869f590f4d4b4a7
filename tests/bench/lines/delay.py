"""delay.py NAMESPACE NAMESPACE MS: one TAP device `line` in each, and every frame between them MS later.

It says "ready" on standard output, and runs until it is ended. The order of frames is kept; nothing is lost.
"""

import collections
import fcntl
import os
import select
import struct
import sys
import time

from network import Inside


def tap(namespace):
    with Inside(namespace):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"line", 0x1002))  # TUNSETIFF: IFF_TAP, IFF_NO_PI
    return device


def until_due(waiting):
    """Seconds until the next frame leaves; None without one. Each queue has pairs of when, and the frame."""
    due = min((queue[0][0] for queue in waiting if queue), default=None)
    return None if due is None else max(0, due - time.monotonic())


def send_due(waiting, taps):
    """What came by one device leaves by the other."""
    for queue, to in zip(waiting, reversed(taps)):
        while queue and queue[0][0] <= time.monotonic():
            try:
                os.write(to, queue.popleft()[1])
            except OSError:  # the device is not up yet
                pass


def main(near, far, delay_s):
    taps = [tap(near), tap(far)]
    waiting = [collections.deque(), collections.deque()]
    print("ready", flush=True)
    while True:
        for device in select.select(taps, [], [], until_due(waiting))[0]:
            frame = os.read(device, 65536)
            waiting[taps.index(device)].append((time.monotonic() + delay_s, frame))
        send_due(waiting, taps)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000)
