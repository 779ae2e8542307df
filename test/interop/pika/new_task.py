"""Puts persistent tasks on a durable queue and waits until the broker has confirmed each.

    new_task.py [--undeclared] QUEUE TASK [TASK ...]

A dot in a task stands for a unit of work. A task that no queue takes is reported as returned.
"""

import argparse

import pika
from connection import connect, report

parser = argparse.ArgumentParser()
parser.add_argument("--undeclared", action="store_true", help="trust that the queue exists")
parser.add_argument("queue")
parser.add_argument("tasks", nargs="+")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
if not options.undeclared:
    channel.queue_declare(queue=options.queue, durable=True)
channel.confirm_delivery()

for task in options.tasks:
    try:
        channel.basic_publish(
            exchange="",
            routing_key=options.queue,
            body=task.encode(),
            properties=pika.BasicProperties(delivery_mode=2),
            mandatory=True,
        )
        report("confirmed", task=task)
    except pika.exceptions.UnroutableError as error:
        returned = error.messages[0]
        report(
            "returned",
            task=returned.body.decode(),
            reply_code=returned.method.reply_code,
            reply_text=returned.method.reply_text,
        )

connection.close()
