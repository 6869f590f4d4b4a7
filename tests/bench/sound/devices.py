"""A call from a microphone to a speaker, on a quiet machine and on a loaded one, measured from outside.

    devices.py PROGRAM [--load N] [--seconds N] [--runs N] [--video SOURCE] [--impair SPEC] [--no-real-time]

PROGRAM is a built `tring`. PulseAudio's null sinks stand for the devices, mosquitto for the broker; both are the script's own.
Each run is one call. A tone, then speech, then sweeps are spoken into the microphone of the caller; what the listener's
speaker plays is recorded from the sink's monitor. A control stream plays a tone on a sink of the same server meanwhile:
what it loses is the server's and the recorder's fault. Printed are:

    start     jumps and gaps of the tone in the first 10 s of the call, which begin with the first sound
    tone      the same of the time after it
    control   the same of the control stream, all the time
    PESQ      of the speech (ITU-T P.862.2, 1 to 4.6)
    delay     from the microphone's sink to the speaker's, ms: median of the sweeps
    and what the listener counted: underruns, packets skipped, holes, sound stretched and shrunk

A jump is a change of phase by more than 0.5 rad between two pieces of 5 ms, or a level that falls to half within one.
With --load N as many busy loops run, in the session of the script and not nice. See docs/TESTING.md."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy
from pesq import NoUtterancesError, pesq
from scipy.signal import chirp, correlate, resample_poly

import speech
from speech import RATE

TONE_HZ = 600
CONTROL_HZ = 800
START_S = 10

# Of the phase and the level of a tone.
PIECE = RATE // 200
JUMP_RAD = 0.5


def tone(hz, seconds):
    return (numpy.sin(2 * numpy.pi * hz * numpy.arange(int(seconds * RATE)) / RATE) * 12_000).astype("<i2")


def sweeps(count):
    """One each half second: 100 ms that are found again."""
    one = numpy.zeros(RATE // 2)
    one[: RATE // 10] = chirp(numpy.arange(RATE // 10) / RATE, 300, 0.1, 3_400) * 12_000 * numpy.hanning(RATE // 10)
    return numpy.tile(one, count).astype("<i2"), one[: RATE // 10]


def sentences(folder):
    parts = []
    for sentence, voice in zip(speech.SENTENCES[:2], speech.VOICES):
        said = (speech.speak(sentence, voice, folder) * 32768).astype("<i2")
        parts += [said, numpy.zeros(RATE // 2, dtype="<i2")]
    return numpy.concatenate(parts)


class Pulse:
    """A PulseAudio of our own: what is played into `voice` is heard by `mic`; `spk` and `control` are speakers."""

    def __init__(self, folder):
        for name in ("run", "home"):
            os.makedirs(os.path.join(folder, name), mode=0o700)
        path = os.path.join(folder, "run/pulse.sock")
        self.env = {"XDG_RUNTIME_DIR": os.path.join(folder, "run"), "HOME": os.path.join(folder, "home")}
        modules = [f"module-native-protocol-unix socket={path} auth-anonymous=1"]
        modules += [f"module-null-sink sink_name={name} rate={RATE} channels=1" for name in ("spk", "voice", "control")]
        modules += ["module-remap-source source_name=mic master=voice.monitor"]
        arguments = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=true"]
        arguments += ["--realtime=no", "--high-priority=no", "--log-target=stderr"]
        arguments += [word for module in modules for word in ("-L", module)]
        log = open(os.path.join(folder, "pulse.log"), "w")
        self.process = subprocess.Popen(arguments, env={**os.environ, **self.env}, stderr=log)
        self.env["PULSE_SERVER"] = f"unix:{path}"
        deadline = time.monotonic() + 20
        while subprocess.run(["pactl", "set-default-sink", "spk"], env=self.all(), capture_output=True).returncode:
            if time.monotonic() > deadline:
                sys.exit("pulseaudio does not start")
            time.sleep(0.1)
        subprocess.run(["pactl", "set-default-source", "mic"], env=self.all(), check=True)

    def all(self):
        return {**os.environ, **self.env}

    def play(self, sink, samples):
        """Plays to the end, as a thread of its own would."""
        arguments = ["pacat", "--playback", "--raw", f"--device={sink}", f"--rate={RATE}", "--channels=1", "--format=s16le"]
        return subprocess.Popen([*arguments, "--latency-msec=200"], stdin=subprocess.PIPE, env=self.all()), samples.tobytes()

    def close(self):
        self.process.terminate()
        self.process.wait()


class Recording(threading.Thread):
    """What a source gives, and when: each sample's time is that of the fastest piece."""

    def __init__(self, pulse, source):
        super().__init__(daemon=True)
        arguments = ["parec", "--raw", f"--device={source}", f"--rate={RATE}", "--channels=1", "--format=s16le"]
        self.process = subprocess.Popen([*arguments, "--latency-msec=20"], stdout=subprocess.PIPE, env=pulse.all())
        self.pieces, self.begun = [], None
        self.start()

    def run(self):
        count = 0
        while piece := os.read(self.process.stdout.fileno(), 1 << 16):
            self.pieces.append(piece)
            count += len(piece)
            begun = time.monotonic() - count / 2 / RATE
            self.begun = begun if self.begun is None else min(self.begun, begun)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.join()
        self.process.wait()
        raw = b"".join(self.pieces)
        self.samples = numpy.frombuffer(raw[: len(raw) // 2 * 2], dtype="<i2")

    def between(self, start, end):
        """The samples from one time to another."""
        first, last = (max(0, int((at - self.begun) * RATE)) for at in (start, end))
        return self.samples[first:last]


def jumps(samples, hz):
    """Jumps of phase, and pieces without sound, in a tone; None without one. Its edges are left out."""
    count = len(samples) // PIECE
    times = numpy.arange(count * PIECE) / RATE
    turned = samples[: count * PIECE].astype(float) * numpy.exp(-2j * numpy.pi * hz * times)
    pieces = turned.reshape(count, PIECE).mean(axis=1)
    level = numpy.abs(pieces)
    loud = numpy.median(level) / 2
    if loud < 100:
        return None
    heard = numpy.nonzero(level > loud)[0]
    pieces, level = pieces[heard[0] + 2 : heard[-1] - 1], level[heard[0] + 2 : heard[-1] - 1]
    silent = level < loud
    both = ~(silent[1:] | silent[:-1])
    turn = numpy.angle(pieces[1:] * numpy.conj(pieces[:-1]))
    phases = int((numpy.abs(turn[both]) > JUMP_RAD).sum())
    gaps = int((silent[1:] & ~silent[:-1]).sum())
    return phases + gaps, int(silent.sum()) * 1000 * PIECE // RATE


def told(found):
    return "nothing heard" if found is None else f"{found[0]} jumps, {found[1]} ms silent"


def mark(reference, heard):
    """PESQ, after the two were aligned as a whole."""
    low, other = (resample_poly(samples.astype(float), 1, 3) for samples in (reference, heard))
    lag = int(correlate(other, low, mode="full", method="fft").argmax()) - len(low) + 1
    other = other[max(0, lag) : max(0, lag) + len(low)]
    try:
        return pesq(16_000, low.clip(-32768, 32767).astype("<i2"), other.clip(-32768, 32767).astype("<i2"), "wb")
    except (NoUtterancesError, ValueError):
        return 1.0


def delays(said, heard, one, start, count):
    found = []
    for number in range(count):
        at = start + number * 0.5
        here, there = said.between(at - 0.05, at + 0.45), heard.between(at - 0.05, at + 0.85)
        if min(len(here), len(there)) < RATE // 3:
            continue
        places = [int(numpy.abs(correlate(sound.astype(float), one, mode="valid", method="fft")).argmax()) for sound in (here, there)]
        found.append((places[1] - places[0]) * 1000 / RATE)
    return numpy.median(found) if found else float("nan")


class Peer:
    """A `tring` at work; its events."""

    def __init__(self, program, arguments, env, launcher):
        arguments = [*launcher, program, *arguments, "--json", "--no-log", "--no-notify"]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env, text=True)
        self.events = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def wait(self, name, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(event["event"] == name for event in self.events):
                return
            time.sleep(0.02)
        sys.exit(f"no {name} within {seconds} s: {self.events[-3:]}")

    def last(self, name):
        return next((event for event in reversed(self.events) if event["event"] == name), None)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def broker(folder):
    port = free_port()
    path = os.path.join(folder, "mosquitto.conf")
    with open(path, "w") as file:
        file.write(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    process = subprocess.Popen([program, "-c", path], stderr=subprocess.DEVNULL)
    while socket.socket().connect_ex(("127.0.0.1", port)):
        time.sleep(0.05)
    return process, f"mqtt://127.0.0.1:{port}"


def run(options, folder):
    pulse = Pulse(folder)
    mosquitto, url = broker(folder)
    spoken = sentences(folder)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.load)]
    # A user without the right to real time.
    launcher = ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", "prlimit", "--rtprio=0:0"] if options.no_real_time else []
    env = pulse.all()
    common = ["--broker", url, "--show", "none", "--video", options.video]
    try:
        control = Recording(pulse, "control.monitor")
        heard, said = Recording(pulse, "spk.monitor"), Recording(pulse, "voice.monitor")
        seconds = START_S + options.seconds
        controlling, bytes_ = pulse.play("control", tone(CONTROL_HZ, seconds + 30 + len(spoken) / RATE))
        threading.Thread(target=feed, args=(controlling, bytes_), daemon=True).start()
        talking, bytes_ = pulse.play("voice", tone(TONE_HZ, seconds + 15))
        threading.Thread(target=feed, args=(talking, bytes_), daemon=True).start()
        impair = ["--impair", options.impair] if options.impair else []
        bob = Peer(options.program, ["listen", "--id", "bob", "--answer", "auto", "--once", "--audio", "none", "--play", "speaker", "--ring", "none", *common, *impair], env, launcher)
        bob.wait("online")
        alice = Peer(options.program, ["call", "bob", "--id", "alice", "--audio", "mic", "--voice", "raw", "--play", "none", *common], env, launcher)
        bob.wait("first_audio")
        begun = time.monotonic()
        time.sleep(seconds + 0.5)
        toned = time.monotonic()
        talking.kill()
        time.sleep(1)
        speaking, bytes_ = pulse.play("voice", spoken)
        spoke = time.monotonic()
        feed(speaking, bytes_)
        speaking.wait()
        time.sleep(1)
        count = 12
        signals, one = sweeps(count)
        speaking, bytes_ = pulse.play("voice", signals)
        feed(speaking, bytes_)
        speaking.wait()
        swept = time.monotonic()
        time.sleep(1.2)
        figures = bob.last("stats")["received"]["audio"]
        voice = alice.last("stats")["voice"]
        for recording in (control, heard, said):
            recording.stop()
        alice.end()
        bob.process.wait(30)
    finally:
        for process in busy:
            process.kill()
        mosquitto.terminate()
        pulse.close()
    first = said_start(said, one, swept, count)
    parts = {
        "start": told(jumps(heard.between(begun, begun + START_S), TONE_HZ)),
        "tone": told(jumps(heard.between(begun + START_S, toned - 0.3), TONE_HZ)),
        "control": told(jumps(control.between(begun, swept), CONTROL_HZ)),
        "PESQ": f"{mark(spoken, heard.between(spoke - 0.2, spoke + len(spoken) / RATE + 1.5)):.2f}",
        "delay": f"{delays(said, heard, one, first, count):.0f} ms",
        "counted": ", ".join(f"{name} {figures[name]}" for name in ("underruns", "skipped", "holes", "lost", "stretched_ms", "shrunk_ms", "buffer_ms")),
        "overruns": voice.get("overruns"),
    }
    for name, value in parts.items():
        print(f"{name:9} {value}")
    if options.keep:
        for name, recording in (("heard", heard), ("said", said), ("control", control)):
            recording.samples.tofile(os.path.join(options.keep, f"{name}.raw"))
    sys.stdout.flush()


def said_start(said, one, swept, count):
    """When the first sweep was said: they are the last that were."""
    window = swept - count * 0.5 - 1.5
    sound = said.between(window, window + 2.0)
    found = numpy.abs(correlate(sound.astype(float), one, mode="valid", method="fft"))
    first = numpy.nonzero(found > found.max() / 2)[0][0]
    return window + first / RATE


def feed(process, data):
    try:
        process.stdin.write(data)
        process.stdin.close()
    except (BrokenPipeError, OSError):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--load", type=int, default=0, help="busy loops beside (default 0)")
    parser.add_argument("--seconds", type=float, default=20, help="length of the tone after the first 10 s (default 20)")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--video", default="none", help="video source of both (default none)")
    parser.add_argument("--impair", help="a bad network for the listener, as of --impair")
    parser.add_argument("--no-real-time", action="store_true", help="as a user without the right to it (needs root)")
    parser.add_argument("--keep", help="a folder for what was recorded")
    options = parser.parse_args()
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            run(options, folder)


if __name__ == "__main__":
    main()
