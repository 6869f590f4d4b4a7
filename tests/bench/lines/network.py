"""A line between two peers in network namespaces: queues (tc tbf), random loss (nftables), delay (delay.py).

It also reads what passes, from outside of the programs: bytes that were offered to the line and that left it, the queue,
and processor time and memory of the peers. Needs root.
"""

import ctypes
import fcntl
import os
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ADDRESSES = ["10.9.0.1", "10.9.0.2"]
# Each direction (or both together, on a shared line) has a queue that drops what does not fit.
BURST, QUEUE = "8kb", "300ms"
BURST_BITS, QUEUE_MS = 8 * 1024 * 8, 300
SAMPLE_S = 0.1
ETHERNET = 14


def queue_ms(rate):
    """How long a packet waits at most: tbf's `latency` comes on top of the burst."""
    return QUEUE_MS + BURST_BITS * 1000 / rate


def run(command, namespace=None):
    prefix = ["ip", "netns", "exec", namespace] if namespace else []
    done = subprocess.run(prefix + command.split(), capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{command}: {done.stderr.strip()}")


class Inside:
    """Within it, this thread is in the namespace; what it opens there stays there."""

    def __init__(self, namespace):
        self.path = f"/run/netns/{namespace}"

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        enter(self.path)

    def __exit__(self, *_):
        enter(self.home)
        os.close(self.home)


def enter(namespace):
    """`namespace`: a path, or an open file."""
    file = namespace if isinstance(namespace, int) else os.open(namespace, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(file, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")
    if file != namespace:
        os.close(file)


def until_it_runs(namespace):
    """Waits for the carrier: the system may tell it a second late, and programs leave out a device without one."""
    with Inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _ in range(500):
            answer = fcntl.ioctl(asking, 0x8913, struct.pack("16s24x", b"line"))  # SIOCGIFFLAGS
            if struct.unpack_from("=H", answer, 16)[0] & 0x40:  # IFF_RUNNING
                return
            time.sleep(0.01)
    raise OSError("the line has no carrier")


class Line:
    """The line of one row, as a context. Namespaces, devices and addresses of both peers, `[alice, bob]`."""

    def __init__(self, shared=False, rate=None, loss=0, delay_ms=0):
        self.shared, self.rate, self.loss, self.delay_ms = shared, rate, loss, delay_ms
        names = [f"line-a{os.getpid()}", f"line-b{os.getpid()}"]
        self.namespaces = [names[0]] * 2 if shared else names
        # What is to be read once: a shared line is one device.
        self.queues = [(names[0], "lo")] if shared else [(name, "line") for name in names]
        self.delay = None

    def __enter__(self):
        try:
            for name in dict.fromkeys(self.namespaces):
                run(f"ip netns add {name}")
                run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1", name)
            self.connect()
            for name in dict.fromkeys(self.namespaces):
                if self.loss:
                    self.lose(name)
            self.set_rate(self.rate)
        except BaseException:
            self.__exit__()
            raise
        return self

    def connect(self):
        a, b = self.namespaces
        if self.shared:
            # The addresses are on a device of their own, because libwebrtc uses none of loopback; packets take `lo`.
            run("ip link set lo mtu 1500 up", a)
            run("ip link add line type veth peer name unused", a)
            run("ip link set unused up", a)
        elif self.delay_ms:
            command = [sys.executable, f"{HERE}/delay.py", a, b, str(self.delay_ms)]
            self.delay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            if self.delay.stdout.readline().strip() != "ready":
                raise OSError("delay.py did not start")
        else:
            run(f"ip link add line netns {a} type veth peer name line netns {b}")
        for namespace, address in zip(self.namespaces, ADDRESSES):
            run(f"ip addr add {address}/24 dev line", namespace)
            run("ip link set lo up", namespace)
            run("ip link set line up", namespace)
        for namespace in self.namespaces:
            until_it_runs(namespace)

    def lose(self, namespace):
        # On arrival: a packet that is dropped on its way out fails with EPERM at its sender, which no line does.
        run("nft add table inet line", namespace)
        run("nft add chain inet line arriving { type filter hook input priority 0 ; }", namespace)
        share = round(self.loss * 1000)
        run(f"nft add rule inet line arriving meta l4proto udp numgen random mod 1000 < {share} drop", namespace)

    def set_rate(self, rate):
        """From now on `rate` bit/s; `None`: no limit."""
        self.rate = rate
        for namespace, device in self.queues if rate else []:
            run(f"tc qdisc replace dev {device} root tbf rate {rate} burst {BURST} latency {QUEUE}", namespace)

    def one_way_ms(self, count=10):
        """Half of the median round trip of a datagram, by an echo on both ends; without the loss."""
        sockets = []
        for namespace, address in zip(self.namespaces, ADDRESSES):
            with Inside(namespace):
                sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sockets[-1].bind((address, 0))
                sockets[-1].settimeout(2)
        near, far = sockets
        trips = []
        for _ in range(count * 3):
            start = time.perf_counter()
            near.sendto(b"?", far.getsockname())
            try:
                far.sendto(*far.recvfrom(16))
                near.recv(16)
                trips.append(time.perf_counter() - start)
            except socket.timeout:
                continue
            if len(trips) == count:
                break
        for end in sockets:
            end.close()
        return statistics.median(trips) * 500

    def __exit__(self, *_):
        if self.delay:
            self.delay.terminate()
            self.delay.wait()
        for name in dict.fromkeys(self.namespaces):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Meter(threading.Thread):
    """Reads the line every 100 ms, until `stop`.

    `samples`: `t` in Unix seconds, and by queue: `offered` bytes so far, with their Ethernet headers, before the queue;
    `left` bytes so far behind it; `backlog` bytes in it; `drops` packets so far.
    `processor_s` by peer, so far; `memory_bytes` by peer, the most at once.
    """

    def __init__(self, line, pids):
        super().__init__(daemon=True)
        self.line, self.pids = line, pids
        self.samples, self.stopped = [], threading.Event()
        self.readers = [Queue(*queue) for queue in line.queues]
        self.start_cost, self.first = self.cost(), time.time()

    def run(self):
        while not self.stopped.wait(SAMPLE_S):
            self.samples.append({"t": time.time(), "queues": [reader.read() for reader in self.readers]})

    def stop(self):
        self.stopped.set()
        self.join()
        for reader in self.readers:
            reader.close()
        passed = time.time() - self.first
        return [(end[0] - start[0]) / passed for end, start in zip(self.cost(), self.start_cost)]

    def memory_bytes(self):
        return [memory for _, memory in self.cost()]

    def cost(self):
        """Processor seconds so far and most memory at once, by peer."""
        costs = []
        for pid in self.pids:
            with open(f"/proc/{pid}/stat") as file:
                times = file.read().rsplit(")", 1)[1].split()[11:13]
            with open(f"/proc/{pid}/status") as file:
                memory = next((line.split()[1] for line in file if line.startswith("VmHWM")), 0)
            costs.append((sum(map(int, times)) / os.sysconf("SC_CLK_TCK"), int(memory) * 1024))
        return costs


class Queue:
    """Counters of one device: of IP before its queue, by /proc; behind and in it, by rtnetlink."""

    REQUEST = struct.pack("=IHHIIBBHiIII", 36, 38, 0x301, 1, 0, 0, 0, 0, 0, 0, 0, 0)  # RTM_GETQDISC, dump

    def __init__(self, namespace, device):
        with Inside(namespace):
            self.index = socket.if_nametoindex(device)
            self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            self.files = [os.open(f"/proc/thread-self/net/{name}", os.O_RDONLY) for name in ("netstat", "snmp")]

    def read(self):
        left, backlog, drops = self.queue()
        octets, packets = self.counter(0, "IpExt", "OutOctets"), self.counter(1, "Ip", "OutRequests")
        return {"offered": octets + ETHERNET * packets, "left": left, "backlog": backlog, "drops": drops}

    def counter(self, file, table, name):
        lines = os.pread(self.files[file], 65536, 0).decode().splitlines()
        names, values = [line.split() for line in lines if line.startswith(f"{table}:")]
        return int(values[names.index(name)])

    def queue(self):
        """Bytes that left, bytes in the queue, packets dropped; zeros on a line without a limit."""
        self.netlink.send(self.REQUEST)
        found = (0, 0, 0)
        while True:
            answer = self.netlink.recv(65536)
            at = 0
            while at < len(answer):
                length, kind = struct.unpack_from("=IH", answer, at)
                if kind == 3:  # NLMSG_DONE
                    return found
                _, index, _, parent, _ = struct.unpack_from("=IiIII", answer, at + 16)
                if index == self.index and parent == 0xFFFFFFFF:
                    found = self.figures(answer[at + 36 : at + length]) or found
                at += length + 3 & ~3

    @staticmethod
    def figures(attributes):
        stats = dict(parse(dict(parse(attributes)).get(7, b"")))  # TCA_STATS2
        if 1 not in stats or 3 not in stats:
            return None
        _, backlog, drops = struct.unpack_from("=III", stats[3])
        return struct.unpack_from("=Q", stats[1])[0], backlog, drops

    def close(self):
        self.netlink.close()
        for file in self.files:
            os.close(file)


def parse(attributes):
    """Kind and content of each netlink attribute."""
    at = 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        yield kind & 0x3FFF, attributes[at + 4 : at + length]
        at += length + 3 & ~3
