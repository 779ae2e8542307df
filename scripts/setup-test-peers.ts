/**
 * Sees to it that what the tests run against is there: RabbitMQ, Postgres, and clients in Python, Java, Ruby,
 * PHP and C. As root on Debian or Ubuntu it installs what is missing; elsewhere it says what to do.
 * A missing peer fails the tests: skipped, it would prove nothing.
 */

import { execFileSync } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { answersHandshake } from "../test/support/handshake.ts";
import {
  findMissingPeers,
  findOnPath,
  rabbitmqUrlFromEnvironment,
  type MissingPeer,
} from "../test/support/peers.ts";

await main();

async function main(): Promise<void> {
  let missing = findMissingPeers();
  if (missing.length > 0 && canInstall()) {
    install(debianPackagesOf(missing));
    missing = findMissingPeers();
  }
  if (missing.length > 0) fail(instructions(missing));
  if (rabbitmqUrlFromEnvironment) await checkAnswers(rabbitmqUrlFromEnvironment);
}

function debianPackagesOf(missing: readonly MissingPeer[]): string[] {
  return missing.flatMap((peer) => peer.debianPackages);
}

function canInstall(): boolean {
  return process.getuid?.() === 0 && findOnPath("apt-get") !== undefined;
}

function install(packages: readonly string[]): void {
  console.log(`Installing what the tests need: ${packages.join(", ")}`);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const aptGet = (...args: string[]): void => {
    execFileSync("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=300", ...args], {
      env: environment,
      stdio: ["ignore", "inherit", "inherit"],
    });
  };
  withoutStartingServices(() => {
    try {
      aptGet("update");
      aptGet("install", "--yes", "--no-install-recommends", ...packages);
    } catch (error) {
      fail(`apt-get could not install ${packages.join(", ")}: ${String(error)}`);
    }
  });
}

/** The package would start a RabbitMQ of its own on port 5672; the tests start a private one. */
function withoutStartingServices(action: () => void): void {
  // Asked by maintainer scripts before they start or stop a service; 101 means "not allowed".
  const policy = "/usr/sbin/policy-rc.d";
  if (existsSync(policy)) return action();

  const remove = (): void => rmSync(policy, { force: true });
  process.once("exit", remove);
  writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    action();
  } finally {
    remove();
    process.off("exit", remove);
  }
}

function instructions(missing: readonly MissingPeer[]): string {
  return [
    "The tests run against programs that this machine does not have.",
    "",
    "On Debian or Ubuntu, install them with",
    `  sudo apt-get install --no-install-recommends ${debianPackagesOf(missing).join(" ")}`,
    "",
    "Elsewhere, provide",
    ...missing.map((peer) => `  - ${peer.otherwise}`),
  ].join("\n");
}

async function checkAnswers(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  if (await answersHandshake(hostname, Number(port || 5672))) return;
  fail(`WARREN_TEST_RABBITMQ_URL names ${hostname}:${port || 5672}, where no AMQP 0-9-1 broker answers.`);
}

function fail(reason: string): never {
  console.error(reason);
  process.exit(1);
}
