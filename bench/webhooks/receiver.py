"""A receiver that takes everything at once, and writes down which agent each delivery is about and when its first byte
was there, by the clock that all processes of the machine share.

Its arguments are two files: one for its port, one for what arrived, a line each, as it arrives."""

import asyncio
import re
import sys
import time

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
AGENT = re.compile(rb'"agent_id":"([^"]+)"')


def now():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class Delivery(asyncio.Protocol):
    def __init__(self, out):
        self.out = out
        self.buffer = b""
        self.begun = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.begun = self.begun or now()
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        # The issuer sends nothing more on a connection before it has its answer.
        if found and len(body) >= int(LENGTH.search(head)[1]):
            agent = AGENT.search(body)
            self.out.write(f"{agent[1].decode() if agent else '-'} {self.begun:.6f}\n")
            self.transport.write(ANSWER)
            self.buffer, self.begun = b"", None


async def main():
    out = open(sys.argv[2], "w", buffering=1)
    server = await asyncio.get_running_loop().create_server(lambda: Delivery(out), "127.0.0.1", 0)
    with open(sys.argv[1], "w") as port:
        print(server.sockets[0].getsockname()[1], file=port)
    await server.serve_forever()


asyncio.run(main())
