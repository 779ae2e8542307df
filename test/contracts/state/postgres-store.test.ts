/** What the contract cannot say of every database: connections that break. */

import { createServer, connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { openState, type StateStore } from "../../../src/state/index.ts";
import { listenOnFreePort } from "../../support/ports.ts";
import { startPostgres, type RunningPostgres } from "../../support/postgres.ts";

describe("state in Postgres", () => {
  let server: RunningPostgres;
  let schemas = 0;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.stop());

  async function open(url = server.url, schema = `test_${schemas++}`): Promise<StateStore> {
    const store = await openState({ postgres: url, schema });
    onTestFinished(() => store.close());
    return store;
  }

  const claim = (id: string) => ({ id, type: "mail", queue: "tasks", attempt: 1, nowMs: 1000 });
  const outcome = { result: "1", nowMs: 2000, expiresAtMs: 9000 };

  it("goes on when the server has crashed and is back", async () => {
    const store = await open();
    await store.begin(claim("a"));
    const crash = server.crashAndRestart();
    const writes = Promise.all([store.complete("a", 1, outcome), store.begin(claim("b"))]);
    await crash;
    expect(await writes).toMatchObject([true, { fence: 1 }]);
    expect(await store.get("a")).toMatchObject({ phase: "completed" });
  });

  it("hears of changes again when the server is back", async () => {
    const [one, other] = [await open(undefined, "heard"), await open(undefined, "heard")];
    const first = one.changed("a", 60_000);
    await other.begin(claim("a"));
    await first;
    await server.crashAndRestart();
    const second = one.changed("a", 60_000);
    await other.begin(claim("a"));
    await expect(second).resolves.toBeUndefined();
  });

  it("neither repeats nor disowns what was committed when the answer is lost", async () => {
    const proxy = await startProxy(server.url);
    const store = await open(proxy.url);
    await store.begin(claim("warm-up"));

    proxy.loseNextAnswerTo("COMMIT");
    expect(await store.begin(claim("a"))).toMatchObject({ status: "started", fence: 1, attempt: 1 });
    proxy.loseNextAnswerTo("COMMIT");
    expect(await store.complete("a", 1, outcome)).toBe(true);
    expect(proxy.lost).toBe(2);
    expect((await store.events("a")).map(({ kind }) => kind)).toEqual(["started", "completed"]);
  });

  it("repeats what was not committed when the connection breaks", async () => {
    const proxy = await startProxy(server.url);
    const store = await open(proxy.url);
    await store.begin(claim("warm-up"));

    proxy.loseNextQuery("COMMIT");
    expect(await store.begin(claim("a"))).toMatchObject({ status: "started", fence: 1, attempt: 1 });
    expect(proxy.lost).toBe(1);
    expect(await store.events("a")).toHaveLength(1);
  });

  it("runs a step once when the answer to its commit is lost", async () => {
    const proxy = await startProxy(server.url);
    const store = await open(proxy.url);
    await store.begin(claim("a"));
    let runs = 0;
    const step = (): Promise<string | undefined> =>
      store.steps.transact("a", "pay", 1, () => ({ runs: ++runs }), 1100);

    proxy.loseNextAnswerTo("COMMIT");
    expect(await step()).toBe('{"runs":1}');
    expect(proxy.lost).toBe(1);
    expect(await step()).toBe('{"runs":1}');
  });

  it("tells the caller when a step's transaction was lost", async () => {
    const proxy = await startProxy(server.url);
    const store = await open(proxy.url);
    await store.begin(claim("a"));
    proxy.loseNextQuery("COMMIT");
    await expect(store.steps.transact("a", "pay", 1, () => 1, 1100)).rejects.toThrow(/terminated|ECONNRESET/);
    expect(await store.steps.find("a", "pay")).toBeUndefined();
  });

  it("refuses what the database cannot hold alone, not what came with it", async () => {
    const store = await open();
    const [bad, good] = await Promise.allSettled([
      store.begin({ ...claim("bad"), attempt: 1e300 }),
      store.begin(claim("good")),
    ]);
    expect([bad.status, good.status]).toEqual(["rejected", "fulfilled"]);
    expect(await store.get("bad")).toBeUndefined();
    expect(await store.events("good")).toHaveLength(1);
  });

  it("gives up what waits for a server that is away when it is closed", async () => {
    const proxy = await startProxy(server.url);
    const store = await open(proxy.url);
    await proxy.stop();
    const read = store.get("a");
    const closed = store.close();
    await expect(read).rejects.toThrow("the state is closed");
    await closed;
  });

  it("says why it cannot be opened", async () => {
    const nobody = "postgres://postgres@127.0.0.1:1/postgres";
    await expect(openState(nobody)).rejects.toThrow(
      "The state in Postgres cannot be opened: connect ECONNREFUSED",
    );
    await expect(openState({ postgres: server.url, schema: 'a"b' })).rejects.toThrow("cannot be the schema");
  });
});

interface Proxy {
  readonly url: string;
  /** How many connections it has broken. */
  readonly lost: number;
  /** The server does what the next query with this text says; the client never hears of it. */
  loseNextAnswerTo(text: string): void;
  /** The server does not get the next query with this text. */
  loseNextQuery(text: string): void;
  stop(): Promise<void>;
}

/** Stands between a store and its server, and breaks connections. */
async function startProxy(serverUrl: string): Promise<Proxy> {
  const target = Number(new URL(serverUrl).port);
  const sockets = new Set<Socket>();
  let toLose: { text: string; what: "query" | "answer" } | undefined;
  let lost = 0;

  const proxy = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    let losesAnswer = false;
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", end).on("close", end);
    }
    client.on("data", (bytes) => {
      if (toLose === undefined || !bytes.includes(toLose.text)) {
        upstream.write(bytes);
        return;
      }
      lost++;
      losesAnswer = toLose.what === "answer";
      toLose = undefined;
      if (losesAnswer) upstream.write(bytes);
      else end();
    });
    upstream.on("data", (bytes) => {
      if (losesAnswer) end();
      else client.write(bytes);
    });
  });
  const port = await listenOnFreePort(proxy);
  const stop = async (): Promise<void> => {
    const closed = new Promise((resolve) => proxy.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  // Registered first, so that it ends after the stores.
  onTestFinished(stop);

  const url = new URL(serverUrl);
  url.port = String(port);
  return {
    url: url.href,
    get lost() {
      return lost;
    },
    loseNextAnswerTo: (text) => (toLose = { text, what: "answer" }),
    loseNextQuery: (text) => (toLose = { text, what: "query" }),
    stop,
  };
}
