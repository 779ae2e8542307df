# Publishes to a fanout exchange, to which another exchange is bound, and subscribes to queues on both.
#
#     publish_subscribe.rb EXCHANGE OTHER_EXCHANGE

require_relative "connection"

connection = connect
channel = connection.create_channel
exchange = channel.fanout(ARGV[0])
other = channel.topic(ARGV[1])
other.bind(exchange, routing_key: "ignored by a fanout")

queues = {
  "fanout" => channel.queue("", exclusive: true).bind(exchange),
  "topic" => channel.queue("", exclusive: true).bind(other, routing_key: "news.#"),
}
received = Queue.new
queues.each do |name, queue|
  queue.subscribe do |delivery, properties, body|
    received << [name, delivery.exchange, delivery.routing_key, properties.content_type, body]
  end
end

exchange.publish("first", routing_key: "news.today", content_type: "text/plain")
exchange.publish("second", routing_key: "weather.today")
report("received", deliveries: Array.new(3) { received.pop }.sort)

other.unbind(exchange, routing_key: "ignored by a fanout")
exchange.publish("third", routing_key: "news.today")
report("after unbinding", delivery: received.pop)
report("left", count: queues["topic"].message_count)
connection.close
