"""Receives from a queue with automatic acknowledgement.

    receive.py QUEUE
"""

import sys

from connection import connect, consume_until_terminated, report_delivery

queue = sys.argv[1]
connection = connect()
channel = connection.channel()
channel.queue_declare(queue=queue)


def on_message(_channel, method, properties, body):
    report_delivery(method, properties, body)


channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
consume_until_terminated(connection, channel)
