"""What all the programs share: how they connect, how they report, and how they end."""

import json
import os
import signal

import pika


def connect():
    return pika.BlockingConnection(parameters())


def parameters():
    credentials = pika.PlainCredentials(os.environ["BROKER_USERNAME"], os.environ["BROKER_PASSWORD"])
    return pika.ConnectionParameters(
        host=os.environ["BROKER_HOST"],
        port=int(os.environ["BROKER_PORT"]),
        virtual_host=os.environ["BROKER_VHOST"],
        credentials=credentials,
    )


def report(event, **fields):
    """Tells whoever started the program what happened, as one line of JSON."""
    print(json.dumps({"event": event, **fields}), flush=True)


def report_delivery(method, properties, body):
    report(
        "received",
        body=body.decode(),
        exchange=method.exchange,
        routing_key=method.routing_key,
        redelivered=method.redelivered,
        delivery_tag=method.delivery_tag,
        delivery_mode=properties.delivery_mode,
    )


def consume_until_terminated(connection, channel, **details):
    """Takes deliveries until SIGTERM, then closes the connection in order."""

    def stop(_signal, _frame):
        connection.add_callback_threadsafe(channel.stop_consuming)

    signal.signal(signal.SIGTERM, stop)
    report("ready", **details)
    channel.start_consuming()
    connection.close()
