"""What datagrams mean, from made ones: `python3 -m unittest discover -s tests/bench/setup`."""

import struct
import unittest

from figures import LIMITS, of_call, table
from wire import kind


def record(content, body, epoch=0):
    return struct.pack("!B2sH6sH", content, b"\xfe\xfd", epoch, bytes(6), len(body)) + body


class Kinds(unittest.TestCase):
    def test_datagrams_of_a_set_up_are_told_apart(self):
        hello = record(22, bytes([1, *bytes(20)]))
        verify = record(22, bytes([3, *bytes(20)]))
        end = record(22, bytes([16, *bytes(20)])) + record(20, b"\1") + record(22, bytes(40), epoch=1)
        check = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)
        picture = bytes([0x80, 0x80 | 96]) + bytes(20)
        for datagram, expected in [
            (hello, "hello"), (verify, None), (end, "keys"), (check, "check"), (b"\1\1" + check[2:], None),
            (picture, "picture"), (bytes([0x80, 96]) + bytes(20), "media"), (bytes([0x80, 0x80 | 111]) + bytes(20), "media"),
            (bytes([0x80, 200]) + bytes(20), None),
            (record(22, bytes(40), epoch=1), None), (b"", None), (hello[:12], None),
        ]:  # fmt: skip
            self.assertEqual(kind(datagram), expected, datagram)


class Figures(unittest.TestCase):
    def test_times_count_from_the_answer(self):
        seen = [
            [(9.0, "out", "check"), (10.125, "in", "keys"), (10.2, "in", "picture")],
            [(10.1, "in", "keys"), (9.9, "in", "picture"), (10.15, "in", "picture")],
        ]
        events = [{"connected": 10.13, "first_frame": 10.25}, {"connected": 10.11}]
        found = of_call(seen, events, 10.0)
        rounded = {name: [None if value is None else round(value) for value in both] for name, both in found.items()}
        self.assertEqual(rounded["keys"], [125, 100])
        self.assertEqual(rounded["picture"], [200, 150], "what came before the answer is no picture of this call")
        self.assertEqual(rounded["connected"], [130, 110])
        self.assertEqual(rounded["shown"], [250, None])

    def test_a_row_says_what_is_not_known(self):
        calls = [of_call([[], []], [{}, {}], 10.0)]
        text = table([{"row": "r50", "round_ms": 50, "limit": "without", "calls": calls, "failed": 1}])
        self.assertIn("| r50 | 1 of 2 | – / – |", text)
        self.assertIn("| 175 / 150 |", text)

    def test_limits(self):
        self.assertEqual(LIMITS["without"](50), (175, 150))
        self.assertEqual(LIMITS["early"](150), (75, 150))


if __name__ == "__main__":
    unittest.main()
