export { openEmbeddedBroker, type EmbeddedBroker, type EmbeddedRole } from "./embedded-broker.ts";
