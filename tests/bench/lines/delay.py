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


def main(near, far, delay_s):
    taps = [tap(near), tap(far)]
    waiting = [collections.deque(), collections.deque()]
    print("ready", flush=True)
    while True:
        due = min((queue[0][0] for queue in waiting if queue), default=None)
        wait = None if due is None else max(0, due - time.monotonic())
        for device in select.select(taps, [], [], wait)[0]:
            frame = os.read(device, 65536)
            waiting[taps.index(device)].append((time.monotonic() + delay_s, frame))
        for queue, to in zip(waiting, reversed(taps)):
            while queue and queue[0][0] <= time.monotonic():
                try:
                    os.write(to, queue.popleft()[1])
                except OSError:  # the device is not up yet
                    pass


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000)
