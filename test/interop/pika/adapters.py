"""Sends messages to itself through one of pika's callback adapters: publishes with confirms, consumes, acknowledges.

    adapters.py select|asyncio|tornado|gevent QUEUE COUNT
"""

import importlib
import sys

import pika
from connection import parameters, report

ADAPTERS = {
    "select": ("pika.adapters.select_connection", "SelectConnection"),
    "asyncio": ("pika.adapters.asyncio_connection", "AsyncioConnection"),
    "tornado": ("pika.adapters.tornado_connection", "TornadoConnection"),
    "gevent": ("pika.adapters.gevent_connection", "GeventConnection"),
}


class RoundTrip:
    """Each step is the callback of the one before it."""

    def __init__(self, connection_class, queue, count):
        self.queue = queue
        self.count = count
        self.channel = None
        self.unconfirmed = set(range(1, count + 2))
        self.received = 0
        self.connection = connection_class(
            parameters(),
            on_open_callback=self.on_open,
            on_open_error_callback=self.on_open_error,
            on_close_callback=self.on_close,
        )

    def run(self):
        loop = self.connection.ioloop
        (loop.run_forever if hasattr(loop, "run_forever") else loop.start)()

    def on_open_error(self, _connection, error):
        sys.exit(f"cannot connect: {error!r}")

    def on_open(self, connection):
        connection.channel(on_open_callback=self.on_channel)

    def on_channel(self, channel):
        self.channel = channel
        channel.add_on_return_callback(self.on_return)
        channel.queue_declare(queue=self.queue, durable=True, callback=self.on_declared)

    def on_declared(self, _frame):
        self.channel.confirm_delivery(ack_nack_callback=self.on_confirm, callback=self.on_confirms_selected)

    def on_confirms_selected(self, _frame):
        persistent = pika.BasicProperties(delivery_mode=2)
        for number in range(self.count):
            self.channel.basic_publish("", self.queue, str(number).encode(), persistent, mandatory=True)
        self.channel.basic_publish("", f"{self.queue} missing", b"to nobody", mandatory=True)

    def on_return(self, _channel, method, _properties, body):
        report("returned", reply_code=method.reply_code, body=body.decode())

    def on_confirm(self, frame):
        if not isinstance(frame.method, pika.spec.Basic.Ack):
            sys.exit(f"not confirmed: {frame}")
        tag, multiple = frame.method.delivery_tag, frame.method.multiple
        self.unconfirmed -= {other for other in self.unconfirmed if other == tag or (multiple and other < tag)}
        if not self.unconfirmed:
            report("confirmed", count=self.count + 1)
            self.channel.basic_qos(prefetch_count=10, callback=self.on_prefetch)

    def on_prefetch(self, _frame):
        self.tag = self.channel.basic_consume(self.queue, on_message_callback=self.on_message)

    def on_message(self, channel, method, _properties, body):
        if int(body) != self.received:
            sys.exit(f"out of order: {body} after {self.received} messages")
        self.received += 1
        channel.basic_ack(method.delivery_tag)
        if self.received == self.count:
            report("received", count=self.received)
            channel.basic_cancel(self.tag, callback=lambda _frame: self.connection.close())

    def on_close(self, connection, reason):
        report("closed", reason=type(reason).__name__)
        connection.ioloop.stop()


adapter, queue, count = sys.argv[1:]
module, name = ADAPTERS[adapter]
RoundTrip(getattr(importlib.import_module(module), name), queue, int(count)).run()
