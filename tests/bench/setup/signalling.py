"""signalling.py NAMESPACE NAMESPACE PORT MS: the way to a broker on 127.0.0.1:PORT, MS long in each direction.

It takes connections on port 1883 of each namespace's address of the line, says "ready" on standard output, and runs until
it is ended. Bytes keep their order; nothing is lost.
"""

import collections
import os
import selectors
import socket
import sys
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lines"))
from delay import until_due  # noqa: E402
from network import ADDRESSES, Inside  # noqa: E402

PORT = 1883
CHUNK = 65536


class Way:
    """One direction of one connection: what was read from one end, until it is due at the other."""

    def __init__(self, source, sink, delay_s):
        self.source, self.sink, self.delay_s = source, sink, delay_s
        self.waiting = collections.deque()

    def read(self):
        """False when the sender has closed, which is carried with the same delay."""
        try:
            chunk = self.source.recv(CHUNK)
        except OSError:
            chunk = b""
        self.waiting.append((time.monotonic() + self.delay_s, chunk))
        return bool(chunk)

    def send_due(self):
        while self.waiting and self.waiting[0][0] <= time.monotonic():
            chunk = self.waiting.popleft()[1]
            try:
                if chunk:
                    self.sink.sendall(chunk)
                else:
                    self.sink.shutdown(socket.SHUT_WR)
            except OSError:  # the other end has gone
                pass


def listener(namespace, address):
    with Inside(namespace):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, PORT))
        listening.listen()
    return listening


def connect(listening, broker, delay_s):
    """Both ways of a connection that waits to be taken."""
    near, _ = listening.accept()
    far = socket.create_connection(broker)
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return [Way(near, far, delay_s), Way(far, near, delay_s)]


def main(namespaces, port, delay_s):
    selector, ways = selectors.DefaultSelector(), []
    for namespace, address in zip(namespaces, ADDRESSES):
        selector.register(listener(namespace, address), selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select(until_due([way.waiting for way in ways])):
            if key.data is None:
                for way in connect(key.fileobj, ("127.0.0.1", port), delay_s):
                    ways.append(way)
                    selector.register(way.source, selectors.EVENT_READ, way)
            elif not key.data.read():
                selector.unregister(key.fileobj)
        for way in ways:
            way.send_due()


if __name__ == "__main__":
    main(sys.argv[1:3], int(sys.argv[3]), float(sys.argv[4]) / 1000)
