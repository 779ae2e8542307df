"""Works on the tasks of AI agents: those whose type is "broken" fail, and go to the dead letters; the others are done.

    agent_worker.py [--prefetch N] QUEUE
"""

import argparse
import json

from connection import connect, consume_until_terminated, report

parser = argparse.ArgumentParser()
parser.add_argument("--prefetch", type=int, default=3)
parser.add_argument("queue")
options = parser.parse_args()

connection = connect()
channel = connection.channel()
channel.basic_qos(prefetch_count=options.prefetch)


def process_agent_task(task):
    if task["task_type"] == "broken":
        raise ValueError("this task cannot be done")


def on_message(_channel, method, properties, body):
    try:
        task = json.loads(body)
        process_agent_task(task)
    except ValueError as error:
        report("failed", reason=str(error))
        channel.basic_reject(delivery_tag=method.delivery_tag, requeue=False)
        return
    report(
        "done",
        task=task,
        priority=properties.priority,
        delivery_mode=properties.delivery_mode,
        message_id=properties.message_id,
        content_type=properties.content_type,
    )
    channel.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_consume(queue=options.queue, on_message_callback=on_message)
consume_until_terminated(connection, channel)
