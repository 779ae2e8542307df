import { same, startWarren } from "./same.ts";
import { quorumScenarios } from "./scenarios/quorum.ts";

startWarren();

for (const [name, steps] of Object.entries(quorumScenarios)) same(name, steps);
