package shop

import (
	"expvar"
	"fmt"
	"io"
	"net/http"
	"time"
)

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "alive\n") })
	mux.HandleFunc("GET /readyz", s.readyz)
	expvar.Publish("running", expvar.Func(func() any { return s.running.Load() }))
	mux.Handle("GET /stats", expvar.Handler())
	mux.HandleFunc("/", s.whenOpened)
	return mux
}

// whenOpened holds a request that comes before the cache is open: in a deploy
// that is some milliseconds, and clients see a pause in place of an error.
func (s *server) whenOpened(w http.ResponseWriter, r *http.Request) {
	s.running.Add(1)
	defer s.running.Add(-1)
	select {
	case <-s.opened:
		s.products.ServeHTTP(w, r)
	case <-time.After(s.StartTimeout):
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	case <-r.Context().Done():
	}
}

// readyz says whether requests are welcome, or why not. A cache that serves but
// cannot write its files costs the next start, not this one, so the service is
// ready and says so, unless Options.Strict is set.
func (s *server) readyz(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	why := s.notReady
	s.mu.Unlock()
	var recovery, health string
	if why == "" && s.cache != nil {
		recovery, health = s.describeCache()
		if health != "ok" && s.Strict {
			why = health
		}
	}
	if why != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "not ready: %s\n", why)
		return
	}
	fmt.Fprintln(w, "ready")
	if recovery != "" {
		fmt.Fprintf(w, "recovery: %s\nhealth: %s\n", recovery, health)
	}
}

// describeCache tells in a line each what Open found and how the files do.
func (s *server) describeCache() (recovery, health string) {
	r := s.cache.Recovery()
	recovery = fmt.Sprintf("%v, %d entries, %d dropped, in %v", r.Outcome, r.Entries, r.Dropped, r.Mapped.Round(time.Microsecond))
	if r.Reason != nil {
		recovery += ", because " + r.Reason.Error()
	}
	health = "ok"
	if err := s.cache.Health(); err != nil {
		health = err.Error()
	}
	return recovery, health
}
