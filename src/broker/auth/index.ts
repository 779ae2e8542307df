export { recordKey, recordsOf, type AccessRecords } from "./access-records.ts";
export { AccessRules, type PermissionPatterns, type TopicPatterns } from "./access-rules.ts";
export { LoginThrottle } from "./login-throttle.ts";
export { Logins, type Origin } from "./logins.ts";
export { assertPasswordHash, type HashingAlgorithm } from "./password-hashing.ts";
export { Permissions } from "./permissions.ts";
export { readCredentials, saslMechanisms, type Credentials } from "./sasl.ts";
export { Users, type User, type UserLimits } from "./users.ts";
