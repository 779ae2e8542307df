import { same, startWarren } from "./same.ts";
import { expiryScenarios } from "./scenarios/expiry.ts";

startWarren();

for (const [name, steps] of Object.entries(expiryScenarios)) same(name, steps);
