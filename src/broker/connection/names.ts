/** Line breaks are taken out of the names of queues and exchanges, as RabbitMQ does: they would garble logs and lists. */
export function cleanName(name: string): string {
  return name.includes("\n") || name.includes("\r") ? name.replaceAll(/[\r\n]/g, "") : name;
}
