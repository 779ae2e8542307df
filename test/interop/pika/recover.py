"""Gets messages, asks for all that it has not acknowledged to come again (basic.recover), and gets them again.

    recover.py QUEUE

It also says that it is willing to take more (channel.flow), which is all that a client may say.
"""

import sys

from connection import connect, report

[queue] = sys.argv[1:]
connection = connect()
channel = connection.channel()
channel.queue_declare(queue=queue)
report("flow", active=channel.flow(True))
for body in [b"one", b"two", b"three"]:
    channel.basic_publish(exchange="", routing_key=queue, body=body)

for _ in range(2):
    for method, _properties, body in channel.consume(queue, inactivity_timeout=10):
        report("received", body=body.decode(), redelivered=method.redelivered)
        if body == b"three":
            break
        if body == b"one" and not method.redelivered:
            channel.basic_ack(method.delivery_tag)
    if method.redelivered:
        break
    channel.basic_recover(requeue=True)

# What is left goes back to the queue with the consumer that consume() has made.
report("cancelled", requeued=channel.cancel())
connection.close()
