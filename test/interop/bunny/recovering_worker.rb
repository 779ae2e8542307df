# Works on a queue until it is told to stop; when its connection is lost, bunny recovers it with its queue and consumer.
#
#     recovering_worker.rb EXCHANGE QUEUE
#
# The queue goes with its consumer, and what was in it, too; recovery declares it anew.

require_relative "connection"

connection = connect(
  recover_from_connection_close: true,
  network_recovery_interval: 0.1,
  recovery_completed: proc { report("recovered") }
)
channel = connection.create_channel
exchange = channel.direct(ARGV[0])
queue = channel.queue(ARGV[1], exclusive: false, auto_delete: true)
queue.bind(exchange, routing_key: "work")
first = true
queue.subscribe(manual_ack: true) do |delivery, _properties, body|
  channel.ack(delivery.delivery_tag) unless first
  first = false
  report("received", body: body, redelivered: delivery.redelivered?)
end
report("ready")
$stdin.gets
connection.close
