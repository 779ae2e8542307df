/** Runs one suite on each database that state can be kept in. */

import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, onTestFinished } from "vitest";
import { openState, type StateLocation, type StateStore } from "../../../src/state/index.ts";
import { dataDirectory } from "../../support/data-directory.ts";
import { startPostgres, type RunningPostgres } from "../../support/postgres.ts";

export interface DatabaseUnderTest {
  /** Whether two stores can be opened on it. */
  readonly isShared: boolean;
  /** A place that no other test uses. */
  location(): StateLocation;
  /** The text of a parameter in SQL. */
  parameter(number: number): string;
}

export type OpenStore = (location?: StateLocation) => Promise<StateStore>;

/** `open` makes a store that is closed at the end of the test, in a place of its own unless one is given. */
export function describeEachDatabase(suite: (database: DatabaseUnderTest, open: OpenStore) => void): void {
  const opener =
    (database: DatabaseUnderTest): OpenStore =>
    async (location = database.location()) => {
      const store = await openState(location);
      onTestFinished(() => store.close());
      return store;
    };

  describe("sqlite in memory", () => {
    const memory = { isShared: false, location: () => "sqlite::memory:", parameter: () => "?" };
    suite(memory, opener(memory));
  });

  describe("sqlite in a file", () => {
    const file = {
      isShared: true,
      location: () => ({ sqlite: join(dataDirectory(), "state.db") }),
      parameter: () => "?",
    };
    suite(file, opener(file));
  });

  describe("postgres", () => {
    let server: RunningPostgres | undefined;
    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(() => server?.stop());
    const postgres = {
      isShared: true,
      location: () => ({ postgres: server!.url, schema: `test_${randomUUID().slice(0, 8)}` }),
      parameter: (number: number) => `$${number}`,
    };
    suite(postgres, opener(postgres));
  });
}
