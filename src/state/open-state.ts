import { StateError } from "./errors.ts";
import { openPostgresStore } from "./postgres-store.ts";
import { openSqliteStore } from "./sqlite-store.ts";
import type { StateStore } from "./state-store.ts";

/** A database by its address, or by its parts. */
export type StateLocation =
  | string
  | { readonly sqlite: string }
  | { readonly postgres: string; /** Default `warren`. */ readonly schema?: string };

/**
 * Opens the state of tasks and makes its tables where they are missing.
 *
 * - `sqlite:PATH`: a file, which several processes of one machine may share; `sqlite::memory:`: nothing is kept.
 * - `postgres://user@host/database` or `postgresql://…`: for several machines. It needs the package `pg`.
 *
 * @throws StateError when the address is another, or what it names cannot be used.
 */
export async function openState(location: StateLocation): Promise<StateStore> {
  if (typeof location !== "string") {
    return "sqlite" in location
      ? openSqliteStore({ file: location.sqlite })
      : openPostgresStore({ url: location.postgres, schema: location.schema });
  }
  if (/^postgres(ql)?:\/\//.test(location)) return openPostgresStore({ url: location });
  const file = /^sqlite:(.+)$/s.exec(location)?.[1];
  if (file !== undefined) return openSqliteStore({ file });
  throw new StateError(
    `'${withoutPassword(location)}' names no state that Warren knows. Possible are sqlite:PATH, sqlite::memory:, ` +
      "postgres://USER:PASSWORD@HOST:PORT/DATABASE and postgresql://….",
  );
}

function withoutPassword(location: string): string {
  return location.replace(/:\/\/[^@/]*@/, "://…@");
}
