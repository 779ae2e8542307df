"""Sends messages to a queue through the default exchange, whose routing key is the queue's name.

    send.py [--undeclared | --max-length N] [--count N] QUEUE [BODY ...]
"""

import argparse

from connection import connect, report

parser = argparse.ArgumentParser()
parser.add_argument("--undeclared", action="store_true", help="trust that the queue exists")
parser.add_argument("--max-length", type=int, help="the most messages that the queue keeps")
parser.add_argument("--count", type=int, default=0, help="send the numbers from 1 to COUNT as well")
parser.add_argument("queue")
parser.add_argument("bodies", nargs="*")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
if not options.undeclared:
    arguments = {"x-max-length": options.max_length} if options.max_length else None
    channel.queue_declare(queue=options.queue, arguments=arguments)

bodies = options.bodies + [str(number) for number in range(1, options.count + 1)]
for body in bodies:
    channel.basic_publish(exchange="", routing_key=options.queue, body=body.encode())

# Nothing was confirmed: closing is what promises that all has been written and read.
connection.close()
report("sent", count=len(bodies))
