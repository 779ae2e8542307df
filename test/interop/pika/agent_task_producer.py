"""Accepts tasks for AI agents: puts them on a durable queue with priorities, a time to live and a place for failed ones.

    agent_task_producer.py QUEUE DEAD_LETTER_EXCHANGE DEAD_LETTER_KEY TASK [TASK ...]

A task is JSON: {"task_type": …, "payload": …}, and perhaps "priority" and "expiration" in milliseconds.
"""

import json
import sys
import uuid

import pika
from connection import connect, report


class AgentTaskProducer:
    def __init__(self, queue, dead_letter_exchange, dead_letter_key):
        self.queue = queue
        self.connection = connect()
        self.channel = self.connection.channel()
        self.channel.queue_declare(
            queue=queue,
            durable=True,
            arguments={
                "x-dead-letter-exchange": dead_letter_exchange,
                "x-dead-letter-routing-key": dead_letter_key,
                "x-max-priority": 10,
                "x-message-ttl": 300000,
            },
        )
        self.channel.confirm_delivery()

    def publish_task(self, task_type, payload, priority=5, expiration=None):
        task_id = str(uuid.uuid4())
        task = {"task_id": task_id, "task_type": task_type, "payload": payload}
        self.channel.basic_publish(
            exchange="",
            routing_key=self.queue,
            body=json.dumps(task),
            properties=pika.BasicProperties(
                delivery_mode=2,
                priority=priority,
                message_id=task_id,
                content_type="application/json",
                expiration=expiration,
            ),
            mandatory=True,
        )
        return task_id


queue, exchange, key, *tasks = sys.argv[1:]
producer = AgentTaskProducer(queue, exchange, key)
for task in tasks:
    report("accepted", task_id=producer.publish_task(**json.loads(task)))
producer.connection.close()
