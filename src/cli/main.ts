#!/usr/bin/env node
import { assertNodeVersion } from "./node-version.ts";

assertNodeVersion(process.versions.node);
// Imported only now, so that an old Node says what it needs instead of failing over syntax it does not know.
const { createProgram } = await import("./program.ts");
await createProgram().parseAsync();
