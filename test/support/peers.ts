/**
 * The programs other people wrote that our tests run: a RabbitMQ server, Python with pika, and the
 * command-line tools of the C client. Where they live, and how to say that one is missing.
 */

import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { execFileSync } from "node:child_process";

/** A running RabbitMQ to test against, instead of one that the tests start: `amqp://user:pass@host:port`. */
export const rabbitmqUrlFromEnvironment: string | undefined =
  process.env["WARREN_TEST_RABBITMQ_URL"] || undefined;

/** The Python that has pika. Debian's own: python3-pika installs for no other. */
export const python: string = process.env["WARREN_TEST_PYTHON"] || "/usr/bin/python3";

const amqpTools: readonly string[] = [
  "amqp-publish",
  "amqp-get",
  "amqp-consume",
  "amqp-declare-queue",
  "amqp-delete-queue",
];

// Debian's /usr/sbin/rabbitmq-server changes user and writes to /var; the script behind it does neither.
const debianRabbitmqServer = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/** The path of the script that starts RabbitMQ, or undefined where there is none. */
export function findRabbitmqServer(): string | undefined {
  return existsSync(debianRabbitmqServer) ? debianRabbitmqServer : findOnPath("rabbitmq-server");
}

/** RabbitMQ's command line, for this user: Debian's /usr/sbin/rabbitmqctl becomes another. */
export function findRabbitmqctl(): string | undefined {
  const debian = "/usr/lib/rabbitmq/bin/rabbitmqctl";
  return existsSync(debian) ? debian : findOnPath("rabbitmqctl");
}

/** One missing peer: the Debian package that has it, and the same in words for other systems. */
export interface MissingPeer {
  debianPackage: string;
  otherwise: string;
}

export function findMissingPeers(): MissingPeer[] {
  const missing: MissingPeer[] = [];
  if (!rabbitmqUrlFromEnvironment && !(findRabbitmqServer() && findOnPath("epmd"))) {
    missing.push({
      debianPackage: "rabbitmq-server",
      otherwise:
        "a RabbitMQ server: run `docker compose up --detach --wait`, then set " +
        "WARREN_TEST_RABBITMQ_URL=amqp://warren:warren@127.0.0.1:35672",
    });
  }
  if (!pythonHasPika()) {
    missing.push({
      debianPackage: "python3-pika",
      otherwise:
        "Python 3 with pika: run `pip install 'pika>=1.2'`, then set WARREN_TEST_PYTHON to that Python's " +
        `absolute path (tried ${python})`,
    });
  }
  const missingTools = amqpTools.filter((tool) => !findOnPath(tool));
  if (missingTools.length > 0) {
    missing.push({
      debianPackage: "amqp-tools",
      otherwise: `the tools of rabbitmq-c on the PATH (without ${missingTools.join(", ")} now)`,
    });
  }
  return missing;
}

function pythonHasPika(): boolean {
  try {
    // find_spec looks pika up without running it: a tenth of the time of importing it.
    const program = "import sys, importlib.util as u; sys.exit(u.find_spec('pika') is None)";
    execFileSync(python, ["-c", program], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** The first executable file of this name on the PATH. */
export function findOnPath(name: string): string | undefined {
  const directories = (process.env["PATH"] ?? "").split(delimiter).filter(Boolean);
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
