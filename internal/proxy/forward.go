package proxy

import (
	"errors"
	"os"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// clientClosed is what the access log has for a client that was gone before its
// answer, as nginx has it.
const clientClosed = 499

// maxTries bounds how many endpoints one request is tried at.
const maxTries = 5

// trial is the way of one request through the endpoints of its pool.
type trial struct {
	target *target
	host   string // that a TLS connection must be for
	tried  []*endpoint
	// again is an endpoint that closed a connection just as it was used again:
	// that is no failure of its own, and it is asked over a new one.
	again *endpoint
	// status and text are for the client when nobody answers.
	status int
	text   string
}

// forward sends a request to an endpoint and its answer to the client.
func (x *exchange) forward(t *target) end {
	if err := x.gather(t); err != nil {
		return x.refuse(err)
	}
	trial := trial{target: t, tried: x.tried[:0], status: 503, text: "The service for this address has no running task."}
	if t.tls {
		trial.host = string(http1.CanonicalHost(x.host[:0], x.request.Host))
	}
	for len(trial.tried) < maxTries {
		e := trial.again
		if e == nil {
			e = t.pool.pick(&x.request, x.conn.address, x.server.options().AddressHash, trial.tried, x.server.clock.about())
		}
		if e == nil {
			break
		}
		c, err := x.try(&trial, e)
		if err == nil {
			e.answered(c)
			return x.relay(c)
		}
		if x.conn.ended.Load() {
			// It is nobody's failure.
			_ = x.upload.stop(x)
			x.facts.status = clientClosed
			return closeNow
		}
		if over := x.upload.stop(x); over != nil {
			return x.refuse(over)
		}
		if !x.tryAnother(&trial, e, err) {
			break
		}
		x.facts.tally.counts().retries.Add(1)
	}
	x.page(trial.status, trial.text)
	return x.finishPage()
}

// unreached is why an endpoint got nothing of a request.
type unreached struct{ error }

func (u unreached) Unwrap() error { return u.error }

// try asks an endpoint. The connection that it returns has sent the head of its
// final answer.
func (x *exchange) try(trial *trial, e *endpoint) (*upstreamConn, error) {
	x.turnTo(trial.target, e)
	x.facts.turned = x.server.clock.now()
	x.facts.connected, x.facts.answered = x.facts.turned, x.facts.turned
	for {
		c, err := x.server.connect(e, trial.host, trial.again != nil)
		if err != nil {
			return nil, unreached{err}
		}
		x.upstream = c
		if !c.reused {
			x.facts.connected = x.server.clock.now()
		}
		x.writeAsk(trial.target, e)
		if err = x.question(c, x.upgrades(trial.target)); err == nil {
			x.facts.answered = x.server.clock.now()
			return c, nil
		}
		stale := c.reused && x.reply.w == 0 && !tookTooLong(err)
		untouched := x.upload.whole && x.reply.w == 0 && unprocessed(err)
		x.conn.asks.Store(nil)
		x.upstream = nil
		c.Close()
		switch {
		case untouched && c.reused:
			return nil, errUnprocessed
		case untouched:
			return nil, unreached{err}
		case c.reused && errors.Is(err, errSpoke): // what it would answer belongs to nobody
		case stale:
			return nil, errStale
		default:
			return nil, err
		}
	}
}

var (
	errStale       = errors.New("the endpoint closed a connection that was kept open")
	errUnprocessed = errors.New("the endpoint did nothing of a request, as it was closing the connection")
	errNoTrust     = errors.New("the endpoint's certificate must be verified, and no authority is trusted")
	errBadAnswer   = errors.New("the endpoint's answer is malformed")
)

// tryAnother notes a failure, and decides whether the request goes on to another
// endpoint: when this one got nothing of it, or when it may be sent twice and
// nothing of an answer has come.
func (x *exchange) tryAnother(trial *trial, e *endpoint, err error) bool {
	var never unreached
	twice := x.request.Idempotent() && x.upload.whole && x.reply.w == 0
	trial.again = nil
	switch {
	case errors.Is(err, errStale) && twice, errors.Is(err, errUnprocessed):
		trial.again = e
		return true
	case errors.Is(err, errDrained):
		trial.tried = append(trial.tried, e)
		return true
	case errors.Is(err, errNoTrust):
		trial.status, trial.text = 502, "The certificate of the service for this address cannot be verified: the proxy trusts no authority."
		return false
	case tookTooLong(err):
		trial.status, trial.text = 504, "The service for this address did not answer in time."
	default:
		trial.status, trial.text = 502, "The service for this address could not be reached, or did not answer."
	}
	if errors.Is(err, errBadAnswer) || errors.Is(err, errPanicked) {
		return false // which is not the endpoint's failure
	}
	if x.server.note(e, err) {
		x.facts.tally.counts().ejections.Add(1)
	}
	trial.tried = append(trial.tried, e)
	return errors.As(err, &never) || twice
}

// question sends the request and reads the head of the final answer. Interim
// answers go to the client on the way.
func (x *exchange) question(c *upstreamConn, upgrade bool) error {
	limits := &x.server.options().Limits
	x.conn.asks.Store(c)
	if x.conn.ended.Load() {
		return errClientGone
	}
	c.expectSilence(!x.upload.whole || upgrade)
	if x.upload.whole && c.inquires() {
		return x.inquire(c, upgrade)
	}
	if x.reply.buf == nil {
		x.reply.buf = takeSmall()
	}
	x.reply.use(&c.link, x.reply.buf, 0)
	if c.reused && !c.stream && !c.silent() {
		return errSpoke
	}
	if err := c.write(x.ask, limits.Answer); err != nil && x.upload.whole {
		return err
	}
	switch {
	case x.upload.whole:
	case x.request.Continue:
		if err := x.awaitContinue(c); err != nil {
			return err
		}
	default:
		x.upload.start(x, c)
	}
	return x.answerHead(c, upgrade)
}

// inquire is question where all of the request is there. While it waits, it
// holds no buffer but that of the request as it came.
func (x *exchange) inquire(c *upstreamConn, upgrade bool) error {
	x.reply.drop()
	giveBack(x.out)
	ask := x.ask
	x.ask, x.out = nil, nil
	reply, received, err := c.inquire(ask, x.server.options().Limits.Answer)
	x.out = takeSmall()[:0]
	if x.reply.use(&c.link, reply, received); err != nil {
		return err
	}
	return x.answerHead(c, upgrade)
}

// answerHead reads heads up to the final one.
func (x *exchange) answerHead(c *upstreamConn, upgrade bool) error {
	const maxInterim = 16
	for range maxInterim {
		n, err := x.reply.head(x.server.options().Limits.Answer)
		if err == nil {
			err = x.response.Parse(x.reply.unread()[:n], x.request.Is("HEAD"))
			x.reply.r += n
		}
		switch _, malformed := errors.AsType[*http1.Malformed](err); {
		case malformed:
			return errBadAnswer
		case err != nil:
			return err
		case x.response.Status >= 200, upgrade && x.response.Websocket:
			return nil
		case x.response.Status == 101:
			return errBadAnswer
		}
		if err := x.interim(c); err != nil {
			return err
		}
	}
	return errBadAnswer
}

// interim passes on an answer that another will follow. The one to an
// expectation makes the client send its content.
func (x *exchange) interim(c *upstreamConn) error {
	expected := x.response.Status == 100 && x.request.Continue && !x.upload.running
	if x.request.Minor == 0 || x.response.Status == 100 && !expected {
		return nil
	}
	x.out = statusLine(x.out, x.response.Status, x.response.Reason)
	x.appendFields()
	x.out = append(x.out, "\r\n"...)
	if err := x.flush(); err != nil {
		return err
	}
	if expected {
		x.upload.start(x, c)
	}
	return nil
}

// awaitContinue gives the endpoint a second to say whether it wants the
// content. Some never say so, and only wait for it (RFC 9110, section 10.1.1).
func (x *exchange) awaitContinue(c *upstreamConn) error {
	// One that speaks HTTP/2 need not be asked: it takes content when it wants.
	if !c.stream {
		err := x.reply.more(expectation)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	x.out = append(x.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
	if err := x.flush(); err != nil {
		return err
	}
	x.upload.start(x, c)
	return nil
}
