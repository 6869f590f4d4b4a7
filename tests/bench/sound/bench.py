"""What all rows need: programs, texts, a sound system, and a call from alice to bob by one of the programs."""

import contextlib
import os
import subprocess
import tempfile
import time

import numpy
from scipy.signal import resample_poly

import calls
import pulse
import speech
from quality import lag_of
from speech import RATE

try:
    from pesq import NoUtterancesError, pesq
except ImportError:
    pesq = None

# Real-time priority: any goes before all ordinary work.
AHEAD = 5
PROGRAMS = ["tring", "libwebrtc", "aiortc"]


class NotInstalled(Exception):
    """Names what is missing."""


def installed(program):
    if program == "tring":
        return pulse.missing() is None
    if program == "libwebrtc":
        command, environment = ["node", "-e", "require('@roamhq/wrtc')"], calls.NODE[1]
    else:
        command, environment = [calls.PYTHON, "-c", "import aiortc"], {}
    with contextlib.suppress(OSError):
        return subprocess.run(command, env={**os.environ, **environment}, capture_output=True).returncode == 0
    return False


@contextlib.contextmanager
def ahead(wanted):
    """What is started within goes before what else the machine does, so that the machine is as good as quiet."""
    if not wanted:
        yield
        return
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(AHEAD))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Bench:
    """`seconds`: of the rows clock-…; `ahead`: see there."""

    def __init__(self, tring, texts, sound, seconds, ahead=False):
        self.tring, self.texts, self.sound, self.seconds, self.ahead = tring, texts, sound, seconds, ahead

    @contextlib.contextmanager
    def call(self, program, line, *, sender=(), **options):
        """A call that stands. `sender`: options of peer.py, which then speaks in place of alice; `options`: of a tring."""
        sender = list(map(str, sender))
        if sender and not installed("aiortc"):
            raise NotInstalled("aiortc, which calls here, is not installed")
        with ahead(self.ahead), line:
            if program == "tring":
                if sender:
                    command, _ = calls.python_peer("unused.raw", "--broker", "10.9.0.1:1883", *sender)
                    options["peer"] = command
                call = calls.TringSound(line, self.tring, self.sound, **options)
            else:
                own = calls.NODE if program == "libwebrtc" else calls.python_peer()
                call = calls.ForeignSound(line, [calls.python_peer(*sender) if sender else own, own])
            try:
                yield calls.connected(call)
            finally:
                call.end()

    def script(self, count=None):
        """The first text to begin with, and then each: sound, and places of what is to be judged."""
        names = list(self.texts)[: count or len(self.texts)]
        samples, places = speech.script([names[0], *names], self.texts)
        return samples, places[1:]

    def looped(self, seconds):
        samples, _ = speech.script(list(self.texts), self.texts)
        return numpy.tile(samples, int(seconds * RATE / len(samples)) + 1)[: int(seconds * RATE)]


def say(call, samples, end="a"):
    """Says it to its end, and waits until it has come through."""
    playing = call.speak(samples, end)
    time.sleep(len(samples) / RATE)
    if playing:
        playing.wait(30)
    time.sleep(calls.AFTER_S)


def begin_of(samples, conversation):
    """Where in what was said a script begins, and how alike what the microphone heard is to the script."""
    return lag_of(samples, conversation.said) if len(conversation.said) > len(samples) else (0, 1.0)


def judged(samples, places, conversation):
    """PESQ-WB and delay in ms of each text."""
    begin, _ = begin_of(samples, conversation)
    marks, late = [], []
    for _, first, last in places:
        first, last = begin + int(first * RATE), begin + int(last * RATE)
        said = conversation.said[first:last]
        lag, _ = lag_of(said, conversation.heard[first : last + RATE])
        late.append(lag * 1000 / RATE)
        marks.append(mark(said, conversation.heard[first + lag : last + lag]))
    return marks, late


def mark(said, heard):
    """PESQ-WB (ITU-T P.862.2), at 16 kHz as it wants it; 1 for silence."""
    if pesq is None:
        raise NotInstalled("pesq is not installed")
    narrow = [(numpy.clip(resample_poly(samples, 1, 3), -1, 1) * 32767).astype(numpy.int16) for samples in (said, heard)]
    try:
        return pesq(16_000, *narrow, "wb")
    except NoUtterancesError:
        return 1.0


@contextlib.contextmanager
def sound_system(before_others=False):
    missing = pulse.missing()
    if missing:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="sound-") as folder:
        system = pulse.Pulse(folder)
        if before_others:
            # It takes back what it inherits.
            for thread in os.listdir(f"/proc/{system.child.pid}/task"):
                os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(AHEAD))
        try:
            yield system
        finally:
            system.end()
