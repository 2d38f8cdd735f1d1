package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/examples/webservice/deploy"
)

// TestOverlap: the new process runs beside the old one, alive and not ready; a
// request waits in it; it is ready, and warm, when the old one has closed.
func TestOverlap(t *testing.T) {
	t.Parallel()
	old := newSite(t)
	p, _ := old.startReady()
	old.readAll(nil)

	next := *old // the same files at another address, so that both can be asked
	var err error
	if next.addr, err = deploy.FreeAddr(); err != nil {
		t.Fatal(err)
	}
	q := next.start()
	waitFor(t, "the new server to be alive", func() bool {
		_, body, _ := deploy.Ask(t.Context(), next.url()+"/healthz")
		return body == "alive\n"
	})
	status, body, err := deploy.Ask(t.Context(), next.url()+"/readyz")
	if want := "not ready: opening the cache\n"; status != 503 || body != want {
		t.Errorf("got %d %q %v while the old server runs, want 503 %q", status, body, err, want)
	}
	answered := make(chan reply, 1)
	go func() { answered <- next.product(1) }()
	waitFor(t, "a request to wait", func() bool { return next.running() == "1" })
	select {
	case r := <-answered:
		t.Errorf("got an answer before the cache was open: %+v", r)
	default:
	}

	old.end(p, syscall.SIGTERM)
	if r := <-answered; r.status != 200 || r.cache != "hit" {
		t.Errorf("got %+v for the request that waited, want a hit", r)
	}
	said, err := q.WaitReady(t.Context(), next.url())
	if err != nil || !strings.HasPrefix(said, "ready\nrecovery: warm, 500 entries, 0 dropped") || !strings.Contains(said, "health: ok") {
		t.Errorf("got %q, %v, want ready and warm with 500 entries", said, err)
	}
	next.end(q, syscall.SIGTERM)
}

func TestGrace(t *testing.T) {
	t.Run("a request that runs is answered, and no other", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		p, _ := s.startReady("-db-latency", "500ms")
		answered := s.askInBackground(t)
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if r := <-answered; r.status != 404 {
			t.Errorf("got %+v, want the answer, that there is none", r)
		}
		if err := p.Wait(); err != nil {
			t.Errorf("got %v, want exit status 0", err)
		}
		if c, err := net.Dial("tcp", s.addr); err == nil {
			c.Close()
			t.Error("somebody listens after the end")
		}
		p, _ = s.startReady()
		if r := s.product(absent); r.cache != "hit" {
			t.Errorf("got %+v, want a hit: the last answer was stored", r)
		}
		s.end(p, syscall.SIGTERM)
	})
	t.Run("a request that takes too long is cancelled, and the cache is closed in time", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		p, _ := s.startReady()
		s.readAll(nil)
		s.end(p, syscall.SIGTERM)
		p, _ = s.startReady("-db-latency", "1h", "-grace", "2s")
		answered := s.askInBackground(t)
		began := time.Now()
		s.end(p, syscall.SIGTERM)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("stopped after %v with a grace period of 2 s", took)
		}
		if r := <-answered; r.status != 503 {
			t.Errorf("got %+v, want 503", r)
		}
		p, _ = s.startReady()
		if got := s.readAll(nil); got < 0.9 {
			t.Errorf("got a hit ratio of %.3f after that, want more than 0.9", got)
		}
		s.end(p, syscall.SIGTERM)
	})
}

// absent is a product that does not exist, and so is not cached either.
const absent = products + 7

// askInBackground asks for it, and returns when the server has the request.
func (s *site) askInBackground(t *testing.T) <-chan reply {
	t.Helper()
	answered := make(chan reply, 1)
	go func() { answered <- s.product(absent) }()
	waitFor(t, "a request to run", func() bool { return s.running() == "1" })
	return answered
}

// running is what /stats says of requests that run.
func (s *site) running() string {
	_, body, _ := deploy.Ask(s.t.Context(), s.url()+"/stats")
	_, rest, _ := strings.Cut(body, `"running": `)
	n, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSuffix(n, ",")
}

// TestHealth takes the cache's folder away: the service goes on and says so.
func TestHealth(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"-strict"}} {
		s := newSite(t)
		p, _ := s.startReady(flags...)
		if err := os.RemoveAll(filepath.Join(s.dir, "cache")); err != nil {
			t.Fatal(err)
		}
		var status int
		var body string
		waitFor(t, "the cache to notice", func() bool {
			s.readAll(nil)
			status, body, _ = deploy.Ask(t.Context(), s.url()+"/readyz")
			return !strings.Contains(body, "health: ok")
		})
		want, begin := http.StatusOK, "ready\n"
		if flags != nil {
			want, begin = http.StatusServiceUnavailable, "not ready: "
		}
		if status != want || !strings.HasPrefix(body, begin) || !strings.Contains(body, "no such file") {
			t.Errorf("%v: got %d %q, want %d %q", flags, status, body, want, begin)
		}
		if got := s.readAll(nil); got != 1 {
			t.Errorf("got a hit ratio of %.3f without a folder, want 1", got)
		}
		s.end(p, syscall.SIGTERM)
	}
}

// waitFor asks until it is so.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}
