"""A proxy for tests: CONNECT of HTTP, or SOCKS5 with names that it looks up itself.

usage: proxy.py http|socks5 ADDRESS PORT [NAME=ADDRESS]...

It knows the names of its command line and no others, and has no login. Each tunnel is a line of its output, with the host
as it was asked for: `tunnel HOST:PORT`.
"""

import asyncio
import sys

KIND, ADDRESS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
NAMES = dict(name.split("=") for name in sys.argv[4:])


async def asked_by_http(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, target, _ = head.split("\r\n")[0].split(" ")
    assert method == "CONNECT", head
    host, port = target.rsplit(":", 1)
    return host, int(port), b"HTTP/1.1 200 Connection established\r\n\r\n"


async def asked_by_socks5(reader, writer):
    version, methods = await reader.readexactly(2)
    assert version == 5 and 0 in await reader.readexactly(methods)
    writer.write(b"\x05\x00")
    _, command, _, kind = await reader.readexactly(4)
    assert command == 1
    if kind == 3:
        (length,) = await reader.readexactly(1)
        host = (await reader.readexactly(length)).decode()
    else:
        assert kind == 1
        host = ".".join(str(byte) for byte in await reader.readexactly(4))
    port = int.from_bytes(await reader.readexactly(2), "big")
    return host, port, b"\x05\x00\x00\x01" + bytes(6)


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def serve(reader, writer):
    try:
        asked = asked_by_http(reader) if KIND == "http" else asked_by_socks5(reader, writer)
        host, port, granted = await asked
        server = await asyncio.open_connection(NAMES.get(host, host), port)
    except (AssertionError, EOFError, OSError, ValueError) as error:
        print("refused:", repr(error), flush=True)
        writer.close()
        return
    print(f"tunnel {host}:{port}", flush=True)
    writer.write(granted)
    await asyncio.gather(copy(reader, server[1]), copy(server[0], writer))


async def main():
    server = await asyncio.start_server(serve, ADDRESS, PORT)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
