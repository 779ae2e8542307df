import { exposition, expositionType } from "../exposition.ts";
import { brokerMetrics, objectMetrics } from "../metrics.ts";
import { Answer, type Resource } from "../resource.ts";

/** Names of queues and addresses of clients are not for everybody. */
export const metrics: readonly Resource[] = [
  {
    path: "/per-object",
    below: "/metrics",
    access: "monitoring",
    methods: {
      GET: async (request) => {
        const objects = objectMetrics(request);
        const named = new Set(objects.map(({ name }) => name));
        const sums = (await brokerMetrics(request)).filter(({ name }) => !named.has(name));
        return new Answer(200, exposition([...sums, ...objects]), { "content-type": expositionType });
      },
    },
  },
];
