import type { Command } from "commander";
import { addApiOptions, Refusal, segment, withApi, type ApiFlags, type HttpApi } from "./http-api.ts";

/** Does what a command says, and tells what was done. */
type Change = (api: HttpApi, flags: ApiFlags, args: readonly string[]) => Promise<string>;

interface UserFacts {
  readonly tags: readonly string[] | string;
  readonly password_hash: string;
  readonly hashing_algorithm: string;
}

/** rabbitmqctl's commands that change something, by their names and arguments there. */
const changes: readonly (readonly [usage: string, description: string, change: Change])[] = [
  [
    "add_user <name> <password>",
    "Add a user, without tags and permissions.",
    async (api, _flags, [name, password]) => {
      if (await api.has(`/users/${segment(name)}`)) throw new Refusal(`user '${name}' exists already`);
      await api.send("PUT", `/users/${segment(name)}`, { body: { password, tags: "" } });
      return `user '${name}' is added`;
    },
  ],
  [
    "change_password <name> <password>",
    "Connections that are open stay open.",
    async (api, _flags, [name, password]) => {
      const path = `/users/${segment(name)}`;
      const { tags } = (await api.send("GET", path, { what: `user '${name}'` })) as UserFacts;
      await api.send("PUT", path, { body: { password, tags } });
      return `the password of user '${name}' is changed`;
    },
  ],
  [
    "delete_user <name>",
    "Delete a user with its permissions, and close its connections.",
    async (api, _flags, [name]) => {
      await api.send("DELETE", `/users/${segment(name)}`, { what: `user '${name}'` });
      return `user '${name}' is deleted`;
    },
  ],
  [
    "set_user_tags <name> [tags...]",
    "Instead of those that it has: administrator, monitoring, policymaker, management.",
    async (api, _flags, [name, ...tags]) => {
      const path = `/users/${segment(name)}`;
      const known = (await api.send("GET", path, { what: `user '${name}'` })) as UserFacts;
      // As it is, since whoever does not say it takes it away.
      const { password_hash, hashing_algorithm } = known;
      await api.send("PUT", path, { body: { password_hash, hashing_algorithm, tags: tags.join() } });
      return `user '${name}' has the tags [${tags.join(", ")}]`;
    },
  ],
  [
    "set_permissions <user> <configure> <write> <read>",
    "What a user may do in a virtual host, as regular expressions over names.",
    async (api, { vhost }, [user, configure, write, read]) => {
      const path = `/permissions/${segment(vhost)}/${segment(user)}`;
      await api.send("PUT", path, { body: { configure, write, read } });
      return `permissions of user '${user}' in virtual host '${vhost}' are set`;
    },
  ],
  [
    "clear_permissions <user>",
    "The user may not open the virtual host any more.",
    async (api, { vhost }, [user]) => {
      const path = `/permissions/${segment(vhost)}/${segment(user)}`;
      await api.send("DELETE", path, { what: `permission of user '${user}' in virtual host '${vhost}'` });
      return `permissions of user '${user}' in virtual host '${vhost}' are cleared`;
    },
  ],
  [
    "add_vhost <name>",
    "Add a virtual host; who adds it has all permissions in it.",
    async (api, _flags, [name]) => {
      await api.send("PUT", `/vhosts/${segment(name)}`, { body: {} });
      return `virtual host '${name}' is there`;
    },
  ],
  [
    "delete_vhost <name>",
    "Delete a virtual host with all that is in it.",
    async (api, _flags, [name]) => {
      await api.send("DELETE", `/vhosts/${segment(name)}`, { what: `virtual host '${name}'` });
      return `virtual host '${name}' is deleted`;
    },
  ],
  [
    "purge_queue <name>",
    "Drop all ready messages of a queue.",
    async (api, { vhost }, [name]) => {
      await api.send("DELETE", `${queuePath(vhost, name)}/contents`, { what: queueText(vhost, name) });
      return `queue '${name}' is purged`;
    },
  ],
  [
    "delete_queue <name>",
    "Delete a queue with its messages.",
    async (api, { vhost }, [name]) => {
      await api.send("DELETE", queuePath(vhost, name), { what: queueText(vhost, name) });
      return `queue '${name}' is deleted`;
    },
  ],
  [
    "delete_exchange <name>",
    "Delete an exchange with its bindings.",
    async (api, { vhost }, [name]) => {
      const what = `exchange '${name}' in virtual host '${vhost}'`;
      await api.send("DELETE", `/exchanges/${segment(vhost)}/${segment(name)}`, { what });
      return `exchange '${name}' is deleted`;
    },
  ],
  [
    "close_connection <name> [reason]",
    "Close a connection; its client is told the reason.",
    async (api, _flags, [name, reason]) => {
      await api.send("DELETE", `/connections/${segment(name)}`, {
        what: `connection '${name}'`,
        headers: reason === undefined ? {} : { "x-reason": reason },
      });
      return `connection '${name}' is closed`;
    },
  ],
];

export function addChangeVerbs(program: Command): void {
  for (const [usage, description, change] of changes) {
    addApiOptions(program.command(usage))
      .description(description)
      .action((...given: unknown[]) => {
        const command = given.at(-1) as Command;
        const flags = command.opts<ApiFlags>();
        return withApi(flags, async (api) => {
          const done = await change(api, flags, command.args);
          console.log(flags.json ? JSON.stringify({ done }) : done);
        });
      });
  }
}

function queuePath(vhost: string, name: string): string {
  return `/queues/${segment(vhost)}/${segment(name)}`;
}

function queueText(vhost: string, name: string): string {
  return `queue '${name}' in virtual host '${vhost}'`;
}
