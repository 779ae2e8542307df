import { AccessRules, Permissions } from "../../src/broker/auth/index.ts";

const records = { put() {}, delete() {} };

/** For tests below the protocol, whose user may do everything. */
export const allPermissions: Permissions = new Permissions(
  new AccessRules(records, new Map(), "guest"),
  "guest",
  "/",
);
