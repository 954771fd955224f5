#!/usr/bin/python3
"""
Stands between a program and its server and makes every answer come later, as a distance does.

    delay.py MS --tcp PORT        prints a port of 127.0.0.1 that leads to PORT
    delay.py MS PROGRAM [ARG...]  runs a program with a delayed standard input and output

MS is the round trip: half of it is added in each direction; nothing is made slower than that.
"""
import asyncio
import os
import sys

PIECE = 256 * 1024


async def carry(read, write, seconds):
    """Every piece arrives `seconds` after it was sent; any number may be under way."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue()

    async def deliver():
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not await write(data):
                return

    task = asyncio.create_task(deliver())
    while True:
        try:
            data = await read()
        except OSError:
            data = b""
        await queue.put((loop.time() + seconds, data))
        if not data:
            break
    await task


def to_stream(writer):
    async def write(data):
        try:
            if data:
                writer.write(data)
                await writer.drain()
            else:
                writer.close()
        except OSError:
            return False
        return bool(data)
    return write


async def serve(port, seconds):
    async def joined(reader, writer):
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            carry(lambda: reader.read(PIECE), to_stream(other_writer), seconds),
            carry(lambda: other_reader.read(PIECE), to_stream(writer), seconds))

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def run(words, seconds):
    loop = asyncio.get_running_loop()
    child = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.PIPE,
                                                 stdout=asyncio.subprocess.PIPE)

    async def put(data):
        view = memoryview(data)
        while view:
            done = await loop.run_in_executor(None, os.write, 1, view)
            view = view[done:]
        return bool(data)

    there = asyncio.create_task(carry(lambda: loop.run_in_executor(None, os.read, 0, PIECE),
                                      to_stream(child.stdin), seconds))
    await carry(lambda: child.stdout.read(PIECE), put, seconds)
    there.cancel()
    os._exit(await child.wait())  # a thread may still wait for input


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    seconds = float(sys.argv[1]) / 2000
    try:
        if sys.argv[2] == "--tcp":
            asyncio.run(serve(int(sys.argv[3]), seconds))
        else:
            asyncio.run(run(sys.argv[2:], seconds))
    except KeyboardInterrupt:
        pass


main()
