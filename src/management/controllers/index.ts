import type { Resource } from "../resource.ts";
import { bindings } from "./bindings.ts";
import { channels } from "./channels.ts";
import { connections } from "./connections.ts";
import { consumers } from "./consumers.ts";
import { exchanges } from "./exchanges.ts";
import { healthChecks } from "./health-checks.ts";
import { metrics } from "./metrics.ts";
import { nodes } from "./nodes.ts";
import { overview } from "./overview.ts";
import { permissions } from "./permissions.ts";
import { queueMessages } from "./queue-messages.ts";
import { queues } from "./queues.ts";
import { topicPermissions } from "./topic-permissions.ts";
import { userLimits } from "./user-limits.ts";
import { users } from "./users.ts";
import { vhostLimits } from "./vhost-limits.ts";
import { vhosts } from "./vhosts.ts";

/** All that the API has, one file for each kind of thing. */
export const resources: readonly Resource[] = [
  ...overview,
  ...metrics,
  ...nodes,
  ...connections,
  ...channels,
  ...consumers,
  ...exchanges,
  ...queues,
  ...queueMessages,
  ...bindings,
  ...vhosts,
  ...users,
  ...permissions,
  ...topicPermissions,
  ...vhostLimits,
  ...userLimits,
  ...healthChecks,
];
