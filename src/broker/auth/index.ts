export { readCredentials, saslMechanisms, type Credentials } from "./sasl.ts";
export { Users } from "./users.ts";
