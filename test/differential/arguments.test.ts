import { same, startWarren } from "./same.ts";
import { argumentScenarios } from "./scenarios/arguments.ts";

startWarren();

for (const [name, steps] of Object.entries(argumentScenarios)) same(name, steps);
