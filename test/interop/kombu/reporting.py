"""What the programs share: how they report what happened, as lines of JSON."""

import json


def report(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)
