"""What is made of recorded sound: delays, holes, jumps, levels. Pure: no file, no process, no clock.

Sound is arrays of float, 1.0 is full scale. `rate` is in samples a second. Two recordings of one call are on a common
time base: their sample of one number is of the same moment.
"""

import numpy

FRAME_S = 0.01
# A frame of speech below this level, in dB of full scale, is a pause.
SPEECH_DB = -45
# Sound that is this much lower than what was said is a hole.
HOLE_DB = 30
# Below that correlation a delay is a guess.
ALIKE = 0.5


def start_of(chunks, rate):
    """When sample 0 of a recording was taken, in Unix seconds, by its fastest chunk. `chunks`: time of arrival, and how
    many samples there were then. A recorder that was late now and then does no harm."""
    return min(at - count / rate for at, count in chunks)


def level_db(samples):
    """RMS in dB of full scale; silence is -120."""
    power = numpy.mean(numpy.square(samples)) if len(samples) else 0
    return 10 * numpy.log10(max(power, 1e-12))


def levels_db(samples, rate, frame_s=FRAME_S):
    """Of each whole frame."""
    size = int(rate * frame_s)
    count = len(samples) // size
    power = numpy.mean(numpy.square(samples[: count * size].reshape(count, size)), axis=1)
    return 10 * numpy.log10(numpy.maximum(power, 1e-12))


def lag_of(part, whole):
    """Where in `whole` the sound `part` begins, in samples, and how alike both are there (1: the same but for the level)."""
    if len(whole) < len(part) or not part.any():
        return 0, 0.0
    size = 1 << (len(whole) + len(part) - 1).bit_length()
    product = numpy.fft.rfft(whole, size) * numpy.conj(numpy.fft.rfft(part, size))
    correlation = numpy.fft.irfft(product, size)[: len(whole) - len(part) + 1]
    energy = numpy.concatenate([[0], numpy.cumsum(numpy.square(whole))])
    local = numpy.maximum(energy[len(part) :] - energy[: -len(part)], 1e-9)
    alike = correlation / numpy.sqrt(local * numpy.sum(numpy.square(part)))
    at = int(numpy.argmax(alike))
    return at, float(alike[at])


def delays(said, heard, rate, window_s=1.0, hop_s=0.5, least_s=-0.05, most_s=1.0):
    """How much later what was said is heard: (seconds since the start, ms, how alike) of each window with speech."""
    found, size = [], int(window_s * rate)
    for at in range(0, len(said) - size, int(hop_s * rate)):
        part = said[at : at + size]
        if level_db(part) < SPEECH_DB:
            continue
        first = at + int(least_s * rate)
        whole = heard[max(0, first) : at + size + int(most_s * rate)]
        lag, alike = lag_of(part, whole)
        if alike >= ALIKE:
            found.append((at / rate, (lag + max(0, first) - at) * 1000 / rate, alike))
    return found


def holes(said, heard, rate, delay_ms, least_ms=10):
    """(seconds, ms) of each stretch in which something loud was said, and nothing is heard."""
    shift = round(delay_ms * rate / 1000)
    before, after = levels_db(said, rate), levels_db(heard[max(0, shift) :], rate)
    count = min(len(before), len(after))
    # What is loud in the frames on both sides too: a delay that is off by some ms is no hole.
    loud = numpy.convolve(before[:count] > SPEECH_DB + 10, [1, 1, 1], "same") == 3
    missing = loud & (after[:count] < before[:count] - HOLE_DB)
    return [(at * FRAME_S, length * FRAME_S * 1000) for at, length in runs(missing) if length * FRAME_S * 1000 >= least_ms]


def runs(flags):
    """Start and length of each run of true."""
    edges = numpy.diff(numpy.concatenate([[0], numpy.asarray(flags, int), [0]]))
    return [(int(a), int(b - a)) for a, b in zip(numpy.flatnonzero(edges > 0), numpy.flatnonzero(edges < 0))]


def jumps(samples, rate, hertz, most_rad=0.5):
    """Seconds at which the phase of a steady tone jumps, or the tone is interrupted. A clock that is some 1000 ppm off
    turns the phase slowly, and is none."""
    size = int(rate * FRAME_S)
    count = len(samples) // size
    turned = samples[: count * size] * numpy.exp(-2j * numpy.pi * hertz * numpy.arange(count * size) / rate)
    # Two windows, so that what is left of the negative frequency does not count.
    sums = turned.reshape(count, size).mean(axis=1)
    loudest = numpy.median(numpy.abs(sums))
    off = numpy.abs(sums) < loudest / 2
    steps = numpy.abs(numpy.angle(sums[1:] * numpy.conj(sums[:-1])))
    bad = off.copy()
    bad[1:] |= steps > most_rad
    return [at * FRAME_S for at, _ in runs(bad)]


