"""Takes messages from one queue and puts them, in capitals, on another: each publish and its acknowledgement in one transaction.

    forward.py FROM TO

A message that says "undo" is forwarded and acknowledged, too, but rolled back and left to its queue.
"""

import sys

from connection import connect, report

source, target = sys.argv[1:]
connection = connect()
channel = connection.channel()
channel.tx_select()

while True:
    method, _properties, body = channel.basic_get(queue=source)
    if method is None:
        break
    channel.basic_publish(exchange="", routing_key=target, body=body.upper())
    channel.basic_ack(delivery_tag=method.delivery_tag)
    if body == b"undo":
        channel.tx_rollback()
    else:
        channel.tx_commit()
    report("done", body=body.decode(), redelivered=method.redelivered)

connection.close()
