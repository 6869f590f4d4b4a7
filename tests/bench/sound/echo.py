"""echo.py SPEAKER MICROPHONE MS GAIN_DB: plays what a sink's monitor gives into another sink, so much later.

It reads from standard input other delays in ms, one a line. The sound system adds to the delay: see `OWN_MS`; what came
out is to be measured.
"""

import collections
import subprocess
import sys
import threading

import numpy

RATE, CHUNK = 48_000, 480
# What recording and playing take on a quiet machine.
OWN_MS = 40
PLAY_MS = 30


def main(speaker, microphone, delay_ms, gain_db):
    form = ["--raw", f"--rate={RATE}", "--channels=1", "--format=s16le"]
    heard = subprocess.Popen(["pacat", "--record", f"--device={speaker}.monitor", "--latency-msec=10", *form], stdout=subprocess.PIPE)
    played = subprocess.Popen(["pacat", "--playback", f"--device={microphone}", f"--latency-msec={PLAY_MS}", *form], stdin=subprocess.PIPE)
    wanted = [float(delay_ms)]
    threading.Thread(target=lambda: [wanted.append(float(line)) for line in sys.stdin], daemon=True).start()
    gain, waiting = 10 ** (float(gain_db) / 20), collections.deque()
    while part := heard.stdout.read(CHUNK * 2):
        waiting.append((numpy.frombuffer(part, "<i2") * gain).astype("<i2").tobytes())
        # A delay that grows begins with silence, one that shrinks leaves out.
        hold = max(0, round((wanted[-1] - OWN_MS) / 10))
        while len(waiting) - 1 > hold:
            waiting.popleft()
        played.stdin.write(waiting[0] if len(waiting) - 1 == hold else bytes(CHUNK * 2))
        played.stdin.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
