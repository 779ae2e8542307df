"""Listens to an exchange with a queue that lives as long as this program's connection.

    subscribe.py --exchange NAME --type TYPE [--key KEY ...] [--match all|any --header NAME=VALUE ...]

The queue is bound once for each key; for a headers exchange, once for all the headers together.
"""

import argparse

from connection import connect, consume_until_terminated, report_delivery

parser = argparse.ArgumentParser()
parser.add_argument("--exchange", required=True)
parser.add_argument("--type", required=True)
parser.add_argument("--key", action="append")
parser.add_argument("--match", choices=["all", "any"])
parser.add_argument("--header", action="append", default=[])
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.exchange_declare(exchange=options.exchange, exchange_type=options.type)
# No name: the broker makes one up.
queue = channel.queue_declare(queue="", exclusive=True).method.queue

arguments = dict(header.split("=", 1) for header in options.header)
if options.match:
    arguments["x-match"] = options.match
for key in options.key or [""]:
    channel.queue_bind(queue=queue, exchange=options.exchange, routing_key=key, arguments=arguments)


def on_message(_channel, method, properties, body):
    report_delivery(method, properties, body)


channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
consume_until_terminated(connection, channel, queue=queue)
