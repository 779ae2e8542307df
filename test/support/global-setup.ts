/** Vitest runs this once, before all test files: one RabbitMQ is shared by the whole run. */

import type { TestProject } from "vitest/node";
import { selectedBrokers } from "./broker-selection.ts";
import { rabbitmqUrlFromEnvironment } from "./peers.ts";
import { startRabbitmq } from "./rabbitmq.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Undefined when WARREN_TEST_BROKERS leaves RabbitMQ out. */
    rabbitmqUrl: string | undefined;
    /** What a `rabbitmqctl` needs to find that RabbitMQ; undefined when the tests have not started it. */
    rabbitmqEnvironment: Record<string, string> | undefined;
  }
}

export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  project.provide("rabbitmqEnvironment", undefined);
  if (!selectedBrokers.includes("rabbitmq")) {
    project.provide("rabbitmqUrl", undefined);
    return undefined;
  }
  if (rabbitmqUrlFromEnvironment) {
    project.provide("rabbitmqUrl", rabbitmqUrlFromEnvironment);
    return undefined;
  }
  const rabbitmq = await startRabbitmq();
  project.provide("rabbitmqUrl", rabbitmq.url);
  project.provide("rabbitmqEnvironment", { ...rabbitmq.environment });
  return () => rabbitmq.stop();
}
