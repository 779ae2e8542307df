"""Publishes JSON through a topic exchange with a Producer that waits for confirms, and consumes it with a Consumer.

    produce_consume.py EXCHANGE QUEUE
"""

import os
import socket
import sys

from kombu import Connection, Consumer, Exchange, Producer, Queue
from reporting import report

exchange_name, queue_name = sys.argv[1:]
exchange = Exchange(exchange_name, "topic", durable=True)
queue = Queue(queue_name, exchange, routing_key="task.#", max_length=1000, expires=60, message_ttl=60)


def on_return(_exception, name, routing_key, message):
    report("returned", exchange=name, routing_key=routing_key, body=message.body)


def on_message(body, message):
    report(
        "received",
        body=body,
        routing_key=message.delivery_info["routing_key"],
        redelivered=message.delivery_info["redelivered"],
        headers={"trace": message.headers["trace"]},
        content_type=message.content_type,
        delivery_mode=message.properties["delivery_mode"],
    )
    # Once refused, then taken.
    if message.delivery_info["redelivered"]:
        message.ack()
    else:
        message.requeue()


with Connection(os.environ["BROKER_URL"], transport_options={"confirm_publish": True}) as connection:
    with connection.channel() as channel:
        producer = Producer(channel, exchange=exchange, serializer="json", on_return=on_return)
        for key in ["task.summarise", "nobody.listens"]:
            producer.publish(
                {"key": key},
                routing_key=key,
                declare=[queue],
                headers={"trace": "abc"},
                mandatory=True,
                compression="gzip" if key == "task.summarise" else None,
            )
        report("published")
        with Consumer(channel, queues=[queue], callbacks=[on_message], accept=["json"], prefetch_count=1):
            for _ in range(2):
                connection.drain_events(timeout=10)
            try:
                connection.drain_events(timeout=0.05)
            except socket.timeout:
                report("drained")
        try:
            Queue(queue_name, exchange, routing_key="task.#", durable=False, channel=channel).declare()
        except connection.channel_errors as error:
            report("refused", text=str(error))
