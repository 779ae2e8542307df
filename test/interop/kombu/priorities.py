"""Publishes with priorities to a priority queue, and with an expiration, then gets what is left, one by one.

    priorities.py QUEUE DEAD_LETTER_QUEUE
"""

import os
import sys

from kombu import Connection, Queue
from reporting import report

name, dead_name = sys.argv[1:]
# Confirmed, since the gets go by another channel than the publishes and could be answered before them.
with Connection(os.environ["BROKER_URL"], transport_options={"confirm_publish": True}) as connection:
    channel = connection.channel()
    dead = Queue(dead_name, durable=True)(channel)
    dead.declare()
    queue = Queue(
        name,
        durable=True,
        max_priority=10,
        queue_arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead_name},
    )(channel)
    queue.declare()
    producer = connection.Producer()
    producer.publish("short-lived", routing_key=name, priority=10, expiration=0.05)
    with connection.Consumer(dead, callbacks=[lambda body, message: (report("expired", body=body), message.ack())]):
        connection.drain_events(timeout=10)
    for body, priority in [("low", 0), ("high", 9), ("middle", 5), ("high too", 9), ("beyond", 99), ("none", None)]:
        producer.publish(body, routing_key=name, priority=priority)
    order = []
    while (message := queue.get(accept=["json", "text/plain"])) is not None:
        order.append(message.payload)
        message.ack()
    report("order", bodies=order)
