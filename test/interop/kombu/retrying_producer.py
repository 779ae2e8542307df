"""Publishes one message for each line of standard input, and tries again by its policy when the connection is lost.

    retrying_producer.py QUEUE
"""

import os
import sys

from kombu import Connection, Queue
from kombu.pools import producers
from reporting import report

[name] = sys.argv[1:]
queue = Queue(name, durable=True)


def on_error(error, interval):
    report("trying again", error=type(error).__name__, interval=interval)


connection = Connection(os.environ["BROKER_URL"], transport_options={"confirm_publish": True})
with producers[connection].acquire(block=True) as producer:
    report("ready")
    for line in sys.stdin:
        producer.publish(
            {"text": line.strip()},
            routing_key=name,
            declare=[queue],
            retry=True,
            retry_policy={
                "interval_start": 0,
                "interval_step": 0.05,
                "interval_max": 0.2,
                "max_retries": 20,
                "errback": on_error,
            },
        )
        report("confirmed", text=line.strip())
