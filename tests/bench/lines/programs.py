"""The programs that are measured: tring, libwebrtc and aiortc. Each is two processes, alice (who calls) and bob.

What they tell becomes samples of one form, every 250 ms or so:
    t           Unix seconds
    frames      pictures so far
    latencies   ms of each picture since the sample before, as far as they are known
    width       of the latest picture
    freezes     so far, by the W3C rule; frozen_ms: their length
    invented_s  seconds of sound so far that were made up, or are missing
    sound_ms    latency of sound: median of the steps of the tone in the last 2 s; None: not known
"""

import collections
import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time

from network import ADDRESSES, queue_ms

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(f"{HERE}/../../..")
CONNECT_S = 20
POLL_S = 0.25


class Process:
    """A program in a namespace; each of its lines, which are JSON, goes to `on_message`."""

    def __init__(self, namespace, command, folder, name, on_message, environment=None):
        self.log, self.said = open(f"{folder}/{name}.err", "w"), open(f"{folder}/{name}.ndjson", "w")
        # `ip netns exec` becomes the program, so the process ID is that of the program.
        self.child = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            text=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        self.pid, self.on_message = self.child.pid, on_message
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            self.said.write(line)
            if line.startswith("{"):
                self.on_message(json.loads(line))

    def tell(self, **message):
        try:
            self.child.stdin.write(json.dumps(message) + "\n")
            self.child.stdin.flush()
        except OSError:  # it ended
            pass

    def wait(self, seconds):
        """Its exit status; it is ended after so many seconds."""
        for signal_number in (signal.SIGINT, signal.SIGKILL):
            try:
                return self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.send_signal(signal_number)
                seconds = 3
        return self.child.wait()

    def end(self):
        try:
            self.child.stdin.close()
        except OSError:  # it ended, and the last message stayed here
            pass
        status = self.wait(5)
        self.log.close()
        self.said.flush()
        return status


class Freezes:
    """Freezes by the W3C rule: a gap of at least max(3 × average, average + 150 ms), average over the last 30."""

    def __init__(self):
        self.last, self.gaps, self.count, self.total_ms = None, collections.deque(maxlen=30), 0, 0

    def shown(self, at_ms):
        if self.last is not None:
            gap = at_ms - self.last
            average = statistics.fmean(self.gaps) if self.gaps else gap
            if gap >= max(3 * average, average + 150):
                self.count, self.total_ms = self.count + 1, self.total_ms + gap
            self.gaps.append(gap)
        self.last = at_ms


class Call:
    """`pids` and `samples` by peer; `connected` is set when both have a path and keys, at `connected_at`."""

    def __init__(self, line):
        self.line, self.samples, self.there = line, [[], []], set()
        self.connected, self.connected_at = threading.Event(), None
        self.folder = tempfile.mkdtemp(prefix="lines-")

    def on_connected(self, peer):
        self.there.add(peer)
        if len(self.there) == 2 and not self.connected.is_set():
            self.connected_at = time.time()
            self.connected.set()

    def set_rate(self, rate):
        self.line.set_rate(rate)

    @property
    def pids(self):
        return [peer.pid for peer in self.peers]


class TringCall(Call):
    def __init__(self, line, program):
        super().__init__(line)
        self.program, self.ended = program, threading.Event()
        environment = {f"XDG_{kind}_HOME": self.folder for kind in ("CONFIG", "DATA", "STATE")}
        with open(f"{self.folder}/mosquitto.conf", "w") as file:
            file.write(f"listener 1883 {ADDRESSES[0]}\nallow_anonymous true\npersistence false\nuser root\n")
            file.write("set_tcp_nodelay true\n")
        self.broker = Process(
            line.namespaces[0], ["mosquitto", "-c", file.name], self.folder, "broker", lambda _: None
        )  # fmt: skip
        self.options = f"--broker mqtt://{ADDRESSES[0]}:1883 --video test --audio tone --show none --play none".split()
        self.options += ["--json", "--control", "-", "--codec", os.environ.get("CODEC", "vp8")]
        self.environment, self.online, self.peers = environment, threading.Event(), []
        self.bob = self.start(1, "listen", "--id", "bob", "--answer", "auto")
        if not self.online.wait(CONNECT_S):
            raise OSError(f"{program} does not listen: see {self.folder}")

    def start(self, peer, *command):
        return Process(
            self.line.namespaces[peer], [self.program, *command, *self.options], self.folder, ["alice", "bob"][peer],
            lambda event: self.take(peer, event), self.environment,
        )  # fmt: skip

    def call(self):
        self.peers = [self.start(0, "call", "bob", "--id", "alice"), self.bob]
        threading.Thread(target=self.poll, daemon=True).start()
        return self

    def poll(self):
        """The program tells its figures once a second; that is too coarse for a freeze."""
        self.connected.wait()
        while not self.ended.wait(POLL_S):
            for peer in self.peers:
                peer.tell(command="stats")

    def take(self, peer, event):
        match event["event"]:
            case "online":
                self.online.set()
            case "connected":
                self.on_connected(peer)
            case "stats":
                self.samples[peer].append(self.sample(event))
            case "summary" if peer == 0:
                self.summary = event

    @staticmethod
    def sample(event):
        video, audio = event["received"].get("video") or {}, event["received"].get("audio") or {}
        return {
            "t": event["ts"] / 1000,
            "frames": video.get("frames") or 0,
            "latencies": video.get("latencies_ms") or [],
            "width": video.get("width") or 0,
            "freezes": video.get("freezes") or 0,
            "frozen_ms": video.get("frozen_ms") or 0,
            "invented_s": (audio.get("concealed") or 0) * 0.02,
            "sound_ms": audio.get("latency_ms"),
            "target_bps": event.get("target_bps"),
        }

    def set_up(self):
        """One more call, to its connection; its times in ms, or why there is none."""
        self.summary = None
        caller = self.start(0, "call", "bob", "--id", "alice", "--duration", "300ms")
        status = caller.wait(CONNECT_S + 20)
        caller.end()
        setup = (self.summary or {}).get("setup") or {}
        if status == 0 and setup.get("dtls_ms") is not None:
            return {"ice_ms": setup["ice_ms"], "dtls_ms": setup["dtls_ms"]}
        with open(f"{self.folder}/alice.err") as file:
            return {"failed": f"status {status}: {(file.read().splitlines() or [''])[-1]}"}

    def end(self):
        self.ended.set()
        for peer in [*self.peers, self.bob]:
            peer.tell(command="quit")
        statuses = [peer.end() for peer in self.peers or [self.bob]]
        self.broker.child.terminate()
        self.broker.end()
        return statuses


