"""Makes or removes one binding between a direct exchange and a queue, and declares both.

    bind.py [--remove] EXCHANGE QUEUE KEY
"""

import argparse

from connection import connect, report

parser = argparse.ArgumentParser()
parser.add_argument("--remove", action="store_true")
parser.add_argument("exchange")
parser.add_argument("queue")
parser.add_argument("key")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.exchange_declare(exchange=options.exchange, exchange_type="direct")
channel.queue_declare(queue=options.queue)
change = channel.queue_unbind if options.remove else channel.queue_bind
change(queue=options.queue, exchange=options.exchange, routing_key=options.key)
connection.close()
report("unbound" if options.remove else "bound")
