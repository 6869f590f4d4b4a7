"""A PulseAudio of its own with null sinks: what is played into `x_voice` is what the microphone `x_mic` hears, and what a
program plays on the speaker `x_spk` is recorded from its monitor; x is a (alice) or b (bob)."""

import json
import os
import shutil
import subprocess
import threading
import time

import numpy

from quality import start_of
from speech import RATE, as_bytes

ENDS = ["a", "b"]
LATENCY_MS = 10


def missing():
    """What has to be installed first, or None."""
    return next((name for name in ("pulseaudio", "pacat", "pactl") if not shutil.which(name)), None)


class Pulse:
    def __init__(self, folder):
        self.folder = folder
        for name in ("run", "home"):
            os.makedirs(f"{folder}/{name}", mode=0o700)
        self.socket = f"{folder}/run/pulse.sock"
        self.environment = {"XDG_RUNTIME_DIR": f"{folder}/run", "PULSE_SERVER": f"unix:{self.socket}"}
        modules = [f"module-native-protocol-unix socket={self.socket} auth-anonymous=1"]
        for end in ENDS:
            modules += [f"module-null-sink sink_name={end}_{name} rate={RATE} channels=1" for name in ("spk", "voice")]
            modules.append(f"module-remap-source source_name={end}_mic master={end}_voice.monitor")
        command = ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--disable-shm=true", "--exit-idle-time=-1"]
        command += ["--realtime=no", "--high-priority=no", "--log-target=stderr"]
        command += [word for module in modules for word in ("-L", module)]
        self.log, own = open(f"{folder}/pulseaudio.err", "w"), {"XDG_RUNTIME_DIR": f"{folder}/run", "HOME": f"{folder}/home"}
        self.child = subprocess.Popen(command, env={**os.environ, **own}, stdout=self.log, stderr=self.log)
        self.wait_until_it_serves()

    def wait_until_it_serves(self):
        for _ in range(100):
            if self.child.poll() is not None:
                break
            sources = self.run("pactl", "list", "short", "sources")
            if all(f"{end}_mic" in sources for end in ENDS):
                return
            time.sleep(0.1)
        raise OSError(f"pulseaudio does not serve: see {self.folder}/pulseaudio.err")

    def run(self, *command):
        return subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True).stdout

    def client(self, *command, **pipes):
        return subprocess.Popen([*command], env={**os.environ, **self.environment}, stderr=subprocess.DEVNULL, **pipes)

    def play(self, end, samples):
        """Into a microphone; returns at once, with what can be waited for."""
        path = f"{self.folder}/said-{time.monotonic_ns()}.raw"
        with open(path, "wb") as file:
            file.write(as_bytes(samples))
        return self.client("pacat", "--playback", *format_of(f"{end}_voice"), "--latency-msec=500", path)

    def record(self, source):
        return Recording(self, source)

    def loop(self, sink, into, delay_ms, gain_db):
        """Plays what `sink` plays into another sink, so much later and louder; gives what `unloop` takes. The delay stays,
        because both sinks have one clock."""
        name = f"loop-{time.monotonic_ns()}"
        index = self.run(
            "pactl", "load-module", "module-loopback", f"source={sink}.monitor", f"sink={into}", f"latency_msec={delay_ms}",
            "adjust_time=0", "source_dont_move=true", "sink_dont_move=true", f"sink_input_properties=media.name={name}",
        ).strip()  # fmt: skip
        inputs = json.loads(self.run("pactl", "--format=json", "list", "sink-inputs"))
        looped = next((each["index"] for each in inputs if each["properties"].get("media.name") == name), None)
        if not index or looped is None:
            raise OSError("pulseaudio made no module-loopback")
        self.run("pactl", "set-sink-input-volume", str(looped), f"{gain_db}dB")
        return index

    def unloop(self, index):
        self.run("pactl", "unload-module", index)

    def end(self):
        self.child.terminate()
        self.child.wait()
        self.log.close()


def format_of(device):
    return [f"--device={device}", "--raw", f"--rate={RATE}", "--channels=1", "--format=s16le"]


class Recording:
    """What a source gives from now on, with the times at which it came."""

    def __init__(self, pulse, source):
        command = ["pacat", "--record", *format_of(source), f"--latency-msec={LATENCY_MS}"]
        self.child = pulse.client(*command, stdout=subprocess.PIPE)
        self.chunks, self.count, self.parts = [], 0, []
        threading.Thread(target=self.read, daemon=True).start()
        while not self.chunks:
            if self.child.poll() is not None:
                raise OSError(f"the recording of {source} ended")
            time.sleep(0.01)

    def read(self):
        file = self.child.stdout.fileno()
        while part := os.read(file, 65536):
            self.count += len(part)
            self.parts.append(part)
            self.chunks.append((time.time(), self.count // 2))

    def end(self):
        """The samples, and when the first one was taken."""
        self.child.terminate()
        self.child.wait()
        content = b"".join(self.parts)
        # The first chunks are what had been recorded before.
        return numpy.frombuffer(content[: len(content) // 2 * 2], "<i2") / 32768, start_of(self.chunks, RATE)
