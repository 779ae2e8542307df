"""Calls a model whose rate limit refuses the first calls for each task: such a task waits in a queue, longer each time.

    rate_limited_worker.py --refusals N --first-delay MS QUEUE

A delay is a queue without consumers: what has been in it for the delay goes back to the tasks as a dead letter. There is
one queue for each delay, since a queue is left in order: a short wait behind a long one would be as long.
"""

import argparse
import time

import pika
from connection import connect, consume_until_terminated, report

parser = argparse.ArgumentParser()
parser.add_argument("--refusals", type=int, required=True)
parser.add_argument("--first-delay", type=int, required=True)
parser.add_argument("queue")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.queue_declare(queue=options.queue, durable=True)
channel.confirm_delivery()
channel.basic_qos(prefetch_count=3)
refused_at = {}


def on_task(_channel, method, properties, body):
    headers = properties.headers or {}
    attempt = headers.get("attempt", 1)
    waited_ms = round((time.monotonic() - refused_at.pop(body, time.monotonic())) * 1000)
    if attempt > options.refusals:
        deaths = [[death["queue"], death["reason"], death["count"]] for death in headers.get("x-death", [])]
        report("done", body=body.decode(), attempt=attempt, waited_ms=waited_ms, deaths=deaths)
    else:
        delay_ms = options.first_delay * 2 ** (attempt - 1)
        report("refused", body=body.decode(), attempt=attempt, waited_ms=waited_ms, delay_ms=delay_ms)
        refused_at[body] = time.monotonic()
        try_again(properties, body, attempt + 1, delay_ms)
    # Not before the broker has confirmed the copy that waits: no crash loses the task.
    channel.basic_ack(method.delivery_tag)


def try_again(properties, body, attempt, delay_ms):
    delay_queue = f"{options.queue}.delay.{delay_ms}"
    channel.queue_declare(
        queue=delay_queue,
        durable=True,
        arguments={
            "x-message-ttl": delay_ms,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": options.queue,
            "x-expires": 60_000,
        },
    )
    properties.headers = {**(properties.headers or {}), "attempt": attempt}
    channel.basic_publish("", delay_queue, body, properties, mandatory=True)


channel.basic_consume(queue=options.queue, on_message_callback=on_task)
consume_until_terminated(connection, channel)
