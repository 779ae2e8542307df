# Publishes to a headers exchange, on which one queue wants all of its headers, another any of them.
#
#     headers.rb EXCHANGE

require_relative "connection"

connection = connect
channel = connection.create_channel
exchange = channel.headers(ARGV[0], auto_delete: true)
all = channel.queue("", exclusive: true)
any = channel.queue("", exclusive: true)
wanted = { "format" => "pdf", "pages" => 3 }
all.bind(exchange, arguments: wanted.merge("x-match" => "all"))
any.bind(exchange, arguments: wanted.merge("x-match" => "any"))

exchange.publish("both", headers: { format: "pdf", pages: 3, urgent: true })
exchange.publish("one", headers: { format: "pdf", pages: 4 })
exchange.publish("none", headers: { format: "zip" })

{ all: all, any: any }.each do |name, queue|
  bodies = []
  while (body = queue.pop.last)
    bodies << body
  end
  report(name, bodies: bodies)
end
connection.close
