/** Processes that open one data directory: one serves, and when it goes another one does. */
import { unlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dataDirectory } from "../support/data-directory.ts";
import { connectTo, drain, publishNumbers } from "./embedded/clients.ts";
import { startParticipant, type Participant } from "./embedded/participant.ts";

test("no confirmed message is lost in 25 takeovers, by kill -9 and by orderly stops", async () => {
  const dataDir = dataDirectory();
  const socketPath = join(dataDir, "warren.sock");
  let participants = await Promise.all([1, 2, 3].map(() => startParticipant(dataDir)));
  expect(roles(participants)).toEqual(["attached", "attached", "serving"]);
  const publisher = await publishNumbers(socketPath, "numbers");
  for (let takeover = 0; takeover < 25; takeover++) {
    await publisher.confirms(3);
    const serving = participants.find(({ role }) => role === "serving")!;
    const others = participants.filter((participant) => participant !== serving);
    // Each has a role anew; which of them serves, or whether the one that comes in the middle of it does, is theirs to settle.
    const settled = Promise.all(
      others.map((other) => Promise.race([other.becomes("serving"), other.becomes("attached")])),
    );
    const isKill = takeover % 2 === 0;
    serving.signal(isKill ? "SIGKILL" : "SIGTERM");
    expect(await serving.ended).toBe(isKill ? undefined : 0);
    // Another process comes in the middle of it.
    const next = startParticipant(dataDir);
    await settled;
    participants = [...others, await next];
    await expect.poll(() => roles(participants)).toEqual(["attached", "attached", "serving"]);
  }
  await publisher.confirms(3);
  await publisher.stop();
  expect(participants.flatMap(({ errors }) => errors)).toEqual([]);
  const numbers = (await drain(socketPath, "numbers")).map(Number);
  // One whose confirm was lost was published again: twice is fine, never is not.
  expect([...new Set(numbers)]).toEqual([...Array(publisher.confirmed).keys()]);
}, 120_000);

test("a stopped process keeps its directory: nobody serves beside it, and afterwards all goes on", async () => {
  const dataDir = dataDirectory();
  const socketPath = join(dataDir, "warren.sock");
  const serving = await startParticipant(dataDir);
  const attached = await startParticipant(dataDir);
  const publisher = await publishNumbers(socketPath, "numbers");
  await publisher.confirms(10);
  serving.signal("SIGSTOP");
  const { confirmed } = publisher;
  // A third process waits as well: for an answer.
  const late = startParticipant(dataDir);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(publisher.confirmed - confirmed).toBeLessThanOrEqual(1);
  expect(attached.role).toBe("attached");
  serving.signal("SIGCONT");
  await publisher.confirms(10);
  expect((await late).role).toBe("attached");
  expect(roles([serving, attached])).toEqual(["attached", "serving"]);
  // One that cannot even attach tries to serve, and the lock says no; when the stopped one is killed, nobody need wait longer.
  serving.signal("SIGSTOP");
  unlinkSync(socketPath);
  let hasOpened = false;
  const latest = startParticipant(dataDir).finally(() => (hasOpened = true));
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(hasOpened).toBe(false);
  serving.signal("SIGKILL");
  const all = [attached, await late, await latest];
  await expect.poll(() => roles(all), { timeout: 5_000 }).toEqual(["attached", "attached", "serving"]);
  await publisher.confirms(10);
  await publisher.stop();
  expect(all.flatMap(({ errors }) => errors)).toEqual([]);
});

test("a handler that blocks the serving process's thread stops no other process", async () => {
  const dataDir = dataDirectory();
  const serving = await startParticipant(dataDir);
  const publisher = await publishNumbers(join(dataDir, "warren.sock"), "numbers");
  const { over } = await serving.block(3_000);
  let isOver = false;
  void over.then(() => (isOver = true));
  await publisher.confirms(100);
  // A new client gets in as well.
  await connectTo(join(dataDir, "warren.sock")).queueDeclare({ queue: "another" });
  const late = await startParticipant(dataDir);
  expect([late.role, isOver]).toEqual(["attached", false]);
  await over;
  await publisher.stop();
});

function roles(participants: readonly Participant[]): string[] {
  return participants.map(({ role }) => role).toSorted();
}
