import { same, startWarren } from "./same.ts";
import { limitScenarios } from "./scenarios/limits.ts";

startWarren();

for (const [name, steps] of Object.entries(limitScenarios)) same(name, steps);
