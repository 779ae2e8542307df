"""A queue as Python's own: put, get, and Empty when nothing comes in time.

    simple_queue.py QUEUE
"""

import os
import sys

from kombu import Connection
from reporting import report

[name] = sys.argv[1:]
with Connection(os.environ["BROKER_URL"]) as connection:
    with connection.SimpleQueue(name) as queue:
        queue.put({"number": 0})
        first = queue.get(timeout=10)
        report("got", payload=first.payload)
        first.requeue()
        again = queue.get(timeout=10)
        report("got", payload=again.payload, redelivered=again.delivery_info["redelivered"])
        again.ack()
        for number in (1, 2):
            queue.put({"number": number})
        rest = [queue.get(timeout=10) for _ in range(2)]
        report("got", payload=[message.payload for message in rest])
        rest[0].ack()
        rest[1].reject()
        try:
            queue.get(timeout=0.05)
        except queue.Empty:
            report("empty")
        queue.put("left over")
        report("size", size=queue.qsize())
        report("cleared", count=queue.clear())
