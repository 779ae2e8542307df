"""Publishes commands, which are JSON objects with an action, to a direct exchange.

    command_producer.py --exchange NAME --key KEY COMMAND [COMMAND ...]
"""

import argparse

import pika
from connection import connect, report

parser = argparse.ArgumentParser()
parser.add_argument("--exchange", required=True)
parser.add_argument("--key", required=True)
parser.add_argument("commands", nargs="+")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.confirm_delivery()
for command in options.commands:
    channel.basic_publish(
        exchange=options.exchange,
        routing_key=options.key,
        body=command.encode(),
        properties=pika.BasicProperties(content_type="application/json", delivery_mode=2),
        mandatory=True,
    )
connection.close()
report("sent", count=len(options.commands))
