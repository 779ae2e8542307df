"""The tasks of the tests, and how the workers report what they do, as lines of JSON.

QUEUE in the environment is the queue that tasks go to; PRIORITY_QUEUE is one with priorities.
"""

import json
import os
import time

from celery import Celery, signals
from kombu import Queue

app = Celery("tasks", broker=os.environ["BROKER_URL"], backend="rpc://")
app.conf.update(
    task_default_queue=os.environ["QUEUE"],
    task_queues=[
        Queue(os.environ["QUEUE"]),
        Queue(os.environ["PRIORITY_QUEUE"], queue_arguments={"x-max-priority": 10}),
    ],
    task_create_missing_queues=False,
    worker_prefetch_multiplier=1,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
    # What a test leaves waiting must not come to the next.
    result_expires=60,
)


def report(event, **fields):
    # One write for each line, since the processes of a pool share the output.
    os.write(1, (json.dumps({"event": event, **fields}) + "\n").encode())


@signals.worker_ready.connect
def on_ready(sender=None, **_rest):
    report("ready", hostname=sender.hostname)


@signals.task_revoked.connect
def on_revoked(request=None, terminated=None, **_rest):
    report("revoked", task_id=request.id, terminated=bool(terminated))


@app.task
def add(a, b):
    return a + b


@app.task
def multiply(a, b):
    return a * b


@app.task
def fail(reason):
    raise ValueError(reason)


@app.task(bind=True, max_retries=3)
def third_time_lucky(self):
    report("tried", retries=self.request.retries)
    if self.request.retries < 2:
        raise self.retry(countdown=0.1 * (self.request.retries + 1))
    return f"after {self.request.retries} retries"


@app.task(bind=True)
def note(self, name):
    report("noted", name=name, time=time.time(), priority=self.request.delivery_info["priority"])
    return name


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def survive(self, name):
    """Lasts until its process is killed, the first time; is done at once by whoever gets it then."""
    redelivered = self.request.delivery_info["redelivered"]
    report("working", name=name, pid=os.getpid(), redelivered=redelivered, worker=self.request.hostname)
    if not redelivered:
        time.sleep(60)
    return f"{name} done by {self.request.hostname}"


@app.task
def last_long():
    report("started")
    time.sleep(60)
