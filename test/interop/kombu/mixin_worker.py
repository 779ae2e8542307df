"""A ConsumerMixin: it consumes until it is told to stop, and comes back by itself when its connection is lost.

    mixin_worker.py QUEUE

The first message is left unacknowledged.
"""

import os
import signal
import sys

from kombu import Connection, Queue
from kombu.mixins import ConsumerMixin
from reporting import report


class Worker(ConsumerMixin):
    connect_max_retries = 50

    def __init__(self, connection, queue):
        self.connection = connection
        self.queue = queue
        self.received = 0

    def get_consumers(self, Consumer, channel):
        return [Consumer(queues=[self.queue], callbacks=[self.on_message], prefetch_count=5)]

    def on_consume_ready(self, connection, channel, consumers, **_rest):
        report("ready")

    def on_message(self, body, message):
        self.received += 1
        report("received", body=body, redelivered=message.delivery_info["redelivered"])
        if self.received > 1:
            message.ack()


def stop(_signal, _frame):
    worker.should_stop = True


[name] = sys.argv[1:]
signal.signal(signal.SIGTERM, stop)
with Connection(os.environ["BROKER_URL"], heartbeat=10) as connection:
    worker = Worker(connection, Queue(name, durable=True))
    worker.run()
