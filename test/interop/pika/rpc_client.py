"""Sends all its requests at once, and matches the answers, in whatever order, by correlation id.

    rpc_client.py QUEUE REQUEST [REQUEST ...]
"""

import sys
import uuid

import pika
from connection import connect, report

queue, *texts = sys.argv[1:]
connection = connect()
channel = connection.channel()
reply_queue = channel.queue_declare(queue="", exclusive=True).method.queue
waiting = {}


def on_answer(_channel, _method, properties, body):
    # An answer that belongs to none of our requests is an error here (KeyError).
    request = waiting.pop(properties.correlation_id)
    report("answered", request=request, answer=body.decode())


channel.basic_consume(queue=reply_queue, on_message_callback=on_answer, auto_ack=True)
for text in texts:
    correlation_id = str(uuid.uuid4())
    waiting[correlation_id] = text
    channel.basic_publish(
        exchange="",
        routing_key=queue,
        body=text.encode(),
        properties=pika.BasicProperties(reply_to=reply_queue, correlation_id=correlation_id),
    )
while waiting:
    connection.process_data_events(time_limit=None)
connection.close()
