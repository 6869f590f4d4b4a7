"""Calls of sound from alice to bob: of tring over a sound system of its own, of libwebrtc and aiortc from file to file.

Each has `speak(samples)`, which begins to play at alice's microphone, and `finish()`, which gives what was said and what
was heard on a common time base. Of tring both are recorded at the sound system. Of the others what is said leaves when
a microphone would give it, and what is heard is what they hand out to be played, at that time: no sound device counts.
"""

import os
import sys
import threading
import time

import numpy

import pulse
from quality import placed, real_time, start_of
from speech import RATE, as_bytes

HERE = os.path.dirname(os.path.abspath(__file__))
# After ours: both folders have a `report`.
sys.path.append(os.path.join(HERE, "..", "lines"))
from network import Line  # noqa: E402
from programs import CONNECT_S, ROOT, Call, Process, TringCall  # noqa: E402

# Room for the delay of the last word.
AFTER_S = 1.5


class ForwardedLine(Line):
    """A line by forward.py: jitter, and bursts of loss."""

    def connect(self):
        import subprocess

        from network import ADDRESSES, run, until_it_runs

        command = [sys.executable, f"{HERE}/forward.py", *self.namespaces]
        self.delay = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.delay.stdout.readline().strip() != "ready":
            raise OSError("forward.py did not start")
        for namespace, address in zip(self.namespaces, ADDRESSES):
            run(f"ip addr add {address}/24 dev line", namespace)
            run("ip link set lo up", namespace)
            run("ip link set line up", namespace)
        for namespace in self.namespaces:
            until_it_runs(namespace)

    def tell(self, **what):
        import json

        self.delay.stdin.write(json.dumps(what) + "\n")
        self.delay.stdin.flush()


class Conversation:
    """What was said and heard, as arrays that begin at `base`, in Unix seconds."""

    def __init__(self, said, heard, base):
        self.said, self.heard, self.base = said, heard, base


def conversation(said, said_at, heard, heard_at):
    base = said_at
    length = max(len(said), int((heard_at - base) * RATE) + len(heard))
    return Conversation(placed(said, said_at, base, length, RATE), placed(heard, heard_at, base, length, RATE), base)


class TringSound(TringCall):
    """Two trings with sound devices. `alice`, `bob`: options beside the usual ones. `peer`: command line of the end
    that calls in place of alice."""

    def __init__(self, line, program, sound, alice=(), bob=(), video="test", peer=None):
        self.sound, self.more, self.peer = sound, [list(alice), list(bob)], peer
        pictures = ["--video", video, "--show", "none"]
        self.common = [*pictures, "--json", "--control", "-", "--codec", "vp8"]
        self.events, self.spoken, self.heard_chunks = [[], []], threading.Event(), None
        self.recordings = {}
        super().__init__(line, program)

    def start(self, peer, *command):
        end = pulse.ENDS[peer]
        devices = ["--audio", f"mic:{end}_mic", "--play", f"speaker:{end}_spk"]
        # The last one counts, so those of a row come after; clap takes each once.
        given = {word for word in self.more[peer] if word.startswith("--")}
        devices = [word for pair in zip(devices[::2], devices[1::2]) if pair[0] not in given for word in pair]
        self.options = ["--broker", "mqtt://10.9.0.1:1883", *self.common, *devices, *self.more[peer]]
        self.environment |= self.sound.environment
        if self.peer:
            # It speaks tring's protocol and does not seal.
            self.environment["TRING_PLAIN"] = "true"
        if self.peer and peer == 0:
            return Process(self.line.namespaces[0], self.peer, self.folder, "alice", self.take_foreign)
        return super().start(peer, *command)

    def call(self):
        self.record(said="a_mic", heard="b_spk.monitor")
        return super().call()

    def record(self, **sources):
        for name, source in sources.items():
            self.recordings[name] = self.sound.record(source)

    def take(self, peer, event):
        self.events[peer].append(event)
        super().take(peer, event)

    def take_foreign(self, message):
        if "connected" in message:
            self.on_connected(0)
        elif "spoken" in message:
            self.spoken_at = message["spoken"]
            self.spoken.set()

    def stats(self, peer):
        return [event for event in self.events[peer] if event["event"] == "stats"]

    def speak(self, samples, end="a"):
        if self.peer and end == "a":
            self.said = samples
            tell_to_speak(self.peers[0], self.folder, samples)
            return None
        return self.sound.play(end, samples)

    def finish(self, ppm=0):
        heard, heard_at = self.recordings.pop("heard").end()
        said, said_at = self.recordings.pop("said").end()
        if self.peer:
            if not self.spoken.wait(1):
                raise OSError(f"alice did not speak: see {self.folder}")
            said, said_at = real_time(self.said, ppm), self.spoken_at
        return conversation(said, said_at, heard, heard_at)

    def finish_recording(self, name, base, length):
        samples, start = self.recordings.pop(name).end()
        return placed(samples, start, base, length, RATE)

    def end(self):
        for recording in self.recordings.values():
            recording.end()
        return super().end()


