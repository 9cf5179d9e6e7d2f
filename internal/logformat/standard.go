package logformat

import (
	"strings"
	"sync"
)

// JSONBody is the body of nginx's log_format for one object a line. nginx knows
// all of its variables too, so that both proxies log alike.
const JSONBody = `escape=json '{"time":"$time_iso8601","remote_addr":"$remote_addr","remote_port":"$remote_port","remote_user":"$remote_user",` +
	`"method":"$request_method","uri":"$request_uri","protocol":"$server_protocol","scheme":"$scheme","host":"$host",` +
	`"status":$status,"bytes_sent":$bytes_sent,"body_bytes_sent":$body_bytes_sent,"request_length":$request_length,` +
	`"request_time":$request_time,"request_id":"$request_id","referer":"$http_referer","user_agent":"$http_user_agent",` +
	`"x_forwarded_for":"$http_x_forwarded_for","ssl_protocol":"$ssl_protocol","upstream_addr":"$upstream_addr",` +
	`"upstream_connect_time":"$upstream_connect_time","upstream_header_time":"$upstream_header_time",` +
	`"upstream_response_time":"$upstream_response_time"}';`

// TraceBody is the body of the format that requests are logged in where the
// operator says nothing.
const TraceBody = `'$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for" ` +
	`host="$host" request_id=$request_id upstream="$upstream_addr" request_time=$request_time upstream_connect_time="$upstream_connect_time" upstream_response_time="$upstream_response_time"';`

// MainBody is the body of the shorter one.
const MainBody = `'$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"';`

// Trace is TraceBody, parsed.
var Trace = sync.OnceValue(func() *Format {
	f, err := Parse([]string{strings.TrimSuffix(strings.TrimPrefix(TraceBody, "'"), "';")})
	if err != nil {
		panic(err) // a constant's fault, which every test shows
	}
	return f
})
