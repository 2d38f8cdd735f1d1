// Package load asks the service for products at a fixed rate, whether or not its
// answers keep up, and records what a client sees.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options say what is asked for.
type Options struct {
	URL      string
	Rate     float64 // requests per second
	Products int     // numbered from 1
	Skew     float64 // product k is asked for in proportion to (Flat+k)^-Skew
	Flat     float64
	Absent   float64 // part of the requests for products that do not exist
	Writes   float64 // part of the requests that change a product
	Seed     uint64
}

// Validate says what no load can be made of.
func (o *Options) Validate() error {
	if o.Rate <= 0 || o.Products < 1 || o.Skew <= 1 || o.Flat < 1 || o.Absent < 0 || o.Writes < 0 || o.Absent+o.Writes > 1 {
		return errors.New("a rate, a number of products, a skew over 1, an offset of at least 1 and parts of one are needed")
	}
	return nil
}

// A Result says how a request ended.
type Result uint8

const (
	Hit Result = iota
	Miss
	Write       // a change that was acknowledged
	Refused     // nobody listened
	Unavailable // status 5xx
	Failed      // connection lost, or no answer in time
	Overrun     // not sent: too many requests were waiting already
	results
)

var resultNames = [results]string{"hits", "misses", "writes", "refused", "unavailable", "failed", "overrun"}

func (r Result) String() string { return resultNames[r] }

// IsError tells that the client got no answer to its question.
func (r Result) IsError() bool { return r >= Refused }

// A Sample is one request.
type Sample struct {
	At      time.Time     // when it was due
	Latency time.Duration // from then until the whole answer was there
	Result  Result
	// Outdated: the answer is older than a change that was acknowledged before
	// the request was sent.
	Outdated bool
}

const (
	maxWaiting = 2000 // requests at a time
	timeout    = 5 * time.Second
)

// A Load is a run of requests.
type Load struct {
	o       Options
	client  *http.Client
	rand    *rand.Rand
	zipf    *rand.Zipf
	waiting atomic.Int64
	revs    []atomic.Int64 // newest revision acknowledged, by product

	mu      sync.Mutex
	samples []Sample
}

// New makes a load; Run runs it.
func New(o Options) *Load {
	r := rand.New(rand.NewPCG(o.Seed, 0))
	return &Load{
		o:      o,
		rand:   r,
		zipf:   rand.NewZipf(r, o.Skew, o.Flat, uint64(o.Products-1)),
		revs:   make([]atomic.Int64, o.Products+1),
		client: &http.Client{Timeout: timeout, Transport: &http.Transport{MaxIdleConnsPerHost: maxWaiting}},
	}
}

// Run sends requests until ctx ends and then waits for the last answers.
func (l *Load) Run(ctx context.Context) {
	defer l.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	gap := time.Duration(float64(time.Second) / l.o.Rate)
	for due := time.Now(); ; due = due.Add(gap) {
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		if ctx.Err() != nil {
			return
		}
		send := l.next()
		if l.waiting.Add(1) > maxWaiting {
			l.waiting.Add(-1)
			l.record(Sample{At: due, Result: Overrun})
			continue
		}
		wg.Go(func() {
			defer l.waiting.Add(-1)
			s := send()
			s.At, s.Latency = due, time.Since(due)
			l.record(s)
		})
	}
}

// next draws a request. The draws depend on the seed alone; the products are
// spread, so that those asked for most do not lie side by side in the database.
func (l *Load) next() (send func() Sample) {
	what := l.rand.Float64()
	id := int(spread(l.zipf.Uint64(), uint64(l.o.Products))) + 1
	switch {
	case what < l.o.Absent:
		return func() Sample { return l.get(l.o.Products + id) }
	case what < l.o.Absent+l.o.Writes:
		return func() Sample { return l.put(id) }
	}
	return func() Sample { return l.get(id) }
}

// spread maps 0 to n-1 onto themselves.
func spread(i, n uint64) uint64 {
	const prime = 1_000_000_007 // coprime to every smaller n
	return i * prime % n
}

func (l *Load) record(s Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, s)
}

// Samples returns what has been recorded so far, in no order.
func (l *Load) Samples() []Sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Sample(nil), l.samples...)
}

func (l *Load) get(id int) Sample {
	var known int64
	if id < len(l.revs) {
		known = l.revs[id].Load()
	}
	head, s := l.do("GET", id, nil)
	if s.Result.IsError() {
		return s
	}
	s.Result = Miss
	if head.Get("X-Cache") == "hit" {
		s.Result = Hit
	}
	s.Outdated = revision(head) < known
	return s
}

func (l *Load) put(id int) Sample {
	body := fmt.Sprintf(`{"name": "Product %d, changed", "price_cents": %d}`, id, 100+id)
	head, s := l.do("PUT", id, strings.NewReader(body))
	if s.Result.IsError() {
		return s
	}
	s.Result = Write
	rev := revision(head)
	for known := l.revs[id].Load(); known < rev && !l.revs[id].CompareAndSwap(known, rev); {
		known = l.revs[id].Load()
	}
	return s
}

func revision(h http.Header) int64 {
	rev, _ := strconv.ParseInt(strings.Trim(h.Get("ETag"), `"`), 10, 64)
	return rev // 0 for a product that does not exist
}

// do sends one request, under no context: a load that ends waits for its answers.
func (l *Load) do(method string, id int, body io.Reader) (http.Header, Sample) {
	req, err := http.NewRequest(method, fmt.Sprintf("%s/products/%d", l.o.URL, id), body)
	if err != nil {
		return nil, Sample{Result: Failed}
	}
	resp, err := l.client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, Sample{Result: Refused}
	}
	if err != nil {
		return nil, Sample{Result: Failed}
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return nil, Sample{Result: Failed}
	}
	if resp.StatusCode >= 500 {
		return nil, Sample{Result: Unavailable}
	}
	return resp.Header, Sample{}
}
