/**
 * The programs other people wrote that our tests run: a RabbitMQ server, a Postgres server, and clients in Python, Java,
 * Ruby, PHP and C. Where they live, and how to say that one is missing.
 */

import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { execFileSync, spawnSync } from "node:child_process";

/** A running RabbitMQ to test against, instead of one that the tests start: `amqp://user:pass@host:port`. */
export const rabbitmqUrlFromEnvironment: string | undefined =
  process.env["WARREN_TEST_RABBITMQ_URL"] || undefined;

/** The Python that has pika and Celery. Debian's own: its packages install for no other. */
export const python: string = process.env["WARREN_TEST_PYTHON"] || "/usr/bin/python3";

const pythonModules: readonly string[] = ["pika", "kombu", "celery", "tornado", "twisted", "gevent"];

/** Where the Java client and what it needs at run time are: Debian's folder, or one of your own. */
const javaLibraries: string = process.env["WARREN_TEST_JAVA_LIBRARIES"] || "/usr/share/java";

/** The class path of the Java client. */
export const javaClassPath: readonly string[] = ["amqp-client.jar", "slf4j-api.jar", "slf4j-nop.jar"].map(
  (jar) => join(javaLibraries, jar),
);

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

/** Debian keeps Postgres's programs, but for its clients, off the PATH, in a folder for each version. */
const debianPostgres = "/usr/lib/postgresql";

/** The path of `postgres` or `initdb`, or undefined where there is none. */
export function findPostgresProgram(name: string): string | undefined {
  const versions = existsSync(debianPostgres) ? readdirSync(debianPostgres) : [];
  return versions
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(debianPostgres, version, "bin", name))
    .concat(findOnPath(name) ?? [])
    .find(isExecutable);
}

/** One missing peer: the Debian packages that have it, and the same in words for other systems. */
export interface MissingPeer {
  debianPackages: readonly string[];
  otherwise: string;
}

export function findMissingPeers(): MissingPeer[] {
  const missing: MissingPeer[] = [];
  if (!rabbitmqUrlFromEnvironment && !(findRabbitmqServer() && findOnPath("epmd"))) {
    missing.push({
      debianPackages: ["rabbitmq-server"],
      otherwise:
        "a RabbitMQ server: run `docker compose up --detach --wait`, then set " +
        "WARREN_TEST_RABBITMQ_URL=amqp://warren:warren@127.0.0.1:35672",
    });
  }
  if (!findPostgresProgram("postgres") || !findPostgresProgram("initdb")) {
    missing.push({
      debianPackages: ["postgresql"],
      otherwise: "a Postgres server: its programs postgres and initdb on the PATH",
    });
  }
  for (const module of missingPythonModules()) {
    missing.push({
      debianPackages: [`python3-${module}`],
      otherwise:
        `Python 3 with ${module}: run \`pip install ${module}\`, then set WARREN_TEST_PYTHON to that ` +
        `Python's absolute path (tried ${python})`,
    });
  }
  if (!findOnPath("java") || !findOnPath("javac")) {
    missing.push({
      debianPackages: ["default-jdk-headless"],
      otherwise: "a Java development kit with java and javac on the PATH",
    });
  }
  if (!javaClassPath.every((jar) => existsSync(jar))) {
    missing.push({
      debianPackages: ["librabbitmq-client-java"],
      otherwise:
        "RabbitMQ's Java client: put its amqp-client.jar, with slf4j-api.jar and slf4j-nop.jar, into one " +
        `folder, then set WARREN_TEST_JAVA_LIBRARIES to it (tried ${javaLibraries})`,
    });
  }
  if (!succeeds("ruby", "-e", "Gem::Specification.find_by_name('bunny')")) {
    missing.push({
      debianPackages: ["ruby", "ruby-bunny"],
      otherwise: "Ruby with bunny: run `gem install bunny`",
    });
  }
  if (!succeeds("php", "-r", "exit(stream_resolve_include_path('PhpAmqpLib/autoload.php') ? 0 : 1);")) {
    missing.push({
      debianPackages: ["php-cli", "php-amqplib"],
      otherwise: "PHP with php-amqplib on its include_path, where PhpAmqpLib/autoload.php loads it",
    });
  }
  const missingTools = amqpTools.filter((tool) => !findOnPath(tool));
  if (missingTools.length > 0) {
    missing.push({
      debianPackages: ["amqp-tools"],
      otherwise: `the tools of rabbitmq-c on the PATH (without ${missingTools.join(", ")} now)`,
    });
  }
  return missing;
}

/** All of them, where there is no Python at all. */
function missingPythonModules(): string[] {
  // find_spec looks a module up without running it: a tenth of the time of importing it.
  const program =
    "import sys, importlib.util as u; print(*(m for m in sys.argv[1:] if u.find_spec(m) is None))";
  try {
    const names = execFileSync(python, ["-c", program, ...pythonModules], { encoding: "utf8" });
    return names.split(/\s+/).filter(Boolean);
  } catch {
    return [...pythonModules];
  }
}

function succeeds(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
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
