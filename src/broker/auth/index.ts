export { readCredentials, saslMechanisms } from "./sasl.ts";
export { Users } from "./users.ts";
