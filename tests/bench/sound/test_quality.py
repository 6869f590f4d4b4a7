"""Figures of made sound, with values that are known: `unittest discover -s tests/bench/sound`, in a Python with numpy."""

import unittest

import numpy

import quality
import report
from forward import Losses, stream_of
from wire import kind_of

RATE = 16_000


def talk(seconds, seed=1):
    """Noise that comes and goes like syllables, with a pause of 0.4 s in each 2 s."""
    times = numpy.arange(int(seconds * RATE)) / RATE
    loud = (0.6 + 0.4 * numpy.sin(2 * numpy.pi * 3 * times)) * (times % 2 < 1.6)
    return 0.1 * loud * numpy.random.default_rng(seed).normal(0, 1, len(times))


def later(samples, ms):
    shift = int(ms * RATE / 1000)
    return numpy.concatenate([numpy.zeros(shift), samples])[: len(samples)]


class Time(unittest.TestCase):
    def test_a_recorder_that_is_late_now_and_then_does_no_harm(self):
        chunks = [(100 + n / 100 + (0.3 if n % 7 else 0.002), n * RATE // 100) for n in range(1, 200)]
        self.assertAlmostEqual(quality.start_of(chunks, RATE), 100.002, places=4)

    def test_recordings_are_placed_on_one_base(self):
        sound = numpy.arange(1, 11)
        self.assertEqual(list(quality.placed(sound, 10.0, 10.0 - 3 / RATE, 8, RATE)), [0, 0, 0, 1, 2, 3, 4, 5])
        self.assertEqual(list(quality.placed(sound, 10.0, 10.0 + 3 / RATE, 8, RATE)), [4, 5, 6, 7, 8, 9, 10, 0])

    def test_a_fast_clock_takes_less_time(self):
        self.assertEqual(len(quality.real_time(numpy.zeros(1_001_000), 1000)), 1_000_000)
        sound = numpy.sin(numpy.arange(100_000) / 100)
        self.assertAlmostEqual(quality.real_time(sound, 1000)[50_000], sound[50_050], places=3)

    def test_a_delay_that_changes(self):
        said = talk(10)
        heard = numpy.concatenate([later(said, 80)[: 5 * RATE], later(said, 140)[5 * RATE :]])
        found = quality.delays(said, 0.3 * heard, RATE)
        self.assertTrue(all(abs(ms - 80) < 0.5 for at, ms, _ in found if at < 3.8))
        self.assertTrue(all(abs(ms - 140) < 0.5 for at, ms, _ in found if at > 5))

    def test_other_sound_has_no_delay(self):
        self.assertEqual(quality.delays(talk(5), talk(5, seed=2), RATE), [])

    def test_steps_that_follow_the_wall_clock(self):
        tones, start, late = [400, 600, 800, 1000, 1200, 1400, 1600, 1800], 1_700_000_000.137, 0.093
        times = start + numpy.arange(6 * RATE) / RATE - late
        hertz = numpy.array(tones)[(times / 0.5).astype(int) % 8]
        found = quality.steps_ms(0.2 * numpy.sin(2 * numpy.pi * hertz * (times % 0.5)), RATE, start, tones, 500)
        self.assertGreaterEqual(len(found), 9)
        self.assertTrue(all(abs(ms - late * 1000) < 4 for _, ms in found), found)


class Faults(unittest.TestCase):
    def test_a_hole_in_speech_and_none_in_a_pause(self):
        said = talk(8)
        heard = later(said, 100)
        heard[int(2.6 * RATE) : int(2.66 * RATE)] = 0
        heard[int(3.8 * RATE) : int(3.9 * RATE)] = 0
        found = quality.holes(said, heard, RATE, 100)
        self.assertEqual(len(found), 1)
        self.assertAlmostEqual(found[0][0], 2.5, delta=0.021)
        self.assertAlmostEqual(found[0][1], 60, delta=20)
        self.assertEqual(quality.holes(said, later(said, 100), RATE, 105), [])

    def test_jumps_of_a_tone(self):
        times = numpy.arange(5 * RATE) / RATE
        tone = 0.2 * numpy.sin(2 * numpy.pi * 440 * times * 1.001)
        self.assertEqual(quality.jumps(tone, RATE, 440), [])
        cut = numpy.concatenate([tone[: 2 * RATE], tone[2 * RATE + 13 :]])
        self.assertEqual(len(quality.jumps(cut, RATE, 440)), 1)
        cut[RATE : RATE + 300] = 0
        self.assertEqual([round(at, 1) for at in quality.jumps(cut, RATE, 440)], [1.0, 2.0])


class Voice(unittest.TestCase):
    def test_the_loss_of_an_echo(self):
        said = talk(8)
        self.assertAlmostEqual(quality.loss_db(said, later(said, 200) / 100, RATE, 200), 40, delta=0.1)
        self.assertAlmostEqual(quality.loss_db(said, later(said, 200) / 2, RATE, 200, 1, 5), 6, delta=0.1)
        self.assertIsNone(quality.loss_db(numpy.zeros(RATE), said, RATE, 0))

    def test_noise_that_is_lowered(self):
        said = talk(20)
        hiss = numpy.random.default_rng(5).normal(0, 0.02, len(said))
        lowered = quality.noise_lowered_db((said, said + hiss), later(said + hiss / 10, 60), RATE, 60)
        self.assertAlmostEqual(lowered, 19.5, delta=1)
        self.assertAlmostEqual(quality.noise_lowered_db((said, said + hiss), later(said + hiss, 60), RATE, 60), 0, delta=0.1)

    def test_likeness_falls_with_what_is_added(self):
        said = talk(10)
        self.assertGreater(quality.alike(said, later(said, 90), RATE), 0.999)
        mixed = later(said, 90) + talk(10, seed=3)
        self.assertAlmostEqual(quality.alike(said, mixed, RATE), 0.71, delta=0.05)


class Line(unittest.TestCase):
    def test_bursts_have_their_length_and_share(self):
        losses = Losses()
        lost = [losses.loses(3, 0.05) for _ in range(200_000)]
        self.assertAlmostEqual(sum(lost) / len(lost), 0.05, delta=0.005)
        lengths = [length for _, length in quality.runs(lost)]
        self.assertTrue(all(length % 3 == 0 for length in lengths[:-1]))
        self.assertFalse(any(Losses().loses(1, 0) for _ in range(100)))

    def test_kinds_of_datagrams(self):
        kinds = {b"\x00\x01": "stun", b"\x16\xfe": "dtls", b"\x80\x6f": "rtp", b"\x80\xc8": "rtcp", b"\x90\xe0": "rtp", b"": "other"}
        self.assertEqual({datagram: kind_of(datagram) for datagram in kinds}, kinds)

    def test_streams_are_told_apart_by_their_source(self):
        rtp = b"\x80\x6f" + bytes(6) + b"abcd" + bytes(20)
        frame = bytes(12) + b"\x08\x00" + b"\x45" + bytes(8) + b"\x11" + bytes(10) + bytes(8) + rtp
        self.assertEqual(stream_of(frame), b"abcd")
        self.assertIsNone(stream_of(frame.replace(b"\x80\x6f", b"\x80\xc9")))
        self.assertIsNone(stream_of(b"short"))


class Report(unittest.TestCase):
    def test_what_misses_its_mark_is_bold_and_what_is_missing_says_so(self):
        rows = {"row": {"figures": [("a", "figure", "{:.1f}", ">= 2", lambda figure: figure >= 2), ("b", "other", "{}", "", None)]}}
        results = [
            {"row": "row", "program": "tring", "figures": {"a": 1.0, "b": 3}},
            {"row": "row", "program": "aiortc", "failed": "not installed"},
        ]
        expected = "| row | figure | >= 2 | **1.0** |  | not installed |\n|  | other |  | 3 |  | not installed |"
        self.assertTrue(report.table(rows, results, ["tring", "libwebrtc", "aiortc"]).endswith(expected))
        self.assertEqual(report.misses(rows, results), ["row, tring: figure 1.0, mark >= 2"])


if __name__ == "__main__":
    unittest.main()
