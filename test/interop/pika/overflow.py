"""Fills a queue that has room for one message and refuses what comes then; the refusal arrives as an exception.

    overflow.py QUEUE
"""

import sys

import pika
from connection import connect, report

[queue] = sys.argv[1:]
connection = connect()
channel = connection.channel()
channel.queue_declare(queue=queue, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
channel.confirm_delivery()

for body in ["fits", "is refused"]:
    try:
        channel.basic_publish(exchange="", routing_key=queue, body=body.encode(), mandatory=True)
        report("confirmed", body=body)
    except pika.exceptions.NackError as error:
        report("refused", body=body, returned=len(error.messages))

_method, _properties, body = channel.basic_get(queue=queue, auto_ack=True)
report("kept", body=body.decode())
channel.basic_publish(exchange="", routing_key=queue, body=b"fits again", mandatory=True)
report("confirmed", body="fits again")
connection.close()
