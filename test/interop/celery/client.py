"""Sends tasks, one scenario for each line of standard input, and reports what comes of them.

QUEUE and PRIORITY_QUEUE in the environment: as for the tasks.
"""

import json
import os
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import tasks
from celery import chain, group
from celery.exceptions import TaskRevokedError
from tasks import app

TIMEOUT = 15
pending = {}


def report(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def results():
    """Tasks and their results, errors included."""
    report("sum", value=tasks.add.delay(2, 3).get(timeout=TIMEOUT))
    chained = chain(tasks.add.s(1, 2), tasks.multiply.s(10), tasks.add.s(4))
    report("chain", value=chained.apply_async().get(timeout=TIMEOUT))
    grouped = group(tasks.add.s(number, number) for number in range(10))
    report("group", value=grouped.apply_async().get(timeout=TIMEOUT))
    try:
        tasks.fail.delay("no luck").get(timeout=TIMEOUT)
    except ValueError as error:
        report("error", text=str(error))


def retries():
    report("retried", value=tasks.third_time_lucky.delay().get(timeout=TIMEOUT))


def delays():
    sent = time.time()
    late = tasks.note.apply_async(["countdown"], countdown=0.3)
    eta = datetime.now(timezone.utc) + timedelta(seconds=0.2)
    later = tasks.note.apply_async(["eta"], eta=eta)
    report("sent", time=sent, eta=eta.timestamp())
    report("delayed", values=[late.get(timeout=TIMEOUT), later.get(timeout=TIMEOUT)])


def revoke():
    """A task that waits for its time, and one that is being worked on."""
    waiting = tasks.note.apply_async(["never"], countdown=1)
    working = tasks.last_long.delay()
    report("sent", waiting=waiting.id, working=working.id)
    sys.stdin.readline()
    waiting.revoke()
    working.revoke(terminate=True, signal="SIGKILL")
    for result in (waiting, working):
        try:
            result.get(timeout=TIMEOUT)
        except TaskRevokedError as error:
            report("was revoked", task_id=result.id, text=str(error))


def priorities():
    """Sent before anyone consumes from the queue."""
    with app.connection_for_write() as connection:
        app.amqp.queues[os.environ["PRIORITY_QUEUE"]](connection.default_channel).declare()
    for name, priority in [("low", 0), ("high", 9), ("middle", 5), ("high too", 9)]:
        tasks.note.apply_async([name], queue=os.environ["PRIORITY_QUEUE"], priority=priority)
    report("sent")


def expires():
    """Too late for the worker when it comes: the task itself says so, not the queue."""
    try:
        tasks.note.apply_async(["late"], countdown=0.3, expires=0.1).get(timeout=TIMEOUT)
    except TaskRevokedError as error:
        report("was revoked", text=str(error))


def control():
    """Remote control: questions to all workers, whose answers come to a queue of this program's own."""
    inspect = app.control.inspect(timeout=TIMEOUT, limit=1)
    report("ping", answers=inspect.ping())
    report("queues", answers={name: [q["name"] for q in queues] for name, queues in inspect.active_queues().items()})


def events():
    """Listens to what the workers tell about their tasks."""
    seen = []
    done = threading.Event()
    wanted = {}

    def on_event(event):
        if event.get("uuid") == wanted.get("id"):
            seen.append(event["type"])
            if event["type"] == "task-succeeded":
                receiver.should_stop = True

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": on_event})
        listener = receiver.itercapture(limit=None, timeout=TIMEOUT, wakeup=False)
        next(listener)
        wanted["id"] = "11111111-2222-3333-4444-" + os.urandom(6).hex()
        tasks.add.apply_async([1, 1], task_id=wanted["id"])
        for _event in listener:
            pass
    report("events", types=seen)


def survive(name):
    pending[name] = tasks.survive.delay(name)


def outcome(name):
    report("survived", value=pending.pop(name).get(timeout=TIMEOUT))


report("ready")
while line := sys.stdin.readline():
    scenario, *arguments = line.split()
    globals()[scenario](*arguments)
