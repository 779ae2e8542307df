import { expect, test } from "vitest";
import { ask, atBoth, eachSide, same, sameShape, startTwoBrokers } from "./two-brokers.ts";

startTwoBrokers();

/** What RabbitMQ tells of its own machinery. */
const machinery = [
  "reductions",
  "reductions_details",
  "reductions_details.rate",
  "garbage_collection",
  "garbage_collection.fullsweep_after",
  "garbage_collection.max_heap_size",
  "garbage_collection.min_bin_vheap_size",
  "garbage_collection.min_heap_size",
  "garbage_collection.minor_gcs",
];

/** Of queues: sizes, places and times that Warren does not keep, and what its queues are not made of. */
const ofQueues = [
  ...machinery,
  "backing_queue_status",
  ...[
    "avg_ack_egress_rate",
    "avg_ack_ingress_rate",
    "avg_egress_rate",
    "avg_ingress_rate",
    "len",
    "mode",
  ].map((name) => `backing_queue_status.${name}`),
  ...["next_deliver_seq_id", "next_seq_id", "q1", "q2", "q3", "q4", "target_ram_count", "version"].map(
    (name) => `backing_queue_status.${name}`,
  ),
  "backing_queue_status.delta",
  "backing_queue_status.delta[]",
  "consumer_capacity",
  "consumer_utilisation",
  "deliveries",
  "head_message_timestamp",
  "idle_since",
  "incoming",
  "memory",
  "message_bytes",
  "message_bytes_paged_out",
  "message_bytes_persistent",
  "message_bytes_ram",
  "message_bytes_ready",
  "message_bytes_unacknowledged",
  "messages_paged_out",
  "messages_persistent",
  "messages_ram",
  "messages_ready_ram",
  "messages_unacknowledged_ram",
  "recoverable_slaves",
];

const inList = (names: readonly string[]): string[] => names.map((name) => `[].${name}`);

test("things at work have the same fields", async () => {
  await using _clients = await atBoth(async (channel) => {
    await channel.assertQueue("busy", { durable: true });
    await channel.bindQueue("busy", "amq.topic", "a.#", { x: 1 });
    await channel.prefetch(3);
    await channel.consume("busy", (message) => message && channel.ack(message), { consumerTag: "eager" });
    for (let count = 0; count < 5; count++) channel.publish("amq.topic", "a.b", Buffer.from("message"));
    channel.publish("amq.topic", "nowhere", Buffer.from("message"));
    await channel.get("busy", { noAck: true });
  });

  const counted = "columns=message_stats.publish,message_stats.ack,message_stats.deliver,messages";
  await same(`/api/queues/%2F/busy?${counted}`);
  await same("/api/exchanges/%2F/amq.topic?columns=message_stats.publish_in,message_stats.publish_out");
  await same(
    "/api/channels?columns=message_stats.publish,message_stats.drop_unroutable,message_stats.get_empty",
  );

  await sameShape("/api/queues/%2F/busy", { absent: ofQueues });
  await sameShape("/api/queues", { absent: inList(ofQueues) });
  await sameShape("/api/exchanges/%2F/amq.topic", {
    absent: ["incoming", "outgoing", "user_who_performed_action"],
  });
  const ofConnections = machinery;
  await sameShape("/api/connections", { absent: inList(ofConnections) });
  await sameShape("/api/vhosts/%2F/connections", { absent: inList(ofConnections) });
  const ofChannels = [...machinery, "pending_raft_commands", "idle_since"];
  await sameShape("/api/channels", { absent: inList(ofChannels) });
  await sameShape("/api/consumers");
  await same(
    "/api/consumers?columns=consumer_tag,ack_required,active,activity_status,exclusive,prefetch_count,queue,arguments",
  );
  await same("/api/consumers/%2F?columns=consumer_tag,queue");
  await sameShape("/api/vhosts/%2F", { absent: ["default_queue_type"] });
  await sameShape("/api/vhosts", { absent: ["[].default_queue_type"] });
  await sameShape(
    "/api/overview?columns=message_stats,queue_totals,object_totals,churn_rates,statistics_db_event_queue",
    {
      absent: ["disk_reads", "disk_writes"].flatMap((name) => [
        `message_stats.${name}`,
        `message_stats.${name}_details`,
        `message_stats.${name}_details.rate`,
      ]),
    },
  );
  await sameShape(
    "/api/overview?columns=exchange_types,listeners.protocol,rates_mode,node,cluster_name,product_name",
  );
});

