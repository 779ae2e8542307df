/** A broker and its clients, whom the steps of a run act upon. */
import { startBroker, type Broker } from "../../../src/broker/index.ts";
import { silentLogger } from "../../../src/base/index.ts";
import type { Random } from "../../support/random.ts";
import { ConnectionModel } from "./connection-model.ts";
import { Ledger } from "./ledger.ts";
import { Publisher } from "./publisher.ts";

const queueNames = ["a", "b", "c"];
const connectionCount = 3;
const channelCount = 4;

export class World implements AsyncDisposable {
  readonly broker: Broker;
  readonly ledger: Ledger;
  readonly publisher: Publisher;
  readonly connections: ConnectionModel[] = [];
  private connectionsOpened = 0;

  private constructor(broker: Broker, ledger: Ledger, publisher: Publisher) {
    this.broker = broker;
    this.ledger = ledger;
    this.publisher = publisher;
  }

  static async start(random: Random): Promise<World> {
    const ledger = new Ledger();
    const broker = await startBroker({
      port: 0,
      staticReads: random.chance(0.8),
      logger: { ...silentLogger, error: (fields, text) => ledger.find(`${text}: ${JSON.stringify(fields)}`) },
    });
    const world = new World(broker, ledger, await Publisher.open(broker.port, ledger));
    for (const name of queueNames) await world.publisher.declare(name);
    while (world.connections.length < connectionCount) {
      world.connections.push(await world.connect(random));
    }
    return world;
  }

  /** Opens another connection in the place of one that has ended. */
  async replace(ended: ConnectionModel, random: Random): Promise<void> {
    this.connections[this.connections.indexOf(ended)] = await this.connect(random);
  }

  /** Until the broker has noticed that one more connection is gone. */
  noticesEnd(): () => Promise<void> {
    const before = this.broker.usage().connections;
    return async () => {
      while (this.broker.usage().connections === before) await turns(1);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.connections.map((connection) => connection.abandon()));
    await this.publisher.close();
    await this.broker.stop();
  }

  private connect(random: Random): Promise<ConnectionModel> {
    return ConnectionModel.open(this.ledger, {
      port: this.broker.port,
      name: `connection ${++this.connectionsOpened}`,
      channelCount,
      // Smaller frames bring large bodies in more pieces.
      frameMax: random.pick([131_072, 131_072, 32_768, 4096]),
      acknowledgesAll: random.chance(0.5),
    });
  }
}

/** Of the event loop, in which the broker and the clients go on. */
export async function turns(count: number): Promise<void> {
  for (let index = 0; index < count; index++) await new Promise(setImmediate);
}
