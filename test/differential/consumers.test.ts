import { same, startWarren } from "./same.ts";
import { consumerScenarios } from "./scenarios/consumers.ts";

startWarren();

for (const [name, steps] of Object.entries(consumerScenarios)) same(name, steps);
