"""Carries out commands from a queue: each names an action, and each action has a function here.

    command_consumer.py --exchange NAME --queue NAME --key KEY

A command that cannot be understood is refused, not retried, and does not end the program.
"""

import argparse
import json

from connection import connect, consume_until_terminated, report

parser = argparse.ArgumentParser()
parser.add_argument("--exchange", required=True)
parser.add_argument("--queue", required=True)
parser.add_argument("--key", required=True)
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.exchange_declare(exchange=options.exchange, exchange_type="direct", durable=True)
channel.queue_declare(queue=options.queue, durable=True)
channel.queue_bind(queue=options.queue, exchange=options.exchange, routing_key=options.key)


def delete_user(command):
    report("user deleted", user=command["userId"])


def greet_user(command):
    report("user greeted", user=command["userId"])


ACTIONS = {"delete_user": delete_user, "greet_user": greet_user}


def on_message(_channel, method, properties, body):
    try:
        command = json.loads(body)
        ACTIONS[command["action"]](command)
    except (ValueError, KeyError, TypeError) as error:
        channel.basic_reject(delivery_tag=method.delivery_tag, requeue=False)
        report("refused", body=body.decode(), reason=repr(error))
        return
    channel.basic_ack(delivery_tag=method.delivery_tag)
    report("acknowledged", content_type=properties.content_type)


channel.basic_consume(queue=options.queue, on_message_callback=on_message)
consume_until_terminated(connection, channel)
