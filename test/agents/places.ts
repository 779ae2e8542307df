/** Where agents of several processes can meet. */
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";
import type { ConnectOptions } from "../../src/tasks/index.ts";
import { selectedBrokers } from "../support/broker-selection.ts";
import { startBrokerProcess } from "../support/broker-process.ts";
import { dataDirectory } from "../support/data-directory.ts";
import { startPostgres } from "../support/postgres.ts";

export interface Place {
  readonly target: string;
  readonly options: Pick<ConnectOptions, "state">;
}

export type PlaceName = "on an embedded broker" | "on warren serve with SQLite" | "on RabbitMQ with Postgres";

const places: Record<PlaceName, () => Promise<Place>> = {
  /** Whoever is first in the directory is the broker. */
  "on an embedded broker": async () => ({ target: `embedded:${join(dataDirectory(), "data")}`, options: {} }),
  "on warren serve with SQLite": async () => {
    const directory = dataDirectory();
    const { port } = await startBrokerProcess({ dataDir: join(directory, "broker") });
    return {
      target: `amqp://guest:guest@127.0.0.1:${port}`,
      options: { state: `sqlite:${join(directory, "state.db")}` },
    };
  },
  "on RabbitMQ with Postgres": async () => {
    const postgres = await startPostgres();
    onTestFinished(() => postgres.stop());
    return { target: inject("rabbitmqUrl")!, options: { state: postgres.url } };
  },
};

export const selectedPlaces: readonly PlaceName[] = (Object.keys(places) as PlaceName[]).filter((place) =>
  selectedBrokers.includes(place === "on RabbitMQ with Postgres" ? "rabbitmq" : "warren"),
);

/** Ends with the test. */
export function startPlace(name: PlaceName): Promise<Place> {
  return places[name]();
}
