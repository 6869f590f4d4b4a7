"""Figures from made samples, with values that are known: `python3 -m unittest discover -s tests/bench/lines`."""

import unittest

import figures
import report
from programs import PROGRAMS
from programs import Freezes


def call(seconds, fps, start=0.0, **more):
    """Samples every 250 ms of an even call; each has one latency of 10 ms."""
    times = [start + n / 4 for n in range(int(seconds * 4) + 1)]
    base = {"latencies": [10], "width": 640, "freezes": 0, "frozen_ms": 0, "invented_s": 0.0, "sound_ms": 70.0}
    return [{**base, "t": t, "frames": round((t - start) * fps), **more} for t in times]


def line(seconds, bps, backlog=0):
    times = [n / 10 for n in range(int(seconds * 10) + 1)]
    return [{"t": t, "queues": [{"offered": t * bps / 8, "left": t * bps / 8, "backlog": backlog, "drops": 0}]} for t in times]


class Of(unittest.TestCase):
    def test_an_even_call(self):
        samples = call(20, 30)
        found = figures.of_call([samples, samples], line(20, 800_000, 1_000), 0, [(0, 1_000_000)])
        self.assertAlmostEqual(found["fps"][0], 30, delta=0.1)
        self.assertEqual((found["freezes"], found["longest_ms"]), ([0, 0], [0, 0]))
        self.assertAlmostEqual(found["used"][0], 0.8, delta=0.01)
        self.assertEqual(found["queue_p95_ms"], [8])
        self.assertEqual(found["under_after_s"], [0])
        self.assertEqual((found["latency_p95_ms"], found["sound_p95_ms"]), ([10, 10], [70, 70]))
        self.assertNotIn("full_after_s", found)

    def test_a_drop_and_a_rise(self):
        narrow = [{**s, "frames": 300 + s["frames"], "width": 320} for s in call(20, 10, 10)[1:]]
        slow = [{**s, "frames": 500 + s["frames"], "width": 320} for s in call(5, 30, 30)[1:]]
        full = [{**s, "frames": 650 + s["frames"]} for s in call(15, 30, 35)[1:]]
        samples = call(10, 30) + narrow + slow + full
        found = figures.of_call([samples] * 2, line(50, 200_000), 0, [(0, 2_000_000), (10, 250_000), (30, 2_000_000)])
        self.assertAlmostEqual(found["fps"][0], 10, delta=0.2)
        self.assertAlmostEqual(found["fps_after"][0], 30, delta=0.2)
        # Full rate from 30 s on, but not in full size until 35 s: the first 2 s that end with it begin at 33.25 s.
        self.assertAlmostEqual(found["full_after_s"][0], 3.25, delta=0.01)
        self.assertAlmostEqual(found["used"][0], 0.8, delta=0.01)

    def test_more_than_the_line_carries_is_seen_until_it_ends(self):
        much = [{**s, "queues": [{**s["queues"][0], "offered": min(s["t"], 3) * 125_000 + s["t"] * 12_500}]} for s in line(20, 0)]
        self.assertAlmostEqual(figures.under_after(much, 0, 200_000, 0, 20), 2.9, delta=0.2)
        self.assertIsNone(figures.under_after(much, 0, 50_000, 0, 20))

    def test_freezes(self):
        freezes = Freezes()
        for n in range(60):
            freezes.shown(n * 33)
        freezes.shown(59 * 33 + 150)
        self.assertEqual(freezes.count, 0)
        freezes.shown(59 * 33 + 150 + 700)
        self.assertEqual((freezes.count, freezes.total_ms), (1, 700))

    def test_a_picture_that_does_not_come_back_is_a_freeze(self):
        samples = call(10, 30) + [{**s, "frames": 300} for s in call(5, 0, 10.25)]
        self.assertEqual(figures.freezes(samples, 0, 20), (1, 5250))

    def test_sound_that_is_missing(self):
        samples = [{**s, "invented_s": s["t"] / 10} for s in call(20, 30)]
        self.assertAlmostEqual(figures.invented(samples, 5, 15), 0.1)

    def test_set_ups(self):
        times = [{"ice_ms": n, "dtls_ms": 10 * n} for n in range(1, 20)] + [{"failed": "status 22"}]
        found = figures.of_set_ups(times)
        self.assertEqual((found["stand"], found["set_ups"], found["failures"]), (19, 20, ["status 22"]))
        self.assertEqual((found["ice_p50_ms"], found["dtls_p95_ms"]), (10, 190))

    def test_a_row_without_figures_says_why(self):
        rows = [{"row": "loss-5", "program": "aiortc", "failed": "not installed"}]
        self.assertIn("| loss-5 | aiortc | not installed |", report.tables(rows))

    def test_plots_stay_small(self):
        times = [n / 2 for n in range(104)]
        series = {"t": times, "capacity": [(0, 2e6), (12, 250e3)], **dict.fromkeys(("offered_kbps", "queue_ms", "fps"), times)}
        rows = [{"row": "step-250", "program": program, "series": series} for program in [*PROGRAMS, "emulated"]]
        self.assertLess(len(report.plot("step-250", rows)), 60_000)


if __name__ == "__main__":
    unittest.main()
