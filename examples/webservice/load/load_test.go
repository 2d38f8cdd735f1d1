package load

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestSum(t *testing.T) {
	start := time.Unix(1000, 0)
	samples := []Sample{{At: start.Add(-time.Second), Result: Hit}, {At: start.Add(3 * time.Second), Result: Hit}}
	for i := range 100 {
		samples = append(samples, Sample{At: start.Add(time.Duration(i) * time.Millisecond), Latency: time.Duration(100-i) * time.Millisecond, Result: Result(i % 2)})
	}
	samples = append(samples, Sample{At: start.Add(1500 * time.Millisecond), Latency: time.Hour, Result: Refused, Outdated: true})
	got := Sum(samples, start, time.Second, 3)
	if s := got[0]; s.HitRatio() != 0.5 || s.P50 != 50*time.Millisecond || s.P99 != 99*time.Millisecond || s.Errors() != 0 {
		t.Errorf("got %+v, want 50 hits and misses, and quantiles of 1 to 100 ms", s)
	}
	if s := got[1]; !math.IsNaN(s.HitRatio()) || s.P99 != 0 || s.Errors() != 1 || s.Outdated != 1 {
		t.Errorf("got %+v, want one error and no latency of it", s)
	}
	if s := got[2]; s != (Second{}) {
		t.Errorf("got %+v for a second without requests", s)
	}
}

// run runs a load against a handler until it has got n requests.
func run(t *testing.T, o Options, n int64, handle http.HandlerFunc) []Sample {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var seen atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) >= n {
			defer stop()
		}
		handle(w, r)
	}))
	defer s.Close()
	o.URL, o.Products, o.Skew, o.Flat, o.Seed = s.URL, 3, 1.5, 1, 1
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	l := New(o)
	l.Run(ctx)
	return l.Samples()
}

func TestLatencyCountsFromWhenARequestWasDue(t *testing.T) {
	release := make(chan struct{})
	var got atomic.Int64
	var released time.Time
	samples := run(t, Options{Rate: 1000}, 200, func(w http.ResponseWriter, r *http.Request) {
		if got.Add(1) == 100 { // as many are sent although none is answered
			released = time.Now()
			close(release)
		}
		<-release
	})
	late := 0
	for _, s := range samples {
		if s.At.Before(released) {
			late++
			if s.At.Add(s.Latency).Before(released) {
				t.Errorf("got %v for a request that was due %v before anything was answered", s.Latency, released.Sub(s.At))
			}
		}
	}
	if late < 100 {
		t.Errorf("got %d requests that were due while the server hung, want 100 at least", late)
	}
}

func TestResults(t *testing.T) {
	count := func(samples []Sample) Second { return Sum(samples, time.Now().Add(-time.Hour), 2*time.Hour, 1)[0] }
	only := func(s Second, r Result) bool { return s.Counts[r] > 0 && s.Errors() == s.Counts[r] }
	if s := count(run(t, Options{Rate: 1000}, 20, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cache", "hit") })); s.HitRatio() != 1 {
		t.Errorf("got %+v, want hits alone", s)
	}
	if s := count(run(t, Options{Rate: 1000}, 20, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })); s.HitRatio() != 0 || s.Errors() > 0 {
		t.Errorf("got %+v, want misses alone", s)
	}
	if s := count(run(t, Options{Rate: 1000}, 20, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })); !only(s, Unavailable) {
		t.Errorf("got %+v, want requests that found the service unavailable", s)
	}
	if s := count(run(t, Options{Rate: 1000, Absent: 1}, 20, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains("/products/4/products/5/products/6", r.URL.Path) {
			t.Errorf("got a request for %s", r.URL.Path)
		}
		panic(http.ErrAbortHandler) // cuts the connection
	})); s.Counts[Refused] > 0 || s.Errors() != s.Counts[Failed] {
		t.Errorf("got %+v, want failed requests alone", s)
	}
	l := New(Options{URL: "http://127.0.0.1:1", Rate: 1000, Products: 1, Skew: 1.1, Flat: 1})
	for len(l.Samples()) == 0 {
		ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		l.Run(ctx)
		stop()
	}
	if s := count(l.Samples()); !only(s, Refused) {
		t.Errorf("got %+v, want refused connections alone", s)
	}
}

func TestOutdated(t *testing.T) {
	for _, c := range []struct {
		law      string
		read     string
		outdated bool
	}{
		{"a read of the revision that was acknowledged is current", `"7"`, false},
		{"a read of a revision before that is outdated", `"6"`, true},
	} {
		samples := run(t, Options{Rate: 1000, Writes: 0.5}, 100, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", c.read)
			if r.Method == "PUT" {
				w.Header().Set("ETag", `"7"`)
			}
		})
		got := Sum(samples, time.Now().Add(-time.Hour), 2*time.Hour, 1)[0]
		if (got.Outdated > 0) != c.outdated || got.Counts[Write] == 0 {
			t.Errorf("%s: got %+v", c.law, got)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, n := range []uint64{1, 2, 10, 4999} {
		seen := make(map[uint64]bool)
		for i := range n {
			seen[spread(i, n)] = true
		}
		if len(seen) != int(n) {
			t.Errorf("got %d places for %d products", len(seen), n)
		}
	}
}
