# What all the programs share: how they connect, and how they report, as lines of JSON.

require "bunny"
require "json"

$stdout.sync = true

def connect(**options)
  connection = Bunny.new(
    host: ENV["BROKER_HOST"],
    port: ENV["BROKER_PORT"].to_i,
    vhost: ENV["BROKER_VHOST"],
    username: ENV["BROKER_USERNAME"],
    password: ENV["BROKER_PASSWORD"],
    log_file: $stderr,
    log_level: :fatal,
    **options
  )
  connection.start
end

def report(event, **fields)
  puts JSON.generate(event: event, **fields)
end
