"""The independent client `websockets` against the server: framing, pings, limits and closing. Prints JSON or fails."""
import asyncio
import json
import sys

import websockets

arguments = json.loads(sys.argv[1])
URL = arguments["url"]
PING = json.dumps({"event": "pusher:ping", "data": {}})
PONG = {"event": "pusher:pong", "data": "{}"}


async def connect():
    # Compression is offered, as every client does; the server may leave it.
    socket = await websockets.connect(URL, max_size=None)
    established = json.loads(await socket.recv())
    assert established["event"] == "pusher:connection_established", established
    return socket


async def fragments():
    async with await connect() as socket:
        await socket.send([PING[:1], PING[1:9], "", PING[9:]])
        assert json.loads(await socket.recv()) == PONG
        # Each piece splits a character of several bytes somewhere, when sent one character at a time.
        text = json.dumps({"event": "pusher:subscribe", "data": {"channel": "a", "auth": "Ž🚀" * 50}}, ensure_ascii=False)
        await socket.send(list(text))
        assert json.loads(await socket.recv())["event"] == "pusher_internal:subscription_succeeded"


async def pings():
    async with await connect() as socket:
        for payload in (b"", b"x", bytes(range(125))):
            answered = await socket.ping(payload)
            await asyncio.wait_for(answered, 5)
        waiting = [await socket.ping(str(number)) for number in range(50)]
        await asyncio.wait_for(asyncio.gather(*waiting), 5)
        await socket.send(PING)
        assert json.loads(await socket.recv()) == PONG


async def closed_with(message):
    socket = await connect()
    try:
        await socket.send(message)
        await asyncio.wait_for(socket.recv(), 5)
    except websockets.ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
    return "open"


async def big():
    return await closed_with("x" * 70_000)


async def big_in_fragments():
    return await closed_with(["x" * 1_000] * 70)


async def close_by_client():
    codes = []
    for code, reason in ((1000, ""), (1001, "going away"), (4321, "r" * 123)):
        socket = await connect()
        await socket.close(code, reason)
        codes.append([socket.close_code, socket.close_reason])
    return codes


async def main():
    await fragments()
    await pings()
    print(json.dumps({"big": await big(), "big_in_fragments": await big_in_fragments(), "close": await close_by_client()}))


asyncio.run(main())
