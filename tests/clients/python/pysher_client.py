"""Pysher: connects, subscribes to the given channels one after the other, and ends at the first event on the last."""
import json
import sys
import threading

import pysher

arguments = json.loads(sys.argv[1])
channels = arguments["channels"]
client = pysher.Pusher(
    arguments["app"]["key"],
    secret=arguments["app"]["secret"],
    custom_host=arguments["host"],
    port=arguments["port"],
    secure=False,
    user_data={"user_id": "ann", "user_info": {"name": "Name of ann"}},
)
done = threading.Event()
seen = []


def subscribe(index):
    channel = client.subscribe(channels[index])

    def succeeded(_data):
        if index + 1 < len(channels):
            subscribe(index + 1)
        else:
            print("subscribed", flush=True)

    def arrived(data):
        seen.append([channels[index], data])
        if index + 1 == len(channels):
            done.set()

    channel.bind("pusher_internal:subscription_succeeded", succeeded)
    channel.bind("e", arrived)


client.connection.bind("pusher:connection_established", lambda _data: subscribe(0))
client.connect()
if not done.wait(15):
    sys.exit("no event came")
client.disconnect(timeout=5)
print(json.dumps(seen), flush=True)
