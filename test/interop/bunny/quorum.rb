# A quorum queue that gives a message up after it has come back twice: it goes to the dead letters with its history.
#
#     quorum.rb QUEUE DEAD_LETTER_QUEUE

require_relative "connection"

connection = connect
channel = connection.create_channel
channel.confirm_select
dead = channel.queue(ARGV[1], durable: true)
queue = channel.queue(
  ARGV[0],
  durable: true,
  arguments: {
    "x-queue-type" => "quorum",
    "x-delivery-limit" => 2,
    "x-dead-letter-exchange" => "",
    "x-dead-letter-routing-key" => dead.name,
  }
)
queue.publish("poison", persistent: true)
report("confirmed", all: channel.wait_for_confirms)

queue.subscribe(manual_ack: true) do |delivery, properties, _body|
  report("delivered", count: (properties.headers || {})["x-delivery-count"], redelivered: delivery.redelivered?)
  channel.nack(delivery.delivery_tag, false, true)
end
letters = Queue.new
dead.subscribe { |_delivery, properties, body| letters << [body, properties.headers["x-death"][0]] }
body, death = letters.pop
report("dead", body: body, reason: death["reason"], queue: death["queue"], count: death["count"])

begin
  connection.create_channel.queue("#{ARGV[0]} transient", durable: false, arguments: { "x-queue-type" => "quorum" })
rescue Bunny::PreconditionFailed => error
  report("refused", text: error.message)
end
connection.close
