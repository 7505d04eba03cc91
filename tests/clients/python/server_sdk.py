"""Calls the official Python server SDK: the argument says where and what, the answers are printed as JSON."""
import json
import sys

import pusher

arguments = json.loads(sys.argv[1])
client = pusher.Pusher(
    app_id=arguments["app"]["id"],
    key=arguments["app"]["key"],
    secret=arguments["app"]["secret"],
    host=arguments["host"],
    port=arguments["port"],
    ssl=False,
    encryption_master_key_base64=arguments.get("master_key"),
)


def call(method, *positional, **named):
    try:
        return {"ok": getattr(client, method)(*positional, **named)}
    except pusher.errors.PusherError as error:
        return {"error": type(error).__name__, "message": str(error)}


print(json.dumps([call(c["method"], *c.get("args", []), **c.get("kwargs", {})) for c in arguments["calls"]]))
