import { same, startWarren } from "./same.ts";
import { routingScenarios } from "./scenarios/routing.ts";

startWarren();

for (const [name, steps] of Object.entries(routingScenarios)) same(name, steps);
