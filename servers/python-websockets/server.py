"""A WebSocket echo server on the library websockets, with asyncio or uvloop."""

import argparse
import asyncio
import gc
import json
import os
import resource
import signal
import socket
import ssl
import sys
import time

import websockets

# MOST_CONTROL is the largest payload of a control frame, in bytes: the library holds these to
# max_size too.
MOST_CONTROL = 125
TOO_BIG = 1009


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"python-websockets: {message}", file=sys.stderr)
        sys.exit(2)


def read_options():
    parser = Parser(prog="python-websockets", allow_abbrev=False)
    parser.add_argument("--listen", required=True, type=addresses)
    parser.add_argument("--max-message", type=at_least(1), default=64 << 10)
    parser.add_argument("--backlog", type=at_least(1), default=4096)
    parser.add_argument("--loops", type=at_least(1), default=1)
    parser.add_argument("--work", type=at_least(0), default=0)
    parser.add_argument("--tls", default="")
    parser.add_argument("--class", dest="kind", choices=["default", "tuned"], default="default")
    return parser.parse_args()


def at_least(least):
    def number(text):
        n = int(text)
        if n < least:
            raise ValueError
        return n

    return number


def addresses(text):
    """Reads HOST:PORT[,HOST:PORT...], where HOST may be [IPv6]."""
    found = []
    for one in text.split(","):
        host, colon, port = one.rpartition(":")
        if not colon:
            raise ValueError
        found.append((host.strip("[]") or "0.0.0.0", int(port)))
    return found


def secured(file):
    """Reads a key and its certificate; no file is no TLS."""
    if not file:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(file)
    except OSError as error:
        print(f"python-websockets: --tls: {error}", file=sys.stderr)
        sys.exit(1)
    return context


def listen(address, backlog):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(address)
    listener.listen(backlog)
    listener.setblocking(False)
    return listener


class Server:
    def __init__(self, options):
        self.options = options
        self.connections = 0

    async def echo(self, connection):
        self.connections += 1
        try:
            async for message in connection:
                if len(message) > self.options.max_message:
                    await connection.close(TOO_BIG)
                    break
                if self.options.work:
                    use_cpu(self.options.work)
                await connection.send(message)
        except websockets.ConnectionClosed:
            pass
        finally:
            self.connections -= 1

    def stats(self):
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "connections": self.connections,
            "gc_cycles": sum(generation["collections"] for generation in gc.get_stats()),
            "user_seconds": used.ru_utime,
            "system_seconds": used.ru_stime,
        }

    def answer(self, question):
        if question not in ("stats", "settle"):
            print(f"python-websockets: unknown question {question!r}", file=sys.stderr)
            return
        if question == "settle":
            gc.collect()
        print(json.dumps(self.stats()), flush=True)


def use_cpu(us):
    """Uses up CPU time of this thread, in microseconds."""
    until = time.thread_time_ns() + us * 1000
    while time.thread_time_ns() < until:
        pass


async def main(options):
    server = Server(options)
    listeners = []
    context = secured(options.tls)
    for address in options.listen:
        try:
            listeners.append(listen(address, options.backlog))
        except OSError as error:
            print(f"python-websockets: listen on {address[0]}:{address[1]}: {error}", file=sys.stderr)
            sys.exit(1)
    for listener in listeners:
        await websockets.serve(
            server.echo,
            sock=listener,
            ssl=context,
            backlog=options.backlog,
            compression=None,
            max_size=max(options.max_message, MOST_CONTROL),
            ping_interval=None,
            server_header=None,
            **({"max_queue": 1, "read_limit": 8 << 10, "write_limit": 8 << 10} if options.kind == "tuned" else {}),
        )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end)
    names = [listener.getsockname() for listener in listeners]
    shown = [f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}" for name in names]
    print(json.dumps({"ready": True, "addresses": shown}), flush=True)
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    while line := await questions.readline():
        server.answer(line.decode().strip())
    end()


def end():
    """The kernel closes all sockets."""
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    options = read_options()
    if options.kind == "tuned":
        import uvloop

        uvloop.install()
    asyncio.run(main(options))
