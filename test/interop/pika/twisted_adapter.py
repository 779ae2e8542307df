"""The same as adapters.py with Twisted, whose deferreds make the steps follow each other.

    twisted_adapter.py QUEUE COUNT
"""

import os
import sys

import pika
from connection import parameters, report
from pika.adapters.twisted_connection import TwistedProtocolConnection
from pika.exceptions import UnroutableError
from twisted.internet import protocol, task
from twisted.internet.defer import inlineCallbacks


@inlineCallbacks
def round_trip(reactor, queue, count):
    client = protocol.ClientCreator(reactor, TwistedProtocolConnection, parameters())
    connection = yield client.connectTCP(os.environ["BROKER_HOST"], int(os.environ["BROKER_PORT"]))
    yield connection.ready
    channel = yield connection.channel()
    yield channel.queue_declare(queue=queue, durable=True)
    yield channel.confirm_delivery()

    persistent = pika.BasicProperties(delivery_mode=2)
    for number in range(count):
        yield channel.basic_publish("", queue, str(number).encode(), persistent, mandatory=True)
    try:
        yield channel.basic_publish("", f"{queue} missing", b"to nobody", mandatory=True)
    except UnroutableError as error:
        returned = error.messages[0]
        report("returned", reply_code=returned.method.reply_code, body=returned.body.decode())
    report("confirmed", count=count + 1)

    yield channel.basic_qos(prefetch_count=10)
    deliveries, tag = yield channel.basic_consume(queue)
    for number in range(count):
        _channel, method, _properties, body = yield deliveries.get()
        if int(body) != number:
            sys.exit(f"out of order: {body} after {number} messages")
        yield channel.basic_ack(method.delivery_tag)
    report("received", count=count)
    yield channel.basic_cancel(tag)
    reason = yield connection.close()
    report("closed", reason=type(reason).__name__)


queue, count = sys.argv[1:]
task.react(round_trip, [queue, int(count)])
