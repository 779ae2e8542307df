"""Receives from a queue with automatic acknowledgement.

    receive.py [--max-length N] QUEUE
"""

import argparse

from connection import connect, consume_until_terminated, report_delivery

parser = argparse.ArgumentParser()
parser.add_argument("--max-length", type=int, help="the most messages that the queue keeps")
parser.add_argument("queue")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
arguments = {"x-max-length": options.max_length} if options.max_length else None
channel.queue_declare(queue=options.queue, arguments=arguments)


def on_message(_channel, method, properties, body):
    report_delivery(method, properties, body)


channel.basic_consume(queue=options.queue, on_message_callback=on_message, auto_ack=True)
consume_until_terminated(connection, channel)