class EmulatedCall(TringCall):
    """The same over a line without limits, loss or delay: each peer does to what it sends what the line of the row would."""

    def __init__(self, line, program, emulated):
        self.emulated, line.rate = emulated, emulated.get("rate")
        super().__init__(line, program)

    def start(self, peer, *command):
        return super().start(peer, *command, "--impair", self.spec(self.emulated.get("rate"), seed=peer + 1))

    def set_rate(self, rate):
        self.line.rate = rate
        for peer in self.peers:
            peer.tell(command="impair", spec=self.spec(rate, seed=3))

    def spec(self, rate, seed):
        parts = [f"rate={rate}bit", f"queue={queue_ms(rate):.0f}ms"] if rate else []
        parts += [f"{name}={value}" for name, value in [("loss", self.share()), ("delay", self.delay())] if value]
        return f"up:{','.join([*parts, f'seed={seed}'])}" if parts else "none"

    def share(self):
        return f"{self.emulated['loss'] * 100:g}%" if self.emulated.get("loss") else None

    def delay(self):
        return f"{self.emulated['delay_ms']}ms" if self.emulated.get("delay_ms") else None


class ForeignCall(Call):
    """Two ends that speak as peer.js says, and carry each other's descriptions by this program."""

    def __init__(self, line, command, environment=None):
        super().__init__(line)
        self.freezes, self.steps, self.frames = [Freezes(), Freezes()], [[], []], [0, 0]
        self.set_ups, self.stands = [None, None], threading.Event()
        self.peers = [
            Process(line.namespaces[peer], command, self.folder, name, lambda m, p=peer: self.take(p, m), environment)
            for peer, name in enumerate(["alice", "bob"])
        ]

    def call(self):
        self.peers[0].tell(offer=True)
        return self

    def take(self, peer, message):
        if "description" in message:
            self.peers[1 - peer].tell(description=message["description"])
        elif "connected" in message:
            self.set_ups[peer] = message["connected"]
            if all(self.set_ups):
                self.stands.set()
            self.on_connected(peer)
        else:
            self.samples[peer].append(self.sample(peer, message))

    def sample(self, peer, message):
        freezes, steps = self.freezes[peer], self.steps[peer]
        for at_ms, _ in message["pictures"]:
            freezes.shown(at_ms)
        self.frames[peer] += len(message["pictures"])
        steps.extend(message["steps"])
        late = [late for at_ms, late in steps if at_ms > message["t"] - 2000]
        return {
            "t": message["t"] / 1000,
            "frames": self.frames[peer],
            "latencies": [late for _, late in message["pictures"] if late is not None],
            "width": message["width"],
            "freezes": freezes.count,
            "frozen_ms": freezes.total_ms,
            "invented_s": message["invented_s"],
            "sound_ms": statistics.median(late) if late else None,
        }

    def set_up(self):
        self.set_ups, self.samples = [None, None], [[], []]
        self.stands.clear()
        self.call()
        if self.stands.wait(CONNECT_S):
            # Of the caller, as tring tells it.
            return self.set_ups[0]
        return {"failed": f"no connection in {CONNECT_S} s"}

    def end(self):
        return [peer.end() for peer in self.peers]


def tring_program():
    program = os.path.abspath(os.environ.get("TRING") or f"{ROOT}/target/debug/tring")
    if not os.access(program, os.X_OK):
        raise SystemExit(f"no program {program}: build it, or name another by TRING=")
    return program


def tring():
    program = tring_program()
    return lambda line: TringCall(line, program)


def emulated(row):
    """tring over a line of a row that it emulates; None for one that it cannot."""
    program = tring_program()
    return None if row["line"].get("shared") else lambda line: EmulatedCall(line, program, row["line"])


def wrtc():
    modules = f"{ROOT}/target/node/node_modules"
    check = ["node", "-e", "require('@roamhq/wrtc')"]
    environment = {"NODE_PATH": modules}
    try:
        if subprocess.run(check, env={**os.environ, **environment}, capture_output=True).returncode:
            return None
    except OSError:
        return None
    return lambda line: ForeignCall(line, ["node", f"{HERE}/peer.js"], environment)


def aiortc():
    python = f"{ROOT}/target/python/bin/python3"
    try:
        if subprocess.run([python, "-c", "import aiortc"], capture_output=True).returncode:
            return None
    except OSError:
        return None
    return lambda line: ForeignCall(line, [python, f"{HERE}/peer.py"])


# What starts a call on a line, or None: not installed.
PROGRAMS = {"tring": tring, "libwebrtc": wrtc, "aiortc": aiortc}
