import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

/** Which rooms of the house may import which. Imports cross a room only through its index.ts. See ARCHITECTURE.md. */
const mayImport: Record<string, string[]> = {
  base: [],
  wire: ["base"],
  client: ["base", "wire"],
  broker: ["base", "wire"],
  management: ["base", "wire", "broker"],
  console: [],
  state: ["base"],
  tasks: ["base", "client", "state"],
  agents: ["base", "state", "tasks"],
  testing: ["base", "broker", "state", "tasks"],
  cli: ["base", "wire", "broker", "management", "state", "tasks", "agents"],
};

/** The same inside the broker. */
const insideBroker: Record<string, string[]> = {
  storage: [],
  routing: [],
  auth: [],
  queues: ["storage"],
  connection: ["auth", "queues", "routing", "storage"],
};

/** The embedded broker's thread, which loads the broker when it is to serve. */
const exceptions: Record<string, string> = { "tasks/embedded/broker-thread.ts": "broker/index.ts" };

const src = resolve(import.meta.dirname, "../src");

interface Import {
  from: string;
  to: string;
}

const imports: Import[] = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .flatMap((file) => {
    const text = readFileSync(join(src, file), "utf8");
    return [...text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)].map((match) => ({
      from: file,
      to: relative(src, resolve(src, dirname(file), match[1])),
    }));
  });

function room(path: string, depth: number): string {
  const parts = path.split("/");
  return parts.length > depth + 1 ? parts[depth] : "";
}

describe("the house", () => {
  it("has imports to look at", () => {
    expect(imports.length).toBeGreaterThan(50);
  });

  it("has only the rooms that the plan names", () => {
    const rooms = readdirSync(src, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
    expect(Object.keys(mayImport)).toEqual(expect.arrayContaining(rooms));
  });

  it("imports one way between rooms, through their index.ts", () => {
    const wrong = imports.filter(({ from, to }) => {
      const [here, there] = [room(from, 0), room(to, 0)];
      if (here === there || to.endsWith("package.json") || exceptions[from] === to) return false;
      return !mayImport[here]?.includes(there) || to !== `${there}/index.ts`;
    });
    expect(wrong).toEqual([]);
  });

  it("imports one way inside the broker, through the index.ts of each part", () => {
    const wrong = imports.filter(({ from, to }) => {
      if (!from.startsWith("broker/") || !to.startsWith("broker/")) return false;
      const [here, there] = [room(from, 1), room(to, 1)];
      // Files of the broker itself (errors, virtual host) are for all; they may use the parts.
      if (here === there || here === "" || there === "") return false;
      return !insideBroker[here]?.includes(there) || to !== `broker/${there}/index.ts`;
    });
    expect(wrong).toEqual([]);
  });
});