def tell_to_speak(process, folder, samples):
    path = f"{folder}/said.raw"
    with open(path, "wb") as file:
        file.write(as_bytes(samples))
    process.tell(speak=path)


class ForeignSound(Call):
    """Two ends that speak as peer.py says, and carry each other's descriptions by this program."""

    def __init__(self, line, commands):
        super().__init__(line)
        self.spoken, self.finished, self.chunks = threading.Event(), threading.Event(), None
        self.peers, self.told = [], [[], []]
        for peer, (command, environment) in enumerate(commands):
            name = ["alice", "bob"][peer]
            whole = [*command[:2], f"{self.folder}/{name}.raw", *command[2:]]
            self.peers.append(
                Process(line.namespaces[peer], whole, self.folder, name, lambda m, p=peer: self.take(p, m), environment)
            )

    def call(self):
        self.peers[0].tell(offer=True)
        return self

    def take(self, peer, message):
        if "description" in message:
            self.peers[1 - peer].tell(description=message["description"])
        elif "connected" in message:
            self.on_connected(peer)
        elif "spoken" in message and peer == 0:
            self.spoken_at = message["spoken"]
            self.spoken.set()
        elif "heard" in message and peer == 1:
            self.chunks = message["heard"]
            self.finished.set()
        elif "concealed" in message:
            figures = {"concealed": message["concealed"]}
            self.told[peer].append({"ts": message["at"] * 1000, "received": {"audio": figures}})

    def stats(self, peer):
        """What libwebrtc tells, in the form of tring's; aiortc tells nothing of it."""
        return self.told[peer]

    def speak(self, samples, end="a"):
        self.said = samples
        tell_to_speak(self.peers[0], self.folder, samples)

    def finish(self, ppm=0):
        self.peers[1].tell(finish=True)
        if not (self.spoken.wait(1) and self.finished.wait(10) and self.chunks):
            raise OSError(f"nothing was heard: see {self.folder}")
        heard = numpy.fromfile(f"{self.folder}/bob.raw", "<i2") / 32768
        return conversation(real_time(self.said, ppm), self.spoken_at, heard, start_of(self.chunks, RATE))

    def end(self):
        return [peer.end() for peer in self.peers]


def connected(call):
    """Waits until it stands, and a moment more."""
    call.call()
    if not call.connected.wait(CONNECT_S):
        raise OSError(f"no connection in {CONNECT_S} s: see {call.folder}")
    time.sleep(1.5)
    return call


NODE = (["node", f"{HERE}/peer.js"], {"NODE_PATH": f"{ROOT}/target/node/node_modules"})
PYTHON = f"{ROOT}/target/python/bin/python3"


def python_peer(*options):
    return ([PYTHON, f"{HERE}/peer.py", *map(str, options)], None)