test("one connection, its channels and its user's are found by name, and closed", async () => {
  await using _clients = await atBoth(async (channel) => {
    await channel.assertQueue("used", { durable: true });
    await channel.consume("used", () => {}, { consumerTag: "here" });
  });
  for (const side of eachSide()) {
    const name = await expect
      .poll(async () => {
        const { body } = await ask(side, "/api/connections?columns=name");
        return (body as { name: string }[])[0]?.name;
      })
      .toBeDefined()
      .then(
        async () => ((await ask(side, "/api/connections?columns=name")).body as { name: string }[])[0].name,
      );
    const path = `/api/connections/${encodeURIComponent(name)}`;
    expect(await ask(side, path)).toMatchObject({
      status: 200,
      body: {
        user: "guest",
        vhost: "/",
        state: "running",
        protocol: "AMQP 0-9-1",
        user_provided_name: "compared",
      },
    });
    const channel = encodeURIComponent(`${name} (1)`);
    await expect
      .poll(async () => (await ask(side, `/api/channels/${channel}`)).body)
      .toMatchObject({ number: 1, consumer_details: [{ consumer_tag: "here" }] });
    await expect
      .poll(async () => (await ask(side, `${path}/channels?columns=number`)).body)
      .toEqual([{ number: 1 }]);
    expect((await ask(side, "/api/connections/username/guest?columns=name,user")).body).toEqual([
      { name, user: "guest" },
    ]);
    const closed = await ask(side, path, { method: "DELETE", headers: { "x-reason": "because" } });
    expect(closed.status).toBe(204);
    await expect.poll(async () => (await ask(side, path)).status).toBe(404);
  }
  await same("/api/connections/nothing");
  await same("/api/channels/nothing");
  await same("/api/connections/nothing", { method: "DELETE" });
  await same("/api/connections/username/nobody");
  await same("/api/connections/username/nobody", { method: "DELETE" });
});

test("an exclusive queue is shown, and another's", async () => {
  await using _clients = await atBoth(async (channel) => {
    await channel.assertQueue("own", { exclusive: true });
    await channel.consume("own", () => {}, { consumerTag: "alone", exclusive: true });
    await channel.assertQueue("single", { arguments: { "x-single-active-consumer": true } });
    await channel.consume("single", () => {}, { consumerTag: "first" });
    await channel.consume("single", () => {}, { consumerTag: "second" });
  });
  await same("/api/queues/%2F/own?columns=exclusive,durable,auto_delete,exclusive_consumer_tag,consumers");
  await same("/api/queues/%2F/own", { method: "DELETE" });
  await same("/api/queues/%2F/own/contents", { method: "DELETE" });
  await same("/api/queues/%2F/own", { method: "PUT", body: {} });
  await same("/api/queues/%2F/single?columns=single_active_consumer_tag,consumers");
  await same("/api/consumers?columns=consumer_tag,active,activity_status,queue.name&sort=consumer_tag");
});

test("the node", async () => {
  const common =
    "columns=name,type,running,partitions,os_pid,uptime,processors,mem_used,mem_limit,mem_alarm,disk_free_limit," +
    "disk_free_alarm,rates_mode,enabled_plugins,sockets_used";
  await sameShape(`/api/nodes?${common}`, {
    absent: ["[].enabled_plugins[]"],
  });
});
