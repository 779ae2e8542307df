"""Publishes until the broker blocks the connection for want of memory, waits until it may go on, and publishes once more.

    patient_publisher.py QUEUE BYTES

It learns of both by callbacks, which run while pika waits for the broker.
"""

import sys

from connection import connect, report

queue, size = sys.argv[1:]
connection = connect()
blocked = False


def on_blocked(_connection, frame):
    global blocked
    blocked = True
    report("blocked", reason=frame.method.reason)


def on_unblocked(_connection, _frame):
    global blocked
    blocked = False
    report("unblocked")


connection.add_on_connection_blocked_callback(on_blocked)
connection.add_on_connection_unblocked_callback(on_unblocked)
channel = connection.channel()
channel.queue_declare(queue=queue)
report("ready")

while not blocked:
    channel.basic_publish(exchange="", routing_key=queue, body=bytes(int(size)))
    connection.process_data_events(time_limit=0.02)
while blocked:
    connection.process_data_events(time_limit=None)
channel.basic_publish(exchange="", routing_key=queue, body=b"last")
connection.close()
report("sent")
