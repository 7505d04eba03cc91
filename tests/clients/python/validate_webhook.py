"""Has the official Python server SDK check a webhook: prints what it makes of key, signature and body."""
import json
import sys

import pusher

arguments = json.loads(sys.argv[1])
app = arguments["app"]
client = pusher.Pusher(app_id=app["id"], key=app["key"], secret=app["secret"])
print(json.dumps(client.validate_webhook(arguments["key"], arguments["signature"], arguments["body"])))
