import { same, startWarren } from "./same.ts";
import { deadLetterScenarios } from "./scenarios/dead-letters.ts";

startWarren();

for (const [name, steps] of Object.entries(deadLetterScenarios)) same(name, steps);
