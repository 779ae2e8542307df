/** Defines tests that do the same to Warren and to a RabbitMQ and compare all that the client sees. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { startBroker, type Broker } from "../../src/broker/index.ts";
import { selectedBrokers } from "../support/broker-selection.ts";
import { Session } from "./session.ts";

let broker: Broker | undefined;

/** Call once in a test file. */
export function startWarren(): void {
  beforeAll(async () => {
    broker = await startBroker({ port: 0 });
  });
  afterAll(() => broker?.stop());
}

/** What `steps` sees of Warren must be what it sees of RabbitMQ. */
export function same(name: string, steps: (session: Session) => Promise<void>): void {
  test(`${name} [as on RabbitMQ]`, async () => {
    const rabbitmqUrl = inject("rabbitmqUrl");
    const warren = run(broker!.port, steps);
    // A second run of the steps is all there is to do when RabbitMQ is left out; they hold what they wait for.
    if (!selectedBrokers.includes("rabbitmq") || !rabbitmqUrl) {
      expect(await warren).not.toHaveLength(0);
      return;
    }
    const rabbitmq = run(Number(new URL(rabbitmqUrl).port), steps);
    const [seen, expected] = await Promise.all([warren, rabbitmq]);
    expect(expected).not.toHaveLength(0);
    expect(seen).toEqual(expected);
  });
}

async function run(port: number, steps: (session: Session) => Promise<void>): Promise<unknown[]> {
  // As long for each, since names stand in errors that have a maximum length.
  const prefix = `w${randomBytes(3).toString("hex")}.`;
  await using session = await Session.open(port, prefix);
  await steps(session);
  return [...session.transcript];
}