def alike(said, heard, rate, window_s=0.2, most_s=1.0):
    """Median over windows with speech of the correlation of what is heard with what was said."""
    found, size = [], int(window_s * rate)
    for at in range(0, len(said) - size, size):
        part = said[at : at + size]
        if level_db(part) >= SPEECH_DB + 10:
            found.append(lag_of(part, heard[at : at + size + int(most_s * rate)])[1])
    return float(numpy.median(found)) if found else None


def loss_db(played, heard, rate, delay_ms, from_s=0.0, to_s=None):
    """How much quieter `heard` is than `played`, which is `delay_ms` before it, over the time in which that is loud."""
    first, last = int(from_s * rate), len(played) if to_s is None else int(to_s * rate)
    shift = int(delay_ms * rate / 1000)
    before, after = levels_db(played[first:last], rate), levels_db(heard[first + shift : last + shift], rate)
    count = min(len(before), len(after))
    loud = before[:count] > SPEECH_DB + 10
    if not loud.any():
        return None
    power = lambda levels: numpy.mean(10 ** (levels[:count][loud] / 10))
    return float(10 * numpy.log10(power(before) / max(power(after), 1e-12)))


def noise_lowered_db(said, heard, rate, delay_ms):
    """How much more speech stands out of the noise in `heard` than in `said`: `said` is speech alone and then with noise,
    a pair of arrays."""
    clean, noisy = said
    shift = int(delay_ms * rate / 1000)
    of_speech = levels_db(clean, rate)
    before, after = levels_db(noisy, rate), levels_db(heard[shift:], rate)
    count = min(len(of_speech), len(before), len(after))
    speech, pause = of_speech[:count] > SPEECH_DB + 15, numpy.convolve(of_speech[:count] < -70, numpy.ones(9), "same") == 9
    if not (speech.any() and pause.any()):
        return None
    stands = lambda levels: numpy.median(levels[:count][speech]) - numpy.median(levels[:count][pause])
    return float(stands(after) - stands(before))


def steps_ms(samples, rate, start, tones, step_ms):
    """How late each step of a tone is that follows the wall clock: (Unix seconds, ms). `start`: of sample 0, Unix seconds.
    Step n of the tones begins at multiples of `step_ms`."""
    size, hop = int(rate * 0.01), int(rate * 0.002)
    windows = numpy.lib.stride_tricks.sliding_window_view(samples, size)[::hop] * numpy.hanning(size)
    spectrum = numpy.abs(numpy.array([windows @ numpy.exp(-2j * numpy.pi * t * numpy.arange(size) / rate) for t in tones]))
    loudest, quiet = numpy.argmax(spectrum, axis=0), spectrum.max(axis=0) < 0.01 * size / 4
    loudest[quiet] = -1
    found, cycle = [], step_ms * len(tones)
    # A tone counts that lasts 100 ms and follows the one before it.
    kept = [(int(tone), at, length) for at, length, tone in stretches(loudest) if tone >= 0 and length * hop / rate > 0.1]
    for (before, start_before, length), (tone, at, _) in zip(kept, kept[1:]):
        between = (start_before + length + at) / 2
        if tone == (before + 1) % len(tones) and at - start_before - length < 25:
            unix = start + (between * hop + size / 2) / rate
            late = (unix * 1000 - tone * step_ms) % cycle
            found.append((unix, late - cycle if late > cycle / 2 else late))
    return found


def stretches(values):
    """Start, length and value of each stretch of one value."""
    edges = numpy.flatnonzero(numpy.diff(values)) + 1
    starts = numpy.concatenate([[0], edges, [len(values)]])
    return [(int(a), int(b - a), values[a]) for a, b in zip(starts, starts[1:]) if b > a]


def spread(values):
    """From the lowest to the highest but for 5 % at each end."""
    return float(numpy.percentile(values, 95) - numpy.percentile(values, 5)) if len(values) else None


def real_time(samples, ppm):
    """What a clock that is `ppm` fast has played, as a right clock sees it."""
    if not ppm:
        return samples
    count = int(len(samples) / (1 + ppm / 1e6))
    return numpy.interp(numpy.arange(count) * (1 + ppm / 1e6), numpy.arange(len(samples)), samples)


def placed(samples, start, base, length, rate):
    """A recording that begins at `start` (Unix seconds), in an array of `length` that begins at `base`."""
    out, at = numpy.zeros(length), round((start - base) * rate)
    first, last = max(0, at), min(length, at + len(samples))
    if last > first:
        out[first:last] = samples[first - at : last - at]
    return out
