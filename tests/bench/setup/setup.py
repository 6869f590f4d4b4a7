"""How long a call takes from the answer to keys and pictures, over lines with a round trip; `./dev bench setup` starts it.

See docs/TESTING.md. Media and signalling have lines of their own, both with the same round trip.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "lines"))
import figures  # noqa: E402
from command import Rows, say  # noqa: E402
from network import ADDRESSES, Inside, Line  # noqa: E402
from programs import Process, tring_program  # noqa: E402
from wire import Wire  # noqa: E402

# `options`: of bob, who is called. `limit`: with a path that is there while it rings (early), or without.
ROWS = {
    **{f"stranger-{ms}": {"round_ms": ms, "limit": "without", "options": []} for ms in (0, 50, 150)},
    **{f"known-{ms}": {"round_ms": ms, "limit": "early", "options": ["--early-media", "always"]} for ms in (0, 50, 150)},
}  # fmt: skip
# How far a line may be from its round trip.
WITHIN_MS = 6
# Between the ring and the answer: more than two round trips and a handshake.
RINGS_S = 1.2
PATIENCE_S = 20
# How much of the call is waited for after the answer.
TALKS_S = 2.5
# MQTT 3.1.1 CONNECT with a clean session, and what a broker answers.
CONNECT, CONNACK_BYTES = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x0a\x00\x03lab", 4


def go_ahead(pid):
    """On a busy machine lines must not become longer: they go before all ordinary work. What it starts does not."""
    os.sched_setscheduler(pid, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Signalling:
    """A broker of its own, and the way to it from both namespaces, as a context."""

    def __init__(self, line, round_ms, folder):
        self.line, self.round_ms, self.folder, self.children = line, round_ms, folder, []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        port = free_port()
        with open(f"{self.folder}/mosquitto.conf", "w") as file:
            file.write(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n")
            file.write("set_tcp_nodelay true\n")
        log = open(f"{self.folder}/broker.err", "w")
        self.children.append(subprocess.Popen(["mosquitto", "-c", file.name], stdout=log, stderr=log))
        until_it_listens(port)
        # Four legs make one round trip of signalling.
        command = [sys.executable, f"{HERE}/signalling.py", *self.line.namespaces, str(port), str(self.round_ms / 4)]
        way = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.children.append(way)
        if way.stdout.readline().strip() != "ready":
            raise OSError("signalling.py did not start")
        go_ahead(way.pid)
        go_ahead(self.children[0].pid)

    def measured_ms(self):
        """The round trip of signalling: twice the time of an answer of the broker."""
        times = []
        for _ in range(5):
            with Inside(self.line.namespaces[0]), socket.socket() as client:
                client.settimeout(5)
                client.connect((ADDRESSES[0], 1883))
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                start = time.perf_counter()
                client.sendall(CONNECT)
                if len(client.recv(16)) != CONNACK_BYTES:
                    raise OSError("the broker does not answer")
                times.append(time.perf_counter() - start)
        return statistics.median(times) * 2000

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.terminate()
            child.wait()


def until_it_listens(port):
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Peer:
    """A tring in a namespace. `times`: when each event came first, in Unix seconds, by its own clock, which is ours."""

    def __init__(self, line, peer, folder, program, command):
        self.times, self.news = {}, threading.Condition()
        options = f"--broker mqtt://{ADDRESSES[peer]}:1883 --video test --audio tone --show none --play none".split()
        options += ["--json", "--control", "-", "--codec", os.environ.get("CODEC", "vp8"), "--no-log"]
        environment = {f"XDG_{kind}_HOME": f"{folder}/{peer}" for kind in ("CONFIG", "DATA", "STATE")}
        self.process = Process(
            line.namespaces[peer], [program, *command, *options], folder, f"peer-{peer}-{time.time():.0f}", self.take,
            environment,
        )  # fmt: skip

    def take(self, event):
        with self.news:
            self.times.setdefault(event["event"], event["ts"] / 1000)
            self.news.notify_all()

    def wait(self, name, seconds=PATIENCE_S):
        with self.news:
            if not self.news.wait_for(lambda: name in self.times, seconds):
                raise OSError(f"no event {name} in {seconds} s; there were {sorted(self.times)}")

    def forget(self):
        with self.news:
            self.times.clear()


def measure(row, line, program, calls, folder):
    """Figures of each call that stood, and how many did not."""
    found, failed = [], 0
    bob = Peer(line, 1, folder, program, ["listen", "--id", "bob", "--answer", "ask", *row["options"]])
    try:
        bob.wait("online")
        for _ in range(calls):
            try:
                found.append(set_up(line, program, folder, bob, row))
            except OSError as error:
                say(f"  {error}: see {folder}")
                failed += 1
    finally:
        bob.process.tell(command="quit")
        bob.process.end()
    return found, failed


def set_up(line, program, folder, bob, row):
    wires = [Wire(namespace) for namespace in line.namespaces]
    bob.forget()
    for wire in wires:
        wire.start()
    alice = Peer(line, 0, folder, program, ["call", "bob", "--id", "alice"])
    try:
        bob.wait("incoming")
        alice.wait("ringing")
        time.sleep(RINGS_S)
        if "accepted" in bob.times or "accepted" in alice.times:
            raise OSError("it was accepted before it was answered")
        if row["limit"] == "early":
            alice.wait("path_ready")
            bob.wait("path_ready")
        answered_at = time.time()
        bob.process.tell(command="answer")
        for peer in (alice, bob):
            peer.wait("connected")
            peer.wait("first_frame")
        time.sleep(max(0, answered_at + TALKS_S - time.time()))
    finally:
        alice.process.tell(command="hangup")
        alice.process.end()
        for wire in wires:
            wire.stop()
    bob.wait("summary")
    check_before(row, [wire.seen for wire in wires], answered_at)
    return figures.of_call([wire.seen for wire in wires], [alice.times, bob.times], answered_at)


def check_before(row, seen, answered_at):
    """Nothing of what must not pass before the answer did."""
    before = [[what for t, way, what in of_peer if way == "in" and t < answered_at] for of_peer in seen]
    if any(what in ("picture", "media") for of_peer in before for what in of_peer):
        raise OSError("media came before the answer")
    if row["limit"] == "without" and any(before):
        raise OSError(f"a stranger's call has packets between the peers before the answer: {before}")


def run(name, program, calls):
    row = ROWS[name]
    folder = tempfile.mkdtemp(prefix="setup-")
    with Line(delay_ms=row["round_ms"] / 2) as line, Signalling(line, row["round_ms"], folder) as signalling:
        if line.delay:
            go_ahead(line.delay.pid)
        for what, is_ms in (("media", line.one_way_ms() * 2), ("signalling", signalling.measured_ms())):
            if abs(is_ms - row["round_ms"]) > WITHIN_MS:
                raise OSError(f"the round trip of {what} is {is_ms:.1f} ms")
            say(f"  round trip of {what}: {is_ms:.1f} ms")
        found, failed = measure(row, line, program, calls, folder)
    return {"row": name, "round_ms": row["round_ms"], "limit": row["limit"], "calls": found, "failed": failed}


def options():
    parser = Rows("setup", __doc__, ROWS)
    parser.add_argument("--calls", type=int, default=7, metavar="N", help="set-ups of each row")
    return parser.chosen()


def main():
    chosen = options()
    program, rows, broken = tring_program(), [], False
    go_ahead(os.getpid())
    for name in chosen.rows:
        say(name)
        try:
            rows.append(run(name, program, chosen.calls))
        except OSError as error:
            say(f"  {error}")
            broken = True
    print(figures.table(rows))
    sys.exit(1 if broken or any(row["failed"] for row in rows) else 0)


if __name__ == "__main__":
    main()
