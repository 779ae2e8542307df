"""Works on the tasks of a durable queue, one at a time, and acknowledges each when it is done.

    worker.py [--prefetch N] [--seconds-per-dot S | --told-when-done] QUEUE

The work is done in a thread of its own: while it lasts, the main thread keeps the connection alive.
With --told-when-done a task lasts until a line comes on standard input.
"""

import argparse
import queue
import sys
import threading
import time

from connection import connect, consume_until_terminated, report, report_delivery

parser = argparse.ArgumentParser()
parser.add_argument("--prefetch", type=int, default=0)
parser.add_argument("--seconds-per-dot", type=float, default=1)
parser.add_argument("--told-when-done", action="store_true")
parser.add_argument("queue")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.queue_declare(queue=options.queue, durable=True)
channel.basic_qos(prefetch_count=options.prefetch)

tasks = queue.Queue()


def on_message(_channel, method, properties, body):
    report_delivery(method, properties, body)
    tasks.put((method.delivery_tag, body))


def work():
    while True:
        delivery_tag, body = tasks.get()
        started = time.monotonic()
        if options.told_when_done:
            if not sys.stdin.readline():
                return  # nobody will tell us any more
        else:
            time.sleep(body.count(b".") * options.seconds_per_dot)
        finish = finisher(delivery_tag, body.decode(), time.monotonic() - started)
        connection.add_callback_threadsafe(finish)


def finisher(delivery_tag, task, seconds):
    # A channel belongs to the thread of its connection, so the acknowledgement is sent from there.
    def finish():
        channel.basic_ack(delivery_tag=delivery_tag)
        report("done", task=task, seconds=seconds)

    return finish


threading.Thread(target=work, daemon=True).start()
channel.basic_consume(queue=options.queue, on_message_callback=on_message)
consume_until_terminated(connection, channel)
