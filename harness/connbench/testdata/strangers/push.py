"""A ticker: it sends every connection 10 bytes ten times a second and reads nothing."""
import asyncio
import websockets


async def tick(peer):
    while True:
        await peer.send("0123456789")
        await asyncio.sleep(0.1)


async def main():
    async with websockets.serve(tick, "127.0.0.1", 0, ping_interval=None, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
