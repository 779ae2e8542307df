"""Reads the tasks that failed or came too late, and says why each did, by its history in the header x-death.

    dead_letters.py EXCHANGE QUEUE
"""

import json
import sys

from connection import connect, consume_until_terminated, report

exchange, queue = sys.argv[1:]
connection = connect()
channel = connection.channel()
channel.exchange_declare(exchange=exchange, exchange_type="direct", durable=True)
channel.queue_declare(queue=queue, durable=True)
channel.queue_bind(queue=queue, exchange=exchange, routing_key=queue)


def on_dead_letter(_channel, method, properties, body):
    task = json.loads(body)
    headers = properties.headers or {}
    death = headers.get("x-death", [{}])[0]
    report(
        "dead",
        task_id=task["task_id"],
        task_type=task["task_type"],
        reason=death.get("reason", "unknown"),
        queue=death.get("queue"),
        exchange=death.get("exchange"),
        routing_keys=death.get("routing-keys"),
        count=death.get("count"),
        original_expiration=death.get("original-expiration"),
        first=[headers.get(f"x-first-death-{what}") for what in ("reason", "queue", "exchange")],
        priority=properties.priority,
        expiration=properties.expiration,
        message_id=properties.message_id,
    )
    if death.get("reason") == "expired":
        report("alert", text=f"Task {task['task_id']} expired before processing")
    channel.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_consume(queue=queue, on_message_callback=on_dead_letter)
consume_until_terminated(connection, channel)
