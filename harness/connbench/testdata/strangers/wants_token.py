"""A server that wants a token of its own from each connection, and a subprotocol."""
import asyncio
from http import HTTPStatus
import websockets

used = set()


async def check(path, headers):
    token = headers.get("Authorization", "")
    if not token.startswith("Bearer token-") or token in used:
        return HTTPStatus.UNAUTHORIZED, [], b"no, or an old, token\n"
    used.add(token)


async def echo(peer):
    async for message in peer:
        await peer.send(message)


async def main():
    options = dict(process_request=check, subprotocols=["chat.v2"], ping_interval=None, compression=None)
    async with websockets.serve(echo, "127.0.0.1", 0, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
