"""Speech over lossy lines, judged by PESQ; `./dev bench copies` starts it. See docs/TESTING.md."""

import argparse
import concurrent.futures
import os
import subprocess
import sys
import tempfile

import numpy
from pesq import NoUtterancesError, pesq
from scipy.signal import resample_poly

import speech

VOICES = ["en", "en+f3"]

# Percent lost, packets in a burst.
LINES = [(0, 1), (5, 1), (10, 1), (20, 1), (30, 1), (5, 3), (10, 4)]

# Bitrate of Opus in kbit/s, copies by how many packets back they lie.
SCHEMES = [
    (32, "-"),
    # All at about 76 kbit/s with headers.
    (64, "-"),
    (32, "1"),
    (32, "2"),
    (32, "4"),
    (20, "2,1"),
    (20, "4,1"),
    # At 108 kbit/s.
    (32, "3,1"),
    (32, "4,1"),
]


def as_16_bit(samples):
    return (samples * 32768).astype("<i2")


def speak(folder):
    """Paths of raw 48 kHz mono sound."""
    paths = []
    for number, sentence in enumerate(speech.SENTENCES):
        paths.append(os.path.join(folder, f"{number}.raw"))
        as_16_bit(speech.speak(sentence, VOICES[number % len(VOICES)], folder)).tofile(paths[-1])
    return paths


def narrowed(samples):
    """At 16 kHz, as PESQ-WB (ITU-T P.862.2) wants it."""
    return resample_poly(samples.astype(float), 1, 3).clip(-32768, 32767).astype(numpy.int16)


def judge(job):
    """PESQ-WB, kbit/s, percent lost and delay in ms of one run."""
    program, spoken, (kbit, copies), (loss, burst), seed = job
    with tempfile.NamedTemporaryFile(suffix=".raw") as heard:
        arguments = [program, spoken, heard.name, kbit, copies, loss, burst, seed]
        printed = subprocess.check_output([str(argument) for argument in arguments], text=True)
        samples = numpy.fromfile(heard.name, dtype="<i2")
    try:
        mark = pesq(16000, narrowed(numpy.fromfile(spoken, dtype="<i2")), narrowed(samples), "wb")
    except NoUtterancesError:
        mark = 1.0
    return (mark, *(float(figure) for figure in printed.split()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="the built example `sound`")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each sentence on each line (default 3)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time (default: one a core)")
    options = parser.parse_args()
    names = [f"{loss} %" if burst == 1 else f"{burst} at {loss} %" for loss, burst in LINES]
    print(f"| Opus, kbit/s | copies | with headers | {' | '.join(names)} |")
    print("|" + "---|" * (3 + len(LINES)))
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        spoken = speak(folder)
        for scheme in SCHEMES:
            cells, kbit = [], 0
            for line in LINES:
                seeds = range(1, 2 if line[0] == 0 else options.seeds + 1)
                jobs = [(options.program, path, scheme, line, seed) for path in spoken for seed in seeds]
                mark, kbit, _, delay = numpy.mean(list(pool.map(judge, jobs)), axis=0)
                cells.append(f"{mark:.2f} / {delay:.0f}")
            print(f"| {scheme[0]} | {scheme[1]} | {kbit:.0f} | {' | '.join(cells)} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
