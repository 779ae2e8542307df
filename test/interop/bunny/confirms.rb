# Publishes with confirms, is returned what is unroutable, and acknowledges, rejects and negatively acknowledges.
#
#     confirms.rb QUEUE

require_relative "connection"

connection = connect
channel = connection.create_channel
channel.confirm_select
queue = channel.queue(ARGV[0], durable: true)
exchange = channel.default_exchange
returned = Queue.new
exchange.on_return { |info, properties, body| returned << [info.reply_code, info.reply_text, properties.message_id, body] }

5.times { |number| exchange.publish(number.to_s, routing_key: queue.name, persistent: true) }
exchange.publish("to nobody", routing_key: "#{queue.name} missing", mandatory: true, message_id: "7")
report("confirmed", all: channel.wait_for_confirms, refused: channel.nacked_set.to_a)
report("returned", message: returned.pop)

channel.prefetch(2)
settled = Queue.new
consumer = queue.subscribe(manual_ack: true) do |delivery, _properties, body|
  case [body, delivery.redelivered?]
  when ["1", false] then channel.nack(delivery.delivery_tag, false, true)
  when ["2", false] then channel.reject(delivery.delivery_tag, false)
  else channel.ack(delivery.delivery_tag)
  end
  settled << [body, delivery.redelivered?]
end
report("settled", deliveries: Array.new(6) { settled.pop })
consumer.cancel
channel.close

channel = connection.create_channel
report("left", count: channel.queue(ARGV[0], durable: true).message_count)
begin
  connection.create_channel.queue(ARGV[0], durable: true, auto_delete: true)
rescue Bunny::PreconditionFailed => error
  report("refused", text: error.message)
end
connection.close
