import { expect, test } from "vitest";
import { describeEachBroker, queueState, type BrokerUnderTest } from "../support/brokers.ts";
import { startProgram, type Program } from "../support/program.ts";

describeEachBroker("pika: tasks shared among workers", (broker) => {
  test("c5 a task lasts one unit of time for each of its dots, and is then done", async () => {
    const queue = broker().queueName("tasks");
    const worker = await startWorker(broker(), queue, "--seconds-per-dot", "0.05");
    await addTasks(broker(), queue, "short.", "longer...");

    expect(await worker.next("done")).toMatchObject({ task: "short." });
    const longer = await worker.next("done");
    expect(longer["task"]).toBe("longer...");
    expect(longer["seconds"]).toBeGreaterThanOrEqual(0.15);
    await worker.stop();
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("b2 who adds a task goes on at once, and a worker does the slow part later", async () => {
    const queue = broker().queueName("mails");
    const mailer = await startWorker(broker(), queue, "--told-when-done");
    await addTasks(broker(), queue, "activation mail for ann");
    // Here the sign-up is answered: its task is safe with the broker, and not yet done.
    await mailer.next("received");
    expect(mailer.untaken("done")).toEqual([]);

    mailer.say("sent");
    expect(await mailer.next("done")).toMatchObject({ task: "activation mail for ann" });
  });

  test("c4 tasks go round robin to the workers", async () => {
    const queue = broker().queueName("tasks");
    const first = await startWorker(broker(), queue, "--seconds-per-dot", "0");
    const second = await startWorker(broker(), queue, "--seconds-per-dot", "0");
    await addTasks(broker(), queue, "1", "2", "3", "4", "5", "6");

    const shares = await Promise.all(
      [first, second].map(async (worker) => (await worker.take("done", 3)).map((done) => done["task"])),
    );
    expect(shares).toContainEqual(["1", "3", "5"]);
    expect(shares).toContainEqual(["2", "4", "6"]);
  });

  test("c7 the task of a worker killed in the middle of it is redelivered to another", async () => {
    const queue = broker().queueName("tasks");
    const doomed = await startWorker(broker(), queue, "--told-when-done");
    await addTasks(broker(), queue, "half done.");
    expect(await doomed.next("received")).toMatchObject({ body: "half done.", redelivered: false });

    const survivor = await startWorker(broker(), queue, "--told-when-done");
    await doomed.kill();

    expect(await survivor.next("received")).toMatchObject({ body: "half done.", redelivered: true });
    survivor.say("done");
    await survivor.next("done");
    await survivor.stop();
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 0 });
  });

  test("c7 acknowledgement is manual by default, by a delivery tag that counts up", async () => {
    const queue = broker().queueName("tasks");
    const worker = await startWorker(broker(), queue, "--told-when-done");
    await addTasks(broker(), queue, "first", "second", "third");
    const tags = (await worker.take("received", 3)).map((delivery) => delivery["delivery_tag"]);
    expect(tags).toEqual([1, 2, 3]);

    worker.say("the first is done");
    await worker.next("done");
    await worker.stop();
    // Only what was acknowledged is gone.
    await expect.poll(() => queueState(broker(), queue)).toEqual({ ready: 2, consumers: 0 });
  });

  test("b5 tasks of a dead worker come back ahead of later ones, in their order", async () => {
    const queue = broker().queueName("tasks");
    const doomed = await startWorker(broker(), queue, "--prefetch", "3", "--told-when-done");
    await addTasks(broker(), queue, "1", "2", "3", "4", "5");
    await doomed.take("received", 3);
    await doomed.kill();
    await expect.poll(() => queueState(broker(), queue)).toEqual({ ready: 5, consumers: 0 });

    const next = await startWorker(broker(), queue, "--seconds-per-dot", "0");
    const received = await next.take("received", 5);
    expect(received.map((delivery) => [delivery["body"], delivery["redelivered"]])).toEqual([
      ["1", true],
      ["2", true],
      ["3", true],
      ["4", false],
      ["5", false],
    ]);
  });

  test("b11 a message is removed on delivery with automatic acknowledgement, else once acknowledged", async () => {
    const automatic = broker().queueName("automatic");
    const receiver = startProgram(broker(), "pika/receive.py", automatic);
    await receiver.next("ready");
    await startProgram(broker(), "pika/send.py", automatic, "seen").finished();
    await receiver.next("received");
    await receiver.kill();
    await expect.poll(() => queueState(broker(), automatic)).toEqual({ ready: 0, consumers: 0 });

    const manual = broker().queueName("manual");
    const worker = await startWorker(broker(), manual, "--told-when-done");
    await addTasks(broker(), manual, "acknowledged", "not acknowledged");
    await worker.take("received", 2);
    worker.say("done");
    await worker.next("done");
    // An acknowledgement has no answer; the stop closes the connection, which comes after it.
    await worker.stop();
    await expect.poll(() => queueState(broker(), manual)).toEqual({ ready: 1, consumers: 0 });
  });

  test("c10 prefetch 1: a busy worker gets nothing more, and the queue grows when all are busy", async () => {
    const queue = broker().queueName("tasks");
    const slow = await startWorker(broker(), queue, "--prefetch", "1", "--told-when-done");
    const quick = await startWorker(broker(), queue, "--prefetch", "1", "--told-when-done");
    await addTasks(broker(), queue, "1", "2", "3", "4", "5");
    await Promise.all([slow.next("received"), quick.next("received")]);
    expect(await queueState(broker(), queue)).toEqual({ ready: 3, consumers: 2 });

    for (const task of ["3", "4", "5"]) {
      quick.say("done");
      await quick.next("done");
      expect(await quick.next("received")).toMatchObject({ body: task });
    }
    expect(slow.untaken("received")).toEqual([]);
    expect(await queueState(broker(), queue)).toEqual({ ready: 0, consumers: 2 });
  });
});

async function startWorker(broker: BrokerUnderTest, queue: string, ...options: string[]): Promise<Program> {
  const worker = startProgram(broker, "pika/worker.py", ...options, queue);
  await worker.next("ready");
  return worker;
}

async function addTasks(broker: BrokerUnderTest, queue: string, ...tasks: string[]): Promise<void> {
  const producer = startProgram(broker, "pika/new_task.py", queue, ...tasks);
  await producer.take("confirmed", tasks.length);
  await producer.finished();
}
