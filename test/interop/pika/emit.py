"""Publishes messages to an exchange, each with the same routing key and headers.

    emit.py --exchange NAME --type TYPE [--key KEY] [--header NAME=VALUE ...] BODY [BODY ...]
"""

import argparse

import pika
from connection import connect, report

parser = argparse.ArgumentParser()
parser.add_argument("--exchange", required=True)
parser.add_argument("--type", required=True)
parser.add_argument("--key", default="")
parser.add_argument("--header", action="append", default=[])
parser.add_argument("bodies", nargs="+")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.exchange_declare(exchange=options.exchange, exchange_type=options.type)

headers = dict(header.split("=", 1) for header in options.header)
for body in options.bodies:
    channel.basic_publish(
        exchange=options.exchange,
        routing_key=options.key,
        body=body.encode(),
        properties=pika.BasicProperties(headers=headers),
    )

connection.close()
report("sent", count=len(options.bodies))
