"""Answers requests: counts the words of each, and replies to the queue that the request names.

    rpc_server.py [--batch N] QUEUE

Requests are answered in batches of N, the last of a batch first.
"""

import argparse

import pika
from connection import connect, consume_until_terminated

parser = argparse.ArgumentParser()
parser.add_argument("--batch", type=int, default=1)
parser.add_argument("queue")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.queue_declare(queue=options.queue)
requests = []


def on_request(_channel, method, properties, body):
    requests.append((method, properties, body))
    if len(requests) == options.batch:
        while requests:
            answer(*requests.pop())


def answer(method, properties, body):
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        body=str(len(body.split())).encode(),
        properties=pika.BasicProperties(correlation_id=properties.correlation_id),
    )
    channel.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_consume(queue=options.queue, on_message_callback=on_request)
consume_until_terminated(connection, channel)
