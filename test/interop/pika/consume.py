"""Consumes with a priority among consumers, or as the only consumer, and says when the broker cancels it.

    consume.py [--priority N] [--exclusive] [--prefetch N] QUEUE

Nothing is acknowledged.
"""

import argparse

import pika
from connection import connect, consume_until_terminated, report, report_delivery

parser = argparse.ArgumentParser()
parser.add_argument("--priority", type=int)
parser.add_argument("--exclusive", action="store_true")
parser.add_argument("--prefetch", type=int, default=0)
parser.add_argument("queue")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.basic_qos(prefetch_count=options.prefetch)
channel.add_on_cancel_callback(lambda frame: report("cancelled", tag=frame.method.consumer_tag))


def on_message(_channel, method, properties, body):
    report_delivery(method, properties, body)


try:
    tag = channel.basic_consume(
        queue=options.queue,
        on_message_callback=on_message,
        exclusive=options.exclusive,
        arguments=None if options.priority is None else {"x-priority": options.priority},
    )
except pika.exceptions.ChannelClosedByBroker as error:
    report("refused", code=error.reply_code, text=error.reply_text)
else:
    consume_until_terminated(connection, channel, tag=tag)
