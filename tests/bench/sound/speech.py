"""What is said: texts by espeak-ng, and what people said into a microphone (Debian's alsa-utils)."""

import glob
import os
import subprocess

import numpy

RATE = 48_000
# Sentences of the list in IEEE 297, spoken by espeak-ng.
SENTENCES = [
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. "
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish. Rice is often served in round bowls. "
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage. "
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell. The boy was there when the sun rose. "
    "A rod is used to catch pink salmon.",
]  # fmt: skip
VOICES = ["en", "en+f3", "en+m3"]
ANNOUNCED = "/usr/share/sounds/alsa"
PAUSE_S = 0.6
# Of the speech: that of a person close to a microphone.
LEVEL_DB = -23


def read(path):
    """A sound file at 48 kHz, mono."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-ar", str(RATE), "-ac", "1", "-f", "s16le", "-"]
    return numpy.frombuffer(subprocess.check_output(command), "<i2") / 32768


def levelled(samples):
    loud = samples[numpy.abs(samples) > 0.01]
    return samples * 10 ** (LEVEL_DB / 20) / numpy.sqrt(numpy.mean(numpy.square(loud)))


def speak(sentence, voice, folder):
    """What espeak-ng makes of a sentence."""
    wave = os.path.join(folder, "spoken.wav")
    subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", wave, sentence], check=True)
    return read(wave)


def texts(folder):
    """By name, each some 8 s; the second one is of a person's voice, and is there where alsa-utils is."""
    found = {}
    for sentence, voice in zip(SENTENCES, VOICES):
        found[voice] = levelled(speak(sentence, voice, folder))
    announced = sorted(path for path in glob.glob(f"{ANNOUNCED}/*.wav") if "Noise" not in path)
    if not announced:
        return found
    of_a_person = levelled(numpy.concatenate([read(path) for path in announced[:6]]))
    first, *others = found.items()
    return dict([first, ("announcements", of_a_person), *others])


def script(spoken, texts):
    """Some texts one after the other with pauses: the sound, and from where to where each one is, in seconds."""
    parts, places, at = [], [], 0.0
    for name in spoken:
        parts += [texts[name], numpy.zeros(int(PAUSE_S * RATE))]
        places.append((name, at, at + len(texts[name]) / RATE))
        at += sum(map(len, parts[-2:])) / RATE
    return numpy.concatenate(parts), places


def tone(hertz, seconds):
    return 0.2 * numpy.sin(2 * numpy.pi * hertz * numpy.arange(int(seconds * RATE)) / RATE)


def noise(seconds, level_db, seed=1):
    return numpy.random.default_rng(seed).normal(0, 10 ** (level_db / 20), int(seconds * RATE))


def as_bytes(samples):
    return (numpy.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
