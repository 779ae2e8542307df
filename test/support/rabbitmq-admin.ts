/** What `Broker.admin` does, done to a RabbitMQ by one `rabbitmqctl eval` each: so that tests prepare both alike. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { BrokerAdmin } from "../../src/broker/index.ts";
import { findRabbitmqctl } from "./peers.ts";

/** The steps that tests take on either broker. */
export type Admin = Omit<
  BrokerAdmin,
  | "importUser"
  | "closeConnection"
  | "closeConnectionsOf"
  | "listUsers"
  | "listPermissions"
  | "listTopicPermissions"
  | "listVhosts"
>;

const run = promisify(execFile);

export function rabbitmqAdmin(environment: Readonly<Record<string, string>> | undefined): Admin {
  const evaluate = async (expression: string): Promise<void> => {
    await rabbitmqctl(environment, "eval", `${expression}.`);
  };
  const limitsOf = (limits: object): string =>
    binary(
      JSON.stringify(
        Object.fromEntries(
          Object.entries(limits).map(([name, value]) => [
            name.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`),
            value as number,
          ]),
        ),
      ),
    );
  return {
    addUser: (name, password, { tags = [] } = {}) =>
      evaluate(
        `ok = ${backend}:add_user(${binary(name)}, ${binary(password)}, ${actor}), ok = ${backend}:set_tags(${binary(name)}, [${tags.join()}], ${actor})`,
      ),
    changePassword: (name, password) =>
      evaluate(`ok = ${backend}:change_password(${binary(name)}, ${binary(password)}, ${actor})`),
    deleteUser: (name) => evaluate(`ok = ${backend}:delete_user(${binary(name)}, ${actor})`),
    setUserTags: (name, tags) =>
      evaluate(`ok = ${backend}:set_tags(${binary(name)}, [${tags.join()}], ${actor})`),
    setPermissions: (user, { vhost = "/", configure, write, read }) =>
      evaluate(
        `ok = ${backend}:set_permissions(${[user, vhost, configure, write, read].map(binary).join()}, ${actor})`,
      ),
    clearPermissions: (user, { vhost = "/" } = {}) =>
      evaluate(`ok = ${backend}:clear_permissions(${binary(user)}, ${binary(vhost)}, ${actor})`),
    setTopicPermissions: (user, { vhost = "/", exchange, write, read }) =>
      evaluate(
        `ok = ${backend}:set_topic_permissions(${[user, vhost, exchange, write, read].map(binary).join()}, ${actor})`,
      ),
    clearTopicPermissions: (user, { vhost = "/" } = {}) =>
      evaluate(`ok = ${backend}:clear_topic_permissions(${binary(user)}, ${binary(vhost)}, ${actor})`),
    addVhost: (name) => evaluate(`ok = rabbit_vhost:add(${binary(name)}, ${actor})`),
    deleteVhost: (name) => evaluate(`rabbit_vhost:delete(${binary(name)}, ${actor})`),
    setVhostLimits: (vhost, limits) =>
      evaluate(`ok = rabbit_vhost_limit:parse_set(${binary(vhost)}, ${limitsOf(limits)}, ${actor})`),
    clearVhostLimits: (vhost) => evaluate(`rabbit_vhost_limit:clear(${binary(vhost)}, ${actor})`),
    setUserLimits: (user, limits) =>
      evaluate(`ok = ${backend}:set_user_limits(${binary(user)}, ${limitsOf(limits)}, ${actor})`),
    clearUserLimits: (user) =>
      evaluate(`ok = ${backend}:clear_user_limits(${binary(user)}, <<"all">>, ${actor})`),
  };
}

/** Runs `rabbitmqctl` against the RabbitMQ that the tests have started; what it prints. */
export async function rabbitmqctl(
  environment: Readonly<Record<string, string>> | undefined,
  ...args: readonly string[]
): Promise<string> {
  const program = findRabbitmqctl();
  if (!environment || !program) throw new Error("there is no rabbitmqctl for this RabbitMQ");
  const options = { env: { ...environment } };
  const { stdout } = await run(program, ["-q", "-n", environment["RABBITMQ_NODENAME"], ...args], options);
  return stdout.trim();
}

const backend = "rabbit_auth_backend_internal";
const actor = binary("tests");

function binary(text: string): string {
  return `<<${JSON.stringify(text)}>>`;
}
