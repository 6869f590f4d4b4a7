"""What the Python clients hear: which test tones, and where sound is missing.

Times are those of the sound itself. A sound that comes late and is played late has no gap here.
"""

import array

RATE = 48_000
# tring's test tone: steps in hertz, half a second each; see "Test tone" in docs/PROTOCOL.md.
TONES = [400, 600, 800, 1000, 1200, 1400, 1600, 1800]
# A measured frequency may be this far off, in hertz.
TOLERANCE = 50
# Below this peak it is silence; the test tone has 8231.
SILENCE = 1000
# Sound is looked at in blocks of 5 ms: a block of the lowest tone has two periods, so that each has a peak.
BLOCK_MS = 5
BLOCK = RATE * BLOCK_MS // 1000
# Silence longer than this is a gap, in ms.
GAP_MS = 40


class Ear:
    """Takes mono sound of 48 kHz piece by piece, of any length.

    `ms`: how long it listened, from the first sound on, with silence. `tones`: the steps in order, each change once.
    `gaps`: `[at_ms, length_ms]` of each silence longer than 40 ms; one at the end counts too.
    """

    def __init__(self):
        self.ms = self.silent_ms = 0
        self.tones, self.gaps = [], []
        self.rest, self.blocks, self.last = array.array("h"), array.array("h"), None

    def missing(self, ms):
        """No sound came for so long."""
        if self.ms:
            self.rest = array.array("h")
            self.silence(ms)

    def hear(self, samples):
        """`samples`: signed 16 bit."""
        self.rest.extend(samples)
        whole = len(self.rest) // BLOCK * BLOCK
        blocks, self.rest = self.rest[:whole], self.rest[whole:]
        for at in range(0, whole, BLOCK):
            self.block(blocks[at : at + BLOCK])

    def block(self, block):
        if max(block) < SILENCE:
            if self.ms:
                self.silence(BLOCK_MS)
            return
        self.ms += BLOCK_MS
        self.silent_ms = 0
        self.blocks.extend(block)
        if len(self.blocks) == 4 * BLOCK:
            self.tone(self.blocks)
            self.blocks = array.array("h")

    def silence(self, ms):
        begins = self.silent_ms <= GAP_MS
        self.ms += ms
        self.silent_ms += ms
        self.blocks, self.last = array.array("h"), None
        if self.silent_ms > GAP_MS:
            if not begins:
                self.gaps.pop()
            self.gaps.append([round(self.ms - self.silent_ms), round(self.silent_ms)])

    def tone(self, samples):
        ups = [n for n in range(1, len(samples)) if samples[n - 1] < 0 <= samples[n]]
        hertz = (len(ups) - 1) * RATE / (ups[-1] - ups[0]) if len(ups) > 2 else 0
        tone = min(TONES, key=lambda tone: abs(tone - hertz))
        # A tone counts when two pieces in a row have it: where one follows another, both are in one.
        if abs(tone - hertz) < TOLERANCE and tone == self.last and self.tones[-1:] != [tone]:
            self.tones.append(tone)
        self.last = tone

    def figures(self):
        return {"ms": round(self.ms), "tones": self.tones, "gaps": self.gaps}
